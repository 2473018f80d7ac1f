//! Filters give the same whatever the indexes, and say how they were answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::naive::{filter, matches, record};
use common::{World, object, restored};
use dunlin_store::{Filter, Record};
use proptest::prelude::*;
use serde_json::{Value, json};

fn config(indexes: &Value, unique: &Value) -> Value {
    json!({
        "key": "id",
        "schema": {
            "id": {"type": "date"}, "a": {"type": "date"}, "b": {"type": "date"}, "c": {"type": "boolean"},
            "o": {"type": "object"}, "t": {"type": "array"},
        },
        "indexes": indexes, "unique": unique,
    })
}

fn world(records: &[Value], indexes: &Value) -> World {
    let mut world = World::with_bucket("b", config(indexes, &json!([])));
    for record in records {
        // Some keys are taken.
        let _ = world.insert("b", record.clone());
    }
    world
}

fn parsed(filter: &Value) -> Filter {
    Filter::parse(&object(filter.clone())).unwrap_or_else(|error| panic!("{filter}: {error}"))
}

fn explained(world: &World, filter: Value) -> Value {
    serde_json::to_value(world.state.bucket("b").unwrap().explain(&parsed(&filter))).unwrap()
}

const INDEXES: [&str; 8] = [
    "[]",
    r#"["a"]"#,
    r#"["a","b","c","id"]"#,
    r#"[["a","b"]]"#,
    r#"[["c","a"],["b","c","a"]]"#,
    r#"["b",["b","a"],["c","b"]]"#,
    r#"["o","t",["a","c","b"]]"#,
    r#"["c",["a","id"]]"#,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_index_gives_what_a_naive_look_at_all_records_gives(
        records in prop::collection::vec(record(), 0..60),
        changes in prop::collection::vec((0_usize..60, prop::option::of(record())), 0..20),
        filters in prop::collection::vec(filter(), 1..10),
    ) {
        for indexes in INDEXES {
            let indexes: Value = serde_json::from_str(indexes).unwrap();
            let mut world = world(&records, &indexes);
            for (place, change) in &changes {
                let Some(key) = records.get(*place).map(|record| record["id"].clone()) else { continue };
                match change {
                    Some(changes) => drop(world.update("b", key, changes.clone())),
                    None => drop(world.delete("b", key)),
                }
            }
            for state in [world.state.clone(), restored(&world.state)] {
                let bucket = state.bucket("b").unwrap();
                for filter in &filters {
                    let parsed = parsed(filter);
                    let expected: Vec<&str> =
                        bucket.iter().filter(|record| matches(&record.to_value(), filter)).map(Record::json).collect();
                    let found: Vec<&str> = bucket.scan(&parsed).map(Record::json).collect();
                    prop_assert_eq!(&found, &expected, "{} with {}", filter, indexes);
                    prop_assert_eq!(bucket.count(&parsed), expected.len(), "{} with {}", filter, indexes);
                    prop_assert_eq!(bucket.find_one(&parsed).map(Record::json), expected.first().copied());
                    let explain = bucket.explain(&parsed);
                    prop_assert_eq!(explain.rows_returned, expected.len());
                    prop_assert!(explain.rows_examined >= expected.len() && explain.rows_examined <= bucket.len());
                }
            }
        }
    }
}

/// 1 000 records: `a` has 100 values, `b` is a text of 10 values, `c` is true for half of them.
fn large(indexes: Value, unique: Value) -> World {
    let mut world = World::with_bucket("b", config(&indexes, &unique));
    for n in 0..1_000 {
        let record = json!({"id": n, "a": n % 100, "b": format!("text {}", n / 100), "c": n % 2 == 0});
        world.insert("b", record).unwrap();
    }
    world
}

