//! Places where several features meet: found by reading the store as one who wants to break it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::time::{Duration, Instant};

use common::{World, image, object, replayed, restored};
use dunlin_store::{
    Context, Filter, Import, Intent, Migrating, Migration, Object, Outcome, Record, Step, StoreError,
};
use serde_json::{Value, json};

fn ids(world: &World, bucket: &str) -> Vec<Value> {
    world.state.bucket(bucket).unwrap().iter().map(|record| record.to_value()["id"].clone()).collect()
}

fn transaction(world: &mut World, operations: Vec<Intent>) -> Result<Outcome, StoreError> {
    world.run(Intent::Transaction { operations: operations.into_iter().map(Step::Write).collect() })
}

fn update(bucket: &str, key: Value, changes: Value) -> Intent {
    Intent::Update { bucket: bucket.into(), key, changes: object(changes) }
}

fn migrate(
    world: &mut World,
    version: u64,
    up: impl Fn(&mut Migrating<'_, '_, '_>) -> Result<(), StoreError> + Send + Sync + 'static,
) -> Result<Outcome, StoreError> {
    let migrations = vec![Migration::new(version, "edge", up)];
    world.run(Intent::Migrate { migrations, dry_run: false })
}

/// A bucket of the keys 1, 2, 3 in which a migration has run already: from then on one that changes records only does not
/// change any definition.
fn numbered() -> World {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "number"}}}));
    for id in 1..=3 {
        world.insert("b", json!({"id": id, "was": id})).unwrap();
    }
    migrate(&mut world, 1, |_| Ok(())).unwrap();
    world
}

/// Gives the records each other's keys: 1, 2, 3 become 2, 3, 1.
fn rotate(m: &mut Migrating<'_, '_, '_>) -> Result<(), StoreError> {
    m.bucket("b")?.transform_all(|record| {
        record["id"] = (record["id"].as_u64().unwrap() + 100).into();
    })?;
    m.bucket("b")?.transform_all(|record| {
        record["id"] = ((record["id"].as_u64().unwrap() - 100) % 3 + 1).into();
    })
}

#[test]
fn records_that_pass_their_keys_on_replay() {
    let mut world = numbered();
    migrate(&mut world, 2, rotate).unwrap();
    assert_eq!(ids(&world, "b"), [2, 3, 1]);
    assert_eq!(image(&replayed(&world)), image(&world.state));
    assert_eq!(image(&restored(&world.state)), image(&world.state));
}

#[test]
fn records_that_passed_their_keys_on_get_them_back_when_the_write_is_refused() {
    let mut world = numbered();
    let before = image(&world.state);
    let refused = migrate(&mut world, 2, |m| {
        rotate(m)?;
        m.bucket("nobody").map(drop)
    });
    assert!(refused.is_err());
    assert_eq!(image(&world.state), before);
}

#[test]
fn all_keys_can_be_moved_up_by_one() {
    let mut world = numbered();
    migrate(&mut world, 2, |m| {
        m.bucket("b")?.transform_all(|record| {
            record["id"] = (record["id"].as_u64().unwrap() + 1).into();
        })
    })
    .unwrap();
    assert_eq!(ids(&world, "b"), [2, 3, 4]);
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

/// Bucket `parents` with the record `p`, and `children` with one that refers to it.
fn family() -> World {
    let mut world = World::with_bucket("parents", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    let parent = json!({"type": "string", "ref": "parents"});
    world
        .define("children", json!({"key": "id", "schema": {"id": {"type": "string"}, "parent": parent}}))
        .unwrap();
    world.insert("parents", json!({"id": "p"})).unwrap();
    world.insert("children", json!({"id": "c", "parent": "p"})).unwrap();
    world
}

#[test]
fn a_reference_that_is_cleared_and_set_again_is_checked_when_its_target_was_cleared_between() {
    let mut world = family();
    let before = image(&world.state);
    let refused = transaction(
        &mut world,
        vec![
            update("children", json!("c"), json!({"parent": null})),
            Intent::Clear { bucket: "parents".into() },
            update("children", json!("c"), json!({"parent": "p"})),
        ],
    );
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(image(&world.state), before);
}

#[test]
fn a_reference_that_is_cleared_and_set_again_is_checked_when_its_bucket_was_dropped_between() {
    for redefine in [false, true] {
        let mut world = family();
        let before = image(&world.state);
        let refused = migrate(&mut world, 1, move |m| {
            m.bucket("children")?.update(&json!("c"), &json!({"parent": null}))?;
            m.drop_bucket("parents")?;
            if redefine {
                m.create_bucket("parents", &json!({"key": "id", "schema": {"id": {"type": "string"}}}))?;
            }
            m.bucket("children")?.update(&json!("c"), &json!({"parent": "p"})).map(drop)
        });
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(image(&world.state), before);
    }
}

fn quickly<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < Duration::from_secs(10), "{what} took {:?}", start.elapsed());
    result
}

