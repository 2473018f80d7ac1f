//! The recent past: what rows held before each commit, so that earlier states can be had back.
//!
//! Kept is only what commits have replaced or removed; what they have put is in the state. A state of the past is the
//! state of today with the rows that have changed since put back.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::preparation::Past;
use crate::{BucketId, Change, Commit, Record, RowId, Snapshot};

/// How much of the past is kept. What is older is let go, whichever bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Commits.
    pub commits: usize,
    /// Bytes of the records that were replaced or removed, and of the list of them.
    pub bytes: usize,
}

/// A row, as it was at some position and as it is at a later one.
#[derive(Debug, Clone)]
pub(crate) struct RowChange {
    pub(crate) bucket: BucketId,
    pub(crate) row: RowId,
    pub(crate) before: Option<Record>,
    pub(crate) after: Option<Record>,
}

/// What several commits have done together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Each row once.
    pub(crate) rows: Vec<RowChange>,
    /// Buckets that were defined, updated, cleared or dropped: what their rows were is of no use.
    pub(crate) buckets: Vec<(BucketId, Arc<str>)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    limits: HistoryLimits,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The oldest position whose state can be had back.
    from: u64,
    /// When buckets of these names were defined, updated, cleared or dropped last, and queries defined or undefined.
    buckets: BTreeMap<Arc<str>, u64>,
    queries: BTreeMap<Arc<str>, u64>,
    /// States that somebody who came back has asked for, the newest asked last.
    asked: VecDeque<Past>,
}

/// Earlier states that are kept for others who ask for the same. Each holds what it does not share with the state of today.
const ASKED: usize = 8;

#[derive(Debug)]
struct Entry {
    position: u64,
    rows: Box<[Before]>,
}

#[derive(Debug, Clone)]
struct Before {
    bucket: BucketId,
    row: RowId,
    record: Option<Record>,
}

/// Up to so many rows are looked for one by one: quicker than hashing.
const FEW: usize = 8;

impl History {
    /// The past of a state of which nothing is known but the present.
    pub(crate) fn new(limits: HistoryLimits, position: u64) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            from: position,
            buckets: BTreeMap::new(),
            queries: BTreeMap::new(),
            asked: VecDeque::new(),
        }
    }

    /// Takes the commits in that follow the state `before`, and tells what they have done together.
    pub(crate) fn note<'c>(
        &mut self,
        before: &Snapshot,
        commits: impl Iterator<Item = &'c Commit>,
    ) -> Changes {
        let mut merged = Merged::default();
        for commit in commits {
            let mut rows = Vec::with_capacity(commit.changes.len());
            for change in &commit.changes {
                match change {
                    Change::Put { bucket, row, record } => {
                        let old = merged.change(before, *bucket, *row, Some(record));
                        rows.push(Before { bucket: *bucket, row: *row, record: old });
                    }
                    Change::Remove { bucket, row, .. } => {
                        let old = merged.change(before, *bucket, *row, None);
                        rows.push(Before { bucket: *bucket, row: *row, record: old });
                    }
                    Change::DefineBucket { bucket, name, .. } => {
                        self.buckets.insert(Arc::clone(name), commit.position);
                        merged.redefined(*bucket, Arc::clone(name));
                    }
                    Change::UpdateBucket { bucket, .. }
                    | Change::DropBucket { bucket }
                    | Change::Clear { bucket } => {
                        // One that is not known was defined by these commits, too.
                        let known = before.bucket_by_id(*bucket).map(|known| Arc::clone(known.name()));
                        if let Some(name) = known.or_else(|| merged.name(*bucket)) {
                            self.buckets.insert(Arc::clone(&name), commit.position);
                            merged.redefined(*bucket, name);
                        }
                    }
                    Change::DefineQuery { name, .. } | Change::UndefineQuery { name } => {
                        self.queries.insert(Arc::clone(name), commit.position);
                    }
                    Change::Counters { .. }
                    | Change::Answer(_)
                    | Change::Entry { .. }
                    | Change::Forget { .. } => {}
                }
            }
            self.push(Entry { position: commit.position, rows: rows.into() });
        }
        let from = self.from;
        self.asked.retain(|past| past.position >= from);
        merged.changes
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > self.limits.commits || self.bytes > self.limits.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.from = oldest.position;
        }
        if self.buckets.len() + self.queries.len() > 2 * self.entries.len() + FEW {
            let from = self.from;
            self.buckets.retain(|_, at| *at > from);
            self.queries.retain(|_, at| *at > from);
        }
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the state at `position` can be had back as far as the bucket of this name goes.
    pub(crate) fn reaches(&self, position: u64, bucket: &str) -> bool {
        position >= self.from && self.buckets.get(bucket).is_none_or(|at| *at <= position)
    }

    /// The same for whatever somebody may read.
    pub(crate) fn reaches_all(&self, position: u64) -> bool {
        position >= self.from && self.buckets.values().all(|at| *at <= position)
    }

    /// Whether the query of this name is still the one that it was at `position`.
    pub(crate) fn same_query(&self, position: u64, query: &str) -> bool {
        position >= self.from && self.queries.get(query).is_none_or(|at| *at <= position)
    }

    /// What has happened to rows since a position up to the state `now`, the newest that was noted. Buckets which it does
    /// not [reach](Self::reaches) are left out as a whole, and so are those that are not among `wanted`, if that is given.
    pub(crate) fn since(&self, position: u64, now: &Snapshot, wanted: Option<&[BucketId]>) -> Vec<RowChange> {
        let first = self.entries.partition_point(|entry| entry.position <= position);
        let mut rows: Vec<RowChange> = Vec::new();
        let mut seen: HashSet<(BucketId, RowId)> = HashSet::new();
        for before in self.entries.range(first..).flat_map(|entry| &entry.rows) {
            let Before { bucket, row, record } = before;
            if wanted.is_some_and(|wanted| !wanted.contains(bucket)) {
                continue;
            }
            if seen.insert((*bucket, *row)) {
                let after = now.bucket_by_id(*bucket).and_then(|bucket| bucket.row(*row)).cloned();
                rows.push(RowChange { bucket: *bucket, row: *row, before: record.clone(), after });
            }
        }
        let reached = |change: &RowChange| {
            let bucket = now.bucket_by_id(change.bucket);
            bucket.is_some_and(|bucket| self.reaches(position, bucket.name()))
        };
        rows.retain(reached);
        rows
    }
}

