//! Random buckets, queries and writes, all from one seed. Names, keys and values come from small pools, so that they meet.

use std::ops::{Deref, DerefMut};

use dunlin_store::{Intent, Migration, Step};
use serde_json::{Map, Value, json};

use crate::chance;
use crate::common::object;

/// Chance, and how large a history is.
pub struct Chance {
    source: chance::Chance,
    /// Keys of one bucket.
    pub keys: usize,
    /// Most keys are numbers.
    numeric: bool,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut chance = Self { source: chance::Chance(seed), keys: KEYS, numeric: false };
        chance.numeric = chance.once_in(4);
        // Now and then so many that lists are cut into chunks and windows need their reserve.
        if chance.once_in(25) {
            chance.keys = 2_000;
        }
        chance
    }

    /// A history of large buckets.
    pub fn is_large(&self) -> bool {
        self.keys > KEYS
    }
}

impl Deref for Chance {
    type Target = chance::Chance;

    fn deref(&self) -> &chance::Chance {
        &self.source
    }
}

impl DerefMut for Chance {
    fn deref_mut(&mut self) -> &mut chance::Chance {
        &mut self.source
    }
}

pub const BUCKETS: [&str; 2] = ["tasks", "people"];
const KEYS: usize = 12;
/// Members of records, some of which are nowhere. A dotted one can be meant as a path or as a name.
const MEMBERS: [&str; 22] = [
    "n",
    "f",
    "s",
    "flag",
    "p",
    "q",
    "obj.a",
    "tags",
    "extra",
    "id",
    "_version",
    "_updatedAt",
    "missing.x",
    "obj",
    "obj.b.c",
    "extra.a",
    "~1",
    "0",
    "x/y",
    "člen",
    "obj.b/~",
    "z1",
];
/// Members outside the schema.
const EXTRAS: [&str; 9] = ["extra", "person", "~1", "0", "x/y", "", "člen", "a.b", "z1"];

/// A definition of one of the buckets.
pub fn bucket(chance: &mut Chance) -> Value {
    let on_delete = *chance.pick(&["restrict", "cascade", "set_null"]);
    let usual = if chance.numeric { "number" } else { "string" };
    let (key, q) = (*chance.pick(&[usual, usual, "string", "number"]), *chance.pick(&["string", "number"]));
    let mut config = json!({
        "key": "id",
        "schema": {
            "id": {"type": key},
            "n": {"type": "number"},
            "f": {"type": "number"},
            "s": {"type": "string"},
            "flag": {"type": "boolean"},
            "p": {"type": usual, "ref": "people", "onDelete": on_delete},
            "q": {"type": q, "ref": *chance.pick(&BUCKETS), "onDelete": "set_null"},
            "obj": {"type": "object"},
            "tags": {"type": "array"},
        },
    });
    let indexes: Vec<&str> = ["n", "f", "s", "flag"].into_iter().filter(|_| chance.once_in(3)).collect();
    config["indexes"] = json!(indexes);
    if let (true, Some(indexes)) = (chance.once_in(2), config["indexes"].as_array_mut()) {
        indexes
            .push(chance.pick(&[json!(["flag", "n"]), json!(["s", "f", "n"]), json!(["p", "id"])]).clone());
    }
    if chance.once_in(8) {
        config["etsType"] = json!("ordered_set");
    }
    let large = chance.is_large();
    if chance.once_in(4) {
        config["ttl"] = json!(1 + chance.below(if large { 4_000 } else { 40 }));
    }
    if chance.once_in(4) {
        config["maxSize"] = json!(if large { 1_000 + chance.below(1_000) } else { 3 + chance.below(20) });
    }
    config
}

/// A key of a record: a few of many are close together.
pub fn key(chance: &mut Chance) -> Value {
    let keys = chance.keys;
    let number = chance.below(keys);
    let numeric = chance.numeric;
    let odd = chance.once_in(if numeric { 4 } else { 12 });
    if odd == numeric { json!(number.to_string()) } else { json!(number) }
}

/// A change of a definition.
pub fn alteration(chance: &mut Chance) -> Value {
    match chance.below(8) {
        0 => json!({"addIndexes": [*chance.pick(&["n", "f", "s", "flag"])]}),
        1 => json!({"maxSize": 5 + chance.below(20)}),
        2 => json!({"maxSize": null, "ttl": null}),
        // Some records may have it already.
        3 => json!({"addFields": {*chance.pick(&EXTRAS): {"type": *chance.pick(&["string", "number"])}}}),
        4 => {
            json!({"changeFields": {"p": {"type": *chance.pick(&["string", "number"]), "ref": *chance.pick(&BUCKETS)}}})
        }
        5 => json!({"changeFields": {*chance.pick(&["p", "q"]): {"type": "string"}}}),
        6 => json!({"dropIndexes": [*chance.pick(&["n", "f", "s", "flag"])]}),
        _ => json!({"addFields": {format!("z{}", chance.below(1000)): {"type": "number", "default": 7}}}),
    }
}

