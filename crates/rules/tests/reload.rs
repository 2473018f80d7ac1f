//! An engine that was made of what another one logged goes on as that one would have, byte for byte; and loading what was there
//! before undoes a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Outside, emit, name, object, on, set_fact};
use dunlin_rules::fault::CallFault;
use dunlin_rules::{Change, Effect, Engine, Input, Limits, Ran};
use proptest::prelude::*;
use serde_json::{Value, json};

fn rules() -> Vec<Value> {
    let seq = |within: u64| {
        json!({"type": "temporal", "pattern": {"type": "sequence", "groupBy": "g", "within": within,
            "events": [{"topic": "a", "as": "first"}, {"topic": "b"}]}})
    };
    let count = json!({"type": "temporal", "pattern": {"type": "count", "groupBy": "g", "threshold": 2, "window": 50,
        "event": {"topic": "a"}}});
    let call = json!({"type": "call_service", "service": "s", "method": "m", "args": [{"ref": "event.g"}]});
    vec![
        json!({"trigger": on("a"), "actions": [set_fact("n:${event.g}", json!({"ref": "event.g"})), emit("b", json!({"g": {"ref": "event.g"}}))]}),
        json!({"trigger": on("b"), "priority": 2, "actions": [
            {"type": "for_each", "collection": [1, 2], "as": "i", "actions": [
                {"type": "try_catch", "try": [call], "catch": {"as": "e", "actions": [set_fact("e:${var.i}", json!({"ref": "var.e.message"}))]},
                 "finally": [emit("after", json!({"i": {"ref": "var.i"}}))]}]}]}),
        json!({"trigger": {"type": "fact", "pattern": "n:*", "on": ["changed", "deleted"]}, "actions": [
            call, {"type": "delete_fact", "key": "m:1"}, set_fact("seen", json!({"ref": "event.fact.version"}))]}),
        json!({"trigger": on("c"), "lookups": [{"name": "l", "service": "s", "method": "l", "args": [{"ref": "event.g"}]}],
            "conditions": [{"source": {"type": "lookup", "name": "l"}, "operator": "exists"}],
            "actions": [set_fact("m:${event.g}", json!({"ref": "lookup.l"}))]}),
        json!({"trigger": seq(40), "actions": [emit("seq", json!({"n": {"ref": "trigger.count"}, "v": {"ref": "var.first.g"}}))]}),
        json!({"trigger": count, "actions": [emit("count", json!({"n": {"ref": "trigger.count"}}))]}),
        json!({"trigger": on("c"), "actions": [{"type": "set_timer", "timer": {"name": "t:${event.g}", "duration": 15,
            "repeat": {"interval": 20, "maxCount": 3}, "onExpire": {"topic": "a", "data": {"g": {"ref": "event.g"}}}}}]}),
        json!({"trigger": {"type": "timer", "name": "t:1"}, "actions": [{"type": "cancel_timer", "name": "t:2"}, {"type": "log", "level": "info", "message": "x"}]}),
    ]
}

#[derive(Debug, Clone)]
enum Move {
    Emit(usize, u8),
    Set(u8, u8),
    Delete(u8),
    Wait(u64),
    Answer(usize, bool),
    Register(usize),
    Update(usize, usize),
    Enable(usize, bool),
    Unregister(usize),
    Rollback(usize, u64),
    Group(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0..3_usize, 0..3_u8).prop_map(|(topic, g)| Move::Emit(topic, g)),
        2 => (0..3_u8, 0..3_u8).prop_map(|(key, value)| Move::Set(key, value)),
        1 => (0..3_u8).prop_map(Move::Delete),
        4 => (1..30_u64).prop_map(Move::Wait),
        4 => (0..4_usize, any::<bool>()).prop_map(|(which, ok)| Move::Answer(which, ok)),
        1 => (0..8_usize).prop_map(Move::Register),
        1 => (0..8_usize, 0..8_usize).prop_map(|(rule, to)| Move::Update(rule, to)),
        1 => (0..8_usize, any::<bool>()).prop_map(|(rule, on)| Move::Enable(rule, on)),
        1 => (0..8_usize).prop_map(Move::Unregister),
        1 => (0..8_usize, 1..4_u64).prop_map(|(rule, version)| Move::Rollback(rule, version)),
        1 => (0..4_u8).prop_map(Move::Group),
    ]
}

fn rule(id: usize, like: usize) -> Value {
    let mut rule = rules()[like].clone();
    rule["id"] = json!(format!("r{id}"));
    rule["name"] = json!("a rule");
    if id.is_multiple_of(2) {
        rule["group"] = json!("g");
    }
    rule
}

/// One engine and its log.
struct Side {
    engine: Engine,
    world: Outside,
    log: BTreeMap<String, Change>,
}

impl Side {
    fn new() -> Self {
        let world = Outside { now: 1000, ..Outside::default() };
        Self { engine: Engine::new(limits()), world, log: BTreeMap::new() }
    }

