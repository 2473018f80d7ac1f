//! The worked scenarios of the specification, with the outcomes that it recommends, and the weak points that they are about.

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

fn s1_rule() -> Value {
    json!({
        "id": "vip-discount", "name": "VIP discount", "priority": 50, "tags": ["orders"],
        "trigger": on("order.created"),
        "conditions": [
            {"source": {"type": "fact", "pattern": "cust:${event.cust}:vip"}, "operator": "eq", "value": true},
            {"source": {"type": "event", "field": "total"}, "operator": "gte", "value": {"ref": "fact.cfg:min"}},
        ],
        "actions": [
            set_fact("order:${event.id}:discount", json!({"ref": "fact.cust:${event.cust}:pct"})),
            emit("discount.granted", json!({"id": {"ref": "event.id"}, "missing": {"ref": "event.nope"}})),
        ],
    })
}

#[test]
fn s1_conditions_and_references() {
    let mut play = Play::new();
    play.rule(s1_rule());
    for (key, value) in [("cfg:min", json!(100)), ("cust:c1:vip", json!(true)), ("cust:c1:pct", json!(15))] {
        play.set(key, value);
    }
    play.emit("order.created", json!({"id": "o1", "cust": "c1", "total": 99}));
    play.emit("order.created", json!({"id": "o3", "cust": "c2", "total": 500}));
    assert_eq!((play.firings, play.topics().len()), (0, 2));
    play.emit("order.created", json!({"id": "o2", "cust": "c1", "total": 100}));
    assert_eq!(play.fact("order:o2:discount"), Some(json!(15)));
    let granted = play.events.last().unwrap();
    assert_eq!(&*granted.topic, "discount.granted");
    assert_eq!(Value::Object((*granted.data).clone()), json!({"id": "o2", "missing": null}));
}

#[test]
fn s2_fact_trigger() {
    let mut play = Play::new();
    play.rule(json!({
        "id": "neg", "trigger": {"type": "fact", "pattern": "acct:*:bal"},
        "conditions": [{"source": {"type": "event", "field": "fact.value"}, "operator": "lt", "value": 0}],
        "actions": [
            set_fact("neg:${trigger.fact.key}", json!({"ref": "event.fact.version"})),
            emit("overdrawn", json!({"k": {"ref": "trigger.fact.key"}, "s": "${trigger.fact.key}"})),
        ],
    }));
    play.set("acct:9:bal", json!(-5));
    assert_eq!(play.fact("neg:acct:9:bal"), Some(json!(1)));
    let event = play.events.last().unwrap();
    assert_eq!(Value::Object((*event.data).clone()), json!({"k": "acct:9:bal", "s": "acct:9:bal"}));
    assert_eq!((serde_json::to_value(event.source).unwrap(), &event.correlation_id), (json!("rule"), &None));
    assert_eq!(event.causation_id, None, "the fact was set by a client");
    play.set("acct:9:bal", json!(-5));
    assert_eq!(play.fact("neg:acct:9:bal"), Some(json!(2)));
    play.set("acct:9:x:bal", json!(-5));
    assert_eq!(play.firings, 2);
}

#[test]
fn s3_depth_limit() {
    let mut play = small(|limits| limits.depth = 3);
    play.rule(json!({"id": "ping", "trigger": on("ping"), "actions": [emit("ping", json!({}))]}));
    play.emit("ping", json!({}));
    assert_eq!((play.topics(), play.firings), (vec!["ping"; 4], 3));
    let stats = play.engine.stats();
    assert_eq!((&stats["eventsProcessed"], &stats["rulesExecuted"]), (&json!(4), &json!(3)));
    assert_eq!(stats["droppedTriggers"], json!(1));
    let [report] = play.reported(ReportKind::DepthExceeded)[..] else { panic!("{:?}", play.reports) };
    assert_eq!(report.chain.len(), 4);
    assert_eq!(report.chain[0].id.as_ref(), Some(&play.events[0].id), "the input first");
    assert_eq!(report.chain.iter().filter(|link| link.rule.as_deref() == Some("ping")).count(), 3);
}

