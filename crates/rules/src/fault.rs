//! What is wrong, with stable codes.

use serde::Serialize;

/// Why an input was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// A rule, group or timer is not valid.
    #[error("{message}")]
    Invalid {
        /// What to tell people, as the protocol's errors do.
        message: String,
        /// Each fault and warning, in the order of the rule's fields.
        issues: Vec<Issue>,
    },
    /// There is one of this name already.
    #[error("{what} \"{name}\" already exists")]
    Exists {
        /// `Rule` or `Group`.
        what: &'static str,
        /// Its id.
        name: String,
    },
    /// There is none of this name.
    #[error("{what} \"{name}\" not found")]
    NotFound {
        /// `Rule`, `Group`, `Version`, `Dead letter`.
        what: &'static str,
        /// Its id.
        name: String,
    },
    /// A bound of [`Limits`](crate::Limits) is reached.
    #[error("{what}: at most {limit} are possible; {advice}")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// What to do.
        advice: &'static str,
    },
}

impl RuleFault {
    /// An entry of the log that cannot be read.
    pub(crate) fn unreadable(key: &str, why: &str) -> Self {
        let message = format!("the entry \"{key}\" of the rule engine cannot be read: {why}");
        Self::Invalid { message, issues: Vec::new() }
    }
}

/// One thing that is wrong with a rule, or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Where: `actions[1].timer.duration`, `(root)`.
    pub path: String,
    /// What, for people.
    pub message: String,
    /// How bad.
    pub severity: Severity,
    /// What, for programs; stable.
    pub code: &'static str,
}

/// How bad an [`Issue`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule is not accepted.
    Error,
    /// The rule is accepted; it may not do what was meant.
    Warning,
}

/// Why the evaluation of a condition or value was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalFault {
    /// The input has used up its [`Limits::steps`](crate::Limits::steps).
    #[error("The input has used up its steps; raise rules.maxSteps, or give rules less to do for one input")]
    OutOfSteps,
    /// A text or value that is put together is too long.
    #[error("A text or value would be longer than {limit} bytes; refer to less at once")]
    TooLong {
        /// The bound.
        limit: usize,
    },
}

impl EvalFault {
    /// Stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfSteps => "OUT_OF_STEPS",
            Self::TooLong { .. } => "TOO_LONG",
        }
    }
}

impl From<EvalFault> for ActionFault {
    fn from(fault: EvalFault) -> Self {
        Self { code: fault.code().to_owned(), message: fault.to_string() }
    }
}

impl Issue {
    /// An error.
    pub fn error(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), severity: Severity::Error, code }
    }

    /// A warning.
    pub fn warning(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, code, message) }
    }
}

/// Why an action failed; `catch` sees it as `{message, code}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ActionFault {
    /// Stable: a code of the store (`VALIDATION_ERROR`, `FORBIDDEN`, …) or of the engine.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFault {
    /// For people.
    pub message: String,
    /// Whether there is a point in trying again.
    pub again: bool,
}
