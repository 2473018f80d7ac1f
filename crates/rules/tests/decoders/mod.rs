//! What must hold of the decoder of rules for any bytes: no panic, no overflow, and whatever is accepted can be worked with. Run by
//! `tests/decoding.rs` on random JSON and by the fuzz target in `fuzz/` on anything.
#![allow(dead_code, unreachable_pub, reason = "every user of this file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a broken promise ends the run by panicking")]

use dunlin_rules::condition::{Scope, Steps, all_hold};
use dunlin_rules::index::TopicIndex;
use dunlin_rules::rule::{check, read_timer};
use dunlin_rules::{Limits, Rule, Severity, Trigger};
use serde_json::{Value, json};

/// A world in which everything is the same value.
struct Same(Value);

impl Scope for Same {
    fn trigger(&self) -> &Value {
        &self.0
    }
    fn fact(&self, _: &str) -> Option<&Value> {
        Some(&self.0)
    }
    fn first_fact(&self, _: &str) -> Option<&Value> {
        Some(&self.0)
    }
    fn variable(&self, _: &str) -> Option<&Value> {
        Some(&self.0)
    }
    fn matched(&self, _: usize) -> Option<&Value> {
        Some(&self.0)
    }
    fn lookup(&self, _: &str) -> Option<&Value> {
        Some(&self.0)
    }
}

/// A rule is refused with an error, or accepted again as it is stored and evaluated within its steps.
pub fn rule(bytes: &[u8]) {
    if let Ok(given) = serde_json::from_slice::<Value>(bytes) {
        value(&given);
    }
}

/// As [`rule`], for JSON that is read already.
pub fn value(given: &Value) {
    let limits = Limits::default();
    let (errors, warnings) = check(given, &limits);
    let _ = read_timer(given, &limits);
    match Rule::parse(given, &limits) {
        Err(issues) => {
            assert!(issues.iter().any(|issue| issue.severity == Severity::Error));
            assert_eq!(issues.len(), errors.len() + warnings.len());
        }
        Ok((rule, issues)) => {
            assert_eq!((errors.as_slice(), &warnings), ([].as_slice(), &issues));
            let stored = Value::Object((*rule.json).clone());
            let (again, same) = Rule::parse(&stored, &limits).unwrap();
            assert_eq!((&again.json, again.conditions.len()), (&rule.json, rule.conditions.len()));
            // Only that there are no actions can be said no more or less.
            assert_eq!(same.len(), issues.len());
            let data = json!({"a": [1, "x", null, {"b": true}], "id": "x", "n": 5});
            let _ = all_hold(&rule.conditions, &Same(data.clone()), &mut Steps::new(10_000));
            if let Trigger::Event { topic } = &rule.trigger {
                let (mut index, mut found) = (TopicIndex::default(), Vec::new());
                index.insert(topic, &rule.conditions, 1);
                index.matching("a.b", &data, &mut found);
                index.remove(topic, &rule.conditions, 1);
                assert!(index.is_empty());
            }
        }
    }
}
