//! What one function needs to be kept up to date.

use std::collections::BTreeMap;

use super::{ExactSum, average};
use crate::{Aggregate, Member, Number, Record};

/// The result of one function over records that come and go; no more is kept than the function needs. The same as that of
/// [`Totals`](super::Totals) over the records that are there.
#[derive(Debug)]
pub(crate) enum Running {
    /// How many records.
    Count(u64),
    Sum(ExactSum),
    /// Of so many numbers.
    Avg(u64, ExactSum),
    /// The numbers and how often each is there: when the smallest goes, another one is.
    Min(BTreeMap<Number, u64>),
    Max(BTreeMap<Number, u64>),
}

impl Running {
    /// Over no records.
    pub(crate) fn new(function: Aggregate) -> Self {
        match function {
            Aggregate::Count => Self::Count(0),
            Aggregate::Sum => Self::Sum(ExactSum::default()),
            Aggregate::Avg => Self::Avg(0, ExactSum::default()),
            Aggregate::Min => Self::Min(BTreeMap::new()),
            Aggregate::Max => Self::Max(BTreeMap::new()),
        }
    }

    /// Adds a record with what it has in this member.
    pub(crate) fn add(&mut self, record: &Record, member: &Member) {
        if let Self::Count(count) = self {
            *count += 1;
        } else if let Some(number) = record.get(member).as_number() {
            self.add_number(number);
        }
    }

    /// Takes a record back that was added.
    pub(crate) fn subtract(&mut self, record: &Record, member: &Member) {
        if let Self::Count(count) = self {
            *count = count.saturating_sub(1);
        } else if let Some(number) = record.get(member).as_number() {
            self.subtract_number(number);
        }
    }

    /// How many numbers are kept, each once.
    pub(crate) fn numbers(&self) -> usize {
        match self {
            Self::Count(_) | Self::Sum(_) | Self::Avg(..) => 1,
            Self::Min(numbers) | Self::Max(numbers) => numbers.len(),
        }
    }

    fn add_number(&mut self, number: Number) {
        match self {
            Self::Count(_) => {}
            Self::Sum(sum) => sum.add(number),
            Self::Avg(numbers, sum) => {
                *numbers += 1;
                sum.add(number);
            }
            Self::Min(numbers) | Self::Max(numbers) => *numbers.entry(number).or_default() += 1,
        }
    }

    fn subtract_number(&mut self, number: Number) {
        match self {
            Self::Count(_) => {}
            Self::Sum(sum) => sum.subtract(number),
            Self::Avg(numbers, sum) => {
                *numbers = numbers.saturating_sub(1);
                sum.subtract(number);
            }
            Self::Min(numbers) | Self::Max(numbers) => {
                if let Some(times) = numbers.get_mut(&number) {
                    *times -= 1;
                    if *times == 0 {
                        numbers.remove(&number);
                    }
                }
            }
        }
    }

    /// `None` for the smallest or largest of nothing.
    pub(crate) fn result(&self) -> Option<Number> {
        match self {
            Self::Count(count) => Some((*count).into()),
            Self::Sum(sum) => Some(sum.result()),
            Self::Avg(numbers, sum) => Some(average(sum, *numbers)),
            Self::Min(numbers) => numbers.first_key_value().map(|(number, _)| *number),
            Self::Max(numbers) => numbers.last_key_value().map(|(number, _)| *number),
        }
    }
}
