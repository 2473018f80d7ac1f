//! Inserts, updates, deletes: what a record becomes and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object, restored};
use dunlin_protocol::Code;
use dunlin_store::{Key, StoreError};
use serde_json::{Value, json};

fn people() -> World {
    World::with_bucket(
        "people",
        json!({
            "key": "id",
            "schema": {
                "id": {"type": "string", "generated": "uuid"},
                "name": {"type": "string", "required": true},
                "role": {"type": "string", "default": "user"},
                "email": {"type": "string", "unique": true},
                "tags": {"type": "array", "default": ["new"]},
                "born": {"type": "date", "generated": "timestamp"},
            },
            "indexes": ["role"],
        }),
    )
}

fn issues(error: &StoreError) -> Vec<(String, String)> {
    let details = error.details().unwrap();
    let text = |issue: &Value, name: &str| issue[name].as_str().unwrap().to_owned();
    details.as_array().unwrap().iter().map(|i| (text(i, "field"), text(i, "code"))).collect()
}

#[test]
fn input_then_generated_then_defaulted_then_metadata() {
    let mut world = people();
    let record =
        world.insert("people", json!({"extra": {"a": 1}, "name": "Žan \"Q\"", "_version": 9})).unwrap();
    let names: Vec<String> = object(record.to_value()).keys().cloned().collect();
    let expected = ["extra", "name", "id", "born", "role", "tags", "_version", "_createdAt", "_updatedAt"]
        .map(String::from);
    assert_eq!(names, expected);
    let value = record.to_value();
    assert_eq!(value["_version"], 1);
    assert_eq!(value["_createdAt"], value["born"]);
    assert_eq!(value["name"], "Žan \"Q\"");
    let id = value["id"].as_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "4"));
    let member = |name: &str| world.state.bucket("people").unwrap().definition().member(name);
    assert_eq!(record.get(&member("name")).as_str(), Some("Žan \"Q\""));
    assert_eq!(record.get(&member("extra")).to_value(), json!({"a": 1}));
}

#[test]
fn null_is_neither_generated_nor_defaulted() {
    let mut world = people();
    let record = world.insert("people", json!({"name": "a", "role": null, "born": null})).unwrap();
    assert_eq!(
        (record.to_value()["role"].clone(), record.to_value()["born"].clone()),
        (Value::Null, Value::Null)
    );
    let error = world.insert("people", json!({"name": "a", "id": null})).unwrap_err();
    assert_eq!(issues(&error), [("id".to_owned(), "required".to_owned())]);
}

#[test]
fn every_issue_in_order_with_the_words_of_the_protocol() {
    let mut world = World::with_bucket(
        "b",
        json!({"key": "id", "schema": {
            "id": {"type": "string"},
            "n": {"type": "number", "min": 0},
            "s": {"type": "string", "minLength": 2, "enum": ["aaa", "bb"]},
            "o": {"type": "object"},
            "t": {"type": "boolean", "required": true},
            "long": {"type": "string", "maxLength": 1},
        }}),
    );
    let error =
        world.insert("b", json!({"id": "1", "n": -1, "s": "b", "o": [], "long": "\u{1F600}"})).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
    assert_eq!(
        error.to_string(),
        "Validation failed for bucket \"b\": n: Minimum value is 0; s: Value must be one of: aaa, bb; s: Minimum \
         length is 2; o: Expected type \"object\", got array; t: Field is required; long: Maximum length is 1"
    );
    assert_eq!(
        error.details().unwrap()[0],
        json!({"field": "n", "message": "Minimum value is 0", "code": "min"})
    );
    let error = world.insert("b", json!({})).unwrap_err();
    assert_eq!(issues(&error), [("id".into(), "required".into()), ("t".into(), "required".into())]);
}

