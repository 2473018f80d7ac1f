//! Commits worked out into single writes, before any of them is made.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dunlin_store::{BucketId, Change, Commit};
use fjall::OwnedWriteBatch;

use super::book::{Book, Bucket};
use super::engine::Engine;
use super::layout::{
    NEXT_BUCKET_KEY, Named, POSITION_KEY, RowKey, bucket_key, counters_key, counters_value, generation_key,
    query_key, sweep_key,
};
use crate::JournalError;

/// The writes of one batch. Each key is written once, with its last value: the engine orders the writes of a batch by
/// key only, so two for one key would contradict each other.
pub(super) struct Stage<'a> {
    /// `None` removes.
    meta: BTreeMap<String, Option<Vec<u8>>>,
    /// `None` removes.
    rows: HashMap<RowKey, Option<&'a str>>,
    /// The book after the batch; copied only if the batch changes definitions.
    book: Cow<'a, Book>,
}

impl<'a> Stage<'a> {
    /// Works the commits out. Nothing is written if one of them refers to what is not there.
    pub(super) fn of(commits: &'a [Commit], book: &'a Book) -> Result<Self, JournalError> {
        let mut stage = Self { meta: BTreeMap::new(), rows: HashMap::new(), book: Cow::Borrowed(book) };
        for commit in commits {
            for change in &commit.changes {
                stage
                    .change(change)
                    .map_err(|reason| JournalError::Contradiction { position: commit.position, reason })?;
            }
        }
        if let Some(last) = commits.last() {
            stage.put(POSITION_KEY.to_owned(), last.position.to_be_bytes());
        }
        Ok(stage)
    }

    /// Removes a row that an earlier batch made unreachable.
    pub(super) fn sweep_row(&mut self, key: RowKey) {
        self.rows.insert(key, None);
    }

    /// All rows of a generation are removed with this batch.
    pub(super) fn swept(&mut self, bucket: u32, generation: u32) {
        self.book.to_mut().sweeps.remove(&(bucket, generation));
        self.meta.insert(sweep_key(bucket, generation), None);
    }

    /// Hands the writes to the engine's batch.
    pub(super) fn fill(&self, engine: &Engine, batch: &mut OwnedWriteBatch) {
        for (key, value) in &self.meta {
            match value {
                Some(value) => batch.insert(&engine.meta, key.as_str(), value.as_slice()),
                None => batch.remove(&engine.meta, key.as_str()),
            }
        }
        for (key, value) in &self.rows {
            match value {
                Some(json) => batch.insert(&engine.rows, key.bytes(), *json),
                None => batch.remove(&engine.rows, key.bytes()),
            }
        }
    }

    /// The book after the batch, if it is another one.
    pub(super) fn into_changed_book(self) -> Option<Book> {
        match self.book {
            Cow::Borrowed(_) => None,
            Cow::Owned(book) => Some(book),
        }
    }

    fn put(&mut self, key: String, value: impl Into<Vec<u8>>) {
        self.meta.insert(key, Some(value.into()));
    }

    /// Writes one change; a sentence if it does not fit what is there.
    fn change(&mut self, change: &'a Change) -> Result<(), String> {
        match change {
            Change::DefineBucket { bucket, name, config } => {
                return self.define_bucket(*bucket, name, config);
            }
            Change::UpdateBucket { bucket, config } => {
                let name = self.bucket(*bucket)?.name.clone();
                self.put(bucket_key(bucket.0), named(&name, config)?);
            }
            Change::DropBucket { bucket } => {
                let generation = self.bucket(*bucket)?.generation;
                self.book.to_mut().buckets.remove(&bucket.0);
                for key in [bucket_key(bucket.0), generation_key(bucket.0), counters_key(bucket.0)] {
                    self.meta.insert(key, None);
                }
                self.abandon(bucket.0, generation);
            }
            Change::DefineQuery { name, config } => {
                if self.book.queries.contains_key(name) {
                    return Err(format!("query \"{name}\" exists already"));
                }
                let book = self.book.to_mut();
                let order = book.next_query;
                book.next_query += 1;
                book.queries.insert(Arc::clone(name), order);
                self.put(query_key(order), named(name, config)?);
            }
            Change::UndefineQuery { name } => {
                let removed = self.book.to_mut().queries.remove(name);
                let order = removed.ok_or_else(|| format!("query \"{name}\" does not exist"))?;
                self.meta.insert(query_key(order), None);
            }
            Change::Put { bucket, .. }
            | Change::Remove { bucket, .. }
            | Change::Clear { bucket }
            | Change::Counters { bucket, .. }
                if self.bucket(*bucket)?.volatile => {}
            Change::Put { bucket, row, record } => {
                let generation = self.bucket(*bucket)?.generation;
                self.rows.insert(RowKey { bucket: bucket.0, generation, row: row.0 }, Some(record.json()));
            }
            Change::Remove { bucket, row, .. } => {
                let generation = self.bucket(*bucket)?.generation;
                self.rows.insert(RowKey { bucket: bucket.0, generation, row: row.0 }, None);
            }
            Change::Clear { bucket } => {
                let generation = self.bucket(*bucket)?.generation;
                let next = generation.checked_add(1).ok_or("the bucket was cleared too often")?;
                if let Some(entry) = self.book.to_mut().buckets.get_mut(&bucket.0) {
                    entry.generation = next;
                }
                self.put(generation_key(bucket.0), next.to_be_bytes());
                self.abandon(bucket.0, generation);
            }
            Change::Counters { bucket, counters } => {
                self.bucket(*bucket)?;
                self.put(counters_key(bucket.0), counters_value(*counters));
            }
            other => return Err(format!("this version cannot store {other:?}")),
        }
        Ok(())
    }

    fn define_bucket(&mut self, bucket: BucketId, name: &Arc<str>, config: &str) -> Result<(), String> {
        // An id below the next one was used before: its old rows could come back under the new name.
        if bucket.0 < self.book.next_bucket {
            return Err(format!("bucket id {} is used up", bucket.0));
        }
        let next = bucket.0.checked_add(1).ok_or("there are no bucket ids left")?;
        let book = self.book.to_mut();
        book.next_bucket = next;
        book.buckets.insert(bucket.0, Bucket::new(Arc::clone(name), 0, config));
        self.put(NEXT_BUCKET_KEY.to_owned(), next.to_be_bytes());
        self.put(generation_key(bucket.0), 0_u32.to_be_bytes());
        self.put(bucket_key(bucket.0), named(name, config)?);
        Ok(())
    }

    /// Marks the rows of a generation as garbage.
    fn abandon(&mut self, bucket: u32, generation: u32) {
        self.book.to_mut().sweeps.insert((bucket, generation));
        self.put(sweep_key(bucket, generation), []);
    }

    fn bucket(&self, bucket: BucketId) -> Result<&Bucket, String> {
        self.book.buckets.get(&bucket.0).ok_or_else(|| format!("bucket {} does not exist", bucket.0))
    }
}

fn named(name: &str, config: &str) -> Result<Vec<u8>, String> {
    let named = Named { name: name.to_owned(), config: config.to_owned() };
    serde_json::to_vec(&named).map_err(|error| error.to_string())
}
