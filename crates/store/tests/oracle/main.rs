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

use common::{World, image, replayed, restored};
use dunlin_store::{Record, Snapshot};
use model::Model;
use proptest::prelude::*;
use random::{BucketSpec, Op};
use serde_json::Value;

fn records(state: &Snapshot, bucket: usize) -> Vec<Value> {
    state.bucket(&random::bucket_name(bucket)).unwrap().iter().map(Record::to_value).collect()
}

fn check(specs: &[BucketSpec], ops: &[Op]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for (number, spec) in specs.iter().enumerate() {
        world.define(&random::bucket_name(number), spec.config()).unwrap();
    }
    let mut model = Model::new(specs.to_vec());
    for op in ops {
        if let Op::Wait(ms) = op {
            world.now += ms;
            world.expire();
            model.expire(world.now);
        } else {
            let before = image(&world.state);
            let outcome = world.run(op.intent());
            let accepted = model.take(op, world.now);
            prop_assert_eq!(outcome.is_ok(), accepted, "{:?}: {:?}", op, outcome);
            if !accepted {
                prop_assert_eq!(image(&world.state), before, "refused: {:?}", op);
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
