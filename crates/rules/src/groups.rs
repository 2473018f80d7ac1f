//! Groups of rules, which are switched on and off together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Object;
use crate::fault::{Issue, RuleFault, Severity};
use crate::limits::MAX_NAME_BYTES;

/// A group. A rule in it fires only while the group is enabled, too; the rule's own `enabled` stays what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// A group and its place among all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: u64,
    pub(crate) group: Group,
}

/// All groups, by id.
pub(crate) type Groups = BTreeMap<Arc<str>, Placed>;

impl Group {
    /// A new group out of what somebody sent.
    pub(crate) fn parse(given: &Value, now: u64) -> Result<Self, RuleFault> {
        let mut issues = Issues::default();
        let empty = Object::new();
        let fields = given.as_object().unwrap_or_else(|| {
            issues.add("(root)", "Group must be an object", "not_object");
            &empty
        });
        let mut group = Self {
            id: "".into(),
            name: String::new(),
            description: None,
            enabled: true,
            created_at: now,
            updated_at: now,
        };
        if given.is_object() {
            if let Some(id) = issues.name(fields, "id", true) {
                group.id = id.into();
            }
            group.take(fields, true, &mut issues);
        }
        issues.or(group)
    }

    /// The group with what somebody wants to be different. `null` removes the description; `id` stays.
    pub(crate) fn updated(&self, updates: &Object, now: u64) -> Result<Self, RuleFault> {
        let mut issues = Issues::default();
        let mut group = self.clone();
        group.take(updates, false, &mut issues);
        group.updated_at = now;
        issues.or(group)
    }

    fn take(&mut self, fields: &Object, new: bool, issues: &mut Issues) {
        if let Some(name) = issues.name(fields, "name", new) {
            name.clone_into(&mut self.name);
        }
        match fields.get("description") {
            None => {}
            Some(Value::Null) => self.description = None,
            Some(Value::String(text)) => self.description = Some(text.clone()),
            Some(_) => issues.add("description", "Field \"description\" must be a string", "type"),
        }
        match fields.get("enabled") {
            None => {}
            Some(Value::Bool(enabled)) => self.enabled = *enabled,
            Some(_) => issues.add("enabled", "Field \"enabled\" must be a boolean", "type"),
        }
    }
}

#[derive(Default)]
struct Issues(Vec<Issue>);

impl Issues {
    fn add(&mut self, path: &str, message: impl Into<String>, code: &'static str) {
        self.0.push(Issue { path: path.into(), message: message.into(), severity: Severity::Error, code });
    }

    fn name<'a>(&mut self, fields: &'a Object, field: &str, required: bool) -> Option<&'a str> {
        match fields.get(field) {
            None if required => self.add(field, format!("Required field \"{field}\" is missing"), "required"),
            None => {}
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.add(field, format!("Field \"{field}\" cannot be empty"), "empty");
            }
            Some(Value::String(text)) if text.len() > MAX_NAME_BYTES => {
                let message = format!("Field \"{field}\" may have {MAX_NAME_BYTES} bytes at most");
                self.add(field, message, "too_long");
            }
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.add(field, format!("Field \"{field}\" must be a string"), "type"),
        }
        None
    }

    fn or(self, group: Group) -> Result<Group, RuleFault> {
        if self.0.is_empty() {
            return Ok(group);
        }
        Err(RuleFault::Invalid { message: "Group validation failed".into(), issues: self.0 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(result: Result<Group, RuleFault>) -> Vec<(String, &'static str)> {
        match result {
            Err(RuleFault::Invalid { issues, .. }) => {
                issues.into_iter().map(|issue| (issue.path, issue.code)).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_a_group_must_be() {
        assert!(
            Group::parse(&json!({"id": "g", "name": "G", "enabled": false}), 5).is_ok_and(|g| !g.enabled)
        );
        assert_eq!(codes(Group::parse(&json!(5), 5)), [("(root)".into(), "not_object")]);
        let bad = json!({"id": " ", "name": 5, "description": 1, "enabled": "x"});
        let expected = [("id", "empty"), ("name", "type"), ("description", "type"), ("enabled", "type")];
        assert_eq!(codes(Group::parse(&bad, 5)), expected.map(|(path, code)| (path.to_owned(), code)));
        let long = "x".repeat(513);
        assert_eq!(codes(Group::parse(&json!({"id": long, "name": "n"}), 5)), [("id".into(), "too_long")]);
    }

    #[test]
    fn an_update_touches_what_it_names() {
        let group = Group::parse(&json!({"id": "g", "name": "G", "description": "d"}), 5).unwrap();
        let updates = json!({"id": "h", "enabled": false, "description": null});
        let other = group.updated(updates.as_object().unwrap(), 7).unwrap();
        let expected = json!({"id": "g", "name": "G", "enabled": false, "createdAt": 5, "updatedAt": 7});
        assert_eq!(serde_json::to_value(other).unwrap(), expected);
        assert_eq!(
            codes(group.updated(json!({"name": ""}).as_object().unwrap(), 7)),
            [("name".to_owned(), "empty")]
        );
    }
}
