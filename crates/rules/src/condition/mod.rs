//! What must hold for a rule to fire, and the values that conditions and actions speak of.

mod compare;
mod evaluate;
mod path;
mod read;
pub mod steps;
mod value;

use std::sync::Arc;

use dunlin_pattern::Pattern;
use serde_json::Value;

pub(crate) use compare::Exact;
pub use compare::equal;
pub use evaluate::{Observed, all_hold};
pub use path::Path;
pub(crate) use path::find as find_at;
pub(crate) use read::{path as read_path, read_operand, references, references_of_text};
pub use steps::Steps;
pub use value::{Found, Operand, Part, Reference, Template, text_of};

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
    /// With what. `null` where the operator needs nothing.
    pub value: Operand,
    /// The compiled pattern of `matches`, where it is constant.
    pub pattern: Option<Pattern>,
}

/// Where the value of a test comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConditionSource {
    /// A path in the trigger's data.
    Event(Path),
    /// The first fact whose key matches the pattern (interpolated first). What is put in is taken literally: a `*` in it matches
    /// nothing.
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

impl Operator {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 13] = [
        Self::Eq,
        Self::Neq,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::In,
        Self::NotIn,
        Self::Contains,
        Self::NotContains,
        Self::Matches,
        Self::Exists,
        Self::NotExists,
    ];

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::Matches => "matches",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
        }
    }

    /// Whether it compares with a value at all.
    pub const fn needs_value(self) -> bool {
        !matches!(self, Self::Exists | Self::NotExists)
    }
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
