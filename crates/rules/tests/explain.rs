//! Why a rule fired or not, what would happen, and the figures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{Play, emit, object, on, set_fact};
use dunlin_rules::{Input, Limits, RuleFault, dry_run};
use serde_json::{Value, json};

fn rule() -> Value {
    json!({"id": "r", "name": "r", "trigger": on("order.*"),
        "conditions": [
            {"source": {"type": "event", "field": "total"}, "operator": "gte", "value": {"ref": "fact.min"}},
            {"any": [{"source": {"type": "fact", "pattern": "vip"}, "operator": "eq", "value": true},
                     {"not": {"source": {"type": "event", "field": "small"}, "operator": "exists"}}]}],
        "actions": [
            set_fact("ok", json!(true)), emit("told", json!({"n": {"ref": "event.total"}})),
            {"type": "store_insert", "bucket": "orders", "data": {"n": 1}, "as": "x"},
            {"type": "try_catch", "try": [{"type": "call_service", "service": "s", "method": "m", "args": [5]}], "finally": [set_fact("fin", json!({"ref": "var.x.n"}))]}]})
}

#[test]
fn why_a_rule_fired_and_why_not() {
    let mut play = Play::new();
    play.set("min", json!(10));
    play.rule(rule());
    play.rule(json!({"id": "other", "trigger": on("else")}));
    let fired = play.emit("order.new", json!({"total": 12}));
    let poor = play.emit("order.new", json!({"total": 9}));
    let told = play.engine.explain("r", &fired.id).unwrap();
    assert_eq!((&told["fired"], &told["reason"]), (&json!(true), &json!("it fired")));
    assert_eq!(told["trigger"], json!({"definition": on("order.*"), "topic": "order.new", "matches": true}));
    let first = &told["conditions"][0];
    assert_eq!(
        (&first["actual"], &first["expected"], &first["holds"]),
        (&json!(12), &json!(10), &json!(true))
    );
    assert_eq!(first["source"], json!({"type": "event", "field": "total"}));
    let second = &told["conditions"][1];
    assert_eq!(
        (&second["any"][0]["holds"], &second["any"][1]["not"]["holds"], &second["holds"]),
        (&json!(false), &json!(false), &json!(true))
    );

    let told = play.engine.explain("r", &poor.id).unwrap();
    assert_eq!((&told["fired"], &told["conditions"][0]["holds"]), (&json!(false), &json!(false)));
    assert_eq!(told["reason"], json!("a condition did not hold"));
    assert_eq!(
        play.engine.explain("other", &poor.id).unwrap()["reason"],
        json!("the trigger does not match this event")
    );
    play.run(Input::Update { id: "r".into(), updates: object(json!({"priority": 1})) }).unwrap();
    let told = play.engine.explain("r", &fired.id).unwrap();
    assert_eq!(told["reason"], json!("it fired; the rule was changed since"));
    assert!(matches!(play.engine.explain("none", &fired.id), Err(RuleFault::NotFound { what: "Rule", .. })));
    assert!(matches!(play.engine.explain("r", "none"), Err(RuleFault::NotFound { what: "Event", .. })));
}

#[test]
fn w20_what_is_remembered_is_bounded() {
    let mut limits = Limits::default();
    limits.traces = 10;
    let mut play = Play::with(limits);
    play.rule(json!({"id": "r", "trigger": on("*")}));
    let first = play.emit("a", json!({}));
    for _ in 0..100 {
        play.emit("a", json!({}));
    }
    assert!(play.engine.explain("r", &first.id).is_err());
    let tracing = json!({"enabled": true, "entriesCount": 20, "maxEntries": 20});
    assert_eq!(play.engine.stats()["tracing"], tracing);
}

