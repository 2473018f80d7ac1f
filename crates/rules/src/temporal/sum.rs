//! A sum of doubles without rounding: only its result is rounded, once.
//!
//! Numbers are added to and taken from a window millions of times, and an engine that is loaded again must come to the same sum as
//! the one that went on. So the sum may depend on the numbers in the window alone, not on what was there before or in which order.
//! It is kept as an integer of many bits, in digits of 32 bits; only digits that something was added to exist. Its error is that of
//! rounding the result once: at most half a unit in its last place.

use std::collections::BTreeMap;

/// Numbers to which others can be added, and from which they can be taken back.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSum {
    /// By the place of the digit: each is a multiple of 2^(32 · place - 1088). Room for 2^42 numbers before a digit is full.
    digits: BTreeMap<u16, i128>,
}

const DIGIT_BITS: u32 = 32;
/// The exponent of the lowest place, below that of the smallest double, 2^-1074.
const LOWEST: i32 = -1088;
const MANTISSA_BITS: u32 = 52;
const EXPONENT_MASK: u64 = 0x7FF;

impl ExactSum {
    pub(super) fn add(&mut self, number: f64) {
        self.put(number, 1);
    }

    /// Takes a number back that was added.
    pub(super) fn subtract(&mut self, number: f64) {
        self.put(number, -1);
    }

    fn put(&mut self, number: f64, sign: i128) {
        let bits = number.to_bits();
        let exponent = (bits >> MANTISSA_BITS) & EXPONENT_MASK;
        let fraction = bits & ((1 << MANTISSA_BITS) - 1);
        // JSON has no infinities.
        if exponent == EXPONENT_MASK {
            return;
        }
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << MANTISSA_BITS };
        // The number is mantissa · 2^(exponent - 1075), one more for the smallest.
        let above = u32::try_from(exponent.max(1)).unwrap_or(1) + 13;
        let place = u16::try_from(above / DIGIT_BITS).unwrap_or(u16::MAX);
        let sign = if number.is_sign_negative() { -sign } else { sign };
        let digit = self.digits.entry(place).or_default();
        *digit += sign * (i128::from(mantissa) << (above % DIGIT_BITS));
        if *digit == 0 {
            self.digits.remove(&place);
        }
    }

    /// The nearest double.
    pub(super) fn result(&self) -> f64 {
        let negative = self.normal(false).is_none();
        let digits = self.normal(negative).unwrap_or_default();
        let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // The three highest digits hold more bits than a double; whether anything is below decides ties.
        let at =
            |index: Option<usize>| index.and_then(|index| digits.get(index)).copied().unwrap_or_default();
        let high = [Some(top), top.checked_sub(1), top.checked_sub(2)]
            .into_iter()
            .fold(0_u128, |high, index| high << DIGIT_BITS | u128::from(at(index)));
        let below = digits.iter().take(top.saturating_sub(2)).any(|digit| *digit != 0);
        let exponent = LOWEST + (i32::try_from(top).unwrap_or_default() - 2) * 32;
        let rounded = scaled(high << 1 | u128::from(below), exponent - 1);
        if negative { -rounded } else { rounded }
    }

    /// All digits with what is too much for one carried into the next, of the sum or of its negative. None if it is less than zero.
    fn normal(&self, negated: bool) -> Option<Vec<u32>> {
        let places = self.digits.last_key_value().map_or(0, |(place, _)| usize::from(*place) + 1);
        let mut digits = vec![0; places];
        for (place, digit) in &self.digits {
            digits[usize::from(*place)] = if negated { -*digit } else { *digit };
        }
        let mut normal = Vec::with_capacity(places + 4);
        let mut carry = 0;
        // What is carried out of the highest digit fits four more.
        for digit in digits.into_iter().chain([0; 4]) {
            let sum: i128 = digit + carry;
            normal.push(u32::try_from(sum & 0xFFFF_FFFF).unwrap_or_default());
            carry = sum >> DIGIT_BITS;
        }
        (carry >= 0).then_some(normal)
    }
}

