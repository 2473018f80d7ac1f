//! The history of each rule: what it was, numbered from 1 for as long as it is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Object;
use crate::change::prefix;
use crate::rule::CONTENT;

/// One entry, as `rules.history` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) change_type: ChangeType,
    pub(crate) timestamp: u64,
    pub(crate) rule: Arc<Object>,
    /// The `version` of the rule that was replaced, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rolled_back_from: Option<u64>,
}

/// What made an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeType {
    Registered,
    Updated,
    Enabled,
    Disabled,
    Unregistered,
    RolledBack,
}

/// All histories, by id of the rule. They outlive the rule.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    by_rule: BTreeMap<Arc<str>, BTreeMap<u64, Arc<Version>>>,
    /// Rules that are gone, and since when.
    gone: BTreeSet<(u64, Arc<str>)>,
}

impl Versions {
    pub(crate) fn get(&self, rule: &str, version: u64) -> Option<&Arc<Version>> {
        self.by_rule.get(rule)?.get(&version)
    }

    /// The number of the next entry. The newest is never thrown away, so no number is given twice.
    pub(crate) fn next(&self, rule: &str) -> u64 {
        let newest = self.by_rule.get(rule).and_then(|entries| entries.last_key_value());
        newest.map_or(1, |(version, _)| version + 1)
    }

    /// Puts an entry in or takes it out.
    pub(crate) fn put(&mut self, rule: &Arc<str>, version: u64, entry: Option<Arc<Version>>) {
        if let Some(since) = self.gone_since(rule) {
            self.gone.remove(&(since, Arc::clone(rule)));
        }
        let entries = self.by_rule.entry(Arc::clone(rule)).or_default();
        match entry {
            Some(entry) => entries.insert(version, entry),
            None => entries.remove(&version),
        };
        if entries.is_empty() {
            self.by_rule.remove(rule);
        }
        if let Some(since) = self.gone_since(rule) {
            self.gone.insert((since, Arc::clone(rule)));
        }
    }

    /// When a rule was removed, if it is not there any more.
    fn gone_since(&self, rule: &str) -> Option<u64> {
        let (_, newest) = self.by_rule.get(rule)?.last_key_value()?;
        (newest.change_type == ChangeType::Unregistered).then_some(newest.timestamp)
    }

    /// The rule that has been gone longest, if there are more such than there may be.
    pub(crate) fn gone_beyond(&self, most: usize) -> Option<Arc<str>> {
        let (_, rule) = self.gone.first().filter(|_| self.gone.len() > most)?;
        Some(Arc::clone(rule))
    }

    /// Forgets the history of a rule; gives the numbers of its entries. Should the rule come back, they begin anew.
    pub(crate) fn forget(&mut self, rule: &Arc<str>) -> Vec<u64> {
        let versions: Vec<_> = self.by_rule.get(rule).into_iter().flat_map(BTreeMap::keys).copied().collect();
        for version in &versions {
            self.put(rule, *version, None);
        }
        versions
    }

    /// The oldest entry of a rule that has more than it may.
    pub(crate) fn beyond(&self, rule: &str, most: usize) -> Option<u64> {
        let entries = self.by_rule.get(rule)?;
        (entries.len() > most.max(1)).then(|| entries.first_key_value().map(|(version, _)| *version))?
    }

    pub(crate) fn rules(&self) -> usize {
        self.by_rule.len()
    }

    pub(crate) fn total(&self) -> usize {
        self.by_rule.values().map(BTreeMap::len).sum()
    }
}

/// The key of an entry of the log: [`prefix::VERSION`].
///
/// ```
/// assert_eq!(dunlin_rules::versions::key("vip", 3), "v/vip/0000000003");
/// ```
pub fn key(rule: &str, version: u64) -> String {
    let mut key = String::with_capacity(prefix::VERSION.len() + rule.len() + 11);
    // Writing to a text cannot fail.
    let _ = write!(key, "{}{rule}/{version:010}", prefix::VERSION);
    key
}

/// The rule and the number in such a key, behind the prefix.
pub(crate) fn parse_key(rest: &str) -> Option<(&str, u64)> {
    let (rule, number) = rest.rsplit_once('/')?;
    Some((rule, number.parse().ok()?))
}

/// What is different between two entries of a rule's history, as `rules.diff` shows it. Values are compared, not their texts:
/// the order of members makes no difference. A member that is not there is left out of `oldValue` or `newValue`.
///
/// ```
/// use serde_json::json;
///
/// let (old, new) = (json!({"priority": 1, "tags": []}), json!({"tags": [], "priority": 7, "group": "g"}));
/// let [old, new] = [old, new].map(|rule| rule.as_object().cloned().unwrap_or_default());
/// let changes = dunlin_rules::versions::diff(&old, &new);
/// assert_eq!(changes, json!([
///     {"field": "priority", "oldValue": 1, "newValue": 7},
///     {"field": "group", "newValue": "g"},
/// ]));
/// ```
pub fn diff(old: &Object, new: &Object) -> Value {
    let changes = CONTENT.iter().filter_map(|field| {
        let (old, new) = (old.get(*field), new.get(*field));
        if old == new {
            return None;
        }
        let mut change = Object::new();
        change.insert("field".into(), json!(field));
        if let Some(old) = old {
            change.insert("oldValue".into(), old.clone());
        }
        if let Some(new) = new {
            change.insert("newValue".into(), new.clone());
        }
        Some(Value::Object(change))
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        assert_eq!(parse_key("a/b/0000000012"), Some(("a/b", 12)));
        assert_eq!(parse_key(&key("x", 7)[2..]), Some(("x", 7)));
        assert_eq!(parse_key("x"), None);
    }

    #[test]
    fn members_in_another_order_are_no_difference() {
        let read = |text: &str| serde_json::from_str::<Object>(text).unwrap();
        let (old, new) = (r#"{"trigger":{"a":1,"b":[2]}}"#, r#"{"trigger":{"b":[2],"a":1}}"#);
        assert_eq!(diff(&read(old), &read(new)), json!([]));
        let changed = diff(&read(old), &read(r#"{"trigger":{"b":[3],"a":1},"lookups":[]}"#));
        let fields: Vec<_> = changed.as_array().unwrap().iter().map(|change| &change["field"]).collect();
        assert_eq!(fields, ["trigger", "lookups"]);
    }
}
