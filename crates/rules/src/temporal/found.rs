//! A pattern that is complete.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Event, Object};

/// A pattern that is complete, and what its rule gets to see of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// The group, if the pattern makes groups.
    pub group: Option<Arc<str>>,
    /// The events that made it up, in the order in which they came; for an absence the one after which nothing came.
    pub events: Vec<Arc<Event>>,
    /// How many events those were.
    pub count: u64,
    /// What an aggregate has worked out, what a count has counted.
    pub value: Option<f64>,
    /// When it began: the time of the first event; where windows do not slide, the window's begin.
    pub started_at: u64,
    /// When it was complete.
    pub fired_at: u64,
    /// The event after which nothing came, if the pattern is an absence.
    pub after: Option<Arc<Event>>,
    /// The data of the events that were matched under a name, by that name.
    pub variables: Vec<(Arc<str>, Arc<Object>)>,
    /// Of the last event.
    pub correlation_id: Option<Arc<str>>,
    /// Id of the last event.
    pub causation_id: Option<Arc<str>>,
}

impl Match {
    /// What the rule's conditions and actions see: `{groupKey, count, value, events, after, startedAt, firedAt}`. `after` is there for
    /// an absence only; what else there is not is `null`.
    pub fn trigger_data(&self) -> Object {
        let data = |event: &Arc<Event>| Value::Object((*event.data).clone());
        let mut members = Object::new();
        members.insert("groupKey".into(), json!(self.group));
        members.insert("count".into(), json!(self.count));
        members.insert("value".into(), self.value.map_or(Value::Null, number));
        members.insert("events".into(), self.events.iter().map(data).collect());
        if let Some(after) = &self.after {
            members.insert("after".into(), data(after));
        }
        members.insert("startedAt".into(), json!(self.started_at));
        members.insert("firedAt".into(), json!(self.fired_at));
        members
    }
}

/// A number as JavaScript would write it: without a fraction if it has none.
#[expect(clippy::cast_possible_truncation, reason = "an integer that a double holds exactly")]
fn number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT { json!(number as i64) } else { json!(number) }
}
