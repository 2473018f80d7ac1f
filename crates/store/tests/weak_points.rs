//! The weak points that the specifications list of the original stores, each held against this one by its number: `w…` of
//! `store.md` (0.1.0), `v…` of `store-0.2.md`. Those of the network and of the disk are tested where they belong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object, replayed};
use dunlin_protocol::Code;
use dunlin_store::{Cause, Change, Filter, Intent, Issue, Outcome, Record, Step, StoreError, Validators};
use serde_json::{Value, json};

fn ids(world: &World, bucket: &str, filter: Value) -> Vec<String> {
    let filter = Filter::parse(&object(filter)).unwrap();
    let records = world.state.bucket(bucket).unwrap().scan(&filter);
    records.map(|record| record.to_value()["id"].as_str().unwrap().to_owned()).collect()
}

fn all(world: &World, bucket: &str) -> Vec<String> {
    ids(world, bucket, json!({}))
}

fn bucket(schema: Value, options: Value) -> World {
    let mut config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    for (name, value) in object(schema) {
        config["schema"][name] = value;
    }
    for (name, value) in object(options) {
        config[name] = value;
    }
    World::with_bucket("b", config)
}

fn transaction(world: &mut World, operations: Vec<Intent>) -> Result<Outcome, StoreError> {
    world.run(Intent::Transaction { operations: operations.into_iter().map(Step::Write).collect() })
}

fn insert(data: Value) -> Intent {
    Intent::Insert { bucket: "b".into(), data: object(data) }
}

fn update(key: &str, changes: Value) -> Intent {
    Intent::Update { bucket: "b".into(), key: key.into(), changes: object(changes) }
}

fn delete(key: &str) -> Intent {
    Intent::Delete { bucket: "b".into(), key: key.into() }
}

/// Parents and children that refer to them, in buckets `p` and `c`.
fn family(on_delete: &str, parent_options: Value) -> World {
    let mut parents = json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}});
    for (name, value) in object(parent_options) {
        parents[name] = value;
    }
    let reference = json!({"type": "string", "ref": "p", "onDelete": on_delete});
    let mut world = World::with_bucket("p", parents);
    world
        .define("c", json!({"key": "id", "schema": {"id": {"type": "string"}, "parent": reference}}))
        .unwrap();
    world.insert("p", json!({"id": "1"})).unwrap();
    world.insert("c", json!({"id": "x", "parent": "1"})).unwrap();
    world
}

#[test]
fn w1_v24_an_insert_never_replaces_and_leaves_no_stale_index_entry() {
    let mut world = bucket(json!({"g": {"type": "string"}}), json!({"indexes": ["g"]}));
    world.insert("b", json!({"id": "a", "g": "old"})).unwrap();
    let error = world.insert("b", json!({"id": "a", "g": "new"})).unwrap_err();
    assert_eq!(
        (error.code(), error.details()),
        (Code::AlreadyExists, Some(json!({"bucket": "b", "key": "a"})))
    );
    let upsert = Intent::Upsert { bucket: "b".into(), data: object(json!({"id": "a", "g": "new"})) };
    world.run(upsert).unwrap();
    assert_eq!(
        (ids(&world, "b", json!({"g": "old"})), ids(&world, "b", json!({"g": "new"}))),
        (vec![], vec!["a".into()])
    );
}

#[test]
fn w2_explicit_ids_move_the_counter_and_are_never_overwritten() {
    let config = json!({"key": "n", "schema": {"n": {"type": "number", "generated": "autoincrement"}}});
    let mut world = World::with_bucket("b", config);
    world.insert("b", json!({"n": 5})).unwrap();
    assert_eq!(world.insert("b", json!({})).unwrap().to_value()["n"], json!(6));
}

#[test]
fn w9_a_refused_insert_evicts_nobody() {
    let mut world = bucket(json!({"u": {"type": "number", "unique": true}}), json!({"maxSize": 2}));
    world.insert("b", json!({"id": "a", "u": 1})).unwrap();
    world.insert("b", json!({"id": "b", "u": 2})).unwrap();
    let before = image(&world.state);
    for refused in [json!({"id": "c", "u": 2}), json!({"id": "b"}), json!({"id": "c", "u": "x"})] {
        assert!(world.insert("b", refused).is_err());
        assert_eq!(image(&world.state), before);
    }
    world.insert("b", json!({"id": "c", "u": 1})).unwrap();
    assert_eq!(all(&world, "b"), ["b", "c"], "the unique value goes with its record");
}