/// A migration of a bucket: its records become others, some of them under other keys.
pub fn migration(chance: &mut Chance, number: u64) -> Intent {
    let bucket = *chance.pick(&BUCKETS);
    let (way, key, other) = (chance.below(5), key(chance), key(chance));
    let migration = Migration::new(number, format!("m{number}"), move |m| {
        let mut bucket = m.bucket(bucket)?;
        match way {
            0 => bucket.rename_field("n", "m")?,
            1 => bucket.rename_field("m", "n")?,
            2 => bucket.transform_all(|record| {
                record.insert("extra".into(), number.into());
            })?,
            3 => bucket.change_field_type("s", "number", |_| 5.into())?,
            _ => {
                let record = json!({"id": other, "n": 3, "p": key});
                bucket.delete(&key)?;
                bucket.delete(&other)?;
                bucket.insert(&record)?;
            }
        }
        Ok(())
    });
    Intent::Migrate { migrations: vec![migration], dry_run: false }
}

fn number(chance: &mut Chance) -> Value {
    match chance.below(16) {
        0 => json!(0.1),
        1 => json!(0.2),
        2 => json!(-1.5e300),
        3 => json!(1.5e300),
        4 => json!(9_007_199_254_740_993_i64),
        5 => json!(u64::MAX),
        6 => json!(i64::MIN),
        7 => json!(-0.0),
        8 => json!(f64::MAX),
        9 => json!(5e-324),
        10 => json!(9_007_199_254_740_992.0_f64),
        _ => json!(chance.below(5)),
    }
}

fn text(chance: &mut Chance) -> Value {
    json!(*chance.pick(&[
        "",
        "a",
        "ab",
        "abc",
        "b",
        "1",
        "a text of more than fourteen letters",
        "a text of more than fourteen other ones",
        "a text of more",
        "é",
        "e\u{301}",
        "a/~\"\\",
        "\u{10ffff}",
        "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}a",
        "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}b",
        "\u{ffff}",
        "\u{1f600}",
        "\u{0}",
        "a\u{0}",
    ]))
}

fn value(chance: &mut Chance, member: &str) -> Value {
    match member {
        "n" => json!(chance.below(6)),
        "f" => number(chance),
        "s" => text(chance),
        "flag" => json!(chance.once_in(2)),
        "p" | "q" | "id" => key(chance),
        "obj" if chance.once_in(3) => json!({"b": {"c": text(chance)}, "": chance.below(2)}),
        "obj" => json!({"a": chance.below(3), "b/~": text(chance)}),
        "extra" if chance.once_in(4) => json!({"a": chance.below(3)}),
        "tags" => json!([chance.below(3), text(chance)]),
        _ if chance.once_in(2) => text(chance),
        _ => json!(chance.below(3)),
    }
}

fn changes(chance: &mut Chance) -> Map<String, Value> {
    let mut changes = Map::new();
    let rare = if chance.once_in(2) { 3 } else { 9 };
    for member in ["n", "f", "s", "flag", "p", "q", "obj", "tags"].into_iter().chain(EXTRAS) {
        let seldom = member == "q" || EXTRAS.contains(&member) && member != "extra";
        if chance.once_in(if seldom { 9 } else { rare }) {
            let value = if chance.once_in(8) { Value::Null } else { value(chance, member) };
            changes.insert(member.into(), value);
        }
    }
    changes
}

fn record(chance: &mut Chance) -> Map<String, Value> {
    let mut record = changes(chance);
    record.insert("id".into(), key(chance));
    record
}

/// A write of data.
pub fn write(chance: &mut Chance) -> Intent {
    let bucket = (*chance.pick(&BUCKETS)).to_owned();
    let key = key(chance);
    if chance.is_large() && chance.once_in(20) {
        return Intent::InsertMany { bucket, data: run(chance) };
    }
    match chance.below(25) {
        0..6 => Intent::Insert { bucket, data: record(chance) },
        6..13 => Intent::Update { bucket, key, changes: changes(chance) },
        13..16 => Intent::Upsert { bucket, data: record(chance) },
        16..19 => Intent::Delete { bucket, key },
        19 => Intent::UpdateMany { bucket, filter: filter(chance, 1), changes: changes(chance) },
        20 => Intent::DeleteMany { bucket, filter: filter(chance, 1) },
        21 => Intent::InsertMany { bucket, data: (0..3).map(|_| record(chance)).collect() },
        22 if chance.once_in(4) => Intent::Clear { bucket },
        23 => rotation(chance, &bucket),
        _ => {
            let operations = (0..=chance.below(5)).map(|_| step(chance)).collect();
            Intent::Transaction { operations }
        }
    }
}

/// Many records with keys that follow one another.
fn run(chance: &mut Chance) -> Vec<Map<String, Value>> {
    let keys = chance.keys;
    let (from, text) = (chance.below(keys), chance.once_in(2));
    let mut data = Vec::new();
    for number in from..from + 20 + chance.below(400) {
        let mut record = changes(chance);
        record.insert("id".into(), if text { json!(number.to_string()) } else { json!(number) });
        data.push(record);
    }
    data
}

