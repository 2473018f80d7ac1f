//! Folds numbers: count, sum, average, smallest, largest.

mod exact_sum;
mod running;

use dunlin_protocol::Aggregate;

use crate::{FieldValue, Number};

pub(crate) use exact_sum::ExactSum;
pub(crate) use running::Running;

/// Everything the functions need, gathered in one pass over the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    records: u64,
    numbers: u64,
    sum: ExactSum,
    min: Option<Number>,
    max: Option<Number>,
}

impl Totals {
    pub(crate) fn add(&mut self, value: &FieldValue<'_>) {
        self.records += 1;
        let Some(number) = value.as_number() else { return };
        self.numbers += 1;
        self.sum.add(number);
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    /// The result. A sum is exact and rounded once: of integers it stays exact while it fits 64 bits; beyond, and with a
    /// fraction among them, it is the nearest double. An average is this sum divided by how many numbers there are.
    pub(crate) fn result(&self, function: Aggregate) -> Option<Number> {
        match function {
            Aggregate::Count => Some(self.records.into()),
            Aggregate::Sum => Some(self.sum.result()),
            Aggregate::Avg => Some(average(&self.sum, self.numbers)),
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
        }
    }
}

/// The mean of so many numbers; 0 of none.
#[expect(clippy::cast_precision_loss, reason = "a mean is a double")]
fn average(sum: &ExactSum, numbers: u64) -> Number {
    if numbers == 0 { Number::ZERO } else { (sum.result().as_f64() / numbers as f64).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(numbers: &[&str]) -> Totals {
        let mut totals = Totals::default();
        for number in numbers {
            totals.add(&FieldValue::of_json(number));
        }
        totals
    }

    #[test]
    fn integer_sums_are_exact() {
        let totals = totals(&["9007199254740993", "9223372036854775807", "1"]);
        assert_eq!(totals.result(Aggregate::Sum).unwrap().to_string(), "9232379236109516801");
    }

    #[test]
    fn of_nothing() {
        let totals = totals(&["null", "\"5\"", "true"]);
        let results = Aggregate::ALL.map(|function| totals.result(function).map(|n| n.to_string()));
        assert_eq!(results, [Some("3".into()), Some("0".into()), Some("0".into()), None, None]);
    }

    #[test]
    fn fractions_make_doubles() {
        assert_eq!(totals(&["0.1", "0.2"]).result(Aggregate::Sum), Some(Number::from(0.1 + 0.2)));
        assert_eq!(totals(&["0.1"; 10]).result(Aggregate::Sum), Some(Number::from(1.0)), "rounded once");
        assert_eq!(totals(&["1", "2"]).result(Aggregate::Avg).unwrap().to_string(), "1.5");
    }
}
