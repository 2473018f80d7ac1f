//! Which records: the filter grammar of protocol 1.0.0, parsed once, checked whole, evaluated on typed values.

mod parameters;
mod parse;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::path::each_element;
use crate::value::{Constant, utf16_order, value_order};
use crate::{Definition, FieldValue, Member, Record};

pub(crate) use parameters::Parameters;

/// A checked filter. [`Filter::default`] matches every record.
///
/// ```
/// use dunlin_store::Filter;
/// use serde_json::json;
///
/// let filter = json!({"age": {"$gte": 18, "$lt": 65}, "$or": [{"role": "admin"}, {"tags": {"$exists": true}}]});
/// assert!(Filter::parse(filter.as_object().unwrap()).is_ok());
///
/// let filter = json!({"age": {"$atleast": 18}});
/// let error = Filter::parse(filter.as_object().unwrap()).unwrap_err();
/// assert_eq!(error.details().unwrap()[0]["field"], "age.$atleast");
/// ```
///
/// A member name with dots goes into nested values (`address.city`, `tags.0`), unless a member has that very name.
///
/// Semantics: values are equal if type and value are (numbers by value, `1` equals `1.0`). `null` equals only `null`,
/// never an absent member. An object or array equals nothing. `$gt $gte $lt $lte $between` relate numbers to numbers
/// and strings to strings (by UTF-16 code units) and are false otherwise. `$neq` and `$nin` are the negations of
/// equality, so they match absent members. `$not` matches exactly what its filter, or its operators, do not match, absent
/// members included. `$has` finds a plain value among the elements of an array. Nothing depends on whether a field is
/// indexed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The member each test looks at, by the test's number.
    names: Vec<Arc<str>>,
    root: Node,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test { name: usize, test: Test },
}

impl Default for Node {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// One test of one member. Where an operand may be an object or array, `None` stands for it: it equals nothing.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Equals(Option<Constant>),
    Differs(Option<Constant>),
    Related(Relation, Constant),
    Between(Constant, Constant),
    /// Ascending, each once.
    In(Vec<Constant>),
    NotIn(Vec<Constant>),
    /// The operand in lower case.
    Contains(Box<str>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Exists(bool),
    /// An array has this element.
    Has(Constant),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Filter {
    /// Whether the filter matches everything because it has no parts.
    pub fn is_empty(&self) -> bool {
        matches!(&self.root, Node::All(nodes) if nodes.is_empty())
    }

    /// What both filters match.
    ///
    /// ```
    /// use dunlin_store::Filter;
    /// use serde_json::json;
    ///
    /// let filter = |value: serde_json::Value| Filter::parse(value.as_object().unwrap()).unwrap();
    /// let open = filter(json!({"done": false}));
    /// let hers = open.and(&filter(json!({"owner": "ada"})));
    /// assert!(!hers.is_empty() && Filter::default().and(&Filter::default()).is_empty());
    /// ```
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let names = self.names.iter().chain(&other.names).cloned().collect();
        Self { names, root: Node::All(vec![self.root.clone(), other.root.renumbered(self.names.len())]) }
    }

    /// What one of the filters matches; nothing if there are none.
    pub(crate) fn any<'f>(filters: impl IntoIterator<Item = &'f Self>) -> Self {
        let filters: Vec<&Self> = filters.into_iter().collect();
        if let [filter] = filters.as_slice() {
            return Self::clone(filter);
        }
        if filters.iter().any(|filter| filter.is_empty()) {
            return Self::default();
        }
        let (mut names, mut nodes) = (Vec::new(), Vec::with_capacity(filters.len()));
        for filter in filters {
            nodes.push(filter.root.renumbered(names.len()));
            names.extend(filter.names.iter().cloned());
        }
        Self { names, root: Node::Any(nodes) }
    }

    /// The names of the members that it looks at.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// How many tests it makes of a record at most.
    pub(crate) fn tests(&self) -> usize {
        fn tests(node: &Node) -> usize {
            match node {
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().map(tests).sum(),
                Node::Not(node) => tests(node),
                Node::Test { .. } => 1,
            }
        }
        tests(&self.root)
    }

    /// The filter ready to be tried on records of a bucket.
    pub fn matcher<'a>(&'a self, definition: &Definition) -> Matcher<'a> {
        Matcher { root: &self.root, members: self.resolve(definition).into() }
    }

    /// The members that the tests look at, by their numbers: to be kept by somebody who makes a matcher again and again.
    pub(crate) fn resolve(&self, definition: &Definition) -> Vec<Member> {
        self.names.iter().map(|name| definition.member(name)).collect()
    }

    /// The same as [`Filter::matcher`] with what [`Filter::resolve`] gave, at no cost.
    pub(crate) fn matcher_of<'a>(&'a self, members: &'a [Member]) -> Matcher<'a> {
        Matcher { root: &self.root, members: members.into() }
    }
}