#[test]
fn s4_w1_facts_set_by_rules_trigger_rules() {
    let mut play = Play::new();
    play.rule(json!({"id": "r1", "trigger": on("go"), "actions": [set_fact("x", json!(1))]}));
    let fact = json!({"type": "fact", "pattern": "x"});
    play.rule(
        json!({"id": "r2", "trigger": fact, "actions": [set_fact("y", json!(2)), emit("y", json!({}))]}),
    );
    let deleted = json!({"type": "fact", "pattern": "x", "on": "deleted"});
    play.rule(json!({"id": "r3", "trigger": deleted, "actions": [set_fact("gone", json!({"ref": "event.fact.value"}))]}));
    let go = play.emit("go", json!({}));
    assert_eq!(play.fact("y"), Some(json!(2)));
    assert_eq!(play.events[1].causation_id.as_ref(), Some(&go.id), "a fact hands its cause on");
    assert_eq!(play.run(Input::DeleteFact { key: "x".into() }), Ok(Answer::Done(true)));
    assert_eq!(play.fact("gone"), Some(json!(1)));
    play.rule(json!({"id": "s", "trigger": on("quiet"), "actions": [
        {"type": "set_fact", "key": "x", "value": 3, "silent": true}, {"type": "delete_fact", "key": "x", "silent": true}]}));
    let before = play.firings;
    play.emit("quiet", json!({}));
    assert_eq!(play.firings, before + 1, "unless they are silent");
}

#[test]
fn s5_w3_one_rule_after_the_other() {
    let mut play = Play::new();
    let sees = |id: &str, priority: i32, fact: &str, then: &str| {
        json!({"id": id, "priority": priority, "trigger": on("go"),
            "conditions": [{"source": {"type": "fact", "pattern": fact}, "operator": "eq", "value": 1}],
            "actions": [set_fact(then, json!(true))]})
    };
    play.rule(sees("c", 4, "b", "sawB"));
    play.rule(sees("b", 5, "a", "sawA"));
    play.rule(json!({"id": "a", "priority": 10, "trigger": on("go"),
        "actions": [set_fact("a", json!(1)), set_fact("b", json!(1))]}));
    play.emit("go", json!({}));
    let facts = ["a", "b", "sawA", "sawB"].map(|key| play.fact(key).is_some());
    assert_eq!(facts, [true; 4]);
}

#[test]
fn w3_breadth_is_not_depth() {
    let mut play = Play::new();
    for n in 0..30 {
        play.rule(json!({"id": format!("a{n}"), "trigger": on("a"), "actions": [emit("b", json!({}))]}));
    }
    play.rule(json!({"id": "b", "trigger": on("b"), "actions": [set_fact("n", json!(1))]}));
    play.emit("a", json!({}));
    assert_eq!((play.firings, play.reports.len()), (60, 0));
}

#[test]
fn s6_failing_actions() {
    let mut play = Play::new();
    let call = |method: &str, args: Value| json!({"type": "call_service", "service": "s", "method": method, "args": args});
    play.rule(json!({"id": "tc", "trigger": on("tc"), "actions": [
        {"type": "try_catch", "try": [call("ok", json!([1])), call("boom", json!([])), call("ok", json!([2]))],
         "catch": {"as": "er", "actions": [set_fact("err", json!({"ref": "var.er.message"})), set_fact("code", json!({"ref": "var.er.code"}))]},
         "finally": [set_fact("fin", json!(true))]},
        call("boom", json!([])), set_fact("continued", json!(true))]}));
    play.emit("tc", json!({}));
    let mut made = Vec::new();
    while let Some(call) = play.calls().pop() {
        let dunlin_rules::Target::Service { method, args, .. } = &call.target else { panic!("{call:?}") };
        made.push(format!("{method}{}", Value::from(args.clone())));
        if &**method == "ok" {
            play.done(&call.id);
        } else {
            play.restart(); // Whatever waits goes on after a restart.
            play.failed(&call.id, "kaput", false);
        }
    }
    assert_eq!(made, ["ok[1]", "boom[]", "boom[]"]);
    let facts = ["err", "code", "fin", "continued"].map(|key| play.fact(key));
    assert_eq!(facts, [json!("kaput"), json!("CALL_FAILED"), json!(true), json!(true)].map(Some));
    assert_eq!(play.firings, 1, "counts as carried out, once");
    assert_eq!(play.reported(ReportKind::DeadLetter).len(), 1, "only the call that nobody waited for");
}

