//! Definitions of buckets: checked whole, refused whole, changed in place.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object, restored};
use dunlin_protocol::Code;
use dunlin_store::{Definition, Filter, Intent, StoreError};
use serde_json::{Value, json};

fn faults(error: &StoreError) -> Vec<(String, String)> {
    let details = error.details().unwrap();
    let text = |issue: &Value, name: &str| issue[name].as_str().unwrap().to_owned();
    details.as_array().unwrap().iter().map(|i| (text(i, "field"), text(i, "code"))).collect()
}

fn refused(config: Value) -> Vec<(String, String)> {
    let mut world = World::new();
    let error = world.define("b", config).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
    assert_eq!(world.state.position(), 0);
    assert!(world.state.bucket("b").is_err(), "nothing half-defined remains");
    faults(&error)
}

#[test]
fn every_fault_with_its_path() {
    let found = refused(json!({
        "key": "nope",
        "schema": {
            "a": {"type": "numbre"},
            "b": {"type": "number", "min": 3, "max": 1, "default": "x"},
            "c": {"type": "string", "generated": "autoincrement", "minLength": -1},
            "d": {"type": "object", "unique": true, "required": "yes"},
            "e": {"type": "string", "enum": ["x", 5]},
            "f": 7,
            "_version": {"type": "number"},
            "g": {"type": "boolean", "min": 1, "maxLength": 2},
            "h": {"type": "string", "required": true, "default": null},
        },
        "indexes": ["a", "z", 3],
    }));
    let expected = [
        ("schema.a.type", "type"),
        ("schema.b.min", "conflict"),
        ("schema.b.default", "type"),
        ("schema.c.generated", "conflict"),
        ("schema.c.minLength", "type"),
        ("schema.d.required", "type"),
        ("schema.d.unique", "conflict"),
        ("schema.e.enum[1]", "type"),
        ("schema.f", "type"),
        ("schema._version", "reserved"),
        ("schema.g.min", "conflict"),
        ("schema.g.maxLength", "conflict"),
        ("schema.h.default", "required"),
        ("key", "unknown"),
        ("indexes[1]", "unknown"),
        ("indexes[2]", "type"),
    ];
    assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
}

#[test]
fn what_this_version_cannot_do_is_refused_not_ignored() {
    let ok = json!({"key": "id", "schema": {"id": {"type": "string", "auto": "uuid"}}, "persistent": true});
    World::new().define("b", ok.clone()).unwrap();
    let bucket_options = [
        ("ttl", json!("30s")),
        ("maxSize", json!(5)),
        ("persistent", json!(false)),
        ("validate", json!(true)),
    ];
    for (option, value) in bucket_options {
        let mut config = ok.clone();
        config[option] = value;
        assert_eq!(refused(config), [(option.to_owned(), "unsupported".to_owned())]);
    }
    let field_options = [
        ("pattern", json!("^a")),
        ("format", json!("email")),
        ("properties", json!({})),
        ("items", json!({"type": "string"})),
        ("validate", json!(true)),
    ];
    for (option, value) in field_options {
        let mut config = ok.clone();
        config["schema"]["id"][option] = value;
        assert_eq!(refused(config), [(format!("schema.id.{option}"), "unsupported".to_owned())]);
    }
}

#[test]
fn names_keys_and_bounds() {
    let ok = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    let long = "x".repeat(129);
    for name in ["", &long, "a\nb", "a\u{7f}"] {
        assert_eq!(
            faults(&World::new().define(name, ok.clone()).unwrap_err()),
            [("name".into(), "name".into())]
        );
    }
    for name in ["a.b", "a/b", " ", "žluť", "_sys"] {
        World::new().define(name, ok.clone()).unwrap();
    }
    for kind in ["boolean", "object", "array"] {
        assert_eq!(
            refused(json!({"key": "id", "schema": {"id": {"type": kind}}})),
            [("key".to_owned(), "type".to_owned())]
        );
    }
    assert_eq!(refused(json!({})), [("schema".into(), "type".into()), ("key".into(), "type".into())]);
    assert_eq!(refused(json!({"key": "id", "schema": {}})), [("key".into(), "unknown".into())]);
    let mut many = ok.clone();
    for i in 0..300 {
        many["schema"][format!("f{i}")] = json!({"type": "string"});
    }
    assert_eq!(refused(many)[0], ("schema".into(), "limit".into()));
    let mut indexed = ok;
    for i in 0..40 {
        indexed["schema"][format!("f{i}")] = json!({"type": "string", "unique": true});
    }
    assert_eq!(refused(indexed), [("indexes".into(), "limit".into())]);
}

#[test]
fn the_config_is_kept_as_given_and_updates_are_merged() {
    let text = r#"{"note":[1.0],"key":"id","schema":{"id":{"auto":"uuid","type":"string"}}}"#;
    let mut world = World::with_bucket("b", serde_json::from_str(text).unwrap());
    assert_eq!(&**world.state.bucket("b").unwrap().config(), text);
    world
        .alter("b", json!({"addFields": {"n": {"type": "number"}}, "addIndexes": ["n", "id", "n"]}))
        .unwrap();
    assert_eq!(
        &**world.state.bucket("b").unwrap().config(),
        r#"{"note":[1.0],"key":"id","schema":{"id":{"auto":"uuid","type":"string"},"n":{"type":"number"}},"indexes":["n","id"]}"#
    );
    let error = world.define("b", json!({})).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::AlreadyExists, "Bucket \"b\" already exists".into())
    );
    for error in [
        world.alter("ghost", json!({})).unwrap_err(),
        world.run(Intent::DropBucket { name: "ghost".into() }).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "Bucket \"ghost\" does not exist");
        assert_eq!(error.code(), Code::BucketNotDefined);
    }
}

