//! Why a rule fired for an event, or why not.

use serde_json::{Value, json};

use super::Engine;
use super::cause::Occasion;
use super::trace::Outcome;
use super::view::View;
use crate::condition::{Condition, ConditionSource, Path, Steps};
use crate::limits::EXPLAIN_STEPS;
use crate::rule::{Rule, Trigger};
use crate::temporal::topic_matches;
use crate::{Event, Object, RuleFault};

impl Engine {
    /// Why a rule fired for an event, or why not: its trigger, and each condition with its value. `fired` and `reason` are what
    /// happened then; the conditions are shown as they hold for that event's data and today's facts.
    ///
    /// # Errors
    /// The rule is not known, or the event is not remembered any more.
    pub fn explain(&self, rule: &str, event: &str) -> Result<Value, RuleFault> {
        let not_found = |what, name: &str| RuleFault::NotFound { what, name: name.to_owned() };
        let (_, rule) = self.book.get(rule).ok_or_else(|| not_found("Rule", rule))?;
        let event = self.traces.find(event).ok_or_else(|| not_found("Event", event))?;
        let outcome = self.traces.outcome_of(&event.id, &rule.id);
        let matches = matches(&rule.trigger, event);
        let conditions = self.observe(&rule.conditions, &event.topic, &event.data);
        let reason = match outcome {
            Some((outcome, version)) => {
                let changed = if version == rule.version { "" } else { "; the rule was changed since" };
                format!("{}{changed}", said(outcome))
            }
            None if !matches => "the trigger does not match this event".to_owned(),
            None if rule.created_at > event.timestamp => "the rule was registered later".to_owned(),
            None if !rule.enabled => "the rule is not enabled".to_owned(),
            None if !super::book::is_active(rule, &self.groups) => {
                "the rule's group is not enabled".to_owned()
            }
            None if conditions.iter().any(|condition| condition.get("holds") == Some(&json!(false))) => {
                "a condition does not hold".to_owned()
            }
            None => {
                "it was dropped by a bound, has a temporal pattern, or is not remembered any more".to_owned()
            }
        };
        Ok(json!({
            "ruleId": rule.id,
            "eventId": event.id,
            "fired": outcome.is_some_and(|(outcome, _)| outcome == Outcome::Fired),
            "reason": reason,
            "trigger": {"definition": rule.json.get("trigger"), "topic": event.topic, "matches": matches},
            "conditions": conditions,
        }))
    }

    /// Keeps what the conditions of a rule see from now on.
    pub(crate) fn watch_conditions(&mut self, rule: &str) {
        (self.traces.watching, self.traces.seen) = (Some(rule.into()), None);
    }

    /// What the conditions of the rule that is watched have seen; if it was not reached, what they would see of these data.
    pub(crate) fn watched_conditions(&mut self, topic: &str, data: &Object) -> Vec<Value> {
        let rule = self.traces.watching.as_ref().and_then(|rule| self.book.get(rule));
        let would = |rule: &Rule| self.observe(&rule.conditions, topic, data);
        self.traces.seen.clone().or_else(|| rule.map(|(_, rule)| would(rule))).unwrap_or_default()
    }

    /// Each condition, and what it sees of an event.
    fn observe(&self, conditions: &[Condition], topic: &str, data: &Object) -> Vec<Value> {
        let occasion = Occasion::made_up(topic, data);
        let view = View::new(&self.facts, &occasion, &[], &[], EXPLAIN_STEPS);
        observed_all(conditions, &view)
    }
}

/// Each condition with its value. Whoever looks has steps of his own.
pub(super) fn observed_all(conditions: &[Condition], view: &View) -> Vec<Value> {
    let mut steps = Steps::new(EXPLAIN_STEPS);
    conditions.iter().map(|condition| observed(condition, view, &mut steps)).collect()
}

/// A condition with its value. Calls itself as deep as conditions may be nested.
fn observed(condition: &Condition, view: &View, steps: &mut Steps) -> Value {
    let list = |conditions: &[Condition], steps: &mut Steps| -> Vec<Value> {
        conditions.iter().map(|condition| observed(condition, view, steps)).collect()
    };
    let mut shown = Object::new();
    match condition {
        Condition::Test(test) => {
            shown.insert("source".into(), source(&test.source));
            shown.insert("operator".into(), test.operator.as_str().into());
            match test.observe(view, steps) {
                Ok(seen) => {
                    shown.insert("actual".into(), seen.actual.unwrap_or_default());
                    shown.insert("expected".into(), seen.expected.unwrap_or_default());
                    shown.insert("holds".into(), seen.holds.into());
                }
                Err(fault) => {
                    shown.insert("error".into(), fault.to_string().into());
                    shown.insert("holds".into(), false.into());
                }
            }
            return Value::Object(shown);
        }
        Condition::Any(conditions) => shown.insert("any".into(), list(conditions, steps).into()),
        Condition::All(conditions) => shown.insert("all".into(), list(conditions, steps).into()),
        Condition::Not(condition) => shown.insert("not".into(), observed(condition, view, steps)),
    };
    let holds = condition.holds(view, steps).unwrap_or(false);
    shown.insert("holds".into(), holds.into());
    Value::Object(shown)
}

/// A source as rules write it.
fn source(source: &ConditionSource) -> Value {
    let path = |path: &Path| path.segments.join(".");
    match source {
        ConditionSource::Event(field) => json!({"type": "event", "field": path(field)}),
        ConditionSource::Fact(pattern) => json!({"type": "fact", "pattern": pattern.text}),
        ConditionSource::Context(key) => json!({"type": "context", "key": path(key)}),
        ConditionSource::Lookup { name, field: None } => json!({"type": "lookup", "name": name}),
        ConditionSource::Lookup { name, field: Some(field) } => {
            json!({"type": "lookup", "name": name, "field": path(field)})
        }
    }
}

fn matches(trigger: &Trigger, event: &Event) -> bool {
    match trigger {
        Trigger::Event { topic } => topic_matches(topic, event),
        Trigger::Temporal(pattern) => {
            pattern.matchers().iter().any(|matcher| topic_matches(&matcher.topic, event))
        }
        Trigger::Fact { .. } | Trigger::Timer { .. } => false,
    }
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fired => "it fired",
        Outcome::NotMet => "a condition did not hold",
        Outcome::Waits => "it waits for its lookups",
        Outcome::LookupFailed => "a lookup failed",
        Outcome::Failed => "its conditions could not be worked out",
    }
}
