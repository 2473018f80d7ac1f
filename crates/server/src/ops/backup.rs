//! `server.backup`.

use std::sync::Arc;
use std::time::Instant;

use dunlin_journal::JournalError;
use dunlin_protocol::{Code, Error, Id, frame};

use crate::backup::{self, BackupError};
use crate::connection::ConnectionState;
use crate::limits;

/// Writes a backup into the configured directory and returns the JSON text of the answer's `data`. The connection is told now
/// and then how far it has come.
pub(crate) async fn run(state: &ConnectionState, id: Id, name: Option<String>) -> Result<String, Error> {
    let shared = &state.shared;
    let Some(dir) = shared.config.storage.backups() else {
        let message =
            "Backups are not configured: where data is in memory, storage.backupDir must name a directory";
        return Err(Error::new(Code::UnknownOperation, message));
    };
    let outbox = Arc::clone(&state.entry().outbox);
    let mut told = Instant::now();
    let progress = move |progress: backup::Progress| {
        if told.elapsed() >= limits::BACKUP_PROGRESS {
            told = Instant::now();
            let backup::Progress { records, total, bytes, .. } = progress;
            outbox.notice(frame::backup_progress(id, records, total, bytes).into());
        }
    };
    // The name was checked when the request was read: it is that of a file in this directory.
    let file = |position| dir.join(name.unwrap_or_else(|| format!("backup-{position}")));
    let written = backup::write(shared, file, true, progress).await.map_err(refusal)?;
    let (records, bytes) = (written.records, written.bytes);
    state.entry().outbox.notice(frame::backup_progress(id, records, records, bytes).into());
    Ok(frame::json(&written))
}

fn refusal(error: BackupError) -> Error {
    match error {
        BackupError::Busy => {
            Error::new(Code::Conflict, "A backup is being written already; wait for its end")
        }
        BackupError::Journal(JournalError::Exists { file }) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            Error::new(Code::Conflict, format!("There is a backup \"{name}\" already; choose another name"))
        }
        error => Error::new(Code::InternalError, format!("The backup failed: {error}")),
    }
}
