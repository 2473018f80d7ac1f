//! Patterns over several events.

use serde_json::{Value, json};

use super::with;

/// One event of a pattern.
#[derive(Debug, Clone)]
pub struct Matcher(Value);

/// Events of this topic.
pub fn matcher(topic: &str) -> Matcher {
    Matcher(json!({ "topic": topic }))
}

impl From<&str> for Matcher {
    fn from(topic: &str) -> Self {
        matcher(topic)
    }
}

impl Matcher {
    /// Only those that have this value at this path.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let filter = self.0.get_mut("filter").map_or_else(|| json!({}), Value::take);
        Self(with(self.0, "filter", with(filter, path, value)))
    }

    /// The variable that has its data.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self(with(self.0, "as", name))
    }
}

/// A pattern over several events.
///
/// ```
/// use dunlin_rules::builder::{Pattern, RuleBuilder, matcher};
/// use serde_json::json;
///
/// let unpaid = Pattern::absence("order.created", matcher("payment.received").with("ok", true), "15m").group_by("orderId");
/// let stolen = Pattern::sequence([matcher("login").with("country", "XX").named("login"), matcher("transfer")], "5m")
///     .group_by("user")
///     .strict();
/// let busy = Pattern::count("login.failed", 5, "1m").group_by("user").once();
/// let quiet = Pattern::aggregate("sum", "sale", "amount", 1000, "1h").at_most().tumbling().empty_windows();
/// for pattern in [unpaid, stolen, busy, quiet] {
///     let rule = RuleBuilder::new("watch")
///         .on_pattern(pattern)
///         .emit("alert", json!({"group": {"ref": "trigger.groupKey"}}))
///         .build();
///     dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Pattern(Value);

impl From<Pattern> for Value {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl Pattern {
    /// These events in this order, the last at most `within` after the first.
    pub fn sequence<M: Into<Matcher>>(events: impl IntoIterator<Item = M>, within: impl Into<Value>) -> Self {
        let events: Vec<_> = events.into_iter().map(|event| event.into().0).collect();
        Self(json!({"type": "sequence", "events": events, "within": within.into()}))
    }

    /// The first event, and not the expected one within this time.
    pub fn absence(
        after: impl Into<Matcher>,
        expected: impl Into<Matcher>,
        within: impl Into<Value>,
    ) -> Self {
        let (after, expected) = (after.into().0, expected.into().0);
        Self(json!({"type": "absence", "after": after, "expected": expected, "within": within.into()}))
    }

    /// At least so many events within a window.
    pub fn count(event: impl Into<Matcher>, threshold: u32, window: impl Into<Value>) -> Self {
        Self(
            json!({"type": "count", "event": event.into().0, "threshold": threshold, "window": window.into()}),
        )
    }

    /// The `sum`, `avg`, `min`, `max` or `count` of a number in the events of a window is at least the threshold.
    pub fn aggregate(
        function: &str,
        event: impl Into<Matcher>,
        field: &str,
        threshold: impl Into<Value>,
        window: impl Into<Value>,
    ) -> Self {
        Self(json!({"type": "aggregate", "function": function, "event": event.into().0, "field": field,
            "threshold": threshold.into(), "window": window.into()}))
    }

    /// Each value of this path in the events' data for itself.
    #[must_use]
    pub fn group_by(self, path: &str) -> Self {
        self.set("groupBy", path)
    }

    /// Any other event of the group ends a sequence.
    #[must_use]
    pub fn strict(self) -> Self {
        self.set("strict", true)
    }

    /// The number is at most the threshold.
    #[must_use]
    pub fn at_most(self) -> Self {
        self.set("comparison", "lte")
    }

    /// The number is the threshold.
    #[must_use]
    pub fn exactly(self) -> Self {
        self.set("comparison", "eq")
    }

    /// Windows one behind the other, looked at when they have ended, in the place of one that slides.
    #[must_use]
    pub fn tumbling(self) -> Self {
        self.set("sliding", false)
    }

    /// Also windows without an event, of groups that have been seen; only where they are [tumbling](Self::tumbling).
    #[must_use]
    pub fn empty_windows(self) -> Self {
        self.set("emptyWindows", true)
    }

    /// Once when the comparison becomes true, and not again before it was false or the window has ended.
    #[must_use]
    pub fn once(self) -> Self {
        self.set("once", true)
    }

    fn set(self, name: &str, value: impl Into<Value>) -> Self {
        Self(with(self.0, name, value))
    }
}
