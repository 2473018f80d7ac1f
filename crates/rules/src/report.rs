//! What went wrong in a run, or ran into a bound, and what led to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One such thing. It ends what it says and nothing else: siblings go on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What.
    pub kind: ReportKind,
    /// The rule it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// For people.
    pub message: String,
    /// What led to it, the input first.
    pub chain: Vec<Link>,
    /// When, Unix milliseconds.
    pub at: u64,
}

/// What can be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReportKind {
    /// A trigger was dropped: its chain was too long.
    DepthExceeded,
    /// Triggers were dropped: the input has fired too many rules.
    FiringsExceeded,
    /// A rule was ended: the input has taken too many steps.
    StepsExceeded,
    /// An event was not emitted: the input has emitted too many.
    EventsExceeded,
    /// An action failed; the ones behind it went on.
    ActionFailed,
    /// A firing was given up: a lookup that must not fail did, or its rule was changed while it waited.
    FiringDropped,
    /// A rule was skipped: a lookup failed.
    RuleSkipped,
    /// A temporal pattern forgot something, because it would have held too much.
    PatternTruncated,
    /// A call failed for good and is a dead letter.
    DeadLetter,
}

/// One step of a chain of causes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// `event order.created`, `fact user:1`, `timer pay:5`, `change orders`, …
    pub trigger: String,
    /// Id of the event, timer or firing, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// The rule that it made fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
}
