//! Random rules, reads and writes. Names, keys and values come from small pools, so that they meet.

use dunlin_store::{Aggregate, Direction, Intent, Step};
use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::common::object;

pub const BUCKETS: [&str; 2] = ["people", "tasks"];
const KEYS: usize = 10;
/// Members by which rules let records through. No reference is among them: what the schema clears does not change who sees it.
const RULED: [&str; 4] = ["owner", "n", "flag", "addr.city"];
/// Members that rules hide. No reference is among them: in the world without it nothing would go with what it refers to.
const HIDDEN: [&str; 8] = ["cost", "note", "addr.city", "addr", "n", "lines.price", "x", "email"];
/// Members that readers ask for.
const ASKED: [&str; 18] = [
    "id",
    "owner",
    "n",
    "flag",
    "cost",
    "note",
    "addr",
    "addr.city",
    "addr.zip",
    "lines",
    "lines.0.price",
    "lines.0.n",
    "x",
    "x.y",
    "who",
    "boss",
    "_version",
    "email",
];

/// Nothing refers to tasks, so only they may go with others: what went with something that is not seen would go in one world
/// only.
pub fn definition(chance: &mut Chance, bucket: &str) -> Value {
    let gone = if bucket == "tasks" { "cascade" } else { "set_null" };
    let mut config = json!({
        "key": "id",
        "schema": {
            "id": {"type": "string"},
            "owner": {"type": "string"},
            "n": {"type": "number", "default": 1},
            "flag": {"type": "boolean"},
            "cost": {"type": "number", "default": 7},
            "note": {"type": "string", "maxLength": 6},
            "email": {"type": "string", "unique": true},
            "addr": {"type": "object"},
            "lines": {"type": "array"},
            "boss": {"type": "string", "ref": "people", "onDelete": *chance.pick(&["set_null", "restrict"])},
            "who": {"type": "string", "ref": "people", "onDelete": *chance.pick(&["set_null", gone, "restrict"])},
        },
        "indexes": ["owner", ["flag", "n"]],
        "unique": [["owner", "cost", "note"]],
    });
    if chance.once_in(3) {
        config["etsType"] = json!("ordered_set");
    }
    config
}

pub fn session(chance: &mut Chance) -> Value {
    let mut session =
        json!({"userId": owner(chance), "roles": ["a", "b"], "metadata": {"n": chance.below(3)}});
    if chance.once_in(2) {
        session["metadata"]["city"] = json!({"name": text(chance)});
    }
    session
}

pub fn rules(chance: &mut Chance) -> Vec<Value> {
    let mut rules = Vec::new();
    for bucket in BUCKETS {
        for _ in 0..chance.below(4) {
            let mut rule = json!({"bucket": bucket});
            if !chance.once_in(4) {
                rule["read"] = condition(chance);
            }
            if chance.once_in(2) {
                rule["write"] = condition(chance);
            }
            if chance.once_in(2) {
                let hidden: Vec<&str> = (0..chance.below(3)).map(|_| *chance.pick(&HIDDEN)).collect();
                rule["hide"] = json!(hidden);
            }
            rules.push(rule);
        }
    }
    rules
}

fn condition(chance: &mut Chance) -> Value {
    match chance.below(10) {
        0 => json!(true),
        1 => json!(false),
        2 | 3 => json!({"owner": "{{ session.userId }}"}),
        4 => json!({"owner": {"$in": "{{ session.roles }}"}}),
        5 => json!({"n": {"$gte": "{{ session.metadata.n }}"}}),
        6 => json!({"addr.city": {"$neq": "{{ session.metadata.city.name }}"}}),
        _ => {
            let member = *chance.pick(&RULED);
            json!({member: value(chance, member)})
        }
    }
}

fn owner(chance: &mut Chance) -> Value {
    json!(*chance.pick(&["a", "b", "c"]))
}

