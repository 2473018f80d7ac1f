//! Whether writes can be made durable at the moment: the `StoreActor` says so, `/ready` and the metrics tell it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use dunlin_journal::JournalError;

/// Why nothing can be written, if that is so.
#[derive(Debug, Default)]
pub(crate) struct StorageHealth(ArcSwapOption<JournalError>);

impl StorageHealth {
    /// Writes fail for this reason, until it is [`well`](Self::well) again.
    pub(crate) fn failed(&self, error: Arc<JournalError>) {
        self.0.store(Some(error));
    }

    /// Writes are made durable.
    pub(crate) fn well(&self) {
        self.0.store(None);
    }

    /// Why nothing can be written.
    pub(crate) fn trouble(&self) -> Option<Arc<JournalError>> {
        self.0.load_full()
    }
}
