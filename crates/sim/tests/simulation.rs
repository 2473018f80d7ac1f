//! Seeds of the simulation. `SIM_SEEDS=1000 cargo test -p dunlin-sim` runs more of them; a failure prints the command that
//! repeats its seed alone, and tells what happens in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use dunlin_sim::{Tally, run};

/// Seeds that are run if nobody says how many.
const SEEDS: u64 = 50;

#[test]
fn every_client_is_told_the_truth_and_nothing_else() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SIM_SEED") {
        println!("{:?}", run(seed, true));
        return;
    }
    let (first, count) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS));
    let mut tally = Tally::default();
    for seed in first..first + count {
        let Ok(happened) = std::panic::catch_unwind(|| run(seed, false)) else {
            panic!("SIM_SEED={seed} cargo test -p dunlin-sim -- --nocapture repeats it");
        };
        tally.add(&happened);
    }
    println!("{tally:?}");
    if count >= SEEDS {
        let missing: Vec<_> = tally.values().into_iter().filter(|(_, times)| *times == 0).collect();
        assert!(missing.is_empty(), "it never happened: {missing:?}");
    }
}
