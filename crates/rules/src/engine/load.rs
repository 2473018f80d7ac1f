//! An engine is made of the changes of another one.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Engine;
use crate::change::prefix;
use crate::fault::RuleFault;
use crate::rule::Rule;
use crate::{Change, Limits, versions};

/// A rule as its entry holds it.
#[derive(serde::Deserialize)]
struct Entry {
    order: u64,
    rule: Value,
}

impl Engine {
    /// Takes changes over that another engine made: the newest of each key make an engine from nothing, in any order; those of a
    /// run that could not be made durable are undone by the values that were there before.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn load(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), RuleFault> {
        changes.into_iter().try_for_each(|change| match change {
            Change::Fact { key, fact } => {
                self.facts.load(&key, fact.as_ref());
                Ok(())
            }
            Change::Entry { key, value } => self.load_entry(&key, value.as_deref()),
        })
    }

    fn load_entry(&mut self, key: &str, value: Option<&str>) -> Result<(), RuleFault> {
        if key == prefix::META {
            self.meta = read(key, value)?.unwrap_or_default();
        } else if let Some(id) = key.strip_prefix(prefix::RULE) {
            self.load_rule(key, &id.into(), value)?;
        } else if let Some(rest) = key.strip_prefix(prefix::VERSION) {
            let (rule, version) = versions::parse_key(rest)
                .ok_or_else(|| RuleFault::unreadable(key, "its key has no number"))?;
            self.versions.put(&rule.into(), version, read(key, value)?);
        } else if let Some(id) = key.strip_prefix(prefix::GROUP) {
            match read(key, value)? {
                Some(group) => self.groups.insert(id.into(), group),
                None => self.groups.remove(id),
            };
            self.place_members(id, false);
        } else if key.starts_with(prefix::TIMER) {
            self.timers.load(key, value)?;
        } else if key.starts_with(prefix::PATTERN) {
            self.temporal.load(key, value)?;
        } else if let Some(id) = key.strip_prefix(prefix::WAITING) {
            match read(key, value)? {
                Some(waiting) => self.waiting.insert(id.into(), waiting),
                None => self.waiting.remove(id),
            };
        } else if let Some(id) = key.strip_prefix(prefix::CALL) {
            self.outbox.put(&id.into(), read(key, value)?);
        } else if let Some(id) = key.strip_prefix(prefix::DEAD) {
            self.outbox.put_dead(&id.into(), read(key, value)?);
        } else {
            return Err(RuleFault::unreadable(key, "this version knows no entries of this kind"));
        }
        Ok(())
    }

    fn load_rule(&mut self, key: &str, id: &Arc<str>, value: Option<&str>) -> Result<(), RuleFault> {
        let Some(Entry { order, rule: json }) = read(key, value)? else {
            self.place(id, None, false);
            return Ok(());
        };
        // It was within the bounds of its time.
        let limits = Limits { events_per_group: usize::MAX, ..self.limits.clone() };
        let rule = Rule::parse(&json, &limits).map_err(|issues| {
            let why = issues.first().map_or("", |issue| &issue.message);
            RuleFault::unreadable(key, why)
        })?;
        let number = |name: &str| json.get(name).and_then(Value::as_u64).unwrap_or_default();
        let rule = rule.0.stamped(number("version"), number("createdAt"), number("updatedAt"));
        self.place(id, Some((order, Arc::new(rule))), false);
        Ok(())
    }
}

fn read<T: DeserializeOwned>(key: &str, value: Option<&str>) -> Result<Option<T>, RuleFault> {
    value
        .map(|value| {
            serde_json::from_str(value).map_err(|fault| RuleFault::unreadable(key, &fault.to_string()))
        })
        .transpose()
}
