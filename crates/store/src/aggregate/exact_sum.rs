//! A sum without rounding: only its result is rounded, once.

use crate::Number;

/// A sum of numbers from which each can be taken back. It is the same in whatever order the numbers came, and whatever was
/// added and taken back meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExactSum {
    /// Of the integers of 64 bits. 2^63 of them fit; there are never that many records.
    integers: i128,
    /// Of all other numbers, while there are any.
    doubles: Option<Box<Doubles>>,
}

/// The sum of doubles as an integer of many bits, in units of the smallest double there is.
#[derive(Debug, Clone)]
struct Doubles {
    count: u64,
    /// Positive infinities less the negative ones. A journal that somebody else wrote can hold them.
    infinities: i64,
    /// In two's complement, the lowest first.
    limbs: [u64; LIMBS],
}

/// Doubles reach over 2098 bits; what is above is room for the sum of 2^77 of them, and the sign.
const LIMBS: usize = 34;
const LIMB_BITS: usize = 64;
/// The bit that stands for 1.
const ONE: usize = 1074;
/// Bits of a double's mantissa that are written out.
const MANTISSA_BITS: u32 = 52;
const INFINITY_BITS: u64 = 0x7FF << MANTISSA_BITS;

impl ExactSum {
    #[inline]
    pub(crate) fn add(&mut self, number: Number) {
        match number.as_integer() {
            Some(int) => self.integers = self.integers.saturating_add(int),
            None => self.add_double(number.as_f64()),
        }
    }

    /// Takes a number back that was added.
    pub(crate) fn subtract(&mut self, number: Number) {
        if let Some(int) = number.as_integer() {
            self.integers = self.integers.saturating_sub(int);
        } else if let Some(doubles) = &mut self.doubles {
            doubles.count = doubles.count.saturating_sub(1);
            doubles.add(-number.as_f64());
            if doubles.count == 0 {
                self.doubles = None;
            }
        }
    }

    /// An exact integer if all numbers are and it fits 64 bits, else the nearest double, of two the even one.
    pub(crate) fn result(&self) -> Number {
        match &self.doubles {
            None => Number::from_integer(self.integers),
            Some(doubles) => doubles.rounded(self.integers).into(),
        }
    }

    /// Kept out of the way of integers.
    #[inline(never)]
    fn add_double(&mut self, double: f64) {
        let doubles = self.doubles.get_or_insert_default();
        doubles.count += 1;
        doubles.add(double);
    }
}

impl Default for Doubles {
    fn default() -> Self {
        Self { count: 0, infinities: 0, limbs: [0; LIMBS] }
    }
}

impl Doubles {
    fn add(&mut self, double: f64) {
        let negative = double.is_sign_negative();
        if double.is_infinite() {
            self.infinities += if negative { -1 } else { 1 };
            return;
        }
        // A double is its mantissa times a power of two; the smallest have no leading one and the same power as the next.
        let bits = double.abs().to_bits();
        let (exponent, fraction) = (bits >> MANTISSA_BITS, bits & ((1 << MANTISSA_BITS) - 1));
        let (mantissa, place) = match exponent.checked_sub(1) {
            Some(place) => (fraction | 1 << MANTISSA_BITS, place),
            None => (fraction, 0),
        };
        // At most 2045.
        let place = usize::try_from(place).unwrap_or(0);
        let shifted = u128::from(mantissa) << (place % LIMB_BITS);
        change(&mut self.limbs, place / LIMB_BITS, shifted, negative);
    }

