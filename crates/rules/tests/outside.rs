//! Calls, lookups and writes: what goes outside, and what comes back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::sync::Arc;

use common::{Play, emit, object, on, set_fact};
use dunlin_rules::fault::ActionFault;
use dunlin_rules::{
    Answer, ChangeKind, Effect, Input, Limits, OutgoingCall, ReportKind, StoreChange, StoreOperation,
    StoreRequest, Target, Written, limits,
};
use serde_json::{Value, json};

fn call(method: &str) -> Value {
    json!({"type": "call_service", "service": "s", "method": method, "args": [{"ref": "event.n"}]})
}

fn calling(play: &mut Play, actions: Value) {
    play.rule(json!({"id": "c", "trigger": on("go"), "actions": actions}));
}

fn one(play: &mut Play) -> Arc<OutgoingCall> {
    let mut calls = play.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

#[test]
fn a_call_is_tried_again_until_it_fails_for_good() {
    let mut play = Play::new();
    calling(&mut play, json!([call("m")]));
    play.emit("go", json!({"n": 5}));
    let first = one(&mut play);
    assert_eq!((first.attempts, first.due, first.failures), (limits::ATTEMPTS, play.world.now, 0));
    let expected = Target::Service { service: "s".into(), method: "m".into(), args: vec![json!(5)] };
    assert_eq!(first.target, expected);
    let mut waits = Vec::new();
    for failures in 1..limits::ATTEMPTS {
        play.failed(&first.id, "busy", true);
        play.restart();
        let again = one(&mut play);
        assert_eq!((again.failures, &again.id), (failures, &first.id), "known by its id");
        assert_eq!(play.engine.outstanding(), [Effect::Call(Arc::clone(&again))]);
        waits.push(again.due - play.world.now);
        play.world.now = again.due;
    }
    assert!(waits[0] <= 500 && waits.last() <= Some(&limits::MAX_BACKOFF_MS), "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] * 2), "{waits:?}");
    play.failed(&first.id, "busy", true);
    assert!(play.calls().is_empty() && play.engine.outstanding().is_empty());
    assert_eq!(play.reported(ReportKind::DeadLetter).len(), 1);
    let dead = play.entry(&format!("d/{}", first.id)).unwrap();
    assert_eq!((&dead["error"], &dead["call"]["failures"]), (&json!("busy"), &json!(limits::ATTEMPTS)));

    play.restart();
    play.run(Input::Requeue { id: first.id.clone() }).unwrap();
    assert_eq!((one(&mut play).failures, play.entries("d/").len()), (0, 0));
    play.failed(&first.id, "gone", false);
    play.run(Input::Discard { id: first.id.clone() }).unwrap();
    assert_eq!((play.entries("d/").len(), play.entries("x/").len()), (0, 0));
    assert_eq!(play.run(Input::CallDone { id: first.id.clone(), result: json!(1) }), Ok(Answer::Done(false)));
}

#[test]
fn a_webhook_waits_inside_of_try_and_the_rule_goes_on_later() {
    let mut play = Play::new();
    let hook = json!({"type": "webhook", "url": "https://example.org/${event.n}", "headers": {"X-N": "${event.n}"}, "body": {"n": {"ref": "event.n"}}, "attempts": 2});
    calling(
        &mut play,
        json!([
        {"type": "for_each", "collection": [1, 2], "as": "i", "actions": [
            {"type": "try_catch", "try": [hook, set_fact("ok:${var.i}", json!(true))],
             "catch": {"as": "e", "actions": [set_fact("bad:${var.i}", json!({"ref": "var.e.message"}))]}}]},
        emit("after", json!({}))]),
    );
    let go = play.emit("go", json!({"n": 5}));
    play.emit("other", json!({}));
    assert_eq!(play.topics(), ["go", "other"], "others go on meanwhile");
    let first = one(&mut play);
    let Target::Webhook { url, headers, body } = &first.target else { panic!("{first:?}") };
    assert_eq!(
        (&**url, headers, body),
        ("https://example.org/5", &object(json!({"X-N": "5"})), &json!({"n": 5}))
    );
    play.restart();
    play.done(&first.id);
    let second = one(&mut play);
    assert!(second.id != first.id && play.fact("ok:1").is_some());
    play.failed(&second.id, "no", true);
    assert_eq!(one(&mut play).failures, 1, "it was asked for two attempts");
    play.failed(&second.id, "no", true);
    assert_eq!((play.fact("bad:2"), play.fact("ok:2")), (Some(json!("no")), None));
    assert_eq!((play.entries("d/").len(), play.entries("k/").len(), play.entries("x/").len()), (0, 0, 0));
    let after = play.events.last().unwrap();
    assert_eq!(
        (&*after.topic, &after.causation_id),
        ("after", &Some(go.id.clone())),
        "its cause is remembered"
    );
}

#[test]
fn a_rule_that_changes_while_it_waits_does_not_go_on() {
    let waits = json!([{"type": "try_catch", "try": [call("m")], "finally": [set_fact("done", json!(1))]}]);
    let changes: [fn() -> Input; 4] = [
        || Input::Update { id: "c".into(), updates: object(json!({"priority": 3})) },
        || Input::SetEnabled { id: "c".into(), enabled: false },
        || Input::Unregister { id: "c".into() },
        || Input::UpdateGroup { id: "g".into(), updates: object(json!({"enabled": false})) },
    ];
    for change in changes {
        let mut play = Play::new();
        play.run(Input::CreateGroup { group: json!({"id": "g", "name": "g"}) }).unwrap();
        play.rule(json!({"id": "c", "group": "g", "trigger": on("go"), "actions": waits}));
        play.emit("go", json!({}));
        let waiting = one(&mut play);
        play.run(change()).unwrap();
        assert_eq!(play.reported(ReportKind::FiringDropped).len(), 1);
        assert_eq!(play.entries("k/").len(), 0);
        play.done(&waiting.id);
        assert_eq!((play.fact("done"), play.entries("x/").len()), (None, 0));
    }
}

#[test]
fn w19_the_outbox_is_bounded_and_so_are_dead_letters_and_what_waits() {
    let mut limits = Limits::default();
    (limits.outbox, limits.dead_letters, limits.waiting) = (2, 1, 0);
    let mut play = Play::with(limits);
    let tries = json!({"type": "try_catch", "try": [call("m")], "catch": {"as": "e", "actions": [set_fact("code", json!({"ref": "var.e.code"}))]}});
    calling(&mut play, json!([tries, call("a"), call("b"), call("c")]));
    play.emit("go", json!({}));
    let calls = play.calls();
    assert_eq!((calls.len(), play.fact("code")), (2, Some(json!("TOO_MANY_WAITING"))));
    assert!(play.reports[0].message.contains("OUTBOX_FULL"));
    for call in &calls {
        play.world.now += 1;
        play.failed(&call.id, "no", false);
    }
    let [dead] = &play.entries("d/")[..] else { panic!() };
    assert_eq!(dead["call"]["id"], json!(calls[1].id), "the oldest was thrown away");
    assert_eq!(play.reported(ReportKind::DeadLetter).len(), 3, "and that was reported");
}

#[test]
fn a_lookup_that_must_not_fail_is_reported_as_such() {
    let mut play = Play::new();
    play.rule(json!({"id": "l", "trigger": on("o"), "lookups": [
        {"name": "a", "service": "s", "method": "m", "args": []}, {"name": "b", "service": "s", "method": "n", "args": [], "onError": "fail"}],
        "actions": [set_fact("sum", json!([{"ref": "lookup.a"}, {"ref": "lookup.b"}]))]}));
    play.emit("o", json!({}));
    let [(firing, calls)] = &play.lookups()[..] else { panic!() };
    assert_eq!(calls.len(), 2);
    let answers = vec![Ok(json!(1).into())];
    play.run(Input::LookedUp { firing: firing.clone(), answers }).unwrap();
    assert_eq!(
        play.reported(ReportKind::FiringDropped)[0].message,
        "Lookup \"b\" failed: there was no answer"
    );
    play.emit("o", json!({}));
    let [(firing, _)] = &play.lookups()[..] else { panic!() };
    let answers = vec![Ok(json!(1).into()), Ok(json!(2).into())];
    play.run(Input::LookedUp { firing: firing.clone(), answers }).unwrap();
    assert_eq!(play.fact("sum"), Some(json!([1, 2])));
}

fn inserted(request: &StoreRequest) -> Result<Written, ActionFault> {
    let [StoreOperation::Insert { bucket, data }] = &request.operations[..] else {
        return Err(ActionFault { code: "FORBIDDEN".into(), message: "no".into() });
    };
    let record = Value::Object(data.clone());
    let change = StoreChange {
        bucket: bucket.as_str().into(),
        key: data["id"].clone(),
        kind: ChangeKind::Inserted,
        before: None,
        after: Some(record.clone().into()),
    };
    let changes = if request.watched.wants(bucket, ChangeKind::Inserted) { vec![change] } else { vec![] };
    Ok(Written { results: vec![record], changes })
}

#[test]
fn writes_trigger_rules_on_records_and_nobody_else() {
    let mut play = Play::new();
    play.world.write = Some(inserted);
    play.rule(json!({"id": "w", "trigger": on("go"), "runAs": {"roles": ["writer"]}, "actions": [
        {"type": "store_insert", "bucket": "orders", "data": {"id": {"ref": "event.n"}}, "as": "record"},
        set_fact("id", json!({"ref": "var.record.id"})),
        {"type": "try_catch", "try": [{"type": "store_delete", "bucket": "orders", "key": 5}],
         "catch": {"as": "e", "actions": [set_fact("code", json!({"ref": "var.e.code"}))]}}]}));
    play.rule(
        json!({"id": "all", "trigger": on("*"), "actions": [set_fact("all:${event.bucket}", json!(1))]}),
    );
    play.rule(json!({"id": "seen", "trigger": on("bucket.orders.inserted"), "actions": [
        set_fact("seen", json!({"ref": "event.after.id"})), emit("told", json!({}))]}));
    assert!(play.engine.watched().wants("orders", ChangeKind::Inserted));
    assert!(!play.engine.watched().wants_bucket("users"));
    let go = play.emit("go", json!({"n": 7}));
    let facts = ["id", "seen", "code", "all:orders"].map(|key| play.fact(key));
    assert_eq!(facts, [Some(json!(7)), Some(json!(7)), Some(json!("FORBIDDEN")), None]);
    assert_eq!(play.topics(), ["go", "told"], "changes of records are no events for subscribers");
    assert!(play.events[1].causation_id.is_some() && play.events[1].causation_id != Some(go.id.clone()));
    assert_eq!(play.world.written[0].run_as.roles, ["writer".into()]);

    let change = StoreChange {
        bucket: "orders".into(),
        key: json!(9),
        kind: ChangeKind::Inserted,
        before: None,
        after: Some(json!({"id": 9}).into()),
    };
    play.run(Input::Stored(change)).unwrap();
    assert_eq!(play.fact("seen"), Some(json!(9)));
    play.run(Input::SetEnabled { id: "seen".into(), enabled: false }).unwrap();
    assert!(play.engine.watched().is_empty());
}

#[test]
fn w8_a_timer_that_is_set_again_or_cancelled_by_its_own_rule() {
    let mut play = Play::new();
    let timer = json!({"name": "t", "duration": 10, "repeat": {"interval": 10}, "onExpire": {"topic": "tick", "data": {}}});
    play.rule(json!({"id": "again", "trigger": {"type": "timer", "name": "t"}, "actions": [
        {"type": "conditional", "conditions": [{"source": {"type": "fact", "pattern": "stop"}, "operator": "exists"}],
         "then": [{"type": "cancel_timer", "name": "t"}],
         "else": [{"type": "set_timer", "timer": {"name": "t", "duration": 25, "onExpire": {"topic": "tick", "data": {}}}}]}]}));
    play.run(Input::SetTimer { timer: timer.clone() }).unwrap();
    play.wait(10);
    assert_eq!(play.entry("t/t").unwrap()["expiresAt"], json!(play.world.now + 25));
    play.set("stop", json!(1));
    play.run(Input::SetTimer { timer }).unwrap();
    play.wait(100);
    assert_eq!((play.entry("t/t"), play.engine.next_wake()), (None, None));
}