impl History {
    /// The state at a position, as far as it [can be had back](Self::reaches), and what has happened since up to the state
    /// `now`, of some buckets or of all. Those who come back all at once have mostly seen the same one.
    pub(crate) fn past(&mut self, position: u64, buckets: Option<Vec<BucketId>>, now: &Snapshot) -> Past {
        let same = |past: &Past| past.position == position && past.buckets == buckets;
        let known = self.asked.iter().position(same);
        let known = known.and_then(|place| self.asked.remove(place));
        let past = match known {
            Some(past) if past.until == now.position() => past,
            other => Past {
                position,
                // The state of then stays what it is.
                snapshot: other.map(|past| past.snapshot).unwrap_or_default(),
                changes: self.since(position, now, buckets.as_deref()).into(),
                buckets,
                until: now.position(),
            },
        };
        if self.asked.len() >= ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(past.clone());
        past
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let of_row = |before: &Before| {
            size_of::<Before>() + before.record.as_ref().map_or(0, |record| record.json().len())
        };
        size_of::<Self>() + self.rows.iter().map(of_row).sum::<usize>()
    }
}

/// Changes in the making.
#[derive(Default)]
struct Merged {
    changes: Changes,
    /// Where a row stands in the list; kept from the time there are many of them.
    places: HashMap<(BucketId, RowId), usize>,
}

impl Merged {
    /// Notes what a row holds from now on; what it held until now.
    fn change(
        &mut self,
        state: &Snapshot,
        bucket: BucketId,
        row: RowId,
        after: Option<&Record>,
    ) -> Option<Record> {
        let rows = &mut self.changes.rows;
        let place = if rows.len() <= FEW {
            rows.iter().position(|change| change.bucket == bucket && change.row == row)
        } else {
            self.places.get(&(bucket, row)).copied()
        };
        if let Some(known) = place.and_then(|place| rows.get_mut(place)) {
            return std::mem::replace(&mut known.after, after.cloned());
        }
        let before = state.bucket_by_id(bucket).and_then(|bucket| bucket.row(row)).cloned();
        if rows.len() == FEW {
            self.places = rows.iter().enumerate().map(|(i, row)| ((row.bucket, row.row), i)).collect();
        }
        if rows.len() >= FEW {
            self.places.insert((bucket, row), rows.len());
        }
        rows.push(RowChange { bucket, row, before: before.clone(), after: after.cloned() });
        before
    }

    /// The name of a bucket that has been defined since.
    fn name(&self, bucket: BucketId) -> Option<Arc<str>> {
        self.changes.buckets.iter().find(|(known, _)| *known == bucket).map(|(_, name)| Arc::clone(name))
    }

    fn redefined(&mut self, bucket: BucketId, name: Arc<str>) {
        if !self.changes.buckets.iter().any(|(known, _)| *known == bucket) {
            self.changes.buckets.push((bucket, name));
        }
    }
}

impl Snapshot {
    /// This state with rows put back to what they held at an earlier position. Everything else stays as it is.
    pub(crate) fn rewound(&self, position: u64, changes: &[RowChange]) -> Self {
        let mut state = self.clone();
        state.put_back(changes.iter().map(|change| (change.bucket, change.row, change.before.as_ref())));
        state.position = position;
        state
    }
}
