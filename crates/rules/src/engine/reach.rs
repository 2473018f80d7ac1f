//! Which rules something that happens can reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_protocol::TopicPattern;
use serde_json::Value;

use crate::index::{KeyIndex, TopicIndex};
use crate::rule::{Rule, Trigger};
use crate::{StoreChange, Watched};

/// Rules that can fire, by what triggers them. They are known by their place among all rules.
#[derive(Debug, Default)]
pub(super) struct Reach {
    topics: TopicIndex<u64>,
    facts: KeyIndex<u64>,
    timers: KeyIndex<u64>,
    /// How many have temporal patterns.
    patterns: usize,
    /// Topics of records, and how many rules ask for each.
    heard: BTreeMap<TopicPattern, usize>,
    watched: Arc<Watched>,
}

impl Reach {
    pub(super) fn insert(&mut self, order: u64, rule: &Rule) {
        let conditions = &rule.conditions;
        match &rule.trigger {
            Trigger::Event { topic } => self.topics.insert(topic, conditions, order),
            Trigger::Fact { pattern, .. } => self.facts.insert(pattern, conditions, order),
            Trigger::Timer { name } => self.timers.insert(name, conditions, order),
            Trigger::Temporal(_) => self.patterns += 1,
        }
        for topic in of_records(&rule.trigger) {
            let asked = self.heard.entry(topic.clone()).or_default();
            *asked += 1;
            if *asked == 1 {
                Arc::make_mut(&mut self.watched).insert(topic);
            }
        }
    }

    /// Takes a rule out that was put in as it is.
    pub(super) fn remove(&mut self, order: u64, rule: &Rule) {
        let conditions = &rule.conditions;
        match &rule.trigger {
            Trigger::Event { topic } => self.topics.remove(topic, conditions, order),
            Trigger::Fact { pattern, .. } => self.facts.remove(pattern, conditions, order),
            Trigger::Timer { name } => self.timers.remove(name, conditions, order),
            Trigger::Temporal(_) => self.patterns = self.patterns.saturating_sub(1),
        }
        for topic in of_records(&rule.trigger) {
            let Some(asked) = self.heard.get_mut(&topic) else { continue };
            *asked -= 1;
            if *asked == 0 {
                self.heard.remove(&topic);
                Arc::make_mut(&mut self.watched).remove(&topic);
            }
        }
    }

    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    pub(super) fn event(&self, topic: &str, data: &Value) -> Vec<u64> {
        let mut found = Vec::new();
        self.topics.matching(topic, data, &mut found);
        found
    }

    pub(super) fn change(&self, change: &StoreChange, data: &Value) -> Vec<u64> {
        let mut found = Vec::new();
        self.topics.matching_change(&change.bucket, change.kind.as_str(), data, &mut found);
        found
    }

    /// Rules on a fact, whatever has happened to it.
    pub(super) fn fact(&self, key: &str, data: &Value) -> Vec<u64> {
        let mut found = Vec::new();
        self.facts.matching(key, data, &mut found);
        found
    }

    pub(super) fn timer(&self, name: &str, data: &Value) -> Vec<u64> {
        let mut found = Vec::new();
        self.timers.matching(name, data, &mut found);
        found
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

/// What a rule hears of the store.
fn of_records(trigger: &Trigger) -> Vec<TopicPattern> {
    let topics = match trigger {
        Trigger::Event { topic } => vec![topic],
        Trigger::Temporal(pattern) => pattern.matchers().into_iter().map(|matcher| &matcher.topic).collect(),
        Trigger::Fact { .. } | Trigger::Timer { .. } => Vec::new(),
    };
    topics.into_iter().filter(|topic| topic.as_str().starts_with("bucket.")).cloned().collect()
}
