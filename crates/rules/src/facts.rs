//! The facts: what is known, by key.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use dunlin_protocol::KeyPattern;
use serde_json::Value;

use crate::{Fact, Source};

/// All facts. Ordered by key, so that a pattern whose first letters are literal looks only at keys that begin with them.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    by_key: BTreeMap<Arc<str>, Arc<Fact>>,
}

impl Facts {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Fact>> {
        self.by_key.get(key)
    }

    /// Sets a fact. `order` is its place among all if it is new. Gives the fact, and the one that it replaces.
    pub(crate) fn set(
        &mut self,
        key: &Arc<str>,
        value: Arc<Value>,
        source: Source,
        now: u64,
        order: u64,
    ) -> (Arc<Fact>, Option<Arc<Fact>>) {
        let previous = self.by_key.get(key);
        let (version, order, key) = match previous {
            Some(previous) => (previous.version + 1, previous.order, Arc::clone(&previous.key)),
            None => (1, order, Arc::clone(key)),
        };
        let fact = Arc::new(Fact { key: Arc::clone(&key), value, timestamp: now, source, version, order });
        let previous = self.by_key.insert(key, Arc::clone(&fact));
        (fact, previous)
    }

    pub(crate) fn delete(&mut self, key: &str) -> Option<Arc<Fact>> {
        self.by_key.remove(key)
    }

    /// Takes over what is known of a key.
    pub(crate) fn load(&mut self, key: &Arc<str>, fact: Option<&Arc<Fact>>) {
        match fact {
            Some(fact) => self.by_key.insert(Arc::clone(key), Arc::clone(fact)),
            None => self.by_key.remove(key),
        };
    }

    /// The fact that came to be first among those whose key matches, and at how many it looked: at most `most`, and what it
    /// finds then counts for nothing.
    pub(crate) fn first(&self, pattern: &str, most: u64) -> (Option<&Arc<Fact>>, u64) {
        let Some(star) = pattern.find('*') else { return (self.get(pattern), 1) };
        let head = pattern.get(..star).unwrap_or_default();
        let pattern = KeyPattern::new(pattern);
        let (mut found, mut looked) = (None::<&Arc<Fact>>, 0);
        for (key, fact) in self.by_key.range::<str, _>((Bound::Included(head), Bound::Unbounded)) {
            if !key.starts_with(head) {
                break;
            }
            if looked == most {
                return (None, looked);
            }
            looked += 1;
            if found.is_none_or(|found| fact.order < found.order) && pattern.matches(key) {
                found = Some(fact);
            }
        }
        (found, looked.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(keys: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for (order, key) in (1_u64..).zip(keys) {
            facts.set(&(*key).into(), Arc::new(Value::from(order)), Source::Api, 5, order);
        }
        facts
    }

    fn first<'a>(facts: &'a Facts, pattern: &str) -> (Option<&'a str>, u64) {
        let (fact, looked) = facts.first(pattern, u64::MAX);
        (fact.map(|fact| &*fact.key), looked)
    }

    #[test]
    fn a_fact_keeps_its_place_until_it_is_deleted() {
        let mut facts = facts(&["b", "a"]);
        let (again, previous) = facts.set(&"b".into(), Arc::new(Value::Null), Source::Rule, 6, 3);
        assert_eq!((again.version, again.order, previous.map(|fact| fact.version)), (2, 1, Some(1)));
        assert!(facts.delete("b").is_some() && facts.delete("b").is_none());
        let (anew, previous) = facts.set(&"b".into(), Arc::new(Value::Null), Source::Rule, 7, 4);
        assert_eq!((anew.version, previous), (1, None));
        assert_eq!(first(&facts, "*").0, Some("a"));
    }

    #[test]
    fn the_first_that_matches_by_age_not_by_key() {
        let facts = facts(&["u:5:z", "u:5:a", "u:4:a", "x"]);
        assert_eq!(first(&facts, "u:5:*").0, Some("u:5:z"));
        assert_eq!(first(&facts, "u:*:a").0, Some("u:5:a"));
        assert_eq!(first(&facts, "*").0, Some("x"));
        assert_eq!(first(&facts, "u:4:a"), (Some("u:4:a"), 1));
        assert_eq!(first(&facts, "y*").0, None);
    }

    #[test]
    fn a_literal_head_spares_a_scan() {
        let keys: Vec<String> = (0..1000).map(|n| format!("u:{n}:a")).chain(["u:5:b".into()]).collect();
        let facts = facts(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(first(&facts, "u:5:*"), (Some("u:5:a"), 2));
        assert_eq!(facts.first("u:*:b", 10), (None, 10), "no further than it may");
    }
}
