//! Whether the disk has room. The engine only says that its background threads failed, not why; the usual reason is a
//! full disk, and that is what a person must be told.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::JournalError;
use crate::limits::{SPACE_FOR_SERVICE_BYTES, SPACE_PROBE_CHUNK_BYTES};

/// Name of the file that is written and removed again. The engine leaves it alone.
const PROBE: &str = "space.probe";

/// Tries out whether there is room to go on, by taking it for a moment.
pub(super) fn check(dir: &Path) -> Result<(), JournalError> {
    let probe = dir.join(PROBE);
    let tried = fill(&probe);
    let removed = fs::remove_file(&probe);
    tried.and(removed).map_err(|error| JournalError::from_io("write to", dir, error))
}

/// Removes what a crash within [`check`] left behind.
pub(super) fn clean(dir: &Path) -> Result<(), JournalError> {
    match fs::remove_file(dir.join(PROBE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::from_io("write to", dir, error))
        }
        _ => Ok(()),
    }
}

fn fill(probe: &Path) -> io::Result<()> {
    let mut file = File::create(probe)?;
    let mut left = SPACE_FOR_SERVICE_BYTES;
    while left > 0 {
        // Not zeros: some file systems do not store those.
        file.write_all(&[0xA5; SPACE_PROBE_CHUNK_BYTES])?;
        left = left.saturating_sub(SPACE_PROBE_CHUNK_BYTES as u64);
    }
    // Space is only promised once it is allocated.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_room_passes_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        fs::write(dir.path().join(PROBE), "left behind").unwrap();
        clean(dir.path()).unwrap();
        clean(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(check(&dir.path().join("missing")).unwrap_err().code(), "JOURNAL_IO");
    }
}
