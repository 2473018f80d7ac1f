//! Definitions that change while there are records: what is filled in, what is held to the new rules, what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object, restored};
use dunlin_protocol::Code;
use dunlin_store::{Cause, Change, Filter, Snapshot, StoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn people() -> World {
    let config = json!({
        "key": "id",
        "schema": {"id": {"type": "string"}, "age": {"type": "number"}, "u": {"type": "string", "unique": true}},
        "indexes": ["age", ["age", "u"]],
        "unique": [["id", "age"]],
        "note": 1,
    });
    let mut world = World::with_bucket("people", config);
    for (id, age) in [("a", json!(5)), ("b", json!(-1)), ("c", json!(null)), ("d", json!(-7))] {
        world.insert("people", json!({"id": id, "age": age, "u": id, "extra": id})).unwrap();
    }
    world
}

/// Refuses an update, and makes sure that nothing has changed.
fn refused(world: &mut World, updates: Value) -> StoreError {
    let before = (image(&world.state), world.log.len());
    let error = world.alter("people", updates).unwrap_err();
    assert_eq!((image(&world.state), world.log.len()), before);
    let found = world.state.bucket("people").unwrap().count(&filter(json!({"age": 5})));
    assert_eq!(found, 1, "indexes find what they found");
    error
}

fn filter(filter: Value) -> Filter {
    Filter::parse(&object(filter)).unwrap()
}

fn faults(error: &StoreError) -> Vec<String> {
    match error {
        StoreError::InvalidDefinition { issues, .. } | StoreError::Validation { issues, .. } => {
            issues.iter().map(|issue| format!("{}: {}", issue.field, issue.code)).collect()
        }
        other => panic!("{other}"),
    }
}

fn records(state: &Snapshot, bucket: &str) -> Vec<Value> {
    state.bucket(bucket).unwrap().iter().map(dunlin_store::Record::to_value).collect()
}

/// The log applied from the start gives this state, and so does what is stored of it.
fn follows(world: &World) {
    let mut follower = Snapshot::new("test");
    for commit in &world.log {
        follower.apply(commit).unwrap();
    }
    assert_eq!(image(&follower), image(&world.state));
    assert_eq!(image(&restored(&world.state)), image(&world.state));
}

fn config(world: &World) -> Value {
    serde_json::from_str(world.state.bucket("people").unwrap().config()).unwrap()
}

#[test]
fn every_fault_of_an_update_with_its_path() {
    let table = [
        (json!({"removeFields": []}), vec!["removeFields: unknown"]),
        (
            json!({"addFields": [], "changeFields": 1, "addIndexes": {}, "dropIndexes": "age", "addUnique": 1, "dropUnique": 1}),
            vec![
                "addFields: type",
                "changeFields: type",
                "dropUnique: type",
                "dropIndexes: type",
                "addIndexes: type",
                "addUnique: type",
            ],
        ),
        (json!({"addFields": {"age": {"type": "number"}}}), vec!["addFields.age: conflict"]),
        (
            json!({"addFields": {"x.y": {"type": "number", "min": "a"}, "x": {"type": "?"}, "_version": {}}}),
            vec!["addFields.x.y.min: type", "addFields.x.type: type", "addFields._version: reserved"],
        ),
        (
            json!({"addFields": {"o": {"type": "object", "properties": {"p": {"type": "string", "ref": "b"}}}}}),
            vec!["addFields.o.properties.p.ref: unsupported"],
        ),
        (json!({"changeFields": {"x": {"type": "number"}}}), vec!["changeFields.x: unknown"]),
        (
            json!({"changeFields": {"age": {"type": "number", "pattern": "a"}}}),
            vec!["changeFields.age.pattern: conflict"],
        ),
        (json!({"changeFields": {"age": 5}}), vec!["changeFields.age: type"]),
        (json!({"changeFields": {"id": {"type": "number"}}}), vec!["changeFields.id.type: conflict"]),
        (
            json!({"changeFields": {"age": {"type": "object"}}}),
            vec!["indexes[1][0]: conflict", "unique[0][1]: conflict"],
        ),
        (
            json!({"addIndexes": ["nope", ["age", "nope"], ["age"]]}),
            vec!["addIndexes[0]: unknown", "addIndexes[1][1]: unknown", "addIndexes[2]: type"],
        ),
        (
            json!({"addUnique": [["age", "age"], "u"]}),
            vec!["addUnique[0][1]: conflict", "addUnique[1]: type"],
        ),
        (
            json!({"dropIndexes": ["u", ["id", "age"], "id", ["u", "age"], 5]}),
            vec![
                "dropIndexes[0]: conflict",
                "dropIndexes[1]: conflict",
                "dropIndexes[2]: unknown",
                "dropIndexes[3]: unknown",
                "dropIndexes[4]: unknown",
            ],
        ),
        (
            json!({"dropUnique": ["u", ["age", "id"]]}),
            vec!["dropUnique[0]: unknown", "dropUnique[1]: unknown"],
        ),
        (json!({"ttl": "x", "maxSize": 0}), vec!["ttl: format", "maxSize: type"]),
    ];
    let mut world = people();
    for (updates, expected) in table {
        let error = refused(&mut world, updates.clone());
        assert_eq!(faults(&error), expected, "{updates}");
    }
    let error = refused(&mut world, json!({"dropIndexes": ["u"]}));
    assert!(error.to_string().contains("\"u\" is unique, which needs its index"), "{error}");
}

#[test]
fn an_update_is_merged_into_the_definition() {
    let mut world = people();
    let updates = json!({
        "addFields": {"city": {"type": "string"}},
        "changeFields": {"u": {"type": "string"}},
        "dropIndexes": ["age", ["age", "u"], "age"],
        "addIndexes": ["city", ["city", "age"], "city"],
        "dropUnique": [["id", "age"]],
        "addUnique": [["id", "city"]],
        "ttl": 5,
        "maxSize": 9,
    });
    world.alter("people", updates).unwrap();
    assert_eq!(
        serde_json::to_string(&config(&world)).unwrap(),
        r#"{"key":"id","schema":{"id":{"type":"string"},"age":{"type":"number"},"u":{"type":"string"},"city":{"type":"string"}},"indexes":["city",["city","age"]],"unique":[["id","city"]],"note":1,"ttl":5,"maxSize":9}"#
    );
    assert_eq!(world.state.bucket("people").unwrap().index_count(), 3);
    world.insert("people", json!({"id": "e", "u": "a"})).unwrap();
    assert_eq!(world.state.next_deadline(), Some(world.now + 5), "older records have no deadline");
    let drop_all = json!({"dropIndexes": ["city", ["city", "age"]], "dropUnique": [["id", "city"]], "ttl": null, "maxSize": null});
    world.alter("people", drop_all).unwrap();
    let names: Vec<String> = object(config(&world)).keys().cloned().collect();
    assert_eq!(names, ["key", "schema", "note"]);
    assert_eq!(world.state.next_deadline(), None);
    world.alter("people", json!({})).unwrap();
    follows(&world);
}

#[test]
fn added_fields_are_filled_in_and_the_records_stay_as_old_as_they_are() {
    let mut world = people();
    world.update("people", json!("b"), json!({"age": 6})).unwrap();
    let before = records(&world.state, "people");
    let updates = json!({"addFields": {
        "extra": {"type": "string", "default": "none"},
        "city": {"type": "string", "required": true, "default": "Brno"},
        "opts": {"type": "object", "properties": {"x": {"type": "number"}}, "default": {"x": 1.0}},
        "no": {"type": "number", "generated": "autoincrement", "unique": true},
        "uuid": {"type": "string", "generated": "uuid", "unique": true},
        "cuid": {"type": "string", "generated": "cuid"},
        "at": {"type": "date", "generated": "timestamp"},
        "free": {"type": "string"},
    }, "addIndexes": ["city"]});
    world.alter("people", updates).unwrap();
    let after = records(&world.state, "people");
    for (i, (old, new)) in before.iter().zip(&after).enumerate() {
        for (name, value) in object(old.clone()) {
            assert_eq!(new[&name], value, "{name}");
        }
        assert_eq!(new["city"], "Brno");
        assert_eq!(new["opts"].to_string(), r#"{"x":1.0}"#);
        assert_eq!(new["no"], json!(5 + i), "in table order, behind the numbers of the four inserts");
        assert_eq!(new["at"], world.now);
        assert_eq!(new.get("free"), None);
        let last: Vec<String> = object(new.clone()).keys().rev().take(3).cloned().collect();
        assert_eq!(last, ["_updatedAt", "_createdAt", "_version"]);
    }
    let changes = &world.log.last().unwrap().changes;
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::Put { .. })).count(), 4);
    let bucket = world.state.bucket("people").unwrap();
    assert_eq!(bucket.count(&filter(json!({"city": "Brno"}))), 4);
    assert_eq!(world.insert("people", json!({"id": "e"})).unwrap().to_value()["no"], 9);
    follows(&world);
}

