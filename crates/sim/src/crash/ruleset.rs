//! The rules of the worlds that have some, their inputs, and what must follow from those.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_rules::Input;
use dunlin_store::{Intent, Object, Snapshot};
use serde_json::{Value, json};

use crate::chance::Chance;

/// Where rules note what they did. Nothing ever goes from there.
pub(super) const AUDIT: &str = "audit";
/// Groups of patterns.
const GROUPS: usize = 4;
/// How often a timer of the name `every:…` expires.
const TURNS: usize = 3;
/// Rules that nobody changes: it is counted what they did.
const FIXED: [&str; 6] = ["keyed", "noted", "once", "every", "call", "tried"];

pub(super) fn audit() -> Intent {
    let config = json!({"key": "id", "schema": {
        "id": {"type": "number", "generated": "autoincrement"}, "rule": {"type": "string"}, "of": {"type": "any"}}});
    Intent::DefineBucket { name: AUDIT.into(), config: object(config) }
}

/// An action that notes something.
fn noted(rule: &str, of: &Value) -> Value {
    json!({"type": "store_insert", "bucket": AUDIT, "data": {"rule": rule, "of": of}})
}

fn on(topic: &str) -> Value {
    json!({"type": "event", "topic": topic})
}

fn number() -> Value {
    json!({"ref": "event.n"})
}

/// Rules of each kind of trigger and action, in the order in which they are registered.
pub(super) fn rules() -> Vec<Value> {
    let rule = |id: &str, trigger: Value, actions: Value| json!({"id": id, "name": id, "trigger": trigger, "actions": actions});
    let temporal = |pattern: Value| json!({"type": "temporal", "pattern": pattern});
    let call =
        json!({"type": "call_service", "service": "s", "method": "m", "args": [number()], "attempts": 4});
    let grouped = |rule: &str| noted(rule, &json!({"ref": "trigger.groupKey"}));
    vec![
        rule(
            "keyed",
            on("keyed"),
            json!([noted("keyed", &number()),
            {"type": "set_fact", "key": "keyed:last", "value": number()}]),
        ),
        rule(
            "noted",
            on("order.*"),
            json!([noted("noted", &number()),
            {"type": "set_fact", "key": "order:${event.g}", "value": number()},
            {"type": "emit_event", "topic": "seen.${event.g}", "data": {"g": {"ref": "event.g"}, "n": number()}},
            {"type": "store_upsert", "bucket": "tasks", "data": {"id": "g${event.g}", "n": number()}}]),
        ),
        rule("once", json!({"type": "timer", "name": "once:*"}), json!([noted("once", &number())])),
        rule("every", json!({"type": "timer", "name": "every:*"}), json!([noted("every", &number())])),
        rule("call", on("call"), json!([call])),
        rule(
            "tried",
            on("try"),
            json!([
            {"type": "try_catch", "try": [{"type": "call_service", "service": "s", "method": "m", "args": ["try ${event.n}"]}],
             "catch": {"as": "e", "actions": [{"type": "set_fact", "key": "failed", "value": {"ref": "var.e.message"}}]},
             "finally": [noted("tried", &number())]}]),
        ),
        rule(
            "fact",
            json!({"type": "fact", "pattern": "order:*", "on": ["set", "deleted"]}),
            json!([
            {"type": "set_timer", "timer": {"name": "t:${event.fact.key}", "duration": 40,
                "repeat": {"interval": 60, "maxCount": 3}, "onExpire": {"topic": "tick", "data": {"of": {"ref": "event.fact.value"}}}}}]),
        ),
        rule(
            "tick",
            json!({"type": "timer", "name": "t:*"}),
            json!([noted("tick", &json!({"ref": "event.of"}))]),
        ),
        rule(
            "people",
            on("bucket.people.*"),
            json!([noted("people", &json!("${event.key} ${event.before.n} ${event.after.n}")),
            {"type": "emit_event", "topic": "b", "data": {"g": 1}}]),
        ),
        rule(
            "tasks",
            on("bucket.tasks.updated"),
            json!([
            {"type": "store_transaction", "operations": [
                {"op": "insert", "bucket": AUDIT, "data": {"rule": "tasks", "of": {"ref": "event.key"}}},
                {"op": "upsert", "bucket": "people", "data": {"id": "a", "n": {"ref": "event.after.n"}}}]}]),
        ),
        rule(
            "sequence",
            temporal(json!({"type": "sequence", "groupBy": "g", "within": 300,
            "events": [{"topic": "a"}, {"topic": "b"}]})),
            json!([grouped("sequence")]),
        ),
        rule(
            "absence",
            temporal(json!({"type": "absence", "groupBy": "g", "within": 150,
            "after": {"topic": "a"}, "expected": {"topic": "b"}})),
            json!([grouped("absence"), {"type": "delete_fact", "key": "order:${trigger.groupKey}"}]),
        ),
        rule(
            "count",
            temporal(
                json!({"type": "count", "groupBy": "g", "threshold": 3, "window": 1000, "sliding": true,
            "event": {"topic": "a"}}),
            ),
            json!([grouped("count"),
            {"type": "emit_event", "topic": "many", "data": {"g": {"ref": "trigger.groupKey"}}}]),
        ),
        rule(
            "sum",
            temporal(
                json!({"type": "aggregate", "groupBy": "g", "function": "sum", "field": "w", "threshold": 4,
            "comparison": "gte", "window": 250, "event": {"topic": "a"}}),
            ),
            json!([grouped("sum")]),
        ),
        rule("many", on("many"), json!([call, {"type": "cancel_timer", "name": "t:order:${event.g}"}])),
        json!({"id": "ask", "name": "ask", "trigger": on("ask"),
            "lookups": [{"name": "l", "service": "s", "method": "l", "args": [number()]}],
            "conditions": [{"source": {"type": "lookup", "name": "l"}, "operator": "exists"}],
            "actions": [noted("ask", &json!({"ref": "lookup.l"}))]}),
        rule(
            "fails",
            on("order.*"),
            json!([
            {"type": "store_insert", "bucket": "nowhere", "data": {}}, noted("fails", &number())]),
        ),
    ]
}

