//! Random definitions, queries and writes, as requests. Names, keys and values come from small pools, so that they meet.

use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::truth::Wish;

pub(crate) const BUCKETS: [&str; 2] = ["people", "tasks"];
/// Where a rule notes each event.
pub(crate) const HEARD: &str = "heard";
pub(crate) const QUERIES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
const MEMBERS: [&str; 10] = ["n", "f", "s", "flag", "p", "obj.a", "extra", "id", "_version", "missing.x"];

/// A definition of one of the buckets.
pub(crate) fn define_bucket(chance: &mut Chance, name: &str) -> Value {
    let on_delete = *chance.pick(&["restrict", "cascade", "set_null"]);
    let mut config = json!({
        "key": "id",
        "schema": {
            "id": {"type": "string"},
            "n": {"type": "number"},
            "f": {"type": "number"},
            "s": {"type": "string"},
            "flag": {"type": "boolean"},
            "p": {"type": "string", "ref": "people", "onDelete": on_delete},
            "obj": {"type": "object"},
            "tags": {"type": "array"},
        },
    });
    let indexes: Vec<&str> = ["n", "f", "s", "flag"].into_iter().filter(|_| chance.once_in(3)).collect();
    config["indexes"] = json!(indexes);
    if chance.once_in(3) {
        config["ttl"] = json!(chance.within(20, 1500));
    }
    if chance.once_in(4) {
        config["maxSize"] = json!(chance.within(3, 20));
    }
    json!({"type": "store.defineBucket", "name": name, "config": config})
}

pub(crate) fn define_query(chance: &mut Chance, name: &str) -> Value {
    json!({"type": "store.defineQuery", "name": name, "config": query(chance)})
}

/// The bucket of those notes.
pub(crate) fn heard() -> Value {
    json!({"key": "id", "schema": {"id": {"type": "number", "generated": "autoincrement"},
        "n": {"type": "string"}, "t": {"type": "string"}, "last": {"type": "any"}}})
}

/// Rules: one notes each event together with the one before it, others lead from event to event, at once and later.
pub(crate) fn rules() -> [Value; 4] {
    let rule = |id: &str, topic: &str, priority: u64, actions: Value| json!({"id": id, "name": id, "priority": priority, "trigger": {"type": "event", "topic": topic}, "actions": actions});
    let timer = json!({"name": "t:${event.n}", "duration": 7,
        "onExpire": {"topic": "x.timer", "data": {"n": "${event.n}t", "t": "timer"}}});
    [
        rule(
            "log",
            "x.*",
            10,
            json!([
            {"type": "store_insert", "bucket": HEARD,
                "data": {"n": {"ref": "event.n"}, "t": {"ref": "event.t"}, "last": {"ref": "fact.heard:last"}}},
            {"type": "set_fact", "key": "heard:last", "value": {"ref": "event.n"}}]),
        ),
        rule(
            "echo",
            "x.a",
            5,
            json!([{"type": "emit_event", "topic": "x.echo", "data": {"n": "${event.n}e", "t": "echo"}}]),
        ),
        rule(
            "later",
            "x.b",
            5,
            json!([{"type": "set_timer", "timer": timer},
            {"type": "set_fact", "key": "k:${event.k}", "value": {"ref": "event.n"}}]),
        ),
        rule(
            "call",
            "x.a",
            1,
            json!([{"type": "call_service", "service": "s", "method": "m", "args": [{"ref": "event.n"}]}]),
        ),
    ]
}

/// A request of rules that changes something; its name is told by nobody else.
pub(crate) fn rule_request(chance: &mut Chance, name: &str) -> Value {
    let key = format!("k:{}", chance.below(4));
    match chance.below(6) {
        0 => json!({"type": "rules.setFact", "key": key, "value": name}),
        1 => json!({"type": "rules.deleteFact", "key": key}),
        _ => {
            let topic = *chance.pick(&["a", "b"]);
            let data = json!({"n": name, "t": topic, "k": chance.below(4)});
            json!({"type": "rules.emit", "topic": format!("x.{topic}"), "data": data})
        }
    }
}

