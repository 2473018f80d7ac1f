//! Values in rules: JSON in which references stand for other values, at any depth.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::compare::Exact;
use super::path::{Path, find};
use super::{Scope, Steps};
use crate::fault::EvalFault;
use crate::limits::MAX_VALUE_BYTES;

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

/// A value that may be nothing: a reference can lead nowhere.
pub type Found<'a> = Option<Cow<'a, Value>>;

impl Operand {
    /// The value. A reference to nothing is `null`.
    ///
    /// # Errors
    /// The input has used up its steps, or the value would be larger than [`MAX_VALUE_BYTES`].
    pub fn resolve(&self, scope: &dyn Scope, steps: &mut Steps) -> Result<Value, EvalFault> {
        self.copy(scope, steps, &mut Room(MAX_VALUE_BYTES))
    }

    /// The value, without a copy where there is one already; `None` for a reference to nothing.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn find<'a>(&'a self, scope: &'a dyn Scope, steps: &mut Steps) -> Result<Found<'a>, EvalFault> {
        match self {
            Self::Constant(value) => Ok(Some(Cow::Borrowed(value))),
            Self::Reference(reference) => reference.find(scope, steps),
            other => other.resolve(scope, steps).map(|value| Some(Cow::Owned(value))),
        }
    }

    fn copy(&self, scope: &dyn Scope, steps: &mut Steps, room: &mut Room) -> Result<Value, EvalFault> {
        steps.take(1)?;
        match self {
            Self::Constant(value) => {
                room.value(value, steps)?;
                Ok(Value::clone(value))
            }
            Self::Reference(reference) => match reference.find(scope, steps)? {
                None => Ok(Value::Null),
                Some(value) => {
                    room.value(&value, steps)?;
                    Ok(value.into_owned())
                }
            },
            Self::Text(template) => {
                let text = template.render(scope, steps)?;
                room.take(text.len())?;
                Ok(Value::String(text.into_owned()))
            }
            Self::Array(items) => items
                .iter()
                .map(|item| item.copy(scope, steps, room))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
            Self::Object(members) => members
                .iter()
                .map(|(name, value)| {
                    room.take(name.len())?;
                    Ok((name.to_string(), value.copy(scope, steps, room)?))
                })
                .collect::<Result<_, _>>()
                .map(Value::Object),
        }
    }
}

impl Template {
    /// The text itself, if no part of it stands for something else.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its references replaced: by texts as they are, other values as JSON, `null` and nothing by nothing.
    ///
    /// # Errors
    /// The input has used up its steps, or the text would be longer than [`MAX_VALUE_BYTES`].
    pub fn render<'a>(&'a self, scope: &dyn Scope, steps: &mut Steps) -> Result<Cow<'a, str>, EvalFault> {
        if let Some(text) = self.constant() {
            return Ok(Cow::Borrowed(text));
        }
        let (mut out, mut room) = (String::new(), Room(MAX_VALUE_BYTES));
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Reference(reference) => {
                    let value = reference.find(scope, steps)?;
                    if let Some(value) = &value {
                        room.value(value, steps)?;
                        out.push_str(&text_of(value));
                    }
                }
            }
        }
        steps.text(out.len())?;
        if out.len() > MAX_VALUE_BYTES {
            return Err(EvalFault::TooLong { limit: MAX_VALUE_BYTES });
        }
        Ok(Cow::Owned(out))
    }

    /// How many `*` there are in the text as it is written, apart from what its references lead to.
    pub(crate) fn wildcards(&self) -> usize {
        let literal = |part: &Part| match part {
            Part::Literal(text) => text.matches('*').count(),
            Part::Reference(_) => 0,
        };
        self.parts.iter().map(literal).sum()
    }
}

impl Reference {
    /// What it leads to; `None` if to nothing.
    ///
    /// # Errors
    /// The input has used up its steps.
    pub fn find<'a>(&'a self, scope: &'a dyn Scope, steps: &mut Steps) -> Result<Found<'a>, EvalFault> {
        steps.take(1)?;
        Ok(match self {
            Self::Trigger(path) => path.find(scope.trigger()),
            Self::Fact(key) => scope.fact(&key.render(scope, steps)?).map(Cow::Borrowed),
            Self::Variable(path) => variable(path, scope),
            Self::Matched(index, path) => scope.matched(*index).and_then(|data| path.find(data)),
            Self::Lookup(name, path) => scope.lookup(name).and_then(|answer| path.find(answer)),
        })
    }
}

/// A variable, or what is at a path in it.
pub(super) fn variable<'a>(path: &Path, scope: &'a dyn Scope) -> Found<'a> {
    let (name, rest) = path.split_first()?;
    scope.variable(name).and_then(|value| find(value, rest))
}

/// A value as a text in a text, and as the name of a group: texts as they are, whole numbers without a fraction (`1.0` is `1`),
/// `null` as nothing, everything else as JSON.
///
/// ```
/// use dunlin_rules::condition::text_of;
/// use serde_json::json;
///
/// assert_eq!(text_of(&json!(7.0)), "7");
/// assert_eq!(text_of(&json!([1, "a"])), r#"[1,"a"]"#);
/// ```
pub fn text_of(value: &Value) -> Cow<'_, str> {
    /// From here on JavaScript writes a number with an exponent.
    const LONG: u128 = 1_000_000_000_000_000_000_000;
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Number(number) => match Exact::of(number) {
            Exact::Integer(integer) if integer.unsigned_abs() < LONG => Cow::Owned(integer.to_string()),
            _ => Cow::Owned(number.to_string()),
        },
        other => Cow::Owned(other.to_string()),
    }
}

/// Bytes that a value under construction may still grow by. One reference is a few letters in a rule and a megabyte in a value.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), EvalFault> {
        // Quotes, or a comma and a number.
        self.0 = self.0.checked_sub(bytes + 2).ok_or(EvalFault::TooLong { limit: MAX_VALUE_BYTES })?;
        Ok(())
    }

    /// Takes the room for a copy of a value, and the steps of copying it.
    fn value(&mut self, value: &Value, steps: &mut Steps) -> Result<(), EvalFault> {
        steps.value(value)?;
        self.copied(value)
    }

    fn copied(&mut self, value: &Value) -> Result<(), EvalFault> {
        match value {
            Value::String(text) => self.take(text.len()),
            Value::Array(items) => {
                self.take(0)?;
                items.iter().try_for_each(|item| self.copied(item))
            }
            Value::Object(members) => {
                self.take(0)?;
                members.iter().try_for_each(|(name, value)| {
                    self.take(name.len())?;
                    self.copied(value)
                })
            }
            _ => self.take(0),
        }
    }
}
