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
    /// Nothing, but `{{ session.… }}` strings stand for values of a session: this one, or one that comes later.
    Session(Option<&'a Value>),
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

/// A value of a session that a string stands for.
#[derive(Debug, PartialEq)]
pub(super) enum Placeholder<'t> {
    UserId,
    Roles,
    /// The path into the metadata.
    Metadata(&'t str),
}

impl<'t> Placeholder<'t> {
    /// What a string stands for; `None` if it is an ordinary one.
    ///
    /// # Errors
    /// What was expected. A mistyped name would otherwise be a value that no record has, and that all differ from.
    pub(super) fn of(text: &'t str) -> Result<Option<Self>, &'static str> {
        if !text.contains("{{") {
            return Ok(None);
        }
        let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or_default();
        let name = inner.trim().strip_prefix("session.").unwrap_or_default();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let path = |path: &str| path.split('.').all(|part| !part.is_empty() && part.chars().all(word));
        match (name, name.strip_prefix("metadata.")) {
            ("userId", _) => Ok(Some(Self::UserId)),
            ("roles", _) => Ok(Some(Self::Roles)),
            (_, Some(rest)) if path(rest) => Ok(Some(Self::Metadata(rest))),
            _ => Err(
                "Expected {{ session.userId }}, {{ session.roles }} or {{ session.metadata.<name> }} as the whole \
                      value, or a value without \"{{\"",
            ),
        }
    }

    /// Whether it can stand where a list is wanted (`list`), or where one value is.
    pub(super) fn fits(&self, list: bool) -> bool {
        match self {
            Self::UserId => !list,
            Self::Roles => list,
            Self::Metadata(_) => true,
        }
    }

    /// The value that a session has.
    pub(super) fn value<'s>(&self, session: &'s Value) -> Option<&'s Value> {
        match self {
            Self::UserId => session.get("userId"),
            Self::Roles => session.get("roles"),
            Self::Metadata(path) => {
                path.split('.').try_fold(session.get("metadata")?, |value, part| value.get(part))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Placeholder, parameter};

    #[test]
    fn what_is_a_placeholder() {
        assert_eq!(Placeholder::of("ada"), Ok(None));
        assert_eq!(Placeholder::of("{ada}}"), Ok(None));
        assert_eq!(Placeholder::of("{{session.userId}}"), Ok(Some(Placeholder::UserId)));
        assert_eq!(Placeholder::of("{{  session.roles }}"), Ok(Some(Placeholder::Roles)));
        let team = Placeholder::Metadata("a.team-1");
        assert_eq!(team.value(&json!({"metadata": {"a": {"team-1": 5}}})), Some(&json!(5)));
        assert_eq!(team.value(&json!({"metadata": {"a": [5]}})), None);
        assert_eq!(Placeholder::of("{{ session.metadata.a.team-1 }}"), Ok(Some(team)));
        for wrong in [
            "{{ session.userID }}",
            "{{ session.metadata }}",
            "{{ session.metadata. }}",
            "{{ session.metadata.a..b }}",
            "{{ params.a }}",
            " {{ session.userId }}",
            "team {{ session.userId }}",
            "{{ session.userId",
            "{{}}",
            "{{",
        ] {
            assert!(Placeholder::of(wrong).is_err(), "{wrong}");
        }
    }

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
