//! A rule, checked and compiled.

mod read;

use std::sync::Arc;

use dunlin_protocol::{KeyPattern, TopicPattern};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Action, TimerTemplate};
use crate::condition::{Condition, Operand, Path, equal};
use crate::{Issue, Limits, Object, Severity};

/// Members of a rule that make it what it is, in the order in which differences are listed.
pub(crate) const CONTENT: [&str; 11] = [
    "name",
    "description",
    "priority",
    "enabled",
    "tags",
    "group",
    "trigger",
    "conditions",
    "actions",
    "lookups",
    "runAs",
];

/// A rule that can run. Made from JSON by `Rule::parse` (which gives all errors and warnings at once), or by `RuleBuilder`, which
/// makes that JSON.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique; how it is called everywhere.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Higher runs first; equal ones in the order of registration.
    pub priority: f64,
    /// Whether it can fire; its group must be enabled too.
    pub enabled: bool,
    /// For people.
    pub tags: Vec<Arc<str>>,
    /// The group that it belongs to.
    pub group: Option<Arc<str>>,
    /// What sets it off.
    pub trigger: Trigger,
    /// All must hold.
    pub conditions: Arc<[Condition]>,
    /// What it does, in order.
    pub actions: Arc<[Action]>,
    /// What it asks before its conditions.
    pub lookups: Arc<[Lookup]>,
    /// Whose rights its writes to the store have.
    pub run_as: RunAs,
    /// The complete rule as JSON: as given, with defaults, `version`, `createdAt` and `updatedAt`.
    pub json: Arc<Object>,
    /// One counter for all rules of an engine, taken at each registration, update and rollback.
    pub version: u64,
    /// When it was registered first, Unix milliseconds; an update keeps it.
    pub created_at: u64,
    /// When it was changed last, Unix milliseconds.
    pub updated_at: u64,
}

impl Rule {
    /// Reads a rule: the rule and what is doubtful about it, or everything that is wrong and doubtful. What is left out has its
    /// default in `json`; members that are not known stay in it.
    ///
    /// ```
    /// use dunlin_rules::{Limits, Rule};
    /// use serde_json::json;
    ///
    /// let rule = json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "order.*"}});
    /// let (rule, warnings) = Rule::parse(&rule, &Limits::default()).unwrap();
    /// assert!(rule.enabled && rule.json["tags"] == json!([]));
    /// assert_eq!(warnings[0].message, "Rule has no actions");
    /// ```
    ///
    /// # Errors
    /// Errors and warnings, in the order of the rule's fields; at most [`MAX_ISSUES`](crate::limits::MAX_ISSUES).
    pub fn parse(rule: &Value, limits: &Limits) -> Result<(Self, Vec<Issue>), Vec<Issue>> {
        match read::rule(rule, limits) {
            (Some(rule), warnings) => Ok((rule, warnings)),
            (None, issues) => Err(issues),
        }
    }

    /// The rule as registered: with its version and times.
    #[must_use]
    pub fn stamped(mut self, version: u64, created_at: u64, updated_at: u64) -> Self {
        let json = Arc::make_mut(&mut self.json);
        for (name, value) in [("version", version), ("createdAt", created_at), ("updatedAt", updated_at)] {
            json.insert(name.to_owned(), value.into());
        }
        Self { version, created_at, updated_at, ..self }
    }
}

/// What is wrong with a rule, and what is doubtful: errors and warnings.
///
/// ```
/// use dunlin_rules::{Limits, rule};
/// use serde_json::json;
///
/// let (errors, _) = rule::check(&json!({"id": "a", "name": "A", "trigger": {"type": "event"}}), &Limits::default());
/// assert_eq!((errors[0].path.as_str(), errors[0].code), ("trigger.topic", "required"));
/// ```
pub fn check(rule: &Value, limits: &Limits) -> (Vec<Issue>, Vec<Issue>) {
    let (_, issues) = read::rule(rule, limits);
    issues.into_iter().partition(|issue| issue.severity == Severity::Error)
}

/// What is wrong with a list of rules, and what is doubtful; ids that are there twice are errors.
pub fn check_all(rules: &Value, limits: &Limits) -> (Vec<Issue>, Vec<Issue>) {
    read::list(rules, limits).into_iter().partition(|issue| issue.severity == Severity::Error)
}

/// Reads a timer as `rules.setTimer` gets it: its texts and data are what they are, nothing in them stands for something else.
///
/// ```
/// use dunlin_rules::{Limits, rule};
/// use serde_json::json;
///
/// let timer = json!({"name": "pay:5", "duration": "15m", "onExpire": {"topic": "pay.late", "data": {"order": 5}}});
/// assert_eq!(&*rule::read_timer(&timer, &Limits::default()).unwrap().name.text, "pay:5");
/// ```
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_timer(timer: &Value, limits: &Limits) -> Result<TimerTemplate, Vec<Issue>> {
    read::timer(timer, limits)
}

/// Whose rights a rule's writes to the store have: those of a session with these roles. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunAs {
    /// For row rules that speak of the user; `rule:<id>` if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Arc<str>>,
    /// Roles.
    #[serde(default)]
    pub roles: Vec<Arc<str>>,
}

