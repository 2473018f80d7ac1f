//! The index finds what a scan of all rules finds, whatever is added and removed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use dunlin_protocol::{KeyPattern, TopicPattern};
use dunlin_rules::condition::{Condition, Scope, Steps, all_hold};
use dunlin_rules::index::{KeyIndex, TopicIndex};
use dunlin_rules::{Limits, Rule};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Nothing but the trigger's data.
struct Data(Value);

impl Scope for Data {
    fn trigger(&self) -> &Value {
        &self.0
    }
    fn fact(&self, _: &str) -> Option<&Value> {
        None
    }
    fn first_fact(&self, _: &str) -> Option<&Value> {
        None
    }
    fn variable(&self, _: &str) -> Option<&Value> {
        None
    }
    fn matched(&self, _: usize) -> Option<&Value> {
        None
    }
    fn lookup(&self, _: &str) -> Option<&Value> {
        None
    }
}

fn conditions(list: &Value) -> Vec<Condition> {
    let rule =
        json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "t"}, "conditions": list});
    Rule::parse(&rule, &Limits::default()).unwrap().0.conditions.to_vec()
}

fn test(field: &str, operator: &str, value: &Value) -> Value {
    json!({"source": {"type": "event", "field": field}, "operator": operator, "value": value})
}

fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!("1"),
        json!("a"),
    ])
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x", "y", "o.x", "l.0"])
}

fn condition() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => (field(), scalar()).prop_map(|(field, value)| test(field, "eq", &value)),
        2 => (field(), prop::collection::vec(scalar(), 0..3)).prop_map(|(field, list)| test(field, "in", &json!(list))),
        1 => (field(), scalar()).prop_map(|(field, value)| test(field, "neq", &value)),
        1 => field().prop_map(|field| test(field, "eq", &json!({"ref": "event.y"}))),
        1 => field().prop_map(|field| test(field, "eq", &json!([1]))),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"all": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"any": list})),
            inner.prop_map(|condition| json!({"not": condition})),
        ]
    })
}

fn pattern(separator: char) -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "bucket", "*", "*", "a*", "*b", "a*b", "*a*"]);
    prop::collection::vec(segment, 1..5).prop_map(move |segments| segments.join(&separator.to_string()))
}

fn name(separator: char) -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "aab", "ba", "bucket", ""]);
    prop::collection::vec(segment, 1..5).prop_map(move |segments| segments.join(&separator.to_string()))
}

fn data() -> impl Strategy<Value = Value> {
    (scalar(), scalar(), scalar(), scalar())
        .prop_map(|(x, y, ox, l)| json!({"x": x, "y": y, "o": {"x": ox}, "l": [l]}))
}

fn rules(separator: char) -> impl Strategy<Value = Vec<(String, Value, bool)>> {
    let rule = (pattern(separator), prop::collection::vec(condition(), 0..3), any::<bool>());
    prop::collection::vec(rule.prop_map(|(pattern, list, stays)| (pattern, json!(list), stays)), 0..40)
}

/// Those that match by pattern and whose conditions hold must be found; those that do not match by pattern must not.
fn judge(found: &[usize], rules: &[(bool, Vec<Condition>)], data: &Value) {
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    let scope = Data(data.clone());
    for (rule, (matches, conditions)) in rules.iter().enumerate() {
        let holds = *matches && all_hold(conditions, &scope, &mut Steps::new(1_000_000)).unwrap();
        let is_found = found.contains(&rule);
        assert!(!holds || is_found, "rule {rule} is missing");
        assert!(!is_found || *matches, "rule {rule} does not match");
    }
}

proptest! {
    #[test]
    fn events_and_changes(rules in rules('.'), topic in name('.'), bucket in name('.'), data in data()) {
        let mut index = TopicIndex::default();
        let compiled: Vec<_> = rules
            .iter()
            .map(|(pattern, list, stays)| (TopicPattern::new(pattern), conditions(list), *stays))
            .collect();
        for (rule, (pattern, conditions, _)) in compiled.iter().enumerate() {
            index.insert(pattern, conditions, rule);
        }
        for (rule, (pattern, conditions, stays)) in compiled.iter().enumerate() {
            if !stays {
                index.remove(pattern, conditions, rule);
            }
        }
        let naive = |matches: &dyn Fn(&TopicPattern) -> bool| -> Vec<_> {
            compiled
                .iter()
                .map(|(pattern, conditions, stays)| (*stays && matches(pattern), conditions.clone()))
                .collect()
        };
        let mut found = Vec::new();
        index.matching(&topic, &data, &mut found);
        judge(&found, &naive(&|p| !p.as_str().starts_with("bucket.") && p.matches(&topic)), &data);
        let mut found = Vec::new();
        index.matching_change(&bucket, "ab", &data, &mut found);
        judge(&found, &naive(&|p| p.as_str().starts_with("bucket.") && p.matches_change(&bucket, "ab")), &data);
        for (rule, (pattern, conditions, _)) in compiled.iter().enumerate() {
            index.remove(pattern, conditions, rule);
        }
        prop_assert!(index.is_empty());
    }

    #[test]
    fn keys(rules in rules(':'), key in name(':'), data in data()) {
        let mut index = KeyIndex::default();
        let mut naive = Vec::new();
        for (rule, (pattern, list, stays)) in rules.iter().enumerate() {
            let (pattern, conditions) = (KeyPattern::new(pattern), conditions(list));
            index.insert(&pattern, &conditions, rule);
            if !stays {
                index.remove(&pattern, &conditions, rule);
            }
            naive.push((*stays && pattern.matches(&key), conditions));
        }
        let mut found = Vec::new();
        index.matching(&key, &data, &mut found);
        judge(&found, &naive, &data);
    }
}

#[test]
fn only_those_that_ask_for_the_value_are_found() {
    let (mut index, topic) = (TopicIndex::default(), TopicPattern::new("order.*"));
    for rule in 0..1_000_u32 {
        index.insert(&topic, &conditions(&json!([test("user", "eq", &json!(rule))])), rule);
        index.insert(&TopicPattern::new(&format!("t{rule}*.x")), &[], 10_000 + rule);
    }
    index.insert(&topic, &conditions(&json!([test("user", "in", &json!([7, "seven"]))])), 5_000);
    let mut found = Vec::new();
    index.matching("order.paid", &json!({"user": 7.0}), &mut found);
    assert_eq!(found, [7, 5_000]);
    found.clear();
    index.matching("order.paid", &json!({"user": "seven"}), &mut found);
    assert_eq!(found, [5_000]);
    found.clear();
    index.matching("t12x.x", &json!({}), &mut found);
    assert_eq!(found, [10_001, 10_012]);
}

#[test]
fn one_that_is_added_twice_is_found_once_and_gone_when_removed() {
    let mut index = TopicIndex::default();
    for pattern in ["a.*", "a.b", "*"] {
        index.insert(&pattern.into(), &[], 1);
        index.insert(&pattern.into(), &[], 1);
    }
    let mut found = Vec::new();
    index.matching("a.b", &json!({}), &mut found);
    assert_eq!(found, [1]);
    for pattern in ["a.*", "a.b", "*"] {
        index.remove(&pattern.into(), &[], 1);
    }
    assert!(index.is_empty());
}