fn text(chance: &mut Chance) -> Value {
    json!(*chance.pick(&["a", "b", "abc", "a much longer text"]))
}

pub fn key(chance: &mut Chance) -> Value {
    json!(format!("k{}", chance.below(KEYS)))
}

fn value(chance: &mut Chance, member: &str) -> Value {
    match member {
        "owner" => owner(chance),
        "n" | "cost" => json!(chance.below(4)),
        "flag" => json!(chance.once_in(2)),
        "id" | "boss" | "who" => key(chance),
        "email" => json!(chance.below(30).to_string()),
        "addr" => json!({"city": text(chance), "zip": chance.below(3)}),
        "lines" => json!([{"n": chance.below(3), "price": chance.below(3)}, {"price": 1}]),
        "x" => json!({"y": chance.below(2)}),
        _ => text(chance),
    }
}

fn changes(chance: &mut Chance) -> Map<String, Value> {
    let mut changes = Map::new();
    for member in ["owner", "n", "flag", "cost", "note", "email", "addr", "lines", "boss", "who", "x", "x.y"]
    {
        if chance.once_in(if matches!(member, "owner" | "n" | "flag" | "addr") { 3 } else { 9 }) {
            let value = if chance.once_in(9) { Value::Null } else { value(chance, member) };
            changes.insert(member.into(), value);
        }
    }
    changes
}

/// A whole record, as somebody writes it who may write everything.
pub fn record(chance: &mut Chance) -> Map<String, Value> {
    let mut record = changes(chance);
    record.insert("id".into(), key(chance));
    for member in ["owner", "n", "addr", "note", "lines"] {
        if chance.once_in(2) {
            record.insert(member.into(), value(chance, member));
        }
    }
    record
}

pub fn filter(chance: &mut Chance) -> Map<String, Value> {
    let mut filter = Map::new();
    for _ in 0..chance.below(3) {
        let member = *chance.pick(&ASKED);
        let value = value(chance, member.rsplit('.').next().unwrap());
        let plain = !value.is_object() && !value.is_array();
        let condition = match chance.below(8) {
            0 => json!({"$exists": chance.once_in(2)}),
            1 if value.is_number() || value.is_string() => json!({"$gte": value}),
            2 if plain => json!({"$neq": value}),
            3 if plain => json!({"$in": [value, 1, "a"]}),
            _ => value,
        };
        filter.insert(member.into(), condition);
    }
    if chance.once_in(6) {
        filter.insert("$or".into(), json!([{"owner": owner(chance)}, {"n": chance.below(3)}]));
    }
    filter
}

/// A read, as data.
#[derive(Debug)]
pub enum Read {
    Get(Value),
    All,
    Where(Map<String, Value>),
    FindOne(Map<String, Value>),
    Count(Map<String, Value>),
    First(usize),
    Last(usize),
    Paginate(Option<Value>, usize),
    /// Filter, sort, limit, and how many pages.
    Pages(Map<String, Value>, Vec<(String, Direction)>, usize),
    Aggregate(Aggregate, String, Map<String, Value>),
    GroupBy(Vec<String>, Aggregate, String, Map<String, Value>),
    Query(Map<String, Value>),
}

pub fn read(chance: &mut Chance, bucket: &str) -> Read {
    let few = chance.below(5);
    match chance.below(14) {
        0 | 1 => Read::Get(key(chance)),
        2 => Read::All,
        3 => Read::Where(filter(chance)),
        4 => Read::FindOne(filter(chance)),
        5 => Read::Count(filter(chance)),
        6 => Read::First(few),
        7 => Read::Last(few),
        8 => Read::Paginate((!chance.once_in(4)).then(|| key(chance)), few),
        9 => Read::Pages(filter(chance), sort(chance), 1 + few),
        10 => Read::Aggregate(function(chance), member(chance), filter(chance)),
        11 => Read::GroupBy(members(chance), function(chance), member(chance), filter(chance)),
        _ => Read::Query(query(chance, bucket)),
    }
}