/// Some records go and others come under their keys, or the same ones come back.
fn rotation(chance: &mut Chance, bucket: &str) -> Intent {
    let keys: Vec<Value> = (0..=chance.below(4)).map(|_| key(chance)).collect();
    let mut operations = Vec::new();
    for key in &keys {
        operations.push(Step::Write(Intent::Delete { bucket: bucket.to_owned(), key: key.clone() }));
    }
    let same = chance.once_in(2).then(|| changes(chance));
    for key in keys.iter().rev() {
        let mut data = same.clone().unwrap_or_else(|| changes(chance));
        data.insert("id".into(), key.clone());
        operations.push(Step::Write(Intent::Upsert { bucket: bucket.to_owned(), data }));
    }
    Intent::Transaction { operations }
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
        let condition = match chance.below(20) {
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
            15 => {
                let many = if chance.once_in(20) { 1_100 } else { 20 };
                let values: Vec<Value> = (0..many).map(|_| self::value(chance, member)).collect();
                json!({"$in": values})
            }
            16 => json!({"$between": [value, self::value(chance, member)]}),
            17 => json!({"$nin": [value, self::value(chance, member)]}),
            18 => json!({"$contains": text(chance)}),
            _ => Value::Null,
        };
        let fits = |value: &Value| !value.is_object() && !value.is_array();
        let operands = condition.as_object().is_none_or(|operators| {
            operators.iter().all(|(name, operand)| match name.as_str() {
                "$gte" | "$lt" | "$gt" | "$lte" => operand.is_number() || operand.is_string(),
                "$in" | "$nin" => operand.as_array().unwrap().iter().all(fits),
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

/// Row rules of a session for some buckets; now and then some that are none.
pub fn rules(chance: &mut Chance) -> Vec<Value> {
    let mut rules = Vec::new();
    for bucket in BUCKETS {
        for _ in 0..chance.below(3) {
            let read = match chance.below(8) {
                0 => json!(true),
                1 => json!(false),
                2 | 3 => json!({"p": "{{ session.userId }}"}),
                4 => json!({"n": {"$in": "{{ session.metadata.numbers }}"}}),
                5 => json!({"$not": {"n": "{{ session.metadata.some.number }}"}}),
                _ => filter(chance, 1).into(),
            };
            let mut rule = json!({"bucket": bucket, "read": read});
            if chance.once_in(2) {
                const HIDDEN: [&str; 12] =
                    ["f", "s", "q", "obj", "obj.a", "obj.b", "extra", "extra.a", "tags", "~1", "z1", "a.b"];
                let hidden: Vec<&str> = (0..chance.below(3)).map(|_| *chance.pick(&HIDDEN)).collect();
                rule["hide"] = json!(hidden);
            }
            rules.push(rule);
        }
    }
    rules
}

/// A session for such rules.
pub fn session(chance: &mut Chance) -> Value {
    let mut session = json!({"userId": key(chance), "roles": [], "metadata": {"numbers": [1, 3]}});
    if chance.once_in(2) {
        session["metadata"]["some"]["number"] = json!(chance.below(6));
    }
    session
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
            "field": *chance.pick(&["n", "f", "extra", "obj.a", "_version"]),
        });
        if chance.once_in(2) {
            let by: Vec<&str> = (0..chance.below(4)).map(|_| *chance.pick(&MEMBERS)).collect();
            aggregate["groupBy"] = json!(by);
        }
        config["aggregate"] = aggregate;
        return (object(config), params);
    }
    for _ in 0..chance.below(3) {
        let member = *chance.pick(&[
            "n",
            "f",
            "s",
            "flag",
            "extra",
            "_updatedAt",
            "obj.a",
            "_version",
            "p",
            "id",
            "~1",
            "tags",
        ]);
        config["sort"][member] = json!(*chance.pick(&["asc", "desc"]));
    }
    let many = if chance.is_large() { *chance.pick(&[5, 100, 700]) } else { 5 };
    if chance.once_in(3) {
        config["offset"] = json!(chance.below(many));
    }
    if chance.once_in(2) {
        config["limit"] = json!(chance.below(many));
    }
    if chance.once_in(30) {
        config[*chance.pick(&["offset", "limit"])] =
            json!(*chance.pick(&[9_007_199_254_740_991, i64::MAX as u64, u64::MAX]));
    }
    if chance.once_in(4) {
        let fields: Vec<&str> = (0..chance.below(4)).map(|_| *chance.pick(&MEMBERS)).collect();
        config["fields"] = json!(fields);
    }
    if chance.once_in(3) {
        for _ in 0..=chance.below(2) {
            config["include"][*chance.pick(&["person", "boss", "~1", "x/y", "", "0"])] =
                json!({"ref": *chance.pick(&["p", "q"])});
        }
    }
    (object(config), params)
}
