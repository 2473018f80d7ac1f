//! Primary keys: a string, or a finite number.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::{FieldValue, Number};

/// A primary key, borrowed from wherever it stands. `1` and `1.0` are one key; `1` and `"1"` are two.
///
/// ```
/// use dunlin_store::Key;
/// use serde_json::json;
/// assert_eq!(Key::of(&json!(1)), Key::of(&json!(1.0)));
/// assert_ne!(Key::of(&json!(1)), Key::of(&json!("1")));
/// assert_eq!(Key::of(&json!(true)), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// A number.
    Number(Number),
    /// A string.
    Str(&'a str),
}

impl<'a> Key<'a> {
    /// The key that a JSON value is, if it can be one.
    pub fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Str(text)),
            Value::Number(number) => Some(Self::Number(Number::of(number))),
            _ => None,
        }
    }

    /// The key that a record's schema field is, if it can be one.
    pub(crate) fn of_field(value: &FieldValue<'a>) -> Option<Self> {
        match value {
            FieldValue::Str(Cow::Borrowed(text)) => Some(Self::Str(text)),
            FieldValue::Number(number) => Some(Self::Number(*number)),
            _ => None,
        }
    }

    /// The key as a field's value.
    pub(crate) fn as_field(self) -> FieldValue<'a> {
        match self {
            Self::Number(number) => FieldValue::Number(number),
            Self::Str(text) => FieldValue::Str(Cow::Borrowed(text)),
        }
    }

    /// The key as a JSON value.
    pub fn to_value(self) -> Value {
        match self {
            Self::Number(number) => number.to_value(),
            Self::Str(text) => text.into(),
        }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Str(text) => f.write_str(text),
        }
    }
}
