//! The events of a window, and what is worked out from them.
//!
//! Nothing is worked out twice: an event that comes is added, one that leaves is taken back. Sums are [exact](super::sum), the least
//! and the greatest number come from an ordered multiset, so all depends only on what is in the window now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::entry::Stamp;
use super::sum::ExactSum;
use crate::Event;
use crate::rule::{Comparison, Function, TemporalKind};

/// A window of one group.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) sliding: bool,
    /// When it ends, if it does not slide.
    pub(super) until: u64,
    /// In the order in which they came.
    pub(super) items: VecDeque<Item>,
    /// It has fired, and is to do so once only as long as its comparison holds.
    pub(super) fired: bool,
    /// How many windows in a row are without an event, this one included.
    pub(super) empty: u32,
    /// What the items add up to; none after loading, until it is needed.
    pub(super) totals: Option<Totals>,
}

/// One event of a window.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) stamp: Stamp,
    /// When it leaves the window: the last millisecond that it is part of, or, if the window does not slide, its end.
    pub(super) until: u64,
    pub(super) value: Option<f64>,
    pub(super) event: Arc<Event>,
}

/// What the numbers of a window add up to: as much of it as the function needs.
#[derive(Debug)]
pub(super) struct Totals {
    function: Function,
    numbers: u64,
    sum: ExactSum,
    /// Each number that is there, and how often.
    ordered: BTreeMap<u64, u32>,
}

impl Window {
    pub(super) fn new(sliding: bool) -> Self {
        Self { sliding, until: 0, items: VecDeque::with_capacity(1), fired: false, empty: 0, totals: None }
    }

    pub(super) fn push(&mut self, item: Item) {
        if let Some((totals, value)) = self.totals.as_mut().zip(item.value) {
            totals.add(value);
        }
        self.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Some((totals, value)) = self.totals.as_mut().zip(item.value) {
            totals.remove(value);
        }
        Some(item)
    }

    /// What a pattern makes of the window. None if there is no number to say.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 events are remembered")]
    pub(super) fn value(&mut self, kind: &TemporalKind) -> Option<f64> {
        let TemporalKind::Aggregate { function, .. } = kind else { return Some(self.items.len() as f64) };
        if *function == Function::Count {
            return Some(self.items.len() as f64);
        }
        let items = &self.items;
        let totals = self.totals.get_or_insert_with(|| {
            let mut totals = Totals::new(*function);
            items.iter().filter_map(|item| item.value).for_each(|value| totals.add(value));
            totals
        });
        // A window without events adds up to nothing; events without a number say nothing.
        if items.is_empty() && *function == Function::Sum { Some(0.0) } else { totals.value() }
    }

    /// Whether what a pattern makes of the window is what it waits for, and what that is.
    pub(super) fn holds(&mut self, kind: &TemporalKind) -> Option<f64> {
        let (TemporalKind::Count { comparison, threshold, .. }
        | TemporalKind::Aggregate { comparison, threshold, .. }) = kind
        else {
            return None;
        };
        self.value(kind).filter(|value| match comparison {
            Comparison::Gte => value >= threshold,
            Comparison::Lte => value <= threshold,
            #[expect(clippy::float_cmp, reason = "exact equality is what eq is")]
            Comparison::Eq => value == threshold,
        })
    }
}

impl Totals {
    fn new(function: Function) -> Self {
        Self { function, numbers: 0, sum: ExactSum::default(), ordered: BTreeMap::new() }
    }

    fn add(&mut self, value: f64) {
        self.numbers += 1;
        match self.function {
            Function::Sum | Function::Avg => self.sum.add(value),
            Function::Min | Function::Max => *self.ordered.entry(ordered(value)).or_default() += 1,
            Function::Count => {}
        }
    }

    fn remove(&mut self, value: f64) {
        self.numbers = self.numbers.saturating_sub(1);
        match self.function {
            Function::Sum | Function::Avg => self.sum.subtract(value),
            Function::Min | Function::Max => {
                let key = ordered(value);
                match self.ordered.get_mut(&key) {
                    Some(times) if *times > 1 => *times -= 1,
                    _ => drop(self.ordered.remove(&key)),
                }
            }
            Function::Count => {}
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 events are remembered")]
    fn value(&self) -> Option<f64> {
        if self.numbers == 0 {
            return None;
        }
        match self.function {
            Function::Sum => Some(self.sum.result()),
            Function::Avg => Some(self.sum.result() / self.numbers as f64),
            Function::Min => self.ordered.first_key_value().map(|(key, _)| from_ordered(*key)),
            Function::Max => self.ordered.last_key_value().map(|(key, _)| from_ordered(*key)),
            Function::Count => None,
        }
    }
}

const SIGN: u64 = 1 << 63;

/// The bits of a double such that they compare as the numbers do.
fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_ordered(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "nothing is rounded")]
mod tests {
    use super::*;

    #[test]
    fn doubles_keep_their_order() {
        let numbers = [f64::MIN, -1.5, -f64::from_bits(1), 0.0, f64::from_bits(1), 1.0, 1.5, f64::MAX];
        assert!(numbers.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        assert!(numbers.iter().all(|number| from_ordered(ordered(*number)) == *number));
    }
}
