//! Which rules something that happens can reach.

use std::sync::Arc;

use dunlin_protocol::{KeyPattern, TopicPattern};
use serde_json::Value;

use crate::rule::{FactChanges, Rule, Trigger};
use crate::{StoreChange, Watched};

/// Rules that can fire, by what triggers them. They are known by their place among all rules.
#[derive(Debug, Default)]
pub(super) struct Reach {
    topics: Vec<(TopicPattern, u64)>,
    changes: Vec<(TopicPattern, u64)>,
    facts: Vec<(KeyPattern, FactChanges, u64)>,
    timers: Vec<(KeyPattern, u64)>,
    /// How many have temporal patterns.
    patterns: usize,
}

impl Reach {
    pub(super) fn insert(&mut self, order: u64, rule: &Rule) {
        match &rule.trigger {
            Trigger::Event { topic } if of_records(topic) => self.changes.push((topic.clone(), order)),
            Trigger::Event { topic } => self.topics.push((topic.clone(), order)),
            Trigger::Fact { pattern, on } => self.facts.push((pattern.clone(), *on, order)),
            Trigger::Timer { name } => self.timers.push((name.clone(), order)),
            Trigger::Temporal(_) => self.patterns += 1,
        }
    }

    pub(super) fn remove(&mut self, order: u64, rule: &Rule) {
        if matches!(rule.trigger, Trigger::Temporal(_)) {
            self.patterns -= 1;
        }
        self.topics.retain(|(_, known)| *known != order);
        self.changes.retain(|(_, known)| *known != order);
        self.facts.retain(|(_, _, known)| *known != order);
        self.timers.retain(|(_, known)| *known != order);
    }

    pub(super) fn event(&self, topic: &str, _data: &Value) -> Vec<u64> {
        found(self.topics.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, order)| *order))
    }

    pub(super) fn change(&self, change: &StoreChange, _data: &Value) -> Vec<u64> {
        let kind = change.kind.as_str();
        let matching =
            self.changes.iter().filter(|(pattern, _)| pattern.matches_change(&change.bucket, kind));
        found(matching.map(|(_, order)| *order))
    }

    pub(super) fn fact(&self, key: &str, _data: &Value, happened: FactChanges) -> Vec<u64> {
        let matching = self.facts.iter().filter(|(pattern, on, _)| {
            let heard = (on.set && happened.set)
                || (on.changed && happened.changed)
                || (on.deleted && happened.deleted);
            heard && pattern.matches(key)
        });
        found(matching.map(|(_, _, order)| *order))
    }

    pub(super) fn timer(&self, name: &str, _data: &Value) -> Vec<u64> {
        found(self.timers.iter().filter(|(pattern, _)| pattern.matches(name)).map(|(_, order)| *order))
    }

    pub(super) fn has_events(&self) -> bool {
        !self.topics.is_empty()
    }

    pub(super) fn has_patterns(&self) -> bool {
        self.patterns > 0
    }

    pub(super) fn has_facts(&self) -> bool {
        !self.facts.is_empty()
    }
}

fn found(orders: impl Iterator<Item = u64>) -> Vec<u64> {
    orders.collect()
}

fn of_records(topic: &TopicPattern) -> bool {
    topic.as_str().starts_with("bucket.")
}

/// What all of these rules want to hear of the store.
pub(super) fn watched<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Watched {
    let patterns = rules.flat_map(|rule| match &rule.trigger {
        Trigger::Event { topic } => vec![topic.clone()],
        Trigger::Temporal(pattern) => {
            pattern.matchers().into_iter().map(|matcher| matcher.topic.clone()).collect()
        }
        Trigger::Fact { .. } | Trigger::Timer { .. } => Vec::new(),
    });
    Watched::new(patterns)
}
