//! Worlds in which everything ends at any moment: a journal on a [simulated disk](crate::disk), a writer, and after each end a new
//! beginning, whose state must be one that `docs/durability.md` allows.
//!
//! One thread, no clock: the same seed gives the same world, to the byte.

mod line;
mod subject;
mod tally;
mod world;
mod writer;

pub use self::subject::{Keeps, Settings, Subject};
pub use self::tally::Tally;
pub use crate::disk::Lapse;

/// Runs the world of a seed to its end. `loud`: prints what happens in it. `lapse`: what the disk leaves out, to see whether it
/// is noticed.
///
/// # Panics
/// If the journal does not keep what it promises.
pub fn run<S: Subject>(seed: u64, loud: bool, lapse: Option<Lapse>) -> Tally {
    crate::LOUD.set(loud);
    world::run::<S>(seed, lapse)
}
