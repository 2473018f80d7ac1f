//! The durable journal in a directory of the operating system: one process at a time, and a thread that tends it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dunlin_store::Snapshot;

use crate::directory;
use crate::disk::LocalDisk;
use crate::limits::{IMAGE_PAUSE, IMAGE_RETRY};
use crate::names::{self, FORMAT_FILE, LOCK_FILE, SYNCED_FILE, UNFINISHED};
use crate::{Batch, Description, DiskJournal, Durability, Figures, Journal, JournalError, Options, Past};

/// The durable journal in a directory. See the [crate documentation](crate) for an example.
///
/// One process at a time has a directory open; dropping the journal frees it.
pub struct FileJournal {
    journal: Arc<DiskJournal>,
    disk: Arc<LocalDisk>,
    keeper: Keeper,
    /// Locked as long as it is open.
    _lock: File,
}

impl FileJournal {
    /// Opens the journal in a directory. A missing one is made, an empty one is filled; one that holds anything else is
    /// refused.
    ///
    /// # Errors
    /// The directory is in use, not accessible, not ours, damaged, or of a newer format.
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self, JournalError> {
        let dir = dir.as_ref();
        directory::make(dir).map_err(|error| JournalError::from_io("create", dir, error))?;
        check_ours(dir)?;
        let lock = lock(dir)?;
        let disk = Arc::new(LocalDisk::new(dir));
        let journal = Arc::new(DiskJournal::open(Arc::<LocalDisk>::clone(&disk), options)?);
        let keeper = Keeper::start(&journal, options.durability)
            .map_err(|error| JournalError::from_io("start a thread for", dir, error))?;
        Ok(Self { journal, disk, keeper, _lock: lock })
    }
}

impl Journal for FileJournal {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        self.journal.recover()
    }

    fn take_past(&self) -> Option<Past> {
        self.journal.take_past()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        self.journal.append(batch)?;
        self.keeper.wake_if_due(&self.journal);
        Ok(())
    }

    fn when_failed(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.journal.when_failed(tell);
    }

    fn when_synced(&self, tell: Box<dyn Fn(Duration) + Send + Sync>) {
        self.disk.when_synced(tell);
    }

    fn figures(&self) -> Figures {
        self.journal.figures()
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        self.journal.describe()
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.keeper.stop();
        // What was answered is to be on disk after an orderly end, whatever the durability.
        if let Err(error) = self.journal.sync() {
            tracing::error!(code = error.code(), %error, "the last writes could not be synced");
        }
    }
}

impl fmt::Debug for FileJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.journal.fmt(f)
    }
}

/// The thread that makes images and syncs what was not synced.
struct Keeper {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(journal: &Arc<DiskJournal>, durability: Durability) -> io::Result<Self> {
        // One call is enough to wake it.
        let (wake, calls) = mpsc::sync_channel(1);
        let journal = Arc::clone(journal);
        let interval = match durability {
            Durability::Interval(interval) => Some(interval),
            _ => None,
        };
        let work = move || {
            let mut sync_at = interval.map(|interval| Instant::now() + interval);
            // When there is more to do for an image.
            let mut tend_at: Option<Instant> = None;
            loop {
                let next = sync_at.into_iter().chain(tend_at).min();
                let called = match next {
                    Some(next) => calls.recv_timeout(next.saturating_duration_since(Instant::now())),
                    None => calls.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                if called == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
                let now = Instant::now();
                if sync_at.is_some_and(|at| now >= at) {
                    // The journal tells whoever can recover it.
                    let _ = journal.sync();
                    sync_at = interval.map(|interval| Instant::now() + interval);
                }
                if tend_at.is_none_or(|at| now >= at) {
                    // A fault there is told by the panic itself, and must not end the syncing with it.
                    tend_at = match panic::catch_unwind(AssertUnwindSafe(|| journal.tend())) {
                        Ok(Ok(more)) => more.then(|| Instant::now() + IMAGE_PAUSE),
                        Err(_) => Some(Instant::now() + IMAGE_RETRY),
                        Ok(Err(error)) => {
                            tracing::error!(code = error.code(), %error, "no image could be made; the log goes on");
                            Some(Instant::now() + IMAGE_RETRY)
                        }
                    };
                }
            }
        };
        let thread = thread::Builder::new().name("dunlin-journal".to_owned()).spawn(work)?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// Wakes the thread if there is something to do for it.
    fn wake_if_due(&self, journal: &DiskJournal) {
        if journal.is_due()
            && let Some(wake) = &self.wake
        {
            // A full channel wakes it as well, and the thread only ends with this journal.
            let _ = wake.try_send(());
        }
    }

    fn stop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that tends the journal has panicked");
        }
    }
}

