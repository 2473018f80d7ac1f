//! How the records that match a filter are found: by key, by index, or by trying all.
//!
//! The choice never shows in a result. Whatever the access, it gives at least all rows that match, in table order, and
//! every one of them is tried with the whole filter.

mod explain;
mod facts;
mod order;
mod rows;
mod window;

use crate::filter::{Matcher, Node};
use crate::index::{Index, Lead};
use crate::order_key::KeyRange;
use crate::value::Constant;
use crate::{Bucket, Member};

pub use explain::{Explain, Plan};
pub(crate) use facts::{Facts, range_of};
pub use order::Direction;
pub(crate) use order::{Order, Position, Row};
pub(crate) use rows::Candidates;
pub(crate) use window::window;

/// Where the matching rows are looked for.
pub(crate) enum Access<'f, 'b> {
    /// Nothing can match.
    Nothing,
    /// The one record of a key.
    Key(&'f Constant),
    /// The records of several keys.
    Keys(&'f [Constant]),
    /// What an index says.
    Index(Lookup<'f, 'b>),
    /// What any of several accesses gives.
    Union(Vec<Access<'f, 'b>>),
    /// Everywhere.
    Scan,
}

/// A look into an index.
pub(crate) struct Lookup<'f, 'b> {
    pub(crate) index: &'b Index,
    pub(crate) lead: Lead,
    pub(crate) last: Last<'f>,
}

/// What is asked of the last field of an index.
#[derive(Clone, Copy)]
pub(crate) enum Last<'f> {
    Equal(&'f Constant),
    In(&'f [Constant]),
    Within(KeyRange),
}

/// Better accesses have smaller ranks; the number is that of the index's fields, of which more are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unique,
    Equal(std::cmp::Reverse<usize>),
    LeadAndMore,
    In,
    Within,
}

/// Chooses the access for a filter. Costs what the filter and the list of indexes cost, whatever the bucket holds.
pub(crate) fn choose<'f, 'b>(bucket: &'b Bucket, matcher: &Matcher<'f>) -> Access<'f, 'b> {
    choose_for(bucket, matcher.root(), matcher.members())
}

fn choose_for<'f, 'b>(bucket: &'b Bucket, node: &'f Node, members: &[Member]) -> Access<'f, 'b> {
    let facts = Facts::of(node, members);
    if facts.impossible {
        return Access::Nothing;
    }
    if facts.is_empty() {
        return Access::Scan;
    }
    let key = bucket.definition().key_slot();
    if let Some(value) = facts.equal(key) {
        return Access::Key(value);
    }
    if let Some(values) = facts.listed(key) {
        return Access::Keys(values);
    }
    let lookups = bucket.indexes().iter().filter_map(|index| lookup(index, &facts));
    match lookups.min_by_key(|(rank, _)| *rank) {
        Some((_, Lookup { last: Last::Within(range), .. })) if range.is_empty() => Access::Nothing,
        Some((_, lookup)) => Access::Index(lookup),
        None => union(bucket, &facts, members).map_or(Access::Scan, Access::Union),
    }
}

/// What an index can say about these facts, if anything.
fn lookup<'f, 'b>(index: &'b Index, facts: &Facts<'f>) -> Option<(Rank, Lookup<'f, 'b>)> {
    let (last, before) = index.spec().slots.split_last()?;
    if !before.iter().all(|slot| facts.equal(*slot).is_some()) {
        return None;
    }
    let alone = before.is_empty();
    let (rank, last) = if let Some(value) = facts.equal(*last) {
        let unique = index.spec().unique;
        let fields = std::cmp::Reverse(index.spec().slots.len());
        (if unique { Rank::Unique } else { Rank::Equal(fields) }, Last::Equal(value))
    } else if let Some(values) = facts.listed(*last) {
        (if alone { Rank::In } else { Rank::LeadAndMore }, Last::In(values))
    } else {
        let range = facts.range(*last)?;
        (if alone { Rank::Within } else { Rank::LeadAndMore }, Last::Within(range))
    };
    let lead = if alone {
        Lead::NONE
    } else {
        index.lead(before.iter().filter_map(|slot| facts.equal(*slot)).map(Constant::as_field))?
    };
    Some((rank, Lookup { index, lead, last }))
}

/// The accesses of the branches of an `$or`, if each of them has a better one than to try everything.
fn union<'f, 'b>(bucket: &'b Bucket, facts: &Facts<'f>, members: &[Member]) -> Option<Vec<Access<'f, 'b>>> {
    let narrow = |branch: &'f Node| {
        let access = choose_for(bucket, branch, members);
        (!matches!(access, Access::Scan)).then_some(access)
    };
    facts.alternatives.iter().find_map(|branches| branches.iter().map(narrow).collect())
}
