//! The only code that changes state.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{ApplyError, Bucket, BucketId, Change, Commit, Definition, Query, Snapshot};

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
        for change in &commit.changes {
            self.change(commit.position, change)?;
        }
        self.position = commit.position;
        Ok(())
    }

    fn change(&mut self, position: u64, change: &Change) -> Result<(), ApplyError> {
        let contradiction = |reason: String| ApplyError::Contradiction { position, reason };
        match change {
            Change::Put { bucket, row, record } => {
                if !self.bucket_mut(position, *bucket)?.put(*row, record.clone()) {
                    let reason = format!("row {} of bucket {} has no key or a taken one", row.0, bucket.0);
                    return Err(contradiction(reason));
                }
            }
            Change::Remove { bucket, row } => {
                if !self.bucket_mut(position, *bucket)?.remove(*row) {
                    return Err(ApplyError::UnknownRow { position, bucket: bucket.0, row: row.0 });
                }
            }
            Change::Clear { bucket } => self.bucket_mut(position, *bucket)?.clear(),
            Change::Counters { bucket, counters } => {
                self.bucket_mut(position, *bucket)?.set_counters(*counters);
            }
            Change::DefineBucket { bucket, name, config } => {
                let empty = empty_bucket(*bucket, name, config).map_err(contradiction)?;
                self.add_bucket(empty).map_err(contradiction)?;
            }
            Change::UpdateBucket { bucket, config } => {
                let bucket = self.bucket_mut(position, *bucket)?;
                let definition = read_definition(bucket.name(), config).map_err(contradiction)?;
                bucket.redefine(Arc::new(definition)).map_err(|(field, ..)| {
                    contradiction(format!("records have equal values in the new unique field \"{field}\""))
                })?;
            }
            Change::DropBucket { bucket } => match self.buckets.remove(bucket) {
                Some(dropped) => drop(self.bucket_names.remove(dropped.name())),
                None => return Err(ApplyError::UnknownBucket { position, bucket: bucket.0 }),
            },
            Change::DefineQuery { name, config } => self.define_query(name, config).map_err(contradiction)?,
            Change::UndefineQuery { name } => match self.query_names.remove(name) {
                Some(number) => drop(self.queries.remove(&number)),
                None => return Err(contradiction(format!("query \"{name}\" is not defined"))),
            },
        }
        Ok(())
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
        self.buckets.insert(id, Arc::new(bucket));
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

    /// The bucket of this id, not shared with other snapshots.
    fn bucket_mut(&mut self, position: u64, id: BucketId) -> Result<&mut Bucket, ApplyError> {
        match self.buckets.get_mut(&id) {
            Some(bucket) => Ok(Arc::make_mut(bucket)),
            None => Err(ApplyError::UnknownBucket { position, bucket: id.0 }),
        }
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
