//! Rules and groups come, change and go.

use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::book::is_active;
use super::dirty::Dirty;
use super::run::Run;
use crate::fault::{Issue, RuleFault, Severity};
use crate::groups::{Group, Placed};
use crate::rule::{Rule, Trigger};
use crate::versions::{ChangeType, Version};
use crate::{Answer, Object};

impl Engine {
    /// Puts a rule at its place, or takes it out, and sees to it that it can be reached if and only if it can fire. Patterns in
    /// which nothing has changed keep what they know. `forget`: those of a rule that cannot fire any more lose it; else the
    /// entries of the log say what they know.
    pub(super) fn place(&mut self, id: &Arc<str>, rule: Option<(u64, Arc<Rule>)>, forget: bool) {
        let new = rule.as_ref().filter(|(_, rule)| is_active(rule, &self.groups)).cloned();
        let old = self.book.put(id, rule);
        if let Some((order, old)) = &old
            && self.reached.remove(order)
        {
            self.reach.remove(*order, old);
            self.silence(old, new.as_ref().map(|(_, rule)| rule), forget);
        }
        if let Some((order, rule)) = &new {
            self.reach.insert(*order, rule);
            self.reached.insert(*order);
            if let Trigger::Temporal(pattern) = &rule.trigger {
                self.temporal.add(&rule.id, *order, pattern);
            }
        }
    }

    /// Takes away the pattern of a rule that has another one now, or none that could be complete.
    fn silence(&mut self, old: &Rule, new: Option<&Arc<Rule>>, forget: bool) {
        let same = new.is_some_and(|new| new.json.get("trigger") == old.json.get("trigger"));
        if matches!(old.trigger, Trigger::Temporal(_)) && !same {
            if forget {
                self.temporal.remove(&old.id);
            } else {
                self.temporal.suspend(&old.id);
            }
        }
    }

    /// A group was switched: its rules can be reached, or no more.
    pub(super) fn place_members(&mut self, group: &str, forget: bool) {
        for (order, rule) in self.book.members(group) {
            self.place(&Arc::clone(&rule.id), Some((order, rule)), forget);
        }
    }
}

