//! What somebody found who wanted to break the engine: loading under other bounds, amplification, neighbours of a rule that loops.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::sync::Arc;

use common::{Play, emit, name, object, on, set_fact};
use dunlin_rules::{
    Answer, ChangeKind, Input, Limits, ReportKind, RuleFault, StoreChange, Written, dry_run, limits,
};
use serde_json::{Value, json};

fn small(change: impl FnOnce(&mut Limits)) -> Play {
    let mut limits = Limits::default();
    change(&mut limits);
    Play::with(limits)
}

fn kinds(play: &Play) -> Vec<ReportKind> {
    play.reports.iter().map(|report| report.kind).collect()
}

fn temporal(pattern: Value) -> Value {
    json!({"type": "temporal", "pattern": pattern})
}

#[test]
fn a_bound_that_was_lowered_does_not_keep_the_engine_from_starting() {
    let mut play = Play::new();
    let count =
        temporal(json!({"type": "count", "event": {"topic": "a"}, "threshold": 5000, "window": "1m"}));
    play.rule(json!({"id": "count", "trigger": count, "actions": [emit("many", json!({}))]}));
    play.emit("a", json!({}));
    play.limits.events_per_group = 100;
    play.restart();
    let rule =
        json!({"id": "other", "name": "n", "trigger": play.entry("r/count").unwrap()["rule"]["trigger"]});
    let refused = play.run(Input::Register { rule });
    assert!(matches!(refused, Err(RuleFault::Invalid { .. })), "new rules keep to it: {refused:?}");
}

#[test]
fn an_answer_that_could_not_be_read_again_is_none() {
    let mut play = Play::new();
    let call = json!({"type": "call_service", "service": "s", "method": "m"});
    play.rule(json!({"id": "l", "trigger": on("go"), "lookups": [{"name": "deep", "service": "s", "method": "l", "onError": "fail"}],
        "actions": [{"type": "try_catch", "try": [call], "finally": [emit("after", json!({}))]}]}));
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    for answer in [deep, json!("x".repeat(limits::MAX_VALUE_BYTES))] {
        play.emit("go", json!({}));
        let (firing, _) = play.lookups().remove(0);
        play.run(Input::LookedUp { firing, answers: vec![Ok(Arc::new(answer))] }).unwrap();
        assert_eq!(play.entries("k/"), Vec::<Value>::new());
        play.restart();
    }
    assert_eq!(kinds(&play), [ReportKind::FiringDropped; 2]);
}

#[test]
fn an_event_that_moves_many_sequences_is_written_so_often_as_there_is_room() {
    let mut play = Play::new();
    let events = json!([{"topic": "a"}, {"topic": "b"}, {"topic": "c"}]);
    let sequence = temporal(json!({"type": "sequence", "events": events, "within": "1h"}));
    play.rule(json!({"id": "s", "trigger": sequence, "actions": [emit("done", json!({}))]}));
    for n in 0..1000 {
        play.emit("a", json!({"n": n}));
    }
    let large = json!({"text": "x".repeat(900_000)});
    let input =
        Input::Emit { topic: "b".into(), data: object(large), correlation_id: None, causation_id: None };
    let ran = play.engine.run(input, &mut play.world);
    let bytes: usize = ran.changes.iter().map(|change| format!("{change:?}").len()).sum();
    assert!(bytes < 2 * limits::MAX_PATTERN_BYTES, "{bytes}");
    play.take(&ran);
    assert_eq!(kinds(&play), [ReportKind::PatternTruncated]);
    play.restart();
    play.emit("c", json!({}));
    let done = play.topics().iter().filter(|topic| **topic == "done").count();
    assert!((1..100).contains(&done), "the newest have stayed: {done}");
}

#[test]
fn what_patterns_take_is_part_of_the_steps() {
    let mut play = small(|limits| limits.steps = 200_000);
    let events = vec![json!({"topic": "a"})].into_iter().chain((0..500).map(|_| json!({"topic": "b"})));
    let sequence =
        temporal(json!({"type": "sequence", "events": events.collect::<Vec<_>>(), "within": "1h"}));
    play.rule(json!({"id": "s", "trigger": sequence, "actions": [emit("done", json!({}))]}));
    play.rule(json!({"id": "many", "trigger": on("go"), "actions": [
        {"type": "for_each", "collection": {"ref": "event.list"}, "as": "i", "actions": [emit("b", json!({}))]}]}));
    for _ in 0..1000 {
        play.emit("a", json!({}));
    }
    play.emit("go", json!({"list": (0..400).collect::<Vec<_>>()}));
    assert_eq!(kinds(&play), [ReportKind::StepsExceeded]);
}

