//! Random histories against a naive model that keeps plain JSON values and looks at all of them every time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::cmp::Ordering;

use common::naive::{equal, matches, number, number_order, sort_order};
use common::{World, image, object, restored};
use dunlin_store::{Filter, Record, Snapshot};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Insert(Map<String, Value>),
    Update(Value, Map<String, Value>),
    Delete(Value),
    Clear,
    AddField,
}

/// Values that are easily confused: equal numbers written differently, neighbours beyond 2^53, texts of numbers,
/// escapes, characters on both sides of the surrogates, nesting.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => prop::sample::select(vec![
            json!(null), json!(true), json!(false), json!(0), json!(-0.0), json!(1), json!(1.0), json!(1.5), json!(-1),
            json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0),
            json!(u64::MAX), json!(18_446_744_073_709_551_616.0), json!(i64::MIN), json!(1e300),
            json!(""), json!("1"), json!("null"), json!("a"), json!("B"), json!("a\"\\\n"), json!("\u{0}"),
            json!("\u{1F600}"), json!("\u{FFFD}"), json!("Žluť"), json!("{{ params.p }}"),
            json!([]), json!({}), json!([1, {"a": "\""}]), json!({"$gt": 1}),
        ]),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        1 => "\\PC{0,6}".prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop::sample::select(vec![json!("a"), json!("b"), json!("c\n"), json!("1"), json!("2")]),
        1 => value(),
    ]
}

const NAMES: [&str; 8] = ["id", "s", "n", "d", "any", "later", "_expiresAt", "_version"];

fn members() -> impl Strategy<Value = Map<String, Value>> {
    let typed = (
        prop::option::of(prop::sample::select(vec![
            json!("a"),
            json!("B"),
            json!("a\"\\\n"),
            json!("\u{1F600}"),
            json!(null),
        ])),
        prop::option::of(prop::sample::select(vec![json!(1), json!(1.0), json!(2), json!(1.5), json!(null)])),
        prop::option::of(value()),
        prop::option::of(value()),
        prop::option::weighted(0.1, (prop::sample::select(NAMES.to_vec()), value())),
    );
    typed.prop_map(|(s, n, any, later, odd)| {
        let mut map = Map::new();
        for (name, value) in [("any", any), ("s", s), ("later", later), ("n", n)] {
            if let Some(value) = value {
                map.insert(name.into(), value);
            }
        }
        if let Some((name, value)) = odd {
            map.insert(name.into(), value);
        }
        map
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (key(), members()).prop_map(|(key, mut map)| { map.insert("id".into(), key); Step::Insert(map) }),
        1 => members().prop_map(Step::Insert),
        6 => (key(), members()).prop_map(|(key, map)| Step::Update(key, map)),
        3 => key().prop_map(Step::Delete),
        1 => Just(Step::Clear),
        1 => Just(Step::AddField),
    ]
}

fn config(indexes: &Value) -> Value {
    json!({
        "key": "id",
        "schema": {
            "id": {"type": "date"},
            "s": {"type": "string", "maxLength": 20},
            "n": {"type": "number", "unique": true, "max": 1e301},
            "d": {"type": "array", "default": [{"x": 1.0}]},
        },
        "indexes": indexes,
    })
}

fn is_key(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::String(_) | Value::Number(_)))
}

/// Records in table order, and nothing else.
struct Model {
    records: Vec<Map<String, Value>>,
    later: bool,
}

impl Model {
    fn place(&self, key: &Value) -> Option<usize> {
        self.records.iter().position(|record| equal(record.get("id"), key))
    }

    fn valid(&self, record: &Map<String, Value>) -> bool {
        let string = |v: &Value| v.as_str().is_some_and(|s| s.encode_utf16().count() <= 20);
        let date = |v: &Value| v.is_string() || v.is_number();
        let fits = |name: &str, rule: &dyn Fn(&Value) -> bool| {
            record.get(name).is_none_or(|value| value.is_null() || rule(value))
        };
        is_key(record.get("id"))
            && fits("id", &date)
            && fits("_expiresAt", &Value::is_number)
            && fits("s", &string)
            && fits("n", &|v| number_order(v, &json!(1e301)).is_some_and(Ordering::is_le))
            && fits("d", &Value::is_array)
            && (!self.later || fits("later", &Value::is_string))
    }

