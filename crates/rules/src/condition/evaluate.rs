//! Whether conditions hold, and what they saw.

use std::borrow::Cow;
use std::cmp::Ordering;

use dunlin_pattern::Pattern;
use dunlin_pattern::limits::MAX_PATTERN_TEXT_BYTES;
use serde_json::Value;

use super::compare::{equal, order};
use super::steps::COMPILE;
use super::value::variable;
use super::{Condition, ConditionSource, Found, Operator, Scope, Steps, Test};
use crate::fault::EvalFault;

/// What a test saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The value of its source; `None` if there is none.
    pub actual: Option<Value>,
    /// What that was compared with; `None` if a reference led to nothing.
    pub expected: Option<Value>,
    /// Whether it holds.
    pub holds: bool,
}

impl Condition {
    /// Whether it holds. What does not matter any more is not looked at.
    ///
    /// # Errors
    /// The input has used up its steps, or a text that is put together would be too long.
    pub fn holds(&self, scope: &dyn Scope, steps: &mut Steps) -> Result<bool, EvalFault> {
        match self {
            Self::Test(test) => test.holds(scope, steps),
            Self::All(conditions) => all_hold(conditions, scope, steps),
            Self::Any(conditions) => {
                steps.take(1)?;
                for condition in conditions {
                    if condition.holds(scope, steps)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(condition) => {
                steps.take(1)?;
                condition.holds(scope, steps).map(|holds| !holds)
            }
        }
    }
}

/// Whether all of them hold; the first that does not ends it.
///
/// # Errors
/// As [`Condition::holds`].
pub fn all_hold(conditions: &[Condition], scope: &dyn Scope, steps: &mut Steps) -> Result<bool, EvalFault> {
    steps.take(1)?;
    for condition in conditions {
        if !condition.holds(scope, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Test {
    /// Whether it holds.
    ///
    /// # Errors
    /// As [`Condition::holds`].
    pub fn holds(&self, scope: &dyn Scope, steps: &mut Steps) -> Result<bool, EvalFault> {
        steps.take(1)?;
        let actual = self.source.find(scope, steps)?;
        let expected = self.value.find(scope, steps)?;
        self.compare(actual.as_deref(), expected.as_deref(), steps)
    }

    /// What it sees, and whether it holds.
    ///
    /// # Errors
    /// As [`Condition::holds`].
    pub fn observe(&self, scope: &dyn Scope, steps: &mut Steps) -> Result<Observed, EvalFault> {
        let actual = self.source.find(scope, steps)?;
        let expected = self.value.find(scope, steps)?;
        let holds = self.compare(actual.as_deref(), expected.as_deref(), steps)?;
        Ok(Observed { actual: actual.map(Cow::into_owned), expected: expected.map(Cow::into_owned), holds })
    }

    fn compare(
        &self,
        actual: Option<&Value>,
        expected: Option<&Value>,
        steps: &mut Steps,
    ) -> Result<bool, EvalFault> {
        let ordered = |fits: fn(Ordering) -> bool| match (actual, expected) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => fits(order(a, b)),
            _ => false,
        };
        Ok(match self.operator {
            Operator::Eq => same(actual, expected, steps)?,
            Operator::Neq => !same(actual, expected, steps)?,
            Operator::Gt => ordered(Ordering::is_gt),
            Operator::Gte => ordered(Ordering::is_ge),
            Operator::Lt => ordered(Ordering::is_lt),
            Operator::Lte => ordered(Ordering::is_le),
            Operator::In => expected.is_some_and(Value::is_array) && holds_element(expected, actual, steps)?,
            Operator::NotIn => {
                expected.is_some_and(Value::is_array) && !holds_element(expected, actual, steps)?
            }
            Operator::Contains => contains(actual, expected, steps)?,
            Operator::NotContains => !contains(actual, expected, steps)?,
            Operator::Matches => self.matches(actual, expected, steps)?,
            Operator::Exists => actual.is_some_and(|value| !value.is_null()),
            Operator::NotExists => actual.is_none_or(Value::is_null),
        })
    }

    fn matches(
        &self,
        actual: Option<&Value>,
        expected: Option<&Value>,
        steps: &mut Steps,
    ) -> Result<bool, EvalFault> {
        let (Some(Value::String(text)), Some(Value::String(pattern))) = (actual, expected) else {
            return Ok(false);
        };
        if text.len() > MAX_PATTERN_TEXT_BYTES {
            return Err(EvalFault::TooLong { limit: MAX_PATTERN_TEXT_BYTES });
        }
        // The time is at worst in proportion to the product of the two.
        steps.text(text.len().saturating_mul(1 + pattern.len() / 16))?;
        if let Some(pattern) = &self.pattern {
            return Ok(pattern.is_found_in(text));
        }
        steps.take(COMPILE)?;
        Ok(Pattern::compile(pattern).is_ok_and(|pattern| pattern.is_found_in(text)))
    }
}

impl ConditionSource {
    fn find<'a>(&'a self, scope: &'a dyn Scope, steps: &mut Steps) -> Result<Found<'a>, EvalFault> {
        Ok(match self {
            Self::Event(path) => path.find(scope.trigger()),
            Self::Fact(pattern) => {
                steps.take(1)?;
                let key = pattern.render(scope, steps)?;
                match pattern.wildcards() {
                    0 => scope.fact(&key).map(Cow::Borrowed),
                    // A `*` that was put in would match what the rule's author did not mean.
                    written if written == key.matches('*').count() => {
                        scope.first_fact(&key).map(Cow::Borrowed)
                    }
                    _ => None,
                }
            }
            Self::Context(path) => variable(path, scope),
            Self::Lookup { name, field } => {
                let answer = scope.lookup(name);
                match field {
                    None => answer.map(Cow::Borrowed),
                    Some(field) => answer.and_then(|answer| field.find(answer)),
                }
            }
        })
    }
}

/// Nothing is equal to nothing, and to nothing else; `null` is something.
fn same(a: Option<&Value>, b: Option<&Value>, steps: &mut Steps) -> Result<bool, EvalFault> {
    match (a, b) {
        (Some(a), Some(b)) => {
            steps.value(a)?;
            Ok(equal(a, b))
        }
        (a, b) => Ok(a.is_none() && b.is_none()),
    }
}

/// Whether an array holds a value.
fn holds_element(array: Option<&Value>, value: Option<&Value>, steps: &mut Steps) -> Result<bool, EvalFault> {
    let (Some(Value::Array(items)), Some(value)) = (array, value) else { return Ok(false) };
    for item in items {
        steps.take(1)?;
        steps.value(item)?;
        if equal(item, value) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains(actual: Option<&Value>, expected: Option<&Value>, steps: &mut Steps) -> Result<bool, EvalFault> {
    match (actual, expected) {
        (Some(Value::String(text)), Some(Value::String(part))) => {
            steps.text(text.len())?;
            Ok(text.contains(part.as_str()))
        }
        (Some(Value::Array(_)), expected) => holds_element(actual, expected, steps),
        _ => Ok(false),
    }
}