#[test]
fn w12_a_key_is_required() {
    let mut world = bucket(json!({}), json!({}));
    for data in [json!({}), json!({"id": null}), json!({"id": true})] {
        assert_eq!(world.insert("b", data).unwrap_err().code(), Code::ValidationError);
    }
}

#[test]
fn w10_w13_defaults_and_results_are_never_shared() {
    let mut world = bucket(json!({"o": {"type": "object", "default": {"n": 1}}}), json!({}));
    let first = world.insert("b", json!({"id": "a"})).unwrap();
    world.insert("b", json!({"id": "b"})).unwrap();
    world.update("b", json!("a"), json!({"o": {"n": 2}})).unwrap();
    assert_eq!(first.to_value()["o"], json!({"n": 1}), "what a caller holds does not change");
    assert_eq!(world.state.bucket("b").unwrap().get(&json!("b")).unwrap().to_value()["o"], json!({"n": 1}));
}

#[test]
fn w15_a_transaction_counts_by_what_it_leaves() {
    let mut world = bucket(json!({"u": {"type": "number", "unique": true}}), json!({}));
    world.insert("b", json!({"id": "a", "u": 1})).unwrap();
    world.insert("b", json!({"id": "b", "u": 2})).unwrap();
    // Swap of a unique value.
    transaction(&mut world, vec![update("a", json!({"u": 2})), update("b", json!({"u": 1}))]).unwrap();
    // Hand-over to a new record, and its old owner gone.
    transaction(&mut world, vec![insert(json!({"id": "c", "u": 2})), delete("a")]).unwrap();
    // Update and delete of one record; delete and insert of one key.
    transaction(&mut world, vec![update("c", json!({"u": 9})), delete("c")]).unwrap();
    transaction(&mut world, vec![delete("b"), insert(json!({"id": "b", "u": 7}))]).unwrap();
    assert_eq!(all(&world, "b"), ["b"]);
    let commit = world.log.last().unwrap();
    assert_eq!(commit.changes.len(), 3, "removed, put, counted: {commit:?}");
    // What comes and goes inside leaves no commit but the counters.
    transaction(&mut world, vec![insert(json!({"id": "z"})), delete("z")]).unwrap();
    let changes = &world.log.last().unwrap().changes;
    assert!(matches!(changes.as_slice(), [Change::Counters { .. }]), "{changes:?}");
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

#[test]
fn w16_a_refused_transaction_leaves_nothing_in_any_bucket() {
    let mut world = bucket(json!({"u": {"type": "number", "unique": true}}), json!({"maxSize": 2}));
    world.define("other", json!({"key": "id", "schema": {"id": {"type": "string"}}})).unwrap();
    for id in ["a", "b"] {
        world.insert("b", json!({"id": id})).unwrap();
    }
    let before = image(&world.state);
    let other = Intent::Insert { bucket: "other".into(), data: object(json!({"id": "o"})) };
    let error = transaction(
        &mut world,
        vec![other, update("a", json!({"u": 5})), insert(json!({"id": "c", "u": 5})), delete("nobody")],
    );
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert_eq!(error.details().unwrap(), json!({"bucket": "b", "field": "u", "value": 5, "index": 2}));
    assert_eq!(image(&world.state), before);
}

#[test]
fn w17_reads_of_a_transaction_see_one_state_and_its_own_writes() {
    let mut world = bucket(json!({"n": {"type": "number"}}), json!({"indexes": ["n"]}));
    world.insert("b", json!({"id": "a", "n": 1})).unwrap();
    let found = |n: i32| Step::Where { bucket: "b".into(), filter: object(json!({"n": n})) };
    let operations = vec![
        found(1),
        Step::Write(update("a", json!({"n": 2}))),
        found(1),
        found(2),
        Step::Get { bucket: "b".into(), key: json!("a"), if_version: None },
        Step::Write(delete("a")),
        Step::Count { bucket: "b".into(), filter: object(json!({})) },
        Step::FindOne { bucket: "b".into(), filter: object(json!({"n": 2})) },
    ];
    let Outcome::Transaction(outcomes) = world.run(Intent::Transaction { operations }).unwrap() else {
        panic!()
    };
    let sizes: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Records(records) => format!("{} records", records.len()),
            Outcome::Record(record) => format!("version {}", record.version()),
            Outcome::Found(found) => format!("found {:?}", found.as_ref().map(Record::version)),
            Outcome::Deleted { existed } => format!("deleted {existed}"),
            Outcome::Count(count) => format!("{count}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "1 records",
        "version 2",
        "0 records",
        "1 records",
        "found Some(2)",
        "deleted true",
        "0",
        "found None",
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn w18_numbers_that_a_transaction_returned_are_not_given_out_again() {
    let config = json!({"key": "n", "schema": {"n": {"type": "number", "generated": "autoincrement"}}});
    let mut world = World::with_bucket("b", config);
    let one = Intent::Delete { bucket: "b".into(), key: json!(1) };
    transaction(&mut world, vec![insert(json!({})), one]).unwrap();
    assert_eq!(world.insert("b", json!({})).unwrap().to_value()["n"], json!(2));
}

#[test]
fn w19_v27_ttl_and_max_size_hold_in_transactions_and_bulk_writes() {
    let mut world = bucket(json!({}), json!({"ttl": "1m", "maxSize": 2}));
    world.insert("b", json!({"id": "old"})).unwrap();
    let many = Intent::InsertMany {
        bucket: "b".into(),
        data: vec![object(json!({"id": "a"})), object(json!({"id": "b"}))],
    };
    transaction(&mut world, vec![many]).unwrap();
    assert_eq!(all(&world, "b"), ["a", "b"]);
    for record in world.state.bucket("b").unwrap().iter() {
        assert_eq!(record.expires_at(), Some(record.created_at() + 60_000));
    }
    let removed = |commit: &dunlin_store::Commit| -> Vec<Cause> {
        let causes = commit.changes.iter().filter_map(|change| match change {
            Change::Remove { cause, .. } => Some(*cause),
            _ => None,
        });
        causes.collect()
    };
    assert_eq!(removed(world.log.last().unwrap()), [Cause::Evicted]);
    world.now += 60_000;
    world.expire();
    assert_eq!(all(&world, "b"), Vec::<String>::new());
    assert_eq!(removed(world.log.last().unwrap()), [Cause::Expired]);
}

#[test]
fn w20_an_unknown_bucket_in_a_transaction_has_its_own_code() {
    let mut world = bucket(json!({}), json!({}));
    let unknown = Intent::Delete { bucket: "nobody".into(), key: json!("a") };
    let error = transaction(&mut world, vec![delete("a"), unknown]).unwrap_err();
    assert_eq!((error.code(), error.details()), (Code::BucketNotDefined, Some(json!({"index": 1}))));
    assert_eq!(error.to_string(), "operations[1]: Bucket \"nobody\" is not defined");
    let nested = Intent::Transaction { operations: vec![] };
    for refused in [nested, Intent::DropBucket { name: "b".into() }] {
        assert_eq!(transaction(&mut world, vec![refused]).unwrap_err().code(), Code::ValidationError);
    }
}

#[test]
fn w30_a_pattern_cannot_backtrack() {
    let mut world = bucket(json!({"s": {"type": "string", "pattern": "^(a+)+$"}}), json!({}));
    let hostile = format!("{}b", "a".repeat(10_000));
    let error = world.insert("b", json!({"id": "a", "s": hostile})).unwrap_err();
    assert_eq!(error.details().unwrap()[0]["code"], "pattern");
}

#[test]
fn w31_v18_null_is_found_with_and_without_an_index() {
    for indexes in [json!([]), json!(["n"])] {
        let mut world = bucket(json!({"n": {"type": "number"}}), json!({"indexes": indexes}));
        for (id, n) in [("a", json!(null)), ("b", json!(1)), ("c", json!(null))] {
            world.insert("b", json!({"id": id, "n": n})).unwrap();
        }
        world.insert("b", json!({"id": "d"})).unwrap();
        assert_eq!(ids(&world, "b", json!({"n": null})), ["a", "c"]);
        assert_eq!(ids(&world, "b", json!({"n": {"$eq": null}})), ["a", "c"]);
        // A value that went away and came back stays in table order.
        world.update("b", json!("a"), json!({"n": 1})).unwrap();
        assert_eq!(ids(&world, "b", json!({"n": 1})), ["a", "b"]);
    }
}

#[test]
fn w32_a_page_goes_on_behind_a_cursor_that_was_deleted() {
    let mut world = bucket(json!({}), json!({}));
    for id in ["a", "b", "c", "d"] {
        world.insert("b", json!({"id": id})).unwrap();
    }
    world.delete("b", json!("b"));
    let bucket = world.state.bucket("b").unwrap();
    let page = bucket.paginate(Some(&json!("b")), 2).unwrap();
    let ids: Vec<Value> = page.records.iter().map(|record| record.to_value()["id"].clone()).collect();
    assert_eq!((ids, page.has_more), (vec![json!("c"), json!("d")], false));
    assert!(bucket.last(0).is_empty());
    assert_eq!(bucket.paginate(Some(&json!("nobody")), 2).unwrap_err().code(), Code::ValidationError);
}

#[test]
fn w33_v3_v28_a_bad_definition_leaves_nothing_half_defined() {
    let mut world = World::new();
    let bad = json!({"key": "id", "ttl": "soon", "maxSize": 0, "schema": {
        "id": {"type": "string"}, "a": {"type": "strnig"}, "b": {"type": "string", "pattern": "(", "format": "uri"},
        "c": {"type": "string", "generated": "autoincrement"}, "d": {"type": "string", "validate": true},
    }});
    let error = world.define("b", bad).unwrap_err();
    let faults: Vec<String> =
        error.details().unwrap().as_array().unwrap().iter().map(|fault| fault["field"].to_string()).collect();
    for path in [
        "schema.a.type",
        "schema.b.pattern",
        "schema.b.format",
        "schema.c.generated",
        "schema.d.validate",
        "ttl",
        "maxSize",
    ] {
        assert!(faults.contains(&format!("\"{path}\"")), "{path} in {faults:?}");
    }
    assert_eq!(world.state.buckets().count(), 0);
    world.define("b", json!({"key": "id", "schema": {"id": {"type": "string"}}})).unwrap();
    let before = image(&world.state);
    assert_eq!(world.alter("b", json!({"ttl": "soon"})).unwrap_err().code(), Code::ValidationError);
    assert_eq!(image(&world.state), before);
}

#[test]
fn w34_dates_near_midnight_are_dates() {
    let mut world = bucket(json!({"d": {"type": "string", "format": "iso-date"}}), json!({}));
    for (id, good) in [("a", "2024-06-15T00:30:00+02:00"), ("b", "2024-02-29"), ("c", "2024-06-15T23:59:59")]
    {
        world.insert("b", json!({"id": id, "d": good})).unwrap();
    }
    for bad in ["2023-02-29", "2024-06-15T24:00:00Z", "2024-6-15", "2024-06-15T00:30"] {
        assert!(world.insert("b", json!({"id": "x", "d": bad})).is_err(), "{bad}");
    }
}

#[test]
fn w35_keys_have_one_order_everywhere() {
    let mut world = bucket(json!({}), json!({"etsType": "ordered_set"}));
    for id in ["é", "b", "B", "10", "9", "_", "a"] {
        world.insert("b", json!({"id": id})).unwrap();
    }
    let first = world.state.bucket("b").unwrap();
    let keys: Vec<String> = first
        .first(7)
        .into_iter()
        .map(|record| record.to_value()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["10", "9", "B", "_", "a", "b", "é"]);
}

#[test]
fn w37_a_missing_record_is_not_found() {
    let mut world = bucket(json!({}), json!({}));
    assert_eq!(world.update("b", json!("a"), json!({})).unwrap_err().code(), Code::NotFound);
}

#[test]
fn v7_rules_in_code_survive_migrations() {
    let validators = Validators::default().bucket("b", |record| {
        if record.to_value()["n"] == json!(13) {
            vec![Issue::custom("n", "No thirteens")]
        } else {
            Vec::new()
        }
    });
    let mut world = bucket(json!({"n": {"type": "number"}}), json!({}));
    let mut execute = |intent| {
        let mut ids = common::Ids(7);
        let mut context = dunlin_store::Context::new(9, &mut ids).with_validators(&validators);
        world.state.execute(intent, &mut context).map(|executed| executed.outcome)
    };
    let migration = dunlin_store::Migration::new(1, "more", |m| {
        m.bucket("b")?.add_field("more", json!({"type": "string"}), None)
    });
    execute(Intent::Migrate { migrations: vec![migration], dry_run: false }).unwrap();
    let error = execute(insert(json!({"id": "a", "n": 13}))).unwrap_err();
    assert_eq!(
        error.details().unwrap(),
        json!([{"field": "n", "message": "No thirteens", "code": "custom"}])
    );
    execute(insert(json!({"id": "a", "n": 12}))).unwrap();
    assert!(execute(update("a", json!({"n": 13}))).is_err());
    let makes_thirteen = dunlin_store::Migration::new(2, "thirteen", |m| {
        m.bucket("b")?.transform_all(|record| drop(record.insert("n".into(), json!(13))))
    });
    assert!(execute(Intent::Migrate { migrations: vec![makes_thirteen], dry_run: false }).is_err());
}

#[test]
fn v8_references_hold_in_transactions_clear_expiry_and_eviction() {
    // A transaction cannot make a dangling reference, nor leave a phantom one.
    let mut world = family("restrict", json!({}));
    let child = Intent::Insert { bucket: "c".into(), data: object(json!({"id": "y", "parent": "nobody"})) };
    let error = transaction(&mut world, vec![child]).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
    let parent = Intent::Delete { bucket: "p".into(), key: json!("1") };
    let error = transaction(&mut world, vec![parent.clone()]).unwrap_err();
    let by = json!({"bucket": "c", "key": "x", "field": "parent"});
    assert_eq!(error.details().unwrap(), json!({"bucket": "p", "key": "1", "referencedBy": by, "index": 0}));
    let child = Intent::Delete { bucket: "c".into(), key: json!("x") };
    transaction(&mut world, vec![parent, child]).unwrap();

    for (on_delete, children) in [("cascade", 0), ("set_null", 1)] {
        let mut world = family(on_delete, json!({}));
        assert_eq!(world.clear("p"), 1);
        assert_eq!(all(&world, "c").len(), children, "clear, {on_delete}");

        let mut world = family(on_delete, json!({"ttl": 10}));
        world.now += 100;
        world.expire();
        assert_eq!((all(&world, "p").len(), all(&world, "c").len()), (0, children), "expiry, {on_delete}");

        let mut world = family(on_delete, json!({"maxSize": 1}));
        world.insert("p", json!({"id": "2"})).unwrap();
        assert_eq!(
            (all(&world, "p"), all(&world, "c").len()),
            (vec!["2".to_owned()], children),
            "eviction, {on_delete}"
        );
    }
    let mut world = family("restrict", json!({"ttl": 10, "maxSize": 1}));
    assert_eq!(
        world.insert("p", json!({"id": "2"})).unwrap_err().code(),
        Code::ValidationError,
        "nobody may go"
    );
    world.now += 100;
    world.expire();
    assert_eq!(all(&world, "p"), ["1"], "kept while it is restricted");
    assert!(world.run(Intent::Clear { bucket: "p".into() }).is_err());
    assert!(world.run(Intent::DropBucket { name: "p".into() }).is_err());
    world.delete("c", json!("x"));
    world.expire();
    assert_eq!(all(&world, "p"), Vec::<String>::new());
}

#[test]
fn v9_a_changed_reference_no_longer_binds_to_the_old_record() {
    let mut world = family("cascade", json!({}));
    world.insert("p", json!({"id": "2"})).unwrap();
    world.update("c", json!("x"), json!({"parent": "2"})).unwrap();
    world.delete("p", json!("1"));
    assert_eq!(all(&world, "c"), ["x"]);
}

#[test]
fn v10_a_restriction_met_late_leaves_no_half_cascade() {
    let mut world = family("cascade", json!({}));
    let reference = json!({"type": "string", "ref": "c", "onDelete": "restrict"});
    world
        .define("g", json!({"key": "id", "schema": {"id": {"type": "string"}, "child": reference}}))
        .unwrap();
    world.insert("c", json!({"id": "y", "parent": "1"})).unwrap();
    world.insert("g", json!({"id": "z", "child": "y"})).unwrap();
    let before = image(&world.state);
    let error = world.run(Intent::Delete { bucket: "p".into(), key: json!("1") }).unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert_eq!(image(&world.state), before);
}

#[test]
fn v12_changing_a_bucket_keeps_what_refers_to_it() {
    let mut world = family("restrict", json!({}));
    world.alter("p", json!({"addFields": {"more": {"type": "string"}}})).unwrap();
    assert!(world.run(Intent::Delete { bucket: "p".into(), key: json!("1") }).is_err());
}

#[test]
fn v13_batches_that_refer_to_themselves() {
    let reference = json!({"type": "string", "ref": "b", "onDelete": "restrict"});
    let mut world = bucket(json!({"up": reference}), json!({}));
    let data =
        ["a", "b", "c"].map(|id| object(json!({"id": id, "up": if id == "c" { "a" } else { "c" }}))).to_vec();
    world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap();
    world.insert("b", json!({"id": "own", "up": "own"})).unwrap();
    assert!(world.run(delete("a")).is_err());
    let everything = Intent::DeleteMany { bucket: "b".into(), filter: object(json!({})) };
    assert!(matches!(world.run(everything), Ok(Outcome::Count(4))));
}

#[test]
fn v15_a_parameter_is_a_plain_value() {
    let mut world = bucket(json!({"g": {"type": "string"}}), json!({"indexes": ["g"]}));
    world.insert("b", json!({"id": "a", "g": "x"})).unwrap();
    world.define_query("q", json!({"bucket": "b", "filter": {"g": "{{ params.g }}"}})).unwrap();
    for params in [json!({"g": {"$exists": true}}), json!({}), json!({"g": ["x"]}), json!(null), json!([])] {
        assert_eq!(world.query("q", params.clone()).unwrap_err().code(), Code::ValidationError, "{params}");
    }
}

#[test]
fn v22_groups_tell_types_apart() {
    let mut world = bucket(json!({}), json!({}));
    for (id, g) in
        [("a", json!(1)), ("b", json!("1")), ("c", json!(1.0)), ("d", json!(null)), ("e", json!("null"))]
    {
        world.insert("b", json!({"id": id, "g": g})).unwrap();
    }
    world.insert("b", json!({"id": "f"})).unwrap();
    let filter = Filter::default();
    let groups =
        world.state.bucket("b").unwrap().group_by(&["g".into()], dunlin_store::Aggregate::Count, "", &filter);
    let groups: Value = serde_json::from_str(&groups).unwrap();
    let sizes: Vec<&Value> = groups.as_array().unwrap().iter().map(|group| &group["value"]).collect();
    assert_eq!(sizes, [2, 1, 2, 1], "{groups}");
}

#[test]
fn v26_more_records_than_fit_are_refused_not_reported_as_stored() {
    let mut world = bucket(json!({}), json!({"maxSize": 2}));
    world.insert("b", json!({"id": "old"})).unwrap();
    let before = image(&world.state);
    let data = ["a", "b", "c"].map(|id| object(json!({"id": id}))).to_vec();
    let error = world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap_err();
    assert!(error.to_string().contains("at most 2 records"), "{error}");
    assert_eq!(image(&world.state), before);
}

#[test]
fn v29_a_new_required_field_is_filled_in_or_refused_and_every_level_is_checked() {
    let mut world = bucket(json!({}), json!({}));
    world.insert("b", json!({"id": "a"})).unwrap();
    let required = |default: Value| {
        let mut field = json!({"type": "string", "required": true});
        if !default.is_null() {
            field["default"] = default;
        }
        json!({"addFields": {"f": field}})
    };
    assert_eq!(world.alter("b", required(json!(null))).unwrap_err().code(), Code::ValidationError);
    world.alter("b", required(json!("x"))).unwrap();
    let record = world.update("b", json!("a"), json!({})).unwrap();
    assert_eq!(record.to_value()["f"], json!("x"));

    let mut nested = json!({"type": "number"});
    for _ in 0..9 {
        nested = json!({"type": "object", "properties": {"x": nested}});
    }
    let mut world = bucket(json!({"x": nested}), json!({}));
    let deep = r#"{"id":"a","x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":"no number"}}}}}}}}}}"#;
    let error = world.insert("b", serde_json::from_str(deep).unwrap()).unwrap_err();
    assert_eq!(error.details().unwrap()[0]["field"], ["x"; 10].join("."));
}