#[test]
fn what_is_taken_or_missing() {
    let mut world = people();
    world.insert("people", json!({"id": "a", "name": "A", "email": "x@y"})).unwrap();
    world.insert("people", json!({"id": "b", "name": "B"})).unwrap();
    world.insert("people", json!({"id": "c", "name": "C", "email": null})).unwrap();
    let before = image(&world.state);

    let error = world.insert("people", json!({"id": "a", "name": "again"})).unwrap_err();
    assert_eq!(
        (error.code(), error.details()),
        (Code::AlreadyExists, Some(json!({"bucket": "people", "key": "a"})))
    );
    let error = world.insert("people", json!({"name": "A", "email": "x@y"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unique constraint violation in bucket \"people\": field \"email\" already has value \"x@y\""
    );
    assert_eq!(error.details(), Some(json!({"bucket": "people", "field": "email", "value": "x@y"})));
    let error = world.update("people", json!("b"), json!({"email": "x@y"})).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    for key in [json!("z"), json!(1), json!(true), json!(null), json!({}), json!([])] {
        let error = world.update("people", key.clone(), json!({})).unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert!(!world.delete("people", key.clone()));
        assert!(world.state.bucket("people").unwrap().get(&key).is_none());
    }
    let error = world.update("people", json!("z"), json!({})).unwrap_err();
    assert_eq!(error.to_string(), "Record with key \"z\" not found in bucket \"people\"");
    let error = world.insert("nowhere", json!({})).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::BucketNotDefined, "Bucket \"nowhere\" is not defined".into())
    );
    assert_eq!(image(&world.state), before);

    // Its own value does not stand in the way, and a value is free again once it is given up.
    world.update("people", json!("a"), json!({"email": "x@y", "name": "A2"})).unwrap();
    world.update("people", json!("a"), json!({"email": null})).unwrap();
    world.update("people", json!("b"), json!({"email": "x@y"})).unwrap();
}

