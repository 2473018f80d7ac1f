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
    /// The query as it was asked for.
    pub(crate) asked: LiveQuery,
    /// What is left of it for its watcher.
    pub(crate) source: LiveQuery,
    /// What its watcher was found to have the right to watch.
    pub(crate) judged: Judged,
    pub(crate) id: SubscriptionId,
    /// When it was let into the outbox of its connection: see [`Outbox::open`](crate::connection::Outbox::open).
    pub(crate) opening: u64,
    /// What its pushes hold.
    pub(crate) mode: Mode,
    /// What the client has already.
    pub(crate) resume: Option<Resume>,
    /// The connection it belongs to.
    pub(crate) watcher: Arc<Entry>,
}

impl Watch {
    /// The same wish of somebody who was watching: what he had when he came is long past.
    pub(crate) fn again(&self) -> Self {
        Self { resume: None, ..self.clone() }
    }

    /// Whether it was not given up, or changed, since it was sent.
    pub(super) fn is_wanted(&self) -> bool {
        self.watcher.outbox.is_open(self.id, self.opening)
    }
}

/// Which buckets somebody was found to have the right to watch.
#[derive(Debug, Clone)]
pub(crate) enum Judged {
    /// Nobody has to ask.
    All,
    /// These.
    Only(Arc<[Arc<str>]>),
}

impl Judged {
    /// Whether all of these are among them.
    pub(crate) fn covers(&self, buckets: &[Arc<str>]) -> bool {
        match self {
            Self::All => true,
            Self::Only(judged) => buckets.iter().all(|bucket| judged.contains(bucket)),
        }
    }

    /// The names of the buckets, where they matter.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        match self {
            Self::All => &[],
            Self::Only(judged) => judged,
        }
    }
}

/// What came of that wish.
pub(crate) struct Joined {
    /// What the client is told; after an error nothing is watched.
    pub(crate) told: Result<Told, Error>,
    /// The buckets that were read for it, or asked for.
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
