//! The only code that changes state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::bucket::Marks;
use crate::snapshot::Referrer;
use crate::{
    ApplyError, Bucket, BucketId, Change, Commit, Counters, Definition, Query, Record, Reference, RowId,
    Snapshot,
};

/// Rows that were taken out for others, which must come again or go in the same commit; and the rows they made way for.
type Displaced = BTreeMap<(BucketId, RowId), RowId>;

impl Snapshot {
    /// Applies the next commit of this history. Deterministic. Works in place on what this clone does not share with
    /// others; what is shared is copied first, so other clones never change.
    ///
    /// # Errors
    /// [`ApplyError`] if the commit is not the next one or does not follow from this state. The snapshot may be half
    /// changed then and must be thrown away.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), ApplyError> {
        if Some(commit.position) != self.position.checked_add(1) {
            return Err(ApplyError::Position { position: self.position, found: commit.position });
        }
        let mut displaced = Displaced::new();
        for change in &commit.changes {
            match change {
                Change::Put { bucket, row, record } => {
                    displaced.remove(&(*bucket, *row));
                    if self.change(commit.position, change).is_ok() {
                        continue;
                    }
                    self.displace(*bucket, *row, record, &mut displaced);
                }
                Change::Remove { bucket, row, .. } if displaced.remove(&(*bucket, *row)).is_some() => {
                    continue;
                }
                _ => {}
            }
            self.change(commit.position, change)?;
        }
        if let Some(((bucket, _), row)) = displaced.first_key_value() {
            let reason = format!("row {} of bucket {} has a taken key", row.0, bucket.0);
            return Err(ApplyError::Contradiction { position: commit.position, reason });
        }
        self.position = commit.position;
        Ok(())
    }

    /// Takes out the row that has the key of a record that is about to be put elsewhere: records of one commit may have
    /// passed their keys on in a ring, and then there is no order in which they are all free.
    fn displace(&mut self, id: BucketId, row: RowId, record: &Record, displaced: &mut Displaced) {
        let holder = self.buckets.get(&id).and_then(|bucket| bucket.find(bucket.key_of(record)?));
        if let Some((holder, _)) = holder.filter(|(holder, _)| *holder != row) {
            self.remove(id, holder);
            displaced.insert((id, holder), row);
        }
    }

    /// Makes one change.
    pub(crate) fn change(&mut self, position: u64, change: &Change) -> Result<(), ApplyError> {
        let contradiction = |reason: String| ApplyError::Contradiction { position, reason };
        let unknown = |bucket: &BucketId| ApplyError::UnknownBucket { position, bucket: bucket.0 };
        match change {
            Change::Put { bucket, row, record } => {
                self.buckets.get(bucket).ok_or_else(|| unknown(bucket))?;
                if !self.put(*bucket, *row, record.clone()) {
                    let reason = format!("row {} of bucket {} has no key or a taken one", row.0, bucket.0);
                    return Err(contradiction(reason));
                }
            }
            Change::Remove { bucket, row, .. } => {
                self.buckets.get(bucket).ok_or_else(|| unknown(bucket))?;
                if !self.remove(*bucket, *row) {
                    return Err(ApplyError::UnknownRow { position, bucket: bucket.0, row: row.0 });
                }
            }
            Change::Clear { bucket } => {
                self.with_bucket(*bucket, Bucket::clear).ok_or_else(|| unknown(bucket))?;
            }
            Change::Counters { bucket, counters } => {
                if !self.set_counters(*bucket, *counters) {
                    return Err(unknown(bucket));
                }
            }
            Change::DefineBucket { bucket, name, config } => {
                let empty = empty_bucket(*bucket, name, config).map_err(contradiction)?;
                self.add_bucket(empty).map_err(contradiction)?;
            }
            Change::UpdateBucket { bucket, config } => {
                let old = self.buckets.get(bucket).ok_or_else(|| unknown(bucket))?;
                let definition = Arc::new(read_definition(old.name(), config).map_err(contradiction)?);
                self.forget_references(*bucket);
                self.with_bucket(*bucket, |bucket| bucket.redefine(definition));
                self.note_references(*bucket);
            }
            Change::DropBucket { bucket } => {
                self.forget_references(*bucket);
                let dropped = self.buckets.remove(bucket).ok_or_else(|| unknown(bucket))?;
                self.bucket_names.remove(dropped.name());
                if let Some(deadline) = dropped.next_deadline() {
                    self.deadlines.remove(&(deadline, *bucket));
                }
            }
            Change::DefineQuery { name, config } => self.define_query(name, config).map_err(contradiction)?,
            Change::UndefineQuery { name } => match self.query_names.remove(name) {
                Some(number) => drop(self.queries.remove(&number)),
                None => return Err(contradiction(format!("query \"{name}\" is not defined"))),
            },
            Change::Answer(answer) => {
                if answer.position != position {
                    let (scope, key, other) = (&answer.scope, &answer.key, answer.position);
                    return Err(contradiction(format!("answer \"{key}\" of {scope} is of commit {other}")));
                }
                let place = self.answers.place(&answer.scope, &answer.key);
                Arc::make_mut(&mut self.answers).remember(Arc::clone(answer), place);
            }
            Change::Entry { key, value } => self.set_entry(Arc::clone(key), value.clone()),
            Change::Forget { until } => Arc::make_mut(&mut self.answers).forget(*until),
        }
        Ok(())
    }

    /// Writes an entry, or removes it.
    pub(crate) fn set_entry(&mut self, key: Arc<str>, value: Option<Arc<str>>) {
        match value {
            Some(value) => drop(self.entries.insert(key, value)),
            None => drop(self.entries.remove(&*key)),
        }
    }

    /// Adds or replaces a row; `false` if there is no such bucket, or the record's key is missing or taken.
    pub(crate) fn put(&mut self, bucket: BucketId, row: RowId, record: Record) -> bool {
        self.with_bucket(bucket, |bucket| bucket.put(row, record)).unwrap_or(false)
    }

    /// Removes a row; `false` if it is not there.
    pub(crate) fn remove(&mut self, bucket: BucketId, row: RowId) -> bool {
        self.with_bucket(bucket, |bucket| bucket.remove(row)).unwrap_or(false)
    }

    /// Puts rows back to what they held before; where that is nothing they are removed.
    pub(crate) fn put_back<'r>(
        &mut self,
        rows: impl Iterator<Item = (BucketId, RowId, Option<&'r Record>)> + Clone,
    ) {
        // A row may have the key that another one gets back, so those that have other keys than before go first.
        for (id, row, before) in rows.clone() {
            let Some(bucket) = self.bucket_by_id(id) else { continue };
            let key = before.and_then(|record| bucket.key_of(record));
            if bucket.row(row).is_some_and(|record| bucket.key_of(record) != key) {
                self.remove(id, row);
            }
        }
        for (bucket, row, before) in rows {
            if let Some(record) = before {
                self.put(bucket, row, record.clone());
            }
        }
    }

    /// Sets a bucket's counters; `false` if there is no such bucket.
    pub(crate) fn set_counters(&mut self, bucket: BucketId, counters: Counters) -> bool {
        self.with_bucket(bucket, |bucket| bucket.set_counters(counters)).is_some()
    }

    /// Sets what a bucket remembers beside its rows.
    pub(crate) fn set_marks(&mut self, bucket: BucketId, marks: Marks) {
        self.with_bucket(bucket, |bucket| bucket.set_marks(marks));
    }

    /// Changes a bucket, copying it first if other snapshots share it, and keeps the earliest deadlines of all buckets.
    fn with_bucket<T>(&mut self, id: BucketId, change: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let bucket = Arc::make_mut(self.buckets.get_mut(&id)?);
        let before = bucket.next_deadline();
        let result = change(bucket);
        let after = bucket.next_deadline();
        if before != after {
            if let Some(time) = before {
                self.deadlines.remove(&(time, id));
            }
            if let Some(time) = after {
                self.deadlines.insert((time, id));
            }
        }
        Some(result)
    }

    /// Enters the fields of a bucket that refer to others.
    fn note_references(&mut self, id: BucketId) {
        for (target, referrer) in self.references_of(id) {
            let mut list = self.referrers.get(&target).map(|list| list.to_vec()).unwrap_or_default();
            list.push(referrer);
            self.referrers.insert(target, list.into());
        }
    }

    /// Takes them out again.
    fn forget_references(&mut self, id: BucketId) {
        for (target, _) in self.references_of(id) {
            let Some(list) = self.referrers.get(&target) else { continue };
            let left: Arc<[Referrer]> =
                list.iter().filter(|referrer| referrer.bucket != id).copied().collect();
            if left.is_empty() {
                self.referrers.remove(&target);
            } else {
                self.referrers.insert(target, left);
            }
        }
    }

    fn references_of(&self, id: BucketId) -> Vec<(Arc<str>, Referrer)> {
        let fields = self
            .buckets
            .get(&id)
            .into_iter()
            .flat_map(|bucket| bucket.definition().fields().iter().enumerate());
        let refer = fields.filter_map(|(slot, field)| {
            let Reference { bucket, on_delete } = field.reference()?;
            Some((bucket.clone(), Referrer { bucket: id, slot, on_delete: *on_delete }))
        });
        refer.collect()
    }

    /// Adds a bucket of a new id and name.
    pub(crate) fn add_bucket(&mut self, bucket: Bucket) -> Result<(), String> {
        let (id, name) = (bucket.id(), bucket.name().clone());
        if id.0 < self.next_bucket {
            return Err(format!("bucket id {} was given before", id.0));
        }
        if self.bucket_names.contains_key(&name) {
            return Err(format!("bucket \"{name}\" is defined already"));
        }
        self.next_bucket = id.0.checked_add(1).ok_or("all bucket ids are used up")?;
        self.bucket_names.insert(name, id);
        if let Some(deadline) = bucket.next_deadline() {
            self.deadlines.insert((deadline, id));
        }
        self.buckets.insert(id, Arc::new(bucket));
        self.note_references(id);
        Ok(())
    }

    /// Adds a query.
    pub(crate) fn define_query(&mut self, name: &Arc<str>, config: &str) -> Result<(), String> {
        if self.query_names.contains_key(name) {
            return Err(format!("query \"{name}\" is defined already"));
        }
        let query = Query::parse(name, &read_object(config)?).map_err(|error| error.to_string())?;
        self.query_names.insert(name.clone(), self.next_query);
        self.queries.insert(self.next_query, Arc::new(query));
        self.next_query += 1;
        Ok(())
    }
}

/// A new bucket from its definition's text.
pub(crate) fn empty_bucket(id: BucketId, name: &Arc<str>, config: &str) -> Result<Bucket, String> {
    Ok(Bucket::new(id, name.clone(), Arc::new(read_definition(name, config)?)))
}

fn read_definition(name: &str, config: &str) -> Result<Definition, String> {
    Definition::parse(name, &read_object(config)?).map_err(|error| error.to_string())
}

fn read_object(config: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(config).map_err(|error| format!("the definition is no JSON object: {error}"))
}
