//! Builds a snapshot from what a journal has stored.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use imbl::OrdMap;

use crate::answers::Answers;
use crate::apply::empty_bucket;
use crate::{Answer, Bucket, BucketId, Counters, Record, RestoreError, RowId, Snapshot};

/// Collects a stored state piece by piece and makes a [`Snapshot`] of it.
///
/// Buckets come before their rows and counters; rows may come in any order. Nothing is guessed: what cannot be read is
/// an error that names it.
///
/// ```
/// use dunlin_store::{BucketId, Restore, RowId};
/// use serde_json::json;
///
/// let mut restore = Restore::new("epoch-1");
/// restore.define_bucket(BucketId(0), "points", r#"{"key":"id","schema":{"id":{"type":"string"}}}"#)?;
/// let json = r#"{"id":"a","_version":1,"_createdAt":5,"_updatedAt":5}"#;
/// restore.put(BucketId(0), RowId(0), json)?;
/// let snapshot = restore.finish(7)?;
/// assert_eq!(snapshot.position(), 7);
/// let bucket = snapshot.bucket("points").unwrap();
/// assert_eq!(bucket.get(&json!("a")).map(|record| record.json()), Some(json));
/// # Ok::<(), dunlin_store::RestoreError>(())
/// ```
#[derive(Debug)]
pub struct Restore {
    epoch: Arc<str>,
    buckets: BTreeMap<BucketId, Stored>,
    queries: Vec<(Arc<str>, Arc<str>)>,
    answers: Answers,
    entries: OrdMap<Arc<str>, Arc<str>>,
    next_bucket: u32,
}

/// One bucket so far.
#[derive(Debug)]
struct Stored {
    bucket: Bucket,
    rows: Vec<(RowId, Record)>,
}

impl Restore {
    /// Nothing yet, of the history called `epoch`.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self {
            epoch: epoch.into(),
            buckets: BTreeMap::new(),
            queries: Vec::new(),
            answers: Answers::new(),
            entries: OrdMap::new(),
            next_bucket: 0,
        }
    }

    /// Adds a bucket with its newest definition (JSON text).
    ///
    /// # Errors
    /// [`RestoreError::Bucket`] if the id was given before or the definition cannot be read.
    pub fn define_bucket(&mut self, id: BucketId, name: &str, config: &str) -> Result<(), RestoreError> {
        let refuse = |reason| RestoreError::Bucket { bucket: id.0, name: name.to_owned(), reason };
        let bucket = empty_bucket(id, &name.into(), config).map_err(refuse)?;
        match self.buckets.entry(id) {
            Entry::Occupied(_) => Err(refuse("its id is stored twice".into())),
            Entry::Vacant(place) => {
                place.insert(Stored { bucket, rows: Vec::new() });
                Ok(())
            }
        }
    }

    /// Adds a row: the record's JSON text as [`Record::json`] gave it.
    ///
    /// # Errors
    /// [`RestoreError::UnknownBucket`], or [`RestoreError::Row`] if the text is no record.
    pub fn put(&mut self, bucket: BucketId, row: RowId, json: &str) -> Result<(), RestoreError> {
        let stored = self.stored(bucket)?;
        match Record::parse(json, stored.bucket.definition()) {
            Ok(record) => {
                stored.rows.push((row, record));
                Ok(())
            }
            Err(reason) => Err(stored.row_error(row, reason)),
        }
    }

    /// Sets a bucket's counters.
    ///
    /// # Errors
    /// [`RestoreError::UnknownBucket`].
    pub fn counters(&mut self, bucket: BucketId, counters: Counters) -> Result<(), RestoreError> {
        self.stored(bucket)?.bucket.set_counters(counters);
        Ok(())
    }

    /// Adds a query (its config as JSON text), in the order of definition.
    pub fn define_query(&mut self, name: &str, config: &str) {
        self.queries.push((name.into(), config.into()));
    }

    /// Adds an answer that is remembered; in the order in which they were given, as [`Snapshot::answers`] tells them.
    ///
    /// # Errors
    /// [`RestoreError::Answer`] if its scope and key were given before.
    pub fn answer(&mut self, answer: Answer) -> Result<(), RestoreError> {
        let place = self.answers.place(&answer.scope, &answer.key);
        if self.answers.at(place).is_some() {
            let (scope, key) = (answer.scope.to_string(), answer.key.to_string());
            return Err(RestoreError::Answer { scope, key, reason: "it is stored twice".into() });
        }
        self.answers.remember(Arc::new(answer), place);
        Ok(())
    }

    /// Adds an entry of the server's own.
    ///
    /// # Errors
    /// [`RestoreError::Entry`] if its key was given before.
    pub fn entry(&mut self, key: Arc<str>, value: Arc<str>) -> Result<(), RestoreError> {
        if self.entries.contains_key(&key) {
            return Err(RestoreError::Entry { key: key.to_string() });
        }
        self.entries.insert(key, value);
        Ok(())
    }

    /// The id that the next defined bucket gets at least, so that ids of dropped buckets are never given again.
    pub fn next_bucket(&mut self, id: u32) {
        self.next_bucket = self.next_bucket.max(id);
    }

    /// Builds tables and indexes: the state after commit `position`.
    ///
    /// # Errors
    /// [`RestoreError`] if buckets, rows or queries contradict one another (names, keys or unique values twice) or a
    /// query cannot be read.
    pub fn finish(self, position: u64) -> Result<Snapshot, RestoreError> {
        let mut snapshot = Snapshot::new(self.epoch);
        for (id, Stored { mut bucket, rows }) in self.buckets {
            let name = bucket.name().to_string();
            if let Err((row, reason)) = bucket.load(rows) {
                return Err(RestoreError::Row { bucket: id.0, name, row: row.0, reason });
            }
            let refuse = |reason| RestoreError::Bucket { bucket: id.0, name, reason };
            snapshot.add_bucket(bucket).map_err(refuse)?;
        }
        for (name, config) in self.queries {
            let refuse = |reason| RestoreError::Query { name: name.to_string(), reason };
            snapshot.define_query(&name, &config).map_err(refuse)?;
        }
        snapshot.next_bucket = snapshot.next_bucket.max(self.next_bucket);
        snapshot.answers = Arc::new(self.answers);
        snapshot.entries = self.entries;
        snapshot.position = position;
        Ok(snapshot)
    }

    fn stored(&mut self, bucket: BucketId) -> Result<&mut Stored, RestoreError> {
        self.buckets.get_mut(&bucket).ok_or(RestoreError::UnknownBucket { bucket: bucket.0 })
    }
}

impl Stored {
    fn row_error(&self, row: RowId, reason: String) -> RestoreError {
        let (bucket, name) = (self.bucket.id().0, self.bucket.name().to_string());
        RestoreError::Row { bucket, name, row: row.0, reason }
    }
}
