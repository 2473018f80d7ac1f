//! An index of a bucket: its rows by the value of one field, or of several.
//!
//! An entry is a few plain numbers and no text, so that copying a node of the shared tree copies bytes only: the value's
//! place in the order of values (exact, but for strings only their beginning), the hash of the whole string where that
//! does not fit, and the row. So rows of equal value stand together in table order, and values stand in order up to
//! strings that begin alike, which whoever reads a range puts in order by their records.
//!
//! In an index of several fields the hash of the values of all but the last, the lead, stands before that. It finds
//! records by equality of the lead and equality or a range of the last field, and for one lead it has the order of the
//! last field.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use imbl::OrdSet;
use imbl::ordset::RangedIter;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::order_key::{KeyRange, OrderKey};
use crate::rows::RowTable;
use crate::schema::IndexSpec;
use crate::{Field, FieldValue, Record, RowId};

/// Finds rows by the values of its fields. Scalars are indexed, `null` included; a record with an absent member, an
/// object or an array among them is not, as nothing equals these.
#[derive(Clone)]
pub(crate) struct Index {
    spec: IndexSpec,
    /// Seeded anew in every process, so that nobody can prepare strings that collide. It never shows: equality is
    /// decided by the records.
    hasher: RandomState,
    entries: Entries,
    /// Records that have an object or array in one of the fields. They are not in the index, but have a place in the
    /// order of values.
    composites: usize,
}

/// Entries of an index of one field are smaller: most indexes are.
#[derive(Clone)]
enum Entries {
    One(OrdSet<Entry<()>>),
    Several(OrdSet<Entry<Lead>>),
}

/// The hash of the values of all fields but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lead(u64);

impl Lead {
    /// That of an index of one field.
    pub(crate) const NONE: Self = Self(0);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry<L> {
    lead: L,
    value: OrderKey,
    /// Of the whole string if `value` is only its beginning, else 0.
    hash: u64,
    row: RowId,
}

impl<L: PartialEq + Copy> Entry<L> {
    fn same_values(&self, other: &Self) -> bool {
        (self.value, self.hash) == (other.value, other.hash) && self.lead == other.lead
    }

    fn with_lead<M>(self, lead: M) -> Entry<M> {
        Entry { lead, value: self.value, hash: self.hash, row: self.row }
    }
}

impl Index {
    pub(crate) fn new(spec: IndexSpec) -> Self {
        let entries = match *spec.slots {
            [_] => Entries::One(OrdSet::new()),
            _ => Entries::Several(OrdSet::new()),
        };
        Self { spec, hasher: RandomState::new(), entries, composites: 0 }
    }

    pub(crate) fn spec(&self) -> &IndexSpec {
        &self.spec
    }

    /// Whether the index has every record whose values have a place in their order, but for absent ones and `null`.
    pub(crate) fn has_all_ordered(&self) -> bool {
        self.composites == 0
    }

    /// The lead of records with these values in all fields but the last; `None` if there can be none.
    pub(crate) fn lead<'a>(&self, values: impl Iterator<Item = FieldValue<'a>>) -> Option<Lead> {
        let mut hasher = self.hasher.build_hasher();
        for value in values {
            let key = OrderKey::of(&value)?;
            key.hash(&mut hasher);
            if !key.is_whole() {
                value.as_str().hash(&mut hasher);
            }
        }
        Some(Lead(hasher.finish()))
    }