#[test]
fn a_trial_says_what_would_happen() {
    let trial = json!({"rule": rule(), "facts": {"min": 10, "vip": true}, "event": {"topic": "order.new", "data": {"total": 12}}});
    let found = dry_run::test(&trial, &Limits::default()).unwrap();
    let facts: Vec<_> =
        found["facts"].as_array().unwrap().iter().map(|fact| (&fact["key"], &fact["value"])).collect();
    assert_eq!(facts, [(&json!("fin"), &json!(1)), (&json!("ok"), &json!(true))]);
    assert_eq!((&found["fired"], &found["conditions"][0]["actual"]), (&json!(true), &json!(12)));
    assert_eq!(
        (&found["events"][0]["topic"], found["events"].as_array().unwrap().len()),
        (&json!("told"), 1)
    );
    assert_eq!(found["writes"], json!([{"type": "insert", "bucket": "orders", "data": {"n": 1}}]));
    assert_eq!(found["calls"], json!([{"service": "s", "method": "m", "args": [5]}]));

    let trial = json!({"rule": rule(), "facts": [{"key": "min", "value": 10}], "event": {"topic": "order.new", "data": {"total": 2}}});
    let found = dry_run::test(&trial, &Limits::default()).unwrap();
    assert_eq!(
        (&found["fired"], &found["conditions"][0]["holds"], &found["facts"]),
        (&json!(false), &json!(false), &json!([]))
    );
}

#[test]
fn trials_of_other_triggers() {
    let limits = Limits::default();
    let fact = json!({"id": "f", "name": "f", "trigger": {"type": "fact", "pattern": "a:*", "on": "changed"},
        "lookups": [{"name": "l", "service": "s", "method": "m", "args": []}],
        "actions": [set_fact("b", json!({"ref": "lookup.l"}))]});
    let trial = json!({"rule": fact, "facts": [{"key": "a:1", "value": 1}], "fact": {"key": "a:1", "value": 2}, "lookups": {"l": 7}});
    let found = dry_run::test(&trial, &limits).unwrap();
    assert_eq!((&found["facts"][0]["value"], found["facts"].as_array().unwrap().len()), (&json!(7), 1));

    let record = json!({"id": "s", "name": "s", "enabled": false, "group": "g", "trigger": on("bucket.orders.updated"),
        "actions": [set_fact("was", json!({"ref": "event.before.n"}))]});
    let event =
        json!({"topic": "bucket.orders.updated", "data": {"key": 1, "before": {"n": 1}, "after": {"n": 2}}});
    let found = dry_run::test(&json!({"rule": record, "event": event}), &limits).unwrap();
    assert_eq!(found["facts"][0]["value"], json!(1));

    let pattern = json!({"id": "t", "name": "t", "trigger": {"type": "temporal", "pattern": {"type": "sequence", "within": "1m",
        "events": [{"topic": "a"}, {"topic": "b"}]}}, "actions": [set_fact("n", json!({"ref": "trigger.count"}))]});
    let trial = json!({"rule": pattern, "events": [{"topic": "a"}], "event": {"topic": "b"}});
    assert_eq!(dry_run::test(&trial, &limits).unwrap()["facts"][0]["value"], json!(2));
}

#[test]
fn trials_that_make_no_sense() {
    let limits = Limits::default();
    for trial in [
        json!({}),
        json!({"rule": rule()}),
        json!({"rule": {"id": ""}, "event": {"topic": "t"}}),
        json!({"rule": rule(), "event": {"topic": "t"}, "fact": {"key": "k"}}),
        json!({"rule": rule(), "event": {"data": {}}}),
        json!({"rule": rule(), "event": {"topic": "t", "data": 5}}),
        json!({"rule": rule(), "event": {"topic": "t"}, "facts": 5}),
        json!({"rule": rule(), "event": {"topic": "t"}, "events": [5]}),
        json!({"rule": rule(), "event": {"topic": "t"}, "lookups": 5}),
    ] {
        assert!(matches!(dry_run::test(&trial, &limits), Err(RuleFault::Invalid { .. })), "{trial}");
    }
}
