//! Parameters of a filter: strings that stand for values given later.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::FieldValue;

/// What `{{ params.name }}` strings mean while a filter is read.
pub(crate) enum Parameters<'a> {
    /// Nothing: they are ordinary strings.
    Literal,
    /// Places for values that come later. They are taken to fit wherever a value can stand.
    Open,
    /// These values.
    Given(&'a Map<String, Value>),
}

/// The parameters a filter has asked for, and the values it got as canonical JSON text.
pub(crate) type Used = BTreeMap<String, String>;

/// One text for all ways to write the same plain value (`1`, `1.0`).
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(canonical).collect();
            format!("[{}]", elements.join(","))
        }
        plain => FieldValue::of_value(plain).to_json().unwrap_or_default().into_owned(),
    }
}

/// The name in a string that is exactly `{{ params.<name> }}`.
pub(super) fn parameter(text: &str) -> Option<&str> {
    let name = text.strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("params.")?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(word)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn what_is_a_parameter() {
        for text in ["{{params.a_1}}", "{{ params.a_1 }}", "{{\t\nparams.a_1  }}"] {
            assert_eq!(parameter(text), Some("a_1"), "{text}");
        }
        let literal = [
            "{{ params.a }} ",
            " {{params.a}}",
            "{{params.a.b}}",
            "{{params.a-b}}",
            "{{params .a}}",
            "{{ a }}",
            "{{params.}}",
            "{{}}",
            "{{",
            "params.a",
        ];
        for text in literal {
            assert_eq!(parameter(text), None, "{text}");
        }
    }
}
