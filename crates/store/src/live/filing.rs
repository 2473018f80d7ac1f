//! Where the changes look for a view: entered when it is made, taken out when it is closed or has to be made anew.

use std::sync::Arc;

use super::ViewId;
use super::view::Kept;
use super::views::{Views, Watched};
use crate::query::Read;
use crate::{BucketId, StoreError};

impl Views {
    /// Enters a view where changes look for it.
    pub(super) fn file(&mut self, id: ViewId) -> Result<(), StoreError> {
        let Some(view) = self.all.get(&id) else { return Ok(()) };
        let buckets = match &view.kept {
            Kept::Maintained(maintained) => maintained.query.buckets(&self.snapshot),
            Kept::Run { reads, .. } => reads.buckets().cloned().collect(),
        };
        self.depend(id, buckets);
        let Some(view) = self.all.get_mut(&id).filter(|view| !view.stale) else { return Ok(()) };
        match &mut view.kept {
            Kept::Maintained(maintained) => {
                // All of them are entered below.
                maintained.interests();
                let bucket = self.snapshot.bucket(maintained.query.bucket())?;
                let watched = self.buckets.entry(maintained.bucket).or_default();
                let filed = watched.matching.insert(bucket.definition(), id, maintained.query.filter());
                if filed.is_unindexed() {
                    watched.unindexed_tests += maintained.tests();
                    self.unindexed += 1;
                }
                let limit = self.limits.unindexed_tests;
                let unindexed = filed.is_unindexed() && watched.unindexed_tests > limit;
                view.filed = Some(filed);
                for (bucket, key) in maintained.all_interests() {
                    self.buckets.entry(bucket).or_default().readers.read_key(key, id);
                }
                if unindexed {
                    return Err(StoreError::UnindexedViews { bucket: bucket.name().as_ref().into(), limit });
                }
            }
            Kept::Run { reads, .. } => reads.each(|bucket, read| {
                let readers = &mut self.buckets.entry(bucket).or_default().readers;
                match read {
                    Read::Whole => readers.read_whole(id),
                    Read::Row(row) => readers.read_row(row, id),
                    Read::Key(key) => readers.read_key(key.clone(), id),
                }
            }),
        }
        Ok(())
    }

    /// Takes a view out from where changes look for it.
    pub(super) fn unfile(&mut self, id: ViewId) {
        let Some(view) = self.all.get_mut(&id) else { return };
        let mut emptied = Vec::new();
        match &view.kept {
            Kept::Maintained(maintained) => {
                if let (Some(filed), Some(watched)) =
                    (view.filed.take(), self.buckets.get_mut(&maintained.bucket))
                {
                    watched.matching.remove(id, &filed);
                    if filed.is_unindexed() {
                        watched.unindexed_tests -= maintained.tests();
                        self.unindexed -= 1;
                    }
                    emptied.push(maintained.bucket);
                    for (bucket, key) in maintained.all_interests() {
                        if let Some(watched) = self.buckets.get_mut(&bucket) {
                            watched.readers.forget_key(&key, id);
                            emptied.push(bucket);
                        }
                    }
                }
            }
            Kept::Run { reads, .. } => reads.each(|bucket, read| {
                let Some(Watched { readers, .. }) = self.buckets.get_mut(&bucket) else { return };
                match read {
                    Read::Whole => readers.forget_whole(id),
                    Read::Row(row) => readers.forget_row(row, id),
                    Read::Key(key) => readers.forget_key(key, id),
                }
                emptied.push(bucket);
            }),
        }
        for bucket in emptied {
            self.drop_if_unwatched(bucket);
        }
    }

    pub(super) fn drop_if_unwatched(&mut self, bucket: BucketId) {
        let empty = |watched: &Watched| watched.matching.is_empty() && watched.readers.is_empty();
        if self.buckets.get(&bucket).is_some_and(empty) {
            self.buckets.remove(&bucket);
        }
    }

    /// Notes on which buckets a view depends, whatever they may be.
    pub(super) fn depend(&mut self, id: ViewId, buckets: Vec<Arc<str>>) {
        let Some(view) = self.all.get_mut(&id) else { return };
        if view.buckets == buckets {
            return;
        }
        for name in &view.buckets {
            if let Some(dependents) = self.dependents.get_mut(name) {
                dependents.remove(&id);
                if dependents.is_empty() {
                    self.dependents.remove(name);
                }
            }
        }
        for name in &buckets {
            self.dependents.entry(Arc::clone(name)).or_default().insert(id);
        }
        view.buckets = buckets;
    }
}
