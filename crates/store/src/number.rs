//! Numbers that compare by value: integers exact to 64 bits, everything else an IEEE double.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

/// A JSON number in its one canonical form, so that `1`, `1.0` and `1e0` are the same number everywhere: in filters,
/// keys, unique fields and groups.
///
/// Integers from -2^63 to 2^64 - 1 are exact, however they are written; all other numbers are doubles. The order is
/// exact also between an integer and a double.
///
/// ```
/// use dunlin_store::Number;
/// assert_eq!(Number::from(1_i64), Number::from(1.0));
/// assert!(Number::from(9_007_199_254_740_993_i64) > Number::from(9_007_199_254_740_992.0));
/// assert_eq!(Number::from(2.0).to_string(), "2");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Number(Repr);

/// `Uint` only above `i64::MAX`, `Float` only for what is no integer of 64 bits. Never NaN, never -0.
#[derive(Debug, Clone, Copy)]
enum Repr {
    Int(i64),
    Uint(u64),
    Float(f64),
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

impl Number {
    /// Zero.
    pub const ZERO: Self = Self(Repr::Int(0));

    /// The number that a JSON number text stands for; `None` if the text is no number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse::<i64>() {
            return Some(int.into());
        }
        if let Ok(int) = text.parse::<u64>() {
            return Some(int.into());
        }
        text.parse::<f64>().ok().filter(|float| !float.is_nan()).map(Self::from)
    }

    /// The number of a parsed JSON number.
    pub(crate) fn of(number: &serde_json::Number) -> Self {
        if let Some(int) = number.as_i64() {
            int.into()
        } else if let Some(int) = number.as_u64() {
            int.into()
        } else {
            number.as_f64().unwrap_or(0.0).into()
        }
    }

    /// The nearest double.
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Repr::Int(int) => int as f64,
            Repr::Uint(int) => int as f64,
            Repr::Float(float) => float,
        }
    }

    /// The integer, if it is one of 64 bits.
    pub fn as_integer(self) -> Option<i128> {
        match self.0 {
            Repr::Int(int) => Some(int.into()),
            Repr::Uint(int) => Some(int.into()),
            Repr::Float(_) => None,
        }
    }

    /// The number from an exact integer: exact if it fits 64 bits, else the nearest double.
    #[expect(clippy::cast_precision_loss, reason = "documented: the nearest double")]
    pub(crate) fn from_integer(int: i128) -> Self {
        if let Ok(int) = i64::try_from(int) {
            int.into()
        } else if let Ok(int) = u64::try_from(int) {
            int.into()
        } else {
            (int as f64).into()
        }
    }

    /// The smallest whole number not below it, held to what 64 bits can say.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is what is meant"
    )]
    pub(crate) fn ceil_u64(self) -> u64 {
        match self.0 {
            Repr::Int(int) => u64::try_from(int).unwrap_or(0),
            Repr::Uint(int) => int,
            Repr::Float(float) => float.ceil() as u64,
        }
    }

    /// The number as a JSON value; an infinity (a sum may overflow) becomes `null`, as JSON has none.
    pub fn to_value(self) -> serde_json::Value {
        match self.0 {
            Repr::Int(int) => int.into(),
            Repr::Uint(int) => int.into(),
            Repr::Float(float) => float.into(),
        }
    }
}

impl From<i64> for Number {
    fn from(int: i64) -> Self {
        Self(Repr::Int(int))
    }
}

impl From<u64> for Number {
    fn from(int: u64) -> Self {
        Self(i64::try_from(int).map_or(Repr::Uint(int), Repr::Int))
    }
}

impl From<f64> for Number {
    /// NaN, which JSON cannot express, counts as 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and in range, checked"
    )]
    fn from(float: f64) -> Self {
        Self(if float.is_nan() {
            Repr::Int(0)
        } else if float.fract() != 0.0 || !(-TWO_63..TWO_64).contains(&float) {
            Repr::Float(float)
        } else if float < TWO_63 {
            Repr::Int(float as i64)
        } else {
            Repr::Uint(float as u64)
        })
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (Repr::Int(a), Repr::Int(b)) => a.cmp(&b),
            (Repr::Uint(a), Repr::Uint(b)) => a.cmp(&b),
            (Repr::Int(_), Repr::Uint(_)) => Ordering::Less,
            (Repr::Uint(_), Repr::Int(_)) => Ordering::Greater,
            (Repr::Float(a), Repr::Float(b)) => a.total_cmp(&b),
            (Repr::Float(a), _) => float_to_integer(a, other.as_integer().unwrap_or(0)),
            (_, Repr::Float(b)) => float_to_integer(b, self.as_integer().unwrap_or(0)).reverse(),
        }
    }
}

/// Compares a double that is no 64-bit integer with a 64-bit integer, without rounding either.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the range is checked before")]
fn float_to_integer(float: f64, int: i128) -> Ordering {
    if float >= TWO_64 {
        Ordering::Greater
    } else if float < -TWO_63 {
        Ordering::Less
    } else {
        // In this range the double has a fraction, so its floor is smaller than it and never equal to it.
        let floor = float.floor() as i128;
        if floor >= int { Ordering::Greater } else { Ordering::Less }
    }
}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self.0 {
            Repr::Int(int) => int.hash(state),
            Repr::Uint(int) => int.hash(state),
            Repr::Float(float) => float.to_bits().hash(state),
        }
    }
}

impl fmt::Display for Number {
    /// The number as JSON text; `null` for an infinity.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Int(int) => int.fmt(f),
            Repr::Uint(int) => int.fmt(f),
            Repr::Float(_) => self.to_value().fmt(f),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Repr::Int(int) => serializer.serialize_i64(int),
            Repr::Uint(int) => serializer.serialize_u64(int),
            Repr::Float(float) => serializer.serialize_f64(float),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn one_number_however_it_is_written() {
        for text in ["1", "1.0", "1e0", "10e-1"] {
            assert_eq!(n(text), n("1"), "{text}");
        }
        assert_eq!(n("-0.0"), n("0"));
        assert_eq!(n("18446744073709551615").to_string(), "18446744073709551615");
        assert_eq!(n("-9223372036854775808.0").to_string(), "-9223372036854775808");
        assert_eq!(n("18446744073709551616"), n("18446744073709551616.0"));
        assert!(Number::parse("x").is_none());
    }

    #[test]
    fn order_is_exact_between_integers_and_doubles() {
        let ascending = [
            "-1e300",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "0.5",
            "1",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(n(a).cmp(&n(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }
}