#[test]
fn a_window_tells_of_its_newest_events_and_counts_all() {
    let mut play = Play::new();
    let count =
        temporal(json!({"type": "count", "event": {"topic": "a"}, "threshold": 2000, "window": "1m"}));
    play.rule(json!({"id": "c", "trigger": count, "actions": [
        emit("many", json!({"count": {"ref": "trigger.count"}, "kept": {"ref": "trigger.events.length"},
            "first": {"ref": "matched.0.n"}, "last": {"ref": "trigger.events.999.n"}}))]}));
    for n in 0..2000 {
        play.emit("a", json!({"n": n}));
    }
    let many = play.events.last().unwrap();
    let expected = json!({"count": 2000, "kept": 1000, "first": 1000, "last": 1999});
    assert_eq!((&*many.topic, Value::Object(many.data.as_ref().clone())), ("many", expected));

    let sum = temporal(json!({"type": "count", "event": {"topic": "big"}, "threshold": 3, "window": "1m"}));
    play.rule(json!({"id": "big", "trigger": sum, "actions": [emit("kept", json!({"n": {"ref": "trigger.events.length"}, "last": {"ref": "trigger.events.1.n"}}))]}));
    for n in 0..3 {
        play.emit("big", json!({"n": n, "text": "x".repeat(400_000)}));
    }
    assert_eq!(Value::Object(play.events.last().unwrap().data.as_ref().clone()), json!({"n": 2, "last": 2}));
}

/// A rule that loops until a budget is used up, one that matches the same event behind it, and one on the loop's own topic.
fn neighbours(play: &mut Play) {
    let twice = json!([emit("a", json!({})), emit("a", json!({}))]);
    play.rule(json!({"id": "start", "priority": 5, "trigger": on("go"), "actions": [emit("a", json!({}))]}));
    play.rule(json!({"id": "twice", "trigger": on("a"), "actions": twice}));
    play.rule(json!({"id": "next", "trigger": on("go"), "actions": [set_fact("next", json!(1)), emit("b", json!({}))]}));
    play.rule(
        json!({"id": "far", "trigger": on("b"), "priority": -5, "actions": [set_fact("far", json!(1))]}),
    );
}

#[test]
fn a_rule_that_loops_costs_its_neighbours_nothing() {
    type Small = fn(&mut Limits);
    let table: [(Small, ReportKind); 3] = [
        (|limits| limits.steps = 10_000, ReportKind::StepsExceeded),
        (|limits| limits.firings = 100, ReportKind::FiringsExceeded),
        (|limits| limits.events = 100, ReportKind::EventsExceeded),
    ];
    for (bound, kind) in table {
        let mut play = small(|limits| {
            limits.depth = 1_000_000;
            bound(limits);
        });
        neighbours(&mut play);
        play.emit("go", json!({}));
        assert_eq!(kinds(&play), [kind]);
        let done = (play.fact("next"), play.fact("far"));
        assert_eq!(done, (Some(json!(1)), Some(json!(1))), "{kind:?}");
        assert!(play.firings <= 10_000, "{}", play.firings);
    }
}

#[test]
fn many_rules_that_loop_end_all_the_same() {
    let mut play = small(|limits| {
        limits.depth = 1_000_000;
        limits.steps = 10_000;
    });
    for n in 0..200 {
        let again = emit(&format!("a{n}"), json!({}));
        play.rule(json!({"id": format!("go{n}"), "trigger": on("go"), "actions": [again]}));
        play.rule(json!({"id": format!("a{n}"), "trigger": on(&format!("a{n}")), "actions": [again]}));
    }
    play.emit("go", json!({}));
    assert!(play.topics().len() < 20_000, "twice the steps at most: {}", play.topics().len());
    let reported = play.reported(ReportKind::StepsExceeded);
    assert!((2..20).contains(&reported.len()), "each loop is told of: {}", reported.len());
    assert!(reported[0].chain.iter().any(|link| link.rule.as_deref() == Some("go0")));
}

