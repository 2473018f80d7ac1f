//! An index of a bucket: its rows by the value of one field.
//!
//! An entry is four plain numbers and no text, so that copying a node of the shared tree copies bytes only: the value's
//! place in the order of values (exact, but for strings only their beginning), the hash of the whole string where that
//! does not fit, and the row. So rows of equal value stand together in table order, and values stand in order up to
//! strings that begin alike, which whoever reads a range puts in order by their records.

use std::hash::{BuildHasher, RandomState};

use imbl::OrdSet;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::order_key::OrderKey;
use crate::{FieldValue, RowId};

/// Finds rows by the value of one field. Scalars are indexed, `null` included; absent members, objects and arrays are
/// not, as nothing equals them.
#[derive(Clone)]
pub(crate) struct Index {
    /// The field's place in the schema.
    pub(crate) slot: usize,
    pub(crate) unique: bool,
    /// Seeded anew in every process, so that nobody can prepare strings that collide. It never shows: equality is
    /// decided by the records.
    hasher: RandomState,
    entries: OrdSet<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    value: OrderKey,
    /// Of the whole string if `value` is only its beginning, else 0.
    hash: u64,
    row: RowId,
}

impl Entry {
    fn same_value(&self, other: &Self) -> bool {
        (self.value, self.hash) == (other.value, other.hash)
    }
}

impl Index {
    pub(crate) fn new(slot: usize, unique: bool) -> Self {
        Self { slot, unique, hasher: RandomState::new(), entries: OrdSet::new() }
    }

    /// The rows whose field can equal `value`, in table order: all that do, and others only if two long strings that
    /// begin alike have the same hash.
    pub(crate) fn candidates(&self, value: &FieldValue<'_>) -> IndexRows<'_> {
        let from = self.entry(value, RowId(0));
        IndexRows(from.map(|from| self.entries.range(from..=Entry { row: RowId(u64::MAX), ..from })))
    }

    pub(crate) fn insert(&mut self, value: &FieldValue<'_>, row: RowId) {
        if let Some(entry) = self.entry(value, row) {
            self.entries.insert(entry);
        }
    }

    pub(crate) fn remove(&mut self, value: &FieldValue<'_>, row: RowId) {
        if let Some(entry) = self.entry(value, row) {
            self.entries.remove(&entry);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Enters many rows into an empty index; `value_of` gives a row's value. Two rows that share a value which must be
    /// unique are returned.
    pub(crate) fn load<'a>(
        &mut self,
        rows: impl Iterator<Item = RowId>,
        value_of: impl Fn(RowId) -> FieldValue<'a>,
    ) -> Option<(RowId, RowId)> {
        let mut entries: Vec<Entry> = rows.filter_map(|row| self.entry(&value_of(row), row)).collect();
        entries.sort_unstable();
        if self.unique {
            for same in entries.chunk_by(Entry::same_value).filter(|same| same.len() > 1) {
                for (i, entry) in same.iter().enumerate() {
                    let value = value_of(entry.row);
                    let twice = same.iter().take(i).find(|other| value_of(other.row) == value);
                    if let Some(other) = twice.filter(|_| !value.is_nullish()) {
                        return Some((other.row, entry.row));
                    }
                }
            }
        }
        self.entries = entries.into_iter().collect();
        None
    }

    fn entry(&self, value: &FieldValue<'_>, row: RowId) -> Option<Entry> {
        let key = OrderKey::of(value)?;
        let hash = if key.is_whole() { 0 } else { self.hasher.hash_one(value.as_str()) };
        Some(Entry { value: key, hash, row })
    }
}

/// Rows of one indexed value, ascending.
pub(crate) struct IndexRows<'a>(Option<imbl::ordset::RangedIter<'a, Entry, DefaultSharedPtr>>);

impl Iterator for IndexRows<'_> {
    type Item = RowId;

    fn next(&mut self) -> Option<RowId> {
        self.0.as_mut()?.next().map(|entry| entry.row)
    }
}
