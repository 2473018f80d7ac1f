//! A journal that keeps the newest state and nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dunlin_store::Snapshot;

use crate::{Batch, Description, Journal, JournalError};

/// Keeps the state in memory. It outlives a crashed `StoreActor`, which gets back everything it acknowledged; it does
/// not outlive the process.
///
/// ```
/// use dunlin_journal::{Journal, MemoryJournal};
///
/// let journal = MemoryJournal::new("epoch-1");
/// assert_eq!(journal.recover()?.position(), 0);
/// assert!(!journal.blocks());
/// # Ok::<(), dunlin_journal::JournalError>(())
/// ```
#[derive(Debug)]
pub struct MemoryJournal {
    newest: Mutex<Snapshot>,
}

impl MemoryJournal {
    /// An empty history. `epoch` names it; a process that starts again needs a new one, because the old history is
    /// gone.
    pub fn new(epoch: &str) -> Self {
        Self { newest: Mutex::new(Snapshot::new(epoch)) }
    }

    /// The value is replaced in one step, so a thread that panicked while it held the lock left it whole.
    fn newest(&self) -> MutexGuard<'_, Snapshot> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        Ok(self.newest().clone())
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let mut newest = self.newest();
        batch.check(newest.epoch(), newest.position())?;
        *newest = batch.next.clone();
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn describe(&self) -> Description {
        Description {
            kind: "memory",
            dir: None,
            durability: "nothing is kept when the server ends".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Writer, define, insert, picture};

    #[test]
    fn the_last_appended_state_comes_back() {
        let journal = MemoryJournal::new("e");
        let mut writer = Writer::new(journal.recover().unwrap());
        writer.write(&journal, [define("a"), insert("a", "x", 1)]).unwrap();
        writer.write(&journal, []).unwrap();
        let appended = picture(&writer.state);
        let lost = writer.commit(insert("a", "y", 2)).unwrap();
        assert_eq!(picture(&journal.recover().unwrap()), appended, "what was not appended is not there");

        let next = writer.state.clone();
        journal.append(Batch { commits: &[lost], next: &next }).unwrap();
        let again = writer.commit(insert("a", "z", 3)).unwrap();
        let skipped = writer.commit(insert("a", "zz", 3)).unwrap();
        let refused = journal.append(Batch { commits: &[skipped], next: &writer.state }).unwrap_err();
        assert!(refused.is_refusal());
        assert_eq!(
            refused.to_string(),
            "position 5 cannot be stored, 4 is next; recover the newest state before going on"
        );
        let refused = journal.append(Batch { commits: &[again], next: &writer.state }).unwrap_err();
        assert_eq!(refused.code(), "JOURNAL_OUT_OF_ORDER", "the state must be the one after the last commit");
        assert_eq!(picture(&journal.recover().unwrap()), picture(&next));
    }
}
