//! One view: what it keeps, made on one state and taken along from change to change.

use std::sync::Arc;

use super::fold::FoldView;
use super::groups::GroupsView;
use super::history::RowChange;
use super::patch;
use super::rows::{Interest, RowsView};
use super::{Delta, LiveQuery};
use crate::query::{RowWriter, rows};
use crate::value::Constant;
use crate::{BoundQuery, Bucket, BucketId, Member, Reads, Snapshot, StoreError};

/// What a view keeps of a query's result.
#[derive(Debug)]
pub(crate) enum Kept {
    Maintained(Box<Maintained>),
    /// The result of a closure as JSON text, and what it has read.
    Run {
        result: Arc<str>,
        reads: Reads,
    },
}

/// A declarative query's result in the making.
#[derive(Debug)]
pub(crate) struct Maintained {
    pub(crate) query: BoundQuery,
    pub(crate) bucket: BucketId,
    /// The members that the tests of the filter look at.
    pub(crate) members: Box<[Member]>,
    result: Maintenance,
}

#[derive(Debug)]
enum Maintenance {
    Rows(RowsView),
    Fold(FoldView),
    Groups(GroupsView),
}

impl Kept {
    /// Works a query out from scratch.
    ///
    /// # Errors
    /// Those of the query, and what a closure has read for it.
    pub(crate) fn build(
        query: &LiveQuery,
        snapshot: &Snapshot,
        reserve: usize,
    ) -> Result<Self, Box<(StoreError, Reads)>> {
        match query {
            LiveQuery::Declarative(bound) => match Maintained::build(bound, snapshot, reserve) {
                Ok(maintained) => Ok(Self::Maintained(Box::new(maintained))),
                Err(error) => Err(Box::new((error, Reads::default()))),
            },
            LiveQuery::Programmatic { query, params, guard } => {
                match query.run_guarded(snapshot, params, guard) {
                    (Ok(value), reads) => Ok(Self::Run { result: value.to_string().into(), reads }),
                    (Err(error), reads) => Err(Box::new((error, reads))),
                }
            }
        }
    }

    /// The result as JSON text; `None` if it is undefined.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if included records make it too long, [`StoreError::BucketNotDefined`].
    pub(crate) fn encode(&self, snapshot: &Snapshot) -> Result<Option<Arc<str>>, StoreError> {
        match self {
            Self::Maintained(maintained) => Ok(maintained.encode(snapshot)?.map(Arc::from)),
            Self::Run { result, .. } => Ok(Some(Arc::clone(result))),
        }
    }
}

impl Kept {
    /// Bytes that it holds, about, beside records that are in the state anyway.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Maintained(maintained) => match &maintained.result {
                Maintenance::Rows(view) => view.len() * RowsView::BYTES_EACH,
                Maintenance::Fold(view) => view.numbers() * FoldView::BYTES_EACH,
                Maintenance::Groups(view) => view.len() * GroupsView::BYTES_EACH,
            },
            Self::Run { result, .. } => result.len(),
        }
    }
}

impl Maintained {
    /// How many tests it makes of a record, one at least.
    pub(crate) fn tests(&self) -> usize {
        self.query.filter().tests().max(1)
    }

    fn build(query: &BoundQuery, snapshot: &Snapshot, reserve: usize) -> Result<Self, StoreError> {
        let bucket = snapshot.bucket(query.bucket())?;
        let (filter, shape) = (query.filter(), query.shape());
        let members: Box<[Member]> = filter.resolve(bucket.definition()).into();
        let result = match &shape.fold {
            None => {
                let matcher = filter.matcher_of(&members);
                Maintenance::Rows(RowsView::build(snapshot, bucket, query, &matcher, reserve))
            }
            Some(fold) => match &fold.group_by {
                None => Maintenance::Fold(FoldView::build(bucket, fold.function, &fold.field, filter)),
                Some(by) => {
                    Maintenance::Groups(GroupsView::build(bucket, by, fold.function, &fold.field, filter))
                }
            },
        };
        Ok(Self { query: query.clone(), bucket: bucket.id(), members, result })
    }

    /// A row of its bucket has changed. Whether that is of any concern.
    pub(crate) fn change(&mut self, change: &RowChange, delta: &mut Delta) -> bool {
        let matcher = self.query.filter().matcher_of(&self.members);
        let before = change.before.as_ref().filter(|record| matcher.matches(record));
        let after = change.after.as_ref().filter(|record| matcher.matches(record));
        if before.is_none() && after.is_none() {
            return false;
        }
        match &mut self.result {
            Maintenance::Rows(view) => view.change(change.row, before, after, delta),
            Maintenance::Fold(view) => view.change(before, after),
            Maintenance::Groups(view) => view.change(change.row, before, after),
        }
        true
    }

