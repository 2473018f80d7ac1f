//! The journal that a configuration names, opened and read.

use std::sync::Arc;
use std::time::Duration;

use dunlin_journal::{FileJournal, Journal, JournalError, MemoryJournal, Options, Past};
use dunlin_store::Snapshot;

use crate::config::{Config, Durability, Storage, StorageKind};
use crate::start_error::StartError;

/// An open journal, and what it holds.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) recovered: Snapshot,
    /// What led to that, as far as it is known.
    pub(crate) past: Option<Past>,
}

/// Opens the configured journal, unless there is one already, and reads the newest state.
pub(crate) async fn open(config: &Config, journal: Option<Arc<dyn Journal>>) -> Result<Opened, StartError> {
    let storage = config.storage.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let journal: Arc<dyn Journal> = match journal {
            Some(journal) => journal,
            None => open_journal(&storage)?,
        };
        let recovered = journal.recover()?;
        let past = journal.take_past();
        Ok::<_, JournalError>(Opened { journal, recovered, past })
    });
    Ok(opened.await.map_err(|error| StartError::Actors(error.to_string()))??)
}

/// Opens the journal that the configuration names: what a server opens, for programs that work on the data without one. A
/// directory that is not there is made.
///
/// ```
/// use dunlin_server::{Config, open_journal};
///
/// let mut storage = Config::default().storage;
/// storage.kind = dunlin_server::config::StorageKind::Memory;
/// assert_eq!(open_journal(&storage)?.recover()?.position(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_journal(storage: &Storage) -> Result<Arc<dyn Journal>, JournalError> {
    Ok(match storage.kind {
        StorageKind::Memory => Arc::new(MemoryJournal::new(&new_epoch())),
        StorageKind::Disk => {
            let durability = match storage.durability {
                Durability::Group => dunlin_journal::Durability::Group,
                Durability::Interval => {
                    dunlin_journal::Durability::Interval(Duration::from_millis(storage.sync_interval_ms))
                }
                Durability::None => dunlin_journal::Durability::None,
            };
            Arc::new(FileJournal::open(&storage.dir, &Options::new(durability, new_epoch()))?)
        }
    })
}

/// A name for a new history.
fn new_epoch() -> String {
    let bits: u128 = rand::random();
    format!("{bits:032x}")
}
