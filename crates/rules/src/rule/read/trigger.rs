//! Reads what sets a rule off.

use std::sync::Arc;

use dunlin_protocol::{KeyPattern, PatternFault, TopicPattern};
use serde_json::Value;

use super::Reader;
use super::fields::join;
use crate::Object;
use crate::rule::{FactChanges, Trigger};

impl Reader<'_> {
    pub(super) fn trigger(&mut self, given: &Value) -> Option<Trigger> {
        let Some(trigger) = given.as_object() else {
            return self.none("trigger", "type", "Trigger must be an object");
        };
        match self.string("trigger", trigger, "type", "Trigger")? {
            "event" => {
                let topic = self.filled("trigger", trigger, "topic", "Event trigger");
                self.known("trigger", trigger, &["type", "topic"]);
                self.topic("trigger.topic", topic?).map(|topic| Trigger::Event { topic })
            }
            "fact" => {
                let pattern = self.filled("trigger", trigger, "pattern", "Fact trigger");
                let on = self.fact_changes(trigger.get("on"));
                self.known("trigger", trigger, &["type", "pattern", "on"]);
                let pattern = self.keys("trigger.pattern", pattern?)?;
                Some(Trigger::Fact { pattern, on: on? })
            }
            "timer" => {
                let name = self.filled("trigger", trigger, "name", "Timer trigger");
                self.known("trigger", trigger, &["type", "name"]);
                self.keys("trigger.name", name?).map(|name| Trigger::Timer { name })
            }
            "temporal" => {
                let pattern = self.member("trigger", trigger, "pattern", "Temporal trigger");
                self.known("trigger", trigger, &["type", "pattern"]);
                let Some(pattern) = pattern?.as_object() else {
                    return self.none("trigger.pattern", "type", "Temporal pattern must be an object");
                };
                self.temporal(pattern).map(Arc::new).map(Trigger::Temporal)
            }
            other => {
                let message =
                    format!("Invalid trigger type: {other}. Valid types: event, fact, timer, temporal");
                self.none("trigger.type", "enum", message)
            }
        }
    }

    /// `on` of a trigger on facts: one change or a list of them.
    fn fact_changes(&mut self, given: Option<&Value>) -> Option<FactChanges> {
        let mut on = FactChanges { set: false, changed: false, deleted: false };
        let one;
        let list = match given {
            None => return Some(FactChanges { set: true, ..on }),
            Some(Value::Array(list)) if list.is_empty() => {
                return self.none("trigger.on", "empty", "Fact trigger on must not be empty");
            }
            Some(Value::Array(list)) => list.as_slice(),
            Some(other) => {
                one = [other.clone()];
                &one
            }
        };
        for change in list {
            match change.as_str() {
                Some("set") => on.set = true,
                Some("changed") => on.changed = true,
                Some("deleted") => on.deleted = true,
                _ => {
                    let given = change.as_str().map_or_else(|| change.to_string(), str::to_owned);
                    let message =
                        format!("Invalid fact change: {given}. Valid changes: set, changed, deleted");
                    return self.none("trigger.on", "enum", message);
                }
            }
        }
        Some(on)
    }

    /// A pattern over topics.
    pub(super) fn topic(&mut self, at: &str, text: &str) -> Option<TopicPattern> {
        let read = TopicPattern::parse(text);
        self.pattern(at, text, read)
    }

    /// A pattern over keys of facts or names of timers.
    fn keys(&mut self, at: &str, text: &str) -> Option<KeyPattern> {
        let read = KeyPattern::parse(text);
        self.pattern(at, text, read)
    }

    fn pattern<T>(&mut self, at: &str, text: &str, read: Result<T, PatternFault>) -> Option<T> {
        match read {
            Ok(pattern) => Some(pattern),
            Err(fault) => {
                let short: String = text.chars().take(64).collect();
                self.none(at, "invalid_pattern", format!("Invalid pattern \"{short}\": {fault}"))
            }
        }
    }

    /// A path into data, without empty segments.
    pub(super) fn path(&mut self, at: &str, text: &str) -> Option<crate::condition::Path> {
        match crate::condition::read_path(text) {
            Ok(path) => Some(path),
            Err(()) => self.none(at, "invalid_reference", format!("Path \"{text}\" has an empty segment")),
        }
    }

    /// A path into data that may be left out.
    pub(super) fn optional_path(
        &mut self,
        at: &str,
        object: &Object,
        name: &str,
    ) -> Option<crate::condition::Path> {
        match object.get(name)?.as_str() {
            Some(text) => self.path(&join(at, name), text),
            None => self.none(join(at, name), "type", format!("Field \"{name}\" must be a string")),
        }
    }
}
