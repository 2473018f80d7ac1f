//! Folds numbers: count, sum, average, smallest, largest.

use dunlin_protocol::Aggregate;

use crate::{FieldValue, Number};

/// Everything the functions need, gathered in one pass over the records in result order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    records: u64,
    numbers: u64,
    /// Sum of the numbers while all of them are integers.
    exact: i128,
    /// Sum of the numbers as doubles, in order.
    rounded: f64,
    fractional: bool,
    min: Option<Number>,
    max: Option<Number>,
}

impl Totals {
    pub(crate) fn add(&mut self, value: &FieldValue<'_>) {
        self.records += 1;
        let Some(number) = value.as_number() else { return };
        self.numbers += 1;
        self.rounded += number.as_f64();
        match number.as_integer() {
            // 2^63 integers of 64 bits fit 128 bits; there are never that many records.
            Some(int) => self.exact = self.exact.saturating_add(int),
            None => self.fractional = true,
        }
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    /// The result. A sum of integers is exact while it fits 64 bits; with a fraction among them, and for averages that
    /// are not whole, it is the double that adding in result order gives.
    #[expect(clippy::cast_precision_loss, reason = "a mean is a double")]
    pub(crate) fn result(&self, function: Aggregate) -> Option<Number> {
        match function {
            Aggregate::Count => Some(self.records.into()),
            Aggregate::Sum => Some(self.sum()),
            Aggregate::Avg if self.numbers == 0 => Some(Number::ZERO),
            Aggregate::Avg => Some((self.sum().as_f64() / self.numbers as f64).into()),
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
        }
    }

    fn sum(&self) -> Number {
        if self.fractional { self.rounded.into() } else { Number::from_integer(self.exact) }
    }
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
        assert_eq!(totals(&["1", "2"]).result(Aggregate::Avg).unwrap().to_string(), "1.5");
    }
}
