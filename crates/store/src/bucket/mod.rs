//! One bucket: its rows in table order, and everything that finds them.

mod cursor;
mod deadlines;
mod departed;
mod page;
mod read;

use std::sync::Arc;

use serde_json::Value;

use crate::index::Index;
use crate::keys::KeyIndex;
use crate::rows::{RowTable, Rows};
use crate::schema::{IndexSpec, Purpose};
use crate::{BucketId, Counters, Definition, Field, Key, Record, RowId};

use deadlines::Deadlines;
use departed::Departed;
pub use page::{Page, PageRequest, Paged};
pub use read::Scan;

/// A bucket as it is in one [`Snapshot`](crate::Snapshot).
///
/// Table order is the order in which keys first entered the bucket; every read answers in it, whatever index it uses.
#[derive(Clone)]
pub struct Bucket {
    id: BucketId,
    name: Arc<str>,
    definition: Arc<Definition>,
    rows: RowTable<Record>,
    keys: KeyIndex,
    indexes: Vec<Index>,
    /// Kept while the definition has a `ttl`.
    deadlines: Option<Deadlines>,
    /// Where the keys that were removed last had been.
    departed: Departed,
    counters: Counters,
}

/// What a bucket remembers beside its rows; kept so that a write can be undone.
pub(crate) struct Marks {
    counters: Counters,
    departed: Departed,
}

impl Marks {
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }
}

impl Bucket {
    pub(crate) fn new(id: BucketId, name: Arc<str>, definition: Arc<Definition>) -> Self {
        let indexes = empty_indexes(&definition);
        let deadlines = definition.ttl().map(|_| Deadlines::default());
        let (rows, keys) = (RowTable::new(), KeyIndex::new());
        let (departed, counters) = (Departed::default(), Counters::default());
        Self { id, name, definition, rows, keys, indexes, deadlines, departed, counters }
    }

    /// Its id.
    pub fn id(&self) -> BucketId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its definition.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Its definition as JSON text: as given, later updates merged.
    pub fn config(&self) -> &Arc<str> {
        self.definition.config()
    }

    /// Its counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many indexes the definition asks for, unique ones included.
    pub fn index_count(&self) -> usize {
        self.indexes.iter().filter(|index| index.spec().purpose == Purpose::Declared).count()
    }

