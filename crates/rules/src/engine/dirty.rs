//! What a run has touched, and how it becomes changes: encoded once, at the end, each key at most once.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::Engine;
use crate::Change;
use crate::change::prefix;
use crate::versions;

/// Something of the engine's state that a run has touched. Their order is that of the changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dirty {
    Meta,
    Fact(Arc<str>),
    Group(Arc<str>),
    Rule(Arc<str>),
    Version(Arc<str>, u64),
    Waiting(Arc<str>),
    Call(Arc<str>),
    Dead(Arc<str>),
}

impl Engine {
    /// What has become of all that was touched, and of timers and patterns, which keep their own lists.
    pub(super) fn changes(&mut self, dirty: &BTreeSet<Dirty>) -> Vec<Change> {
        let mut changes: Vec<Change> = dirty.iter().map(|dirty| self.change(dirty)).collect();
        changes.extend(self.timers.take_changes());
        changes.extend(self.temporal.take_changes());
        changes
    }

    fn change(&self, dirty: &Dirty) -> Change {
        match dirty {
            Dirty::Meta => entry(prefix::META.to_owned(), Some(&self.meta)),
            Dirty::Fact(key) => Change::Fact { key: Arc::clone(key), fact: self.facts.get(key).cloned() },
            Dirty::Group(id) => entry(format!("{}{id}", prefix::GROUP), self.groups.get(id)),
            Dirty::Rule(id) => {
                let value = self.book.get(id).map(|(order, rule)| json!({"order": order, "rule": rule.json}));
                entry(format!("{}{id}", prefix::RULE), value.as_ref())
            }
            Dirty::Version(rule, version) => {
                let value = self.versions.get(rule, *version);
                entry(versions::key(rule, *version), value.map(AsRef::as_ref))
            }
            Dirty::Waiting(id) => {
                entry(format!("{}{id}", prefix::WAITING), self.waiting.get(id).map(AsRef::as_ref))
            }
            Dirty::Call(id) => {
                entry(format!("{}{id}", prefix::CALL), self.outbox.call(id).map(AsRef::as_ref))
            }
            Dirty::Dead(id) => {
                entry(format!("{}{id}", prefix::DEAD), self.outbox.dead(id).map(AsRef::as_ref))
            }
        }
    }
}

fn entry<T: Serialize>(key: String, value: Option<&T>) -> Change {
    // Our own types with texts as keys: there is nothing that could not be written.
    let value = value.map(|value| serde_json::to_string(value).unwrap_or_default().into());
    Change::Entry { key: key.into(), value }
}
