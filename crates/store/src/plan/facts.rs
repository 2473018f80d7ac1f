//! What must hold of every record that matches a filter.

use crate::Member;
use crate::filter::{Node, Relation, Test};
use crate::order_key::KeyRange;
use crate::value::Constant;

/// Tests that every matching record passes, found at the root of a filter and in what is joined to it by `$and`. `M` is
/// how a member is told: schema fields by their places, or all members by themselves.
pub(crate) struct Facts<'f, M = usize> {
    /// Tests of members.
    pub(crate) tests: Vec<(M, &'f Test)>,
    /// The branches of each `$or`.
    pub(crate) alternatives: Vec<&'f [Node]>,
    /// No record can match.
    pub(crate) impossible: bool,
}

impl<'f> Facts<'f> {
    /// What is known of schema fields.
    pub(super) fn of(node: &'f Node, members: &[Member]) -> Self {
        Self::gather(node, |name| match members.get(name) {
            Some(Member::Field(slot, _)) => Some(*slot),
            _ => None,
        })
    }
}

impl<'f, 'm> Facts<'f, &'m Member> {
    /// What is known of any member.
    pub(crate) fn of_members(node: &'f Node, members: &'m [Member]) -> Self {
        Self::gather(node, |name| members.get(name))
    }
}

impl<'f, M> Facts<'f, M> {
    /// `member` tells the member that a test looks at, by its number, if it counts.
    fn gather(node: &'f Node, member: impl Fn(usize) -> Option<M>) -> Self {
        let mut facts = Self { tests: Vec::new(), alternatives: Vec::new(), impossible: false };
        facts.add(node, &member);
        facts
    }

    fn add(&mut self, node: &'f Node, member: &impl Fn(usize) -> Option<M>) {
        match node {
            Node::All(nodes) => nodes.iter().for_each(|node| self.add(node, member)),
            Node::Any(nodes) => match nodes.as_slice() {
                [] => self.impossible = true,
                [node] => self.add(node, member),
                nodes => self.alternatives.push(nodes),
            },
            Node::Not(_) => {}
            Node::Test { name, test } => {
                match test {
                    Test::Equals(None) => self.impossible = true,
                    Test::In(values) if values.is_empty() => self.impossible = true,
                    _ => {}
                }
                if let Some(member) = member(*name) {
                    self.tests.push((member, test));
                }
            }
        }
    }
}

impl<'f> Facts<'f> {
    pub(super) fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.alternatives.is_empty()
    }

    fn tests(&self, slot: usize) -> impl Iterator<Item = &'f Test> {
        self.tests.iter().filter(move |(place, _)| *place == slot).map(|(_, test)| *test)
    }

    /// The value that the field must have.
    pub(super) fn equal(&self, slot: usize) -> Option<&'f Constant> {
        self.tests(slot).find_map(|test| match test {
            Test::Equals(Some(value)) => Some(value),
            Test::In(values) => match values.as_slice() {
                [value] => Some(value),
                _ => None,
            },
            _ => None,
        })
    }

    /// The values of which the field must have one.
    pub(super) fn listed(&self, slot: usize) -> Option<&'f [Constant]> {
        self.tests(slot).find_map(|test| match test {
            Test::In(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// The stretch in which the field's value must lie.
    pub(super) fn range(&self, slot: usize) -> Option<KeyRange> {
        self.tests(slot).filter_map(range_of).reduce(KeyRange::and)
    }
}

/// The stretch of values that can pass a test.
pub(crate) fn range_of(test: &Test) -> Option<KeyRange> {
    match test {
        Test::Related(relation, operand) => {
            let operand = operand.as_field();
            match relation {
                Relation::Greater => KeyRange::above(&operand, false),
                Relation::GreaterOrEqual => KeyRange::above(&operand, true),
                Relation::Less => KeyRange::below(&operand, false),
                Relation::LessOrEqual => KeyRange::below(&operand, true),
            }
        }
        Test::Between(low, high) => {
            let low = KeyRange::above(&low.as_field(), true)?;
            Some(low.and(KeyRange::below(&high.as_field(), true)?))
        }
        Test::StartsWith(prefix) => Some(KeyRange::prefix(prefix)),
        _ => None,
    }
}
