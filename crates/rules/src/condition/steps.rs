//! How much work an input may still cause: counted, never timed, so that a run ends at the same place on any machine.

use serde_json::Value;

use crate::fault::EvalFault;

/// Steps that are left to one input. Each condition, action, loop turn, look at a fact and [64 bytes](TEXT) of text take one, a value
/// that is copied or compared whole one for each value in it.
///
/// ```
/// use dunlin_rules::condition::Steps;
///
/// let mut steps = Steps::new(2);
/// assert!(steps.take(2).is_ok() && steps.take(1).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(u64);

/// Bytes of text that are worked on in one step.
pub const TEXT: usize = 64;
/// Steps of compiling a regular expression that only the data gives.
pub const COMPILE: u64 = 1_000;

impl Steps {
    /// So many.
    pub const fn new(steps: u64) -> Self {
        Self(steps)
    }

    /// How many are left.
    pub const fn left(&self) -> u64 {
        self.0
    }

    /// Takes some. When there are not so many left, none are left behind it.
    ///
    /// # Errors
    /// [`EvalFault::OutOfSteps`].
    pub fn take(&mut self, steps: u64) -> Result<(), EvalFault> {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvalFault::OutOfSteps)
    }

    /// Takes the steps of working on a text of so many bytes.
    ///
    /// # Errors
    /// [`EvalFault::OutOfSteps`].
    pub fn text(&mut self, bytes: usize) -> Result<(), EvalFault> {
        self.take((bytes / TEXT) as u64)
    }

    /// Takes the steps of copying a value, or of comparing it whole.
    ///
    /// # Errors
    /// [`EvalFault::OutOfSteps`].
    pub fn value(&mut self, value: &Value) -> Result<(), EvalFault> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.text(text.len()),
            Value::Array(items) => {
                self.take(items.len() as u64)?;
                items.iter().try_for_each(|item| self.value(item))
            }
            Value::Object(members) => {
                self.take(members.len() as u64)?;
                members.iter().try_for_each(|(name, value)| {
                    self.text(name.len())?;
                    self.value(value)
                })
            }
        }
    }
}