impl Node {
    /// The same with tests of members whose numbers begin later.
    fn renumbered(&self, by: usize) -> Self {
        let all = |nodes: &[Self]| nodes.iter().map(|node| node.renumbered(by)).collect();
        match self {
            Self::All(nodes) => Self::All(all(nodes)),
            Self::Any(nodes) => Self::Any(all(nodes)),
            Self::Not(node) => Self::Not(Box::new(node.renumbered(by))),
            Self::Test { name, test } => Self::Test { name: name + by, test: test.clone() },
        }
    }
}

/// A filter with its member names resolved against one bucket's definition.
#[derive(Debug, Clone)]
pub struct Matcher<'a> {
    root: &'a Node,
    members: Cow<'a, [Member]>,
}

impl<'a> Matcher<'a> {
    pub(crate) fn root(&self) -> &'a Node {
        self.root
    }

    /// The member that each test looks at, by its number.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether the record matches.
    pub fn matches(&self, record: &Record) -> bool {
        self.node(self.root, record)
    }

    fn node(&self, node: &Node, record: &Record) -> bool {
        match node {
            Node::All(nodes) => nodes.iter().all(|node| self.node(node, record)),
            Node::Any(nodes) => nodes.iter().any(|node| self.node(node, record)),
            Node::Not(node) => !self.node(node, record),
            Node::Test { name, test } => {
                self.members.get(*name).is_some_and(|member| test.holds(&record.get(member)))
            }
        }
    }
}

impl Node {
    /// What it says of every record alike, whatever its members; `None` if that depends on the record, or seems to.
    pub(crate) fn constant(&self) -> Option<bool> {
        /// The answer that decides, if any gives it; else the other one, if all give that.
        fn decide(nodes: &[Node], decisive: bool) -> Option<bool> {
            let mut all = true;
            for node in nodes {
                match node.constant() {
                    Some(answer) if answer == decisive => return Some(decisive),
                    answer => all &= answer.is_some(),
                }
            }
            all.then_some(!decisive)
        }
        match self {
            Self::All(nodes) => decide(nodes, false),
            Self::Any(nodes) => decide(nodes, true),
            Self::Not(node) => node.constant().map(|answer| !answer),
            Self::Test { test, .. } => match test {
                Test::Equals(None) => Some(false),
                Test::Differs(None) => Some(true),
                Test::In(operands) if operands.is_empty() => Some(false),
                Test::NotIn(operands) if operands.is_empty() => Some(true),
                _ => None,
            },
        }
    }
}

impl Test {
    /// Whether a member's value passes.
    pub(crate) fn holds(&self, value: &FieldValue<'_>) -> bool {
        match self {
            Self::Equals(operand) => equal(operand.as_ref(), value),
            Self::Differs(operand) => !equal(operand.as_ref(), value),
            Self::Related(relation, operand) => {
                compare(value, operand).is_some_and(|order| relation.holds(order))
            }
            Self::Between(low, high) => {
                compare(value, low).is_some_and(Ordering::is_ge)
                    && compare(value, high).is_some_and(Ordering::is_le)
            }
            Self::In(operands) => listed(operands, value),
            Self::NotIn(operands) => !listed(operands, value),
            Self::Contains(operand) => {
                value.as_str().is_some_and(|text| text.to_lowercase().contains(&**operand))
            }
            Self::StartsWith(operand) => value.as_str().is_some_and(|text| text.starts_with(&**operand)),
            Self::EndsWith(operand) => value.as_str().is_some_and(|text| text.ends_with(&**operand)),
            Self::Exists(exists) => *exists != value.is_nullish(),
            Self::Has(operand) => has(value, operand),
        }
    }
}

impl Relation {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

fn equal(operand: Option<&Constant>, value: &FieldValue<'_>) -> bool {
    operand.is_some_and(|operand| operand.equals(value))
}

/// Whether a value is one of these; they ascend.
fn listed(operands: &[Constant], value: &FieldValue<'_>) -> bool {
    operands.binary_search_by(|operand| value_order(&operand.as_field(), value)).is_ok()
}

/// Whether a value is an array that has this element. Kept out of the way of quicker tests.
#[inline(never)]
fn has(value: &FieldValue<'_>, operand: &Constant) -> bool {
    let FieldValue::Json(json) = value else { return false };
    let mut found = false;
    if json.starts_with('[') {
        each_element(json, |_, element| {
            found = operand.equals(&FieldValue::of_json(element));
            !found
        });
    }
    found
}

/// How a value stands to an operand, if they are comparable.
fn compare(value: &FieldValue<'_>, operand: &Constant) -> Option<Ordering> {
    match (value, operand) {
        (FieldValue::Number(a), Constant::Number(b)) => Some(a.cmp(b)),
        (FieldValue::Str(a), Constant::Str(b)) => Some(utf16_order(a, b)),
        _ => None,
    }
}
