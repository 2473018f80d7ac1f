//! Worlds in which everything ends at any moment: a journal on a simulated disk, a writer, and after each end a new
//! beginning, whose state must be one that `docs/durability.md` allows.
//!
//! One thread, no clock: the same seed gives the same world, to the byte.

mod line;
mod rules;
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
    world::run(seed, lapse)
}

/// Runs one life of a seed, which ends at this operation of the disk, and what comes after it. `None`: it is over before.
///
/// # Panics
/// As [`run`].
pub fn run_to(seed: u64, operation: u64, moment: Moment) -> Option<Tally> {
    world::run_to(seed, operation, moment)
}
