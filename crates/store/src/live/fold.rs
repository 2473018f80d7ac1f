//! A number over all records that match: kept as running totals.

use super::Delta;
use crate::aggregate::Running;
use crate::{Aggregate, Bucket, Filter, Member, Number, Record};

/// The result of an aggregate, kept up to date record by record.
#[derive(Debug)]
pub(crate) struct FoldView {
    member: Member,
    running: Running,
    /// The result that was told last.
    told: Option<Number>,
}

impl FoldView {
    /// What a number that is kept takes, about.
    pub(crate) const BYTES_EACH: usize = 40;

    /// How many different numbers are kept.
    pub(crate) fn numbers(&self) -> usize {
        self.running.numbers()
    }

    /// The view of a bucket as it is.
    pub(crate) fn build(bucket: &Bucket, function: Aggregate, field: &str, filter: &Filter) -> Self {
        let member = bucket.definition().member(field);
        let mut running = Running::new(function);
        if let Running::Count(count) = &mut running {
            // An index may know it.
            *count = bucket.count(filter) as u64;
        } else {
            bucket.scan(filter).for_each(|record| running.add(record, &member));
        }
        Self { member, told: running.result(), running }
    }

    /// A row has changed; each side is given only if it matches the filter.
    pub(crate) fn change(&mut self, before: Option<&Record>, after: Option<&Record>) {
        if let Some(before) = before {
            self.running.subtract(before, &self.member);
        }
        if let Some(after) = after {
            self.running.add(after, &self.member);
        }
    }

    /// Closes a step: tells whether the result is another one than was told before.
    pub(crate) fn settle(&mut self, delta: &mut Delta) {
        let result = self.running.result();
        if result != self.told {
            self.told = result;
            delta.replace_whole();
        }
    }

    /// The result as JSON text; `None` if it is undefined (the smallest or largest of nothing).
    pub(crate) fn encode(&self) -> Option<String> {
        self.told.map(|number| number.to_string())
    }
}