#[test]
fn s7_loop() {
    let mut play = Play::new();
    play.rule(json!({"id": "cart", "trigger": on("cart"), "actions": [
        {"type": "for_each", "collection": {"ref": "event.items"}, "as": "it", "maxIterations": 3, "actions": [
            {"type": "conditional",
             "conditions": [{"source": {"type": "context", "key": "it.qty"}, "operator": "gt", "value": 0}],
             "then": [set_fact("stock:${var.it.sku}", json!({"ref": "var.it_index"}))],
             "else": [emit("out", json!({"sku": {"ref": "var.it.sku"}}))]}]}]}));
    let item = |sku: &str, qty: i32| json!({"sku": sku, "qty": qty});
    play.emit("cart", json!({"items": [item("a", 1), item("b", 0), item("c", 2), item("d", 2)]}));
    assert_eq!(
        [play.fact("stock:a"), play.fact("stock:c"), play.fact("stock:d")],
        [Some(json!(0)), Some(json!(2)), None]
    );
    assert_eq!(Value::Object((*play.events[1].data).clone()), json!({"sku": "b"}));
    play.emit("cart", json!({"items": "no"}));
    let failed = play.reported(ReportKind::ActionFailed);
    assert!(failed[0].message.starts_with("for_each: collection must be an array, got string"), "{failed:?}");
}

#[test]
fn s7_a_loop_gives_outer_variables_back() {
    let mut play = Play::new();
    play.rule(json!({"id": "l", "trigger": on("l"), "actions": [
        {"type": "for_each", "collection": [1, 2], "as": "x", "actions": [
            {"type": "for_each", "collection": [7], "as": "x", "actions": [set_fact("in", json!({"ref": "var.x"}))]},
            set_fact("out:${var.x}", json!({"ref": "var.x_index"}))]},
        set_fact("after", json!({"ref": "var.x"}))]}));
    play.emit("l", json!({}));
    let facts = ["in", "out:1", "out:2", "after"].map(|key| play.fact(key));
    assert_eq!(facts, [json!(7), json!(0), json!(1), json!(null)].map(Some));
}

#[test]
fn s8_w25_correlation_and_causation() {
    let mut play = Play::new();
    play.rule(json!({"id": "a", "trigger": on("a"), "actions": [
        emit("b", json!({})),
        {"type": "set_timer", "timer": {"name": "t:${event.id}", "duration": 10,
            "onExpire": {"topic": "late", "data": {"id": {"ref": "event.id"}}}}}]}));
    let (correlation_id, causation_id) = (Some("corr-1".into()), Some("cause-0".into()));
    let input =
        Input::Emit { topic: "a".into(), data: object(json!({"id": 7})), correlation_id, causation_id };
    play.run(input).unwrap();
    play.restart();
    play.wait(10);
    let [a, b, late] = &play.events[..] else { panic!("{:?}", play.topics()) };
    assert!(play.events.iter().all(|event| event.correlation_id.as_deref() == Some("corr-1")));
    assert_eq!((a.causation_id.as_deref(), &b.causation_id), (Some("cause-0"), &Some(a.id.clone())));
    assert_eq!((&*late.topic, late.data.get("id")), ("late", Some(&json!(7))));
    assert!(late.causation_id.is_some() && late.causation_id != Some(a.id.clone()));
}

