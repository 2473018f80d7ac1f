//! Random JSON, and rules that are nearly right, into the decoder.

mod decoders;

use proptest::prelude::*;
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "event",
            "fact",
            "timer",
            "temporal",
            "sequence",
            "absence",
            "count",
            "aggregate",
            "eq",
            "in",
            "matches",
            "exists",
            "set_fact",
            "emit_event",
            "for_each",
            "try_catch",
            "conditional",
            "webhook",
            "store_transaction",
            "insert",
            "a.*",
            "*",
            "**",
            "a..b",
            "a:*",
            "5m",
            "5000",
            "${event.a}",
            "${",
            "${fact.${event.a}}",
            "(a",
            "event.a.0",
            "matched.9",
            "lookup.x",
            "var.x",
            "http://x/",
            "",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    let names = [
        "id",
        "name",
        "trigger",
        "conditions",
        "actions",
        "lookups",
        "runAs",
        "type",
        "topic",
        "pattern",
        "on",
        "source",
        "operator",
        "value",
        "any",
        "all",
        "not",
        "field",
        "key",
        "ref",
        "data",
        "timer",
        "duration",
        "cron",
        "repeat",
        "interval",
        "onExpire",
        "events",
        "within",
        "window",
        "threshold",
        "event",
        "after",
        "expected",
        "as",
        "filter",
        "groupBy",
        "then",
        "else",
        "try",
        "catch",
        "finally",
        "collection",
        "operations",
        "op",
        "bucket",
        "url",
        "headers",
        "args",
        "cache",
        "ttl",
        "service",
        "method",
        "priority",
        "tags",
    ];
    prop_oneof![9 => prop::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..8).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A rule that uses everything.
fn whole() -> Value {
    let test = json!({"source": {"type": "event", "field": "a.0"}, "operator": "eq", "value": 1});
    json!({"id": "a", "name": "A", "priority": 1, "enabled": true, "tags": ["t"], "group": "g",
        "trigger": {"type": "temporal", "pattern": {"type": "sequence", "within": "5m", "groupBy": "id",
            "events": [{"topic": "a", "as": "x", "filter": {"n": 5}}, {"topic": "b.*"}]}},
        "conditions": [{"any": [test, {"not": {"source": {"type": "fact", "pattern": "u:${event.id}:*"},
            "operator": "in", "value": [1, {"ref": "var.x.id"}]}}]},
            {"source": {"type": "lookup", "name": "l", "field": "v"}, "operator": "matches", "value": "^a+$"}],
        "lookups": [{"name": "l", "service": "s", "method": "m", "args": [{"ref": "event.id"}], "cache": {"ttl": "5m"}}],
        "runAs": {"roles": ["writer"]},
        "actions": [
            {"type": "set_timer", "timer": {"name": "t:${event.id}", "duration": "5m", "repeat": {"interval": 5},
                "onExpire": {"topic": "late", "data": {"id": "${event.id}"}}}},
            {"type": "try_catch", "try": [{"type": "call_service", "service": "s", "method": "m", "args": []}],
                "catch": {"as": "e", "actions": [{"type": "log", "level": "warn", "message": "${var.e.message}"}]}},
            {"type": "for_each", "collection": {"ref": "event.a"}, "as": "i", "actions": [
                {"type": "conditional", "conditions": [test], "then": [{"type": "delete_fact", "key": "k"}]}]},
            {"type": "store_transaction", "operations": [{"op": "insert", "bucket": "b", "data": {"x": 1}}]},
            {"type": "webhook", "url": "https://x/", "headers": {"X-A": "b"}}]})
}

/// Puts a value in the place of one that is somewhere in another.
fn replace(value: &mut Value, at: &mut usize, other: &Value) {
    if *at == 0 {
        *value = other.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, at, other)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, at, other)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_document_is_judged(document in document()) {
        decoders::value(&document);
    }

    #[test]
    fn a_rule_with_one_value_replaced_is_judged(at in 0usize..160, other in document()) {
        let (mut rule, mut at) = (whole(), at);
        replace(&mut rule, &mut at, &other);
        decoders::value(&rule);
    }
}

#[test]
fn the_whole_rule_is_accepted() {
    let (errors, warnings) = dunlin_rules::rule::check(&whole(), &dunlin_rules::Limits::default());
    assert_eq!((errors, warnings), (vec![], vec![]));
}

#[test]
fn nesting_does_not_overflow_anything() {
    let mut value = json!(1);
    for _ in 0..1_000 {
        value = Value::Array(vec![value]);
        value = Value::Object([("any".to_owned(), value)].into_iter().collect());
    }
    let rule = Value::Object([("conditions".to_owned(), value)].into_iter().collect());
    let (errors, _) = dunlin_rules::rule::check(&rule, &dunlin_rules::Limits::default());
    assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), ["too_deep"]);
}