#[test]
fn many_nulls_in_unique_fields_cost_no_more_than_other_values() {
    let config = json!({
        "key": "id",
        "schema": {
            "id": {"type": "number"}, "a": {"type": "string"}, "b": {"type": "string", "unique": true},
            "c": {"type": "string"},
        },
        "unique": [["a", "b"]],
    });
    let mut world = World::with_bucket("b", config);
    let data = (0..40_000).map(|id| object(json!({"id": id, "a": null, "b": null, "c": null}))).collect();
    world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap();
    quickly("a restart", || restored(&world.state));
    quickly("an update of the definition", || world.alter("b", json!({"addUnique": [["a", "c"]]})).unwrap());
}

#[test]
fn an_update_of_many_members_costs_what_its_members_cost() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    let members = |value: u64| -> Object {
        let members = (0..40_000).map(|i| (format!("member-number-{i:06}"), value.into()));
        members.chain([("id".to_owned(), "a".into())]).collect()
    };
    world.run(Intent::Insert { bucket: "b".into(), data: members(0) }).unwrap();
    // The other way round, so that what is looked for stands at the end.
    let changes: Object = members(1).into_iter().rev().collect();
    quickly("the update", || {
        world.run(Intent::Update { bucket: "b".into(), key: "a".into(), changes }).unwrap()
    });
    let record = world.state.bucket("b").unwrap().iter().next().unwrap().to_value();
    let names: Vec<&String> = record.as_object().unwrap().keys().take(2).collect();
    assert_eq!(names, ["member-number-000000", "member-number-000001"], "members keep their places");
    assert_eq!(record["member-number-039999"], 1);
}

#[test]
fn references_that_a_removal_sets_to_null_count_as_records_written() {
    let parent = json!({"type": "string", "ref": "parents", "onDelete": "set_null"});
    let mut world = World::with_bucket("parents", json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    world
        .define("children", json!({"key": "id", "schema": {"id": {"type": "number"}, "parent": parent}}))
        .unwrap();
    world.insert("parents", json!({"id": "p"})).unwrap();
    for part in [0..100_000, 100_000..100_001] {
        let data = part.map(|id| object(json!({"id": id, "parent": "p"}))).collect();
        world.run(Intent::InsertMany { bucket: "children".into(), data }).unwrap();
    }
    let refused = world.run(Intent::Delete { bucket: "parents".into(), key: "p".into() });
    assert!(matches!(refused, Err(StoreError::LimitReached { .. })), "{:?}", refused.map(drop));
    assert_eq!(world.state.bucket("parents").unwrap().len(), 1);
}

#[test]
fn a_renamed_field_keeps_its_value_where_a_record_has_an_extra_member_of_the_new_name() {
    let config = json!({"key": "id", "schema": {"id": {"type": "number"}, "old": {"type": "string"}}});
    let mut world = World::with_bucket("b", config);
    world.insert("b", json!({"id": 1, "old": "field", "new": "extra"})).unwrap();
    world.insert("b", json!({"id": 2, "new": "extra", "old": "field"})).unwrap();
    migrate(&mut world, 1, |m| m.bucket("b")?.rename_field("old", "new")).unwrap();
    for record in world.state.bucket("b").unwrap().iter() {
        assert_eq!(record.to_value()["new"], "field", "{record:?}");
    }
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

#[test]
fn a_smaller_bucket_can_get_a_required_field_at_once() {
    let next = json!({"type": "number", "ref": "b", "onDelete": "set_null"});
    let mut world =
        World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "number"}, "next": next}}));
    world.insert("b", json!({"id": 1})).unwrap();
    world.insert("b", json!({"id": 2, "next": 1})).unwrap();
    world
        .alter("b", json!({"maxSize": 1, "addFields": {"kind": {"type": "string", "required": true, "default": "x"}}}))
        .unwrap();
    let left: Vec<Value> = world.state.bucket("b").unwrap().iter().map(Record::to_value).collect();
    assert_eq!((left.len(), &left[0]["kind"], &left[0]["next"]), (1, &json!("x"), &Value::Null));
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