    fn conflict(&self, record: &Map<String, Value>, own: Option<usize>) -> bool {
        let Some(n) = record.get("n").filter(|n| !n.is_null()) else { return false };
        self.records.iter().enumerate().any(|(i, other)| Some(i) != own && equal(other.get("n"), n))
    }

    /// What the step does to the records, and whether it is accepted.
    fn take(&mut self, step: &Step, now: u64) -> bool {
        match step {
            Step::Insert(data) => {
                let mut record = data.clone();
                record.shift_remove("_version");
                if !record.contains_key("d") {
                    record.insert("d".into(), json!([{"x": 1.0}]));
                }
                let expires = record.shift_remove("_expiresAt");
                for (name, value) in [("_version", 1), ("_createdAt", now), ("_updatedAt", now)] {
                    record.insert(name.into(), value.into());
                }
                record.extend(expires.map(|expires| ("_expiresAt".to_owned(), expires)));
                let taken = record.get("id").is_some_and(|key| self.place(key).is_some());
                if !self.valid(&record) || taken || self.conflict(&record, None) {
                    return false;
                }
                self.records.push(record);
                true
            }
            Step::Update(key, changes) => {
                let Some(place) = self.place(key).filter(|_| is_key(Some(key))) else { return false };
                let mut record = self.records[place].clone();
                for (name, value) in
                    changes.iter().filter(|(name, _)| !["id", "_version"].contains(&name.as_str()))
                {
                    record.insert(name.clone(), value.clone());
                }
                if !self.valid(&record) || self.conflict(&record, Some(place)) {
                    return false;
                }
                record["_version"] = (record["_version"].as_u64().unwrap() + 1).into();
                record["_updatedAt"] = now.into();
                self.records[place] = record;
                true
            }
            Step::Delete(key) => {
                if let Some(place) = self.place(key).filter(|_| is_key(Some(key))) {
                    self.records.remove(place);
                }
                true
            }
            Step::Clear => {
                self.records.clear();
                true
            }
            Step::AddField => {
                let fits = |record: &Map<String, Value>| {
                    record.get("later").is_none_or(|value| value.is_null() || value.is_string())
                };
                let accepted = !self.later && self.records.iter().all(fits);
                self.later |= accepted;
                accepted
            }
        }
    }
}

fn take(world: &mut World, step: &Step) -> bool {
    match step.clone() {
        Step::Insert(data) => world.insert("b", Value::Object(data)).is_ok(),
        Step::Update(key, changes) => world.update("b", key, Value::Object(changes)).is_ok(),
        Step::Delete(key) => {
            world.delete("b", key);
            true
        }
        Step::Clear => {
            world.clear("b");
            true
        }
        Step::AddField => {
            let updates = json!({"addFields": {"later": {"type": "string"}}, "addIndexes": ["later", "s"]});
            world.alter("b", updates).is_ok()
        }
    }
}

/// A world and a model after the same steps, which agree on every one of them.
fn history(steps: &[Step], indexes: &Value) -> (World, Model) {
    let mut world = World::with_bucket("b", config(indexes));
    let mut model = Model { records: Vec::new(), later: false };
    for step in steps {
        let accepted = model.take(step, world.now + 1);
        assert_eq!(take(&mut world, step), accepted, "{step:?}");
    }
    (world, model)
}

fn values(state: &Snapshot) -> Vec<Value> {
    state.bucket("b").unwrap().iter().map(Record::to_value).collect()
}