#[test]
fn s9_timer_order() {
    let mut play = Play::new();
    play.rule(json!({"id": "r1", "trigger": {"type": "timer", "name": "pay:*"},
        "conditions": [{"source": {"type": "event", "field": "order"}, "operator": "eq", "value": 5}],
        "actions": [emit("from.timer.rule", json!({"n": {"ref": "trigger.timerName"}}))]}));
    play.rule(
        json!({"id": "r2", "trigger": on("pay.expired"), "actions": [emit("from.event.rule", json!({}))]}),
    );
    let timer = |name: &str, ms: u64| Input::SetTimer {
        timer: json!({"name": name, "duration": ms, "onExpire": {"topic": "pay.expired", "data": {"order": 5}}}),
    };
    play.run(timer("pay:5", 10)).unwrap();
    play.wait(10);
    assert_eq!(play.topics(), ["from.timer.rule", "pay.expired", "from.event.rule"]);
    assert_eq!(play.events[0].data.get("n"), Some(&json!("pay:5")));
    play.run(timer("x", 1000)).unwrap();
    play.run(timer("x", 5000)).unwrap();
    assert_eq!(play.entries("t/").len(), 1);
    let cancel = || Input::CancelTimer { name: "x".into() };
    assert_eq!(play.run(cancel()), Ok(Answer::Done(true)));
    assert_eq!(play.run(cancel()), Ok(Answer::Done(false)));
}

#[test]
fn s10_groups() {
    let mut play = Play::new();
    let group = |enabled: bool| object(json!({"enabled": enabled}));
    play.run(Input::CreateGroup { group: json!({"id": "g", "name": "G", "enabled": false}) }).unwrap();
    play.rule(json!({"id": "x", "group": "g", "trigger": on("go"), "actions": [set_fact("x", json!(1))]}));
    let fires = |play: &mut Play| {
        let before = play.firings;
        play.emit("go", json!({}));
        play.firings > before
    };
    assert!(!fires(&mut play));
    play.run(Input::UpdateGroup { id: "g".into(), updates: group(true) }).unwrap();
    assert!(fires(&mut play));
    play.run(Input::SetEnabled { id: "x".into(), enabled: false }).unwrap();
    assert!(!fires(&mut play));
    play.run(Input::SetEnabled { id: "x".into(), enabled: true }).unwrap();
    play.run(Input::UpdateGroup { id: "g".into(), updates: group(false) }).unwrap();
    assert!(!fires(&mut play));
    play.run(Input::DeleteGroup { id: "g".into() }).unwrap();
    assert!(fires(&mut play));
    assert!(play.entry("r/x").unwrap()["rule"].get("group").is_none());
    let versions: Vec<_> = play.entries("v/x/").iter().map(|entry| entry["changeType"].clone()).collect();
    assert_eq!(
        versions,
        ["registered", "disabled", "enabled", "updated"],
        "W22: a group that goes is a change"
    );

    let rule = json!({"id": "y", "name": "y", "group": "nope", "trigger": on("go"), "actions": []});
    let Err(RuleFault::Invalid { message, issues }) = play.run(Input::Register { rule }) else { panic!() };
    assert_eq!(message, "Rule references non-existent group: \"nope\"");
    assert_eq!((&*issues[0].path, &*issues[0].message), ("group", "Group \"nope\" does not exist"));
}

#[test]
fn s11_topics() {
    let mut play = Play::new();
    for (id, topic) in [("r1", "order.*"), ("r2", "*"), ("r3", "*.*")] {
        play.rule(json!({"id": id, "trigger": on(topic), "actions": [set_fact(&format!("${{event.n}}:{id}"), json!(1))]}));
    }
    play.emit("order.created", json!({"n": "two"}));
    play.emit("order", json!({"n": "one"}));
    let fired = |n: &str| ["r1", "r2", "r3"].map(|id| play.fact(&format!("{n}:{id}")).is_some());
    assert_eq!((fired("two"), fired("one")), ([true, true, true], [false, true, false]));
}

