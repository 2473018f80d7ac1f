//! The durable journal on real directories.

mod failures;
mod histories;

use tempfile::TempDir;

use super::{Durability, FjallJournal, Options};
use crate::JournalError;

/// The journal in the directory `data` of a temporary one.
fn open(dir: &TempDir) -> Result<FjallJournal, JournalError> {
    // Syncs are slow and change nothing that a test without power cuts could see.
    FjallJournal::open(dir.path().join("data"), &Options::new(Durability::None, "first"))
}

/// An error's text without the name of the temporary directory.
fn told(dir: &TempDir, error: &JournalError) -> String {
    error.to_string().replace(&dir.path().display().to_string(), "T")
}

impl FjallJournal {
    /// Rows on disk, garbage included.
    fn rows_on_disk(&self) -> usize {
        self.state().engine.as_ref().unwrap().rows.len().unwrap()
    }

    /// Writes one key past all checks.
    fn tamper(&self, keyspace: &str, key: &[u8], value: Option<&[u8]>) {
        let state = self.state();
        let engine = state.engine.as_ref().unwrap();
        let keyspace = if keyspace == "rows" { &engine.rows } else { &engine.meta };
        match value {
            Some(value) => keyspace.insert(key, value).unwrap(),
            None => keyspace.remove(key).unwrap(),
        }
    }
}
