//! What a filter offers to find its view by.

use std::slice;

use crate::Member;
use crate::filter::{Node, Relation, Test};
use crate::limits::{MAX_FILTER_TESTS, MAX_VIEW_ANCHORS};
use crate::order_key::KeyRange;
use crate::plan::{Facts, range_of};
use crate::schema::{CREATED_AT, EXPIRES_AT, UPDATED_AT, VERSION};
use crate::value::Constant;

/// Which records a filter can match.
pub(super) enum Offer<'f, 'm> {
    /// None.
    Nothing,
    /// All of them.
    Everything,
    /// Those of the parts of any one of these, the best first. If there is none, nothing can tell.
    Choices(Vec<Vec<Part<'f, 'm>>>),
}

/// What must hold of every record that matches a conjunction.
pub(super) struct Part<'f, 'm> {
    /// Members that must have one of some values, those that tell most first.
    pub(super) equal: Vec<Equal<'f, 'm>>,
    /// Members whose value must lie in a stretch, those that tell most first.
    pub(super) ranges: Vec<Range<'m>>,
}

/// A member that must have one of these values; at least one.
pub(super) struct Equal<'f, 'm> {
    pub(super) member: &'m Member,
    pub(super) values: Vec<&'f Constant>,
}

/// A member whose value must lie in a stretch that is not empty.
pub(super) struct Range<'m> {
    pub(super) member: &'m Member,
    pub(super) stretch: KeyRange,
    /// It is bounded on both sides.
    closed: bool,
}

/// What a filter offers. An equality that every matching record has is the best; then come alternatives that have one each,
/// then a range, then alternatives that need one.
pub(super) fn offer<'f, 'm>(node: &'f Node, members: &'m [Member]) -> Offer<'f, 'm> {
    match node.constant() {
        Some(false) => return Offer::Nothing,
        Some(true) => return Offer::Everything,
        None => {}
    }
    let facts = Facts::of_members(node, members);
    let Some(part) = Part::of(facts.tests).filter(|_| !facts.impossible) else { return Offer::Nothing };
    let mut choices: Vec<Vec<Part<'f, 'm>>> = Vec::new();
    for branches in facts.alternatives {
        match union(branches, members) {
            Some(parts) if parts.is_empty() => return Offer::Nothing,
            Some(parts) => choices.push(parts),
            None => {}
        }
    }
    if !part.equal.is_empty() || !part.ranges.is_empty() {
        choices.push(vec![part]);
    }
    choices.sort_by_key(|parts| {
        let by_range = parts.iter().any(|part| part.equal.is_empty());
        (by_range, parts.len())
    });
    Offer::Choices(choices)
}

/// What the branches of an `$or` offer together; `None` if one of them cannot tell.
fn union<'f, 'm>(branches: &'f [Node], members: &'m [Member]) -> Option<Vec<Part<'f, 'm>>> {
    let mut parts = Vec::new();
    for branch in branches {
        match offer(branch, members) {
            Offer::Nothing => {}
            Offer::Everything => return None,
            Offer::Choices(choices) => parts.extend(choices.into_iter().next()?),
        }
        if parts.len() > MAX_VIEW_ANCHORS {
            return None;
        }
    }
    Some(parts)
}

impl<'f, 'm> Part<'f, 'm> {
    /// `None` if no record can pass all of these tests.
    fn of(mut tests: Vec<(&'m Member, &'f Test)>) -> Option<Self> {
        // The same member may have been named several times.
        tests.sort_by_key(|(member, _)| name(member));
        let mut part = Self { equal: Vec::new(), ranges: Vec::new() };
        for tests in tests.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((member, _)) = tests.first() else { continue };
            let of_one = || tests.iter().map(|(_, test)| *test);
            if let Some(values) = values(of_one) {
                part.equal.push(Equal { member, values: Some(values).filter(|values| !values.is_empty())? });
            } else if let Some(range) = of_one().filter_map(range_of).reduce(KeyRange::and) {
                let closed = of_one().any(|test| bounds(test).0) && of_one().any(|test| bounds(test).1);
                let stretch = Some(range).filter(|range| !range.is_empty())?;
                part.ranges.push(Range { member, stretch, closed });
            }
        }
        part.equal.sort_by_key(|equal| {
            let few = equal.values.iter().any(|value| matches!(value, Constant::Null | Constant::Bool(_)));
            (equal.values.len(), few, is_foreign(equal.member))
        });
        part.ranges.sort_by_key(|range| (!range.closed, is_foreign(range.member)));
        Some(part)
    }
}

/// The values that pass all of these tests of one member, if they are named, and not too many to be of use.
fn values<'f, T: Iterator<Item = &'f Test>>(tests: impl Fn() -> T) -> Option<Vec<&'f Constant>> {
    let listed = tests().filter_map(|test| match test {
        Test::Equals(Some(value)) => Some(slice::from_ref(value)),
        Test::In(values) => Some(values.as_slice()),
        _ => None,
    });
    let values =
        listed.min_by_key(|values| values.len()).filter(|values| values.len() <= MAX_VIEW_ANCHORS)?;
    // To try them all may be more work than it is worth: the filter will be tried anyway.
    let all = values.len() * tests().count() > MAX_FILTER_TESTS;
    let passes = |value: &&Constant| all || tests().all(|test| test.holds(&value.as_field()));
    Some(values.iter().filter(passes).collect())
}

/// Whether a test bounds values from below and from above.
fn bounds(test: &Test) -> (bool, bool) {
    match test {
        Test::Between(..) => (true, true),
        Test::StartsWith(prefix) => (!prefix.is_empty(), !prefix.is_empty()),
        Test::Related(Relation::Greater | Relation::GreaterOrEqual, _) => (true, false),
        Test::Related(Relation::Less | Relation::LessOrEqual, _) => (false, true),
        _ => (false, false),
    }
}

/// The name by which a filter tells a member.
pub(super) fn name(member: &Member) -> &str {
    match member {
        Member::Field(_, name) | Member::Extra(name) => name,
        Member::Version => VERSION,
        Member::CreatedAt => CREATED_AT,
        Member::UpdatedAt => UPDATED_AT,
        Member::ExpiresAt => EXPIRES_AT,
        Member::Path(path) => &path.whole,
    }
}

/// Whether a member has to be looked for in the JSON text of a record.
pub(super) fn is_foreign(member: &Member) -> bool {
    matches!(member, Member::Extra(_) | Member::Path(_))
}