/// Changes of definitions. What goes comes back at once or later.
pub(crate) fn administer(chance: &mut Chance) -> Vec<Value> {
    let bucket = *chance.pick(&BUCKETS);
    let query = *chance.pick(&QUERIES);
    let mut requests = vec![match chance.below(16) {
        0 => json!({"type": "store.dropBucket", "name": bucket}),
        1 => json!({"type": "store.clear", "bucket": bucket}),
        2 => {
            let updates = match chance.below(3) {
                0 => json!({"addIndexes": [*chance.pick(&["n", "f", "s", "flag"])]}),
                1 => json!({"maxSize": chance.within(5, 25)}),
                _ => {
                    json!({"addFields": {format!("z{}", chance.below(1000)): {"type": "number", "default": 7}}})
                }
            };
            json!({"type": "store.updateBucket", "name": bucket, "updates": updates})
        }
        3..9 => json!({"type": "store.undefineQuery", "name": query}),
        _ => define_query(chance, query),
    }];
    if chance.once_in(2) {
        requests.push(define_query(chance, query));
    }
    if chance.once_in(3) {
        requests.push(define_bucket(chance, bucket));
    }
    requests
}

fn number(chance: &mut Chance) -> Value {
    match chance.below(8) {
        0 => json!(0.1),
        1 => json!(0.2),
        2 => json!(-1.5e300),
        3 => json!(1.5e300),
        4 => json!(9_007_199_254_740_993_i64),
        _ => json!(chance.below(5)),
    }
}

/// Short mostly; now and then so long that a result is shared and not copied.
fn text(chance: &mut Chance) -> Value {
    if chance.once_in(40) {
        return json!("long ".repeat(chance.within(50, 600)));
    }
    json!(*chance.pick(&["", "a", "ab", "abc", "b", "a text of more than fourteen letters", "é", "a/~\"\\"]))
}

fn value(chance: &mut Chance, member: &str) -> Value {
    match member {
        "n" => json!(chance.below(6)),
        "f" => number(chance),
        "s" => text(chance),
        "flag" => json!(chance.once_in(2)),
        "p" | "id" => json!(*chance.pick(&KEYS)),
        "obj" => json!({"a": chance.below(3), "b/~": text(chance)}),
        "tags" => json!([chance.below(3), text(chance)]),
        _ if chance.once_in(2) => text(chance),
        _ => json!(chance.below(3)),
    }
}

fn changes(chance: &mut Chance) -> Map<String, Value> {
    let mut changes = Map::new();
    for member in ["n", "f", "s", "flag", "p", "obj", "tags", "extra", "person"] {
        // Most references would lead nowhere.
        if chance.once_in(if member == "p" { 8 } else { 3 }) {
            let value = if chance.once_in(8) { Value::Null } else { value(chance, member) };
            changes.insert(member.into(), value);
        }
    }
    changes
}

fn record(chance: &mut Chance) -> Map<String, Value> {
    let mut record = changes(chance);
    record.insert("id".into(), json!(*chance.pick(&KEYS)));
    record
}

/// A write of data.
pub(crate) fn write(chance: &mut Chance) -> Value {
    let bucket = *chance.pick(&BUCKETS);
    let key = *chance.pick(&KEYS);
    match chance.below(24) {
        0..6 => json!({"type": "store.insert", "bucket": bucket, "data": record(chance)}),
        6..13 => json!({"type": "store.update", "bucket": bucket, "key": key, "data": changes(chance)}),
        13..17 => json!({"type": "store.upsert", "bucket": bucket, "data": record(chance)}),
        17..19 => json!({"type": "store.delete", "bucket": bucket, "key": key}),
        19 => {
            let (filter, data) = (filter(chance, 1), changes(chance));
            json!({"type": "store.updateMany", "bucket": bucket, "filter": filter, "data": data})
        }
        20 => json!({"type": "store.deleteMany", "bucket": bucket, "filter": filter(chance, 1)}),
        21 => {
            let data: Vec<_> = (0..3).map(|_| record(chance)).collect();
            json!({"type": "store.insertMany", "bucket": bucket, "data": data})
        }
        _ => {
            let operations: Vec<Value> = (0..=chance.below(5)).map(|_| step(chance)).collect();
            json!({"type": "store.transaction", "operations": operations})
        }
    }
}

