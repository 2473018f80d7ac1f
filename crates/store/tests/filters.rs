//! The filter grammar: vectors of the specification, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, object};
use dunlin_protocol::Code;
use dunlin_store::{Aggregate, Filter};
use serde_json::{Value, json};

fn world(indexes: Value) -> World {
    let mut world = World::with_bucket(
        "v",
        json!({
            "key": "id",
            "schema": {"id": {"type": "string"}, "m": {"type": "number"}, "s": {"type": "string"},
                       "b": {"type": "boolean"}, "z": {"type": "string"}},
            "indexes": indexes,
        }),
    );
    let records = [
        json!({"id": "1", "m": 5, "n": 5, "s": "Banana", "b": true}),
        json!({"id": "2", "m": 10, "n": 10, "s": "apple", "b": false, "z": null}),
        json!({"id": "3", "m": null, "n": null, "s": "Žluť", "arr": [1], "o": {"a": 1}}),
        json!({"id": "4", "n": "10", "s": "9"}),
        json!({"id": "5"}),
        json!({"id": "7", "n": true}),
        json!({"id": "8", "m": -1, "n": -1, "s": "[x"}),
    ];
    for record in records {
        world.insert("v", record).unwrap();
    }
    world
}

fn ids(world: &World, filter: &Value) -> String {
    let filter = Filter::parse(&object(filter.clone())).unwrap();
    let bucket = world.state.bucket("v").unwrap();
    let found: String =
        bucket.scan(&filter).map(|r| r.to_value()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bucket.count(&filter), found.len());
    found
}