    /// The earliest time at which a record is due to be removed; only in buckets with a `ttl`.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.as_ref()?.first()
    }

    /// The rows that are due at `now`, earliest first.
    pub(crate) fn due(&self, now: u64) -> impl Iterator<Item = RowId> {
        self.deadlines.iter().flat_map(move |deadlines| deadlines.until(now))
    }

    pub(crate) fn indexes(&self) -> &[Index] {
        &self.indexes
    }

    /// The record with this primary key. What cannot be a key finds nothing.
    pub fn get(&self, key: &Value) -> Option<&Record> {
        self.find(Key::of(key)?).map(|(_, record)| record)
    }

    /// The row and the record with this primary key.
    pub fn find(&self, key: Key<'_>) -> Option<(RowId, &Record)> {
        self.keys.candidates(key).find_map(|row| {
            let record = self.rows.get(row.0).filter(|record| self.key_of(record) == Some(key))?;
            Some((row, record))
        })
    }

    /// The record in this row.
    pub fn row(&self, row: RowId) -> Option<&Record> {
        self.rows.get(row.0)
    }

    /// The primary key of one of this bucket's records.
    pub fn key_of<'a>(&self, record: &'a Record) -> Option<Key<'a>> {
        Key::of_field(&record.field(self.definition.key_slot(), self.definition.key().name()))
    }

    /// All rows in table order.
    pub fn rows(&self) -> Records<'_> {
        Records(self.rows.iter())
    }

    /// The rows from this one on, in table order. The first is found as quickly as any row.
    pub fn records_from(&self, row: RowId) -> Records<'_> {
        Records(self.rows_from(row.0))
    }

    /// All records in table order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.rows.iter().map(|(_, record)| record)
    }

    /// The rows whose field at `slot`, a reference, holds this key.
    pub(crate) fn referring<'a>(
        &'a self,
        slot: usize,
        key: Key<'a>,
    ) -> impl Iterator<Item = (RowId, &'a Record)> {
        let name = self.definition.fields().get(slot).map_or("", Field::name);
        let index = self.reference_index(slot);
        let rows = index.into_iter().flat_map(move |index| index.candidates(&key.as_field()));
        rows.filter_map(move |row| {
            let record = self.row(row)?;
            (Key::of_field(&record.field(slot, name)) == Some(key)).then_some((row, record))
        })
    }

    /// Whether any record's field at `slot`, a reference, holds a key.
    pub(crate) fn refers_at_all(&self, slot: usize) -> bool {
        self.reference_index(slot).is_some_and(Index::has_values)
    }

    /// Every field that is a reference has an index, if only for this.
    fn reference_index(&self, slot: usize) -> Option<&Index> {
        self.indexes.iter().find(|index| *index.spec().slots == [slot])
    }

    /// The first unique index whose values in `record` another row than `row` has too, and that row.
    pub(crate) fn unique_conflict(&self, record: &Record, row: Option<RowId>) -> Option<(&IndexSpec, RowId)> {
        let fields = self.definition.fields();
        self.indexes.iter().filter(|index| index.spec().unique).find_map(|index| {
            let mut holders = index.same_values(fields, record).filter(|holder| Some(*holder) != row);
            let holder = holders.find(|holder| {
                self.row(*holder).is_some_and(|other| index.holds_same(fields, record, other))
            })?;
            Some((index.spec(), holder))
        })
    }

    /// Adds a row, or replaces the one of this number. `false`, and nothing changed, if the record has no key or one
    /// that another row has.
    pub(crate) fn put(&mut self, row: RowId, record: Record) -> bool {
        let Some(key) = self.key_of(&record) else { return false };
        let old = self.rows.get(row.0);
        let same_key = old.is_some_and(|old| self.key_of(old) == Some(key));
        if !same_key && self.find(key).is_some() {
            return false;
        }
        if !same_key {
            if let Some(old_key) = old.and_then(|old| self.key_of(old)) {
                self.keys.remove(old_key, row);
                self.departed.note(old_key, row);
            }
            self.keys.insert(key, row);
        }
        for index in &mut self.indexes {
            index.replace(self.definition.fields(), row, old, Some(&record));
        }
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.replace(row, old, Some(&record));
        }
        self.rows.insert(row.0, record);
        self.counters.next_row = self.counters.next_row.max(row.0.saturating_add(1));
        true
    }

    /// Removes a row; `false` if it is not there.
    pub(crate) fn remove(&mut self, row: RowId) -> bool {
        let Some(record) = self.rows.remove(row.0) else { return false };
        let slot = self.definition.key_slot();
        if let Some(key) = Key::of_field(&record.field(slot, self.definition.key().name())) {
            self.keys.remove(key, row);
            self.departed.note(key, row);
        }
        for index in &mut self.indexes {
            index.replace(self.definition.fields(), row, Some(&record), None);
        }
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.replace(row, Some(&record), None);
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.keys.clear();
        self.indexes.iter_mut().for_each(Index::clear);
        self.deadlines = self.definition.ttl().map(|_| Deadlines::default());
    }

    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks { counters: self.counters, departed: self.departed.clone() }
    }

    pub(crate) fn set_marks(&mut self, marks: Marks) {
        (self.counters, self.departed) = (marks.counters, marks.departed);
    }

    /// Takes a new definition: lays the rows out anew if fields changed their places, and builds the indexes that are
    /// new. Whether the rows keep the definition's rules is not looked at.
    pub(crate) fn redefine(&mut self, definition: Arc<Definition>) {
        let kept = self.definition.is_prefix_of(&definition);
        if !kept {
            let laid_out = |(row, record): (u64, &Record)| (row, record.laid_out(&definition));
            self.rows = self.rows.iter().map(laid_out).collect();
        }
        let mut indexes = empty_indexes(&definition);
        for index in &mut indexes {
            match self.indexes.iter().find(|built| kept && built.spec() == index.spec()) {
                Some(built) => *index = built.clone(),
                None => index.load(definition.fields(), &self.rows),
            }
        }
        self.deadlines = definition.ttl().map(|_| Deadlines::of(&self.rows));
        self.indexes = indexes;
        self.definition = definition;
    }

    /// Two rows that have the same values in a unique index, if there are any.
    pub(crate) fn duplicates(&self) -> Option<(&IndexSpec, RowId, RowId)> {
        let fields = self.definition.fields();
        self.indexes.iter().filter(|index| index.spec().unique).find_map(|index| {
            let (first, second) = index.duplicates(fields, &self.rows)?;
            Some((index.spec(), first, second))
        })
    }

    /// Fills an empty bucket with many rows at once.
    ///
    /// # Errors
    /// The row that is wrong, and why.
    pub(crate) fn load(&mut self, mut rows: Vec<(RowId, Record)>) -> Result<(), (RowId, String)> {
        rows.sort_by_key(|(row, _)| *row);
        if let Some(twice) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err((twice[0].0, "the row is stored twice".into()));
        }
        if let Some((row, _)) = rows.iter().find(|(_, record)| self.key_of(record).is_none()) {
            let key = self.definition.key().name();
            return Err((*row, format!("its key \"{key}\" is neither a string nor a number")));
        }
        let map: RowTable<Record> = rows.into_iter().map(|(row, record)| (row.0, record)).collect();
        let mut keys = KeyIndex::new();
        let entries = map.iter().filter_map(|(row, record)| Some((self.key_of(record)?, RowId(row))));
        let key_of = |row: RowId| map.get(row.0).and_then(|record| self.key_of(record));
        if let Some((first, second)) = keys.load(entries, key_of) {
            return Err((second, format!("it has the same key as row {}", first.0)));
        }
        for index in &mut self.indexes {
            index.load(self.definition.fields(), &map);
        }
        self.deadlines = self.definition.ttl().map(|_| Deadlines::of(&map));
        if let Some((last, _)) = map.iter().next_back() {
            self.counters.next_row = self.counters.next_row.max(last.saturating_add(1));
        }
        self.rows = map;
        self.keys = keys;
        match self.duplicates() {
            None => Ok(()),
            Some((spec, first, second)) => {
                let fields = self.definition.index_label(spec);
                Err((second, format!("unique {fields} has the same value as in row {}", first.0)))
            }
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, name, counters, .. } = self;
        f.debug_struct("Bucket")
            .field("id", id)
            .field("name", name)
            .field("config", self.config())
            .field("counters", counters)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

