//! Bounds of transactions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, object};
use dunlin_protocol::Code;
use dunlin_store::limits::MAX_RECORDS_READ;
use dunlin_store::{Aggregate, Intent, Outcome, Step, StoreError};
use serde_json::json;

const RECORDS: usize = 1_000;

fn world() -> World {
    let schema = json!({"id": {"type": "number"}, "g": {"type": "number"}});
    let mut world = World::with_bucket("b", json!({"key": "id", "schema": schema}));
    let data = (0..RECORDS).map(|id| object(json!({"id": id, "g": id % 10}))).collect();
    world.run(Intent::InsertMany { bucket: "b".into(), data }).unwrap();
    world
}

fn everything() -> Step {
    Step::Where { bucket: "b".into(), filter: object(json!({})) }
}

fn groups(field: &str) -> Step {
    let (bucket, filter) = ("b".into(), object(json!({})));
    Step::GroupBy { bucket, by: vec![field.into()], function: Aggregate::Count, field: String::new(), filter }
}

#[test]
fn the_records_that_all_reads_return_are_bounded() {
    let mut world = world();
    let full = vec![everything(); MAX_RECORDS_READ / RECORDS];
    let outcome = world.run(Intent::Transaction { operations: full.clone() }).unwrap();
    let Outcome::Transaction(outcomes) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(outcomes.last(), Some(Outcome::Records(records)) if records.len() == RECORDS));

    let refused = |world: &mut World, operations: Vec<Step>| {
        let error = world.run(Intent::Transaction { operations }).unwrap_err();
        let StoreError::Operation { index, error } = error else { panic!("{error}") };
        let limit = MAX_RECORDS_READ;
        assert_eq!(*error, StoreError::LimitReached { what: "records read in one transaction", limit });
        assert_eq!(error.code(), Code::ValidationError);
        index
    };
    let (bucket, filter) = ("b".to_owned(), object(json!({"g": 3})));
    for more in [
        everything(),
        Step::Get { bucket: bucket.clone(), key: json!(7), if_version: None },
        Step::FindOne { bucket: bucket.clone(), filter },
        groups("g"),
    ] {
        let operations = full.iter().cloned().chain([more]).collect();
        assert_eq!(refused(&mut world, operations), full.len());
    }
    // One record more for each read, so that the last of them is refused.
    let insert = Step::Write(Intent::Insert { bucket, data: object(json!({"id": -1})) });
    let operations = [insert].into_iter().chain(full.iter().cloned()).collect();
    assert_eq!(refused(&mut world, operations), full.len());
    assert_eq!(world.state.bucket("b").unwrap().len(), RECORDS, "nothing has happened");
}

#[test]
fn what_returns_no_records_costs_nothing_of_the_bound() {
    let mut world = world();
    let mut operations = vec![everything(); MAX_RECORDS_READ / RECORDS];
    operations.push(Step::Count { bucket: "b".into(), filter: object(json!({"g": 1})) });
    operations.push(Step::Get { bucket: "b".into(), key: json!("nobody"), if_version: None });
    world.run(Intent::Transaction { operations }).unwrap();
}

#[test]
fn a_removal_tells_how_many_records_it_may_take_along() {
    let mut world = world();
    let refer = |to: &str, on_delete: &str| {
        let of = json!({"type": "number", "ref": to, "onDelete": on_delete});
        json!({"key": "id", "schema": {"id": {"type": "number"}, "of": of}})
    };
    for (name, to, on_delete) in
        [("child", "b", "cascade"), ("pet", "child", "set_null"), ("guest", "b", "restrict")]
    {
        world.define(name, refer(to, on_delete)).unwrap();
        for id in 0..3 {
            world.insert(name, json!({"id": id, "of": id})).unwrap();
        }
    }
    let dependents = ["b", "child", "pet", "nowhere"].map(|name| world.state.dependents(name));
    assert_eq!(dependents, [6, 3, 0, 0], "those that only forbid the removal are not changed by it");
}