fn member(chance: &mut Chance) -> String {
    (*chance.pick(&ASKED)).to_owned()
}

fn members(chance: &mut Chance) -> Vec<String> {
    (0..=chance.below(2)).map(|_| member(chance)).collect()
}

fn function(chance: &mut Chance) -> Aggregate {
    *chance.pick(&[Aggregate::Count, Aggregate::Sum, Aggregate::Avg, Aggregate::Min, Aggregate::Max])
}

fn sort(chance: &mut Chance) -> Vec<(String, Direction)> {
    let direction = *chance.pick(&[Direction::Ascending, Direction::Descending]);
    (0..chance.below(3)).map(|_| (member(chance), direction)).collect()
}

fn query(chance: &mut Chance, bucket: &str) -> Map<String, Value> {
    let mut config = json!({"bucket": bucket, "filter": filter(chance)});
    match chance.below(3) {
        0 => {
            config["aggregate"] = json!({"function": function(chance).as_str(), "field": member(chance)});
            if chance.once_in(2) {
                config["aggregate"]["groupBy"] = json!(members(chance));
            }
        }
        1 => {
            config["include"] = json!({"it": {"ref": *chance.pick(&["boss", "who"])}, "x": {"ref": "boss"}});
        }
        _ => {
            config["fields"] = json!(members(chance));
            config["limit"] = json!(chance.below(6));
        }
    }
    for (name, direction) in sort(chance) {
        config["sort"][name] = json!(direction.as_str());
    }
    object(config)
}

/// A write of somebody who names what he should not seldom enough to get on.
pub fn write(chance: &mut Chance, hidden: &[&str]) -> Intent {
    let bucket = (*chance.pick(&BUCKETS)).to_owned();
    let careful = !chance.once_in(5);
    let clean = |mut data: Map<String, Value>| {
        if careful {
            data.retain(|name, _| {
                !hidden.iter().any(|hidden| hidden.split('.').next() == name.split('.').next())
            });
        }
        data
    };
    let data = clean(record(chance));
    let changes = clean(changes(chance));
    let (key, version) = (key(chance), chance.below(4) as u64);
    match chance.below(20) {
        0..4 => Intent::Insert { bucket, data },
        4..9 => Intent::Update { bucket, key, changes },
        9..12 => Intent::Upsert { bucket, data },
        12..14 => Intent::Delete { bucket, key },
        14 => Intent::Update { bucket, key, changes }.if_version(version),
        15 => Intent::Delete { bucket, key }.if_version(version),
        16 => Intent::UpdateMany { bucket, filter: clean(filter(chance)), changes },
        17 => Intent::DeleteMany { bucket, filter: clean(filter(chance)) },
        18 => Intent::Clear { bucket },
        _ => {
            let operations = (0..=chance.below(4)).map(|_| step(chance, hidden)).collect();
            Intent::Transaction { operations }
        }
    }
}

fn step(chance: &mut Chance, hidden: &[&str]) -> Step {
    let bucket = (*chance.pick(&BUCKETS)).to_owned();
    match chance.below(12) {
        0 => Step::Get {
            bucket,
            key: key(chance),
            if_version: chance.once_in(3).then(|| chance.below(3) as u64),
        },
        1 => Step::Where { bucket, filter: filter(chance) },
        2 => Step::FindOne { bucket, filter: filter(chance) },
        3 => Step::Count { bucket, filter: filter(chance) },
        4 => {
            let (by, function, field) = (members(chance), function(chance), member(chance));
            Step::GroupBy { bucket, by, function, field, filter: filter(chance) }
        }
        _ => loop {
            match write(chance, hidden) {
                // What these reach is looked at alone.
                Intent::Transaction { .. } | Intent::UpdateMany { .. } | Intent::DeleteMany { .. } => {}
                write => return Step::Write(write),
            }
        },
    }
}
