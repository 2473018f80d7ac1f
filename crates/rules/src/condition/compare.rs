//! When JSON values are equal, and which number is greater. Nothing is converted.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Whether two values are the same JSON: numbers by value (`1` is `1.0`), texts letter by letter, arrays and objects by what is in
/// them, whatever the order of the members.
///
/// ```
/// use dunlin_rules::condition::equal;
/// use serde_json::json;
///
/// assert!(equal(&json!({"a": 1, "b": [2]}), &json!({"b": [2.0], "a": 1})));
/// assert!(!equal(&json!(1), &json!("1")) && !equal(&json!(0), &json!(false)));
/// ```
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => order(a, b) == Ordering::Equal,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => false,
    }
}

/// A number in a form that is the same for equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exact {
    Integer(i128),
    /// The bits of a double that is no integer, or too large to be one here.
    Double(u64),
}

/// 2^126: doubles below are integers of 128 bits if they have no fraction.
const LARGE: f64 = 85_070_591_730_234_615_865_843_651_857_942_052_864.0;

impl Exact {
    pub(crate) fn of(number: &Number) -> Self {
        if let Some(integer) = number.as_i64() {
            return Self::Integer(integer.into());
        }
        if let Some(integer) = number.as_u64() {
            return Self::Integer(integer.into());
        }
        let double = number.as_f64().unwrap_or_default();
        if double.fract() == 0.0 && double.abs() < LARGE {
            #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^126")]
            return Self::Integer(double as i128);
        }
        Self::Double(double.to_bits())
    }
}

/// How two numbers compare, exactly: no integer is rounded to a double.
pub(crate) fn order(a: &Number, b: &Number) -> Ordering {
    match (Exact::of(a), Exact::of(b)) {
        (Exact::Integer(a), Exact::Integer(b)) => a.cmp(&b),
        (Exact::Double(a), Exact::Double(b)) => f64::from_bits(a).total_cmp(&f64::from_bits(b)),
        (Exact::Integer(a), Exact::Double(b)) => integer_and_double(a, f64::from_bits(b)),
        (Exact::Double(a), Exact::Integer(b)) => integer_and_double(b, f64::from_bits(a)).reverse(),
    }
}

/// The double is no integer, or beyond all of them.
fn integer_and_double(integer: i128, double: f64) -> Ordering {
    if double.abs() >= LARGE {
        return if double > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 2^126")]
    let floor = double.floor() as i128;
    if integer <= floor { Ordering::Less } else { Ordering::Greater }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let ascending = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-1.5),
            json!(-1),
            json!(0),
            json!(0.5),
            json!(1),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_i64),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                let (Value::Number(x), Value::Number(y)) = (a, b) else { panic!("{a} {b}") };
                assert_eq!(order(x, y), i.cmp(&j), "{a} {b}");
                assert_eq!(equal(a, b), i == j, "{a} {b}");
            }
        }
        assert!(equal(&json!(1), &json!(1.0)) && equal(&json!(0), &json!(-0.0)));
    }

    #[test]
    fn nothing_is_converted() {
        let values =
            [json!(null), json!(false), json!(0), json!(""), json!([]), json!({}), json!("0"), json!([0])];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(equal(a, b), i == j, "{a} {b}");
            }
        }
        assert!(!equal(&json!({"a": 1}), &json!({"b": 1})) && !equal(&json!([1, 2]), &json!([2, 1])));
    }
}