    /// For an index of one field, the rows whose field can equal `value`; see [`Self::equal`].
    pub(crate) fn candidates(&self, value: &FieldValue<'_>) -> IndexRows<'_> {
        self.equal(Lead::NONE, value)
    }

    /// The rows with this lead whose last field can equal `value`, in table order: all that do, and others only if long
    /// strings that begin alike, or leads, have the same hash.
    pub(crate) fn equal(&self, lead: Lead, value: &FieldValue<'_>) -> IndexRows<'_> {
        let Some(from) = self.entry(lead, value, RowId(0)) else { return IndexRows(Places::Nowhere) };
        IndexRows(self.places(from, Entry { row: RowId(u64::MAX), ..from }))
    }

    /// Whether in this index only equal values have the key of `value`: then its rows need no look at their records.
    pub(crate) fn is_exact(&self, value: &FieldValue<'_>) -> bool {
        self.spec.slots.len() == 1 && OrderKey::of(value).is_some_and(OrderKey::is_whole)
    }

    /// The rows with this lead whose last field has a value in the range, in the order of the values, rows of equal keys
    /// that are whole in table order.
    pub(crate) fn within(&self, lead: Lead, range: KeyRange) -> Places<'_> {
        if range.is_empty() {
            return Places::Nowhere;
        }
        let from = Entry { lead, value: range.low, hash: 0, row: RowId(0) };
        self.places(from, Entry { lead, value: range.high, hash: u64::MAX, row: RowId(u64::MAX) })
    }

    fn places(&self, from: Entry<Lead>, to: Entry<Lead>) -> Places<'_> {
        match &self.entries {
            Entries::One(set) => Places::One(set.range(from.with_lead(())..=to.with_lead(()))),
            Entries::Several(set) => Places::Several(set.range(from..=to)),
        }
    }

    /// The rows that can have the same values as `record`; none if one of its values is absent or `null`, as such
    /// records never stand in one another's way.
    pub(crate) fn same_values(&self, fields: &[Field], record: &Record) -> IndexRows<'_> {
        let slots = self.spec.slots.iter();
        match self.entry_of(fields, record, RowId(0)) {
            Some(from) if slots.clone().all(|slot| !value(fields, *slot, record).is_nullish()) => {
                IndexRows(self.places(from, Entry { row: RowId(u64::MAX), ..from }))
            }
            _ => IndexRows(Places::Nowhere),
        }
    }

    /// Whether two records have the same values.
    pub(crate) fn holds_same(&self, fields: &[Field], one: &Record, other: &Record) -> bool {
        self.spec.slots.iter().all(|slot| value(fields, *slot, one) == value(fields, *slot, other))
    }

    /// A row's record changes from `old` to `new`; `None` is no record.
    pub(crate) fn replace(
        &mut self,
        fields: &[Field],
        row: RowId,
        old: Option<&Record>,
        new: Option<&Record>,
    ) {
        if old.zip(new).is_some_and(|(old, new)| self.holds_same(fields, old, new)) {
            return;
        }
        if let Some(record) = old {
            let entry = self.entry_of(fields, record, row);
            self.composites -= usize::from(entry.is_none() && self.is_composite(fields, record));
            match (&mut self.entries, entry) {
                (Entries::One(set), Some(entry)) => drop(set.remove(&entry.with_lead(()))),
                (Entries::Several(set), Some(entry)) => drop(set.remove(&entry)),
                (_, None) => {}
            }
        }
        if let Some(record) = new {
            let entry = self.entry_of(fields, record, row);
            self.composites += usize::from(entry.is_none() && self.is_composite(fields, record));
            match (&mut self.entries, entry) {
                (Entries::One(set), Some(entry)) => drop(set.insert(entry.with_lead(()))),
                (Entries::Several(set), Some(entry)) => drop(set.insert(entry)),
                (_, None) => {}
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.spec.clone());
    }

    /// Whether any record has a value in it that is not `null`.
    pub(crate) fn has_values(&self) -> bool {
        match &self.entries {
            Entries::One(set) => set.get_max().is_some_and(|entry| entry.value >= KeyRange::NOT_NULL.low),
            Entries::Several(set) => !set.is_empty(),
        }
    }

    /// Enters all rows into an empty index.
    pub(crate) fn load(&mut self, fields: &[Field], rows: &RowTable<Record>) {
        let mut entries: Vec<Entry<Lead>> = Vec::with_capacity(rows.len());
        for (row, record) in rows.iter() {
            match self.entry_of(fields, record, RowId(row)) {
                Some(entry) => entries.push(entry),
                None => self.composites += usize::from(self.is_composite(fields, record)),
            }
        }
        entries.sort_unstable();
        match &mut self.entries {
            Entries::One(set) => *set = entries.into_iter().map(|entry| entry.with_lead(())).collect(),
            Entries::Several(set) => *set = entries.into_iter().collect(),
        }
    }

    /// Two rows that have the same values, none of them `null`.
    pub(crate) fn duplicates(&self, fields: &[Field], rows: &RowTable<Record>) -> Option<(RowId, RowId)> {
        let counts = |row: RowId| {
            let mut slots = self.spec.slots.iter();
            rows.get(row.0).is_some_and(|record| slots.all(|slot| !value(fields, *slot, record).is_nullish()))
        };
        let same = |one: RowId, other: RowId| {
            let both = rows.get(one.0).zip(rows.get(other.0));
            both.is_some_and(|(one, other)| self.holds_same(fields, one, other))
        };
        match &self.entries {
            Entries::One(set) => twice(set.iter(), counts, same),
            Entries::Several(set) => twice(set.iter(), counts, same),
        }
    }

    fn is_composite(&self, fields: &[Field], record: &Record) -> bool {
        let mut slots = self.spec.slots.iter();
        slots.any(|slot| matches!(value(fields, *slot, record), FieldValue::Json(_)))
    }

    fn entry_of(&self, fields: &[Field], record: &Record, row: RowId) -> Option<Entry<Lead>> {
        let (last, before) = self.spec.slots.split_last()?;
        let lead = match before {
            [] => Lead::NONE,
            before => self.lead(before.iter().map(|slot| value(fields, *slot, record)))?,
        };
        self.entry(lead, &value(fields, *last, record), row)
    }

    fn entry(&self, lead: Lead, value: &FieldValue<'_>, row: RowId) -> Option<Entry<Lead>> {
        let key = OrderKey::of(value)?;
        let hash = if key.is_whole() { 0 } else { self.hasher.hash_one(value.as_str()) };
        Some(Entry { lead, value: key, hash, row })
    }
}

