//! What every journal promises.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_store::{Commit, Snapshot};

use crate::{JournalError, Past};

/// Makes commits durable and gives them back.
pub trait Journal: Send + Sync + 'static {
    /// The state as of the newest durable commit. After a failed [`append`](Self::append) this also puts the journal
    /// back into service, if it can.
    ///
    /// # Errors
    /// What keeps the stored state from being read, and what to do about it. Nothing is left out silently.
    fn recover(&self) -> Result<Snapshot, JournalError>;

    /// The newest commits as far as they were read when the journal was opened, and the state before them: the recent past of
    /// what [`recover`](Self::recover) gives. Only the first call gets it.
    fn take_past(&self) -> Option<Past> {
        None
    }

    /// Makes the batch durable before it returns: all of it or nothing.
    ///
    /// # Errors
    /// If [`JournalError::is_refusal`], nothing was written and the journal goes on. After any other error the outcome
    /// is open (a disk may have kept what it could not confirm), and every further append fails with
    /// [`JournalError::Poisoned`] until [`recover`](Self::recover) has told what was kept.
    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError>;

    /// Calls this when the journal goes out of service outside of an [`append`](Self::append), because a sync in the background
    /// has failed, say: [`recover`](Self::recover) is to be called then. It takes the place of what was given before, and must
    /// not wait for anything.
    fn when_failed(&self, _tell: Box<dyn Fn() + Send + Sync>) {}

    /// Calls this with the time of every sync to disk, for whoever watches the disk. Only the first call counts; it must not
    /// wait for anything.
    fn when_synced(&self, _tell: Box<dyn Fn(Duration) + Send + Sync>) {}

    /// How much there is, for whoever watches the disk. May wait for an [`append`](Self::append).
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Whether [`append`](Self::append) may wait for a disk; then it belongs on a thread that may block.
    fn blocks(&self) -> bool;

    /// What this journal is, for people.
    fn describe(&self) -> Description;
}

/// Commits that become durable together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The commits, in order, the first one following the last one stored.
    pub commits: &'a [Commit],
    /// The state after the last of them.
    pub next: &'a Snapshot,
}

impl Batch<'_> {
    /// Checks that the batch continues a history which has come to `stored`.
    pub(crate) fn check(&self, epoch: &str, stored: u64) -> Result<(), JournalError> {
        if self.next.epoch() != epoch {
            return Err(JournalError::OtherHistory {
                stored: epoch.to_owned(),
                given: self.next.epoch().to_owned(),
            });
        }
        let mut last = stored;
        let positions = self.commits.iter().map(|commit| commit.position);
        for (given, is_state) in positions.map(|p| (p, false)).chain([(self.next.position(), true)]) {
            let expected = if is_state { last } else { last + 1 };
            if given != expected {
                return Err(JournalError::OutOfOrder { expected, given });
            }
            last = given;
        }
        Ok(())
    }
}

/// What [`Journal::figures`] tells. All zero of a journal that keeps nothing on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Figures {
    /// Bytes of the newest image of the state.
    pub image_bytes: u64,
    /// Bytes of the log behind it.
    pub log_bytes: u64,
    /// Images that were written since it was opened.
    pub images: u64,
    /// Images that could not be written since then.
    pub image_failures: u64,
}

/// What a journal is. Its `Display` is a line for a start banner.
///
/// ```
/// use dunlin_journal::{Journal, MemoryJournal};
///
/// let journal = MemoryJournal::new("epoch-1");
/// assert_eq!(journal.describe().to_string(), "memory, nothing is kept when the server ends");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// `memory` or `disk`.
    pub kind: &'static str,
    /// Where the data is.
    pub dir: Option<PathBuf>,
    /// What a write survives, in words.
    pub durability: String,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.dir {
            Some(dir) => write!(f, "{} in {}, {}", self.kind, dir.display(), self.durability),
            None => write!(f, "{}, {}", self.kind, self.durability),
        }
    }
}
