//! Reading a bucket: by filter, by window, folded.

use std::iter::Take;

use serde_json::Value;

use super::Bucket;
use crate::aggregate::Totals;
use crate::limits::FIND_ONE_TRIES;
use crate::plan::{Access, Candidates, Last, Lookup, choose};
use crate::rows::Rows;
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
        let matcher = filter.matcher(self.definition());
        let candidates = choose(self, &matcher).candidates(self);
        Scan { bucket: self, matcher, candidates }
    }

    /// The first record that matches, in table order.
    pub fn find_one(&self, filter: &Filter) -> Option<&Record> {
        let matcher = filter.matcher(self.definition());
        let mut access = choose(self, &matcher);
        if matches!(
            access,
            Access::Keys(_)
                | Access::Union(_)
                | Access::Index(Lookup { last: Last::In(_) | Last::Within(_), .. })
        ) {
            // Gathering rows to sort them is waste if one of the first records matches.
            let mut first = self.iter().take(FIND_ONE_TRIES);
            if let Some(record) = first.find(|record| matcher.matches(record)) {
                return Some(record);
            }
        }
        let mut candidates = access.candidates(self);
        let mut records = std::iter::from_fn(|| candidates.next(self)).map(|(_, record)| record);
        records.find(|record| matcher.matches(record))
    }

    /// How many records match.
    pub fn count(&self, filter: &Filter) -> usize {
        if filter.is_empty() {
            return self.len();
        }
        let matcher = filter.matcher(self.definition());
        let mut access = choose(self, &matcher);
        if let Some(count) = access.exact_count(&matcher) {
            return count;
        }
        let candidates = access.candidates(self);
        Scan { bucket: self, matcher, candidates }.count()
    }

    /// All rows from this one on, in table order.
    pub(crate) fn rows_from(&self, row: u64) -> Rows<'_, Record> {
        self.rows.range(row..=u64::MAX)
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
}

/// The records that match a filter, in table order.
pub struct Scan<'a> {
    bucket: &'a Bucket,
    matcher: Matcher<'a>,
    candidates: Candidates<'a>,
}

impl<'a> Scan<'a> {
    /// The rows of the matching records instead of the records.
    pub(crate) fn rows(mut self) -> impl Iterator<Item = RowId> {
        std::iter::from_fn(move || self.next_row()).map(|(row, _)| row)
    }

    fn next_row(&mut self) -> Option<(RowId, &'a Record)> {
        while let Some((row, record)) = self.candidates.next(self.bucket) {
            if self.matcher.matches(record) {
                return Some((row, record));
            }
        }
        None
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        self.next_row().map(|(_, record)| record)
    }
}
