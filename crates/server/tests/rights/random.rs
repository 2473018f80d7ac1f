//! Random policies, queries and requests. Names, keys and values come from small pools, so that they meet.

use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::rights::{Opinion, READS, Rule, Session, WRITES};
use crate::tables::BUCKETS;

const USERS: [&str; 5] = ["u0", "u1", "u2", "u3", "anonymous"];
const TAGS: [&str; 3] = ["a", "b", "c"];
/// Roles of the policies; a role may include those behind it.
pub(crate) const ROLES: [&str; 5] = ["lead", "sales", "support", "audit", "guest"];
const BUILT_IN: [&str; 3] = ["reader", "writer", "admin"];
const KEYS: usize = 14;
const CODES: usize = 60;
/// The first number of a marker that stands in one place only.
pub(crate) const FRESH: u32 = 10_000;
const MEMBERS: [&str; 13] = [
    "id",
    "owner",
    "tag",
    "role",
    "n",
    "open",
    "code",
    "mark",
    "secret",
    "address.city",
    "address",
    "lines.0.price",
    "up",
];
const HIDDEN: [&str; 14] = [
    "secret",
    "mark",
    "code",
    "code",
    "n",
    "owner",
    "tag",
    "address",
    "address.city",
    "lines.price",
    "lines",
    "up",
    "secret",
    "open",
];

/// A text that stands nowhere else, or only for one key or value.
pub(crate) fn marker(number: u32) -> String {
    format!("~{number}~")
}

pub(crate) fn one(chance: &mut Chance, names: &[&'static str]) -> &'static str {
    let picked: &&str = chance.pick(names);
    picked
}

pub(crate) fn key(chance: &mut Chance, bucket: &str) -> String {
    let bucket = BUCKETS.iter().position(|name| *name == bucket).unwrap_or(0);
    marker(u32::try_from(1000 * (bucket + 1) + chance.below(KEYS)).unwrap())
}

/// Each bucket has values of its own, so that one which is told is known to be from there.
fn code(chance: &mut Chance, bucket: &str) -> String {
    let place = BUCKETS.iter().position(|name| *name == bucket).unwrap_or(0);
    // Where a value must be unique only together with another one, the same comes more often.
    let codes = if place == 1 { CODES / 6 } else { CODES };
    marker(u32::try_from(5000 + 100 * place + chance.below(codes)).unwrap())
}

pub(crate) fn session(chance: &mut Chance, otherwise: Option<&str>) -> Session {
    let mut roles: Vec<String> = Vec::new();
    if !chance.once_in(5) {
        roles.push((*chance.pick(&["reader", "writer", "writer", "writer", "admin"])).to_owned());
    }
    for _ in 0..chance.below(3) {
        roles.push((*chance.pick(&ROLES)).to_owned());
    }
    let metadata = match chance.below(4) {
        0 => json!({}),
        1 => json!({"tag": null, "tags": ["a"]}),
        _ => {
            json!({"tag": *chance.pick(&TAGS), "tags": [*chance.pick(&TAGS), "c"], "deep": {"open": chance.once_in(2)}})
        }
    };
    let user = Some((*chance.pick(&USERS[..4])).to_owned());
    Session { user, roles, metadata, otherwise: otherwise.map(str::to_owned) }
}

/// A new policy.
pub(crate) fn policy(chance: &mut Chance) -> Value {
    let mut roles = Map::new();
    for (i, role) in ROLES.iter().enumerate().filter(|_| chance.once_in(2)).collect::<Vec<_>>() {
        let mut included: Vec<&str> = ROLES[i + 1..].iter().copied().filter(|_| chance.once_in(3)).collect();
        if chance.once_in(3) {
            included.push(*chance.pick(&BUILT_IN));
        }
        roles.insert((*role).to_owned(), json!(included));
    }
    let closed = chance.once_in(4);
    let check: Vec<Value> = (0..chance.below(4).saturating_sub(1)).map(|_| exception(chance)).collect();
    let mut permissions: Vec<Value> = (0..chance.below(5)).map(|_| permission(chance)).collect();
    if closed && !chance.once_in(4) {
        permissions.push(json!({"role": "writer", "allow": ["store.*"]}));
        permissions.push(json!({"role": "reader", "allow": READS}));
    }
    let rows: Vec<Value> = (0..chance.below(7)).map(|_| row_rule(chance)).collect();
    json!({"default": if closed { "deny" } else { "allow" }, "roles": roles, "check": check, "rules": permissions, "rows": rows})
}

/// What a callback says. What it allows it allows of everything that an operation touches.
pub(crate) fn opinions(chance: &mut Chance) -> Vec<Opinion> {
    let opinion = |chance: &mut Chance| {
        let allows = chance.once_in(2);
        Opinion {
            user: chance.once_in(2).then(|| (*chance.pick(&USERS)).to_owned()),
            kind: (allows || chance.once_in(2)).then(|| any_kind(chance)),
            bucket: (!allows && chance.once_in(2)).then(|| *chance.pick(&BUCKETS)),
            allows,
        }
    };
    (0..chance.below(4)).map(|_| opinion(chance)).collect()
}

fn any_role(chance: &mut Chance) -> &'static str {
    if chance.once_in(3) { one(chance, &BUILT_IN) } else { one(chance, &ROLES) }
}

fn any_kind(chance: &mut Chance) -> &'static str {
    if chance.once_in(2) { one(chance, &READS) } else { one(chance, &WRITES) }
}

