//! The wire of dunlin: requests, operations, answers, pushes and codes of protocol 1.0.0.
//!
//! - [`request`](Message): a text frame becomes a [`Message`], its fields still raw JSON;
//! - [`Operation`]: a request becomes a typed operation, every field checked; it knows which [`Resource`]s it touches, and
//!   its [`Kind`] which [`Tier`] it needs;
//! - [`TopicPattern`]: which topics somebody wants to hear of; [`KeyPattern`]: which keys of facts;
//! - [`frame`]: answers, pushes and system messages become text frames;
//! - [`Error`], [`Code`], [`Close`]: everything that can go wrong, with its stable code.
//!
//! Pure functions over text: no sockets, no clock, no state.

mod close;
mod depth;
mod error;
mod fingerprint;
mod flat;
pub mod frame;
mod id;
mod key_pattern;
mod kind;
pub mod limits;
mod operation;
mod request;
mod segment;
mod tier;
mod topic;

pub use close::Close;
pub use depth::nested_deeper;
pub use error::{Code, Error};
pub use fingerprint::Fingerprint;
pub use id::Id;
pub use key_pattern::KeyPattern;
pub use kind::Kind;
pub use operation::{
    Aggregate, Explained, Grouping, Hello, KeyField, Mode, Object, Operation, PageFields, Queried, Read,
    Resource, Resume, RuleRead, RuleWrite, Step, Subscribe, Write,
};
pub use request::{Fields, Message, Request, Scalar};
pub use segment::{PatternFault, Segment};
pub use tier::Tier;
pub use topic::TopicPattern;
