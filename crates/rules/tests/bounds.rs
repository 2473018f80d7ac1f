//! Rules that would never end, and everything else that is bounded: what is beyond is dropped and reported, siblings run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{Play, emit, object, on, set_fact};
use dunlin_rules::{Answer, Input, Limits, ReportKind, RuleFault};
use serde_json::{Value, json};

fn small(change: impl FnOnce(&mut Limits)) -> Play {
    let mut limits = Limits::default();
    change(&mut limits);
    Play::with(limits)
}

fn kinds(play: &Play) -> Vec<ReportKind> {
    play.reports.iter().map(|report| report.kind).collect()
}

#[test]
fn two_rules_that_call_each_other_end_at_the_depth() {
    let mut play = Play::new();
    play.rule(json!({"id": "ping", "trigger": on("ping"), "actions": [emit("pong", json!({}))]}));
    play.rule(json!({"id": "pong", "trigger": on("pong"), "actions": [emit("ping", json!({}))]}));
    play.rule(json!({"id": "after", "priority": -1, "trigger": on("ping"), "actions": [set_fact("after", json!(true))]}));
    play.emit("ping", json!({}));
    assert_eq!((play.topics().len(), play.fact("after")), (11, Some(json!(true))));
    assert_eq!(kinds(&play), [ReportKind::DepthExceeded], "once, however often");
    let rules: Vec<_> = play.reports[0].chain.iter().filter_map(|link| link.rule.as_deref()).collect();
    assert_eq!(rules, ["ping", "pong"].repeat(5));
}

#[test]
fn facts_that_set_each_other_end_at_the_depth() {
    let mut play = Play::new();
    let fact = |key: &str| json!({"type": "fact", "pattern": key});
    play.rule(json!({"id": "a", "trigger": fact("a"), "actions": [set_fact("b", json!(1))]}));
    play.rule(json!({"id": "b", "trigger": fact("b"), "actions": [set_fact("a", json!(1))]}));
    assert_eq!(play.set("a", json!(0)).version, 1);
    assert_eq!((play.firings, kinds(&play)), (10, vec![ReportKind::DepthExceeded]));
}

#[test]
fn a_chain_may_be_as_long_as_somebody_wants() {
    let mut play = small(|limits| {
        limits.depth = 1_000_000;
        limits.firings = usize::MAX;
        limits.events = 30_000;
    });
    play.rule(json!({"id": "ping", "trigger": on("ping"), "actions": [emit("ping", json!({}))]}));
    play.emit("ping", json!({}));
    assert_eq!((play.topics().len(), kinds(&play)), (30_001, vec![ReportKind::EventsExceeded]));
}

#[test]
fn fan_out_ends_by_the_events_or_the_firings() {
    let twice = json!({"id": "twice", "trigger": on("a"), "actions": [emit("a", json!({})), emit("a", json!({})), set_fact("last", json!(1))]});
    let mut play = small(|limits| {
        limits.depth = 1_000;
        limits.events = 500;
    });
    play.rule(twice.clone());
    play.emit("a", json!({}));
    assert_eq!((play.topics().len(), kinds(&play)), (501, vec![ReportKind::EventsExceeded]));
    assert_eq!(play.fact("last"), Some(json!(1)), "what is behind the event that was dropped is done");

    let mut play = small(|limits| {
        limits.depth = 1_000;
        limits.firings = 50;
    });
    play.rule(twice);
    play.emit("a", json!({}));
    assert_eq!((play.firings, kinds(&play)), (50, vec![ReportKind::FiringsExceeded]));
    play.emit("a", json!({}));
    assert_eq!(play.firings, 100, "the next input has budgets of its own");
}

