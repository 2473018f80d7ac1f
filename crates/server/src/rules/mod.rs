//! Rules: the engine runs in the `StoreActor`, right behind what sets it off, and everything that it did is durable with that
//! (decision 11). What leaves the process goes through the `RulesActor`, when it is durable.
//!
//! - `work`: what the `StoreActor` is asked to do with the engine, and what it answers; `run`: how it does that; `desk`: the engine,
//!   made from the state and taken back with it; `facts`: facts as records; `wake`: when the engine wants to be called;
//! - `feed`: from the `StoreActor` to the `RulesActor` (`actor`); `calls`: which call is made when; `webhooks`, `services`, `lookups`:
//!   how;
//! - `rights`: what the writes of a rule may do; `listener`: who is told of events.

mod actor;
mod calls;
mod desk;
mod facts;
mod feed;
mod listener;
mod lookups;
mod options;
mod rights;
mod run;
mod services;
mod wake;
mod webhooks;
mod work;

pub(crate) use actor::{RulesActor, RulesArguments, RulesMessage};
pub(crate) use desk::{Aftermath, Desk};
pub(crate) use feed::RuleFeed;
pub(crate) use listener::{EventAt, RuleListener};
pub(crate) use lookups::Lookups;
pub(crate) use options::RuleOptions;
pub(crate) use rights::RuleRights;
pub use services::{ServiceError, Services};
pub(crate) use wake::Wake;
pub(crate) use webhooks::Webhooks;
pub(crate) use work::{Look, RuleWork, Work};
