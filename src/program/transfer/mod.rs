//! `dunlin export` and `dunlin import`: a directory of plain files, and back.
//!
//! ```text
//! DIR/definitions.json     what buckets and queries there are: {"format":1,"buckets":[…],"queries":[…]}
//! DIR/<bucket>.jsonl       the bucket's records in table order, one JSON object a line, metadata included
//! ```
//!
//! `definitions.json` is written last, so a directory that has it is whole. Both commands open the data themselves, so no
//! server may be running on them.

mod definitions;
mod export;
mod import;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dunlin::config::{Config, StorageKind};
use dunlin::journal::Journal;

pub(super) use export::export;
pub(super) use import::import;

/// Records between two lines that say how far it has come.
const PROGRESS_EVERY: usize = 100_000;

/// The journal of the data that the configuration names.
fn open(config: &Config) -> Result<Arc<dyn Journal>, String> {
    if config.storage.kind == StorageKind::Memory {
        return Err("data in memory end with their server; name a directory with --data-dir".to_owned());
    }
    dunlin::open_journal(&config.storage).map_err(|error| error.to_string())
}

/// An error with the file that it is about.
fn at<'a, E: Display>(path: &'a Path, doing: &'a str) -> impl FnOnce(E) -> String + 'a {
    move |error| format!("cannot {doing} {}: {error}", path.display())
}

/// Makes a file's content and its directory's entries outlive a power cut.
fn sync_directory(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
