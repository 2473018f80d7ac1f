//! Holds a record to its schema. Issues, their order, codes and messages are those of protocol 1.0.0.

use std::fmt::{self, Write};

use serde_json::Value;

use crate::limits::{MAX_FAULTS, MAX_PATTERN_TEXT_BYTES, MAX_RECORD_BYTES, MAX_VALUE_DEPTH};
use crate::schema::{Inner, Rules};
use crate::value::Constant;
use crate::{Definition, Field, FieldType, FieldValue, Issue, StoreError};

impl FieldType {
    /// Whether a value, neither absent nor `null`, is of this type.
    pub(crate) fn accepts(self, value: &FieldValue<'_>) -> bool {
        match value {
            FieldValue::Absent | FieldValue::Null => false,
            _ if self == Self::Any => true,
            FieldValue::Bool(_) => self == Self::Boolean,
            FieldValue::Number(_) => matches!(self, Self::Number | Self::Date),
            FieldValue::Str(_) => matches!(self, Self::String | Self::Date),
            FieldValue::Json(json) => self == if json.starts_with('[') { Self::Array } else { Self::Object },
        }
    }
}

/// A value to be checked.
pub(crate) enum Checked<'a> {
    /// It is about to be written.
    New(&'a Value),
    /// It stands in a record, or there is none.
    Stored(FieldValue<'a>),
}

/// Checks every field of a record. `value` gives a field's value by its place in the schema.
pub(crate) fn check_record<'a>(
    bucket: &str,
    definition: &'a Definition,
    value: impl Fn(usize, &'a Field) -> Checked<'a>,
) -> Result<(), StoreError> {
    let mut issues = Vec::new();
    for (slot, field) in definition.fields().iter().enumerate() {
        let value = value(slot, field);
        let before = issues.len();
        check_value(field, &value, &mut issues);
        if slot == definition.key_slot() && issues.len() == before {
            check_key(field, &value.look(), &mut issues);
        }
        if issues.len() >= MAX_FAULTS {
            break;
        }
    }
    if issues.is_empty() { Ok(()) } else { Err(StoreError::Validation { bucket: bucket.into(), issues }) }
}

/// Checks one value against its field, and what is nested in it.
pub(crate) fn check_value(field: &Field, value: &Checked<'_>, issues: &mut Vec<Issue>) {
    let path = Path::Field(field.name());
    match value {
        Checked::New(value) => check(&field.rules, Some(value), &path, issues),
        Checked::Stored(stored) => {
            if !check_itself(&field.rules, stored, &path, issues) || matches!(field.rules.inner, Inner::Free)
            {
                return;
            }
            if let FieldValue::Json(_) = stored {
                check_inside(&field.rules, &stored.to_value(), &path, issues);
            }
        }
    }
}

impl<'a> Checked<'a> {
    fn look(&self) -> FieldValue<'a> {
        match self {
            Self::New(value) => FieldValue::of_value(value),
            Self::Stored(stored) => stored.clone(),
        }
    }
}

/// Where a value stands. Made on the way down, and written only for an issue.
enum Path<'a> {
    Field(&'a str),
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Element(of, i) => write!(f, "{of}[{i}]"),
        }
    }
}

fn check(rules: &Rules, value: Option<&Value>, path: &Path<'_>, issues: &mut Vec<Issue>) {
    let seen = value.map_or(FieldValue::Absent, FieldValue::of_value);
    if check_itself(rules, &seen, path, issues)
        && let Some(value) = value
    {
        check_inside(rules, value, path, issues);
    }
}

/// Checks the members of an object, the elements of an array.
fn check_inside(rules: &Rules, value: &Value, path: &Path<'_>, issues: &mut Vec<Issue>) {
    match (&rules.inner, value) {
        (Inner::Members(members), Value::Object(object)) => {
            for (name, rules) in members {
                check(rules, object.get(&**name), &Path::Member(path, name), issues);
                if issues.len() >= MAX_FAULTS {
                    break;
                }
            }
        }
        (Inner::Elements(rules), Value::Array(elements)) => {
            for (i, element) in elements.iter().enumerate() {
                check(rules, Some(element), &Path::Element(path, i), issues);
                if issues.len() >= MAX_FAULTS {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Checks a value, but not what is nested in it; whether it is there and of the right type.
fn check_itself(rules: &Rules, value: &FieldValue<'_>, path: &Path<'_>, issues: &mut Vec<Issue>) -> bool {
    let mut issue = |code, message: String| issues.push(Issue::new(path.to_string(), code, message));
    if value.is_nullish() {
        let is_there = rules.kind == FieldType::Any && matches!(value, FieldValue::Null);
        if rules.required && !is_there {
            issue("required", "Field is required".into());
        }
        return false;
    }
    if !rules.kind.accepts(value) {
        let message = format!("Expected type \"{}\", got {}", rules.kind.as_str(), type_name(value));
        issue("type", message);
        return false;
    }
    if let Some(options) = &rules.options
        && !options.iter().any(|option| option.equals(value))
    {
        issue("enum", format!("Value must be one of: {}", joined(options)));
    }
    match value {
        FieldValue::Str(text) => check_text(rules, text, &mut issue),
        FieldValue::Number(number) => {
            if let Some(min) = rules.min.filter(|min| number < min) {
                issue("min", format!("Minimum value is {min}"));
            }
            if let Some(max) = rules.max.filter(|max| number > max) {
                issue("max", format!("Maximum value is {max}"));
            }
        }
        _ => {}
    }
    true
}

fn check_text(rules: &Rules, text: &str, issue: &mut impl FnMut(&'static str, String)) {
    if rules.min_length.is_some() || rules.max_length.is_some() {
        let length = text.encode_utf16().count() as u64;
        if let Some(min) = rules.min_length.filter(|min| length < *min) {
            issue("minLength", format!("Minimum length is {min}"));
        }
        if let Some(max) = rules.max_length.filter(|max| length > *max) {
            issue("maxLength", format!("Maximum length is {max}"));
        }
    }
    if let Some(pattern) = &rules.pattern {
        if text.len() > MAX_PATTERN_TEXT_BYTES {
            issue("limit", format!("A string that has a pattern has at most {MAX_PATTERN_TEXT_BYTES} bytes"));
        } else if !pattern.is_found_in(text) {
            issue("pattern", format!("Value must match pattern \"{}\"", pattern.source()));
        }
    }
    if let Some(format) = rules.format.filter(|format| !format.accepts(text)) {
        issue("format", format!("Invalid {} format", format.as_str()));
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
