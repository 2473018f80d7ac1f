//! Weak points of the engine that dunlin's takes the place of, by their numbers: what it does instead.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{Play, emit, object, on};
use dunlin_rules::{Answer, Input, RuleFault};
use serde_json::{Value, json};

fn temporal(pattern: Value) -> Value {
    json!({"type": "temporal", "pattern": pattern})
}

#[test]
fn w2_patterns_fire_in_the_order_of_priority_with_all_that_they_saw() {
    let mut play = Play::new();
    let sequence = |first: &str| {
        temporal(json!({"type": "sequence", "groupBy": "id", "within": "1h",
            "events": [{"topic": "order.*", "filter": {"paid": false}, "as": first}, {"topic": "order.*", "filter": {"paid": true}}]}))
    };
    let seen = json!({"group": {"ref": "trigger.groupKey"}, "n": "${trigger.count}", "old": {"ref": "var.first.total"},
        "new": {"ref": "matched.1.total"}, "none": {"ref": "matched.2.total"}});
    play.rule(json!({"id": "low", "trigger": sequence("first"), "actions": [emit("low", seen)]}));
    play.rule(json!({"id": "high", "priority": 2, "trigger": sequence("first"),
        "conditions": [{"source": {"type": "event", "field": "events.1.total"}, "operator": "gt", "value": {"ref": "var.first.total"}}],
        "actions": [emit("high", json!({"started": {"ref": "trigger.startedAt"}}))]}));
    play.emit("order.made", json!({"id": 7, "paid": false, "total": 5}));
    play.world.now += 10;
    let data = object(json!({"id": "7", "paid": true, "total": 6}));
    let input = Input::Emit {
        topic: "order.done".into(),
        data,
        correlation_id: Some("story".into()),
        causation_id: None,
    };
    play.run(input).unwrap();
    assert_eq!(play.topics(), ["order.made", "order.done", "high", "low"]);
    let (last, low) = (&play.events[1], &play.events[3]);
    let expected = json!({"group": "7", "n": "2", "old": 5, "new": 6, "none": null});
    assert_eq!(Value::Object(low.data.as_ref().clone()), expected);
    assert_eq!((low.correlation_id.as_deref(), low.causation_id.as_ref()), (Some("story"), Some(&last.id)));
    assert_eq!(play.events[2].data["started"], json!(play.world.now - 10));
}

#[test]
fn w10_a_pattern_that_would_have_poisoned_the_engine_is_text() {
    let mut play = Play::new();
    play.rule(json!({"id": "odd", "trigger": on("a(*.b"), "actions": [emit("odd", json!({}))]}));
    play.rule(json!({"id": "even", "trigger": on("a*.b"), "actions": [emit("even", json!({}))]}));
    let rule = json!({"id": "bad", "name": "bad", "trigger": on("a.**")});
    assert!(matches!(play.run(Input::Register { rule }), Err(RuleFault::Invalid { .. })));
    play.emit("ab.b", json!({}));
    play.emit("a(x.b", json!({}));
    play.run(Input::Unregister { id: "odd".into() }).unwrap();
    play.emit("a(x.b", json!({}));
    assert_eq!(play.topics(), ["ab.b", "even", "a(x.b", "odd", "even", "a(x.b", "even"]);
}

#[test]
fn w18_what_is_valid_runs_as_it_says() {
    let mut play = Play::new();
    let test = json!({"source": {"type": "event", "field": "n"}, "operator": "eq", "value": {"ref": "var.it.want.n"}});
    play.rule(json!({"id": "deep", "trigger": on("go"), "actions": [
        {"type": "for_each", "collection": {"ref": "event.list"}, "as": "it", "actions": [
            {"type": "conditional", "conditions": [test], "then": [
                emit("found", json!({"a": [{"b": "n=${event.n}", "c": {"ref": "var.it_index"}}], "${event.n}": 1}))]}]}]}));
    play.emit("go", json!({"n": 2, "list": [{"want": {"n": 1}}, {"want": {"n": 2}}, 5]}));
    let found = Value::Object(play.events[1].data.as_ref().clone());
    assert_eq!(found, json!({"a": [{"b": "n=2", "c": 1}], "${event.n}": 1}), "names of members stay");
    for bad in [
        json!({"type": "for_each"}),
        json!({"type": "set_timer", "timer": {"name": "t", "duration": "5000", "onExpire": {"topic": "x", "data": {}}}}),
        json!({"type": "set_timer", "timer": {"name": "t", "duration": "5s", "repeat": {"interval": "1h30m"}, "onExpire": {"topic": "x", "data": {}}}}),
        json!({"type": "set_fact", "key": "k", "value": {"deep": [{"ref": "evnt.x"}]}}),
        json!({"type": "set_fact", "key": "k", "value": "${ event.x }"}),
    ] {
        let rule = json!({"id": "bad", "name": "bad", "trigger": on("go"), "actions": [bad]});
        assert!(matches!(play.run(Input::Register { rule }), Err(RuleFault::Invalid { .. })), "{bad}");
    }
}

#[test]
fn w22_an_update_is_an_update() {
    let mut play = Play::new();
    let rule = |id: &str| json!({"id": id, "description": "d", "trigger": on("go"), "actions": [emit(id, json!({}))]});
    play.rule(rule("first"));
    play.rule(rule("second"));
    let created = play.world.now;
    play.world.now += 50;
    let updates =
        object(json!({"description": null, "tags": ["t"], "version": 77, "createdAt": 1, "id": "other"}));
    let Ok(Answer::Rule(json)) = play.run(Input::Update { id: "first".into(), updates }) else {
        panic!("refused")
    };
    let stamps = ["id", "version", "createdAt", "updatedAt"].map(|name| json[name].clone());
    assert_eq!(stamps, [json!("first"), json!(3), json!(created), json!(created + 50)]);
    assert!(!json.contains_key("description") && json["tags"] == json!(["t"]));
    play.emit("go", json!({}));
    assert_eq!(play.topics(), ["go", "first", "second"], "it keeps its place");
    let entry = play.entry("v/first/0000000002").unwrap();
    assert_eq!((&entry["changeType"], &entry["rule"]["tags"]), (&json!("updated"), &json!(["t"])));
}
