//! The durable journal on real directories.

mod failures;
mod gaps;
mod histories;

use tempfile::TempDir;

use crate::{Durability, FileJournal, JournalError, Options};

/// The journal in the directory `data` of a temporary one.
fn open(dir: &TempDir) -> Result<FileJournal, JournalError> {
    // Syncs are slow and change nothing that a test without power cuts could see.
    FileJournal::open(dir.path().join("data"), &Options::new(Durability::None, "first"))
}

/// An error's text without the name of the temporary directory.
fn told(dir: &TempDir, error: &JournalError) -> String {
    error.to_string().replace(&dir.path().display().to_string(), "T")
}