fn exception(chance: &mut Chance) -> Value {
    let mut exception = json!({"result": *chance.pick(&[Some(true), Some(false), Some(false), None])});
    if chance.once_in(2) {
        exception["role"] = json!(any_role(chance));
    }
    if chance.once_in(3) {
        exception["userId"] = json!(*chance.pick(&USERS[..4]));
    }
    if !chance.once_in(4) {
        exception["operation"] = json!(any_kind(chance));
    }
    if chance.once_in(2) {
        exception["resource"] = json!(*chance.pick(&["teams", "orders", "notes", "q0", "*"]));
    }
    exception
}

fn permission(chance: &mut Chance) -> Value {
    let allow = match chance.below(4) {
        0 => json!("*"),
        1 => json!("store.*"),
        _ => {
            let kinds: Vec<&str> = (0..chance.within(1, 6)).map(|_| any_kind(chance)).collect();
            json!(kinds)
        }
    };
    let mut rule = json!({"role": any_role(chance), "allow": allow});
    if !chance.once_in(3) {
        let buckets: Vec<&str> = BUCKETS.iter().copied().filter(|_| chance.once_in(2)).collect();
        rule["buckets"] = json!(buckets);
    }
    rule
}

fn row_rule(chance: &mut Chance) -> Value {
    let whose = if chance.once_in(4) { "*" } else { any_role(chance) };
    let mut rule = json!({"role": whose, "bucket": *chance.pick(&BUCKETS)});
    if !chance.once_in(4) {
        rule["read"] = condition(chance);
    }
    if chance.once_in(2) {
        rule["write"] = condition(chance);
    }
    if chance.once_in(2) {
        let hidden: Vec<&str> = (0..chance.within(1, 4)).map(|_| *chance.pick(&HIDDEN)).collect();
        rule["hide"] = json!(hidden);
        if chance.once_in(12) {
            rule["hide"] = json!(["id"]);
        }
    }
    rule
}

fn condition(chance: &mut Chance) -> Value {
    match chance.below(14) {
        0 | 1 => json!(true),
        2 => json!(false),
        3..6 => json!({"owner": "{{ session.userId }}"}),
        6 => json!({"tag": "{{ session.metadata.tag }}"}),
        7 => json!({"tag": {"$in": "{{ session.metadata.tags }}"}}),
        8 => json!({"role": {"$in": "{{ session.roles }}"}}),
        9 => json!({"$or": [{"owner": "{{ session.userId }}"}, {"open": true}]}),
        10 => json!({"n": {"$gte": chance.below(5)}}),
        11 => json!({"open": "{{ session.metadata.deep.open }}"}),
        12 => json!({"$not": {"tag": *chance.pick(&TAGS)}}),
        _ => json!({"tag": {"$in": [*chance.pick(&TAGS), "{{ session.metadata.tag }}"]}}),
    }
}

fn plain(chance: &mut Chance, member: &str, bucket: &str) -> Value {
    match member {
        "id" => json!(key(chance, bucket)),
        "owner" => json!(*chance.pick(&USERS)),
        "tag" => json!(*chance.pick(&TAGS)),
        "role" => json!(*chance.pick(&ROLES)),
        "n" => json!(chance.below(10)),
        "open" => json!(chance.once_in(2)),
        "code" => json!(code(chance, bucket)),
        "up" => match BUCKETS.iter().position(|name| *name == bucket) {
            Some(place @ 1..) if !chance.once_in(8) => json!(key(chance, BUCKETS[place - 1])),
            _ => Value::Null,
        },
        _ => json!(marker(FRESH + 1)),
    }
}