#[test]
fn w19_loops_in_loops_end_by_the_steps() {
    let mut play = small(|limits| limits.steps = 100_000);
    let thousand: Vec<_> = (0..1000).collect();
    let each = |name: &str, actions: Value| json!({"type": "for_each", "collection": thousand, "as": name, "actions": actions});
    let inner = each("c", json!([set_fact("turn", json!({"ref": "var.c"}))]));
    play.rule(json!({"id": "loop", "trigger": on("go"),
        "actions": [each("a", json!([each("b", json!([inner]))]))]}));
    play.rule(
        json!({"id": "other", "priority": 1, "trigger": on("go"), "actions": [set_fact("other", json!(1))]}),
    );
    play.emit("go", json!({}));
    assert_eq!((kinds(&play), play.fact("other")), (vec![ReportKind::StepsExceeded], Some(json!(1))));
    assert_eq!(play.reports[0].rule.as_deref(), Some("loop"));
}

#[test]
fn a_value_that_doubles_is_bounded() {
    let mut play = Play::new();
    let twice = json!([{"ref": "fact.x"}, {"ref": "fact.x"}]);
    let collection: Vec<_> = (0..40).collect();
    play.rule(json!({"id": "double", "trigger": on("go"), "actions": [
        set_fact("x", json!("0123456789")),
        {"type": "for_each", "collection": collection, "as": "i", "actions": [set_fact("x", twice)]}]}));
    play.emit("go", json!({}));
    assert!(play.fact("x").unwrap().to_string().len() <= dunlin_rules::limits::MAX_VALUE_BYTES);
    assert!(play.reports.len() <= dunlin_rules::limits::MAX_REPORTS);
    assert!(kinds(&play).contains(&ReportKind::ActionFailed), "{:?}", kinds(&play));
}

#[test]
fn a_value_that_grows_deeper_is_bounded() {
    let mut play = Play::new();
    let collection: Vec<_> = (0..200).collect();
    play.rule(json!({"id": "deep", "trigger": on("go"), "actions": [
        {"type": "for_each", "collection": collection, "as": "i", "actions": [set_fact("x", json!([{"ref": "fact.x"}]))]}]}));
    play.emit("go", json!({}));
    assert!(play.reports[0].message.contains("TOO_DEEP"), "{:?}", play.reports[0]);
    play.restart();
}

#[test]
fn w17_a_fault_of_an_action_is_its_own() {
    let mut play = Play::new();
    let bad = emit("${event.topic}", json!({}));
    play.rule(json!({"id": "t", "trigger": on("t"), "actions": [
        bad, {"type": "try_catch", "try": [set_fact("${event.none}", json!(1)), set_fact("no", json!(1))],
              "catch": {"as": "e", "actions": [set_fact("code", json!({"ref": "var.e.code"}))]}},
        {"type": "try_catch", "try": [set_fact("${event.none}", json!(1))], "finally": [set_fact("fin", json!(1))]},
        set_fact("end", json!({"ref": "var.e"}))]}));
    play.emit("t", json!({"topic": "bucket.x.inserted"}));
    let facts = ["no", "code", "fin", "end"].map(|key| play.fact(key));
    assert_eq!(facts, [None, Some(json!("INVALID_KEY")), Some(json!(1)), Some(json!(null))]);
    assert_eq!(kinds(&play), [ReportKind::ActionFailed; 2], "what is caught is not reported");
}

#[test]
fn nobody_emits_changes_of_records() {
    let mut play = Play::new();
    for topic in ["bucket.x.inserted", "bucket", ""] {
        let input = Input::Emit {
            topic: topic.into(),
            data: object(json!({})),
            correlation_id: None,
            causation_id: None,
        };
        assert!(matches!(play.run(input), Err(RuleFault::Invalid { .. })), "{topic}");
    }
}