#[test]
fn s17_w5_versions_survive() {
    let mut play = Play::new();
    let rule = |id: &str, priority: i32| json!({"id": id, "priority": priority, "tags": [], "trigger": on("t"), "actions": [set_fact("k", json!(1))]});
    play.rule(rule("q", 0));
    play.rule(rule("v", 1));
    let updates = object(json!({"priority": 7, "tags": ["x"]}));
    play.world.now += 5;
    play.run(Input::Update { id: "v".into(), updates }).unwrap();
    play.run(Input::SetEnabled { id: "v".into(), enabled: false }).unwrap();
    play.run(Input::SetEnabled { id: "v".into(), enabled: false }).unwrap();
    play.restart();
    let Ok(Answer::Rule(json)) = play.run(Input::Rollback { id: "v".into(), version: 1 }) else { panic!() };
    let of = |json: &dunlin_rules::Object, names: [&str; 3]| names.map(|name| json[name].clone());
    assert_eq!(of(&json, ["version", "priority", "enabled"]), [json!(4), json!(1), json!(true)]);
    assert_eq!(json["createdAt"], json!(1_000_000), "W22: it was registered when it was registered");
    let history = play.entries("v/v/");
    let shown: Vec<_> = history
        .iter()
        .map(|entry| {
            (
                entry["version"].as_u64().unwrap(),
                entry["changeType"].as_str().unwrap(),
                entry["rule"]["version"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [(1, "registered", 2), (2, "updated", 3), (3, "disabled", 3), (4, "rolled_back", 4)]);
    assert_eq!(history[3]["rolledBackFrom"], json!(3));
    let [first, third] = [&history[0], &history[2]].map(|entry| object(entry["rule"].clone()));
    assert_eq!(
        dunlin_rules::versions::diff(&first, &third),
        json!([
            {"field": "priority", "oldValue": 1, "newValue": 7},
            {"field": "enabled", "oldValue": true, "newValue": false},
            {"field": "tags", "oldValue": [], "newValue": ["x"]},
        ])
    );
    assert_eq!(play.run(Input::Unregister { id: "v".into() }), Ok(Answer::Done(true)));
    assert!(play.entry("r/v").is_none());
    play.restart();
    let Ok(Answer::Rule(json)) = play.run(Input::Rollback { id: "v".into(), version: 2 }) else { panic!() };
    assert_eq!(of(&json, ["version", "priority", "id"]), [json!(5), json!(7), json!("v")]);
    assert_eq!(play.entries("v/v/").last().unwrap().get("rolledBackFrom"), None);
}

#[test]
fn s18_lookup() {
    let mut play = Play::new();
    play.rule(json!({"id": "l", "trigger": on("o"),
        "lookups": [{"name": "credit", "service": "cs", "method": "score", "args": [{"ref": "event.c"}], "cache": {"ttl": "5m"}}],
        "conditions": [{"source": {"type": "lookup", "name": "credit", "field": "v"}, "operator": "gte", "value": 700}],
        "actions": [set_fact("ok:${event.c}", json!({"ref": "lookup.credit.v"}))]}));
    let mut asked = 0;
    for customer in ["a", "a", "bad"] {
        play.emit("o", json!({"c": customer}));
        for (firing, calls) in play.lookups() {
            asked += calls.len();
            let answer = if customer == "bad" {
                Err("no such customer".to_owned())
            } else {
                Ok(json!({"v": 710}).into())
            };
            if answer.is_ok() {
                play.world.known.insert(common::key_of(&calls[0]), answer.clone());
            }
            play.restart();
            assert_eq!(play.engine.outstanding().len(), 1);
            let answers = vec![answer];
            assert_eq!(
                play.run(Input::LookedUp { firing: firing.clone(), answers: answers.clone() }),
                Ok(Answer::Done(true))
            );
            assert_eq!(play.run(Input::LookedUp { firing, answers }), Ok(Answer::Done(false)), "once");
        }
    }
    assert_eq!(asked, 2);
    assert_eq!([play.fact("ok:a"), play.fact("ok:bad")], [Some(json!(710)), None]);
    let skipped = play.reported(ReportKind::RuleSkipped);
    assert_eq!(skipped[0].message, "Lookup \"credit\" failed: no such customer");
}