#[test]
fn histories_of_rules_that_are_gone_are_bounded() {
    let mut play = small(|limits| limits.gone_histories = 3);
    for n in 0..5 {
        play.world.now += 1;
        play.rule(json!({"id": format!("r{n}"), "trigger": on("a"), "actions": [emit("b", json!({}))]}));
    }
    for n in [3, 0, 1, 4, 2] {
        play.world.now += 1;
        play.run(Input::Unregister { id: format!("r{n}").into() }).unwrap();
    }
    let kept: Vec<_> = play.entries("v/").iter().map(|entry| entry["rule"]["id"].clone()).collect();
    assert_eq!(kept, ["r1", "r1", "r2", "r2", "r4", "r4"].map(Value::from), "those that went last");
    play.restart();
    play.run(Input::Rollback { id: "r1".into(), version: 1 }).unwrap();
    play.world.now += 1;
    play.rule(json!({"id": "r9", "trigger": on("a")}));
    play.run(Input::Unregister { id: "r9".into() }).unwrap();
    assert_eq!(play.entries("v/r2/").len(), 2, "one that has come back is none of them");
    play.rule(json!({"id": "r0", "trigger": on("a")}));
    assert!(play.entry("v/r0/0000000001").is_some(), "what is forgotten begins anew");
}

#[test]
fn a_trial_takes_the_steps_of_one_input() {
    let thousand: Vec<_> = (0..1000).collect();
    let each = |name: &str, actions: Value| json!({"type": "for_each", "collection": thousand, "as": name, "actions": actions});
    let inner = each("b", json!([set_fact("turn", json!({"ref": "var.b"}))]));
    let event = json!({"topic": "go"});
    let mut limits = Limits::default();
    limits.steps = 100_000;
    let trial = json!({"rule": {"id": "r", "name": "r", "trigger": on("go"), "actions": [each("a", json!([inner]))]},
        "events": vec![event.clone(); 500], "event": event});
    let fault = dry_run::test(&trial, &limits).unwrap_err();
    assert!(fault.to_string().contains("steps"), "{fault}");
}

#[test]
fn a_number_that_is_written_otherwise_is_no_change() {
    let mut play = Play::new();
    play.rule(json!({"id": "f", "trigger": {"type": "fact", "pattern": "x", "on": "changed"}, "actions": [emit("changed", json!({}))]}));
    for (value, expected) in
        [(json!(1), 1), (json!(1.0), 1), (json!({"a": [2]}), 2), (json!({"a": [2.0]}), 2), (json!(true), 3)]
    {
        play.set("x", value);
        assert_eq!(play.topics().len(), expected);
    }
}

#[test]
fn records_that_are_written_are_part_of_the_steps() {
    let mut play = small(|limits| limits.steps = 100_000);
    play.world.write = Some(|_| {
        let record = json!({"text": "x".repeat(500_000)});
        Ok(Written { results: vec![record], changes: Vec::new() })
    });
    let update = json!({"type": "store_update", "bucket": "b", "key": 1, "data": {"n": 1}});
    play.rule(json!({"id": "w", "trigger": on("go"), "actions": [
        {"type": "for_each", "collection": {"ref": "event.list"}, "as": "i", "actions": [update]}]}));
    play.emit("go", json!({"list": (0..500).collect::<Vec<_>>()}));
    assert_eq!(kinds(&play), [ReportKind::StepsExceeded]);
    assert!(play.world.written.len() < 20, "{}", play.world.written.len());
}

#[test]
fn a_transaction_of_one_keeps_a_list() {
    let mut play = Play::new();
    play.world.write = Some(|_| Ok(Written { results: vec![json!({"id": 1})], changes: Vec::new() }));
    let operations = json!([{"op": "insert", "bucket": "b", "data": {}}]);
    play.rule(json!({"id": "t", "trigger": on("go"), "actions": [
        {"type": "store_transaction", "operations": operations, "as": "x"}, set_fact("x", json!({"ref": "var.x"})),
        {"type": "store_insert", "bucket": "b", "data": {}, "as": "y"}, set_fact("y", json!({"ref": "var.y"}))]}));
    play.emit("go", json!({}));
    assert_eq!((play.fact("x"), play.fact("y")), (Some(json!([{"id": 1}])), Some(json!({"id": 1}))));
}

