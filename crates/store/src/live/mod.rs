//! Live queries: results that are kept up to date commit by commit instead of being worked out anew.
//!
//! [`Views`] holds one *view* for each distinct query, however many watch it. It stands at one position of history. A step
//! takes it to a later one: the rows that changed in between are looked up as they were and as they are, the views that can
//! be concerned are found through indexes over their filters ([`matching`]), and each of those is told of the row only if
//! its filter matches the one or the other. What a view keeps depends on its query: the rows of its window and some behind
//! it ([`rows`]), or running totals ([`fold`], [`groups`]). So a step costs what it touches: neither the size of the bucket
//! nor the views that it does not concern count.
//!
//! Beside its new result a step leaves what it did to the old one ([`Delta`]), from which a JSON Patch is made if somebody
//! wants it. The states of the recent past can be had back ([`History`]), so that somebody who has seen one of them is told
//! exactly what he missed.
//!
//! Pure like the rest of this crate: making a view may take long, so it can be done on another thread
//! ([`Preparation::run`]); the view is then brought up to date when it joins the others.

#[cfg(test)]
mod aggregate_tests;
mod delta;
mod filing;
mod fold;
mod groups;
mod history;
mod intervals;
mod matching;
mod patch;
mod postings;
mod preparation;
mod query;
mod ranked;
mod readers;
mod row_set;
mod rows;
mod step;
mod telling;
mod view;
mod views;

pub(crate) use delta::{Delta, Edit, Item};
pub use history::HistoryLimits;
pub use patch::whole as whole_patch;
pub use preparation::{Preparation, Prepared, Replay};
pub use query::LiveQuery;
pub use step::Step;
pub use telling::{LiveExplain, Resume};
pub use views::{Joined, Renewed, ViewLimits, Views};

/// Names a view among the [`Views`] it belongs to. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(pub u64);
