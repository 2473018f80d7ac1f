//! Permission rules as they are written: the value of `auth.permissions`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `auth.permissions`: what the roles of sessions allow. See `docs/access.md`.
///
/// It is read from JSON, in a configuration or in code; [`Policy::parse`](crate::Policy::parse) tells all its faults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct PermissionRules {
    /// What holds where nothing else decides.
    pub default: DefaultRule,
    /// Exceptions: the first one that matches decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<Exception>,
    /// What roles are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Which records of a bucket roles see and change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowRule>,
}

/// `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultRule {
    /// What the built-in roles reach.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

/// One of `rules`: lets sessions with a role do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Rule {
    /// The role.
    pub role: String,
    /// Operations: `*` for all, `store.*` for all that begin so, or a name.
    pub allow: OneOrMany,
    /// Only on these buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<String>>,
    /// Only on topics, keys of facts and ids of rules that match these patterns; for `rules.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
}

/// A text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// One of `check`: decides for whoever and whatever has all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Exception {
    /// A role of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The name of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The name of the bucket or query, the topic, the key, the pattern, or the id of the rule; `*` is what has no name, and any rule. To allow, everything that is touched must have it; to deny,
    /// one is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `true` allows, `false` denies, none leaves it to the rules.
    pub result: Option<bool>,
}

/// One of `rows`: which records of a bucket a role sees and changes, and which of their members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RowRule {
    /// The role; `*` is everybody.
    pub role: String,
    /// What the store makes of the rest: `bucket`, `read`, `write`, `hide`.
    #[serde(flatten)]
    pub rule: serde_json::Map<String, Value>,
}