#[test]
fn what_records_carry_already_is_kept_and_numbers_go_on_behind_it() {
    let mut world = World::with_bucket("people", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    for (id, n) in [("a", json!(null)), ("b", json!(40)), ("c", json!(2.5))] {
        world.insert("people", json!({"id": id, "n": n})).unwrap();
    }
    world.insert("people", json!({"id": "d"})).unwrap();
    world
        .alter("people", json!({"addFields": {"n": {"type": "number", "generated": "autoincrement"}}}))
        .unwrap();
    let numbers: Vec<Value> =
        records(&world.state, "people").into_iter().map(|record| record["n"].clone()).collect();
    assert_eq!(numbers, [json!(null), json!(40), json!(2.5), json!(41)]);
    let puts = world.log.last().unwrap().changes.iter().filter(|change| matches!(change, Change::Put { .. }));
    assert_eq!(puts.count(), 1, "only what lacks the field is written");
    follows(&world);
}

#[test]
fn a_required_field_needs_a_value_for_every_record() {
    let mut world = people();
    let error = refused(&mut world, json!({"addFields": {"x": {"type": "string", "required": true}}}));
    assert_eq!(faults(&error), ["addFields.x.required: required"]);
    assert!(error.to_string().contains("4 of 4 records have no value"), "{error}");
    world.alter("people", json!({"addFields": {"extra": {"type": "string", "required": true}}})).unwrap();
    world.clear("people");
    world.alter("people", json!({"addFields": {"x": {"type": "string", "required": true}}})).unwrap();
    follows(&world);
}

#[test]
fn records_are_held_to_rules_that_are_new() {
    let mut world = people();
    let error =
        refused(&mut world, json!({"changeFields": {"age": {"type": "number", "min": 0, "enum": [5]}}}));
    assert_eq!(faults(&error), ["_record: definition", "age: enum", "age: min"]);
    let text = error.to_string();
    assert!(text.contains("2 of 4 records do not keep the new definition"), "{text}");
    assert!(text.contains("the one with key \"b\""), "{text}");
    let error = refused(&mut world, json!({"changeFields": {"age": {"type": "number", "required": true}}}));
    assert_eq!(faults(&error), ["_record: definition", "age: required"]);
    let error = refused(&mut world, json!({"addFields": {"extra": {"type": "number"}}}));
    assert_eq!(faults(&error), ["_record: definition", "extra: type"]);

    world.update("people", json!("a"), json!({"o": {"list": [{"n": 1}, {"n": "x"}]}})).unwrap();
    let nested = json!({"type": "object", "properties": {"list": {"type": "array", "items": {
        "type": "object", "properties": {"n": {"type": "number"}}}}}});
    let error = refused(&mut world, json!({"addFields": {"o": nested}}));
    assert_eq!(faults(&error), ["_record: definition", "o.list[1].n: type"]);

    let updates = json!({"changeFields": {"age": {"type": "number", "min": -7}}, "addFields": {"o": {"type": "object"}}});
    world.alter("people", updates).unwrap();
    let error = world.insert("people", json!({"id": "x", "age": -8})).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
    follows(&world);
}

#[test]
fn records_are_held_to_uniqueness_that_is_new() {
    let mut world = people();
    world.update("people", json!("d"), json!({"age": 5, "extra": "a"})).unwrap();
    let one = |world: &World| world.state.bucket("people").unwrap().count(&filter(json!({"age": 5})));
    assert_eq!(one(&world), 2);
    let before = image(&world.state);
    for updates in [
        json!({"changeFields": {"age": {"type": "number", "unique": true}}}),
        json!({"changeFields": {"age": {"type": "number", "unique": true}}, "dropIndexes": [["age", "u"]]}),
    ] {
        let error = world.alter("people", updates).unwrap_err();
        assert_eq!(error.details(), Some(json!({"bucket": "people", "field": "age", "value": 5})));
    }
    let together = json!({"addFields": {"extra": {"type": "string"}}, "addUnique": [["age", "extra"]]});
    let error = world.alter("people", together.clone()).unwrap_err();
    let expected = json!({"bucket": "people", "fields": ["age", "extra"], "values": [5, "a"]});
    assert_eq!(error.details(), Some(expected));
    let error = world
        .alter("people", json!({"addFields": {"x": {"type": "string", "unique": true, "default": "x"}}}));
    assert_eq!(error.unwrap_err().code(), Code::AlreadyExists, "one value for all cannot be unique");
    assert_eq!(image(&world.state), before);
    world.update("people", json!("d"), json!({"age": 4, "extra": "d"})).unwrap();
    world.alter("people", together).unwrap();
    follows(&world);
}

#[test]
fn what_records_refer_to_must_be_there() {
    let mut world = people();
    let refers = json!({"addFields": {"extra": {"type": "string", "ref": "groups"}}});
    assert_eq!(refused(&mut world, refers.clone()).code(), Code::BucketNotDefined);
    world.define("groups", json!({"key": "g", "schema": {"g": {"type": "string"}}})).unwrap();
    for g in ["a", "b", "c"] {
        world.insert("groups", json!({"g": g})).unwrap();
    }
    let error = refused(&mut world, refers.clone());
    assert!(matches!(&error, StoreError::ReferenceMissing { key, .. } if key == "d"), "{error}");
    let by_default = json!({"addFields": {"group": {"type": "string", "ref": "groups", "default": "z"}}});
    assert!(matches!(refused(&mut world, by_default), StoreError::ReferenceMissing { .. }));
    world.update("people", json!("d"), json!({"extra": null})).unwrap();
    world.alter("people", refers).unwrap();
    let change = |action: &str| json!({"changeFields": {"extra": {"type": "string", "ref": "groups", "onDelete": action}}});
    world.alter("people", change("cascade")).unwrap();
    assert!(world.delete("groups", json!("b")), "takes the record with it");
    world.alter("people", change("set_null")).unwrap();
    assert!(world.delete("groups", json!("c")));
    let left: Vec<Value> =
        records(&world.state, "people").into_iter().map(|r| json!([r["id"], r["extra"]])).collect();
    assert_eq!(left, [json!(["a", "a"]), json!(["c", null]), json!(["d", null])]);
    world.alter("people", json!({"changeFields": {"extra": {"type": "string"}}})).unwrap();
    world.run(dunlin_store::Intent::DropBucket { name: "groups".into() }).unwrap();
    follows(&world);
}

#[test]
fn a_smaller_bucket_lets_the_oldest_go() {
    let mut world = people();
    let updates =
        json!({"maxSize": 2, "addFields": {"no": {"type": "number", "generated": "autoincrement"}}});
    world.alter("people", updates).unwrap();
    let left: Vec<Value> =
        records(&world.state, "people").into_iter().map(|r| json!([r["id"], r["no"]])).collect();
    assert_eq!(left, [json!(["c", 5]), json!(["d", 6])]);
    let evicted = world.log.last().unwrap().changes.iter();
    assert_eq!(evicted.filter(|c| matches!(c, Change::Remove { cause: Cause::Evicted, .. })).count(), 2);
    world.alter("people", json!({"maxSize": 1})).unwrap();
    assert_eq!(records(&world.state, "people").len(), 1);
    follows(&world);
}

#[test]
fn a_refusal_takes_back_what_was_filled_in_and_evicted() {
    let mut world = people();
    let updates = json!({
        "addFields": {"no": {"type": "number", "generated": "autoincrement"}},
        "changeFields": {"age": {"type": "number", "max": -8}},
        "maxSize": 3, "ttl": "1s",
    });
    let error = refused(&mut world, updates);
    assert_eq!(faults(&error), ["_record: definition", "age: max"]);
    assert_eq!(world.insert("people", json!({"id": "e"})).unwrap().to_value().get("no"), None);
    follows(&world);
}

fn update() -> impl Strategy<Value = Value> {
    let rules = [
        json!({"type": "number"}),
        json!({"type": "number", "unique": true}),
        json!({"type": "number", "min": 0}),
        json!({"type": "string", "default": "x"}),
        json!({"type": "number", "generated": "autoincrement"}),
        json!({"type": "string", "ref": "people"}),
        json!({"type": "number", "required": true}),
    ];
    let fields = || {
        prop::collection::vec(("x|y|age|u", prop::sample::select(rules.to_vec())), 0..2)
            .prop_map(|fields| fields.into_iter().collect::<Value>())
    };
    let indexes = || {
        prop::collection::vec(prop::sample::select(vec![json!("x"), json!("age"), json!(["age", "u"])]), 0..2)
    };
    (fields(), fields(), indexes(), indexes(), prop::option::of(1..5)).prop_map(|(add, change, more, fewer, size)| {
        json!({"addFields": add, "changeFields": change, "addIndexes": more, "dropIndexes": fewer, "maxSize": size})
    })
}

proptest! {
    #[test]
    fn an_update_is_carried_out_whole_or_not_at_all(updates in prop::collection::vec(update(), 1..6)) {
        let mut world = people();
        for (i, update) in updates.into_iter().enumerate() {
            let before = image(&world.state);
            if world.alter("people", update).is_err() {
                prop_assert_eq!(image(&world.state), before);
            }
            let _ = world.insert("people", json!({"id": format!("n{i}"), "x": i, "age": i, "y": null, "u": format!("{i}")}));
        }
        follows(&world);
    }
}
