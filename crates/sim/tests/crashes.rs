//! Seeds of the crashing worlds. `CRASH_SEEDS=1000000 cargo test --release -p dunlin-sim --test crashes` runs more of them; a
//! failure prints the command that repeats its seed alone, and tells each step of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dunlin_sim::crash::{
    Lapse, Moment, Tally, run, run_to, run_with_rules, run_with_rules_to, story_with_rules,
};

/// Seeds that are run if nobody says how many.
const SEEDS: u64 = 10_000;

/// The same for worlds with rules.
const SEEDS_WITH_RULES: u64 = 300;

/// Seeds of which a life is ended at each of its operations.
const LIVES: u64 = 4;
/// The same for worlds with rules.
const LIVES_WITH_RULES: u64 = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_was_acknowledged_is_there() {
    if let Some(seed) = number("CRASH_SEED") {
        println!("{}", run(seed, true, None));
        return;
    }
    let count = number("CRASH_SEEDS").unwrap_or(SEEDS);
    let tally = all(count, "what_was", |seed| run(seed, false, None));
    if count >= SEEDS {
        assert!(tally.missing().is_empty(), "it never happened: {:?}", tally.missing());
    }
}

#[test]
fn rules_fire_exactly_once() {
    if let Some(seed) = number("CRASH_SEED") {
        println!("{}", run_with_rules(seed, true, None));
        return;
    }
    let count = number("CRASH_SEEDS").unwrap_or(SEEDS_WITH_RULES);
    let tally = all(count, "rules_fire", |seed| run_with_rules(seed, false, None));
    if count >= SEEDS_WITH_RULES {
        assert!(tally.missing_of_rules().is_empty(), "it never happened: {:?}", tally.missing_of_rules());
    }
}

/// Runs so many seeds on all processors.
fn all(count: u64, test: &str, run: fn(u64) -> Tally) -> Tally {
    let first = number("CRASH_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return (tally, None);
            }
            let Ok(happened) = catch_unwind(|| run(seed)) else {
                // The others need not go on.
                next.store(first + count, Ordering::Relaxed);
                return (tally, Some(seed));
            };
            tally.add(&happened);
        }
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let (happened, failed) = worker.join().unwrap();
            if let Some(seed) = failed {
                panic!(
                    "CRASH_SEED={seed} cargo test -p dunlin-sim --test crashes {test} -- --nocapture repeats it"
                );
            }
            tally.add(&happened);
        }
    });
    println!("{tally}");
    tally
}

#[test]
fn each_operation_may_be_the_last() {
    for seed in 0..LIVES {
        end_everywhere(seed, run_to);
    }
}

#[test]
fn each_operation_may_be_the_last_for_rules() {
    for seed in 0..LIVES_WITH_RULES {
        end_everywhere(seed, run_with_rules_to);
    }
}

fn end_everywhere(seed: u64, run_to: fn(u64, u64, Moment) -> Option<Tally>) {
    for operation in 1.. {
        let ends = Moment::ALL.map(|moment| {
            let run = || run_to(seed, operation, moment);
            catch_unwind(run).unwrap_or_else(|_| panic!("seed {seed} fails {moment} operation {operation}"))
        });
        if ends.iter().all(Option::is_none) {
            assert!(operation > 30, "a life of seed {seed} is over after {operation} operations");
            break;
        }
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        assert_eq!(run(seed, false, None), run(seed, false, None));
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    let mut fired = 0;
    for seed in 0..8 {
        let (story, again) = (story_with_rules(seed), story_with_rules(seed));
        let differs = story.lines().zip(again.lines()).find(|(line, again)| line != again);
        assert_eq!((differs, story.len()), (None, again.len()), "in the world of seed {seed}");
        fired += story.matches("told: 1 ").count();
    }
    assert!(fired > 0, "no rule fires in any of them");
}

/// What a journal would lose that forgot a step: the worlds must notice.
#[test]
fn a_disk_that_leaves_out_a_step_is_found_out() {
    for lapse in [Lapse::Sync, Lapse::SyncNames, Lapse::Cut] {
        let found = (0..500).find(|seed| catch_unwind(|| run(*seed, false, Some(lapse))).is_err());
        assert!(found.is_some(), "{lapse:?} goes unnoticed");
    }
}
