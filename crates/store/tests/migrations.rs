//! Migrations: each once, whole or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, replayed, restored};
use dunlin_protocol::Code;
use dunlin_store::{Intent, Migration, Outcome, StoreError};
use serde_json::{Value, json};

fn people() -> World {
    let schema = json!({
        "id": {"type": "string"}, "name": {"type": "string", "required": true}, "age": {"type": "string"},
        "no": {"type": "number", "unique": true},
    });
    let mut world = World::with_bucket("people", json!({"key": "id", "schema": schema, "indexes": ["name"]}));
    for (id, name, age) in [("a", "Ada Lovelace", "36"), ("b", "Bob", "7")] {
        world.insert("people", json!({"id": id, "name": name, "age": age, "extra": [1]})).unwrap();
    }
    world
}

fn run(world: &mut World, migrations: &[Migration]) -> Result<Vec<u64>, StoreError> {
    match world.run(Intent::Migrate { migrations: migrations.to_vec(), dry_run: false })? {
        Outcome::Migrated { ran } => Ok(ran),
        other => panic!("{other:?}"),
    }
}

fn records(world: &World) -> Vec<Value> {
    let without_times = |mut record: Value| {
        for name in ["_createdAt", "_updatedAt"] {
            record.as_object_mut().unwrap().remove(name);
        }
        record
    };
    world.state.bucket("people").unwrap().iter().map(|record| without_times(record.to_value())).collect()
}

/// A migration that uses every step.
fn everything() -> Migration {
    Migration::new(1, "everything", steps)
}

fn steps(m: &mut dunlin_store::Migrating<'_, '_, '_>) -> Result<(), StoreError> {
    m.create_bucket(
        "log",
        &json!({"key": "n", "schema": {"n": {"type": "number", "generated": "autoincrement"}}}),
    )?;
    m.bucket("log")?.insert(&json!({}))?;
    let mut people = m.bucket("people")?;
    people.add_field("city", json!({"type": "string", "required": true}), Some(json!("London")))?;
    people.rename_field("name", "fullName")?;
    people.change_field_type("age", "number", |age| {
        age.as_str().and_then(|age| age.parse::<u64>().ok()).into()
    })?;
    people.remove_field("no")?;
    people.add_index("city")?;
    people.remove_index("fullName")?;
    people.transform_all(|person| {
        person.insert("initial".into(), person["fullName"].as_str().unwrap()[..1].into());
    })?;
    people.delete(&json!("b"))?;
    people.insert(&json!({"id": "c", "fullName": "Cy", "city": "Rome", "age": 1}))?;
    people.update(&json!("c"), &json!({"age": 2}))?;
    m.create_bucket("gone", &json!({"key": "id", "schema": {"id": {"type": "string"}}}))?;
    assert!(m.drop_bucket("gone")?);
    assert!(!m.drop_bucket("gone")?);
    Ok(())
}

#[test]
fn every_step_in_one_commit_that_replays_and_restores() {
    let mut world = people();
    let before = world.log.len();
    assert_eq!(run(&mut world, &[everything()]), Ok(vec![1]));
    assert_eq!(world.log.len(), before + 1, "one commit");
    let ada = json!({"id": "a", "fullName": "Ada Lovelace", "age": 36, "extra": [1], "city": "London", "initial": "A",
        "_version": 1});
    let cy = json!({"id": "c", "fullName": "Cy", "city": "Rome", "age": 2, "_version": 2});
    assert_eq!(records(&world), [ada, cy]);
    let bucket = world.state.bucket("people").unwrap();
    let names: Vec<&str> = bucket.definition().fields().iter().map(dunlin_store::Field::name).collect();
    assert_eq!(names, ["id", "fullName", "age", "city"]);
    assert_eq!(bucket.index_count(), 1);
    assert_eq!(image(&replayed(&world)), image(&world.state));
    assert_eq!(image(&restored(&world.state)), image(&world.state));
    // The new shape is in force, also for the indexes.
    assert!(world.insert("people", json!({"id": "d", "fullName": "D", "city": 5})).is_err());
    let filter = dunlin_store::Filter::parse(json!({"city": "Rome"}).as_object().unwrap()).unwrap();
    assert_eq!(world.state.bucket("people").unwrap().scan(&filter).count(), 1);
}

