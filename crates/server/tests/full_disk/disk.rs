//! A directory of the operating system that gets as bad as a test wants: full, unable to sync, read-only.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_journal::disk::{Disk, DiskFile, LocalDisk};

/// What is wrong with the disk.
#[derive(Debug)]
pub struct Faults {
    /// Bytes that all files together may have.
    pub budget: AtomicU64,
    /// A sync fails with `EIO`.
    pub sync_fails: AtomicBool,
    /// Everything that changes something fails with `EROFS`.
    pub read_only: AtomicBool,
    /// Held while a file grows, so that two do not take the same bytes.
    growing: Mutex<()>,
}

#[derive(Debug)]
pub struct BadDisk {
    inner: Arc<LocalDisk>,
    pub faults: Arc<Faults>,
}

#[derive(Debug)]
struct BadFile {
    file: Box<dyn DiskFile>,
    disk: Arc<LocalDisk>,
    faults: Arc<Faults>,
}

impl BadDisk {
    /// A directory with which nothing is wrong yet.
    pub fn new(dir: &Path) -> Self {
        let faults = Faults {
            budget: AtomicU64::new(u64::MAX),
            sync_fails: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            growing: Mutex::new(()),
        };
        Self { inner: Arc::new(LocalDisk::new(dir)), faults: Arc::new(faults) }
    }

    /// Bytes that all files together have.
    pub fn used(&self) -> u64 {
        used(&self.inner).unwrap()
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (disk, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        Box::new(BadFile { file, disk, faults })
    }
}

fn used(disk: &LocalDisk) -> io::Result<u64> {
    let sizes = disk.names()?.into_iter().map(|name| match disk.open(&name) {
        Ok(file) => file.size(),
        // Removed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    });
    sizes.sum()
}

impl Faults {
    fn writable(&self) -> io::Result<()> {
        let read_only = self.read_only.load(Ordering::SeqCst);
        if read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn syncable(&self) -> io::Result<()> {
        // 5 is EIO.
        if self.sync_fails.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl Disk for BadDisk {
    fn dir(&self) -> &Path {
        self.inner.dir()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.faults.writable()?;
        Ok(self.file(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // It is opened for writing.
        self.faults.writable()?;
        Ok(self.file(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.writable()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.writable()?;
        self.inner.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.faults.syncable()?;
        self.inner.sync_names()
    }
}

impl BadFile {
    /// How long the file may get, if it was to get as long as this.
    fn room(&self, wanted: u64) -> io::Result<u64> {
        let size = self.file.size()?;
        let free = self.faults.budget.load(Ordering::SeqCst).saturating_sub(used(&self.disk)?);
        Ok(wanted.min(size + free).max(size.min(wanted)))
    }
}

impl DiskFile for BadFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.writable()?;
        let _growing = self.faults.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + data.len() as u64;
        let room = self.room(end)?;
        if room == end {
            return self.file.write_at(offset, data);
        }
        // As far as there is room: that is what makes it nasty.
        let fits = usize::try_from(room.saturating_sub(offset)).unwrap();
        self.file.write_at(offset, &data[..fits])?;
        Err(ErrorKind::StorageFull.into())
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        self.faults.writable()?;
        let _growing = self.faults.growing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.room(size)? < size {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.reserve(size)
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        self.faults.writable()?;
        self.file.cut(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncable()?;
        self.file.sync()
    }
}
