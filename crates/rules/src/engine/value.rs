//! Bounds of values and names that rules make.

use std::sync::Arc;

use serde_json::Value;

use crate::fault::ActionFault;
use crate::limits::{MAX_NAME_BYTES, MAX_SEGMENTS, MAX_VALUE_BYTES, MAX_VALUE_DEPTH};

/// A fault of an action.
pub(super) fn fault(code: &str, message: impl Into<String>) -> ActionFault {
    ActionFault { code: code.into(), message: message.into() }
}

/// About how many bytes a value has as JSON text.
///
/// # Errors
/// It is too large or too deep to be kept.
pub(super) fn measure(value: &Value) -> Result<usize, ActionFault> {
    let mut bytes = 0;
    add(value, 0, &mut bytes)?;
    if bytes > MAX_VALUE_BYTES { Err(too_long()) } else { Ok(bytes) }
}

pub(super) fn too_long() -> ActionFault {
    fault("TOO_LONG", format!("A value has more than {MAX_VALUE_BYTES} bytes; keep less in it"))
}

/// Calls itself at most [`MAX_VALUE_DEPTH`] times.
fn add(value: &Value, depth: usize, bytes: &mut usize) -> Result<(), ActionFault> {
    if depth > MAX_VALUE_DEPTH {
        let message = format!("A value has more than {MAX_VALUE_DEPTH} levels; make it flatter");
        return Err(fault("TOO_DEEP", message));
    }
    match value {
        Value::Null | Value::Bool(_) => *bytes += 5,
        Value::Number(_) => *bytes += 8,
        Value::String(text) => *bytes += text.len() + 2,
        Value::Array(items) => {
            *bytes += 2;
            for item in items {
                *bytes += 1;
                add(item, depth + 1, bytes)?;
            }
        }
        Value::Object(members) => {
            *bytes += 2;
            for (name, value) in members {
                *bytes += name.len() + 4;
                add(value, depth + 1, bytes)?;
            }
        }
    }
    Ok(())
}

/// A topic that somebody wants to emit.
pub(super) fn topic(topic: &str) -> Result<Arc<str>, ActionFault> {
    if topic == "bucket" || topic.starts_with("bucket.") {
        let message =
            format!("The topic \"{topic}\" is that of changes of records; emit events under another name");
        return Err(fault("INVALID_TOPIC", message));
    }
    name("topic", topic, '.')
}

/// A key of a fact or the name of a timer.
pub(super) fn key(what: &str, key: &str) -> Result<Arc<str>, ActionFault> {
    name(what, key, ':')
}

/// An id that somebody gives to an event, and that all inherit that follows from it.
pub(super) fn id(id: Option<&str>) -> Result<(), ActionFault> {
    if id.is_some_and(|id| id.len() > MAX_NAME_BYTES) {
        return Err(fault(
            "TOO_LONG",
            format!("An id has more than {MAX_NAME_BYTES} bytes; use a shorter one"),
        ));
    }
    Ok(())
}

fn name(what: &str, text: &str, separator: char) -> Result<Arc<str>, ActionFault> {
    let code = if what == "topic" { "INVALID_TOPIC" } else { "INVALID_KEY" };
    if text.is_empty() {
        return Err(fault(code, format!("The {what} is empty")));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(fault(
            code,
            format!("The {what} has more than {MAX_NAME_BYTES} bytes; use a shorter one"),
        ));
    }
    if text.matches(separator).count() >= MAX_SEGMENTS {
        return Err(fault(code, format!("The {what} has more than {MAX_SEGMENTS} segments; use fewer")));
    }
    Ok(text.into())
}

/// What JavaScript calls the type of a value.
pub(super) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => "object",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_kept() {
        let mut deep = json!(1);
        for _ in 0..MAX_VALUE_DEPTH {
            deep = json!([deep]);
        }
        assert!(measure(&deep).is_ok());
        assert_eq!(measure(&json!([deep])).unwrap_err().code, "TOO_DEEP");
        assert_eq!(measure(&json!("x".repeat(MAX_VALUE_BYTES))).unwrap_err().code, "TOO_LONG");
    }

    #[test]
    fn what_may_be_a_name() {
        assert!(topic("a.b").is_ok() && topic("buckets.a").is_ok() && key("key", "a:b").is_ok());
        for bad in ["", "bucket.a.inserted", "bucket", &"x".repeat(513), &"a.".repeat(32)] {
            assert_eq!(topic(bad).unwrap_err().code, "INVALID_TOPIC", "{bad}");
        }
    }
}