/// `integer · 2^exponent`, rounded once: in steps that are exact, but for the last one.
#[expect(clippy::cast_precision_loss, reason = "rounding is what it is for")]
fn scaled(integer: u128, exponent: i32) -> f64 {
    // Where the result is not normal fewer bits than those of the mantissa remain: round to these first.
    let bits = i32::try_from(u128::BITS - integer.leading_zeros()).unwrap_or_default();
    let kept = (bits + exponent + 1074).clamp(0, 53);
    if kept >= 53 {
        return power(integer as f64, exponent);
    }
    let shift = u32::try_from(bits - kept).unwrap_or_default();
    let rest = integer & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    let whole = integer >> shift;
    let up = rest > half || rest == half && whole & 1 == 1;
    power((whole + u128::from(up)) as f64, exponent + bits - kept)
}

/// `number · 2^exponent`; exact, if the result can be held.
fn power(mut number: f64, mut exponent: i32) -> f64 {
    while exponent > 1000 {
        number *= 2_f64.powi(1000);
        exponent -= 1000;
    }
    while exponent < -1000 {
        number *= 2_f64.powi(-1000);
        exponent += 1000;
    }
    number * 2_f64.powi(exponent)
}

#[cfg(test)]
#[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "sums are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(numbers: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        for number in numbers {
            sum.add(*number);
        }
        sum.result()
    }

    #[test]
    fn sums() {
        let least = f64::from_bits(1);
        let table: [(&[f64], f64); 14] = [
            (&[], 0.0),
            (&[0.1; 10], 1.0),
            (&[1e308, 1.0, -1e308], 1.0),
            (&[1e16, 1.0, 1.0, 1.0], 1e16 + 4.0),
            (&[1e16, 1.0, -1e16], 1.0),
            (&[-1.5, -2.5], -4.0),
            (&[least, least], f64::from_bits(2)),
            (&[f64::MIN_POSITIVE, -least], f64::MIN_POSITIVE - least),
            (&[f64::MAX, -f64::MAX, least], least),
            (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            // Exactly between two doubles: the even one; a trace above it: the upper one.
            (&[9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (&[9_007_199_254_740_992.0, 1.0, least], 9_007_199_254_740_994.0),
            (&[5.0, -5.0, 0.0, -0.0], 0.0),
        ];
        for (numbers, expected) in table {
            assert_eq!(sum(numbers), expected, "{numbers:?}");
        }
    }

    #[test]
    fn a_million_numbers_come_and_go_without_a_trace() {
        let mut sum = ExactSum::default();
        sum.add(0.3);
        for round in 0..1_000_000_u32 {
            sum.add(f64::from(round) * 0.1 + 1e9);
            sum.subtract(f64::from(round) * 0.1 + 1e9);
        }
        assert_eq!(sum.result(), 0.3);
        assert_eq!(sum.digits.len(), 1);
    }

    proptest! {
        #[test]
        fn as_integers_would_do(numbers in prop::collection::vec((any::<i64>(), -30_i32..30), 0..20)) {
            // Multiples of 2^-30 that an i128 can add.
            let exact: i128 = numbers.iter().map(|(n, e)| i128::from(*n >> 11) << (e + 30)).sum();
            let doubles: Vec<f64> = numbers.iter().map(|(n, e)| (n >> 11) as f64 * 2_f64.powi(*e)).collect();
            prop_assert_eq!(sum(&doubles), exact as f64 * 2_f64.powi(-30));
        }

        #[test]
        fn what_is_taken_back_was_never_there(
            kept in prop::collection::vec(any::<f64>(), 0..8),
            gone in prop::collection::vec(any::<f64>(), 0..8),
        ) {
            let mut both = ExactSum::default();
            for number in gone.iter().chain(&kept) {
                both.add(*number);
            }
            for number in &gone {
                both.subtract(*number);
            }
            prop_assert_eq!(both.result().to_bits(), sum(&kept).to_bits());
        }

        #[test]
        fn one_number_is_itself(number in any::<f64>().prop_filter("JSON", |number| number.is_finite())) {
            prop_assert_eq!(sum(&[number]), number);
        }
    }
}
