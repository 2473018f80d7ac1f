//! Reading a bucket: by filter, counted, folded.

use super::Bucket;
use crate::aggregate::Totals;
use crate::limits::FIND_ONE_TRIES;
use crate::plan::{Access, Candidates, Last, Lookup, choose};
use crate::rows::Rows;
use crate::{Aggregate, Filter, Matcher, Number, Record, RowId};

impl Bucket {
    /// The records that match, in table order.
    pub fn scan<'a>(&'a self, filter: &'a Filter) -> Scan<'a> {
        let matcher = filter.matcher(self.definition());
        let candidates = choose(self, &matcher).candidates(self);
        Scan { bucket: self, matcher, candidates }
    }

    /// The records that match, in table order, apart from the filter's lifetime.
    pub(crate) fn matching(&self, filter: &Filter) -> Vec<&Record> {
        self.matching_most(filter, usize::MAX)
    }

    /// The first `most` of them.
    pub(crate) fn matching_most(&self, filter: &Filter, most: usize) -> Vec<&Record> {
        let matcher = filter.matcher(self.definition());
        let mut candidates = choose(self, &matcher).candidates(self);
        let records = std::iter::from_fn(|| candidates.next(self)).map(|(_, record)| record);
        records.filter(|record| matcher.matches(record)).take(most).collect()
    }

    /// The last `n` records that match, in table order.
    pub(crate) fn matching_last(&self, filter: &Filter, n: usize) -> Vec<&Record> {
        let matcher = filter.matcher(self.definition());
        if matches!(choose(self, &matcher), Access::Scan) {
            let backwards = self.iter().rev().filter(|record| matcher.matches(record));
            let mut records: Vec<&Record> = backwards.take(n).collect();
            records.reverse();
            return records;
        }
        let mut records = self.matching(filter);
        records.drain(..records.len().saturating_sub(n));
        records
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

    /// As `next` again and again, but a scan of all rows asks only once where they come from.
    fn fold<B, F: FnMut(B, &'a Record) -> B>(mut self, init: B, mut f: F) -> B {
        if let Candidates::All(rows) = self.candidates {
            let records = rows.map(|(_, record)| record);
            return records.filter(|record| self.matcher.matches(record)).fold(init, f);
        }
        let mut folded = init;
        while let Some((_, record)) = self.next_row() {
            folded = f(folded, record);
        }
        folded
    }
}
