//! A world of one seed: the real server, from the socket's driver to the journal, with simulated clients on pipes, on one
//! thread and in virtual time. Every push and every answer is held against the truth: the journal keeps the state at each
//! position, and queries are evaluated on it from scratch.
//!
//! `docs/testing.md` says what is covered and how a seed is replayed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a crate of tests: they fail by panicking"
)]

mod answers;
#[path = "../../store/tests/live/chance.rs"]
#[allow(unreachable_pub, reason = "shared with the oracle of the store")]
mod chance;
mod client;
pub mod crash;
mod disk;
mod hearing;
#[path = "../../store/tests/live/patch.rs"]
#[allow(unreachable_pub, reason = "shared with the oracle of the store")]
mod patch;
mod random;
mod subscription;
mod truth;
mod wire;
mod world;

use std::cell::{Cell, RefCell};

/// What has happened, to see that everything does.
#[derive(Debug, Default, Clone, Copy)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Tally {
    pub commits: u64,
    pub pushes: u64,
    pub patches: u64,
    pub skipped: u64,
    pub repeated: u64,
    pub resumed: u64,
    pub not_resumed: u64,
    pub undefined: u64,
    pub dropped: u64,
    pub slow_consumers: u64,
    pub cuts: u64,
    pub faults: u64,
    pub restarts: u64,
    pub new_epochs: u64,
    pub calms: u64,
    pub heard: u64,
    pub unheard: u64,
    pub calls: u64,
}

impl Tally {
    /// Adds another one to this one.
    pub fn add(&mut self, other: &Self) {
        for (mine, its) in self.fields().into_iter().zip(other.values()) {
            *mine += its.1;
        }
    }

    fn fields(&mut self) -> [&mut u64; 18] {
        [
            &mut self.commits,
            &mut self.pushes,
            &mut self.patches,
            &mut self.skipped,
            &mut self.repeated,
            &mut self.resumed,
            &mut self.not_resumed,
            &mut self.undefined,
            &mut self.dropped,
            &mut self.slow_consumers,
            &mut self.cuts,
            &mut self.faults,
            &mut self.restarts,
            &mut self.new_epochs,
            &mut self.calms,
            &mut self.heard,
            &mut self.unheard,
            &mut self.calls,
        ]
    }

    /// Each with its name.
    pub fn values(&self) -> [(&'static str, u64); 18] {
        [
            ("commits", self.commits),
            ("pushes", self.pushes),
            ("patches", self.patches),
            ("skipped", self.skipped),
            ("repeated", self.repeated),
            ("resumed", self.resumed),
            ("not_resumed", self.not_resumed),
            ("undefined", self.undefined),
            ("dropped", self.dropped),
            ("slow_consumers", self.slow_consumers),
            ("cuts", self.cuts),
            ("faults", self.faults),
            ("restarts", self.restarts),
            ("new_epochs", self.new_epochs),
            ("calms", self.calms),
            ("heard", self.heard),
            ("unheard", self.unheard),
            ("calls", self.calls),
        ]
    }
}

thread_local! {
    /// Whether what happens is printed: everything happens on one thread.
    static LOUD: Cell<bool> = const { Cell::new(false) };
    /// What happens, if somebody wants to have it.
    static STORY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Prints what happens, if a seed is replayed.
pub(crate) fn note(what: impl FnOnce() -> String) {
    if LOUD.get() {
        println!("{}", what());
        return;
    }
    STORY.with_borrow_mut(|story| {
        if let Some(story) = story {
            story.push_str(&what());
            story.push('\n');
        }
    });
}

/// Runs the world of a seed to its end. `loud`: prints what happens in it.
///
/// # Panics
/// If the server does not keep what it promises.
pub fn run(seed: u64, loud: bool) -> Tally {
    LOUD.set(loud);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
    // Unconstrained: clients poll their pipes by themselves and would take "come again later" for "nothing there".
    runtime.block_on(tokio::task::unconstrained(world::run(seed)))
}
