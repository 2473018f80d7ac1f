//! Timers.

use serde_json::{Value, json};

use super::action::object;
use super::with;

/// A timer that a rule sets.
///
/// ```
/// use dunlin_rules::builder::{RuleBuilder, Timer};
/// use serde_json::json;
///
/// let late = Timer::after("pay:${event.id}", "15m").emits("pay.late", json!({"order": "${event.id}"}));
/// let daily = Timer::cron("report", "0 6 * * *").time_zone("Europe/Zurich").emits("report.due", json!({}));
/// let rule = RuleBuilder::new("watch").on_event("order.created").set_timer(late).set_timer(daily).build();
/// # dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Timer(Value);

impl From<Timer> for Value {
    fn from(timer: Timer) -> Self {
        timer.0
    }
}

impl Timer {
    /// Expires after a while: `"15m"`, or milliseconds.
    pub fn after(name: &str, duration: impl Into<Value>) -> Self {
        Self(json!({"name": name, "duration": duration.into()}))
    }

    /// Expires by the calendar: five fields, or six with seconds first.
    pub fn cron(name: &str, expression: &str) -> Self {
        Self(json!({"name": name, "cron": expression}))
    }

    /// The event that it emits.
    #[must_use]
    pub fn emits(self, topic: &str, data: impl Into<Value>) -> Self {
        Self(with(self.0, "onExpire", json!({"topic": topic, "data": object(data.into())})))
    }

    /// Expires again and again, with so much time between.
    #[must_use]
    pub fn every(self, interval: impl Into<Value>) -> Self {
        Self(with(self.0, "repeat", json!({"interval": interval.into()})))
    }

    /// How often in all.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(with(self.0, "maxCount", count))
    }

    /// Whose calendar it is: a name in the time zone database; UTC if it is not given.
    #[must_use]
    pub fn time_zone(self, zone: &str) -> Self {
        Self(with(self.0, "timeZone", zone))
    }
}