#[test]
fn the_best_access_is_taken() {
    let world = large(json!(["a", "b", ["c", "a"], ["b", "a"]]), json!([["a", "b"]]));
    let vectors = [
        (json!({}), "scan", json!(null), json!(null), 1_000, 1_000),
        (json!({"id": 7}), "key", json!(["id"]), json!("equality"), 1, 1),
        (json!({"id": 7, "a": 8}), "key", json!(["id"]), json!("equality"), 1, 0),
        (json!({"id": {"$in": [7, 8, 5_000]}}), "key", json!(["id"]), json!("in"), 2, 2),
        (json!({"a": 7}), "index", json!(["a"]), json!("equality"), 10, 10),
        (json!({"a": {"$eq": 7}}), "index", json!(["a"]), json!("equality"), 10, 10),
        (json!({"$and": [{"a": 7}, {"b": "text 3"}]}), "index", json!(["a", "b"]), json!("compound"), 1, 1),
        (json!({"c": true, "a": 8}), "index", json!(["c", "a"]), json!("compound"), 10, 10),
        (
            json!({"c": true, "a": {"$gte": 8, "$lt": 12}}),
            "index",
            json!(["c", "a"]),
            json!("compoundRange"),
            20,
            20,
        ),
        (
            json!({"c": true, "a": {"$in": [8, 9, 10]}}),
            "index",
            json!(["c", "a"]),
            json!("compoundIn"),
            20,
            20,
        ),
        (json!({"a": {"$in": [1, 2, "x"]}}), "index", json!(["a"]), json!("in"), 20, 20),
        (json!({"a": {"$gt": 4, "$lte": 6}}), "index", json!(["a"]), json!("range"), 20, 20),
        (json!({"a": {"$between": [4, 6]}}), "index", json!(["a"]), json!("range"), 30, 30),
        (json!({"b": {"$startsWith": "text 7"}}), "index", json!(["b"]), json!("range"), 100, 100),
        (
            json!({"$or": [{"a": 1}, {"id": 2}, {"a": {"$lt": 2}}]}),
            "union",
            json!(["a", "id"]),
            json!(null),
            21,
            21,
        ),
        (json!({"$or": [{"a": 1}, {"o": 2}]}), "scan", json!(null), json!(null), 1_000, 10),
        (json!({"a": {"$gt": 4}}), "scan", json!(null), json!(null), 1_000, 950),
        (json!({"a": null}), "index", json!(["a"]), json!("equality"), 0, 0),
        (json!({"a": {"$not": {"$eq": 7}}}), "scan", json!(null), json!(null), 1_000, 990),
        (json!({"a": {}}), "nothing", json!(null), json!(null), 0, 0),
        (json!({"a": {"$in": []}}), "nothing", json!(null), json!(null), 0, 0),
        (json!({"a": {"$gt": 4, "$lt": "5"}}), "nothing", json!(null), json!(null), 0, 0),
        (json!({"$or": []}), "nothing", json!(null), json!(null), 0, 0),
    ];
    for (filter, plan, index, access, examined, returned) in vectors {
        let mut expected = json!({"plan": plan, "rowsExamined": examined, "rowsReturned": returned});
        for (name, value) in [("index", index), ("access", access)] {
            if !value.is_null() {
                expected[name] = value;
            }
        }
        assert_eq!(explained(&world, filter.clone()), expected, "{filter}");
    }
}

#[test]
fn values_are_unique_together() {
    let mut world = large(json!([]), json!([["a", "b"]]));
    let taken = json!({"id": "new", "a": 7, "b": "text 3"});
    assert!(world.insert("b", taken.clone()).is_err());
    world.delete("b", json!(307));
    world.insert("b", taken).unwrap();
    assert!(world.update("b", json!(207), json!({"b": "text 3"})).is_err());
    for n in 0..3 {
        world.insert("b", json!({"id": format!("null {n}"), "a": 7, "b": null})).unwrap();
        world.insert("b", json!({"id": format!("absent {n}"), "b": "text 3"})).unwrap();
    }
    assert_eq!(explained(&world, json!({"a": 7, "b": null}))["rowsReturned"], 3);
    restored(&world.state);
}