#[test]
fn ids_that_everything_inherits_are_bounded() {
    let mut play = Play::new();
    let long: Arc<str> = "x".repeat(limits::MAX_NAME_BYTES + 1).into();
    for (correlation_id, causation_id) in [(Some(Arc::clone(&long)), None), (None, Some(long))] {
        let input = Input::Emit { topic: "a".into(), data: object(json!({})), correlation_id, causation_id };
        let fault = play.run(input).unwrap_err();
        assert!(
            matches!(&fault, RuleFault::Invalid { issues, .. } if issues[0].code == "too_long"),
            "{fault}"
        );
    }
    assert!(play.events.is_empty());
}

#[test]
fn what_is_remembered_to_explain_is_bounded_in_bytes() {
    let mut play = Play::new();
    play.rule(json!({"id": "r", "trigger": on("a"), "actions": [emit("b", json!({}))]}));
    let first = play.emit("a", json!({"text": "x".repeat(1_000_000)}));
    assert!(play.engine.explain("r", &first.id).is_ok());
    let turns = limits::MAX_TRACED_BYTES / 1_000_000 + 1;
    for _ in 0..turns {
        play.emit("a", json!({"text": "x".repeat(1_000_000)}));
        play.events.clear();
    }
    assert!(matches!(play.engine.explain("r", &first.id), Err(RuleFault::NotFound { .. })));
}

#[test]
fn a_change_of_a_record_is_explained_as_it_is_matched() {
    let mut play = Play::new();
    let count = |topic: &str| {
        temporal(json!({"type": "count", "event": {"topic": topic}, "threshold": 9, "window": "1m"}))
    };
    play.rule(json!({"id": "all", "trigger": count("*")}));
    play.rule(json!({"id": "shop", "trigger": count("bucket.*.inserted")}));
    play.rule(json!({"id": "heard", "trigger": on("bucket.*"), "actions": [set_fact("id", json!({"ref": "event.key"})), emit("seen", json!({}))]}));
    play.run(Input::Stored(StoreChange {
        bucket: "shop.users".into(),
        key: json!(1),
        kind: ChangeKind::Inserted,
        before: None,
        after: Some(Arc::new(json!({"id": 1}))),
    }))
    .unwrap();
    let change = play.events[0].causation_id.clone().unwrap();
    let matches = |rule: &str| play.engine.explain(rule, &change).unwrap()["trigger"]["matches"].clone();
    assert_eq!((matches("all"), matches("shop"), matches("heard")), (json!(false), json!(true), json!(true)));
}

#[test]
fn priorities_without_a_difference_have_none() {
    let mut play = Play::new();
    play.rule(
        serde_json::from_str(
            r#"{"id": "first", "trigger": {"type": "event", "topic": "go"}, "priority": -0.0,
        "actions": [{"type": "emit_event", "topic": "first", "data": {}}]}"#,
        )
        .unwrap(),
    );
    play.rule(
        json!({"id": "second", "trigger": on("go"), "priority": 0, "actions": [emit("second", json!({}))]}),
    );
    play.emit("go", json!({}));
    assert_eq!(play.topics(), ["go", "first", "second"]);
}

#[test]
fn a_group_with_many_firings_that_wait_is_switched_off_at_one_go() {
    let mut play = Play::new();
    play.run(Input::CreateGroup { group: json!({"id": "g", "name": "g"}) }).unwrap();
    let lookups = json!([{"name": "l", "service": "s", "method": "m"}]);
    for n in 0..2_000 {
        play.rule(json!({"id": format!("r{n}"), "group": "g", "trigger": on("go"), "lookups": lookups}));
    }
    play.rule(json!({"id": "free", "trigger": on("go"), "lookups": lookups}));
    for _ in 0..4 {
        play.emit("go", json!({}));
    }
    assert_eq!(play.entries("k/").len(), 8_004);
    play.run(Input::UpdateGroup { id: "g".into(), updates: object(json!({"enabled": false})) }).unwrap();
    assert_eq!(play.entries("k/").len(), 4);
    assert_eq!(play.reported(ReportKind::FiringDropped).len(), limits::MAX_REPORTS);
}

