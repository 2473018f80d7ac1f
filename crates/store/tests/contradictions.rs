//! Logs and stored states that do not fit: refused with the place named, never repaired by guessing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object};
use dunlin_store::{
    ApplyError, BucketId, Cause, Change, Commit, Counters, Intent, Restore, RestoreError, RowId, Snapshot,
};
use serde_json::json;

const CONFIG: &str =
    r#"{"key":"id","schema":{"id":{"type":"string"},"u":{"type":"number","unique":true}},"indexes":["u"]}"#;

fn row(id: &str, u: u64) -> String {
    format!(r#"{{"id":"{id}","u":{u},"_version":1,"_createdAt":1,"_updatedAt":1}}"#)
}

#[test]
fn only_the_next_commit_applies() {
    let mut world = World::with_bucket("b", serde_json::from_str(CONFIG).unwrap());
    world.insert("b", json!({"id": "a"})).unwrap();
    let mut state = Snapshot::new("test");
    let error = state.apply(&world.log[1]).unwrap_err();
    assert_eq!(error, ApplyError::Position { position: 0, found: 2 });
    assert_eq!(error.to_string(), "commit 2 cannot be applied at position 0: the next one is 1");
    state.apply(&world.log[0]).unwrap();
    assert!(state.apply(&world.log[0]).is_err());
    state.apply(&world.log[1]).unwrap();
    assert_eq!(image(&state), image(&world.state));
}

#[test]
fn commits_that_do_not_follow_from_the_state() {
    let mut world = World::with_bucket("b", serde_json::from_str(CONFIG).unwrap());
    let record = world.insert("b", json!({"id": "a", "u": 1})).unwrap();
    let bucket = BucketId(0);
    let refused = |change: Change| {
        let commit = Commit { position: world.state.position() + 1, at: 0, changes: vec![change] };
        world.state.clone().apply(&commit).unwrap_err()
    };
    assert!(matches!(
        refused(Change::Put { bucket: BucketId(7), row: RowId(0), record: record.clone() }),
        ApplyError::UnknownBucket { bucket: 7, .. }
    ));
    assert!(matches!(
        refused(Change::Remove { bucket, row: RowId(5), cause: Cause::Deleted }),
        ApplyError::UnknownRow { row: 5, .. }
    ));
    for change in [
        Change::Put { bucket, row: RowId(5), record },
        Change::DefineBucket { bucket, name: "c".into(), config: CONFIG.into() },
        Change::DefineBucket { bucket: BucketId(1), name: "b".into(), config: CONFIG.into() },
        Change::DefineBucket { bucket: BucketId(1), name: "c".into(), config: "{}".into() },
        Change::UpdateBucket { bucket, config: "nonsense".into() },
        Change::UndefineQuery { name: "q".into() },
    ] {
        let error = refused(change.clone());
        assert!(matches!(error, ApplyError::Contradiction { .. }), "{change:?}: {error}");
    }
    assert!(matches!(refused(Change::DropBucket { bucket: BucketId(1) }), ApplyError::UnknownBucket { .. }));
}

#[test]
fn what_cannot_be_restored_is_named() {
    let stored = |rows: &[(u64, &str)]| {
        let mut restore = Restore::new("e");
        restore.define_bucket(BucketId(3), "b", CONFIG)?;
        for (row, json) in rows {
            restore.put(BucketId(3), RowId(*row), json)?;
        }
        restore.finish(9)
    };
    let state = stored(&[(4, &row("b", 2)), (1, &row("a", 1))]).unwrap();
    assert_eq!((state.position(), state.epoch(), state.next_bucket()), (9, "e", 4));
    assert_eq!(state.bucket("b").unwrap().counters().next_row, 5, "never below the rows that are there");

    let damaged: [(&[(u64, &str)], u64); 7] = [
        (&[(1, "{")], 1),
        (&[(1, "[]")], 1),
        (&[(2, r#"{"id":"a"}"#)], 2),
        (&[(2, r#"{"id":null,"_version":1,"_createdAt":1,"_updatedAt":1}"#)], 2),
        (&[(1, &row("a", 1)), (2, &row("a", 2))], 2),
        (&[(1, &row("a", 1)), (2, &row("b", 1))], 2),
        (&[(1, &row("a", 1)), (1, &row("a", 1))], 1),
    ];
    for (rows, at) in damaged {
        match stored(rows).unwrap_err() {
            RestoreError::Row { bucket: 3, name, row, .. } => assert_eq!((name.as_str(), row), ("b", at)),
            other => panic!("{other}"),
        }
    }
    let mut restore = Restore::new("e");
    assert_eq!(restore.put(BucketId(0), RowId(0), "{}"), Err(RestoreError::UnknownBucket { bucket: 0 }));
    assert!(restore.counters(BucketId(0), Counters::default()).is_err());
    assert!(matches!(restore.define_bucket(BucketId(0), "b", "{}"), Err(RestoreError::Bucket { .. })));
    restore.define_bucket(BucketId(0), "b", CONFIG).unwrap();
    assert!(restore.define_bucket(BucketId(0), "c", CONFIG).is_err());
    restore.define_bucket(BucketId(1), "b", CONFIG).unwrap();
    assert!(
        matches!(restore.finish(1), Err(RestoreError::Bucket { bucket: 1, .. })),
        "one name, two buckets"
    );
    let mut restore = Restore::new("e");
    restore.define_query("q", "{}");
    assert!(matches!(restore.finish(1), Err(RestoreError::Query { .. })));
}

#[test]
fn ids_of_dropped_buckets_stay_used_up() {
    let mut restore = Restore::new("e");
    restore.next_bucket(12);
    let mut world = World::new();
    world.state = restore.finish(40).unwrap();
    world.define("b", serde_json::from_str(CONFIG).unwrap()).unwrap();
    assert_eq!(world.state.bucket("b").unwrap().id(), BucketId(12));
    assert_eq!(world.state.position(), 41);
    world.run(Intent::DefineQuery { name: "q".into(), config: object(json!({"bucket": "b"})) }).unwrap();
    assert_eq!(world.state.query("q").unwrap().bucket().as_ref(), "b");
}