fn empty_indexes(definition: &Definition) -> Vec<Index> {
    definition.indexes().iter().cloned().map(Index::new).collect()
}

/// All rows of a bucket in table order.
pub struct Records<'a>(Rows<'a, Record>);

impl<'a> Iterator for Records<'a> {
    type Item = (RowId, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(row, record)| (RowId(row), record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    const ONE: &str = "two long strings that begin alike, one";
    const OTHER: &str = "two long strings that begin alike, the other";

    fn bucket() -> Result<Bucket, String> {
        let config = r#"{"key":"id","schema":{"id":{"type":"string"},"s":{"type":"string","unique":true}}}"#;
        crate::apply::empty_bucket(BucketId(0), &"b".into(), config)
    }

    fn record(bucket: &Bucket, id: &str, s: &str) -> Record {
        let json = format!(r#"{{"id":"{id}","s":"{s}","_version":1,"_createdAt":1,"_updatedAt":1}}"#);
        Record::parse(&json, bucket.definition()).unwrap()
    }

    #[test]
    fn long_values_that_share_an_index_entry_are_told_apart_by_their_records() {
        let mut bucket = bucket().unwrap();
        let (one, other) = (record(&bucket, "a", ONE), record(&bucket, "b", OTHER));
        assert!(bucket.put(RowId(0), one.clone()));
        assert_eq!(bucket.unique_conflict(&one, None).map(|(spec, _)| &*spec.slots), Some(&[1][..]));
        assert!(bucket.unique_conflict(&one, Some(RowId(0))).is_none(), "a row may keep its value");
        assert!(bucket.unique_conflict(&other, None).is_none());

        // As if both strings had one hash: row 0 stands under the other's entry too.
        let fields = bucket.definition.clone();
        bucket.indexes[0].replace(fields.fields(), RowId(0), None, Some(&other));
        assert!(bucket.unique_conflict(&other, None).is_none());
        assert!(bucket.put(RowId(1), other.clone()));
        assert!(bucket.unique_conflict(&other, None).is_some());
        let filter = serde_json::json!({"s": OTHER});
        let filter = Filter::parse(filter.as_object().unwrap()).unwrap();
        assert_eq!(bucket.scan(&filter).collect::<Vec<_>>(), [&other]);
    }

    #[test]
    fn long_values_that_must_be_unique_are_compared_whole_when_loaded() {
        let load = |values: &[&str]| {
            let mut bucket = bucket().unwrap();
            let row = |(i, s): (u64, &&str)| (RowId(i), record(&bucket, &i.to_string(), s));
            let rows = (0..).zip(values).map(row).collect();
            bucket.load(rows).map_err(|(row, _)| row)
        };
        assert_eq!(load(&[ONE, OTHER]), Ok(()));
        assert_eq!(load(&[ONE, OTHER, ONE]), Err(RowId(2)));
    }
}
