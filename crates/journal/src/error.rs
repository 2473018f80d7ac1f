//! What can go wrong with a journal, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A journal failed. The text says what happened and what a person can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Somebody else has the directory open.
    #[error(
        "the data directory {dir} is in use by another dunlin; stop that one or choose another --data-dir"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refuses access.
    #[error("no permission to {action} {dir} ({source}); make it writable for the user of this process")]
    Permission {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The disk or the quota is full.
    #[error("no space left to {action} {dir} ({source}); free some space, nothing acknowledged is lost")]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another failure of the operating system.
    #[error("cannot {action} {dir}: {source}; check the disk and its mount")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error(
        "{dir} is not empty ({found}) and holds no complete dunlin data; choose an empty or a new --data-dir"
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// A name that was found in it.
        found: String,
    },
    /// The data were written in a format this version does not know.
    #[error(
        "the data in {dir} have format {found}, this dunlin reads {supported}; use the version that wrote them"
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// The format found.
        found: String,
        /// The newest format this version reads.
        supported: String,
    },
    /// Stored data cannot be read or contradict each other.
    #[error(
        "the data in {dir} are damaged at {place}: {reason}; restore a backup, or copy the directory and ask for help"
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// Keyspace and key, or the part of the engine.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A batch does not follow what is stored. Nothing was written.
    #[error(
        "position {given} cannot be stored, {expected} is next; recover the newest state before going on"
    )]
    OutOfOrder {
        /// The position that would fit.
        expected: u64,
        /// The position given.
        given: u64,
    },
    /// A batch belongs to another history. Nothing was written.
    #[error(
        "a commit of history {given} cannot be stored, this is history {stored}; recover before going on"
    )]
    OtherHistory {
        /// Epoch of the journal.
        stored: String,
        /// Epoch of the batch.
        given: String,
    },
    /// A commit refers to what is not there. Nothing was written.
    #[error("commit {position} cannot be stored: {reason}; recover the newest state before going on")]
    Contradiction {
        /// Position of the commit.
        position: u64,
        /// What does not fit.
        reason: String,
    },
    /// An earlier append failed, so that nobody knows what the disk holds.
    #[error("the journal in {dir} is out of service since a write failed; recover it to go on")]
    Poisoned {
        /// The directory.
        dir: PathBuf,
    },
    /// A file of that name is there. Nothing was written.
    #[error("{file} exists already and is left as it is; choose another name, or remove it first")]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A backup is restored into an empty directory only. Nothing was written.
    #[error("{dir} is not empty ({found}); a backup is restored into an empty or a new directory")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// A name that was found in it.
        found: String,
    },
    /// A backup cannot be read to its end. Nothing of it was used.
    #[error("the backup is damaged at {place}: {reason}; use another backup")]
    BackupDamaged {
        /// The file, and the byte in it.
        place: String,
        /// What is wrong there.
        reason: String,
    },
}

impl JournalError {
    /// A stable code for programs.
    ///
    /// ```
    /// let error = dunlin_journal::JournalError::Locked { dir: "data".into() };
    /// assert_eq!(error.code(), "JOURNAL_LOCKED");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "JOURNAL_LOCKED",
            Self::Permission { .. } => "JOURNAL_PERMISSION",
            Self::DiskFull { .. } => "JOURNAL_DISK_FULL",
            Self::Io { .. } => "JOURNAL_IO",
            Self::NotOurs { .. } => "JOURNAL_NOT_OURS",
            Self::Format { .. } => "JOURNAL_FORMAT",
            Self::Damaged { .. } => "JOURNAL_DAMAGED",
            Self::OutOfOrder { .. } => "JOURNAL_OUT_OF_ORDER",
            Self::OtherHistory { .. } => "JOURNAL_OTHER_HISTORY",
            Self::Contradiction { .. } => "JOURNAL_CONTRADICTION",
            Self::Poisoned { .. } => "JOURNAL_POISONED",
            Self::Exists { .. } => "JOURNAL_EXISTS",
            Self::NotEmpty { .. } => "JOURNAL_NOT_EMPTY",
            Self::BackupDamaged { .. } => "JOURNAL_BACKUP_DAMAGED",
        }
    }

    /// Whether the batch was refused before anything was written; the journal is as it was and stays in service.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::OutOfOrder { .. } | Self::OtherHistory { .. } | Self::Contradiction { .. })
    }

    /// Sorts a failure of the operating system by what a person can do about it.
    pub(crate) fn from_io(action: &'static str, dir: &Path, source: io::Error) -> Self {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { action, dir, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { action, dir, source }
            }
            _ => Self::Io { action, dir, source },
        }
    }
}
