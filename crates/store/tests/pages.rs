//! Sorted windows and pages: equal to a full sort, and right under writes in between.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use std::cmp::Ordering;

use common::naive::{filter, matches, member, order, record, sort_order};
use common::{World, object, restored};
use dunlin_protocol::Code;
use dunlin_store::{
    Bucket, BucketId, Direction, Filter, PageRequest, Record, Restore, RowId, StoreError,
    limits::MAX_DEPARTED,
};
use proptest::prelude::*;
use serde_json::{Value, json};

type Sort = Vec<(String, Direction)>;

const INDEXES: [&str; 5] = [
    "[]",
    r#"["a","b","c","id"]"#,
    r#"[["c","a"],["b","c","a"]]"#,
    r#"["a",["b","a"],["a","b"]]"#,
    r#"["o","t"]"#,
];

fn world(indexes: &str, kind: &str) -> World {
    let date = json!({"type": "date"});
    World::with_bucket(
        "b",
        json!({
            "key": "id", "etsType": kind, "indexes": serde_json::from_str::<Value>(indexes).unwrap(),
            "schema": {"id": date, "a": date, "b": date, "c": {"type": "boolean"}, "o": {"type": "object"},
                       "t": {"type": "array"}},
        }),
    )
}

fn sort() -> impl Strategy<Value = Sort> {
    let names = vec!["a", "a", "b", "id", "c", "o", "t", "o.x", "extra", "_createdAt"];
    let key = (prop::sample::select(names), any::<bool>());
    prop::collection::vec(key, 0..3).prop_map(|keys| {
        let mut sort = Sort::new();
        for (name, down) in keys {
            if !sort.iter().any(|(other, _)| other == name) {
                sort.push((name.to_owned(), if down { Direction::Descending } else { Direction::Ascending }));
            }
        }
        sort
    })
}

/// Most filters here fix a lead, or a range of what is sorted by.
fn narrow() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!({})),
        1 => Just(json!({"c": true})),
        1 => Just(json!({"b": 1, "c": false})),
        1 => Just(json!({"a": {"$gte": 0}})),
        1 => Just(json!({"b": {"$eq": "a"}})),
        2 => filter(),
    ]
}