/// A name that a client asks by; mostly not one that is hidden from him.
fn member(chance: &mut Chance, rule: &Rule, of: &[&'static str]) -> &'static str {
    for _ in 0..6 {
        let member = *chance.pick(of);
        if !rule.hides(member) {
            return member;
        }
    }
    one(chance, of)
}

pub(crate) fn filter(chance: &mut Chance, bucket: &str, rule: &Rule) -> Value {
    let mut filter = Map::new();
    for _ in 0..chance.below(3) {
        let name = member(chance, rule, &MEMBERS);
        let value = plain(chance, name, bucket);
        let wanted = match chance.below(9) {
            0 => json!({"$neq": value}),
            1 => json!({"$in": [value, plain(chance, name, bucket)]}),
            2 => json!({"$nin": [value]}),
            3 if value.is_number() || value.is_string() => json!({"$gte": value}),
            4 if value.is_number() || value.is_string() => json!({"$lt": value}),
            5 => json!({"$exists": chance.once_in(2)}),
            6 if value.is_string() => json!({"$not": {"$startsWith": "~50"}}),
            _ => value,
        };
        filter.insert(name.to_owned(), wanted);
    }
    if chance.once_in(6) {
        let branches: Vec<Value> = (0..2)
            .map(|_| {
                let name = member(chance, rule, &MEMBERS);
                json!({name: plain(chance, name, bucket)})
            })
            .collect();
        filter.insert((*chance.pick(&["$or", "$and"])).to_owned(), json!(branches));
    }
    if chance.once_in(12) {
        let name = member(chance, rule, &MEMBERS);
        filter.insert("$not".to_owned(), json!({name: plain(chance, name, bucket)}));
    }
    Value::Object(filter)
}

/// The members of a record, or of a change. Every marker that is not a key or a code is a new one.
pub(crate) fn data(chance: &mut Chance, bucket: &str, rule: &Rule, whole: bool, next: &mut u32) -> Value {
    let mut data = Map::new();
    let mut fresh = || {
        *next += 1;
        json!(marker(*next))
    };
    let lots = if whole { 8 } else { 2 };
    for name in ["owner", "tag", "role", "n", "open", "code", "mark", "secret", "address", "lines", "up"] {
        let wanted = chance.below(10) < lots;
        if !wanted || rule.hides(name) && !chance.once_in(25) {
            continue;
        }
        let value = match name {
            "mark" | "secret" => fresh(),
            "address" => json!({"city": fresh(), "zip": fresh()}),
            "lines" => json!([{"sku": fresh(), "price": fresh()}, {"price": fresh()}]),
            _ => plain(chance, name, bucket),
        };
        if name != "up" || bucket != BUCKETS[0] {
            data.insert(name.to_owned(), value);
        }
    }
    Value::Object(data)
}

pub(crate) fn aggregate(chance: &mut Chance, rule: &Rule, grouped: bool) -> Value {
    let function = *chance.pick(&["count", "sum", "avg", "min", "max"]);
    let mut aggregate = json!({"function": function});
    if function != "count" {
        aggregate["field"] = json!(member(chance, rule, &["n", "n", "n", "tag"]));
    }
    if grouped {
        aggregate["groupBy"] = group(chance, rule);
    }
    aggregate
}

pub(crate) fn group(chance: &mut Chance, rule: &Rule) -> Value {
    const BY: [&str; 5] = ["owner", "tag", "open", "role", "up"];
    if chance.once_in(3) {
        let (one, other) = (member(chance, rule, &BY[..2]), member(chance, rule, &BY[2..]));
        json!([one, other])
    } else {
        json!(member(chance, rule, &BY))
    }
}

pub(crate) fn sort(chance: &mut Chance, rule: &Rule) -> Value {
    let mut sort = Map::new();
    for _ in 0..chance.within(1, 3) {
        let name = member(chance, rule, &["n", "tag", "owner", "id", "code", "secret"]);
        sort.insert(name.to_owned(), json!(*chance.pick(&["asc", "desc"])));
    }
    Value::Object(sort)
}

/// A query on a bucket, for somebody under a rule.
pub(crate) fn query(chance: &mut Chance, bucket: &str, rule: &Rule) -> Value {
    let mut query = json!({"bucket": bucket});
    if chance.once_in(2) {
        query["filter"] = filter(chance, bucket, rule);
    }
    if chance.once_in(4) {
        let grouped = chance.once_in(2);
        query["aggregate"] = aggregate(chance, rule, grouped);
        return query;
    }
    if chance.once_in(2) {
        query["sort"] = sort(chance, rule);
    }
    if chance.once_in(3) {
        query["limit"] = json!(chance.within(1, 8));
        if chance.once_in(3) {
            query["offset"] = json!(chance.below(4));
        }
    }
    if chance.once_in(4) {
        let fields: Vec<&str> = (0..chance.within(1, 4))
            .map(|_| {
                member(chance, rule, &["id", "n", "mark", "secret", "address.city", "lines", "owner", "up"])
            })
            .collect();
        query["fields"] = json!(fields);
    }
    if bucket != BUCKETS[0] && chance.once_in(3) {
        query["include"] = json!({"above": {"ref": "up"}});
    }
    query
}