#[test]
fn a_field_added_later_sees_what_was_stored_before() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    world.insert("b", json!({"id": "a", "n": 5, "s": "q\"t"})).unwrap();
    world.insert("b", json!({"id": "b"})).unwrap();
    world.insert("b", json!({"id": "c", "n": 5.0, "s": null})).unwrap();
    let before = image(&world.state);
    let error = world
        .alter("b", json!({"addFields": {"n": {"type": "number", "unique": true}, "s": {"type": "string"}}}))
        .unwrap_err();
    assert_eq!(error.details(), Some(json!({"bucket": "b", "field": "n", "value": 5})));
    assert_eq!(image(&world.state), before, "refused whole");

    let updates = json!({
        "addFields": {"n": {"type": "number", "generated": "autoincrement"}, "s": {"type": "string", "unique": true}},
        "addIndexes": ["n"],
    });
    world.alter("b", updates).unwrap();
    let bucket = world.state.bucket("b").unwrap();
    let found = |filter: Value| {
        let filter = Filter::parse(&object(filter)).unwrap();
        bucket
            .scan(&filter)
            .map(|record| record.to_value()["id"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(found(json!({"n": 5})), "ac");
    assert_eq!(found(json!({"n": {"$exists": false}})), "b");
    assert_eq!(found(json!({"s": "q\"t"})), "a");
    assert_eq!(found(json!({"s": null})), "c");
    assert_eq!(bucket.counters().autoincrement, 5, "generated numbers go on behind those stored");
    assert_eq!(world.insert("b", json!({"id": "d"})).unwrap().to_value()["n"], 6);
    let error = world.insert("b", json!({"id": "e", "s": "q\"t"})).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(world.delete("b", json!("a")));
    world.insert("b", json!({"id": "e", "s": "q\"t"})).unwrap();
    assert_eq!(image(&restored(&world.state)), image(&world.state));
}

#[test]
fn an_update_that_cannot_be_changes_nothing() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    let error = world
        .alter(
            "b",
            json!({
                "addFields": {"id": {"type": "string"}, "x": {"type": "what"}},
                "addIndexes": ["nope", "id"],
                "ttl": "5s",
                "removeFields": ["id"],
            }),
        )
        .unwrap_err();
    let expected = [
        ("addFields.id", "conflict"),
        ("removeFields", "unknown"),
        ("ttl", "unsupported"),
        ("addIndexes[0]", "unknown"),
        ("addFields.x.type", "type"),
    ];
    assert_eq!(faults(&error), expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    assert!(error.to_string().contains("Field \"id\" already exists in bucket \"b\""), "{error}");
    assert!(world.state.bucket("b").unwrap().config().ends_with(r#""schema":{"id":{"type":"string"}}}"#));
}

#[test]
fn a_dropped_bucket_is_gone_for_good() {
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    let mut world = World::with_bucket("b", config.clone());
    world.insert("b", json!({"id": "a"})).unwrap();
    let first = world.state.bucket("b").unwrap().id();
    world.run(Intent::DropBucket { name: "b".into() }).unwrap();
    assert!(world.state.bucket("b").is_err());
    world.define("b", config).unwrap();
    let bucket = world.state.bucket("b").unwrap();
    assert!(bucket.is_empty());
    assert!(bucket.id() > first, "ids are never given twice");
}

#[test]
fn names_and_counts() {
    let config =
        json!({"key": "id", "schema": {"id": {"type": "string"}, "u": {"type": "string", "unique": true}}});
    let mut world = World::with_bucket("z", config.clone());
    world.define("a", config).unwrap();
    world.define_query("q", json!({"bucket": "a"})).unwrap();
    world.insert("a", json!({"id": "1"})).unwrap();
    assert_eq!(
        serde_json::to_value(world.state.stats()).unwrap(),
        json!({
            "buckets": {"count": 2, "names": ["z", "a"]},
            "records": {"total": 1, "perBucket": {"z": 0, "a": 1}},
            "indexes": {"total": 2, "perBucket": {"z": 1, "a": 1}},
            "queries": {"defined": 1},
        })
    );
}

#[test]
fn what_is_logged_can_be_read_back() {
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}, "note": deep});
    assert_eq!(refused(config), [("config".to_owned(), "limit".to_owned())]);
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    assert!(world.define_query("q", json!({"bucket": "b", "filter": {"x": deep}})).is_err());
}

#[test]
fn the_default_is_checked_against_its_own_field() {
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number", "max": 1, "default": 2}}});
    let error = Definition::parse("b", &object(config)).unwrap_err();
    assert_eq!(error.to_string(), "Invalid definition of bucket \"b\": schema.n.default: Maximum value is 1");
}
