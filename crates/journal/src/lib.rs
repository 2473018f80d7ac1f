//! Durability of dunlin behind one trait.
//!
//! A [`Journal`] is the only door to the disk: the store's owner hands it a [`Batch`] of commits, and when
//! [`append`](Journal::append) returns, the batch survives. After a start or a failure,
//! [`recover`](Journal::recover) gives the state of the newest durable commit.
//!
//! [`MemoryJournal`] survives the failure of a part of the process, [`FileJournal`] a crash of the machine.
//!
//! ```
//! use dunlin_journal::{Batch, Durability, FileJournal, Journal, Options};
//! use dunlin_store::{Context, IdSource, Intent};
//! # struct Ids(u128);
//! # impl IdSource for Ids {
//! #     fn next(&mut self) -> u128 {
//! #         self.0 += 1;
//! #         self.0
//! #     }
//! # }
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("data");
//! # let mut ids = Ids(0);
//! let config = serde_json::json!({"key": "id", "schema": {"id": {"type": "string"}}});
//! let config = config.as_object().cloned().unwrap_or_default();
//!
//! let journal = FileJournal::open(&dir, &Options::new(Durability::Group, "epoch-1"))?;
//! let mut state = journal.recover()?;
//! let intent = Intent::DefineBucket { name: "points".into(), config };
//! let executed = state.execute(intent, &mut Context::new(1_000, &mut ids))?;
//! let commits: Vec<_> = executed.commit.into_iter().collect();
//! journal.append(Batch { commits: &commits, next: &state })?;
//! drop(journal);
//!
//! let journal = FileJournal::open(&dir, &Options::new(Durability::Group, "unused: the epoch is kept"))?;
//! let recovered = journal.recover()?;
//! assert_eq!((recovered.position(), recovered.epoch()), (1, "epoch-1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backup;
mod block;
mod checksum;
mod code;
mod directory;
pub mod disk;
mod disk_journal;
mod error;
mod file_journal;
mod image;
mod inspect;
mod journal;
pub mod limits;
mod log;
mod memory;
mod names;
mod options;
mod recent;
mod recovery;
mod synced;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use disk_journal::DiskJournal;
pub use error::JournalError;
pub use file_journal::FileJournal;
pub use image::Summary;
pub use inspect::{BucketReport, Damage, FileKind, FileReport, Inspected, Inspection, inspect, read};
pub use journal::{Batch, Description, Figures, Journal};
pub use memory::MemoryJournal;
pub use options::{Durability, Options, Sizes};
pub use recent::Past;