#[test]
fn bounds_of_what_is_kept() {
    let mut play = small(|limits| {
        limits.facts = 1;
        limits.timers = 1;
        limits.rules = 1;
        limits.groups = 1;
    });
    let timer = |name: &str| json!({"name": name, "duration": "1s", "onExpire": {"topic": "t", "data": {}}});
    play.rule(json!({"id": "r", "trigger": on("go"), "actions": [set_fact("b", json!(1)), {"type": "set_timer", "timer": timer("b")}]}));
    play.set("a", json!(1));
    play.set("a", json!(2));
    play.run(Input::SetTimer { timer: timer("a") }).unwrap();
    play.run(Input::SetTimer { timer: timer("a") }).unwrap();
    play.run(Input::CreateGroup { group: json!({"id": "g", "name": "g"}) }).unwrap();
    play.emit("go", json!({}));
    assert_eq!(kinds(&play), [ReportKind::ActionFailed; 2]);
    let rule = json!({"id": "s", "name": "s", "trigger": on("go")});
    for input in [
        Input::SetFact { key: "b".into(), value: json!(1) },
        Input::Register { rule },
        Input::CreateGroup { group: json!({"id": "h", "name": "h"}) },
    ] {
        assert!(matches!(play.run(input), Err(RuleFault::Full { limit: 1, .. })));
    }
    assert!(matches!(play.run(Input::SetTimer { timer: timer("b") }), Err(RuleFault::Invalid { .. })));
    assert_eq!(play.run(Input::DeleteFact { key: "a".into() }), Ok(Answer::Done(true)));
    play.set("b", json!(1));
}

#[test]
fn w11_the_old_trigger_leaves_the_index() {
    let mut play = Play::new();
    play.rule(json!({"id": "r", "trigger": on("old"), "actions": [set_fact("n", json!(1))]}));
    let rule = json!({"id": "r", "name": "again", "trigger": on("new")});
    assert!(matches!(play.run(Input::Register { rule }), Err(RuleFault::Exists { .. })));
    play.run(Input::Update { id: "r".into(), updates: object(json!({"trigger": on("new")})) }).unwrap();
    play.emit("old", json!({}));
    assert_eq!(play.firings, 0);
    play.emit("new", json!({}));
    assert_eq!(play.firings, 1);
}

#[test]
fn w4_an_update_that_is_not_valid_changes_nothing() {
    let mut play = Play::new();
    play.rule(
        json!({"id": "r", "description": "d", "trigger": on("t"), "actions": [set_fact("n", json!(1))]}),
    );
    for updates in [json!({"trigger": null}), json!({"tags": 5}), json!({"group": "none"})] {
        let input = Input::Update { id: "r".into(), updates: object(updates) };
        assert!(matches!(play.run(input), Err(RuleFault::Invalid { .. })));
    }
    let updates = object(json!({"id": "other", "description": null, "createdAt": 5, "version": 77}));
    let Ok(Answer::Rule(rule)) = play.run(Input::Update { id: "r".into(), updates }) else { panic!() };
    assert_eq!(
        (&rule["id"], &rule["version"], &rule["createdAt"]),
        (&json!("r"), &json!(2), &json!(1_000_000))
    );
    assert_eq!(rule.get("description"), None);
    for input in [
        Input::Update { id: "x".into(), updates: object(json!({})) },
        Input::Unregister { id: "x".into() },
        Input::SetEnabled { id: "x".into(), enabled: true },
        Input::Rollback { id: "r".into(), version: 9 },
        Input::DeleteGroup { id: "x".into() },
        Input::UpdateGroup { id: "x".into(), updates: object(json!({})) },
        Input::Requeue { id: "x".into() },
        Input::Discard { id: "x".into() },
    ] {
        assert!(matches!(play.run(input), Err(RuleFault::NotFound { .. })));
    }
}

#[test]
fn the_history_is_bounded_and_its_numbers_are_not() {
    let mut play = small(|limits| limits.versions_per_rule = 3);
    play.rule(json!({"id": "r", "trigger": on("t")}));
    for priority in 0..6 {
        play.run(Input::Update { id: "r".into(), updates: object(json!({"priority": priority})) }).unwrap();
        play.restart();
    }
    let versions: Vec<_> = play.entries("v/r/").iter().map(|entry| entry["version"].clone()).collect();
    assert_eq!(versions, [5, 6, 7]);
}
