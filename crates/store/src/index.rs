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
use crate::rows::RowTable;
use crate::schema::IndexSpec;
use crate::{Field, FieldValue, Record, RowId};

/// Finds rows by the value of one field. Scalars are indexed, `null` included; absent members, objects and arrays are
/// not, as nothing equals them.
#[derive(Clone)]
pub(crate) struct Index {
    spec: IndexSpec,
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
    pub(crate) fn new(spec: IndexSpec) -> Self {
        Self { spec, hasher: RandomState::new(), entries: OrdSet::new() }
    }

    pub(crate) fn spec(&self) -> &IndexSpec {
        &self.spec
    }

    /// The rows whose field can equal `value`, in table order: all that do, and others only if two long strings that
    /// begin alike have the same hash.
    pub(crate) fn candidates(&self, value: &FieldValue<'_>) -> IndexRows<'_> {
        let from = self.entry(value, RowId(0));
        IndexRows(from.map(|from| self.entries.range(from..=Entry { row: RowId(u64::MAX), ..from })))
    }

    /// The rows that can have the same values as `record`; none if one of its values is absent or `null`, as such
    /// records never stand in one another's way.
    pub(crate) fn same_values(&self, fields: &[Field], record: &Record) -> IndexRows<'_> {
        let value = self.value(fields, record);
        if value.is_nullish() { IndexRows(None) } else { self.candidates(&value) }
    }

    /// Whether two records have the same values.
    pub(crate) fn holds_same(&self, fields: &[Field], one: &Record, other: &Record) -> bool {
        self.value(fields, one) == self.value(fields, other)
    }

    /// A row's record changes from `old` to `new`; `None` is no record.
    pub(crate) fn replace(
        &mut self,
        fields: &[Field],
        row: RowId,
        old: Option<&Record>,
        new: Option<&Record>,
    ) {
        let before = old.map_or(FieldValue::Absent, |record| self.value(fields, record));
        let after = new.map_or(FieldValue::Absent, |record| self.value(fields, record));
        if before == after {
            return;
        }
        if let Some(entry) = self.entry(&before, row) {
            self.entries.remove(&entry);
        }
        if let Some(entry) = self.entry(&after, row) {
            self.entries.insert(entry);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether any record has a value in it that is not `null`.
    pub(crate) fn has_values(&self) -> bool {
        let last = self.entries.get_max();
        last.is_some_and(|entry| OrderKey::of(&FieldValue::Null).is_none_or(|null| entry.value > null))
    }

    /// Enters all rows into an empty index.
    pub(crate) fn load(&mut self, fields: &[Field], rows: &RowTable<Record>) {
        let entry = |(row, record)| self.entry(&self.value(fields, record), RowId(row));
        let mut entries: Vec<Entry> = rows.iter().filter_map(entry).collect();
        entries.sort_unstable();
        self.entries = entries.into_iter().collect();
    }

    /// Two rows that have the same value, not `null`.
    pub(crate) fn duplicates(&self, fields: &[Field], rows: &RowTable<Record>) -> Option<(RowId, RowId)> {
        let value_of =
            |row: RowId| rows.get(row.0).map_or(FieldValue::Absent, |record| self.value(fields, record));
        let mut same: Vec<Entry> = Vec::new();
        for entry in &self.entries {
            if same.first().is_some_and(|first| !first.same_value(entry)) {
                same.clear();
            }
            if !same.is_empty() {
                let value = value_of(entry.row);
                let twice = same.iter().find(|other| value_of(other.row) == value);
                if let Some(other) = twice.filter(|_| !value.is_nullish()) {
                    return Some((other.row, entry.row));
                }
            }
            same.push(*entry);
        }
        None
    }

    fn value<'a>(&self, fields: &[Field], record: &'a Record) -> FieldValue<'a> {
        let slot = self.spec.slots.first().copied().unwrap_or_default();
        record.field(slot, fields.get(slot).map_or("", Field::name))
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
