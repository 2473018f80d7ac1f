//! Everything that may stand in a label. All of it is known beforehand; nothing that a client sends gets into one.

use dunlin_protocol::frame::PROTOCOL_VERSION;
use dunlin_protocol::{Close, Code, Kind, Mode};
use dunlin_rules::ReportKind;
use metrics::Label;

/// The values of a label, or of several that go together.
pub(crate) trait Labels: Copy + 'static {
    /// Names of the labels.
    const NAMES: &'static [&'static str];

    /// Every value, in the order of their places.
    fn all() -> impl Iterator<Item = Self>;

    /// Its place among them.
    fn place(self) -> usize;

    /// As it is shown.
    fn labels(self) -> Vec<Label>;
}

/// Declares labels whose values are words.
macro_rules! words {
    ($($(#[$doc:meta])* $label:ident $name:literal { $($(#[$value_doc:meta])* $value:ident $word:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub(crate) enum $label { $($(#[$value_doc])* $value,)+ }

            impl Labels for $label {
                const NAMES: &'static [&'static str] = &[$name];

                fn all() -> impl Iterator<Item = Self> {
                    [$(Self::$value,)+].into_iter()
                }

                fn place(self) -> usize {
                    self as usize
                }

                fn labels(self) -> Vec<Label> {
                    let word = match self { $(Self::$value => $word,)+ };
                    vec![Label::from_static_parts($name, word)]
                }
            }
        )+
    };
}

words! {
    /// Why a connection was not accepted.
    Refused "reason" {
        /// Its `Origin` may not connect.
        Origin "origin",
        /// No WebSocket handshake, or a broken one.
        Handshake "handshake",
        /// The token in its handshake was refused, or there was none where one is required.
        Login "login",
        /// Too many of its address are open.
        TooMany "too_many",
        /// Too many are in their handshake.
        Busy "busy",
        /// A proxy that is not trusted, or does not say for whom it connects.
        Proxy "proxy",
        /// The server stops.
        Stopping "stopping",
    }

    /// Whether somebody is logged in on a connection.
    Connected "state" {
        Authenticated "authenticated",
        Anonymous "anonymous",
    }

    /// What waits for a socket.
    Waiting "of" {
        Answers "answers",
        Pushes "pushes",
    }

    /// How a login ended.
    Login "outcome" {
        Ok "ok",
        /// The token is unknown, or its time is over.
        Refused "refused",
        /// Whoever knows the tokens failed.
        Fault "fault",
        /// He did not answer in time.
        Late "late",
        /// The user's sessions are revoked.
        Revoked "revoked",
    }

    /// How a request ended.
    Outcome "outcome" {
        Ok "ok",
        Error "error",
    }

    /// A permanent actor.
    PermanentActor "actor" {
        Store "store",
        Live "live",
        Rules "rules",
    }

    /// How a call that a rule has made ended.
    Called "outcome" {
        Ok "ok",
        /// It is tried again, if there are attempts left.
        Again "again",
        /// It is not tried again.
        Failed "failed",
    }

    /// How a lookup of a rule was answered.
    Asked "outcome" {
        /// It was known.
        Known "known",
        Answered "answered",
        Failed "failed",
    }

    /// What the data directory holds.
    JournalFile "of" {
        Image "image",
        Log "log",
    }
}

/// The operation of a request; `None` is one that there is not, whatever the client calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation(pub(crate) Option<Kind>);

impl Operation {
    /// How many there are.
    pub(super) const COUNT: usize = Kind::ALL.len() + 1;

    /// The one at this place.
    pub(super) fn at(place: usize) -> Self {
        Self(Kind::ALL.get(place).copied())
    }
}

impl Labels for Operation {
    const NAMES: &'static [&'static str] = &["operation"];

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::at)
    }

    fn place(self) -> usize {
        self.0.map_or(Kind::ALL.len(), Kind::index)
    }

    fn labels(self) -> Vec<Label> {
        vec![Label::from_static_parts("operation", self.0.map_or("unknown", Kind::as_str))]
    }
}

/// An operation and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served(pub(super) Operation, pub(super) Outcome);