#[test]
fn an_update_merges_and_keeps_what_is_fixed() {
    let mut world = people();
    let old = world.insert("people", json!({"x": 1, "name": "A\n", "o": {"deep": [1.0]}})).unwrap();
    let id = old.to_value()["id"].clone();
    let changes = json!({"id": "other", "born": 1, "_version": 7, "_createdAt": 0, "name": "B", "y": 2, "_expiresAt": 5});
    let new = world.update("people", id.clone(), changes).unwrap();
    let mut expected = old.to_value();
    let now = world.now;
    for (name, value) in
        [("name", json!("B")), ("y", json!(2)), ("_expiresAt", json!(5)), ("_version", json!(2))]
    {
        expected[name] = value;
    }
    expected["_updatedAt"] = json!(now);
    assert_eq!(new.to_value(), expected);
    assert!(
        new.json().contains(r#""o":{"deep":[1.0]}"#),
        "untouched members keep their text: {}",
        new.json()
    );
    assert!(
        new.json().ends_with(&format!(
            "\"_createdAt\":{},\"_updatedAt\":{now},\"_expiresAt\":5}}",
            old.created_at()
        ))
    );
    assert_eq!(world.update("people", id.clone(), json!({})).unwrap().version(), 3);
    let error = world.update("people", id, json!({"name": null})).unwrap_err();
    assert_eq!(issues(&error), [("name".to_owned(), "required".to_owned())]);
}

#[test]
fn keys_are_typed_by_value() {
    let mut world = World::with_bucket("n", json!({"key": "k", "schema": {"k": {"type": "date"}}}));
    world.insert("n", json!({"k": 1})).unwrap();
    world.insert("n", json!({"k": "1"})).unwrap();
    assert_eq!(world.insert("n", json!({"k": 1.0})).unwrap_err().code(), Code::AlreadyExists);
    world.insert("n", json!({"k": 9_007_199_254_740_993_u64})).unwrap();
    world.insert("n", json!({"k": 9_007_199_254_740_992_u64})).unwrap();
    world.insert("n", json!({"k": u64::MAX})).unwrap();
    world.insert("n", json!({"k": i64::MIN})).unwrap();
    let bucket = world.state.bucket("n").unwrap();
    assert_eq!(bucket.len(), 6);
    assert_eq!(bucket.get(&json!(1.0)).unwrap().to_value()["k"], json!(1));
    assert_eq!(bucket.find(Key::Str("1")).unwrap().1.to_value()["k"], json!("1"));
    assert!(bucket.get(&json!(9_007_199_254_740_993_u64)).unwrap().json().contains("9007199254740993"));
}

#[test]
fn autoincrement_never_meets_a_given_number() {
    let config = json!({"key": "id", "schema": {"id": {"type": "number", "generated": "autoincrement"}}});
    let mut world = World::with_bucket("n", config);
    let mut next = |data: Value| world.insert("n", data).unwrap().to_value()["id"].clone();
    assert_eq!(next(json!({})), 1);
    assert_eq!(next(json!({"id": 5})), 5);
    assert_eq!(next(json!({})), 6);
    assert_eq!(next(json!({"id": 2.0})), 2.0);
    assert_eq!(next(json!({"id": -7})), -7);
    assert_eq!(next(json!({"id": 1e300})), 1e300);
    assert_eq!(next(json!({})), 10);
    assert_eq!(next(json!({"id": 9_007_199_254_740_991_u64})), 9_007_199_254_740_991_u64);
    let error = world.insert("n", json!({})).unwrap_err();
    assert!(matches!(error, StoreError::CounterExhausted { .. }), "{error}");
    world.clear("n");
    assert!(world.insert("n", json!({})).is_err(), "clearing keeps the counter");
}

#[test]
fn table_order_survives_updates_and_ends_with_deletes() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    for id in ["c", "a", "b", "d"] {
        world.insert("b", json!({"id": id})).unwrap();
    }
    world.update("b", json!("a"), json!({"x": 1})).unwrap();
    assert!(world.delete("b", json!("c")));
    assert!(!world.delete("b", json!("c")));
    world.insert("b", json!({"id": "c"})).unwrap();
    let bucket = world.state.bucket("b").unwrap();
    let ids = |records: Vec<&dunlin_store::Record>| {
        records.iter().map(|record| record.to_value()["id"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(ids(bucket.iter().collect()), "abdc");
    assert_eq!(ids(bucket.first(2)), "ab");
    assert_eq!(ids(bucket.last(2)), "dc");
    assert_eq!((ids(bucket.last(0)), ids(bucket.last(9))), (String::new(), "abdc".into()));

    let page = bucket.paginate(None, 3).unwrap();
    assert_eq!((ids(page.records), page.has_more, page.next_cursor), ("abd".into(), true, Some(json!("d"))));
    let page = bucket.paginate(Some(&json!("d")), 3).unwrap();
    assert_eq!((ids(page.records), page.has_more, page.next_cursor), ("c".into(), false, Some(json!("c"))));
    let page = bucket.paginate(Some(&json!("c")), 3).unwrap();
    assert_eq!((page.records.len(), page.has_more, page.next_cursor), (0, false, None));
    assert_eq!(ids(bucket.paginate(Some(&Value::Null), 1).unwrap().records), "a");
    for unknown in [json!("z"), json!(1), json!(false), json!({})] {
        let error = bucket.paginate(Some(&unknown), 1).unwrap_err();
        assert_eq!(error.code(), Code::ValidationError);
        assert!(error.to_string().contains("restart from the beginning"), "{error}");
    }
}

#[test]
fn clearing_keeps_rows_from_coming_back() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    assert_eq!(world.clear("b"), 0);
    assert_eq!(world.state.position(), 1, "nothing changed, so there is no commit");
    world.insert("b", json!({"id": "a"})).unwrap();
    assert_eq!(world.clear("b"), 1);
    world.insert("b", json!({"id": "a"})).unwrap();
    let rows: Vec<u64> = world.state.bucket("b").unwrap().rows().map(|(row, _)| row.0).collect();
    assert_eq!(rows, [1], "row numbers are never given twice");
    assert_eq!(image(&restored(&world.state)), image(&world.state));
}

#[test]
fn bounds_of_a_record() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    let mut deep = json!(1);
    for _ in 0..dunlin_store::limits::MAX_VALUE_DEPTH - 1 {
        deep = json!([deep]);
    }
    let record = world.insert("b", json!({"id": "a", "deep": deep})).unwrap();
    assert!(record.to_value()["deep"].is_array(), "what is accepted can be read back");
    let error = world.update("b", json!("a"), json!({"deep": [deep]})).unwrap_err();
    assert_eq!(issues(&error), [("deep".to_owned(), "limit".to_owned())]);
    let long = "x".repeat(dunlin_store::limits::MAX_RECORD_BYTES);
    let error = world.insert("b", json!({"id": "b", "long": long})).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
}