#[test]
fn an_import_replaces_large_buckets_that_refer_to_one_another() {
    let other = |name: &str| json!({"type": "number", "ref": name});
    let mut world = World::new();
    for (name, to) in [("a", "b"), ("b", "a")] {
        world
            .define(name, json!({"key": "id", "schema": {"id": {"type": "number"}, "other": other(to)}}))
            .unwrap();
    }
    for part in [0..100_000, 100_000..100_001] {
        for name in ["a", "b"] {
            let data = part.clone().map(|id| object(json!({"id": id}))).collect();
            world.run(Intent::InsertMany { bucket: name.into(), data }).unwrap();
        }
    }
    for name in ["a", "b"] {
        world.update(name, json!(7), json!({"other": 8})).unwrap();
    }
    let record = || Ok(object(json!({"id": 1, "other": 1})));
    let (mut a, mut b) = (std::iter::once_with(record), std::iter::once_with(record));
    let mut imports = [
        Import { bucket: "a", replace: true, records: &mut a },
        Import { bucket: "b", replace: true, records: &mut b },
    ];
    let mut context = Context::new(world.now, &mut world.ids);
    let executed = world.state.import(&mut imports, &mut context).unwrap();
    world.log.extend(executed.commit);
    assert_eq!((ids(&world, "a"), ids(&world, "b")), (vec![json!(1)], vec![json!(1)]));
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

#[test]
fn a_refused_write_does_not_make_a_page_forget_its_place() {
    let config = json!({"key": "id", "schema": {"id": {"type": "number"}}});
    let mut world = World::with_bucket("b", config);
    let data = (0..1_000).map(|id| object(json!({"id": id}))).collect();
    world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap();
    world.delete("b", json!(5));
    let next = |world: &World| {
        let page = world.state.bucket("b").unwrap().paginate(Some(&json!(5)), 1).map(|page| page.next_cursor);
        page.map_err(|error| error.to_string())
    };
    assert_eq!(next(&world), Ok(Some(json!(6))));
    let refused = transaction(
        &mut world,
        vec![
            Intent::DeleteMany { bucket: "b".into(), filter: object(json!({"id": {"$gt": 100}})) },
            Intent::Insert { bucket: "b".into(), data: object(json!({"id": 1})) },
        ],
    );
    assert!(refused.is_err());
    assert_eq!(next(&world), Ok(Some(json!(6))));
}

#[test]
fn a_filter_on_every_index_agrees_after_refused_writes() {
    let mut world = family();
    let refused = transaction(
        &mut world,
        vec![
            update("children", json!("c"), json!({"parent": null})),
            Intent::Clear { bucket: "children".into() },
            Intent::Insert { bucket: "children".into(), data: object(json!({"id": "d", "parent": "x"})) },
        ],
    );
    assert!(refused.is_err());
    let filter = Filter::parse(&object(json!({"parent": "p"}))).unwrap();
    assert_eq!(world.state.bucket("children").unwrap().scan(&filter).count(), 1);
    assert!(world.run(Intent::Delete { bucket: "parents".into(), key: "p".into() }).is_err());
}

#[test]
fn a_transaction_counts_every_change_of_a_record() {
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": {"id": {"type": "number"}}}));
    let data = (0..1_001).map(|id| object(json!({"id": id}))).collect();
    world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap();
    let before = image(&world.state);
    let touch = || Intent::UpdateMany {
        bucket: "b".into(),
        filter: object(json!({})),
        changes: object(json!({"n": 1})),
    };
    let error = transaction(&mut world, (0..200).map(|_| touch()).collect()).unwrap_err();
    assert!(error.to_string().contains("at most 100000"), "{error}");
    assert_eq!(error.details().unwrap(), json!({"index": 99}));
    assert_eq!(image(&world.state), before);
}

#[test]
fn included_records_cannot_make_a_result_of_any_size() {
    let mut world = family();
    let large = "x".repeat(1_000_000);
    world.run(update("parents", json!("p"), json!({"text": large}))).unwrap();
    let data = (0..100).map(|n| object(json!({"id": n.to_string(), "parent": "p"}))).collect();
    world.run(Intent::InsertMany { bucket: "children".into(), data }).unwrap();
    let query =
        |limit: usize| json!({"bucket": "children", "limit": limit, "include": {"up": {"ref": "parent"}}});
    world.define_query("few", query(10)).unwrap();
    world.define_query("many", query(1_000)).unwrap();
    assert_eq!(world.query("few", json!(null)).unwrap()[0]["up"]["text"].as_str().unwrap().len(), 1_000_000);
    let error = world.query("many", json!(null)).unwrap_err();
    assert!(error.to_string().contains("included records"), "{error}");
}
