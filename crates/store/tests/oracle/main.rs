//! Random schemas and random writes, alone and in transactions, against a naive model that keeps every rule by looking at
//! everything: unique values, references, bounds of size, deadlines. After every write both have accepted or refused it
//! alike and hold the same records, and the log and the stored state give the same world again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]
#![allow(unreachable_pub, reason = "modules of one test")]

#[path = "../common/mod.rs"]
mod common;
mod model;
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::{World, image, replayed, restored};
use dunlin_store::{AnswerLimits, Filter, Outcome, Record, Snapshot};
use model::{Model, REMEMBERED, REMEMBERED_MS};
use proptest::prelude::*;
use random::{BucketSpec, Op};
use serde_json::{Value, json};

fn records(state: &Snapshot, bucket: usize) -> Vec<Value> {
    state.bucket(&random::bucket_name(bucket)).unwrap().iter().map(Record::to_value).collect()
}

/// What the indexes and the deadlines say, which the image does not show: for every field and every value there is, how it
/// is found and what is found; the same for ranges and pairs; and when what is due.
fn derived(state: &Snapshot, specs: &[BucketSpec]) -> String {
    let deadlines = (state.next_deadline(), state.next_answer_deadline());
    let mut told = format!("{deadlines:?} {:?}\n", state.due(u64::MAX).collect::<Vec<_>>());
    let values = (0..3).map(Value::from).chain(random::keys()).chain([Value::Null]);
    let values: Vec<Value> = values.collect();
    for (number, spec) in specs.iter().enumerate() {
        let bucket = state.bucket(&random::bucket_name(number)).unwrap();
        writeln!(told, "{:?}", bucket.next_deadline()).unwrap();
        let mut tell = |filter: Value| {
            let parsed = Filter::parse(filter.as_object().unwrap()).unwrap();
            let rows: Vec<&str> = bucket.scan(&parsed).map(Record::json).collect();
            assert_eq!(bucket.count(&parsed), rows.len(), "{filter}");
            writeln!(told, "{filter} {:?} {rows:?}", bucket.explain(&parsed)).unwrap();
        };
        for place in 0..spec.fields.len() {
            let name = random::field_name(place);
            for value in &values {
                tell(json!({&name: value}));
            }
            tell(json!({&name: {"$gte": 1}}));
            tell(json!({&name: {"$lt": "b"}}));
        }
        let pairs = spec.indexes.iter().filter_map(|(a, b)| Some((*a, (*b)?))).chain(spec.together);
        for (a, b) in pairs {
            let next = values.iter().cycle().skip(1);
            for (x, y) in values.iter().zip(next).chain(values.iter().zip(&values)) {
                tell(json!({random::field_name(a): x, random::field_name(b): y}));
            }
        }
    }
    told
}

fn check(specs: &[BucketSpec], ops: &[Op]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for (number, spec) in specs.iter().enumerate() {
        world.define(&random::bucket_name(number), spec.config()).unwrap();
    }
    world.answers = AnswerLimits { ttl_ms: REMEMBERED_MS, per_scope: REMEMBERED, ..AnswerLimits::default() };
    let mut model = Model::new(specs.to_vec());
    let mut answers: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    let mut last: BTreeMap<&str, &Op> = BTreeMap::new();
    for op in ops {
        let op = match op {
            Op::Again(key) => match last.get(key) {
                Some(op) => op,
                None => continue,
            },
            op => op,
        };
        if let Op::Once(key, _) = op {
            last.insert(key, op);
        }
        if let Op::Wait(ms) = op {
            world.now += ms;
            world.expire();
            model.expire(world.now);
        } else {
            let before = image(&world.state);
            let repeats = model.repeats(op, world.now + 1);
            let outcome = world.run(op.intent());
            let accepted = model.take(op, world.now);
            prop_assert_eq!(outcome.is_ok(), accepted, "{:?}: {:?}", op, outcome);
            if let (Op::Once(key, _), Ok(outcome)) = (op, &outcome) {
                if repeats {
                    prop_assert_eq!(&image(&world.state), &before, "a repeat: {:?}", op);
                    let Outcome::Repeated(answer) = outcome else { panic!("{outcome:?}") };
                    prop_assert_eq!(&(answer.position, outcome.to_json()), &answers[key]);
                } else {
                    answers.insert(key, (world.state.position(), outcome.to_json()));
                    prop_assert!(image(&world.state) != before, "it is remembered: {:?}", op);
                }
            }
            if !accepted {
                prop_assert_eq!(image(&world.state), before, "refused: {:?}", op);
                // The longest way back; that of one record is part of it.
                if matches!(op, Op::Transaction(_)) {
                    let fresh = derived(&restored(&world.state), specs);
                    prop_assert_eq!(derived(&world.state, specs), fresh, "refused: {:?}", op);
                }
            }
        }
        for number in 0..specs.len() {
            prop_assert_eq!(
                records(&world.state, number),
                model.records(number),
                "bucket {} after {:?}",
                number,
                op
            );
        }
    }
    prop_assert_eq!(image(&replayed(&world)), image(&world.state));
    prop_assert_eq!(image(&restored(&world.state)), image(&world.state));
    prop_assert_eq!(derived(&restored(&world.state), specs), derived(&world.state, specs));
    Ok(())
}

/// How many histories; more of them with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: Some(Box::new(
        proptest::test_runner::FileFailurePersistence::WithSource("seeds"))), ..ProptestConfig::default() })]

    #[test]
    fn every_write_does_what_the_model_says(
        specs in random::specs(), ops in prop::collection::vec(random::op(), 1..40),
    ) {
        let ops: Vec<Op> = ops.into_iter().map(|op| op.fit(specs.len())).collect();
        check(&specs, &ops)?;
    }
}
