//! Closure queries: what they read, and which commits can change their results.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, object};
use dunlin_store::{Aggregate, ClosureQuery, Filter, Intent, Number, ReadContext, Reads, Record, StoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn bucket(world: &mut World, name: &str) {
    let kind = if name == "b1" { "ordered_set" } else { "set" };
    let schema = json!({"id": {"type": "number"}, "g": {"type": "string"}, "n": {"type": "number"}});
    let _ = world.define(name, json!({"key": "id", "schema": schema, "indexes": ["g"], "etsType": kind}));
}

fn values(records: impl IntoIterator<Item = Record>) -> Value {
    records.into_iter().map(|record| record.to_value()).collect()
}

/// A read that a list of numbers describes, as a client's code would make it.
fn read(ctx: &ReadContext<'_>, what: &Value) -> Result<Value, StoreError> {
    let bucket = ctx.bucket(what["bucket"].as_str().unwrap())?;
    let filter = Filter::parse(&object(what["filter"].clone()))?;
    let number = |number: Option<Number>| number.map(Number::to_value).into();
    let n = usize::try_from(what["n"].as_u64().unwrap()).unwrap();
    Ok(match what["read"].as_str().unwrap() {
        "get" => bucket.get(&what["n"]).map(|record| record.to_value()).into(),
        "defined" => true.into(),
        "all" => values(bucket.all()),
        "matching" => values(bucket.matching(&filter)),
        "find_one" => bucket.find_one(&filter).map(|record| record.to_value()).into(),
        "count" => bucket.count(&filter).into(),
        "first" => values(bucket.first(n)),
        "last" => values(bucket.last(n)),
        "paginate" => values(bucket.paginate(Some(&what["n"]), 2)?.records),
        "sum" => bucket.sum("n", &filter).to_value(),
        "avg" => bucket.avg("n", &filter).to_value(),
        "min" => number(bucket.min("n", &filter)),
        "max" => number(bucket.max("n", &filter)),
        "group_by" => bucket.group_by(&["g".into()], Aggregate::Count, "", &filter),
        "follow" => {
            // What is read depends on what was read before.
            let next = bucket.get(&what["n"]).map(|record| record.to_value()["n"].clone());
            ctx.bucket("b1")?.get(&next.unwrap_or_default()).map(|record| record.to_value()).into()
        }
        other => panic!("{other}"),
    })
}

fn question() -> impl Strategy<Value = Value> {
    let reads = vec![
        "get", "get", "get", "defined", "all", "matching", "find_one", "count", "first", "last", "paginate",
        "sum", "avg", "min", "max", "group_by", "follow",
    ];
    let filters = vec![json!({}), json!({"g": "a"}), json!({"n": {"$gt": 3}}), json!({"id": 4})];
    (
        prop::sample::select(vec!["b0", "b1", "b2"]),
        prop::sample::select(reads),
        prop::sample::select(filters),
        0_u64..8,
    )
        .prop_map(
            |(bucket, read, filter, n)| json!({"bucket": bucket, "read": read, "filter": filter, "n": n}),
        )
}

fn write() -> impl Strategy<Value = Vec<Intent>> {
    let name = || prop::sample::select(vec!["b0", "b1", "b2"]).prop_map(str::to_owned);
    let data = || {
        (0_u64..8, prop::sample::select(vec!["a", "b"]), 0_u64..8)
            .prop_map(|(id, g, n)| object(json!({"id": id, "g": g, "n": n})))
    };
    let one = prop_oneof![
        6 => (name(), data()).prop_map(|(bucket, data)| Intent::Upsert { bucket, data }),
        4 => (name(), 0_u64..8).prop_map(|(bucket, key)| Intent::Delete { bucket, key: key.into() }),
        1 => name().prop_map(|bucket| Intent::Clear { bucket }),
        1 => name().prop_map(|name| Intent::DropBucket { name }),
        1 => name().prop_map(|name| Intent::DefineBucket {
            name, config: object(json!({"key": "n", "schema": {"n": {"type": "number"}}})),
        }),
        1 => (name(), 0..9).prop_map(|(name, n)| Intent::UpdateBucket {
            name, updates: object(json!({"addFields": {format!("f{n}"): {"type": "string"}}})),
        }),
        1 => name().prop_map(|bucket| Intent::DefineQuery {
            name: bucket.clone(), config: object(json!({"bucket": bucket})),
        }),
    ];
    prop::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_commit_that_touches_nothing_changes_nothing(
        before in prop::collection::vec(write(), 0..12), questions in prop::collection::vec(question(), 1..6),
        after in prop::collection::vec(write(), 1..8),
    ) {
        let mut world = World::new();
        bucket(&mut world, "b0");
        bucket(&mut world, "b1");
        for intent in before.into_iter().flatten() {
            let _ = world.run(intent);
        }
        let query = ClosureQuery::new("q", |ctx, params| {
            params.as_array().unwrap().iter().map(|what| read(ctx, what)).collect()
        });
        let params = Value::from(questions);
        for intents in after {
            let (result, reads) = query.run(&world.state, &params);
            let seen = world.log.len();
            for intent in intents {
                let _ = world.run(intent);
            }
            let commits = &world.log[seen..];
            let by_commits = commits.iter().any(|commit| reads.touched_by(commit));
            if !by_commits {
                prop_assert_eq!(query.run(&world.state, &params).0, result);
            }
        }
    }
}

#[test]
fn a_look_up_by_key_reads_no_more() {
    let mut world = World::new();
    bucket(&mut world, "b0");
    world.insert("b0", json!({"id": 1})).unwrap();
    let ask = |world: &World, read_: &str, bucket: &str| {
        let query = ClosureQuery::new("q", read);
        let what = json!({"bucket": bucket, "read": read_, "filter": {}, "n": 1});
        query.run(&world.state, &what).1
    };
    let (by_key, defined) = (ask(&world, "get", "b0"), ask(&world, "defined", "b0"));
    let (whole, undefined) = (ask(&world, "all", "b0"), ask(&world, "all", "b1"));
    let mut touched = |write: &dyn Fn(&mut World)| {
        let seen = world.log.len();
        write(&mut world);
        let commits = &world.log[seen..];
        let touched = |reads: &Reads| commits.iter().any(|commit| reads.touched_by(commit));
        [&by_key, &defined, &whole, &undefined].map(touched)
    };
    assert_eq!(
        touched(&|world| drop(world.insert("b0", json!({"id": 2})).unwrap())),
        [false, false, true, false]
    );
    assert_eq!(touched(&|world| assert!(world.delete("b0", json!(2)))), [false, false, true, false]);
    assert_eq!(
        touched(&|world| drop(world.update("b0", json!(1), json!({"n": 1})))),
        [true, false, true, false]
    );
    assert_eq!(touched(&|world| assert!(world.delete("b0", json!(1)))), [true, false, true, false]);
    assert_eq!(
        touched(&|world| drop(world.insert("b0", json!({"id": 1})).unwrap())),
        [true, false, true, false]
    );
    assert_eq!(touched(&|world| assert_eq!(world.clear("b0"), 1)), [true, false, true, false]);
    assert_eq!(touched(&|world| bucket(world, "b1")), [false, false, false, true]);
    let drop_bucket = Intent::DropBucket { name: "b0".into() };
    assert_eq!(touched(&|world| drop(world.run(drop_bucket.clone()))), [true, true, true, false]);
}