#[test]
fn each_runs_once_and_gaps_are_filled() {
    let mut world = people();
    let count = |version| {
        Migration::new(version, "count", move |m| {
            m.bucket("people")?.insert(&json!({"id": version.to_string(), "name": "x"})).map(drop)
        })
    };
    assert_eq!(run(&mut world, &[count(3), count(1)]), Ok(vec![1, 3]));
    assert_eq!(run(&mut world, &[count(1), count(2), count(3)]), Ok(vec![2]));
    assert_eq!(run(&mut world, &[count(1), count(2), count(3)]), Ok(vec![]));
    assert_eq!(records(&world).len(), 5);
    let done: Vec<Value> =
        world.state.bucket("_migrations").unwrap().iter().map(|r| r.to_value()["version"].clone()).collect();
    assert_eq!(done, [json!(1), json!(3), json!(2)]);
}

#[test]
fn a_failure_anywhere_leaves_nothing_of_it() {
    type Up = fn(&mut dunlin_store::Migrating<'_, '_, '_>) -> Result<(), StoreError>;
    let failing: [(&str, Up, Code); 6] = [
        ("an error of its own", |m| m.bucket("nobody").map(drop), Code::BucketNotDefined),
        ("a panic", |_| panic!("asked to"), Code::InternalError),
        (
            "records that do not fit in the end",
            |m| m.bucket("people")?.add_field("must", json!({"type": "string", "required": true}), None),
            Code::ValidationError,
        ),
        (
            "values that are not unique in the end",
            |m| {
                let mut people = m.bucket("people")?;
                people.add_field("same", json!({"type": "number", "unique": true}), Some(json!(1)))
            },
            Code::AlreadyExists,
        ),
        (
            "two records with one key",
            |m| m.bucket("people")?.transform_all(|person| drop(person.insert("id".into(), json!("same")))),
            Code::AlreadyExists,
        ),
        (
            "a definition that cannot be",
            |m| m.bucket("people")?.add_field("odd", json!({"type": "odd"}), None),
            Code::ValidationError,
        ),
    ];
    for (what, up, code) in failing {
        let mut world = people();
        let before = image(&world.state);
        let all = Migration::new(1, "all", move |m| {
            steps(m)?;
            up(m)
        });
        let error = run(&mut world, &[all]).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().starts_with("Migration 1 was rolled back: "), "{error}");
        assert_eq!(image(&world.state), before, "{what}");
        world.insert("people", json!({"id": "z", "name": "still works", "no": 1})).unwrap();
    }
}

#[test]
fn a_dry_run_checks_everything_and_changes_nothing() {
    let mut world = people();
    let before = (image(&world.state), world.log.len());
    let dry = |world: &mut World, migrations: Vec<Migration>| {
        world.run(Intent::Migrate { migrations, dry_run: true })
    };
    let follows = Migration::new(2, "follows", |m| m.bucket("people")?.remove_field("city"));
    assert!(
        matches!(dry(&mut world, vec![everything(), follows.clone()]), Ok(Outcome::Migrated { ran }) if ran == [1, 2])
    );
    assert!(dry(&mut world, vec![follows]).is_err(), "without the first there is no such field");
    assert_eq!((image(&world.state), world.log.len()), before);
}

#[test]
fn lists_that_cannot_be_are_refused() {
    let nothing = |version, name: &str| Migration::new(version, name, |_| Ok(()));
    for (list, message) in [
        (vec![nothing(0, "zero")], "Migration version must be a positive integer, got 0"),
        (vec![nothing(2, "a"), nothing(1, "b"), nothing(2, "c")], "Duplicate migration version: 2"),
        (vec![nothing(1, "")], "Migration version 1 must have a non-empty name"),
    ] {
        let mut world = people();
        assert_eq!(run(&mut world, &list).unwrap_err().to_string(), message);
        assert!(world.state.bucket("_migrations").is_err());
    }
}
