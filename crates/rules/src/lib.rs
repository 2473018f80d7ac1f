//! The pure rule engine of dunlin: facts, events and time in, effects out.
//!
//! An [`Engine`] is fed [`Input`]s one after another. Each runs to completion: everything that it triggers, and what that
//! triggers, depth first, in order of priority. What comes out is a [`Ran`]: the answer, the events in the order in which they
//! happened, the [`Change`]s of the engine's state that somebody makes durable together with what the run wrote to the store, and
//! [`Effect`]s to be carried out when that is durable. An engine that is given the same changes back ([`Change`]s are its whole
//! state) goes on where the other one stopped.
//!
//! No clock, no randomness, no I/O: time, chance and the store come in through [`World`].

pub mod action;
pub mod builder;
pub mod change;
pub mod condition;
pub mod cron;
pub mod dry_run;
pub mod duration;
pub mod effect;
mod engine;
pub mod event;
mod facts;
pub mod fault;
mod groups;
pub mod index;
pub mod input;
pub mod limits;
mod outbox;
pub mod report;
pub mod rule;
pub mod temporal;
pub mod timers;
pub mod versions;
pub mod world;

pub use builder::RuleBuilder;
pub use change::Change;
pub use effect::{Effect, OutgoingCall, Target};
pub use engine::Engine;
pub use event::{Event, Fact, Source};
pub use fault::{Issue, RuleFault, Severity};
pub use input::{Answer, Input, Ran};
pub use limits::Limits;
pub use report::{Link, Report, ReportKind};
pub use rule::{Rule, RunAs, Trigger};
pub use temporal::{Match, Temporal};
pub use timers::{Expired, NewTimer, Timer, Timers};
pub use world::{ChangeKind, StoreChange, StoreOperation, StoreRequest, Watched, World, Written};

/// A JSON object.
pub type Object = serde_json::Map<String, serde_json::Value>;
