//! What must hold for a rule to fire, and the values that conditions and actions speak of.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

/// What must hold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Condition {
    /// A value compared with another.
    Test(Test),
    /// `{"any": […]}`: at least one of them.
    Any(Vec<Condition>),
    /// `{"all": […]}`: each of them.
    All(Vec<Condition>),
    /// `{"not": {…}}`: not this one.
    Not(Box<Condition>),
}

/// One comparison.
#[derive(Debug, Clone)]
pub struct Test {
    /// The value.
    pub source: ConditionSource,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: Operand,
    /// The compiled pattern of `matches`, where it is constant.
    pub regex: Option<Arc<Regex>>,
}

/// Where the value of a test comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConditionSource {
    /// A path in the trigger's data.
    Event(Path),
    /// The first fact whose key matches the pattern (interpolated first).
    Fact(Template),
    /// A variable, or a path in it.
    Context(Path),
    /// The answer to a lookup, or a path in it.
    Lookup {
        /// Its name.
        name: Arc<str>,
        /// A path in it.
        field: Option<Path>,
    },
}

/// How a test compares. No value is ever converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the specification's names")]
pub enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    NotIn,
    Contains,
    NotContains,
    Matches,
    Exists,
    NotExists,
}

/// A value in a rule: JSON in which `{"ref": "…"}` and `${…}` in texts stand for others, at any depth.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operand {
    /// JSON without any reference.
    Constant(Arc<Value>),
    /// `{"ref": "…"}`.
    Reference(Reference),
    /// A text with `${…}` in it.
    Text(Template),
    /// An array with references in it.
    Array(Vec<Operand>),
    /// An object with references in it.
    Object(Vec<(Arc<str>, Operand)>),
}

/// A text in which `${…}` stand for values.
#[derive(Debug, Clone)]
pub struct Template {
    /// As it is written.
    pub text: Arc<str>,
    /// What it is made of.
    pub parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone)]
pub enum Part {
    /// Stays as it is.
    Literal(Arc<str>),
    /// Is replaced by the value's text.
    Reference(Reference),
}

/// What a reference leads to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reference {
    /// `event…` or `trigger…`: the trigger's data, or a path in it.
    Trigger(Path),
    /// `fact.<key>`: the value of the fact with this key (interpolated first).
    Fact(Template),
    /// `var.<name>…`: a variable, or a path in it.
    Variable(Path),
    /// `matched.<i>…`: the data of the i-th event, or a path in it.
    Matched(usize, Path),
    /// `lookup.<name>…`: the answer to a lookup, or a path in it.
    Lookup(Arc<str>, Path),
}

/// Names of members and indexes of elements, from the outside in. Empty: the whole value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path {
    /// In order.
    pub segments: Vec<Arc<str>>,
}

/// What conditions and actions can see while a rule runs.
pub trait Scope {
    /// The trigger's data.
    fn trigger(&self) -> &Value;
    /// The value of the fact with this key.
    fn fact(&self, key: &str) -> Option<&Value>;
    /// The value of the first fact whose key matches this pattern, in the order in which they came to be.
    fn first_fact(&self, pattern: &str) -> Option<&Value>;
    /// A variable.
    fn variable(&self, name: &str) -> Option<&Value>;
    /// The data of the i-th event: of the trigger's, or of those that made up the pattern.
    fn matched(&self, index: usize) -> Option<&Value>;
    /// The answer to a lookup.
    fn lookup(&self, name: &str) -> Option<&Value>;
}
