//! A row rule as a policy has it: written once for everybody, with places for what a session brings.

use std::sync::Arc;

use serde_json::Value;

use super::hidden::{Hidden, is_place};
use super::rule::{Part, RowRule, Side};
use crate::filter::Parameters;
use crate::limits::{MAX_FAULTS, MAX_HIDDEN_MEMBERS, MAX_HIDDEN_NAME_BYTES, MAX_NAME_BYTES, MAX_RULE_BYTES};
use crate::schema::is_metadata;
use crate::{Filter, Issue, Object, StoreError};

/// A row rule: `{bucket, read?, write?, hide?}`. What each part means is said in `docs/access.md`.
///
/// `read` and `write` are filters, or `true` (all records) or `false` (none). Where a value may stand in a filter,
/// `{{ session.userId }}`, `{{ session.roles }}` (a list) and `{{ session.metadata.team }}` stand for what the session has.
/// Whose rule it is, `role`, is not looked at here.
///
/// ```
/// use dunlin_store::RuleTemplate;
/// use serde_json::json;
///
/// let rule = json!({"bucket": "orders", "read": {"ownerId": "{{ session.userId }}"}, "hide": ["cost"]});
/// let rule = RuleTemplate::parse(rule.as_object().unwrap())?;
/// let session = |id: &str| json!({"userId": id, "roles": ["customer"], "metadata": {}});
/// assert_eq!(rule.bind(&session("ada")), rule.bind(&session("ada")));
/// assert_ne!(rule.bind(&session("ada")), rule.bind(&session("bob")));
///
/// let wrong = json!({"bucket": "orders", "read": {"ownerId": "{{ session.userID }}"}, "hide": ["_version"]});
/// let faults = RuleTemplate::parse(wrong.as_object().unwrap()).unwrap_err().details().unwrap();
/// assert_eq!((&faults[0]["field"], &faults[1]["field"]), (&json!("read.ownerId"), &json!("hide[0]")));
/// # Ok::<(), dunlin_store::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RuleTemplate {
    bucket: Arc<str>,
    read: Condition,
    write: Condition,
    hidden: Hidden,
}

/// Which records, before it is known who asks.
#[derive(Debug, Clone)]
enum Condition {
    Constant(bool),
    /// The filter, and its JSON text.
    Filter(Object, Box<str>),
}

impl RuleTemplate {
    /// Reads a rule.
    ///
    /// # Errors
    /// [`StoreError::InvalidRule`] with every fault and its path (`read.ownerId`, `hide[1]`).
    pub fn parse(rule: &Object) -> Result<Self, StoreError> {
        let mut reader = Reader(Vec::new());
        if Value::Object(rule.clone()).to_string().len() > MAX_RULE_BYTES {
            reader.fault("rule", "limit", format!("At most {MAX_RULE_BYTES} bytes are possible"));
        }
        for member in rule.keys() {
            const MEMBERS: [&str; 5] = ["role", "bucket", "read", "write", "hide"];
            if !MEMBERS.contains(&member.as_str()) {
                reader.fault(member, "unknown", format!("Expected only {}", MEMBERS.join(", ")));
            }
        }
        let bucket = rule.get("bucket").and_then(Value::as_str).filter(|name| !name.is_empty());
        if bucket.is_none_or(|name| name.len() > MAX_NAME_BYTES) {
            reader.fault("bucket", "type", "Expected the name of a bucket");
        }
        let read = reader.condition("read", rule.get("read"));
        let write = reader.condition("write", rule.get("write"));
        let names = reader.names(rule.get("hide"));
        if !reader.0.is_empty() {
            return Err(StoreError::InvalidRule { issues: reader.0 });
        }
        Ok(Self { bucket: bucket.unwrap_or_default().into(), read, write, hidden: Hidden::new(names) })
    }

    /// The bucket that it is about.
    pub fn bucket(&self) -> &Arc<str> {
        &self.bucket
    }

    /// What the rule is for a session: `{userId, roles, metadata}`. One that lacks a value which the rule needs, or has
    /// none that fits its place (an object, `null`, a list where one value must stand), sees nothing by the rule.
    pub fn bind(&self, session: &Value) -> RowRule {
        let bound = self.read.bind(session).zip(self.write.bind(session));
        let part = bound.map(|(read, write)| Part { read, write });
        RowRule::joined(part.into_iter().collect(), self.hidden.clone())
    }
}

impl Condition {
    fn bind(&self, session: &Value) -> Option<Side> {
        match self {
            Self::Constant(true) => Some(Side::all()),
            Self::Constant(false) => Some(Side::none()),
            Self::Filter(filter, text) => {
                let (filter, used) = Filter::read(filter, Parameters::Session(Some(session))).ok()?;
                let mut key = text.to_string();
                for (name, value) in used {
                    // Names have no line ends and values are JSON text, so the parts cannot run into one another.
                    key.extend(["\n  ", &name, "=", &value]);
                }
                Some(Side::of(key, filter))
            }
        }
    }
}

struct Reader(Vec<Issue>);

impl Reader {
    fn fault(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Issue::new(path, code, message));
        }
    }

    fn condition(&mut self, path: &str, given: Option<&Value>) -> Condition {
        match given {
            None => Condition::Constant(true),
            Some(Value::Bool(all)) => Condition::Constant(*all),
            Some(Value::Object(filter)) => {
                for issue in Filter::read(filter, Parameters::Session(None)).err().into_iter().flatten() {
                    let inner = if issue.field == "filter" {
                        path.to_owned()
                    } else {
                        format!("{path}.{}", issue.field)
                    };
                    self.fault(inner, issue.code, issue.message);
                }
                if filter.is_empty() {
                    return Condition::Constant(true);
                }
                Condition::Filter(filter.clone(), Value::Object(filter.clone()).to_string().into())
            }
            Some(_) => {
                self.fault(path, "type", "Expected a filter object, true or false");
                Condition::Constant(false)
            }
        }
    }

    fn names<'v>(&mut self, given: Option<&'v Value>) -> Vec<&'v str> {
        let names = match given {
            None => return Vec::new(),
            Some(Value::Array(names)) if names.len() <= MAX_HIDDEN_MEMBERS => names,
            Some(_) => {
                let message = format!("Expected an array of at most {MAX_HIDDEN_MEMBERS} member names");
                self.fault("hide", "type", message);
                return Vec::new();
            }
        };
        let mut hidden = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            let path = format!("hide[{i}]");
            let Some(name) = name.as_str().filter(|name| (1..=MAX_HIDDEN_NAME_BYTES).contains(&name.len()))
            else {
                let message = format!("Expected a member name of 1 to {MAX_HIDDEN_NAME_BYTES} bytes");
                self.fault(path, "type", message);
                continue;
            };
            let mut parts = name.split('.');
            if parts.next().is_some_and(is_metadata) {
                self.fault(path, "conflict", "Every record shows its metadata; it cannot be hidden");
            } else if parts.any(is_place) {
                let message = "An element of an array cannot be hidden alone; leave its place out, which hides the \
                               member in all elements, or hide the array";
                self.fault(path, "conflict", message);
            } else {
                hidden.push(name);
            }
        }
        hidden
    }
}