impl Labels for Served {
    const NAMES: &'static [&'static str] = &["operation", "outcome"];

    fn all() -> impl Iterator<Item = Self> {
        Operation::all().flat_map(|operation| Outcome::all().map(move |outcome| Self(operation, outcome)))
    }

    fn place(self) -> usize {
        self.0.place() * Outcome::all().count() + self.1.place()
    }

    fn labels(self) -> Vec<Label> {
        [self.0.labels(), self.1.labels()].concat()
    }
}

/// Who ended a connection, and with which close code. Of clients the code is not told: it is theirs to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    ByClient,
    ByServer(Close),
}

impl Labels for Closed {
    const NAMES: &'static [&'static str] = &["by", "code"];

    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::ByClient).chain(Close::ALL.iter().copied().map(Self::ByServer))
    }

    fn place(self) -> usize {
        match self {
            Self::ByClient => 0,
            Self::ByServer(reason) => 1 + reason.index(),
        }
    }

    fn labels(self) -> Vec<Label> {
        match self {
            Self::ByClient => vec![Label::from_static_parts("by", "client")],
            Self::ByServer(reason) => {
                let code = Label::new("code", reason.code().to_string());
                vec![Label::from_static_parts("by", "server"), code]
            }
        }
    }
}

impl Labels for Code {
    const NAMES: &'static [&'static str] = &["code"];

    fn all() -> impl Iterator<Item = Self> {
        Code::ALL.into_iter()
    }

    fn place(self) -> usize {
        self.index()
    }

    fn labels(self) -> Vec<Label> {
        vec![Label::from_static_parts("code", self.as_str())]
    }
}

impl Labels for Mode {
    const NAMES: &'static [&'static str] = &["mode"];

    fn all() -> impl Iterator<Item = Self> {
        [Self::Full, Self::Patch].into_iter()
    }

    fn place(self) -> usize {
        self as usize
    }

    fn labels(self) -> Vec<Label> {
        let word = match self {
            Self::Full => "full",
            Self::Patch => "patch",
        };
        vec![Label::from_static_parts("mode", word)]
    }
}

/// Which program this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Build;

impl Labels for Build {
    const NAMES: &'static [&'static str] = &["version", "protocol"];

    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self)
    }

    fn place(self) -> usize {
        0
    }

    fn labels(self) -> Vec<Label> {
        vec![
            Label::from_static_parts("version", env!("CARGO_PKG_VERSION")),
            Label::from_static_parts("protocol", PROTOCOL_VERSION),
        ]
    }
}

impl Called {
    /// What came of a call.
    pub(crate) fn of<T>(result: &Result<T, crate::rules::ServiceError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) if error.again => Self::Again,
            Err(_) => Self::Failed,
        }
    }
}

/// Everything that rules report.
const REPORTS: [ReportKind; 9] = [
    ReportKind::DepthExceeded,
    ReportKind::FiringsExceeded,
    ReportKind::StepsExceeded,
    ReportKind::EventsExceeded,
    ReportKind::ActionFailed,
    ReportKind::FiringDropped,
    ReportKind::RuleSkipped,
    ReportKind::PatternTruncated,
    ReportKind::DeadLetter,
];

/// What the rule engine reports; `None` is what this list lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reported(pub(crate) Option<ReportKind>);

impl Labels for Reported {
    const NAMES: &'static [&'static str] = &["kind"];

    fn all() -> impl Iterator<Item = Self> {
        REPORTS.into_iter().map(|kind| Self(Some(kind))).chain([Self(None)])
    }

    fn place(self) -> usize {
        let known = REPORTS.iter().position(|kind| Some(*kind) == self.0);
        known.unwrap_or(REPORTS.len())
    }

    fn labels(self) -> Vec<Label> {
        let word = match self.0 {
            Some(ReportKind::DepthExceeded) => "depth_exceeded",
            Some(ReportKind::FiringsExceeded) => "firings_exceeded",
            Some(ReportKind::StepsExceeded) => "steps_exceeded",
            Some(ReportKind::EventsExceeded) => "events_exceeded",
            Some(ReportKind::ActionFailed) => "action_failed",
            Some(ReportKind::FiringDropped) => "firing_dropped",
            Some(ReportKind::RuleSkipped) => "rule_skipped",
            Some(ReportKind::PatternTruncated) => "pattern_truncated",
            Some(ReportKind::DeadLetter) => "dead_letter",
            _ => "other",
        };
        vec![Label::from_static_parts("kind", word)]
    }
}