    fn run(&mut self, input: Input) -> Ran {
        let ran = self.engine.run(input, &mut self.world);
        let mut keys: Vec<_> = ran.changes.iter().map(name).collect();
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "each key once: {keys:?}");
        for change in &ran.changes {
            self.log.insert(name(change), change.clone());
        }
        ran
    }

    /// As after a crash: an engine out of the log, read backwards.
    fn reload(&mut self) {
        self.engine = Engine::new(limits());
        self.engine.load(self.log.values().rev().cloned()).unwrap();
    }

    /// Runs the input and undoes it, as after an append that failed.
    fn try_in_vain(&mut self, input: Input) {
        let chance = self.world.chance;
        let ran = self.engine.run(input, &mut self.world);
        self.world.chance = chance;
        let before = ran.changes.iter().map(|change| {
            self.log.get(&name(change)).cloned().unwrap_or_else(|| match change.clone() {
                Change::Fact { key, .. } => Change::Fact { key, fact: None },
                Change::Entry { key, .. } => Change::Entry { key, value: None },
            })
        });
        self.engine.load(before).unwrap();
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.dead_letters, limits.versions_per_rule, limits.waiting, limits.depth) = (3, 4, 4, 5);
    limits
}

/// What a move comes to, as the engine has it by then.
fn inputs(side: &Side, chosen: &Move) -> Vec<Input> {
    let event = |topic: &str, data: Value| Input::Emit {
        topic: topic.into(),
        data: object(data),
        correlation_id: Some("story".into()),
        causation_id: None,
    };
    let id = |rule: &usize| -> Arc<str> { format!("r{rule}").into() };
    match chosen {
        Move::Emit(topic, g) => vec![event(["a", "b", "c"][*topic], json!({"g": g}))],
        Move::Set(key, value) => vec![Input::SetFact { key: format!("n:{key}").into(), value: json!(value) }],
        Move::Delete(key) => vec![Input::DeleteFact { key: format!("n:{key}").into() }],
        Move::Wait(_) => vec![Input::Tick, Input::Tick],
        Move::Answer(which, ok) => {
            let outstanding = side.engine.outstanding();
            let effect = (!outstanding.is_empty()).then(|| outstanding[which % outstanding.len()].clone());
            match effect {
                Some(Effect::Call(call)) if *ok => {
                    vec![Input::CallDone { id: call.id.clone(), result: json!(1) }]
                }
                Some(Effect::Call(call)) => {
                    let fault = CallFault { message: "no".into(), again: which.is_multiple_of(2) };
                    vec![Input::CallFailed { id: call.id.clone(), fault }]
                }
                Some(Effect::Lookup { firing, .. }) => {
                    let answers = vec![if *ok { Ok(json!(1).into()) } else { Err("no".into()) }];
                    vec![Input::LookedUp { firing, answers }]
                }
                _ => vec![],
            }
        }
        Move::Register(n) => vec![Input::Register { rule: rule(*n, *n) }],
        Move::Update(n, like) => vec![Input::Update { id: id(n), updates: object(rule(*n, *like)) }],
        Move::Enable(n, enabled) => vec![Input::SetEnabled { id: id(n), enabled: *enabled }],
        Move::Unregister(n) => vec![Input::Unregister { id: id(n) }],
        Move::Rollback(n, version) => vec![Input::Rollback { id: id(n), version: *version }],
        Move::Group(0) => vec![Input::DeleteGroup { id: "g".into() }],
        Move::Group(1) => vec![Input::CreateGroup { group: json!({"id": "g", "name": "g"}) }],
        Move::Group(n) => {
            vec![Input::UpdateGroup {
                id: "g".into(),
                updates: object(json!({"enabled": n.is_multiple_of(2)})),
            }]
        }
    }
}

fn shown(ran: &Ran) -> String {
    format!("{ran:#?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn goes_on_where_the_other_one_stopped(moves in proptest::collection::vec((moves(), any::<u8>()), 1..60)) {
        let (mut whole, mut broken) = (Side::new(), Side::new());
        for side in [&mut whole, &mut broken] {
            side.run(Input::CreateGroup { group: json!({"id": "g", "name": "g"}) });
            for n in 0..8 {
                side.run(Input::Register { rule: rule(n, n) });
            }
        }
        for (chosen, chance) in moves {
            if let Move::Wait(ms) = chosen {
                whole.world.now += ms;
                broken.world.now += ms;
            }
            for input in inputs(&whole, &chosen) {
                match chance % 4 {
                    0 => broken.reload(),
                    1 => broken.try_in_vain(input.clone()),
                    _ => {}
                }
                let expected = whole.run(input.clone());
                let found = broken.run(input);
                prop_assert_eq!(shown(&expected), shown(&found));
                prop_assert_eq!(whole.engine.outstanding(), broken.engine.outstanding());
                prop_assert_eq!(whole.engine.next_wake(), broken.engine.next_wake());
                prop_assert_eq!(whole.engine.watched(), broken.engine.watched());
            }
        }
        let current = |side: &Side| side.log.clone();
        prop_assert_eq!(current(&whole), current(&broken));
    }
}