    /// The record that another bucket has under a key is another one, or was removed. Whether that is of any concern.
    pub(crate) fn included(
        &mut self,
        change: &RowChange,
        key: &Constant,
        snapshot: &Snapshot,
        delta: &mut Delta,
    ) -> bool {
        match (&mut self.result, snapshot.bucket_by_id(change.bucket)) {
            (Maintenance::Rows(view), Some(bucket)) => view.included(bucket, change, key, delta),
            _ => false,
        }
    }

    /// Closes a step that leads to the state `snapshot`.
    pub(crate) fn settle(&mut self, snapshot: &Snapshot, delta: &mut Delta) {
        match &mut self.result {
            Maintenance::Rows(view) => delta.cancel(|before, after| view.alike(before, after)),
            Maintenance::Fold(view) => view.settle(delta),
            Maintenance::Groups(view) => {
                if let Some(bucket) = snapshot.bucket_by_id(self.bucket) {
                    view.settle(bucket, delta);
                }
            }
        }
    }

    /// Applies changes that are not told apart: all that has happened until the state `snapshot`.
    pub(crate) fn catch_up(&mut self, changes: &[RowChange], snapshot: &Snapshot, delta: &mut Delta) {
        for change in changes {
            if change.bucket == self.bucket {
                self.change(change, delta);
            }
            if self.refers() {
                for key in keys_of(change, snapshot) {
                    self.included(change, &key, snapshot, delta);
                }
            }
        }
        self.settle(snapshot, delta);
    }

    /// Whether it cannot tell its result any more and must be made anew.
    pub(crate) fn is_short(&self) -> bool {
        matches!(&self.result, Maintenance::Rows(view) if view.is_short())
    }

    /// Whether its records include others.
    fn refers(&self) -> bool {
        !self.query.shape().includes.is_empty()
    }

    /// Whether it shows some members of its records only.
    pub(crate) fn shows_parts(&self) -> bool {
        !self.query.shape().fields.is_empty() && matches!(self.result, Maintenance::Rows(_))
    }

    /// The keys of other buckets that have become of interest, or are not any more.
    pub(crate) fn interests(&mut self) -> Vec<Interest> {
        match &mut self.result {
            Maintenance::Rows(view) => view.interests(),
            _ => Vec::new(),
        }
    }

    /// All keys of other buckets that are of interest.
    pub(crate) fn all_interests(&self) -> Vec<(BucketId, Constant)> {
        match &self.result {
            Maintenance::Rows(view) => {
                view.all_interests().map(|(bucket, key)| (bucket, key.clone())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The result as JSON text.
    pub(crate) fn encode(&self, snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
        match &self.result {
            Maintenance::Rows(view) => {
                let bucket = self.bucket(snapshot)?;
                let writer = RowWriter::new(snapshot, bucket, &self.query);
                rows(&writer, view.shown()).map(Some)
            }
            Maintenance::Fold(view) => Ok(view.encode()),
            Maintenance::Groups(view) => Ok(Some(view.encode())),
        }
    }

    /// The operations of a JSON Patch for what a step has done; `None` if only the whole result tells it.
    pub(crate) fn patch(&self, delta: &Delta, snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
        let bucket = self.bucket(snapshot)?;
        let writer = RowWriter::new(snapshot, bucket, &self.query);
        Ok(patch::operations(delta, Some(&writer)))
    }

    fn bucket<'s>(&self, snapshot: &'s Snapshot) -> Result<&'s Bucket, StoreError> {
        let defined = snapshot.bucket_by_id(self.bucket);
        defined.ok_or_else(|| StoreError::BucketNotDefined { bucket: self.query.bucket().into() })
    }

    /// How it is maintained, for people.
    pub(crate) fn maintenance(&self) -> &'static str {
        match &self.result {
            Maintenance::Rows(view) if view.is_complete() => "rows",
            Maintenance::Rows(_) => "window",
            Maintenance::Fold(_) => "totals",
            Maintenance::Groups(_) => "groups",
        }
    }

    /// How many records, or groups, it holds.
    pub(crate) fn held(&self) -> usize {
        match &self.result {
            Maintenance::Rows(view) => view.len(),
            Maintenance::Fold(_) => 1,
            Maintenance::Groups(view) => view.len(),
        }
    }
}

/// The keys under which a record was and is known.
pub(crate) fn keys_of(change: &RowChange, snapshot: &Snapshot) -> Vec<Constant> {
    let Some(bucket) = snapshot.bucket_by_id(change.bucket) else { return Vec::new() };
    let key = |record: &crate::Record| Constant::of_field(&bucket.key_of(record)?.as_field());
    let mut keys: Vec<Constant> = change.before.iter().chain(&change.after).filter_map(key).collect();
    keys.dedup();
    keys
}
