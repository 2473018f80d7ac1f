//! A directory of the operating system.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Disk, DiskFile};

/// A directory of the operating system.
#[derive(Debug)]
pub struct LocalDisk {
    dir: PathBuf,
    writes: bool,
    watch: Arc<Watch>,
}

/// Who wants to know how long syncs take.
#[derive(Default)]
struct Watch(OnceLock<Box<dyn Fn(Duration) + Send + Sync>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.get().is_some()).finish()
    }
}

impl LocalDisk {
    /// A directory that is there.
    ///
    /// ```
    /// use dunlin_journal::disk::{Disk, LocalDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let disk = LocalDisk::new(dir.path());
    /// let file = disk.create("a")?;
    /// file.write_at(0, b"hello")?;
    /// file.sync()?;
    /// disk.sync_names()?;
    /// assert_eq!(disk.names()?, ["a"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writes: true, watch: Arc::default() }
    }

    /// The same, to look at only: its files are opened for reading.
    pub fn read_only(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writes: false, watch: Arc::default() }
    }

    /// Calls this with the time of every sync of a file. Only the first call counts.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use dunlin_journal::disk::{Disk, LocalDisk};
    /// static SYNCS: AtomicU32 = AtomicU32::new(0);
    /// # let dir = tempfile::tempdir()?;
    /// let disk = LocalDisk::new(dir.path());
    /// disk.when_synced(Box::new(|_took| _ = SYNCS.fetch_add(1, Ordering::Relaxed)));
    /// disk.create("a")?.sync()?;
    /// assert_eq!(SYNCS.load(Ordering::Relaxed), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn when_synced(&self, tell: Box<dyn Fn(Duration) + Send + Sync>) {
        // There is one already: it stays.
        let _ = self.watch.0.set(tell);
    }

    fn file(&self, file: File) -> Box<dyn DiskFile> {
        Box::new(LocalFile { file, watch: Arc::clone(&self.watch) })
    }
}

impl Disk for LocalDisk {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(self.file(options.open(self.dir.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.writes).open(self.dir.join(name))?;
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    watch: Arc<Watch>,
}

impl DiskFile for LocalFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, mut buffer: &mut [u8]) -> io::Result<usize> {
        let (mut offset, mut done) = (offset, 0);
        while !buffer.is_empty() {
            match self.file.read_at(buffer, offset) {
                Ok(0) => break,
                Ok(read) => {
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                    offset += read as u64;
                    done += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        let Some(tell) = self.watch.0.get() else { return self.file.sync_data() };
        let started = Instant::now();
        let done = self.file.sync_data();
        tell(started.elapsed());
        done
    }
}
