//! Reading the stored state back. Whatever does not fit is named and refused: a state with holes would look whole.

use std::collections::BTreeMap;

use dunlin_store::{BucketId, Counters, Restore, RestoreError, RowId, Snapshot};
use fjall::Keyspace;

use super::book::{Book, Bucket};
use super::engine::Engine;
use super::layout::{EPOCH_KEY, FORMAT, FORMAT_KEY, MetaKey, Named, RowKey, read_counters};
use crate::JournalError;
use crate::limits::SHOWN_CHARS;

/// The keyspace `meta`, read as a whole.
pub(super) struct Meta {
    pub(super) epoch: String,
    pub(super) position: u64,
    pub(super) book: Book,
    definitions: BTreeMap<u32, Definition>,
    /// In the order of their definition.
    queries: Vec<Named>,
}

struct Definition {
    config: String,
    counters: Counters,
}

/// What was found under the keys of `meta`, before it is known to be complete.
#[derive(Default)]
struct Found {
    epoch: Option<String>,
    position: Option<u64>,
    next_bucket: Option<u32>,
    buckets: BTreeMap<u32, Named>,
    generations: BTreeMap<u32, u32>,
    counters: BTreeMap<u32, Counters>,
    book: Book,
    queries: Vec<Named>,
}

impl Meta {
    /// Reads it; `None` if the database is new.
    pub(super) fn read(engine: &Engine) -> Result<Option<Self>, JournalError> {
        let unreadable = |error| engine.unreadable("keyspace meta", error);
        let Some(format) = engine.meta.get(FORMAT_KEY).map_err(unreadable)? else {
            return Self::check_new(engine);
        };
        // Before anything else: in another format the other keys may mean something else.
        match std::str::from_utf8(&format).ok().and_then(|text| text.parse::<u32>().ok()) {
            Some(format) if (1..=FORMAT).contains(&format) => {}
            found => {
                return Err(JournalError::Format {
                    dir: engine.dir().to_owned(),
                    found: found.map_or_else(|| shown(&format), |number| number.to_string()),
                    supported: FORMAT.to_string(),
                });
            }
        }
        let mut found = Found::default();
        for entry in engine.meta.iter() {
            let (key, value) = entry.into_inner().map_err(unreadable)?;
            let place = || format!("keyspace meta, key {}", shown(&key));
            let key = MetaKey::read(&key).ok_or_else(|| engine.damaged(place(), "there is no such key"))?;
            found
                .take(key, &value)
                .ok_or_else(|| engine.damaged(place(), format!("unexpected value {}", shown(&value))))?;
        }
        found.finish(engine).map(Some)
    }

    /// A new database is empty; one that lost its first key is not.
    fn check_new(engine: &Engine) -> Result<Option<Self>, JournalError> {
        for (keyspace, name) in [(&engine.meta, "meta"), (&engine.rows, "rows")] {
            if !keyspace.is_empty().map_err(|error| engine.unreadable(format!("keyspace {name}"), error))? {
                return Err(engine.damaged(format!("keyspace meta, key {FORMAT_KEY}"), "it is missing"));
            }
        }
        Ok(None)
    }

    /// The whole state.
    pub(super) fn restore(&self, engine: &Engine) -> Result<Snapshot, JournalError> {
        let misfit = |error| self.misfit(engine, &error);
        let mut restore = Restore::new(self.epoch.as_str());
        for (id, definition) in &self.definitions {
            let bucket = BucketId(*id);
            let name = self.book.buckets.get(id).map_or("", |bucket| &bucket.name);
            restore.define_bucket(bucket, name, &definition.config).map_err(misfit)?;
            restore.counters(bucket, definition.counters).map_err(misfit)?;
        }
        self.rows(engine, &engine.rows, &mut restore)?;
        for query in &self.queries {
            restore.define_query(query.name.as_str(), query.config.as_str());
        }
        restore.next_bucket(self.book.next_bucket);
        restore.finish(self.position).map_err(misfit)
    }

    fn rows(&self, engine: &Engine, rows: &Keyspace, restore: &mut Restore) -> Result<(), JournalError> {
        let mut last = None;
        for entry in rows.iter() {
            let (key, value) = entry.into_inner().map_err(|error| {
                let after = last
                    .map_or_else(|| "the first key".to_owned(), |key| format!("after {}", row_place(key)));
                engine.unreadable(format!("keyspace rows, {after}"), error)
            })?;
            let key = RowKey::read(&key).ok_or_else(|| {
                engine.damaged(format!("keyspace rows, key {}", shown(&key)), "the key has a wrong length")
            })?;
            last = Some(key);
            let place = || format!("keyspace rows, {}", row_place(key));
            if self.book.buckets.get(&key.bucket).is_none_or(|bucket| bucket.generation != key.generation) {
                if self.book.sweeps.contains(&(key.bucket, key.generation)) {
                    continue;
                }
                return Err(engine.damaged(place(), "the row belongs to no bucket"));
            }
            let next_row =
                self.definitions.get(&key.bucket).map_or(0, |definition| definition.counters.next_row);
            if key.row >= next_row {
                return Err(engine.damaged(place(), format!("the bucket's next row is {next_row}")));
            }
            let json = std::str::from_utf8(&value)
                .map_err(|_| engine.damaged(place(), format!("the record is not text: {}", shown(&value))))?;
            restore
                .put(BucketId(key.bucket), RowId(key.row), json)
                .map_err(|error| self.misfit(engine, &error))?;
        }
        Ok(())
    }

