//! An oracle for rights: random worlds of one real server and several clients, over the wire, held against a naive model of
//! `docs/access.md`.
//!
//! Everything that is asked must be answered as the model says, nothing that somebody may not see may stand in any frame that
//! he receives, and when all is quiet every live query shows what its watcher sees. `docs/testing.md` says more.
//!
//! ```console
//! $ cargo test -p dunlin-server --test rights                                  # 100,000 operations
//! $ RIGHTS_FIRST=1000 RIGHTS_WORLDS=500 cargo test -p dunlin-server --test rights   # others, and more of them
//! $ RIGHTS_SEED=28 cargo test -p dunlin-server --test rights -- --nocapture    # one, telling all that happens in it
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../../../store/tests/live/chance.rs"]
#[allow(unreachable_pub, reason = "shared with the oracle of the store")]
mod chance;
mod client;
mod filter;
mod model;
#[path = "../../../store/tests/live/patch.rs"]
#[allow(unreachable_pub, reason = "shared with the oracle of the store")]
mod patch;
mod random;
mod reads;
mod requests;
mod rights;
mod tables;
mod tally;
#[path = "../../../sim/src/wire.rs"]
#[allow(dead_code, reason = "shared with the simulation, which cuts frames off")]
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;

/// Worlds of a normal run, and operations that all of them carry out together.
const WORLDS: u64 = 83;
const OPERATIONS: u64 = 100_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn everybody_gets_what_is_his_and_nothing_else() {
    if let Some(seed) = variable("RIGHTS_SEED") {
        println!("{:#?}", world::run(seed, true));
        return;
    }
    let worlds = variable("RIGHTS_WORLDS").unwrap_or(WORLDS);
    let first = variable("RIGHTS_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + worlds {
                return tally;
            }
            tally.add(&world::run(seed, false));
        }
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut failed = false;
        for worker in workers {
            match worker.join() {
                Ok(its) => tally.add(&its),
                Err(_) => failed = true,
            }
        }
        assert!(!failed, "a world did not hold; its seed is above");
    });
    println!("{tally:#?}");
    if worlds >= WORLDS {
        assert!(tally.of("operations") >= OPERATIONS, "{tally:#?}");
        tally.everything_has_happened();
    }
}
