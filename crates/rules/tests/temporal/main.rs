//! Temporal patterns: the worked scenarios of the specification, and random patterns over random histories against a naive model
//! that goes through the whole history each time. Beside the engine runs another one that is loaded from entries at random points,
//! and one that takes back what it did: all three stay alike to the letter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "small numbers"
)]
#![allow(unreachable_pub, reason = "modules of one test")]

mod bounds;
mod naive;
mod random;
mod scenarios;

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_rules::condition::Path;
use dunlin_rules::rule::{Comparison, EventMatcher, Function, TemporalKind, TemporalPattern, Window};
use dunlin_rules::temporal::Due;
use dunlin_rules::{Change, Event, Limits, Match, Object, Source, Temporal};
use serde_json::{Value, json};

/// An event; its id tells it from all others.
fn event(id: &str, topic: &str, data: Value, at: u64) -> Arc<Event> {
    let Value::Object(data) = data else { panic!("data is an object") };
    let source = if topic.starts_with("bucket.") { Source::Store } else { Source::Api };
    Arc::new(Event {
        id: id.into(),
        topic: topic.into(),
        data: Arc::new(data),
        timestamp: at,
        source,
        correlation_id: Some(format!("story of {id}").into()),
        causation_id: None,
    })
}

fn matcher(topic: &str) -> EventMatcher {
    EventMatcher { topic: topic.into(), filter: Vec::new(), alias: None }
}

fn grouped(kind: TemporalKind, group_by: Option<&str>) -> TemporalPattern {
    TemporalPattern { kind, group_by: group_by.map(Path::new), once: false }
}

fn sequence(topics: &[&str], within: u64, strict: bool, group_by: Option<&str>) -> TemporalPattern {
    let events = topics.iter().map(|topic| matcher(topic)).collect();
    grouped(TemporalKind::Sequence { events, within, strict }, group_by)
}

fn absence(after: &str, expected: &str, within: u64, group_by: Option<&str>) -> TemporalPattern {
    let kind = TemporalKind::Absence { after: matcher(after), expected: matcher(expected), within };
    grouped(kind, group_by)
}

fn sliding(length: u64) -> Window {
    Window { length, sliding: true, empty_windows: false }
}

fn tumbling(length: u64, empty_windows: bool) -> Window {
    Window { length, sliding: false, empty_windows }
}

fn count(
    topic: &str,
    comparison: Comparison,
    threshold: f64,
    window: Window,
    group_by: Option<&str>,
) -> TemporalPattern {
    let kind = TemporalKind::Count { event: matcher(topic), comparison, threshold, window };
    grouped(kind, group_by)
}

fn aggregate(
    topic: &str,
    (function, field): (Function, &str),
    comparison: Comparison,
    threshold: f64,
    window: Window,
    group_by: Option<&str>,
) -> TemporalPattern {
    let event = matcher(topic);
    let kind =
        TemporalKind::Aggregate { event, field: Path::new(field), function, comparison, threshold, window };
    grouped(kind, group_by)
}

/// Patterns, and the entries that they have written.
struct World {
    temporal: Temporal,
    entries: BTreeMap<Arc<str>, Arc<str>>,
    ids: u32,
}

impl World {
    fn new(pattern: TemporalPattern) -> Self {
        Self::with(&Limits::default(), pattern)
    }

    fn with(limits: &Limits, pattern: TemporalPattern) -> Self {
        let mut temporal = Temporal::new(limits);
        temporal.add(&"r".into(), 1, &Arc::new(pattern));
        Self { temporal, entries: BTreeMap::new(), ids: 0 }
    }

    /// An event, and what it makes complete. Ids are counted from 1.
    fn event(&mut self, topic: &str, data: Value, at: u64) -> Vec<Match> {
        self.ids += 1;
        let mut found = Vec::new();
        self.temporal.event(&event(&self.ids.to_string(), topic, data, at), at, &mut found);
        self.keep();
        found
    }

    /// All that is due.
    fn due(&mut self, at: u64) -> Vec<Match> {
        let mut found = Vec::new();
        while let Some(due) = self.temporal.due(at) {
            if let Due::Match(one) = due {
                found.push(*one);
            }
        }
        self.keep();
        found
    }

    /// Keeps what has changed; how many entries were written and how many removed.
    fn keep(&mut self) -> (usize, usize) {
        let (mut written, mut removed) = (0, 0);
        for change in self.temporal.take_changes() {
            let Change::Entry { key, value } = change else { panic!("{change:?}") };
            if let Some(value) = value {
                written += 1;
                self.entries.insert(key, value);
            } else {
                removed += 1;
                self.entries.remove(&key);
            }
        }
        (written, removed)
    }
}

fn ids(found: &Match) -> Vec<&str> {
    found.events.iter().map(|event| &*event.id).collect()
}