fn naive(bucket: &Bucket, filter: &Value, sort: &Sort) -> Vec<Value> {
    let mut records: Vec<Value> =
        bucket.iter().map(Record::to_value).filter(|record| matches(record, filter)).collect();
    records.sort_by(|a, b| {
        let by = |(name, direction): &(String, Direction)| {
            sort_order(member(a, name), member(b, name), *direction == Direction::Descending)
        };
        sort.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    records
}

fn parsed(filter: &Value) -> Filter {
    Filter::parse(&object(filter.clone())).unwrap()
}

fn values(records: &[&Record]) -> Vec<Value> {
    records.iter().map(|record| record.to_value()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn windows_equal_a_full_sort(
        records in prop::collection::vec(record(), 0..50), filter in narrow(), sort in sort(),
        offset in 0_usize..6, limit in 0_usize..12,
    ) {
        for indexes in INDEXES {
            let mut world = world(indexes, "set");
            for record in &records {
                let _ = world.insert("b", record.clone());
            }
            let bucket = world.state.bucket("b").unwrap();
            let expected = naive(bucket, &filter, &sort);
            let window: Vec<Value> = expected.iter().skip(offset).take(limit).cloned().collect();
            let mut config = json!({"bucket": "b", "filter": filter, "offset": offset, "limit": limit});
            for (name, direction) in &sort {
                config["sort"][name] = direction.as_str().into();
            }
            // Nothing here looks like a parameter.
            let query = dunlin_store::Query::parse("q", &object(config)).unwrap();
            let result = query.bind(&Value::Null).unwrap().evaluate(&world.state).unwrap().unwrap();
            let result: Vec<Value> = serde_json::from_str(&result).unwrap();
            prop_assert_eq!(result, window, "{} {:?} with {}", filter, sort, indexes);
        }
    }

    #[test]
    fn pages_follow_one_another_through_all_writes(
        records in prop::collection::vec(record(), 0..50), filter in narrow(), sort in sort(), limit in 1_usize..8,
        writes in prop::collection::vec((0_usize..70, prop::option::of(record())), 0..40),
        indexes in prop::sample::select(INDEXES.to_vec()), restart: bool,
    ) {
        let mut world = world(indexes, "set");
        for record in &records {
            let _ = world.insert("b", record.clone());
        }
        let before = naive(world.state.bucket("b").unwrap(), &filter, &sort);
        let mut request =
            PageRequest { filter: parsed(&filter), sort: sort.clone(), limit, cursor: None };
        let mut found: Vec<Value> = Vec::new();
        let mut writes = writes.into_iter();
        for step in 0.. {
            if restart && step == 2 {
                world.state = restored(&world.state);
            }
            let page = world.state.bucket("b").unwrap().page(&request).unwrap();
            found.extend(values(&page.records));
            prop_assert!(page.records.len() == limit || !page.has_more);
            prop_assert_eq!(page.cursor.is_none(), page.records.is_empty());
            if !page.has_more {
                break;
            }
            request.cursor = page.cursor;
            for (place, write) in writes.by_ref().take(4) {
                match (records.get(place), write) {
                    (Some(record), Some(changes)) => drop(world.update("b", record["id"].clone(), changes)),
                    (Some(record), None) => drop(world.delete("b", record["id"].clone())),
                    (None, Some(record)) => drop(world.insert("b", record)),
                    (None, None) => {}
                }
            }
        }
        // What was there at the first page and at the last, and is the same.
        let after: Vec<Value> = world.state.bucket("b").unwrap().iter().map(Record::to_value).collect();
        let lasting: Vec<&Value> = before.iter().filter(|record| after.contains(record)).collect();
        let seen: Vec<&Value> = found.iter().filter(|record| lasting.contains(record)).collect();
        prop_assert_eq!(seen, lasting, "{} {:?} with {}", filter, sort, indexes);
    }

    #[test]
    fn an_ordered_set_is_read_by_key(
        records in prop::collection::vec(record(), 0..50), n in 0_usize..12, after in record(),
    ) {
        let mut world = world("[]", "ordered_set");
        for record in &records {
            let _ = world.insert("b", record.clone());
        }
        let bucket = world.state.bucket("b").unwrap();
        let by_key = |a: &Value, b: &Value| order(a, b).unwrap_or_else(|| a.is_string().cmp(&b.is_string()));
        let mut expected: Vec<Value> = bucket.iter().map(Record::to_value).collect();
        expected.sort_by(|a, b| by_key(&a["id"], &b["id"]));
        prop_assert_eq!(values(&bucket.first(n)), &expected[..n.min(expected.len())]);
        prop_assert_eq!(values(&bucket.last(n)), &expected[expected.len().saturating_sub(n)..]);
        let page = bucket.paginate(Some(&after["id"]), n).unwrap();
        let behind: Vec<Value> =
            expected.into_iter().filter(|record| by_key(&record["id"], &after["id"]).is_gt()).collect();
        prop_assert_eq!(values(&page.records), &behind[..n.min(behind.len())]);
        prop_assert_eq!(page.has_more, behind.len() > n);
    }
}

#[test]
fn a_deleted_cursor_keeps_its_place_for_a_while() {
    let mut world = world("[]", "set");
    for n in 0..1_000 {
        world.insert("b", json!({"id": n})).unwrap();
    }
    let ids = |world: &World, after: Value| -> Result<Vec<Value>, StoreError> {
        let page = world.state.bucket("b")?.paginate(Some(&after), 2)?;
        Ok(page.records.iter().map(|record| record.to_value()["id"].clone()).collect())
    };
    world.delete("b", json!(500));
    assert_eq!(ids(&world, json!(500)), Ok(vec![json!(501), json!(502)]));
    // An insert that is refused after it had a row leaves no trace.
    let twice = vec![object(json!({"id": 500})), object(json!({"id": 1}))];
    world.run(dunlin_store::Intent::InsertMany { bucket: "b".into(), data: twice }).unwrap_err();
    assert_eq!(ids(&world, json!(500)), Ok(vec![json!(501), json!(502)]));
    for n in 0..MAX_DEPARTED {
        world.delete("b", json!(n));
    }
    assert_eq!(ids(&world, json!(0)), Ok(vec![json!(256), json!(257)]));
    let error = ids(&world, json!(500)).unwrap_err();
    assert_eq!(
        (error.clone(), error.code()),
        (StoreError::UnknownCursor { bucket: "b".into() }, Code::ValidationError)
    );
    assert!(ids(&world, json!(true)).is_err());
}

#[test]
fn a_cursor_belongs_to_its_sort_and_bucket() {
    let mut world = world("[]", "set");
    world.define("other", json!({"key": "id", "schema": {"id": {"type": "number"}}})).unwrap();
    for n in 0..5 {
        world.insert("b", json!({"id": n, "a": n})).unwrap();
    }
    let up = |name: &str| vec![(name.to_owned(), Direction::Ascending)];
    let first = PageRequest { sort: up("a"), limit: 2, ..PageRequest::default() };
    let cursor = world.state.bucket("b").unwrap().page(&first).unwrap().cursor.unwrap();
    let refused = |bucket: &str, sort: Sort, cursor: &str| {
        let request = PageRequest { sort, limit: 2, cursor: Some(cursor.into()), ..PageRequest::default() };
        let error = world.state.bucket(bucket).unwrap().page(&request).unwrap_err();
        assert_eq!(error.code(), Code::ValidationError);
        error.to_string()
    };
    assert!(refused("b", up("b"), &cursor).contains("another sort"));
    assert!(refused("b", vec![], &cursor).contains("another sort"));
    assert!(refused("b", vec![("a".into(), Direction::Descending)], &cursor).contains("another sort"));
    assert!(refused("other", up("a"), &cursor).contains("another bucket"));
    for bad in ["", "x", "!!!!", "bnVsbA", "W10", "WzFd"] {
        assert!(refused("b", up("a"), bad).contains("restart from the beginning"), "{bad}");
    }
    let nothing = PageRequest { limit: 0, ..first };
    let page = world.state.bucket("b").unwrap().page(&nothing).unwrap();
    assert!(page.records.is_empty() && page.has_more && page.cursor.is_none());
}

#[test]
fn objects_stored_before_their_field_was_defined_keep_their_place() {
    // Such a state can only be a stored one: a change of the definition would have refused these records.
    let schema = json!({"id": {"type": "number"}, "later": {"type": "number"}});
    let config = json!({"key": "id", "schema": schema, "indexes": ["later"]});
    let mut restore = Restore::new("test");
    restore.define_bucket(BucketId(0), "b", &config.to_string()).unwrap();
    for (id, later) in [json!(1), json!({"x": 1}), json!(2), json!(null)].into_iter().enumerate() {
        let record = json!({"id": id, "later": later, "_version": 1, "_createdAt": 1, "_updatedAt": 1});
        restore.put(BucketId(0), RowId(id as u64), &record.to_string()).unwrap();
    }
    let mut world = World::new();
    world.state = restore.finish(1).unwrap();
    let ids = |world: &World, direction| -> Vec<Value> {
        let request =
            PageRequest { sort: vec![("later".into(), direction)], limit: 1, ..PageRequest::default() };
        let page = world.state.bucket("b").unwrap().page(&request).unwrap();
        page.records.iter().map(|record| record.to_value()["id"].clone()).collect()
    };
    assert_eq!(ids(&world, Direction::Ascending), [json!(0)]);
    assert_eq!(ids(&world, Direction::Descending), [json!(1)]);
    world.delete("b", json!(1));
    assert_eq!(ids(&world, Direction::Descending), [json!(2)]);
}
