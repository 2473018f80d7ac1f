//! One member of a record, looked at; and the one order of strings.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use crate::Number;

/// The value of one member of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// The record has no such member.
    Absent,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, unescaped.
    Str(Cow<'a, str>),
    /// An object or array, as JSON text.
    Json(&'a str),
}

impl<'a> FieldValue<'a> {
    /// Whether the member is absent or `null`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Looks at a value that stands as JSON text inside a record.
    pub(crate) fn of_json(raw: &'a str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => match raw.get(1..raw.len() - 1) {
                Some(text) if !text.contains('\\') => Self::Str(Cow::Borrowed(text)),
                _ => serde_json::from_str::<String>(raw).map_or(Self::Absent, |text| Self::Str(text.into())),
            },
            Some(b'{' | b'[') => Self::Json(raw),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Number::parse(raw).map_or(Self::Absent, Self::Number),
        }
    }

    /// Looks at a value that is about to be written. Objects and arrays are seen as empty ones: enough to tell their
    /// type, and whoever looks inside has the value itself.
    pub(crate) fn of_value(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(Number::of(number)),
            Value::String(text) => Self::Str(Cow::Borrowed(text)),
            Value::Array(_) => Self::Json("[]"),
            Value::Object(_) => Self::Json("{}"),
        }
    }

    /// The value as JSON text; `None` if there is none.
    pub(crate) fn to_json(&self) -> Option<Cow<'a, str>> {
        Some(match self {
            Self::Absent => return None,
            Self::Null => "null".into(),
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(number) => number.to_string().into(),
            Self::Str(text) => Value::from(&**text).to_string().into(),
            Self::Json(json) => Cow::Borrowed(*json),
        })
    }

    /// The value as a JSON value; absent becomes `null`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Absent | Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Number(number) => number.to_value(),
            Self::Str(text) => Value::from(&**text),
            Self::Json(json) => serde_json::from_str(json).unwrap_or_default(),
        }
    }
}

/// A scalar that outlives the record it came from: an operand of a filter, a value of an `enum`.
///
/// The order is that of the indexes: `null`, booleans, numbers by value, strings by UTF-16 code units.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Number(Number),
    Str(Arc<str>),
}

impl Constant {
    /// The scalar that a JSON value is; `None` for objects and arrays.
    pub(crate) fn of_value(value: &Value) -> Option<Self> {
        Self::of_field(&FieldValue::of_value(value))
    }

    /// The scalar that a member is; `None` for objects, arrays and absent members.
    pub(crate) fn of_field(value: &FieldValue<'_>) -> Option<Self> {
        match value {
            FieldValue::Absent | FieldValue::Json(_) => None,
            FieldValue::Null => Some(Self::Null),
            FieldValue::Bool(bool) => Some(Self::Bool(*bool)),
            FieldValue::Number(number) => Some(Self::Number(*number)),
            FieldValue::Str(text) => Some(Self::Str(Arc::from(&**text))),
        }
    }

    /// The scalar as a member's value.
    pub(crate) fn as_field(&self) -> FieldValue<'_> {
        match self {
            Self::Null => FieldValue::Null,
            Self::Bool(bool) => FieldValue::Bool(*bool),
            Self::Number(number) => FieldValue::Number(*number),
            Self::Str(text) => FieldValue::Str(Cow::Borrowed(text)),
        }
    }

    /// Whether a member has exactly this value: same type, same value.
    pub(crate) fn equals(&self, value: &FieldValue<'_>) -> bool {
        match (self, value) {
            (Self::Null, FieldValue::Null) => true,
            (Self::Bool(a), FieldValue::Bool(b)) => a == b,
            (Self::Number(a), FieldValue::Number(b)) => a == b,
            (Self::Str(a), FieldValue::Str(b)) => **a == **b,
            _ => false,
        }
    }
}

impl PartialOrd for Constant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Constant {
    fn cmp(&self, other: &Self) -> Ordering {
        value_order(&self.as_field(), &other.as_field())
    }
}

/// The one order of the values of different records: absent, `null`, booleans, numbers by value, strings by UTF-16
/// code units, then objects and arrays, which are all equal to one another.
pub(crate) fn value_order(a: &FieldValue<'_>, b: &FieldValue<'_>) -> Ordering {
    match (a, b) {
        (FieldValue::Bool(a), FieldValue::Bool(b)) => a.cmp(b),
        (FieldValue::Number(a), FieldValue::Number(b)) => a.cmp(b),
        (FieldValue::Str(a), FieldValue::Str(b)) => utf16_order(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &FieldValue<'_>) -> u8 {
    match value {
        FieldValue::Absent => 0,
        FieldValue::Null => 1,
        FieldValue::Bool(_) => 2,
        FieldValue::Number(_) => 3,
        FieldValue::Str(_) => 4,
        FieldValue::Json(_) => 5,
    }
}

/// The order of strings: by UTF-16 code units, as JavaScript compares them, so that a client sorting by itself gets
/// the same order. It differs from the order of Rust strings only where a character beyond U+FFFF meets one from
/// U+E000 to U+FFFF.
pub(crate) fn utf16_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).position(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        Some(at) => surrogates_first(a[at]).cmp(&surrogates_first(b[at])),
    }
}

/// Ranks the first differing UTF-8 byte. Lead bytes F0–F4 stand for surrogate pairs (D800–DFFF), which come before
/// E000–FFFF (lead bytes EE, EF) in UTF-16; all other bytes keep their order.
pub(crate) fn surrogates_first(byte: u8) -> u8 {
    match byte {
        0xEE | 0xEF => byte + 0x10,
        0xF0.. => byte - 0x02,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_of_the_specification() {
        let ascending = ["", "Z", "a", "aa", "é", "\u{1F600}", "\u{E000}", "\u{FFFD}"];
        for pair in ascending.windows(2) {
            assert_eq!(utf16_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn order_equals_that_of_utf16_code_units(
            a in "[a\u{D7FF}\u{E000}\u{FFFD}\u{10000}\u{10FFFF}]{0,4}", b in "\\PC{0,4}|[a\u{EFFF}\u{1F600}]{0,4}",
        ) {
            prop_assert_eq!(utf16_order(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }

        #[test]
        fn json_text_reads_as_the_value_it_stands_for(text in any::<String>(), number in any::<f64>()) {
            let json = Value::from(text.as_str()).to_string();
            let value = FieldValue::of_json(&json);
            prop_assert_eq!(value.as_str(), Some(text.as_str()));
            prop_assume!(number.is_finite());
            let json = Value::from(number).to_string();
            prop_assert_eq!(FieldValue::of_json(&json).as_number(), Some(number.into()));
        }
    }
}
