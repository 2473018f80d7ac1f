//! The fjall database itself: opening it with sizes of our own, and telling its failures in ours.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::space;

use crate::JournalError;
use crate::limits::{
    CACHE_BYTES, LOG_BYTES, META_MEMTABLE_BYTES, OPEN_FILES, ROWS_MEMTABLE_BYTES, UNCOMPACTED_TABLES,
    WAIT_STEP_MS, WAITING_TABLES, WORKER_THREADS,
};

/// The file by which fjall knows a directory as its own. It is written last when one is created.
const MARKER: &str = "version";

/// The on-disk format of fjall that the linked version reads.
const ENGINE_FORMAT: &str = "fjall 3";

/// An open database. Dropping it stops its threads and frees the directory.
pub(super) struct Engine {
    db: Database,
    /// Definitions, counters, position.
    pub(super) meta: Keyspace,
    /// Records.
    pub(super) rows: Keyspace,
    dir: PathBuf,
}

impl Engine {
    /// Opens the database in a directory, making both if they are missing.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        make_ready(dir)?;
        space::clean(dir)?;
        let failed = |error| translate("open", dir, "the engine's files", error);
        let db = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(LOG_BYTES)
            .worker_threads(WORKER_THREADS)
            .max_cached_files(Some(OPEN_FILES))
            .open()
            .map_err(failed)?;
        // Single keys are never looked up, only scanned: filters would cost memory and answer nobody.
        let options = || KeyspaceCreateOptions::default().filter_policy(FilterPolicy::disabled());
        let meta =
            db.keyspace("meta", || options().max_memtable_size(META_MEMTABLE_BYTES)).map_err(failed)?;
        let rows =
            db.keyspace("rows", || options().max_memtable_size(ROWS_MEMTABLE_BYTES)).map_err(failed)?;
        Ok(Self { db, meta, rows, dir: dir.to_owned() })
    }

    /// Makes a batch durable as far as `mode` says, whole or not at all.
    pub(super) fn commit(&self, batch: OwnedWriteBatch, mode: PersistMode) -> Result<(), JournalError> {
        let failed = |error| match self.unwritable(error) {
            // A background thread failed earlier; a full disk is the reason that can be found out.
            JournalError::Poisoned { dir } => {
                space::check(&dir).err().unwrap_or(JournalError::Poisoned { dir })
            }
            other => other,
        };
        self.wait_for_workers().map_err(failed)?;
        batch.durability(Some(mode)).commit().map_err(failed)
    }

    /// Whether its threads live and all writes so far went well.
    pub(super) fn is_healthy(&self) -> bool {
        self.db.persist(PersistMode::Buffer).is_ok()
    }

    /// Waits while the background threads are behind, as long as they live.
    fn wait_for_workers(&self) -> Result<(), fjall::Error> {
        while self.rows.sealed_memtable_count() >= WAITING_TABLES
            || self.rows.l0_table_count() >= UNCOMPACTED_TABLES
        {
            self.db.persist(PersistMode::Buffer)?;
            thread::sleep(Duration::from_millis(WAIT_STEP_MS));
        }
        Ok(())
    }

    /// The directory it is in.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A failure while reading a keyspace.
    pub(super) fn unreadable(&self, place: impl Into<String>, error: fjall::Error) -> JournalError {
        translate("read", &self.dir, place, error)
    }

    /// A new, empty batch.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// A failure while writing.
    fn unwritable(&self, error: fjall::Error) -> JournalError {
        translate("write to", &self.dir, "the engine's files", error)
    }

    /// Something stored that makes no sense.
    pub(super) fn damaged(&self, place: impl Into<String>, reason: impl Into<String>) -> JournalError {
        JournalError::Damaged { dir: self.dir.clone(), place: place.into(), reason: reason.into() }
    }
}

/// Makes the directory if it is missing, and refuses one that holds something else: fjall would put its files beside
/// whatever a mistyped path points to.
fn make_ready(dir: &Path) -> Result<(), JournalError> {
    let failed = |action| move |error| JournalError::from_io(action, dir, error);
    match fs::metadata(dir) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(dir).map_err(failed("create")),
        Err(error) => return Err(JournalError::from_io("open", dir, error)),
    }
    if fs::exists(dir.join(MARKER)).map_err(failed("open"))? {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(failed("open"))? {
        let name = entry.map_err(failed("open"))?.file_name();
        // What a fresh file system or a version control system puts into an empty directory is no data.
        if name != OsStr::new("lost+found") && !name.as_encoded_bytes().starts_with(b".") {
            return Err(JournalError::NotOurs {
                dir: dir.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Makes a directory and those above it, durably: a new directory is only safe once its parent is synced.
fn make(dir: &Path) -> io::Result<()> {
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !fs::exists(parent)? {
        make(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if cfg!(unix) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Sorts a failure of the engine by what a person can do about it.
pub(super) fn translate(
    action: &'static str,
    dir: &Path,
    place: impl Into<String>,
    error: fjall::Error,
) -> JournalError {
    let owned = dir.to_owned();
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            JournalError::from_io(action, dir, source)
        }
        fjall::Error::Locked => JournalError::Locked { dir: owned },
        fjall::Error::Poisoned => JournalError::Poisoned { dir: owned },
        fjall::Error::InvalidVersion(found) => JournalError::Format {
            dir: owned,
            found: found
                .map_or_else(|| "unknown".to_owned(), |version| format!("fjall {}", u8::from(version))),
            supported: ENGINE_FORMAT.to_owned(),
        },
        fjall::Error::Storage(_)
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => {
            JournalError::Damaged { dir: owned, place: place.into(), reason: error.to_string() }
        }
        other => JournalError::Engine { action, dir: owned, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_to_do() {
        let told = |error| {
            let error = translate("write to", Path::new("/data"), "the engine's files", error);
            (error.code(), error.to_string())
        };
        let os = |kind: io::ErrorKind| fjall::Error::Io(kind.into());
        assert_eq!(
            told(os(io::ErrorKind::StorageFull)),
            (
                "JOURNAL_DISK_FULL",
                "no space left to write to /data (no storage space); free some space, nothing acknowledged is lost"
                    .to_owned()
            )
        );
        assert_eq!(
            told(os(io::ErrorKind::PermissionDenied)),
            (
                "JOURNAL_PERMISSION",
                "no permission to write to /data (permission denied); make it writable for the user of this process"
                    .to_owned()
            )
        );
        assert_eq!(told(os(io::ErrorKind::ReadOnlyFilesystem)).0, "JOURNAL_PERMISSION");
        assert_eq!(told(os(io::ErrorKind::TimedOut)).0, "JOURNAL_IO");
        assert_eq!(
            told(fjall::Error::Poisoned),
            (
                "JOURNAL_POISONED",
                "the journal in /data is out of service since a write failed; recover it to go on".to_owned()
            )
        );
        assert_eq!(told(fjall::Error::InvalidVersion(None)).0, "JOURNAL_FORMAT");
        assert_eq!(told(fjall::Error::InvalidTrailer).0, "JOURNAL_DAMAGED");
        assert_eq!(told(fjall::Error::KeyspaceDeleted).0, "JOURNAL_ENGINE");
    }
}
