//! Random buckets, queries and writes, all from one seed. Names, keys and values come from small pools, so that they meet.

use dunlin_store::{Intent, Step};
use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::common::object;

pub const BUCKETS: [&str; 2] = ["tasks", "people"];
const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
const MEMBERS: [&str; 12] =
    ["n", "f", "s", "flag", "p", "obj.a", "tags", "extra", "id", "_version", "_updatedAt", "missing.x"];

/// A definition of one of the buckets.
pub fn bucket(chance: &mut Chance) -> Value {
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
    if chance.once_in(4) {
        config["ttl"] = json!(1 + chance.below(40));
    }
    if chance.once_in(4) {
        config["maxSize"] = json!(3 + chance.below(20));
    }
    config
}

/// A change of a definition.
pub fn alteration(chance: &mut Chance) -> Value {
    match chance.below(3) {
        0 => json!({"addIndexes": [*chance.pick(&["n", "f", "s", "flag"])]}),
        1 => json!({"maxSize": 5 + chance.below(20)}),
        _ => json!({"addFields": {format!("z{}", chance.below(1000)): {"type": "number", "default": 7}}}),
    }
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

fn text(chance: &mut Chance) -> Value {
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
        if chance.once_in(3) {
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
pub fn write(chance: &mut Chance) -> Intent {
    let bucket = (*chance.pick(&BUCKETS)).to_owned();
    let key = json!(*chance.pick(&KEYS));
    match chance.below(24) {
        0..6 => Intent::Insert { bucket, data: record(chance) },
        6..13 => Intent::Update { bucket, key, changes: changes(chance) },
        13..16 => Intent::Upsert { bucket, data: record(chance) },
        16..19 => Intent::Delete { bucket, key },
        19 => Intent::UpdateMany { bucket, filter: filter(chance, 1), changes: changes(chance) },
        20 => Intent::DeleteMany { bucket, filter: filter(chance, 1) },
        21 => Intent::InsertMany { bucket, data: (0..3).map(|_| record(chance)).collect() },
        22 if chance.once_in(4) => Intent::Clear { bucket },
        _ => {
            let operations = (0..=chance.below(5)).map(|_| step(chance)).collect();
            Intent::Transaction { operations }
        }
    }
}

fn step(chance: &mut Chance) -> Step {
    loop {
        match write(chance) {
            Intent::Transaction { .. } => {}
            intent => return Step::Write(intent),
        }
    }
}

/// A filter.
pub fn filter(chance: &mut Chance, depth: usize) -> Map<String, Value> {
    let mut filter = Map::new();
    for _ in 0..chance.below(3) {
        let member = *chance.pick(&MEMBERS);
        let value = value(chance, member);
        let condition = match chance.below(16) {
            0..6 => value,
            6 => json!({"$in": [value, self::value(chance, member), null]}),
            7 => json!({"$gte": value}),
            8 => json!({"$lt": value}),
            9 => json!({"$gt": value, "$lte": self::value(chance, member)}),
            10 => json!({"$neq": value}),
            11 => json!({"$exists": chance.once_in(2)}),
            12 => json!({"$startsWith": text(chance)}),
            13 => json!({"$not": {"$gte": value}}),
            14 => json!({"$has": chance.below(3)}),
            _ => Value::Null,
        };
        let fits = |value: &Value| !value.is_object() && !value.is_array();
        let operands = condition.as_object().map_or(true, |operators| {
            operators.iter().all(|(name, operand)| match name.as_str() {
                "$gte" | "$lt" | "$gt" | "$lte" => operand.is_number() || operand.is_string(),
                "$in" => operand.as_array().unwrap().iter().all(fits),
                "$neq" => fits(operand),
                "$not" => operand["$gte"].is_number() || operand["$gte"].is_string(),
                _ => true,
            })
        });
        if operands {
            filter.insert(member.into(), condition);
        }
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

/// A query config, and parameters for it.
pub fn query(chance: &mut Chance) -> (Map<String, Value>, Value) {
    let mut config = json!({"bucket": *chance.pick(&BUCKETS), "filter": filter(chance, 2)});
    let mut params = json!({});
    if chance.once_in(3) {
        config["filter"]["n"] = json!("{{ params.n }}");
        params["n"] = json!(chance.below(6));
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
        return (object(config), params);
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
    (object(config), params)
}
