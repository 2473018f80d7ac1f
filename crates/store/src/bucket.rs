//! One bucket: its rows in table order, and everything that finds them.

use std::iter::Take;
use std::sync::Arc;

use serde_json::Value;

use crate::aggregate::Totals;
use crate::index::{Index, IndexRows};
use crate::keys::KeyIndex;
use crate::rows::{RowTable, Rows};
use crate::value::Constant;
use crate::{
    Aggregate, BucketId, Counters, Definition, Field, FieldValue, Filter, Key, Matcher, Number, Record,
    RowId, StoreError,
};

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
    counters: Counters,
}

/// One page of a bucket.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The records, in table order.
    pub records: Vec<&'a Record>,
    /// Whether there are more behind them.
    pub has_more: bool,
    /// The key of the last record of the page, to be given as `after` for the next; `None` on an empty page.
    pub next_cursor: Option<Value>,
}

impl Bucket {
    pub(crate) fn new(id: BucketId, name: Arc<str>, definition: Arc<Definition>) -> Self {
        let indexes = empty_indexes(&definition);
        let (rows, keys) = (RowTable::new(), KeyIndex::new());
        Self { id, name, definition, rows, keys, indexes, counters: Counters::default() }
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

    /// How many fields are indexed, unique ones included.
    pub fn index_count(&self) -> usize {
        self.indexes.len()
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

    /// All records in table order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.rows.iter().map(|(_, record)| record)
    }

    /// The records that match, in table order.
    pub fn scan<'a>(&'a self, filter: &'a Filter) -> Scan<'a> {
        let candidates = self.candidates(filter);
        Scan { bucket: self, matcher: filter.matcher(&self.definition), candidates }
    }

    /// How many records match.
    pub fn count(&self, filter: &Filter) -> usize {
        if filter.is_empty() { self.len() } else { self.scan(filter).count() }
    }

    /// The first `n` records.
    pub fn first(&self, n: usize) -> Take<impl Iterator<Item = &Record>> {
        self.iter().take(n)
    }

    /// The last `n` records, in ascending table order.
    pub fn last(&self, n: usize) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.iter().rev().take(n).collect();
        records.reverse();
        records
    }

    /// At most `limit` records behind the one whose key is `after`; from the start if it is `None` or `null`.
    ///
    /// # Errors
    /// [`StoreError::UnknownCursor`] if no record has that key (any more): where the iteration was cannot be told.
    pub fn paginate(&self, after: Option<&Value>, limit: usize) -> Result<Page<'_>, StoreError> {
        let from = match after {
            None | Some(Value::Null) => Some(0),
            Some(key) => match Key::of(key).and_then(|key| self.find(key)) {
                Some((row, _)) => row.0.checked_add(1),
                None => return Err(StoreError::UnknownCursor { bucket: (&*self.name).into() }),
            },
        };
        let behind = from.map(|from| self.rows.range(from..=u64::MAX));
        let mut behind = behind.into_iter().flatten().map(|(_, record)| record);
        let records: Vec<&Record> = behind.by_ref().take(limit).collect();
        let last = records.last().and_then(|record| self.key_of(record));
        Ok(Page { has_more: behind.next().is_some(), next_cursor: last.map(Key::to_value), records })
    }

    /// Folds the numbers that the matching records have in `field`, any member name. `None` for the smallest or
    /// largest of nothing. See [`Aggregate`].
    pub fn aggregate(&self, function: Aggregate, field: &str, filter: &Filter) -> Option<Number> {
        let member = self.definition.member(field);
        let mut totals = Totals::default();
        for record in self.scan(filter) {
            totals.add(&record.get(&member));
        }
        totals.result(function)
    }

    /// The first unique field, in index order, whose value in `record` another row than `row` has.
    pub(crate) fn unique_conflict(&self, record: &Record, row: Option<RowId>) -> Option<(&Field, Value)> {
        self.indexes.iter().filter(|index| index.unique).find_map(|index| {
            let field = self.definition.fields().get(index.slot)?;
            let value = record.field(index.slot, field.name());
            if value.is_nullish() {
                return None;
            }
            let mut holders = index.candidates(&value).filter(|holder| Some(*holder) != row);
            let taken = holders.any(|holder| {
                self.row(holder).is_some_and(|other| other.field(index.slot, field.name()) == value)
            });
            taken.then(|| (field, value.to_value()))
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
            }
            self.keys.insert(key, row);
        }
        for index in &mut self.indexes {
            let name = self.definition.fields().get(index.slot).map_or("", Field::name);
            let new = record.field(index.slot, name);
            let before = old.map_or(FieldValue::Absent, |old| old.field(index.slot, name));
            if new != before {
                index.remove(&before, row);
                index.insert(&new, row);
            }
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
        }
        for index in &mut self.indexes {
            let name = self.definition.fields().get(index.slot).map_or("", Field::name);
            index.remove(&record.field(index.slot, name), row);
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.keys.clear();
        self.indexes.iter_mut().for_each(Index::clear);
    }

    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Takes a new definition and builds the indexes it adds over the rows.
    ///
    /// # Errors
    /// A unique field and two rows that have the same value in it. Nothing has changed then.
    pub(crate) fn redefine(&mut self, definition: Arc<Definition>) -> Result<(), (Arc<str>, RowId, RowId)> {
        let mut indexes = empty_indexes(&definition);
        for index in &mut indexes {
            let built =
                self.indexes.iter().find(|built| built.slot == index.slot && built.unique == index.unique);
            if let Some(built) = built {
                *index = built.clone();
                continue;
            }
            if let Some((first, second)) = fill(index, &definition, &self.rows) {
                let field = definition.fields().get(index.slot).map_or_else(|| "".into(), Field::shared_name);
                return Err((field, first, second));
            }
        }
        self.indexes = indexes;
        self.definition = definition;
        Ok(())
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
            if let Some((first, second)) = fill(index, &self.definition, &map) {
                let name = self.definition.fields().get(index.slot).map_or("", Field::name);
                return Err((
                    second,
                    format!("unique field \"{name}\" has the same value as row {}", first.0),
                ));
            }
        }
        if let Some((last, _)) = map.iter().next_back() {
            self.counters.next_row = self.counters.next_row.max(last.saturating_add(1));
        }
        self.rows = map;
        self.keys = keys;
        Ok(())
    }

    /// The rows that can match: an equality on the key or on an indexed field names them, else all are tried.
    fn candidates(&self, filter: &Filter) -> Candidates<'_> {
        let mut chosen: Option<(&Index, &Constant)> = None;
        for (name, value) in filter.equalities() {
            let Some(slot) = self.definition.slot(name) else { continue };
            if slot == self.definition.key_slot() {
                let row = Key::of_field(&value.as_field()).and_then(|key| self.find(key));
                return Candidates::One(row.map(|(_, record)| record));
            }
            if let Some(index) = self.indexes.iter().find(|index| index.slot == slot)
                && chosen.is_none_or(|(best, _)| index.unique && !best.unique)
            {
                chosen = Some((index, value));
            }
        }
        match chosen {
            Some((index, value)) => Candidates::Indexed(index.candidates(&value.as_field())),
            None => Candidates::All(self.rows.iter()),
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
    let unique = |slot: usize| definition.fields().get(slot).is_some_and(|field| field.unique);
    definition.index_slots().iter().map(|slot| Index::new(*slot, unique(*slot))).collect()
}

