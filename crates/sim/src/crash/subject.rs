//! What is put to the test.

use std::sync::Arc;

use dunlin_journal::disk::Disk;
use dunlin_journal::{Journal, JournalError};

use crate::chance::Chance;

/// What survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// What was acknowledged.
    Acknowledged,
    /// What was synced now and then.
    Synced,
    /// What the system has written by itself.
    Luck,
}

/// How a journal is opened. Sizes are small, so that files end and images come often.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What survives a power cut.
    pub keeps: Keeps,
    /// Name of the history, if the disk is empty.
    pub new_epoch: String,
    /// Bytes of log before an image is written.
    pub log_bytes: u64,
    /// Bytes that are taken ahead.
    pub reserve_bytes: u64,
    /// Bytes of an image that are written in one step.
    pub step_bytes: usize,
}

impl Settings {
    pub(super) fn random(chance: &mut Chance) -> Self {
        Self {
            keeps: *chance.pick(&[Keeps::Acknowledged, Keeps::Acknowledged, Keeps::Synced, Keeps::Luck]),
            new_epoch: String::new(),
            log_bytes: *chance.pick(&[1 << 10, 1 << 12, 1 << 14, 1 << 16]),
            reserve_bytes: *chance.pick(&[1, 1 << 9, 1 << 12, 1 << 14]),
            step_bytes: *chance.pick(&[1, 1 << 9, 1 << 12]),
        }
    }
}

/// A journal on a disk, whose work in the background is done step by step.
pub trait Subject: Journal + Sized {
    const DAMAGE: bool = true;
    /// Opens what is on the disk.
    ///
    /// # Errors
    /// As those of [`Journal::recover`].
    fn open(disk: Arc<dyn Disk>, settings: &Settings) -> Result<Self, JournalError>;

    /// A step of the work in the background; whether there is more to do.
    ///
    /// # Errors
    /// What the disk says. The step is done again later.
    fn tend(&self) -> Result<bool, JournalError>;
}
