//! Backups of a running server: of the newest durable state, beside everything else, one at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_journal::backup;
pub(crate) use dunlin_journal::backup::Progress;
use dunlin_journal::{JournalError, Summary};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::shared::Shared;
use crate::time::unix_ms;

/// A backup that was written. As JSON: `{"name", "file", "position", "epoch", "buckets", "records", "bytes", "durationMs"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Backup {
    /// The name of the file.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
    /// The newest commit in it.
    pub position: u64,
    /// The history that it is of.
    pub epoch: String,
    /// How many buckets are in it.
    pub buckets: u64,
    /// How many records are in it; those of buckets with `persistent: false` are not.
    pub records: u64,
    /// Length of the file.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Another one is being written.
    #[error("a backup is being written already; wait for its end")]
    Busy,
    /// It could not be written. Nothing is left of it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The thread that wrote it has failed.
    #[error("the backup failed by a fault of the server; the log says why")]
    Interrupted,
}

impl BackupError {
    /// The stable code for programs.
    ///
    /// ```
    /// assert_eq!(dunlin_server::BackupError::Busy.code(), "BACKUP_BUSY");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy => "BACKUP_BUSY",
            Self::Journal(error) => error.code(),
            Self::Interrupted => "BACKUP_INTERRUPTED",
        }
    }
}

/// Held by whoever writes a backup.
pub(crate) type Turn = Arc<Mutex<()>>;

/// Writes the newest durable state to a file, on a thread of its own; `progress` is called there, about every megabyte. It is
/// carried through even if nobody waits for it any more. `make` makes the directory if it is missing.
pub(crate) async fn write(
    shared: &Shared,
    file: impl FnOnce(u64) -> PathBuf,
    make: bool,
    mut progress: impl FnMut(Progress) + Send + 'static,
) -> Result<Backup, BackupError> {
    let turn = Arc::clone(&shared.backup).try_lock_owned().map_err(|_| BackupError::Busy)?;
    let state = shared.published.snapshot();
    let file = file(state.position());
    let metrics = Arc::clone(&shared.metrics);
    let written = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let directory = if make { directory_of(&file) } else { Ok(()) };
        let written = directory.and_then(|()| backup::write(&state, &file, &mut progress));
        drop(turn);
        match written {
            Ok(summary) => {
                metrics.backups.increment(1);
                metrics.backup_time.set(Duration::from_millis(unix_ms()).as_secs_f64());
                Ok(Backup::new(file, summary, begun.elapsed()))
            }
            Err(error) => {
                metrics.backup_failures.increment(1);
                tracing::warn!(code = error.code(), %error, "a backup could not be written");
                Err(error)
            }
        }
    });
    Ok(written.await.map_err(|_| BackupError::Interrupted)??)
}

fn directory_of(file: &Path) -> Result<(), JournalError> {
    file.parent().map_or(Ok(()), backup::make_directory)
}

impl Backup {
    fn new(file: PathBuf, summary: Summary, took: Duration) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Summary { position, epoch, buckets, records, bytes, .. } = summary;
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { name, file, position, epoch, buckets, records, bytes, duration_ms }
    }
}