    /// What the store could not take, at the key where it lies.
    fn misfit(&self, engine: &Engine, error: &RestoreError) -> JournalError {
        let place = match error {
            RestoreError::Row { bucket, row, .. } => {
                let generation = self.book.buckets.get(bucket).map_or(0, |bucket| bucket.generation);
                format!("keyspace rows, {}", row_place(RowKey { bucket: *bucket, generation, row: *row }))
            }
            RestoreError::Bucket { bucket, .. } | RestoreError::UnknownBucket { bucket } => {
                format!("keyspace meta, key {}", super::layout::bucket_key(*bucket))
            }
            RestoreError::Query { name, .. } => {
                let order = self.book.queries.get(name.as_str()).copied().unwrap_or_default();
                format!("keyspace meta, key {}", super::layout::query_key(order))
            }
            _ => "keyspace meta".to_owned(),
        };
        engine.damaged(place, error.to_string())
    }
}

impl Found {
    /// Takes one value; `None` if it cannot be read.
    fn take(&mut self, key: MetaKey, value: &[u8]) -> Option<()> {
        match key {
            MetaKey::Format => {}
            MetaKey::Epoch => self.epoch = Some(String::from_utf8(value.to_vec()).ok()?),
            MetaKey::Position => self.position = Some(u64::from_be_bytes(value.try_into().ok()?)),
            MetaKey::NextBucket => self.next_bucket = Some(u32::from_be_bytes(value.try_into().ok()?)),
            MetaKey::Bucket(id) => drop(self.buckets.insert(id, serde_json::from_slice(value).ok()?)),
            MetaKey::Generation(id) => {
                self.generations.insert(id, u32::from_be_bytes(value.try_into().ok()?));
            }
            MetaKey::Counters(id) => drop(self.counters.insert(id, read_counters(value)?)),
            MetaKey::Query(order) => {
                let query: Named = serde_json::from_slice(value).ok()?;
                self.book.next_query = order.checked_add(1)?;
                self.book.queries.insert(query.name.as_str().into(), order);
                self.queries.push(query);
            }
            MetaKey::Sweep(id, generation) => drop(self.book.sweeps.insert((id, generation))),
        }
        Some(())
    }

    fn finish(mut self, engine: &Engine) -> Result<Meta, JournalError> {
        let missing = |key: &str| engine.damaged(format!("keyspace meta, key {key}"), "it is missing");
        let epoch = self.epoch.ok_or_else(|| missing(EPOCH_KEY))?;
        let position = self.position.ok_or_else(|| missing(super::layout::POSITION_KEY))?;
        let next_bucket = self.next_bucket.ok_or_else(|| missing(super::layout::NEXT_BUCKET_KEY))?;
        let mut definitions = BTreeMap::new();
        for (id, Named { name, config }) in self.buckets {
            let generation =
                self.generations.remove(&id).ok_or_else(|| missing(&super::layout::generation_key(id)))?;
            if id >= next_bucket {
                let reason = format!("the next bucket id is {next_bucket}");
                return Err(
                    engine.damaged(format!("keyspace meta, key {}", super::layout::bucket_key(id)), reason)
                );
            }
            // A bucket that never had a row has none yet.
            let counters = self.counters.remove(&id).unwrap_or_default();
            self.book.buckets.insert(id, Bucket::new(name.into(), generation, &config));
            definitions.insert(id, Definition { config, counters });
        }
        if let Some(id) = self.generations.keys().chain(self.counters.keys()).next() {
            return Err(missing(&super::layout::bucket_key(*id)));
        }
        self.book.next_bucket = next_bucket;
        Ok(Meta { epoch, position, book: self.book, definitions, queries: self.queries })
    }
}

fn row_place(key: RowKey) -> String {
    format!("key {}/{}/{} (bucket/generation/row)", key.bucket, key.generation, key.row)
}

/// Bytes as an error repeats them.
fn shown(bytes: &[u8]) -> String {
    let text: String = bytes.escape_ascii().map(char::from).take(SHOWN_CHARS + 1).collect();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
