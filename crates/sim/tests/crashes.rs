//! Seeds of the crashing worlds. `CRASH_SEEDS=1000000 cargo test --release -p dunlin-sim --test crashes` runs more of them; a
//! failure prints the command that repeats its seed alone, and tells each step of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dunlin_sim::crash::{Lapse, Moment, Tally, run, run_to};

/// Seeds that are run if nobody says how many.
const SEEDS: u64 = 10_000;

/// Seeds of which a life is ended at each of its operations.
const LIVES: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_was_acknowledged_is_there() {
    if let Some(seed) = number("CRASH_SEED") {
        println!("{}", run(seed, true, None));
        return;
    }
    let (first, count) = (number("CRASH_FIRST").unwrap_or(0), number("CRASH_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(first);
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return (tally, None);
            }
            let Ok(happened) = catch_unwind(|| run(seed, false, None)) else {
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
                panic!("CRASH_SEED={seed} cargo test -p dunlin-sim --test crashes -- --nocapture repeats it");
            }
            tally.add(&happened);
        }
    });
    println!("{tally}");
    if count >= SEEDS {
        assert!(tally.missing().is_empty(), "it never happened: {:?}", tally.missing());
    }
}

#[test]
fn each_operation_may_be_the_last() {
    for seed in 0..LIVES {
        for operation in 1.. {
            let ends = Moment::ALL.map(|moment| {
                let run = || run_to(seed, operation, moment);
                catch_unwind(run)
                    .unwrap_or_else(|_| panic!("seed {seed} fails {moment} operation {operation}"))
            });
            if ends.iter().all(Option::is_none) {
                assert!(operation > 30, "a life of seed {seed} is over after {operation} operations");
                break;
            }
        }
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        assert_eq!(run(seed, false, None), run(seed, false, None));
    }
}

/// What a journal would lose that forgot a step: the worlds must notice.
#[test]
fn a_disk_that_leaves_out_a_step_is_found_out() {
    for lapse in [Lapse::Sync, Lapse::SyncNames, Lapse::Cut] {
        let found = (0..500).find(|seed| catch_unwind(|| run(*seed, false, Some(lapse))).is_err());
        assert!(found.is_some(), "{lapse:?} goes unnoticed");
    }
}
