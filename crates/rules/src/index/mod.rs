//! Which rules an event, a fact or a timer can reach, without looking at the others.
//!
//! Patterns lie in a trie of their segments. At the end of each pattern rules are told apart by a value that one of their
//! conditions asks for (`event.<path> eq <constant>`, or `in` several): a rule with such a condition is only reached through its value.
//! So an event costs its segments and the conditions that are asked about its topic, however many rules there are beside.

mod trie;
mod values;

use dunlin_protocol::{KeyPattern, TopicPattern};
use serde_json::Value;

use crate::condition::Condition;
use trie::Trie;

/// Rules by their pattern over topics, and by a value that they ask for. `T` is what they are called here: a number, in the order
/// in which they were registered.
///
/// ```
/// use dunlin_rules::index::TopicIndex;
/// use dunlin_rules::{Limits, Rule, Trigger};
/// use serde_json::json;
///
/// let rule = json!({"id": "paid", "name": "Paid", "trigger": {"type": "event", "topic": "order.*"},
///     "conditions": [{"source": {"type": "event", "field": "state"}, "operator": "eq", "value": "paid"}]});
/// let (rule, _) = Rule::parse(&rule, &Limits::default()).unwrap();
/// let Trigger::Event { topic } = &rule.trigger else { panic!("not an event") };
///
/// let mut index = TopicIndex::default();
/// index.insert(topic, &rule.conditions, 1);
/// let mut found = Vec::new();
/// index.matching("order.changed", &json!({"state": "open"}), &mut found);
/// assert!(found.is_empty());
/// index.matching("order.changed", &json!({"state": "paid"}), &mut found);
/// assert_eq!(found, [1]);
/// ```
#[derive(Debug, Clone)]
pub struct TopicIndex<T> {
    events: Trie<T>,
    /// Patterns that begin with `bucket.`: first the kind of the change, then the segments of the bucket's name.
    changes: Trie<T>,
}

impl<T> Default for TopicIndex<T> {
    fn default() -> Self {
        Self { events: Trie::default(), changes: Trie::default() }
    }
}

impl<T: Copy + Ord> TopicIndex<T> {
    /// Adds a rule. One that is there under this pattern already stays as it is.
    pub fn insert(&mut self, pattern: &TopicPattern, conditions: &[Condition], rule: T) {
        match pattern.change_segments() {
            Some(segments) => self.changes.insert(&segments, conditions, rule),
            None => self.events.insert(&pattern.segments(), conditions, rule),
        }
    }

    /// Removes a rule that was added with this pattern and these conditions.
    pub fn remove(&mut self, pattern: &TopicPattern, conditions: &[Condition], rule: T) {
        match pattern.change_segments() {
            Some(segments) => self.changes.remove(&segments, conditions, rule),
            None => self.events.remove(&pattern.segments(), conditions, rule),
        }
    }

    /// Adds the rules that an event can reach to `found`, which is in order then, each once. Their other conditions are still to be
    /// looked at.
    pub fn matching(&self, topic: &str, data: &Value, found: &mut Vec<T>) {
        self.events.matching(topic.split('.'), data, found);
        ordered(found);
    }

    /// As [`matching`](Self::matching), for the change of a record: the rules whose pattern begins with `bucket.` and
    /// [matches](TopicPattern::matches_change).
    pub fn matching_change(&self, bucket: &str, kind: &str, data: &Value, found: &mut Vec<T>) {
        self.changes.matching(std::iter::once(kind).chain(bucket.split('.')), data, found);
        ordered(found);
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.changes.is_empty()
    }
}

/// Rules by their pattern over keys of facts or names of timers, and by a value that they ask for.
///
/// ```
/// use dunlin_protocol::KeyPattern;
/// use dunlin_rules::index::KeyIndex;
/// use serde_json::json;
///
/// let mut index = KeyIndex::default();
/// index.insert(&KeyPattern::new("cart:*:total"), &[], 7);
/// let mut found = Vec::new();
/// index.matching("cart:1:total", &json!({}), &mut found);
/// assert_eq!(found, [7]);
/// ```
#[derive(Debug, Clone)]
pub struct KeyIndex<T>(Trie<T>);

impl<T> Default for KeyIndex<T> {
    fn default() -> Self {
        Self(Trie::default())
    }
}

impl<T: Copy + Ord> KeyIndex<T> {
    /// Adds a rule. One that is there under this pattern already stays as it is.
    pub fn insert(&mut self, pattern: &KeyPattern, conditions: &[Condition], rule: T) {
        self.0.insert(&pattern.segments(), conditions, rule);
    }

    /// Removes a rule that was added with this pattern and these conditions.
    pub fn remove(&mut self, pattern: &KeyPattern, conditions: &[Condition], rule: T) {
        self.0.remove(&pattern.segments(), conditions, rule);
    }

    /// Adds the rules that a key can reach to `found`, which is in order then, each once. `data` is the trigger's.
    pub fn matching(&self, key: &str, data: &Value, found: &mut Vec<T>) {
        self.0.matching_filled(key.split(':'), data, found);
        ordered(found);
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn ordered<T: Ord>(found: &mut Vec<T>) {
    found.sort_unstable();
    found.dedup();
}