pub(super) fn event(topic: &str, data: Value) -> Input {
    Input::Emit { topic: topic.into(), data: object(data), correlation_id: None, causation_id: None }
}

pub(super) fn emit(chance: &mut Chance, number: usize) -> Input {
    let topic =
        *chance.pick(&["a", "a", "a", "b", "order.new", "order.paid", "call", "try", "ask", "nobody"]);
    event(topic, json!({"n": number, "g": chance.below(GROUPS), "w": chance.below(4)}))
}

pub(super) fn fact(chance: &mut Chance, number: usize) -> Input {
    let key = format!("order:{}", chance.below(GROUPS)).into();
    if chance.once_in(3) { Input::DeleteFact { key } } else { Input::SetFact { key, value: json!(number) } }
}

/// A timer of a name that comes once, or the end of one that repeats.
pub(super) fn timer(chance: &mut Chance, number: usize) -> Input {
    let duration = chance.within(1, 400);
    let mut timer = json!({"name": format!("once:{number}"), "duration": duration,
        "onExpire": {"topic": "expired", "data": {"n": number}}});
    match chance.below(4) {
        0 => Input::CancelTimer { name: format!("every:{}", chance.below(number + 1)).into() },
        1 => {
            timer["name"] = json!(format!("every:{number}"));
            timer["repeat"] = json!({"interval": chance.within(10, 200), "maxCount": TURNS});
            Input::SetTimer { timer }
        }
        _ => Input::SetTimer { timer },
    }
}

/// Somebody changes a rule that may be changed.
pub(super) fn administer(chance: &mut Chance, rules: &[Value]) -> Input {
    let rule = chance.pick(&rules[FIXED.len()..]);
    let id = rule["id"].as_str().unwrap().into();
    match chance.below(8) {
        0 => Input::Unregister { id },
        1..3 => Input::Update { id, updates: object(json!({"priority": chance.below(5)})) },
        3 => Input::Rollback { id, version: chance.within(1, 4) as u64 },
        4 => Input::CreateGroup {
            group: json!({"id": format!("group{}", chance.below(3)), "name": "a group"}),
        },
        _ => Input::SetEnabled { id, enabled: !chance.once_in(3) },
    }
}

/// What the fixed rules must have noted of an input, exactly once.
pub(super) fn consequence(input: &Input, is_there: &BTreeSet<&str>) -> Option<(&'static str, usize)> {
    let Input::Emit { topic, data, .. } = input else { return None };
    let rule = match &**topic {
        "order.new" | "order.paid" => "noted",
        "try" => "tried",
        _ => return None,
    };
    is_there.contains(rule).then_some((rule, number_of(data)?))
}

/// The number of a call that must have been made.
pub(super) fn called(input: &Input) -> Option<usize> {
    match input {
        Input::Emit { topic, data, .. } if &**topic == "call" => number_of(data),
        _ => None,
    }
}

fn number_of(data: &Object) -> Option<usize> {
    usize::try_from(data.get("n")?.as_u64()?).ok()
}

/// How often each rule has noted each thing.
pub(super) struct Audit(BTreeMap<(String, String), usize>);

impl Audit {
    pub(super) fn of(state: &Snapshot) -> Self {
        let mut counts = BTreeMap::new();
        for record in state.bucket(AUDIT).into_iter().flat_map(dunlin_store::Bucket::iter) {
            let record = record.to_value();
            let rule = record["rule"].as_str().unwrap_or_default().to_owned();
            *counts.entry((rule, record["of"].to_string())).or_default() += 1;
        }
        Self(counts)
    }

    fn times(&self, rule: &str, number: usize) -> usize {
        self.0.get(&(rule.to_owned(), number.to_string())).copied().unwrap_or_default()
    }

    /// # Errors
    /// It was noted another number of times.
    pub(super) fn once(&self, rule: &str, number: usize) -> Result<(), String> {
        match self.times(rule, number) {
            1 => Ok(()),
            times => Err(format!("rule {rule} has noted {number} {times} times")),
        }
    }

    /// Whether the timers of all these inputs have expired as often as they should, and no others.
    ///
    /// # Errors
    /// One that has not.
    pub(super) fn timers<'a>(&self, inputs: impl Iterator<Item = &'a Input>) -> Result<(), String> {
        let (mut set, mut cancelled) = (BTreeSet::new(), BTreeSet::new());
        let mut is_there = BTreeSet::new();
        for input in inputs {
            match input {
                Input::Register { rule } => drop(is_there.insert(rule["id"].as_str().unwrap_or_default())),
                // One that was set before there was the rule may have expired without it.
                Input::SetTimer { timer } if is_there.contains("every") => {
                    set.insert(timer["name"].as_str().unwrap_or_default().to_owned());
                }
                Input::CancelTimer { name } => drop(cancelled.insert(name.to_string())),
                _ => {}
            }
        }
        for name in set {
            let (rule, number) = name.split_once(':').unwrap_or_default();
            let (turns, times) =
                (if rule == "every" { TURNS } else { 1 }, self.times(rule, number.parse().unwrap()));
            let right = if cancelled.contains(&name) { times <= turns } else { times == turns };
            if !right {
                return Err(format!("timer {name} has expired {times} times"));
            }
        }
        Ok(())
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}
