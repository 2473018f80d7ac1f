//! How a durable journal is to work.

use std::time::Duration;

use crate::limits::{FILE_BYTES, IMAGE_STEP_BYTES, LOG_BYTES, RECENT_COMMITS, RESERVE_BYTES};

/// What an appended batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: the batch is synced to disk before [`Journal::append`](crate::Journal::append) returns.
    #[default]
    Group,
    /// The end of the process, also by `kill -9`: the operating system has the batch. It is synced after this time at the
    /// latest; a power cut loses what came since the last sync, some newest commits whole, never a part of one.
    Interval(Duration),
    /// The same, but it is not synced unless a log file is complete or an image is made.
    None,
}

impl Durability {
    /// What it means, for a start banner.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Group => "a write is synced to disk before it is answered".to_owned(),
            Self::Interval(wait) => format!(
                "a write is answered before it is synced, a power cut may lose those of the last {} ms",
                wait.as_millis()
            ),
            Self::None => {
                "a write is answered before it is synced, a power cut may lose the newest ones".to_owned()
            }
        }
    }
}

/// How to open a durable journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What an appended batch survives.
    pub durability: Durability,
    /// Name of the history if there is none yet; one that is there keeps its own.
    pub new_epoch: String,
    /// When files are begun and ended.
    pub sizes: Sizes,
    /// How many of the newest commits are given back as the [`Past`](crate::Past) after a start, at least if the log has them.
    pub recent: usize,
}

impl Options {
    /// These, and what is usual for the others.
    pub fn new(durability: Durability, new_epoch: impl Into<String>) -> Self {
        Self { durability, new_epoch: new_epoch.into(), sizes: Sizes::default(), recent: RECENT_COMMITS }
    }
}

/// When files are begun and ended. The defaults are for production; tests have smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Bytes of log that there must be before an image is made. (And half as many as the last image has.)
    pub log_bytes: u64,
    /// Bytes of a log file after which another one is begun.
    pub file_bytes: u64,
    /// Bytes by which space for the log is taken ahead.
    pub reserve_bytes: u64,
    /// Bytes of an image that are written in one step.
    pub step_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            log_bytes: LOG_BYTES,
            file_bytes: FILE_BYTES,
            reserve_bytes: RESERVE_BYTES,
            step_bytes: IMAGE_STEP_BYTES,
        }
    }
}
