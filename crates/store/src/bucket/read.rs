//! Reading a bucket: by filter, by window, folded.

use std::iter::Take;

use serde_json::Value;

use super::Bucket;
use crate::aggregate::Totals;
use crate::index::{Index, IndexRows};
use crate::rows::Rows;
use crate::value::Constant;
use crate::{Aggregate, Filter, Key, Matcher, Number, Record, RowId, StoreError};

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
    /// The records that match, in table order.
    pub fn scan<'a>(&'a self, filter: &'a Filter) -> Scan<'a> {
        let candidates = self.candidates(filter);
        Scan { bucket: self, matcher: filter.matcher(self.definition()), candidates }
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
                None => return Err(StoreError::UnknownCursor { bucket: (&**self.name()).into() }),
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
        let member = self.definition().member(field);
        let mut totals = Totals::default();
        for record in self.scan(filter) {
            totals.add(&record.get(&member));
        }
        totals.result(function)
    }

    /// The rows that can match: an equality on the key or on an indexed field names them, else all are tried.
    fn candidates(&self, filter: &Filter) -> Candidates<'_> {
        let mut chosen: Option<(&Index, &Constant)> = None;
        for (name, value) in filter.equalities() {
            let Some(slot) = self.definition().slot(name) else { continue };
            if slot == self.definition().key_slot() {
                let row = Key::of_field(&value.as_field()).and_then(|key| self.find(key));
                return Candidates::One(row);
            }
            if let Some(index) = self.indexes().iter().find(|index| *index.spec().slots == [slot])
                && chosen.is_none_or(|(best, _)| index.spec().unique && !best.spec().unique)
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

/// The records that match a filter, in table order.
pub struct Scan<'a> {
    bucket: &'a Bucket,
    matcher: Matcher<'a>,
    candidates: Candidates<'a>,
}

enum Candidates<'a> {
    All(Rows<'a, Record>),
    Indexed(IndexRows<'a>),
    One(Option<(RowId, &'a Record)>),
}

impl<'a> Scan<'a> {
    /// The rows of the matching records instead of the records.
    pub(crate) fn rows(mut self) -> impl Iterator<Item = RowId> {
        std::iter::from_fn(move || self.next_row()).map(|(row, _)| row)
    }

    fn next_row(&mut self) -> Option<(RowId, &'a Record)> {
        loop {
            let (row, record) = match &mut self.candidates {
                Candidates::All(rows) => {
                    let (row, record) = rows.next()?;
                    (RowId(row), record)
                }
                Candidates::Indexed(rows) => {
                    let row = rows.next()?;
                    let Some(record) = self.bucket.row(row) else { continue };
                    (row, record)
                }
                Candidates::One(found) => found.take()?,
            };
            if self.matcher.matches(record) {
                return Some((row, record));
            }
        }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        self.next_row().map(|(_, record)| record)
    }
}
