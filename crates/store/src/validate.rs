//! Holds a record to its schema. Issues, their order, codes and messages are those of protocol 1.0.0.

use std::fmt::Write;

use serde_json::Value;

use crate::limits::{MAX_FAULTS, MAX_RECORD_BYTES, MAX_VALUE_DEPTH};
use crate::value::Constant;
use crate::{Definition, Field, FieldType, FieldValue, Issue, StoreError};

impl FieldType {
    /// Whether a value, neither absent nor `null`, is of this type.
    pub(crate) fn accepts(self, value: &FieldValue<'_>) -> bool {
        match value {
            FieldValue::Absent | FieldValue::Null => false,
            FieldValue::Bool(_) => self == Self::Boolean,
            FieldValue::Number(_) => matches!(self, Self::Number | Self::Date),
            FieldValue::Str(_) => matches!(self, Self::String | Self::Date),
            FieldValue::Json(json) => self == if json.starts_with('[') { Self::Array } else { Self::Object },
        }
    }
}

/// Checks every field of a record. `value` gives a field's value by its place in the schema.
pub(crate) fn check_record<'a>(
    bucket: &str,
    definition: &'a Definition,
    value: impl Fn(usize, &'a Field) -> FieldValue<'a>,
) -> Result<(), StoreError> {
    let mut issues = Vec::new();
    for (slot, field) in definition.fields().iter().enumerate() {
        let value = value(slot, field);
        let before = issues.len();
        check_value(field, &value, &mut issues);
        if slot == definition.key_slot() && issues.len() == before {
            check_key(field, &value, &mut issues);
        }
        if issues.len() >= MAX_FAULTS {
            break;
        }
    }
    if issues.is_empty() { Ok(()) } else { Err(StoreError::Validation { bucket: bucket.into(), issues }) }
}

/// Checks one value against its field.
pub(crate) fn check_value(field: &Field, value: &FieldValue<'_>, issues: &mut Vec<Issue>) {
    let mut issue = |code, message: String| issues.push(Issue::new(field.name(), code, message));
    if value.is_nullish() {
        if field.rules.required {
            issue("required", "Field is required".into());
        }
        return;
    }
    if !field.kind().accepts(value) {
        let message = format!("Expected type \"{}\", got {}", field.kind().as_str(), type_name(value));
        return issue("type", message);
    }
    if let Some(options) = &field.rules.options
        && !options.iter().any(|option| option.equals(value))
    {
        issue("enum", format!("Value must be one of: {}", joined(options)));
    }
    if let FieldValue::Str(text) = value
        && (field.rules.min_length.is_some() || field.rules.max_length.is_some())
    {
        let length = text.encode_utf16().count() as u64;
        if let Some(min) = field.rules.min_length.filter(|min| length < *min) {
            issue("minLength", format!("Minimum length is {min}"));
        }
        if let Some(max) = field.rules.max_length.filter(|max| length > *max) {
            issue("maxLength", format!("Maximum length is {max}"));
        }
    }
    if let FieldValue::Number(number) = value {
        if let Some(min) = field.rules.min.filter(|min| number < min) {
            issue("min", format!("Minimum value is {min}"));
        }
        if let Some(max) = field.rules.max.filter(|max| number > max) {
            issue("max", format!("Maximum value is {max}"));
        }
    }
}

/// A key that passes its field's rules can still be missing.
fn check_key(field: &Field, value: &FieldValue<'_>, issues: &mut Vec<Issue>) {
    if value.is_nullish() {
        issues.push(Issue::new(field.name(), "required", "Field is required"));
    }
}

/// Checks what no schema can say: how deep and how long a record may be.
pub(crate) fn check_depth(bucket: &str, name: &str, value: &Value) -> Result<(), StoreError> {
    if !deeper_than(value, MAX_VALUE_DEPTH - 1) {
        return Ok(());
    }
    Err(refuse(bucket, name, format!("Nested deeper than {MAX_VALUE_DEPTH} levels")))
}

/// Checks the length of a whole record.
pub(crate) fn check_length(bucket: &str, length: usize) -> Result<(), StoreError> {
    if length <= MAX_RECORD_BYTES {
        return Ok(());
    }
    Err(refuse(bucket, "", format!("A record has at most {MAX_RECORD_BYTES} bytes, this one {length}")))
}

fn refuse(bucket: &str, field: &str, message: String) -> StoreError {
    StoreError::Validation { bucket: bucket.into(), issues: vec![Issue::new(field, "limit", message)] }
}

/// Whether a value has more than `levels` levels of objects and arrays. Looks no deeper than that.
pub(crate) fn deeper_than(value: &Value, levels: usize) -> bool {
    let inner = levels.checked_sub(1);
    match (value, inner) {
        (Value::Object(_) | Value::Array(_), None) => true,
        (Value::Object(members), Some(inner)) => members.values().any(|value| deeper_than(value, inner)),
        (Value::Array(elements), Some(inner)) => elements.iter().any(|value| deeper_than(value, inner)),
        _ => false,
    }
}

fn type_name(value: &FieldValue<'_>) -> &'static str {
    match value {
        FieldValue::Absent => "undefined",
        FieldValue::Null => "null",
        FieldValue::Bool(_) => "boolean",
        FieldValue::Number(_) => "number",
        FieldValue::Str(_) => "string",
        FieldValue::Json(json) if json.starts_with('[') => "array",
        FieldValue::Json(_) => "object",
    }
}

fn joined(options: &[Constant]) -> String {
    let mut text = String::new();
    for (i, option) in options.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        // Writing into a string cannot fail.
        let _ = match option {
            Constant::Null => write!(text, "{separator}null"),
            Constant::Bool(bool) => write!(text, "{separator}{bool}"),
            Constant::Number(number) => write!(text, "{separator}{number}"),
            Constant::Str(option) => write!(text, "{separator}{option}"),
        };
    }
    text
}
