//! Live queries: from commits to pushes.
//!
//! The [`LiveActor`] owns the [`Views`](dunlin_store::Views) of all live queries and knows who watches which. Commits come to
//! it through the [`ChangeFeed`]; for each view whose result a step has changed it makes the new result, or the patch that
//! leads to it, once, and puts it into the outbox of everybody who watches. Whatever may take long (a view of a large bucket, a
//! query that is code, what somebody has missed) is worked out beside it ([`workshop`]).

mod actor;
mod admission;
mod delivery;
mod feed;
mod watch;
mod watchers;
mod workshop;

pub(crate) use actor::{LiveActor, LiveArguments, LiveMessage};
pub(crate) use feed::ChangeFeed;
pub(crate) use watch::{Judged, Start, Told, Watch};