/// Takes the lock of a directory. It goes with the file, also if the process is killed.
fn lock(dir: &Path) -> Result<File, JournalError> {
    let failed = |error| JournalError::from_io("lock", dir, error);
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_FILE));
    let file = options.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Refuses a directory that holds something else: our files would come beside whatever a mistyped path points to.
fn check_ours(dir: &Path) -> Result<(), JournalError> {
    let failed = |error| JournalError::from_io("open", dir, error);
    let mut stranger: Option<String> = None;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name == FORMAT_FILE || names::read(&name).is_some() {
            return Ok(());
        }
        // What a start leaves behind that was interrupted, or what a new file system holds.
        let harmless = [LOCK_FILE, SYNCED_FILE, "lost+found"].contains(&name.as_str())
            || name.starts_with('.')
            || name.ends_with(UNFINISHED);
        if !harmless {
            stranger.get_or_insert(name);
        }
    }
    match stranger {
        None => Ok(()),
        Some(_) if is_fjall(dir) => Err(JournalError::Format {
            dir: dir.to_owned(),
            found: "1 (of a development version)".to_owned(),
            supported: names::FORMAT.to_string(),
        }),
        Some(found) => Err(JournalError::NotOurs { dir: dir.to_owned(), found }),
    }
}

/// Whether the data are a fjall database, in which development versions kept them.
fn is_fjall(dir: &Path) -> bool {
    let marker: PathBuf = dir.join("version");
    std::fs::read(marker).is_ok_and(|bytes| bytes.starts_with(b"FJL"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::disk::{Disk, DiskFile};
    use crate::testing::{MemoryDisk, Writer, define, insert};

    /// A disk on which no image can be made, by a fault of the program.
    #[derive(Debug)]
    struct Faulty(MemoryDisk);

    impl Disk for Faulty {
        fn dir(&self) -> &Path {
            self.0.dir()
        }

        fn names(&self) -> io::Result<Vec<String>> {
            Disk::names(&self.0)
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
            assert!(!name.starts_with("image"), "as the test wants it");
            self.0.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
            self.0.open(name)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }

        fn sync_names(&self) -> io::Result<()> {
            self.0.sync_names()
        }
    }

    #[test]
    fn the_keeper_goes_on_syncing_when_making_an_image_panics() {
        let disk = MemoryDisk::default();
        let mut options = Options::new(Durability::Interval(Duration::from_millis(1)), "e");
        options.sizes.log_bytes = 1;
        let journal = DiskJournal::open(Arc::new(Faulty(disk.clone())), &options).unwrap();
        let journal = Arc::new(journal);
        let mut keeper = Keeper::start(&journal, options.durability).unwrap();
        let mut writer = Writer::new(journal.recover().unwrap());
        for position in 1..=3 {
            let intent = if position == 1 { define("a") } else { insert("a", &position.to_string(), 1) };
            writer.write(&*journal, [intent]).unwrap();
            keeper.wake_if_due(&journal);
            let begun = Instant::now();
            while crate::synced::read(&disk).unwrap() < position {
                assert!(begun.elapsed() < Duration::from_secs(10), "commit {position} is never synced");
                thread::sleep(Duration::from_millis(1));
            }
        }
        keeper.stop();
    }
}
