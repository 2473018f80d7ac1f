//! The newest durable state: anybody reads it without a lock, the `StoreActor` replaces it.

use arc_swap::{ArcSwap, Guard};
use dunlin_store::Snapshot;
use std::sync::Arc;

/// A state that somebody looks at. The same as a [`Snapshot`], one pointer cheaper to take.
pub(crate) type View = Arc<Snapshot>;

/// The published snapshot. Everything that is read or pushed comes from here, so nothing is ever seen that is not durable.
pub(crate) struct Published(ArcSwap<Snapshot>);

impl Published {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// For looking at one state for a while.
    pub(crate) fn view(&self) -> View {
        self.0.load_full()
    }

    /// For a short look.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// For keeping.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.0.load())
    }

    pub(crate) fn store(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
