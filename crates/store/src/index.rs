//! The two kinds of index of a bucket: primary keys by hash, field values in order.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{OrdMap, OrdSet};

use crate::value::{Constant, value_order};
use crate::{FieldValue, Key, Record, RowId};

/// Finds rows by primary key. Holds hashes and rows only, the keys stand in the records: copying a node of a shared
/// tree then touches no reference counts and no strings.
///
/// The hash is seeded anew in every process, so that nobody can prepare keys that collide. It never shows: rows of
/// equal hash are told apart by their records, and the map is never listed.
#[derive(Clone)]
pub(crate) struct KeyIndex {
    hasher: RandomState,
    rows: imbl::GenericHashMap<Place, RowId, BuildHasherDefault<PlaceHasher>, DefaultSharedPtr>,
}

/// A key's hash, and a number that tells keys of the same hash apart: 0, 1, … without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    hash: u64,
    number: u32,
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Places are hashes already.
#[derive(Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

impl KeyIndex {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), rows: imbl::GenericHashMap::default() }
    }

    /// The row whose record has `key`; `key_of` gives the key of a record.
    pub(crate) fn find<'a>(
        &self,
        key: Key<'_>,
        rows: &'a OrdMap<RowId, Record>,
        key_of: impl Fn(&Record) -> Option<Key<'_>>,
    ) -> Option<(RowId, &'a Record)> {
        self.same_hash(self.hasher.hash_one(key)).find_map(|(_, row)| {
            let record = rows.get(&row).filter(|record| key_of(record) == Some(key))?;
            Some((row, record))
        })
    }

    /// Enters a key that is not there yet.
    pub(crate) fn insert(&mut self, key: Key<'_>, row: RowId) {
        self.insert_hash(self.hasher.hash_one(key), row);
    }

    pub(crate) fn remove(&mut self, key: Key<'_>, row: RowId) {
        self.remove_hash(self.hasher.hash_one(key), row);
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Enters many rows into an empty index. Two rows of one key are returned.
    pub(crate) fn load<'a>(
        &mut self,
        keys: impl Iterator<Item = (Key<'a>, RowId)>,
    ) -> Option<(RowId, RowId)> {
        let mut entries: Vec<(u64, Key<'a>, RowId)> =
            keys.map(|(key, row)| (self.hasher.hash_one(key), key, row)).collect();
        // In order of the hashes, each insertion goes to nodes that the one before has just touched.
        entries.sort_unstable_by_key(|(hash, _, row)| (*hash, *row));
        for same_hash in entries.chunk_by(|(a, ..), (b, ..)| a == b) {
            for (number, (hash, key, row)) in (0..).zip(same_hash) {
                let others = same_hash.iter().take_while(|(.., other)| other < row);
                if let Some((.., other)) = others.into_iter().find(|(_, other, _)| other == key) {
                    return Some((*other, *row));
                }
                self.rows.insert(Place { hash: *hash, number }, *row);
            }
        }
        None
    }

    /// The rows of all keys with this hash.
    fn same_hash(&self, hash: u64) -> impl Iterator<Item = (Place, RowId)> {
        (0..=u32::MAX).map_while(move |number| {
            let place = Place { hash, number };
            self.rows.get(&place).map(|row| (place, *row))
        })
    }

    fn insert_hash(&mut self, hash: u64, row: RowId) {
        let number = self.same_hash(hash).last().map_or(0, |(last, _)| last.number + 1);
        self.rows.insert(Place { hash, number }, row);
    }

    fn remove_hash(&mut self, hash: u64, row: RowId) {
        let Some((place, _)) = self.same_hash(hash).find(|(_, other)| *other == row) else { return };
        // The last of the same hash takes the freed place, so that no gap hides it.
        if let Some((last, moved)) = self.same_hash(hash).last() {
            self.rows.remove(&last);
            if last != place {
                self.rows.insert(place, moved);
            }
        }
    }
}

/// Finds rows by the value of one field, in the order of the values and then of the table.
///
/// Scalars are indexed, `null` included; absent members, objects and arrays are not, as nothing equals them.
#[derive(Clone)]
pub(crate) struct Index {
    /// The field's place in the schema.
    pub(crate) slot: usize,
    pub(crate) unique: bool,
    entries: OrdSet<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    value: Constant,
    row: RowId,
}

impl Index {
    pub(crate) fn new(slot: usize, unique: bool) -> Self {
        Self { slot, unique, entries: OrdSet::new() }
    }

    /// The rows whose field equals `value`, in table order.
    pub(crate) fn rows(&self, value: &Constant) -> IndexRows<'_> {
        let from = Entry { value: value.clone(), row: RowId(0) };
        let to = Entry { value: value.clone(), row: RowId(u64::MAX) };
        IndexRows(self.entries.range(from..=to))
    }

    /// The first row whose field equals `value`.
    pub(crate) fn first(&self, value: &Constant) -> Option<RowId> {
        self.entry_at_least(value).filter(|entry| entry.value == *value).map(|entry| entry.row)
    }

    pub(crate) fn insert(&mut self, value: &FieldValue<'_>, row: RowId) {
        let Some(value) = Constant::of_field(value) else { return };
        // Rows of equal value share its text.
        let shared = self.entry_at_least(&value).filter(|entry| entry.value == value);
        let value = shared.map_or(value, |entry| entry.value.clone());
        self.entries.insert(Entry { value, row });
    }

    pub(crate) fn remove(&mut self, value: &FieldValue<'_>, row: RowId) {
        if let Some(value) = Constant::of_field(value) {
            self.entries.remove(&Entry { value, row });
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Enters many rows into an empty index. Two rows that share a value which must be unique are returned.
    pub(crate) fn load<'a>(
        &mut self,
        values: impl Iterator<Item = (FieldValue<'a>, RowId)>,
    ) -> Option<(RowId, RowId)> {
        let mut values: Vec<(FieldValue<'a>, RowId)> = values.collect();
        values.sort_unstable_by(|(a, row), (b, other)| value_order(a, b).then(row.cmp(other)));
        let mut last: Option<Entry> = None;
        for (value, row) in &values {
            // Rows of equal value share its text.
            let same = last.as_ref().filter(|last| last.value.equals(value));
            if let Some(same) = same.filter(|same| self.unique && same.value != Constant::Null) {
                return Some((same.row, *row));
            }
            let Some(value) = same.map(|same| same.value.clone()).or_else(|| Constant::of_field(value))
            else {
                continue;
            };
            let entry = Entry { value, row: *row };
            self.entries.insert(entry.clone());
            last = Some(entry);
        }
        None
    }

    fn entry_at_least(&self, value: &Constant) -> Option<&Entry> {
        self.entries.get_next(&Entry { value: value.clone(), row: RowId(0) })
    }
}

/// Rows of one indexed value, ascending.
pub(crate) struct IndexRows<'a>(imbl::ordset::RangedIter<'a, Entry, DefaultSharedPtr>);

impl Iterator for IndexRows<'_> {
    type Item = RowId;

    fn next(&mut self) -> Option<RowId> {
        self.0.next().map(|entry| entry.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_equal_hash_do_not_hide_one_another() {
        let mut index = KeyIndex::new();
        let rows = |index: &KeyIndex| {
            let mut rows: Vec<u64> = index.same_hash(7).map(|(_, row)| row.0).collect();
            rows.sort_unstable();
            rows
        };
        for row in 0..4 {
            index.insert_hash(7, RowId(row));
        }
        index.insert_hash(8, RowId(9));
        for (gone, left) in [(1, vec![0, 2, 3]), (3, vec![0, 2]), (3, vec![0, 2]), (0, vec![2]), (2, vec![])]
        {
            index.remove_hash(7, RowId(gone));
            assert_eq!(rows(&index), left);
        }
        assert_eq!(index.same_hash(8).count(), 1);
    }
}
