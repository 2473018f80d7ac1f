//! Images: a whole state in one file. Backups are images too.
//!
//! The payloads of the blocks, which are numbered from 0:
//!
//! - the first is a [`Header`], JSON;
//! - then changes that make the state from nothing: for each bucket its definition, its counters and its records in table
//!   order, then the queries, the answers and the entries; as many to a block as [`IMAGE_STEP_BYTES`](crate::limits::IMAGE_STEP_BYTES) say;
//! - the last is a [`Totals`], JSON, which no change looks like: a change begins with the number of its kind, which is never
//!   that of a brace. A file without it was not written to its end.

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::JournalError;
use crate::names::FORMAT;

pub(crate) use read::{Image, read, read_as};
pub(crate) use write::ImageWriter;

/// What [`Header::kind`] says.
const KIND: &str = "image";

/// What the last block begins with.
const BRACE: u8 = b'{';

/// The first block of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    pub(crate) kind: String,
    pub(crate) format: u32,
    pub(crate) epoch: String,
    pub(crate) position: u64,
    /// The id that the next defined bucket gets.
    pub(crate) next_bucket: u32,
}

/// What must be there of any file's first block before more is read of it.
#[derive(Deserialize)]
struct Preamble {
    kind: String,
    format: u32,
}

/// The last block of an image: what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    /// Blocks, the first one included.
    pub(crate) blocks: u64,
    pub(crate) buckets: u64,
    pub(crate) queries: u64,
    pub(crate) records: u64,
    pub(crate) answers: u64,
    /// Left out if there are none, so that such an image is the same as before there were any.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) entries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What an image or a backup holds. As JSON: `{"epoch", "position", "buckets", "queries", "records", "bytes", "mended"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Summary {
    /// The history that the state is of.
    pub epoch: String,
    /// The last commit in it.
    pub position: u64,
    /// How many buckets are defined.
    pub buckets: u64,
    /// How many queries are defined.
    pub queries: u64,
    /// How many records there are, without those of buckets with `persistent: false`, which are not kept.
    pub records: u64,
    /// Length of the file.
    pub bytes: u64,
    /// In how many blocks a damaged byte was found, and read as what it should be. The file is left as it is.
    pub mended: u64,
}

impl Summary {
    fn new(epoch: &str, position: u64, totals: Totals, bytes: u64) -> Self {
        let Totals { buckets, queries, records, .. } = totals;
        Self { epoch: epoch.to_owned(), position, buckets, queries, records, bytes, mended: 0 }
    }
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The operating system does not let it be read.
    Io(io::Error),
    /// It is of a format that this version does not know.
    Format(u32),
    /// What is there makes no sense.
    Damaged {
        /// The name of the file.
        name: String,
        /// The byte in it.
        offset: u64,
        /// A sentence.
        reason: String,
    },
}

impl Fault {
    fn damaged(name: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { name: name.to_owned(), offset, reason: reason.into() }
    }

    /// The same, for who reads a file of `dir`.
    pub(crate) fn into_error(self, dir: &Path) -> JournalError {
        let dir = dir.to_owned();
        match self {
            Self::Io(error) => JournalError::from_io("read", &dir, error),
            Self::Format(found) => {
                JournalError::Format { dir, found: found.to_string(), supported: FORMAT.to_string() }
            }
            Self::Damaged { name, offset, reason } => {
                JournalError::Damaged { dir, place: format!("{name}, byte {offset}"), reason }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Header {
    fn read(name: &str, payload: &[u8]) -> Result<Self, Fault> {
        let refuse = |error: serde_json::Error| {
            Fault::damaged(name, 0, format!("the first block is not that of an image: {error}"))
        };
        // In a newer format the rest may look otherwise, so that stands first.
        let Preamble { kind, format } = serde_json::from_slice(payload).map_err(refuse)?;
        if format > FORMAT {
            return Err(Fault::Format(format));
        }
        if kind != KIND || format != FORMAT {
            return Err(Fault::damaged(name, 0, format!("it is a file of kind {kind:?}, format {format}")));
        }
        serde_json::from_slice(payload).map_err(refuse)
    }
}
