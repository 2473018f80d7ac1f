//! What a closure query has read, and whether a commit can change it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::value::Constant;
use crate::{Bucket, BucketId, Change, Commit, Key, Member, Record, RowId};

/// What one run of a closure query has read. As long as no commit touches it, the result stays what it is.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    buckets: BTreeMap<BucketId, Scope>,
    /// Names of buckets that were asked for and are not defined.
    undefined: BTreeSet<Arc<str>>,
}

/// What was read of one bucket.
#[derive(Debug, Clone)]
struct Scope {
    name: Arc<str>,
    /// Any record can matter.
    whole: bool,
    /// The primary-key field.
    key: Member,
    /// Keys that were looked up, whether there was such a record or not.
    keys: HashSet<Constant>,
    /// The rows that were found.
    rows: BTreeSet<RowId>,
}

/// One thing that was read of a bucket.
pub(crate) enum Read<'a> {
    Whole,
    Row(RowId),
    Key(&'a Constant),
}

impl Reads {
    pub(super) fn undefined(&mut self, name: &str) {
        self.undefined.insert(name.into());
    }

    /// That the bucket is defined was seen, if nothing else.
    pub(super) fn defined(&mut self, bucket: &Bucket) {
        self.scope(bucket);
    }

    pub(super) fn whole(&mut self, bucket: &Bucket) {
        self.scope(bucket).whole = true;
    }

    pub(super) fn key(&mut self, bucket: &Bucket, key: Key<'_>, row: Option<RowId>) {
        let scope = self.scope(bucket);
        scope.keys.extend(Constant::of_field(&key.as_field()));
        scope.rows.extend(row);
    }

    fn scope(&mut self, bucket: &Bucket) -> &mut Scope {
        self.buckets.entry(bucket.id()).or_insert_with(|| Scope {
            name: bucket.name().clone(),
            whole: false,
            key: bucket.definition().member(bucket.definition().key().name()),
            keys: HashSet::new(),
            rows: BTreeSet::new(),
        })
    }

    /// The names of the buckets that were read or asked for, defined or not.
    pub fn buckets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.buckets.values().map(|scope| &scope.name).chain(&self.undefined)
    }

    /// The ids of the buckets that were read.
    pub fn ids(&self) -> impl Iterator<Item = BucketId> {
        self.buckets.keys().copied()
    }

    /// Whether a commit can change what was read. If not, the same run on the state behind the commit gives the same
    /// result; otherwise it may.
    pub fn touched_by(&self, commit: &Commit) -> bool {
        commit.changes.iter().any(|change| self.touched_by_change(change))
    }

    /// Whether what was read can change because this row holds another record now, or none.
    pub(crate) fn touched_by_row(&self, bucket: BucketId, row: RowId, after: Option<&Record>) -> bool {
        self.buckets
            .get(&bucket)
            .is_some_and(|scope| scope.reads_row(row) || after.is_some_and(|record| scope.reads_key(record)))
    }

    /// Everything that was read of buckets that there are.
    pub(crate) fn each(&self, mut read: impl FnMut(BucketId, Read<'_>)) {
        for (bucket, scope) in &self.buckets {
            if scope.whole {
                read(*bucket, Read::Whole);
                continue;
            }
            scope.rows.iter().for_each(|row| read(*bucket, Read::Row(*row)));
            scope.keys.iter().for_each(|key| read(*bucket, Read::Key(key)));
        }
    }

    fn touched_by_change(&self, change: &Change) -> bool {
        let scope = |bucket: &BucketId| self.buckets.get(bucket);
        match change {
            Change::Put { bucket, row, record } => {
                scope(bucket).is_some_and(|scope| scope.reads_row(*row) || scope.reads_key(record))
            }
            Change::Remove { bucket, row, .. } => scope(bucket).is_some_and(|scope| scope.reads_row(*row)),
            Change::Clear { bucket } => {
                scope(bucket).is_some_and(|scope| scope.whole || !scope.rows.is_empty())
            }
            Change::UpdateBucket { bucket, .. } | Change::DropBucket { bucket } => scope(bucket).is_some(),
            Change::DefineBucket { name, .. } => self.undefined.contains(name),
            Change::Counters { .. }
            | Change::DefineQuery { .. }
            | Change::UndefineQuery { .. }
            | Change::Answer(_)
            | Change::Entry { .. }
            | Change::Forget { .. } => false,
        }
    }
}

impl Scope {
    fn reads_row(&self, row: RowId) -> bool {
        self.whole || self.rows.contains(&row)
    }

    fn reads_key(&self, record: &Record) -> bool {
        !self.keys.is_empty()
            && Constant::of_field(&record.get(&self.key)).is_some_and(|key| self.keys.contains(&key))
    }
}