#[test]
fn ids_with_slashes_do_not_meet() {
    let mut play = Play::new();
    let sequence = temporal(json!({"type": "sequence", "groupBy": "g", "within": "1h",
        "events": [{"topic": "a"}, {"topic": "b"}]}));
    for id in ["a", "a/b", "a/b/0000000001", "a%2Fb"] {
        play.rule(json!({"id": id, "trigger": sequence, "actions": [emit("done", json!({"id": id}))]}));
    }
    play.emit("a", json!({"g": "b/x"}));
    play.emit("a", json!({"g": "x"}));
    play.run(Input::Unregister { id: "a".into() }).unwrap();
    play.restart();
    play.emit("b", json!({"g": "x"}));
    play.emit("b", json!({"g": "b/x"}));
    assert_eq!(play.topics().iter().filter(|topic| **topic == "done").count(), 6);
    assert_eq!(play.entries("p/"), Vec::<Value>::new());
    play.run(Input::Rollback { id: "a".into(), version: 1 }).unwrap();
    assert_eq!(play.entry("v/a/0000000003").unwrap()["changeType"], "rolled_back");
}

#[test]
fn every_change_of_a_rule_is_undone_by_what_was_there_before() {
    let mut play = Play::new();
    let sequence = temporal(json!({"type": "sequence", "groupBy": "g", "within": "1h",
        "events": [{"topic": "a"}, {"topic": "b"}]}));
    play.rule(json!({"id": "s", "trigger": sequence, "actions": [emit("done", json!({}))]}));
    play.emit("a", json!({"g": 1}));
    let update = |updates: Value| Input::Update { id: "s".into(), updates: object(updates) };
    for vain in [
        Input::SetEnabled { id: "s".into(), enabled: false },
        Input::Unregister { id: "s".into() },
        update(json!({"trigger": on("a")})),
        update(json!({"enabled": false})),
    ] {
        let ran = play.engine.run(vain, &mut play.world);
        ran.answer.unwrap();
        let before = ran.changes.iter().rev().map(|change| {
            play.log.get(&name(change)).cloned().unwrap_or_else(|| match change.clone() {
                dunlin_rules::Change::Fact { key, .. } => dunlin_rules::Change::Fact { key, fact: None },
                dunlin_rules::Change::Entry { key, .. } => dunlin_rules::Change::Entry { key, value: None },
            })
        });
        let before: Vec<_> = before.collect();
        play.engine.load(before).unwrap();
    }
    assert_eq!(play.run(update(json!({"priority": 3}))).map(|_| ()), Ok(()));
    play.emit("b", json!({"g": 1}));
    assert_eq!(play.topics(), ["a", "b", "done"], "another priority is not another pattern");
    assert!(matches!(play.run(update(json!({"name": null}))), Err(RuleFault::Invalid { .. })));
    assert!(matches!(play.run(Input::Tick), Ok(Answer::Done(false))));
}

#[test]
fn stats_tell_of_patterns_that_are_open() {
    let mut play = Play::new();
    let count = temporal(
        json!({"type": "count", "event": {"topic": "a"}, "threshold": 9, "window": "1m", "groupBy": "g"}),
    );
    play.rule(json!({"id": "c", "trigger": count}));
    play.emit("a", json!({"g": 1}));
    play.emit("a", json!({"g": 2}));
    play.emit("a", json!({"g": 2}));
    assert_eq!(play.engine.stats()["temporal"], json!({"patterns": 1, "openGroups": 2}));
    play.wait(60_001);
    assert_eq!(play.engine.stats()["temporal"], json!({"patterns": 1, "openGroups": 0}));
}

#[test]
fn rules_that_wait_with_a_copy_of_a_large_event_are_part_of_the_steps() {
    let mut play = small(|limits| limits.steps = 100_000);
    let lookups = json!([{"name": "l", "service": "s", "method": "m"}]);
    for n in 0..500 {
        play.rule(json!({"id": format!("r{n}"), "trigger": on("go"), "lookups": lookups}));
    }
    play.emit("go", json!({"text": "x".repeat(640_000)}));
    let waiting = play.entries("k/").len();
    assert!((1..100).contains(&waiting), "{waiting}");
    assert!(kinds(&play).contains(&ReportKind::StepsExceeded));
}