/// Text that is equal for equal values, whatever the order of members and the writing of numbers.
fn plain(value: &Value) -> String {
    match value {
        Value::Number(_) => match number(value) {
            Some((Some(int), _)) => int.to_string(),
            Some((None, float)) => format!("{float:e}"),
            None => "?".into(),
        },
        Value::Array(elements) => format!("[{}]", elements.iter().map(plain).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut members: Vec<String> =
                members.iter().map(|(k, v)| format!("{k:?}:{}", plain(v))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

fn condition() -> impl Strategy<Value = Value> {
    let scalar =
        || prop_oneof![Just(json!("a")), Just(json!("B")), Just(json!(1)), Just(json!(1.5)), value()];
    let comparable = || scalar().prop_filter("comparable", |v| v.is_string() || v.is_number());
    let text =
        || prop::sample::select(vec![json!(""), json!("a"), json!("b"), json!("\""), json!("ž"), json!("ť")]);
    prop_oneof![
        4 => scalar(),
        1 => (prop::sample::select(vec!["$eq", "$neq"]), scalar()).prop_map(|(op, v)| json!({op: v})),
        1 => (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), comparable())
            .prop_map(|(op, v)| json!({op: v})),
        1 => (prop::sample::select(vec!["$in", "$nin"]), prop::collection::vec(scalar(), 0..3))
            .prop_map(|(op, v)| json!({op: v})),
        1 => (prop::sample::select(vec!["$contains", "$startsWith", "$endsWith"]), text())
            .prop_map(|(op, v)| json!({op: v})),
        1 => any::<bool>().prop_map(|exists| json!({"$exists": exists})),
        1 => (comparable(), comparable())
            .prop_filter("one type", |(a, b)| a.is_string() == b.is_string())
            .prop_map(|(a, b)| json!({"$between": [a, b], "$exists": true})),
    ]
}

fn filter() -> impl Strategy<Value = Value> {
    let names = ["id", "s", "n", "any", "later", "d", "_version", "nowhere"];
    let leaf = prop::collection::vec((prop::sample::select(names.to_vec()), condition()), 0..3)
        .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, c)| (name.to_owned(), c)).collect()));
    leaf.prop_recursive(2, 8, 3, |inner| {
        (inner.clone(), prop::sample::select(vec!["$or", "$and"]), prop::collection::vec(inner, 0..3))
            .prop_map(|(mut base, op, alternatives)| {
                base[op] = alternatives.into();
                base
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_step_does_what_the_model_says(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::with_bucket("b", config(&json!(["s"])));
        let mut model = Model { records: Vec::new(), later: false };
        for step in &steps {
            let old = world.state.clone();
            let before = image(&old);
            let accepted = model.take(step, world.now + 1);
            prop_assert_eq!(take(&mut world, step), accepted, "{:?}", step);
            let now: Vec<String> = values(&world.state).iter().map(plain).collect();
            let expected: Vec<String> = model.records.iter().map(|r| plain(&Value::Object(r.clone()))).collect();
            prop_assert_eq!(now, expected);
            prop_assert_eq!(image(&old), before, "an old snapshot never changes");
        }
        for record in &model.records {
            let bucket = world.state.bucket("b").unwrap();
            let found = bucket.get(&record["id"]).unwrap().to_value();
            prop_assert_eq!(plain(&found), plain(&Value::Object(record.clone())));
        }
    }

    #[test]
    fn the_log_and_the_stored_state_give_the_same_world(steps in prop::collection::vec(step(), 0..30)) {
        let (world, _) = history(&steps, &json!(["s", "n"]));
        let mut replayed = Snapshot::new("test");
        let mut again = Snapshot::new("test");
        for commit in &world.log {
            replayed.apply(commit).unwrap();
            prop_assert!(replayed.apply(commit).is_err(), "a commit applies once");
            again.apply(commit).unwrap();
        }
        prop_assert_eq!(image(&replayed), image(&world.state));
        prop_assert_eq!(image(&again), image(&replayed));
        prop_assert_eq!(image(&restored(&world.state)), image(&world.state));
    }

    #[test]
    fn scans_do_not_depend_on_the_access_path(
        steps in prop::collection::vec(step(), 0..30), filters in prop::collection::vec(filter(), 1..8),
    ) {
        for indexes in [json!([]), json!(["s", "n", "id", "d"])] {
            let (world, _) = history(&steps, &indexes);
            for state in [world.state.clone(), restored(&world.state)] {
                let bucket = state.bucket("b").unwrap();
                for filter in &filters {
                    let parsed = match Filter::parse(&object(filter.clone())) {
                        Ok(parsed) => parsed,
                        Err(error) => return Err(TestCaseError::fail(format!("{filter}: {error}"))),
                    };
                    let found: Vec<&str> = bucket.scan(&parsed).map(Record::json).collect();
                    let expected: Vec<&str> =
                        bucket.iter().filter(|r| matches(&r.to_value(), filter)).map(Record::json).collect();
                    prop_assert_eq!(found, expected, "{} with {}", filter, indexes);
                }
            }
        }
    }

    #[test]
    fn queries_equal_a_naive_evaluation(
        steps in prop::collection::vec(step(), 0..30),
        filter in filter(),
        sort in prop::collection::vec((prop::sample::select(vec!["id", "s", "n", "any", "later"]), any::<bool>()), 0..3),
        offset in 0_usize..4,
        limit in prop::option::of(0_usize..6),
        fields in prop::collection::vec(prop::sample::select(vec!["id", "s", "n", "any", "later", "_version"]), 0..3),
    ) {
        let (mut world, _) = history(&steps, &json!(["s"]));
        let mut config = json!({"bucket": "b", "filter": filter, "offset": offset});
        let mut keys: Vec<(&str, bool)> = Vec::new();
        for (name, descending) in sort {
            if !keys.iter().any(|(other, _)| *other == name) {
                keys.push((name, descending));
                config["sort"][name] = if descending { "desc" } else { "asc" }.into();
            }
        }
        if let Some(limit) = limit {
            config["limit"] = limit.into();
        }
        let mut names: Vec<&str> = Vec::new();
        for name in fields {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            config["fields"] = names.clone().into();
        }
        // A filter of a query may have parameters; the one text that is one must be given.
        world.define_query("q", config).unwrap();
        let params = json!({"p": "{{ params.p }}"});
        let result = world.query("q", params).unwrap();

        let mut expected: Vec<Value> =
            values(&world.state).into_iter().filter(|record| matches(record, &filter)).collect();
        expected.sort_by(|a, b| {
            let mut orders = keys.iter().map(|(name, desc)| sort_order(a.get(*name), b.get(*name), *desc));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let expected: Vec<String> = expected
            .into_iter()
            .skip(offset)
            .take(limit.unwrap_or(usize::MAX))
            .map(|record| match names.as_slice() {
                [] => plain(&record),
                names => {
                    let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), record.get(*name)?.clone())));
                    plain(&Value::Object(kept.collect()))
                }
            })
            .collect();
        let result: Vec<String> = result.as_array().unwrap().iter().map(plain).collect();
        prop_assert_eq!(result, expected);
    }

    #[test]
    fn groups_equal_a_naive_evaluation(steps in prop::collection::vec(step(), 0..30), by in prop::sample::select(vec!["s", "n", "later"])) {
        let (mut world, _) = history(&steps, &json!([]));
        let aggregate = json!({"function": "sum", "field": "_version", "groupBy": by});
        world.define_query("q", json!({"bucket": "b", "aggregate": aggregate})).unwrap();
        let mut expected: Vec<(String, u64)> = Vec::new();
        for record in values(&world.state) {
            let identity = record.get(by).map_or("null".into(), plain);
            let version = record["_version"].as_u64().unwrap();
            match expected.iter_mut().find(|(other, _)| *other == identity) {
                Some((_, sum)) => *sum += version,
                None => expected.push((identity, version)),
            }
        }
        let result = world.query("q", Value::Null).unwrap();
        let result: Vec<(String, u64)> = result
            .as_array()
            .unwrap()
            .iter()
            .map(|g| (g["key"].get(by).map_or("null".into(), plain), g["value"].as_u64().unwrap()))
            .collect();
        prop_assert_eq!(result, expected);
    }
}
