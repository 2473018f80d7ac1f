//! A pattern, ready to be held against events.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::routes::topic_matches;
use crate::condition::{Path, equal, find_at, text_of};
use crate::limits::MAX_NAME_BYTES;
use crate::rule::{EventMatcher, TemporalKind, TemporalPattern};
use crate::{Event, Object};

impl TemporalPattern {
    /// The events that the pattern speaks of.
    pub(super) fn own_matchers(&self) -> &[EventMatcher] {
        match &self.kind {
            TemporalKind::Sequence { events, .. } => events,
            TemporalKind::Absence { after, .. } => std::slice::from_ref(after),
            TemporalKind::Count { event, .. } | TemporalKind::Aggregate { event, .. } => {
                std::slice::from_ref(event)
            }
        }
    }

    /// Topics of all events that matter to it.
    pub(super) fn topics(&self) -> impl Iterator<Item = dunlin_protocol::TopicPattern> {
        let expected = match &self.kind {
            TemporalKind::Absence { expected, .. } => Some(expected),
            _ => None,
        };
        self.own_matchers().iter().chain(expected).map(|matcher| matcher.topic.clone())
    }

    /// Whether events that it does not speak of end what has begun.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self.kind, TemporalKind::Sequence { strict: true, .. })
    }

    /// The group that an event belongs to. None if it takes no part.
    pub(super) fn group_of<'a>(&self, event: &'a Event) -> Option<Cow<'a, str>> {
        let Some(path) = &self.group_by else { return Some(Cow::Borrowed("")) };
        group_text(find(&event.data, path)?)
    }
}

/// A value as the name of a group, `1` and `"1"` being the same. `null` is none, nor is what is too long for a key.
fn group_text(value: Cow<'_, Value>) -> Option<Cow<'_, str>> {
    if value.is_null() {
        return None;
    }
    let text = match value {
        Cow::Borrowed(value) => text_of(value),
        Cow::Owned(value) => Cow::Owned(text_of(&value).into_owned()),
    };
    (text.len() <= MAX_NAME_BYTES).then_some(text)
}

/// Whether an event is meant.
pub(super) fn matches(matcher: &EventMatcher, event: &Event) -> bool {
    topic_matches(&matcher.topic, event)
        && matcher
            .filter
            .iter()
            .all(|(path, wanted)| find(&event.data, path).is_some_and(|found| equal(&found, wanted)))
}

/// The number at a path of an event's data.
pub(super) fn number_at(event: &Event, path: &Path) -> Option<f64> {
    // Zero has no sign here: which of both is the smaller one should not matter.
    find(&event.data, path)?.as_f64().map(|number| number + 0.0)
}

fn find<'a>(data: &'a Object, path: &Path) -> Option<Cow<'a, Value>> {
    let (first, rest) = path.split_first()?;
    find_at(data.get(first)?, rest)
}

/// The data of events by the names of their matchers.
pub(super) fn variables<'a>(
    pairs: impl Iterator<Item = (&'a EventMatcher, &'a Arc<Event>)>,
) -> Vec<(Arc<str>, Arc<Object>)> {
    pairs
        .filter_map(|(matcher, event)| Some((Arc::clone(matcher.alias.as_ref()?), Arc::clone(&event.data))))
        .collect()
}
