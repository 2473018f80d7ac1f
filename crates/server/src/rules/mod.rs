//! Rules: the engine runs in the `StoreActor`, right behind what sets it off, and everything that it did is durable with that
//! (decision 11). What leaves the process goes through the `RulesActor`, when it is durable.
//!
//! - `work`: what the `StoreActor` is asked to do with the engine, and what it answers;
//! - `rights`: what the writes of a rule may do; `listener`: who is told of events;
//! - `services`: closures of the embedding program that rules call.

mod listener;
mod options;
mod rights;
mod services;
mod work;

pub(crate) use listener::{EventAt, RuleListener};
pub(crate) use options::RuleOptions;
pub(crate) use rights::RuleRights;
pub use services::{ServiceError, Services};
pub(crate) use work::{Look, RuleWork, Work};