fn step(chance: &mut Chance) -> Value {
    loop {
        let mut step = write(chance);
        let Value::Object(members) = &mut step else { unreachable!() };
        let kind = members.remove("type").unwrap();
        if let Some(name) = kind.as_str().and_then(|kind| kind.strip_prefix("store."))
            && name != "transaction"
        {
            members.insert("op".into(), json!(name));
            return step;
        }
    }
}

/// A filter.
fn filter(chance: &mut Chance, depth: usize) -> Map<String, Value> {
    let mut filter = Map::new();
    for _ in 0..chance.below(3) {
        let member = *chance.pick(&MEMBERS);
        let operand = match member {
            "obj.a" | "extra" | "_version" | "missing.x" => json!(chance.below(3)),
            member => value(chance, member),
        };
        let relates = operand.is_number() || operand.is_string();
        let condition = match chance.below(12) {
            0..4 => operand,
            4 => json!({"$in": [operand, chance.below(4), null]}),
            5 if relates => json!({"$gte": operand}),
            6 if relates => json!({"$lt": operand}),
            7 => json!({"$neq": operand}),
            8 => json!({"$exists": chance.once_in(2)}),
            9 => json!({"$startsWith": text(chance)}),
            10 if relates => json!({"$not": {"$gte": operand}}),
            _ => continue,
        };
        filter.insert(member.into(), condition);
    }
    if depth > 0 && chance.once_in(4) {
        let branches: Vec<Value> =
            (0..=chance.below(2)).map(|_| Value::Object(self::filter(chance, depth - 1))).collect();
        filter.insert((*chance.pick(&["$or", "$and"])).into(), branches.into());
    }
    if depth > 0 && chance.once_in(8) {
        filter.insert("$not".into(), Value::Object(self::filter(chance, depth - 1)));
    }
    filter
}

/// Something to watch: of a query that has a name, or of one that is given; now and then facts.
pub(crate) fn wish(chance: &mut Chance) -> Wish {
    if chance.once_in(8) {
        let pattern = *chance.pick(&["", "k:", "heard"]);
        return Wish::new(
            json!({"bucket": "_facts", "filter": {"key": {"$startsWith": pattern}}}),
            json!({}),
        );
    }
    let query = if chance.once_in(2) { json!(*chance.pick(&QUERIES)) } else { query(chance) };
    Wish::new(query, json!({"n": chance.below(6)}))
}

/// A definition of a query.
fn query(chance: &mut Chance) -> Value {
    let mut config = json!({"bucket": *chance.pick(&BUCKETS), "filter": filter(chance, 2)});
    if chance.once_in(3) {
        config["filter"]["n"] = json!("{{ params.n }}");
    }
    if chance.once_in(3) {
        let mut aggregate = json!({
            "function": *chance.pick(&["count", "sum", "avg", "min", "max"]),
            "field": *chance.pick(&["n", "f", "extra"]),
        });
        if chance.once_in(2) {
            let by = [*chance.pick(&["s", "flag", "p", "extra"]), *chance.pick(&["n", "flag"])];
            aggregate["groupBy"] = json!(by[..=chance.below(2)]);
        }
        config["aggregate"] = aggregate;
        return config;
    }
    for _ in 0..chance.below(3) {
        let member = *chance.pick(&["n", "f", "s", "flag", "extra", "_updatedAt"]);
        config["sort"][member] = json!(*chance.pick(&["asc", "desc"]));
    }
    if chance.once_in(3) {
        config["offset"] = json!(chance.below(4));
    }
    if chance.once_in(2) {
        config["limit"] = json!(chance.below(5));
    }
    if chance.once_in(4) {
        config["fields"] = json!(["id", *chance.pick(&["n", "s", "p"]), "extra"]);
    }
    if chance.once_in(3) {
        config["include"] = json!({"person": {"ref": "p"}});
    }
    config
}
