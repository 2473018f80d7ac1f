//! A wish to watch a query, and what comes of it.

use std::sync::Arc;

use dunlin_protocol::{Error, Mode, Resume};
use dunlin_store::LiveQuery;
use tokio::sync::oneshot;

use crate::connection::{Body, SubscriptionId};
use crate::registry::Entry;

/// A wish to watch a query.
#[derive(Clone)]
pub(crate) struct Watch {
    /// The query's name.
    pub(crate) query: Arc<str>,
    /// Its definition when it was bound; none of a query that cannot be undefined.
    pub(crate) definition: Option<Arc<str>>,
    pub(crate) source: LiveQuery,
    pub(crate) id: SubscriptionId,
    /// What its pushes hold.
    pub(crate) mode: Mode,
    /// What the client has already.
    pub(crate) resume: Option<Resume>,
    /// The connection it belongs to.
    pub(crate) watcher: Arc<Entry>,
}

/// What came of that wish.
pub(crate) struct Joined {
    /// What the client is told; after an error nothing is watched.
    pub(crate) told: Result<Told, Error>,
    /// The buckets that a query which is code has read for it, or asked for.
    pub(crate) buckets: Vec<Arc<str>>,
}

/// What a subscriber begins with.
#[derive(Debug)]
pub(crate) struct Told {
    /// The commit that it shows.
    pub(crate) position: u64,
    pub(crate) start: Start,
}

#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// The whole result; `None` if it is undefined.
    Data(Option<Body>),
    /// What has changed since the client was told last: operations of a JSON Patch, joined by commas.
    Resumed(String),
}

impl Start {
    /// Bytes that are not shared with the view.
    pub(super) fn own_bytes(&self) -> usize {
        match self {
            Self::Data(_) => 0,
            Self::Resumed(operations) => operations.len(),
        }
    }
}

/// A wish that waits until its view is there.
pub(super) struct Waiting {
    pub(super) watch: Watch,
    /// Where the result goes; without (after a restart of the `LiveActor`), it is pushed.
    pub(super) reply: Option<oneshot::Sender<Joined>>,
    /// The position that its client may have seen: nothing older shall be told.
    pub(super) asked_at: u64,
}