#[test]
fn vectors() {
    let vectors = [
        (json!({}), "1234578"),
        (json!({"n": 5}), "1"),
        (json!({"n": 5.0}), "1"),
        (json!({"n": null}), "3"),
        (json!({"m": null}), "3"),
        (json!({"z": null}), "2"),
        (json!({"n": {"$eq": null}}), "3"),
        (json!({"n": {"$neq": 5}}), "234578"),
        (json!({"n": {"$neq": null}}), "124578"),
        (json!({"n": {"$exists": false}}), "35"),
        (json!({"n": {"$exists": true}}), "12478"),
        (json!({"n": {}}), ""),
        (json!({"n": {"$gt": 1, "x": 2}}), ""),
        (json!({"n": {"$neq": {}}}), "1234578"),
        (json!({"n": {"$in": [5, null]}}), "13"),
        (json!({"n": {"$in": [5.0, "10", [1]]}}), "14"),
        (json!({"n": {"$in": []}}), ""),
        (json!({"n": {"$nin": [5]}}), "234578"),
        (json!({"n": {"$nin": []}}), "1234578"),
        (json!({"n": {"$gt": 4, "$lt": 11, "$neq": 10}}), "1"),
        (json!({"$or": [{"n": 5}, {"n": 10}], "b": false}), "2"),
        (json!({"n": {"$gt": "0"}}), "4"),
        (json!({"n": {"$lt": 5}}), "8"),
        (json!({"n": {"$between": [5, 10]}}), "12"),
        (json!({"n": {"$between": [10, 5]}}), ""),
        (json!({"n": {"$between": ["1", "9"]}}), "4"),
        (json!({"s": {"$gte": "B"}}), "1238"),
        (json!({"s": {"$lt": "B"}}), "4"),
        (json!({"s": {"$contains": "AN"}}), "1"),
        (json!({"s": {"$contains": "žL"}}), "3"),
        (json!({"s": {"$contains": ""}}), "12348"),
        (json!({"arr": {"$contains": "1"}}), ""),
        (json!({"s": {"$startsWith": "b"}}), ""),
        (json!({"s": {"$startsWith": "B"}}), "1"),
        (json!({"s": {"$endsWith": "ť"}}), "3"),
        (json!({"o.a": 1}), "3"),
        (json!({"o.a": {"$gt": 0}, "arr.0": 1}), "3"),
        (json!({"arr.1": {"$exists": true}}), ""),
        (json!({"s.0": "B"}), ""),
        (json!({"_version.x": 1}), ""),
        (json!({"arr": {"$has": 1.0}}), "3"),
        (json!({"arr": {"$has": "1"}}), ""),
        (json!({"n": {"$has": 5}}), ""),
        (json!({"o": {"$has": 1}}), ""),
        (json!({"$not": {"arr": {"$has": 1}}}), "124578"),
        (json!({"n": {"$not": {"$gt": 5}}}), "134578"),
        (json!({"n": {"$not": {"$gte": 5, "$lt": 10}}}), "234578"),
        (json!({"n": {"$gt": 0, "$not": {"$eq": 5}}}), "2"),
        (json!({"n": {"$not": {"$not": {"$gt": 5}}}}), "2"),
        (json!({"n": {"$not": {"$exists": true}}}), "35"),
        (json!({"$not": {"n": 5}}), "234578"),
        (json!({"$not": {"$or": [{"n": 5}, {"b": false}]}}), "34578"),
        (json!({"$not": {}}), ""),
        (json!({"m": {"$not": {"$in": [5, 10]}}}), "34578"),
        (json!({"o": {"a": 1}}), ""),
        (json!({"arr": [1]}), ""),
        (json!({"$or": [{"$and": [{"n": {"$gte": 5}}, {"b": true}]}, {"id": "5"}]}), "15"),
        (json!({"$or": []}), ""),
        (json!({"$and": []}), "1234578"),
        (json!({"$or": [{}]}), "1234578"),
        (json!({"_version": 1, "id": "4"}), "4"),
        (json!({"_createdAt": {"$gt": 0}, "b": true}), "1"),
        (json!({"id": "4", "n": 5}), ""),
        (json!({"id": 4}), ""),
        (json!({"s": "9", "b": null}), ""),
    ];
    for indexes in [json!([]), json!(["m", "s", "b", "z"]), json!(["b", "id"])] {
        let world = world(indexes.clone());
        for (filter, expected) in &vectors {
            assert_eq!(ids(&world, filter), *expected, "{filter} with indexes {indexes}");
        }
    }
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_path() {
    let refused = [
        (json!({"n": {"$foo": 1}}), "n.$foo", "unknown"),
        (json!({"n": {"$not": 5}}), "n.$not", "type"),
        (json!({"n": {"$not": {}}}), "n.$not", "type"),
        (json!({"n": {"$not": {"$gt": 1, "x": 2}}}), "n.$not", "type"),
        (json!({"n": {"$not": {"$not": {"$foo": 1}}}}), "n.$not.$not.$foo", "unknown"),
        (json!({"$not": [{"n": 5}]}), "$not", "type"),
        (json!({"$nor": [{"n": 5}]}), "$nor", "unknown"),
        (json!({"arr": {"$has": [1]}}), "arr.$has", "type"),
        (json!({"$or": {"n": 5}}), "$or", "type"),
        (json!({"$and": [{"n": 5}, 3]}), "$and[1]", "type"),
        (json!({"$or": [{"$and": [{"n": {"$gt": true}}]}]}), "$or[0].$and[0].n.$gt", "type"),
        (json!({"n": {"$gt": null}}), "n.$gt", "type"),
        (json!({"n": {"$lte": [1]}}), "n.$lte", "type"),
        (json!({"n": {"$in": "abc"}}), "n.$in", "type"),
        (json!({"n": {"$nin": null}}), "n.$nin", "type"),
        (json!({"n": {"$contains": 1}}), "n.$contains", "type"),
        (json!({"n": {"$startsWith": 9}}), "n.$startsWith", "type"),
        (json!({"n": {"$exists": 1}}), "n.$exists", "type"),
        (json!({"n": {"$between": [1]}}), "n.$between", "type"),
        (json!({"n": {"$between": [1, "2"]}}), "n.$between", "type"),
        (json!({"n": {"$between": [null, 2]}}), "n.$between[0]", "type"),
    ];
    for (filter, path, code) in refused {
        let error = Filter::parse(&object(filter.clone())).unwrap_err();
        assert_eq!(error.code(), Code::ValidationError);
        let details = error.details().unwrap();
        assert_eq!((&details[0]["field"], &details[0]["code"]), (&json!(path), &json!(code)), "{filter}");
    }
}

#[test]
fn both_of_two_filters_match_what_each_of_them_matches() {
    let world = world(json!([]));
    let bucket = world.state.bucket("v").unwrap();
    let filters = [
        json!({}),
        json!({"n": {"$gte": 1}}),
        json!({"b": true, "s": {"$exists": true}}),
        json!({"$or": [{"n": 5}, {"s": {"$startsWith": "a"}}]}),
        json!({"$not": {"n": {"$in": [1, 5]}}, "arr": {"$exists": false}}),
    ];
    let parsed = filters.map(|filter| Filter::parse(&object(filter)).unwrap());
    for one in &parsed {
        for other in &parsed {
            let both = one.and(other);
            let matches = |filter: &Filter, record| filter.matcher(bucket.definition()).matches(record);
            for record in bucket.iter() {
                let expected = matches(one, record) && matches(other, record);
                assert_eq!(matches(&both, record), expected, "{one:?} {other:?} {record:?}");
            }
        }
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let mut deep = json!({"n": 1});
    for _ in 0..15 {
        deep = json!({"$and": [deep]});
    }
    assert!(Filter::parse(&object(deep.clone())).is_ok());
    assert!(Filter::parse(&object(json!({"$or": [deep]}))).is_err());
    let list = |n: usize| json!({"n": {"$in": vec![1; n]}});
    assert!(Filter::parse(&object(list(9_000))).is_ok());
    assert!(Filter::parse(&object(list(10_001))).is_err());
    let wide = json!({"$or": vec![json!({}); 10_001]});
    assert!(Filter::parse(&object(wide)).is_err());
}

#[test]
fn aggregates_skip_what_is_no_number() {
    let world = world(json!(["b"]));
    let bucket = world.state.bucket("v").unwrap();
    let fold = |function, field: &str, filter: Value| {
        let filter = Filter::parse(&object(filter)).unwrap();
        bucket.aggregate(function, field, &filter).map(|number| number.to_string())
    };
    assert_eq!(fold(Aggregate::Sum, "n", json!({})), Some("14".into()));
    assert_eq!(fold(Aggregate::Avg, "n", json!({})), Some(json!(14.0 / 3.0).to_string()));
    assert_eq!(fold(Aggregate::Min, "n", json!({})), Some("-1".into()));
    assert_eq!(fold(Aggregate::Max, "n", json!({"b": true})), Some("5".into()));
    assert_eq!(fold(Aggregate::Max, "s", json!({})), None);
    assert_eq!(fold(Aggregate::Sum, "nowhere", json!({})), Some("0".into()));
    assert_eq!(fold(Aggregate::Sum, "_version", json!({})), Some("7".into()));
    assert_eq!(fold(Aggregate::Count, "", json!({"b": {"$exists": true}})), Some("2".into()));
}