    /// With this added, the nearest double.
    fn rounded(&self, integers: i128) -> f64 {
        if self.infinities != 0 {
            return if self.infinities > 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        let mut limbs = self.limbs;
        let magnitude = integers.unsigned_abs();
        for (i, part) in [magnitude & LOW, magnitude >> LIMB_BITS].into_iter().enumerate() {
            change(&mut limbs, ONE / LIMB_BITS + i, part << (ONE % LIMB_BITS), integers < 0);
        }
        let negative = limbs.last().is_some_and(|limb| limb >> (LIMB_BITS - 1) == 1);
        if negative {
            let mut opposite = [0; LIMBS];
            for (i, limb) in limbs.into_iter().enumerate() {
                change(&mut opposite, i, limb.into(), true);
            }
            limbs = opposite;
        }
        let double = f64::from_bits(nearest(&limbs));
        if negative { -double } else { double }
    }
}

const LOW: u128 = u64::MAX as u128;

/// Adds to the limbs from this one on, or subtracts.
fn change(limbs: &mut [u64], from: usize, mut by: u128, subtract: bool) {
    for limb in limbs.iter_mut().skip(from) {
        if by == 0 {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half of it")]
        let low = by as u64;
        let (changed, carried) = if subtract { limb.overflowing_sub(low) } else { limb.overflowing_add(low) };
        *limb = changed;
        by = (by >> LIMB_BITS) + u128::from(carried);
    }
}

/// The bits of the double nearest to a positive integer in units of the smallest double.
fn nearest(limbs: &[u64; LIMBS]) -> u64 {
    let limb = |i: usize| limbs.get(i).copied().unwrap_or(0);
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return 0 };
    let bits = (top + 1) * LIMB_BITS - limb(top).leading_zeros() as usize;
    // So many bits do not fit the mantissa. As it has its leading one, to count them into the exponent, which is 0 where
    // none are cut off, makes the double.
    let cut = bits.saturating_sub(MANTISSA_BITS as usize + 1);
    let (i, by) = (cut / LIMB_BITS, cut % LIMB_BITS);
    let pair = u128::from(limb(i + 1)) << LIMB_BITS | u128::from(limb(i));
    let mantissa = (pair >> by & LOW) as u64;
    let mut double = ((cut as u64) << MANTISSA_BITS) + mantissa;
    if let Some(half) = cut.checked_sub(1) {
        let (i, bit) = (half / LIMB_BITS, 1 << (half % LIMB_BITS));
        let more = limb(i) & (bit - 1) != 0 || limbs.iter().take(i).any(|limb| *limb != 0);
        if limb(i) & bit != 0 && (more || mantissa & 1 == 1) {
            // May carry into the exponent, which is right then.
            double += 1;
        }
    }
    double.min(INFINITY_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum by schoolbook addition of whole decimal expansions, rounded by the standard library.
    fn oracle(numbers: &[Number]) -> Number {
        if numbers.iter().all(|number| number.as_integer().is_some()) {
            return Number::from_integer(numbers.iter().filter_map(|number| number.as_integer()).sum());
        }
        // Digits with the last of 1074 behind the point first, not yet carried.
        let mut digits = vec![0_i64; 1074 + 340];
        for number in numbers {
            let text = match number.as_integer() {
                Some(int) => format!("{int}.{:01074}", 0),
                None => format!("{:.1074}", number.as_f64()),
            };
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let places = text.bytes().rev().filter(u8::is_ascii_digit);
            for (digit, byte) in digits.iter_mut().zip(places) {
                *digit += sign * i64::from(byte - b'0');
            }
        }
        let negative = carry(&mut digits) < 0;
        if negative {
            for digit in &mut digits {
                *digit = -*digit;
            }
            // What was borrowed beyond the highest digit is not needed: its opposite is carried there.
            carry(&mut digits);
        }
        let mut text: String = digits.iter().rev().map(ToString::to_string).collect();
        text.insert(340, '.');
        let double: f64 = text.parse().unwrap();
        (if negative { -double } else { double }).into()
    }

    /// Makes each of them one digit; what is beyond the highest.
    fn carry(digits: &mut [i64]) -> i64 {
        let mut beyond = 0;
        for digit in digits {
            beyond += *digit;
            *digit = beyond.rem_euclid(10);
            beyond = beyond.div_euclid(10);
        }
        beyond
    }

    fn number() -> impl Strategy<Value = Number> {
        let bits = any::<u64>().prop_map(f64::from_bits).prop_filter("no JSON number", |f| f.is_finite());
        let scaled = |from: i32, to: i32| {
            (-1_000_i32..1_000, from..to).prop_map(|(n, k)| Number::from(f64::from(n) * 2_f64.powi(k)))
        };
        prop_oneof![
            2 => bits.prop_map(Number::from),
            2 => any::<i64>().prop_map(Number::from),
            1 => any::<u64>().prop_map(Number::from),
            2 => (-5_i64..5).prop_map(Number::from),
            3 => scaled(-12, 4),
            2 => scaled(-60, 70),
            1 => scaled(-1074, -1000),
            1 => scaled(960, 1014),
            1 => prop::sample::select(vec![f64::MAX, -f64::MAX, f64::MIN_POSITIVE, 5e-324, -5e-324, 0.1, 1e300, -1e300])
                .prop_map(Number::from),
        ]
    }

    fn sum(numbers: &[Number]) -> ExactSum {
        let mut sum = ExactSum::default();
        for number in numbers {
            sum.add(*number);
        }
        sum
    }

    fn same(a: Number, b: Number) -> bool {
        a == b && a.as_f64().to_bits() == b.as_f64().to_bits() && a.as_integer() == b.as_integer()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn exact_whatever_came_and_went(
            numbers in prop::collection::vec((number(), any::<u8>(), any::<Option<u8>>()), 0..24),
        ) {
            let mut events = Vec::new();
            for (number, at, until) in &numbers {
                events.push((u16::from(*at), false, *number));
                if let Some(until) = until {
                    events.push((u16::from(*at) + u16::from(*until), true, *number));
                }
            }
            events.sort_by_key(|(at, taken_back, _)| (*at, *taken_back));
            let mut maintained = ExactSum::default();
            for (_, taken_back, number) in &events {
                if *taken_back { maintained.subtract(*number) } else { maintained.add(*number) }
            }
            let mut left: Vec<Number> =
                numbers.iter().filter(|(.., until)| until.is_none()).map(|(number, ..)| *number).collect();
            let expected = oracle(&left);
            prop_assert!(same(maintained.result(), expected), "{:?} {:?}", maintained.result(), expected);
            left.reverse();
            prop_assert!(same(sum(&left).result(), expected));
            for number in left {
                maintained.subtract(number);
            }
            prop_assert!(maintained.integers == 0 && maintained.doubles.is_none(), "lean again");
        }

        #[test]
        fn exact_where_a_hair_decides(bits in 0_u64..0x7FE0_0000_0000_0000, ulps in 0_u64..3, hair in number()) {
            // A double, half of the distance to the next, and less or more than nothing.
            let double = f64::from_bits(bits);
            let half = (f64::from_bits(bits + ulps) - double) / 2.0;
            for numbers in [[double, half, 0.5], [double, half, 5e-324], [-double, -half, 5e-324], [double, -half, 0.0]] {
                let mut numbers = numbers.map(Number::from).to_vec();
                prop_assert!(same(sum(&numbers).result(), oracle(&numbers)), "{:?}", numbers);
                numbers.push(hair);
                prop_assert!(same(sum(&numbers).result(), oracle(&numbers)), "{:?}", numbers);
            }
        }
    }

    #[test]
    fn known_sums() {
        let of = |numbers: &[f64]| {
            let numbers: Vec<Number> = numbers.iter().copied().map(Number::from).collect();
            sum(&numbers).result().as_f64()
        };
        let cases: &[(&[f64], f64)] = &[
            (&[0.1; 10], 1.0),
            (&[1e300, 1.0, -1e300], 1.0),
            (&[1e300, 0.5, -1e300], 0.5),
            (&[5e-324, 5e-324], 1e-323),
            (&[-0.5, -0.25], -0.75),
            (&[-0.0], 0.0),
            (&[0.5, -0.5], 0.0),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[-f64::MAX, -f64::MAX], f64::NEG_INFINITY),
            (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (&[f64::INFINITY, 1.0], f64::INFINITY),
            (&[f64::INFINITY, 1.5, f64::NEG_INFINITY], 1.5),
        ];
        for (numbers, expected) in cases {
            assert_eq!(of(numbers).to_bits(), expected.to_bits(), "{numbers:?}");
        }
    }

    #[test]
    fn what_is_no_integer_counts_only_while_it_is_there() {
        let (big, half) = (Number::from(9_007_199_254_740_993_i64), Number::from(0.25));
        let mut sum = sum(&[big, half]);
        assert_eq!(sum.result(), Number::from(9_007_199_254_740_994_i64), "the nearest double");
        sum.subtract(half);
        assert_eq!(sum.result(), big);
    }
}
