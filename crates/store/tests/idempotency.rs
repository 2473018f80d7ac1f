//! Writes with an idempotency key, and writes of a record in a version.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::sync::Arc;

use common::{World, image, object, replayed, restored};
use dunlin_protocol::Code;
use dunlin_store::limits::FORGOTTEN_AT_ONCE;
use dunlin_store::{
    Answer, AnswerLimits, ApplyError, BucketId, Change, Commit, Intent, Outcome, Restore, Step, StoreError,
};
use serde_json::{Value, json};

fn world() -> World {
    let schema = json!({
        "id": {"type": "string", "generated": "uuid"},
        "n": {"type": "number"},
        "mail": {"type": "string", "unique": true},
    });
    World::with_bucket("b", json!({"key": "id", "schema": schema}))
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

fn transaction(operations: Vec<Step>) -> Intent {
    Intent::Transaction { operations }
}

fn once(write: Intent, key: &str) -> Intent {
    write.idempotent("user:ada", key)
}

fn refused(world: &mut World, intent: Intent) -> StoreError {
    let before = image(&world.state);
    let error = world.run(intent).unwrap_err();
    assert_eq!(image(&world.state), before, "{error}");
    error
}

#[test]
fn a_repeat_changes_nothing_and_has_the_first_answer() {
    let mut world = world();
    world.insert("b", json!({"id": "a", "n": 1})).unwrap();
    let writes = [
        insert(json!({"n": 2})),
        Intent::InsertMany {
            bucket: "b".into(),
            data: vec![object(json!({"n": 3})), object(json!({"n": 3}))],
        },
        Intent::InsertMany { bucket: "b".into(), data: vec![] },
        update("a", json!({"n": 4})),
        update("a", json!({"n": 5})).if_version(2),
        Intent::UpdateMany {
            bucket: "b".into(),
            filter: object(json!({"n": 3})),
            changes: object(json!({"n": 6})),
        },
        Intent::Upsert { bucket: "b".into(), data: object(json!({"id": "u", "n": 7})) },
        transaction(vec![
            Step::Write(update("a", json!({"n": 8}))),
            Step::Get { bucket: "b".into(), key: json!("a"), if_version: Some(4) },
            Step::Where { bucket: "b".into(), filter: object(json!({"n": {"$gt": 6}})) },
            Step::FindOne { bucket: "b".into(), filter: object(json!({"n": -1})) },
            Step::Count { bucket: "b".into(), filter: object(json!({})) },
            Step::Write(insert(json!({"id": "new"})).if_version(0)),
        ]),
        delete("nobody"),
        delete("a").if_version(4),
        Intent::DeleteMany { bucket: "b".into(), filter: object(json!({"n": 6})) },
        Intent::Clear { bucket: "b".into() },
        Intent::Clear { bucket: "b".into() },
    ];
    for (number, write) in writes.iter().enumerate() {
        let key = format!("k{number}");
        let before = world.state.position();
        let first = world.run(once(write.clone(), &key)).unwrap();
        assert_eq!(world.state.position(), before + 1, "one commit, also where nothing changed: {write:?}");
        let image_before = image(&world.state);
        let Outcome::Repeated(answer) = world.run(once(write.clone(), &key)).unwrap() else {
            panic!("{write:?}")
        };
        assert_eq!(image(&world.state), image_before, "{write:?}");
        assert_eq!((answer.body.json(), answer.position), (&*first.to_json(), before + 1), "{write:?}");
    }
    // All of them again, when everything has changed; over the log and over a restart, too.
    for mut state in [replayed(&world), restored(&world.state)] {
        for (number, write) in writes.iter().enumerate() {
            let mut ids = common::Ids(0);
            let mut context = dunlin_store::Context::new(world.now, &mut ids);
            let executed = state.execute(once(write.clone(), &format!("k{number}")), &mut context).unwrap();
            assert!(executed.commit.is_none() && matches!(executed.outcome, Outcome::Repeated(_)));
        }
        assert_eq!(image(&state), image(&world.state));
    }
}

#[test]
fn the_answer_of_a_single_record_shares_its_text() {
    let mut world = world();
    let Outcome::Record(record) = world.run(once(insert(json!({"id": "a"})), "k")).unwrap() else { panic!() };
    let answer = world.state.answer("user:ada", "k").unwrap();
    assert_eq!(answer.body.json().as_ptr(), record.json().as_ptr());
    world.update("b", json!("a"), json!({"n": 1})).unwrap();
    assert_eq!(
        world.state.answer("user:ada", "k").unwrap().body.json(),
        record.json(),
        "it is what was answered"
    );
}

#[test]
fn another_write_with_the_same_key_is_a_conflict() {
    let mut world = world();
    world.run(once(insert(json!({"id": "a", "n": 1})), "k")).unwrap();
    for other in [
        insert(json!({"id": "a", "n": 2})),
        insert(json!({"id": "a", "n": 1})).if_version(0),
        Intent::Upsert { bucket: "b".into(), data: object(json!({"id": "a", "n": 1})) },
        delete("a"),
        Intent::Clear { bucket: "b".into() },
    ] {
        let error = refused(&mut world, once(other, "k"));
        assert_eq!((error.code(), error.details()), (Code::Conflict, Some(json!({"key": "k"}))));
    }
    // Member order and the way in which a number is written do not count.
    let same = insert(serde_json::from_str(r#"{"n":1.0,"id":"a"}"#).unwrap());
    assert!(matches!(world.run(once(same, "k")).unwrap(), Outcome::Repeated(_)));
    // Another user may have the same key.
    let other = world.run(insert(json!({"id": "b"})).idempotent("user:bob", "k")).unwrap();
    assert!(matches!(other, Outcome::Record(_)));
}

#[test]
fn a_refused_write_leaves_its_key_free() {
    let mut world = world();
    world.insert("b", json!({"id": "a", "mail": "x"})).unwrap();
    let write = insert(json!({"id": "c", "mail": "x"}));
    assert_eq!(refused(&mut world, once(write.clone(), "k")).code(), Code::AlreadyExists);
    let bad = transaction(vec![
        Step::Write(insert(json!({"id": "d"}))),
        Step::Write(insert(json!({"n": "no number"}))),
    ]);
    assert_eq!(refused(&mut world, once(bad, "k")).code(), Code::ValidationError);
    assert!(world.delete("b", json!("a")));
    assert!(matches!(world.run(once(write, "k")).unwrap(), Outcome::Record(_)));
}

#[test]
fn an_answer_whose_time_is_over_counts_as_forgotten_before_it_is() {
    let mut world = world();
    world.answers.ttl_ms = 100;
    world.run(once(insert(json!({"n": 1})), "k")).unwrap();
    let end = world.now + 100;
    assert_eq!(world.state.next_answer_deadline(), Some(end));
    world.now = end - 2;
    assert!(matches!(world.run(once(insert(json!({"n": 1})), "k")).unwrap(), Outcome::Repeated(_)));
    // Any other write may have the key now.
    world.answers.per_scope = 1;
    assert!(matches!(world.run(once(insert(json!({"n": 2})), "k")).unwrap(), Outcome::Record(_)));
    assert_eq!(world.state.answers().count(), 1, "it has taken the place of the old one");
    assert_eq!(world.state.next_answer_deadline(), Some(world.now + 100));
    assert_eq!(image(&replayed(&world)), image(&world.state));
}

#[test]
fn what_is_due_is_forgotten_in_parts() {
    let mut world = world();
    world.answers.ttl_ms = 10_000;
    let many = FORGOTTEN_AT_ONCE + 500;
    for n in 0..many {
        world.run(once(delete("nobody"), &format!("k{n}"))).unwrap();
    }
    world.now += 10_000 - 1;
    world.answers.ttl_ms = 20_000;
    world.run(once(delete("nobody"), "later")).unwrap();
    let mut parts = Vec::new();
    loop {
        let before = world.state.position();
        let Outcome::Forgotten(count) = world.run(Intent::ForgetAnswers).unwrap() else { panic!() };
        assert_eq!(
            world.state.position() - before,
            u64::from(count > 0),
            "a commit only if there is something"
        );
        if count == 0 {
            break;
        }
        parts.push(count);
    }
    assert_eq!(parts, [FORGOTTEN_AT_ONCE, 500]);
    let left: Vec<&str> = world.state.answers().map(|answer| &*answer.key).collect();
    assert_eq!(left, ["later"]);
    assert_eq!(image(&replayed(&world)), image(&world.state));
    assert_eq!(image(&restored(&world.state)), image(&world.state));
}

#[test]
fn what_is_remembered_is_bounded_and_nothing_is_dropped_early() {
    let unbounded = AnswerLimits::default();
    let length = Outcome::Deleted { existed: false }.to_json().len();
    for (limits, what) in [
        (AnswerLimits { per_scope: 3, ..unbounded }, "keys of this user or address"),
        (AnswerLimits { all: 3, ..unbounded }, "keys"),
        (
            AnswerLimits { bytes_per_scope: 4 * length - 1, ..unbounded },
            "bytes of answers to this user or address",
        ),
        (AnswerLimits { bytes: 4 * length - 1, ..unbounded }, "bytes of answers"),
    ] {
        let mut world = world();
        world.answers = limits;
        for key in ["1", "2", "3"] {
            world.run(once(delete("nobody"), key)).unwrap();
        }
        let error = refused(&mut world, once(insert(json!({"id": "a"})), "4"));
        assert_eq!(error.code(), Code::RateLimited);
        assert!(matches!(error, StoreError::TooMuchRemembered { what: of, .. } if of == what), "{error}");
        assert!(error.to_string().contains("1440 minutes"), "{error}");
        let others = world.run(delete("nobody").idempotent("user:bob", "1"));
        assert_eq!(others.is_ok(), what.contains("user"), "the bounds of one are not those of others");
        world.insert("b", json!({"id": "a"})).unwrap();
        for key in ["1", "2", "3"] {
            assert!(matches!(world.run(once(delete("nobody"), key)).unwrap(), Outcome::Repeated(_)));
        }
        world.now += unbounded.ttl_ms;
        world.expire();
        world.run(once(delete("nobody"), "4")).unwrap();
    }
}

#[test]
fn keys_that_cannot_be_and_writes_that_have_none() {
    let mut world = world();
    let long = "ž".repeat(64);
    world.run(delete("x").idempotent("user:ada", long.as_str())).unwrap();
    let config = object(json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    for wrong in [
        delete("x").idempotent("user:ada", ""),
        delete("x").idempotent("user:ada", format!("{long}x")),
        delete("x").idempotent("", "k"),
        delete("x").idempotent("u".repeat(1025), "k"),
        Intent::DefineBucket { name: "c".into(), config }.idempotent("user:ada", "k"),
        Intent::DropBucket { name: "b".into() }.idempotent("user:ada", "k"),
        Intent::Expire { bucket: BucketId(0), row: dunlin_store::RowId(0) }.idempotent("user:ada", "k"),
        Intent::ForgetAnswers.idempotent("user:ada", "k"),
        delete("x").idempotent("user:ada", "k").idempotent("user:ada", "k"),
    ] {
        let error = refused(&mut world, wrong);
        assert_eq!((error.code(), error.details()), (Code::ValidationError, None), "{error}");
        assert!(matches!(error, StoreError::InvalidIdempotency { .. }), "{error}");
    }
    // Inside a transaction there is none: it has one.
    let inside = transaction(vec![Step::Write(once(delete("x"), "k"))]);
    assert_eq!(refused(&mut world, inside).code(), Code::ValidationError);
    assert_eq!(refused(&mut world, once(delete("x"), "k").if_version(0)), StoreError::VersionNotPossible);
}

#[test]
fn commits_and_stored_answers_that_contradict_are_refused() {
    let mut world = world();
    world.run(once(delete("nobody"), "k")).unwrap();
    let answer = Answer::clone(world.state.answers().next().unwrap());
    let position = world.state.position() + 1;
    let commit = Commit { position, at: 1, changes: vec![Change::Answer(Arc::new(answer.clone()))] };
    let error = world.state.clone().apply(&commit).unwrap_err();
    assert!(matches!(&error, ApplyError::Contradiction { .. }), "{error}");
    let mut restore = Restore::new("test");
    restore.answer(answer.clone()).unwrap();
    let error = restore.answer(answer).unwrap_err();
    assert_eq!(error.to_string(), "the answer \"k\" of user:ada cannot be restored: it is stored twice");
}

#[test]
fn a_write_can_ask_for_the_version_of_its_record() {
    let mut world = world();
    world.insert("b", json!({"id": "a", "n": 1})).unwrap();
    let conflict = |error: StoreError, version: u64| {
        assert_eq!(error.code(), Code::Conflict);
        let key = if version == 0 { "nobody" } else { "a" };
        assert_eq!(error.details(), Some(json!({"bucket": "b", "key": key, "version": version})));
    };
    for wrong in [0, 2, u64::MAX] {
        conflict(refused(&mut world, update("a", json!({"n": 2})).if_version(wrong)), 1);
        conflict(refused(&mut world, delete("a").if_version(wrong)), 1);
    }
    conflict(refused(&mut world, insert(json!({"id": "a"})).if_version(0)), 1);
    conflict(refused(&mut world, update("nobody", json!({})).if_version(1)), 0);
    conflict(refused(&mut world, delete("nobody").if_version(1)), 0);
    for missing in [update("nobody", json!({})), update("nobody", json!({})).if_version(0)] {
        assert_eq!(refused(&mut world, missing).code(), Code::NotFound);
    }
    world.run(update("a", json!({"n": 2})).if_version(1)).unwrap();
    world.run(delete("a").if_version(2)).unwrap();
    world.run(delete("a").if_version(0)).unwrap();
    for generated in [json!({"id": "a"}), json!({})] {
        world.run(insert(generated).if_version(0)).unwrap();
    }
    let nowhere = Intent::Delete { bucket: "nowhere".into(), key: json!("a") }.if_version(1);
    assert_eq!(refused(&mut world, nowhere).code(), Code::BucketNotDefined);
    for wrong in [
        insert(json!({"id": "new"})).if_version(1),
        Intent::Clear { bucket: "b".into() }.if_version(0),
        Intent::Upsert { bucket: "b".into(), data: object(json!({"id": "a"})) }.if_version(1),
        delete("a").if_version(1).if_version(1),
        transaction(vec![]).if_version(0),
    ] {
        let error = refused(&mut world, wrong);
        assert_eq!((error.code(), &error), (Code::ValidationError, &StoreError::VersionNotPossible));
    }
}

#[test]
fn inside_a_transaction_versions_are_those_of_the_moment() {
    let mut world = world();
    world.insert("b", json!({"id": "a"})).unwrap();
    let get = |if_version| Step::Get { bucket: "b".into(), key: json!("a"), if_version: Some(if_version) };
    let write = Step::Write;
    world
        .run(transaction(vec![
            get(1),
            write(update("a", json!({"n": 1})).if_version(1)),
            get(2),
            write(update("a", json!({"n": 2})).if_version(2)),
            write(delete("a").if_version(3)),
            get(0),
            write(insert(json!({"id": "a"})).if_version(0)),
            get(1),
        ]))
        .unwrap();
    for (last, index) in [
        (get(1), 1),
        (write(delete("a").if_version(1)), 1),
        (write(update("a", json!({})).if_version(1)), 1),
        (write(insert(json!({"id": "a"})).if_version(0)), 1),
    ] {
        let error = refused(&mut world, transaction(vec![write(update("a", json!({"n": 9}))), last]));
        let details = json!({"bucket": "b", "key": "a", "version": 2, "index": index});
        assert_eq!((error.code(), error.details()), (Code::Conflict, Some(details)));
        assert!(error.to_string().starts_with("operations[1]: Record with key \"a\""), "{error}");
    }
}