/// What sets a rule off.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trigger {
    /// A fact whose key matches.
    Fact {
        /// Which keys.
        pattern: KeyPattern,
        /// What must happen to it.
        on: FactChanges,
    },
    /// An event whose topic matches. Changes of records are events of `bucket.<name>.inserted|updated|deleted`; only topics that
    /// begin with `bucket.` match those.
    Event {
        /// Which topics.
        topic: TopicPattern,
    },
    /// A timer whose name matches has expired; before its event.
    Timer {
        /// Which names.
        name: KeyPattern,
    },
    /// A pattern over several events.
    Temporal(Arc<TemporalPattern>),
}

/// What must happen to a fact; `trigger.on` in JSON, one or a list of `set`, `changed`, `deleted`. `set` by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactChanges {
    /// It is set, be it to the value that it has.
    pub set: bool,
    /// It is set to another value than it had, or comes to be.
    pub changed: bool,
    /// It is deleted.
    pub deleted: bool,
}

impl FactChanges {
    /// Whether a trigger with these fires when that has happened.
    pub(crate) fn hears(self, happened: Self) -> bool {
        (self.set && happened.set) || (self.changed && happened.changed) || (self.deleted && happened.deleted)
    }
}

/// A pattern over several events: `spec` names and defaults; all times in milliseconds.
#[derive(Debug, Clone)]
pub struct TemporalPattern {
    /// What kind.
    pub kind: TemporalKind,
    /// Path in the events' data whose value makes groups. An event without it takes no part.
    pub group_by: Option<Path>,
    /// Fire when the comparison becomes true and not again before it was false or the window has ended (count, aggregate).
    pub once: bool,
}

impl TemporalPattern {
    /// The events that it is about.
    pub fn matchers(&self) -> Vec<&EventMatcher> {
        match &self.kind {
            TemporalKind::Sequence { events, .. } => events.iter().collect(),
            TemporalKind::Absence { after, expected, .. } => vec![after, expected],
            TemporalKind::Count { event, .. } | TemporalKind::Aggregate { event, .. } => vec![event],
        }
    }
}

/// The kinds of patterns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TemporalKind {
    /// These events, in this order, the last at most `within` after the first.
    Sequence {
        /// At least two.
        events: Vec<EventMatcher>,
        /// Milliseconds.
        within: u64,
        /// Any other event of the group ends it.
        strict: bool,
    },
    /// `after`, and no `expected` within `within`.
    Absence {
        /// What starts the wait.
        after: EventMatcher,
        /// What ends it.
        expected: EventMatcher,
        /// Milliseconds.
        within: u64,
    },
    /// So many events in a window.
    Count {
        /// Which events.
        event: EventMatcher,
        /// How their number compares with `threshold`.
        comparison: Comparison,
        /// How many.
        threshold: f64,
        /// Which window.
        window: Window,
    },
    /// A number worked out from the events in a window.
    Aggregate {
        /// Which events.
        event: EventMatcher,
        /// Path of the number in their data.
        field: Path,
        /// What is worked out.
        function: Function,
        /// How it compares with `threshold`.
        comparison: Comparison,
        /// With what.
        threshold: f64,
        /// Which window.
        window: Window,
    },
}

/// One event of a pattern.
#[derive(Debug, Clone)]
pub struct EventMatcher {
    /// Its topic.
    pub topic: TopicPattern,
    /// Paths of its data and the JSON values that they must have.
    pub filter: Vec<(Path, Value)>,
    /// The variable that has its data.
    pub alias: Option<Arc<str>>,
}

impl EventMatcher {
    /// Whether an event of this topic with this data is meant.
    pub fn matches(&self, topic: &str, data: &Value) -> bool {
        self.topic.matches(topic) && self.filter_holds(data)
    }

    /// Whether the data has everything that the filter asks for.
    pub fn filter_holds(&self, data: &Value) -> bool {
        self.filter.iter().all(|(path, wanted)| path.find(data).is_some_and(|found| equal(&found, wanted)))
    }
}

/// A window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Milliseconds.
    pub length: u64,
    /// The last `length`, both ends included; else `[n·length, (n+1)·length)` of Unix time, looked at when it has ended.
    pub sliding: bool,
    /// Also windows without an event, of groups that have been seen (only where it does not slide).
    pub empty_windows: bool,
}

/// How a number compares with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the usual names")]
pub enum Comparison {
    Gte,
    Lte,
    Eq,
}

/// What an aggregate works out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the usual names")]
pub enum Function {
    Sum,
    Avg,
    Min,
    Max,
    Count,
}

/// A question to a service of the embedding program, asked before the conditions.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Under which name the rule sees the answer.
    pub name: Arc<str>,
    /// The service.
    pub service: Arc<str>,
    /// Its method.
    pub method: Arc<str>,
    /// Arguments.
    pub args: Vec<Operand>,
    /// How long an answer may be used again, milliseconds; 0: not at all.
    pub cache_ms: u64,
    /// Whether the rule fails (and that is reported) if the lookup does; else it is skipped.
    pub fails: bool,
}