fn fill(index: &mut Index, definition: &Definition, rows: &RowTable<Record>) -> Option<(RowId, RowId)> {
    let slot = index.slot;
    let name = definition.fields().get(slot).map_or("", Field::name);
    index.load(rows.iter().map(|(row, _)| RowId(row)), |row| {
        rows.get(row.0).map_or(FieldValue::Absent, |record| record.field(slot, name))
    })
}

/// All rows of a bucket in table order.
pub struct Records<'a>(Rows<'a, Record>);

impl<'a> Iterator for Records<'a> {
    type Item = (RowId, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(row, record)| (RowId(row), record))
    }
}

/// The records that match a filter, in table order.
pub struct Scan<'a> {
    bucket: &'a Bucket,
    matcher: Matcher<'a>,
    candidates: Candidates<'a>,
}

enum Candidates<'a> {
    All(Rows<'a, Record>),
    Indexed(IndexRows<'a>),
    One(Option<&'a Record>),
}

impl<'a> Iterator for Scan<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        loop {
            let record = match &mut self.candidates {
                Candidates::All(rows) => rows.next()?.1,
                Candidates::Indexed(rows) => match self.bucket.row(rows.next()?) {
                    Some(record) => record,
                    None => continue,
                },
                Candidates::One(record) => record.take()?,
            };
            if self.matcher.matches(record) {
                return Some(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(bucket.unique_conflict(&one, None).map(|(field, _)| field.name()), Some("s"));
        assert!(bucket.unique_conflict(&one, Some(RowId(0))).is_none(), "a row may keep its value");
        assert!(bucket.unique_conflict(&other, None).is_none());

        // As if both strings had one hash: row 0 stands under the other's entry too.
        bucket.indexes[0].insert(&FieldValue::Str(OTHER.into()), RowId(0));
        assert!(bucket.unique_conflict(&other, None).is_none());
        assert!(bucket.put(RowId(1), other.clone()));
        assert_eq!(bucket.unique_conflict(&other, None).map(|(_, value)| value), Some(OTHER.into()));
        let filter = serde_json::json!({"s": OTHER});
        let filter = Filter::parse(filter.as_object().unwrap()).unwrap();
        assert_eq!(bucket.candidates(&filter).count_rows(), 2);
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

    impl Candidates<'_> {
        fn count_rows(self) -> usize {
            match self {
                Self::All(rows) => rows.count(),
                Self::Indexed(rows) => rows.count(),
                Self::One(record) => record.into_iter().count(),
            }
        }
    }
}