impl Run<'_> {
    pub(super) fn register(&mut self, given: &Value) -> Result<Answer, RuleFault> {
        // Before anything else: what is wrong with a rule that is there already does not matter.
        let id = given.get("id").and_then(Value::as_str).unwrap_or_default();
        if self.engine.book.get(id).is_some() {
            return Err(RuleFault::Exists { what: "Rule", name: id.to_owned() });
        }
        let rule = self.parse(given)?;
        self.room()?;
        let (now, order) = (self.now, self.next_order());
        let version = self.next_version();
        let rule = self.put(order, rule.stamped(version, now, now));
        Ok(self.record(&rule, ChangeType::Registered, None))
    }

    pub(super) fn update(&mut self, id: &Arc<str>, updates: &Object) -> Result<Answer, RuleFault> {
        let (order, old) = self.known(id)?;
        let mut json = old.json.as_ref().clone();
        for (name, value) in updates.iter().filter(|(name, _)| *name != "id") {
            if value.is_null() {
                json.shift_remove(name);
            } else {
                json.insert(name.clone(), value.clone());
            }
        }
        let rule = self.parse(&Value::Object(json))?;
        let version = self.next_version();
        let rule = self.put(order, rule.stamped(version, old.created_at, self.now));
        self.drop_waiting(id);
        Ok(self.record(&rule, ChangeType::Updated, None))
    }

    pub(super) fn unregister(&mut self, id: &Arc<str>) -> Result<Answer, RuleFault> {
        let (_, rule) = self.known(id)?;
        self.engine.place(id, None, true);
        self.dirty.insert(Dirty::Rule(Arc::clone(id)));
        self.drop_waiting(id);
        self.record(&rule, ChangeType::Unregistered, None);
        Ok(Answer::Done(true))
    }

    pub(super) fn set_enabled(&mut self, id: &Arc<str>, enabled: bool) -> Result<Answer, RuleFault> {
        let (order, old) = self.known(id)?;
        if old.enabled == enabled {
            return Ok(Answer::Rule(Arc::clone(&old.json)));
        }
        let mut rule = old.as_ref().clone();
        rule.enabled = enabled;
        let mut json = rule.json.as_ref().clone();
        json.insert("enabled".into(), enabled.into());
        rule.json = Arc::new(json);
        let (version, created_at) = (rule.version, rule.created_at);
        let rule = self.put(order, rule.stamped(version, created_at, self.now));
        if !enabled {
            self.drop_waiting(id);
        }
        let change = if enabled { ChangeType::Enabled } else { ChangeType::Disabled };
        Ok(self.record(&rule, change, None))
    }

    pub(super) fn rollback(&mut self, id: &Arc<str>, version: u64) -> Result<Answer, RuleFault> {
        let Some(entry) = self.engine.versions.get(id, version).cloned() else {
            return Err(RuleFault::NotFound { what: "Version", name: format!("{version} of rule {id}") });
        };
        let old = self.engine.book.get(id).map(|(order, rule)| (order, Arc::clone(rule)));
        let rule = self.parse(&Value::Object(entry.rule.as_ref().clone()))?;
        let (order, created_at) = if let Some((order, old)) = &old {
            (*order, old.created_at)
        } else {
            self.room()?;
            let created_at = entry.rule.get("createdAt").and_then(Value::as_u64);
            (self.next_order(), created_at.unwrap_or(self.now))
        };
        let version = self.next_version();
        let rule = self.put(order, rule.stamped(version, created_at, self.now));
        self.drop_waiting(id);
        Ok(self.record(&rule, ChangeType::RolledBack, old.map(|(_, old)| old.version)))
    }

    pub(super) fn create_group(&mut self, given: &Value) -> Result<Answer, RuleFault> {
        let group = Group::parse(given, self.now)?;
        if self.engine.groups.contains_key(&group.id) {
            return Err(RuleFault::Exists { what: "Group", name: group.id.to_string() });
        }
        let limit = self.engine.limits.groups;
        if self.engine.groups.len() >= limit {
            return Err(RuleFault::Full { what: "groups", limit, advice: "delete some" });
        }
        self.engine.meta.group += 1;
        self.dirty.insert(Dirty::Meta);
        let order = self.engine.meta.group;
        Ok(self.put_group(Placed { order, group }))
    }

    pub(super) fn update_group(&mut self, id: &Arc<str>, updates: &Object) -> Result<Answer, RuleFault> {
        let Some(Placed { order, group }) = self.engine.groups.get(id) else { return Err(no_group(id)) };
        let (order, was) = (*order, group.enabled);
        let group = group.updated(updates, self.now)?;
        let enabled = group.enabled;
        let answer = self.put_group(Placed { order, group });
        if was != enabled {
            self.engine.place_members(id, true);
        }
        if was && !enabled {
            for (_, rule) in self.engine.book.members(id) {
                self.drop_waiting(&rule.id);
            }
        }
        Ok(answer)
    }

    /// Its rules belong to no group then. That is a change of each of them, and stands in their histories.
    pub(super) fn delete_group(&mut self, id: &Arc<str>) -> Result<Answer, RuleFault> {
        if self.engine.groups.remove(id).is_none() {
            return Err(no_group(id));
        }
        self.dirty.insert(Dirty::Group(Arc::clone(id)));
        for (order, old) in self.engine.book.members(id) {
            let mut rule = old.as_ref().clone();
            rule.group = None;
            let mut json = rule.json.as_ref().clone();
            json.shift_remove("group");
            rule.json = Arc::new(json);
            let (version, created_at) = (rule.version, rule.created_at);
            let rule = self.put(order, rule.stamped(version, created_at, self.now));
            self.record(&rule, ChangeType::Updated, None);
        }
        Ok(Answer::Done(true))
    }

    fn put_group(&mut self, placed: Placed) -> Answer {
        let shown = serde_json::to_value(&placed.group).unwrap_or_default();
        self.dirty.insert(Dirty::Group(Arc::clone(&placed.group.id)));
        self.engine.groups.insert(Arc::clone(&placed.group.id), placed);
        Answer::Json(shown)
    }

    /// A valid rule whose group exists.
    fn parse(&self, given: &Value) -> Result<Rule, RuleFault> {
        let (rule, _warnings) = Rule::parse(given, &self.engine.limits)
            .map_err(|issues| RuleFault::Invalid { message: "Rule validation failed".into(), issues })?;
        match &rule.group {
            Some(group) if !self.engine.groups.contains_key(group) => Err(RuleFault::Invalid {
                message: format!("Rule references non-existent group: \"{group}\""),
                issues: vec![Issue {
                    path: "group".into(),
                    message: format!("Group \"{group}\" does not exist"),
                    severity: Severity::Error,
                    code: "unknown_group",
                }],
            }),
            _ => Ok(rule),
        }
    }

    fn known(&self, id: &str) -> Result<(u64, Arc<Rule>), RuleFault> {
        let known = self.engine.book.get(id).map(|(order, rule)| (order, Arc::clone(rule)));
        known.ok_or_else(|| RuleFault::NotFound { what: "Rule", name: id.to_owned() })
    }

    fn room(&self) -> Result<(), RuleFault> {
        let limit = self.engine.limits.rules;
        if self.engine.book.len() < limit {
            return Ok(());
        }
        Err(RuleFault::Full { what: "rules", limit, advice: "remove some, or raise rules.maxRules" })
    }

    fn next_order(&mut self) -> u64 {
        self.engine.meta.rule += 1;
        self.dirty.insert(Dirty::Meta);
        self.engine.meta.rule
    }

    fn next_version(&mut self) -> u64 {
        self.engine.meta.version += 1;
        self.dirty.insert(Dirty::Meta);
        self.engine.meta.version
    }

    fn put(&mut self, order: u64, rule: Rule) -> Arc<Rule> {
        let rule = Arc::new(rule);
        self.dirty.insert(Dirty::Rule(Arc::clone(&rule.id)));
        self.engine.place(&rule.id, Some((order, Arc::clone(&rule))), true);
        rule
    }

    /// Writes an entry of the rule's history, and throws away the oldest if there are too many.
    fn record(&mut self, rule: &Rule, change_type: ChangeType, rolled_back_from: Option<u64>) -> Answer {
        let versions = &mut self.engine.versions;
        let version = versions.next(&rule.id);
        let entry = Version {
            version,
            change_type,
            timestamp: self.now,
            rule: Arc::clone(&rule.json),
            rolled_back_from,
        };
        versions.put(&rule.id, version, Some(Arc::new(entry)));
        self.dirty.insert(Dirty::Version(Arc::clone(&rule.id), version));
        while let Some(oldest) = versions.beyond(&rule.id, self.engine.limits.versions_per_rule) {
            versions.put(&rule.id, oldest, None);
            self.dirty.insert(Dirty::Version(Arc::clone(&rule.id), oldest));
        }
        Answer::Rule(Arc::clone(&rule.json))
    }
}

fn no_group(id: &str) -> RuleFault {
    RuleFault::NotFound { what: "Group", name: id.to_owned() }
}