fn value<'a>(fields: &[Field], slot: usize, record: &'a Record) -> FieldValue<'a> {
    record.field(slot, fields.get(slot).map_or("", Field::name))
}

/// The first two of the entries, ascending, that have one value and are `same` by their records. Rows that do not count
/// are passed over at once: any number of them may have one value.
fn twice<'a, L: PartialEq + Copy + 'a>(
    entries: impl Iterator<Item = &'a Entry<L>>,
    counts: impl Fn(RowId) -> bool,
    same: impl Fn(RowId, RowId) -> bool,
) -> Option<(RowId, RowId)> {
    let mut alike: Vec<Entry<L>> = Vec::new();
    for entry in entries.filter(|entry| counts(entry.row)) {
        if alike.first().is_some_and(|first| !first.same_values(entry)) {
            alike.clear();
        }
        if let Some(other) = alike.iter().find(|other| same(other.row, entry.row)) {
            return Some((other.row, entry.row));
        }
        alike.push(*entry);
    }
    None
}

/// Entries of an index: the key of the last field's value, and the row. From both ends.
pub(crate) enum Places<'a> {
    /// None at all.
    Nowhere,
    One(RangedIter<'a, Entry<()>, DefaultSharedPtr>),
    Several(RangedIter<'a, Entry<Lead>, DefaultSharedPtr>),
}

impl Iterator for Places<'_> {
    type Item = (OrderKey, RowId);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Nowhere => None,
            Self::One(entries) => entries.next().map(|entry| (entry.value, entry.row)),
            Self::Several(entries) => entries.next().map(|entry| (entry.value, entry.row)),
        }
    }
}

impl DoubleEndedIterator for Places<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Nowhere => None,
            Self::One(entries) => entries.next_back().map(|entry| (entry.value, entry.row)),
            Self::Several(entries) => entries.next_back().map(|entry| (entry.value, entry.row)),
        }
    }
}

/// Rows of equal values, ascending.
pub(crate) struct IndexRows<'a>(Places<'a>);

impl Iterator for IndexRows<'_> {
    type Item = RowId;

    fn next(&mut self) -> Option<RowId> {
        self.0.next().map(|(_, row)| row)
    }
}
