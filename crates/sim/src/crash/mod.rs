//! Worlds in which everything ends at any moment: a journal on a simulated disk, a writer, and after each end a new
//! beginning, whose state must be one that `docs/durability.md` allows. In worlds with rules the writer is the server's, and what
//! rules do must be there as often as what has set them off.
//!
//! One thread, no clock: the same seed gives the same world, to the byte.

mod line;
mod outside;
mod rules;
mod ruleset;
mod tally;
mod world;
mod writer;

pub use self::tally::Tally;
pub use crate::disk::{Lapse, Moment};

/// Runs the world of a seed to its end. `loud`: prints what happens in it. `lapse`: what the disk leaves out, to see whether it
/// is noticed.
///
/// # Panics
/// If the journal does not keep what it promises.
pub fn run(seed: u64, loud: bool, lapse: Option<Lapse>) -> Tally {
    crate::LOUD.set(loud);
    world::run(seed, false, lapse)
}

/// Runs one life of a seed, which ends at this operation of the disk, and what comes after it. `None`: it is over before.
///
/// # Panics
/// As [`run`].
pub fn run_to(seed: u64, operation: u64, moment: Moment) -> Option<Tally> {
    world::run_to(seed, false, operation, moment)
}

/// As [`run`], in a world with rules: the writer is the server's, with its engine.
///
/// # Panics
/// As [`run`]; if a rule fires twice or not at all, or goes on after an end as it would not have without one.
pub fn run_with_rules(seed: u64, loud: bool, lapse: Option<Lapse>) -> Tally {
    crate::LOUD.set(loud);
    world::run(seed, true, lapse)
}

/// All that happens in the world of a seed with rules, as text: each task, each commit, each operation of the disk, and what rules
/// have told.
///
/// # Panics
/// As [`run_with_rules`].
pub fn story_with_rules(seed: u64) -> String {
    crate::STORY.set(Some(String::new()));
    run_with_rules(seed, false, None);
    crate::STORY.take().unwrap_or_default()
}

/// As [`run_to`], in a world with rules.
///
/// # Panics
/// As [`run_with_rules`].
pub fn run_with_rules_to(seed: u64, operation: u64, moment: Moment) -> Option<Tally> {
    world::run_to(seed, true, operation, moment)
}
