//! Work that may take long and is therefore done beside the others: making a view, or telling what somebody has missed.

use std::sync::{Arc, OnceLock};

use super::history::RowChange;
use super::view::Kept;
use super::{Delta, LiveQuery, patch};
use crate::{BucketId, Reads, Snapshot, StoreError};

/// A view to be made on a state. Give it to any thread; the state that it needs comes along.
#[derive(Debug, Clone)]
pub struct Preparation {
    pub(crate) query: LiveQuery,
    pub(crate) snapshot: Snapshot,
    pub(crate) reserve: usize,
}

/// A view that was made, or why it could not be.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) query: LiveQuery,
    pub(crate) position: u64,
    pub(crate) kept: Result<Kept, Box<(StoreError, Reads)>>,
}

impl Preparation {
    /// Works the query out. A closure may panic, and then this does.
    pub fn run(self) -> Prepared {
        let kept = Kept::build(&self.query, &self.snapshot, self.reserve);
        Prepared { query: self.query, position: self.snapshot.position(), kept }
    }

    /// What is worked out.
    pub fn query(&self) -> &LiveQuery {
        &self.query
    }

    /// Tests that its filter makes of each record, at most; 0 for a closure.
    pub fn tests(&self) -> usize {
        match &self.query {
            LiveQuery::Declarative(bound) => bound.filter().tests(),
            LiveQuery::Programmatic { .. } => 0,
        }
    }

    /// Records of the bucket it looks into, of which it may have to try each; `None` for a closure, of which nobody knows.
    pub fn rows(&self) -> Option<usize> {
        match &self.query {
            LiveQuery::Declarative(bound) => {
                Some(self.snapshot.bucket(bound.bucket()).map_or(0, crate::Bucket::len))
            }
            LiveQuery::Programmatic { .. } => None,
        }
    }
}

impl Prepared {
    /// What was worked out.
    pub fn query(&self) -> &LiveQuery {
        &self.query
    }

    /// Position of the state it was made on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The names of the buckets that a closure has read or asked for, also if it failed.
    pub fn buckets(&self) -> Vec<Arc<str>> {
        match &self.kept {
            Ok(Kept::Maintained(_)) => Vec::new(),
            Ok(Kept::Run { reads, .. }) => reads.buckets().cloned().collect(),
            Err(failed) => failed.1.buckets().cloned().collect(),
        }
    }
}

/// What somebody has missed since a position, to be worked out. Give it to any thread.
#[derive(Debug)]
pub struct Replay {
    /// The query, and the state of today.
    pub(crate) prepared: Preparation,
    pub(crate) past: Past,
    /// The result of today.
    pub(crate) result: Option<Arc<str>>,
}

/// A state of the past, and what has happened since. Cheap to clone: all who have seen that state share it.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) position: u64,
    /// The buckets that are as they were then; all if none are named.
    pub(crate) buckets: Option<Vec<BucketId>>,
    /// Worked out by the first who needs it.
    pub(crate) snapshot: Arc<OnceLock<Snapshot>>,
    /// The rows that have changed since, up to the state at `until`.
    pub(crate) changes: Arc<[RowChange]>,
    pub(crate) until: u64,
}

impl Replay {
    /// The operations of a JSON Patch, joined by commas, that turn the result as it was at the position into that of today;
    /// empty if they are the same. `None` if the result of then cannot be had back. A closure may panic, and then this does.
    pub fn run(self) -> Option<String> {
        let Preparation { query, snapshot, reserve } = self.prepared;
        let Past { position, changes, .. } = &self.past;
        let past = self.past.snapshot.get_or_init(|| snapshot.rewound(*position, changes));
        let result = self.result.as_deref();
        let kept = Kept::build(&query, past, reserve).ok()?;
        let mut maintained = match kept {
            Kept::Maintained(maintained) => maintained,
            Kept::Run { result: before, .. } => {
                return Some(if Some(&*before) == result { String::new() } else { patch::whole(result) });
            }
        };
        let mut delta = Delta::default();
        maintained.catch_up(changes, &snapshot, &mut delta);
        if delta.is_empty() {
            return Some(String::new());
        }
        let told = if maintained.is_short() { None } else { maintained.patch(&delta, &snapshot).ok()? };
        let shorter = told.filter(|told| told.len() <= result.map_or(0, str::len));
        Some(shorter.unwrap_or_else(|| patch::whole(result)))
    }
}
