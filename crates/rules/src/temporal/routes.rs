//! Which patterns an event can matter to.

use std::collections::HashMap;

use dunlin_protocol::TopicPattern;

use crate::Event;
use crate::event::Source;

/// Patterns by the topics of their events. What is found may match; what is not found cannot.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// By topic, those without a wildcard.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By the segments before the first wildcard.
    wild: HashMap<Box<str>, Vec<usize>>,
    /// Those that any event may break.
    strict: Vec<usize>,
}

impl Routes {
    pub(super) fn add(&mut self, slot: usize, topics: impl Iterator<Item = TopicPattern>, strict: bool) {
        for topic in topics {
            let slots = self.slots(topic.as_str());
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        if strict {
            self.strict.push(slot);
        }
    }

    pub(super) fn remove(&mut self, slot: usize, topics: impl Iterator<Item = TopicPattern>) {
        for topic in topics {
            let slots = self.slots(topic.as_str());
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                match literal_prefix(topic.as_str()) {
                    None => self.exact.remove(topic.as_str()),
                    Some(prefix) => self.wild.remove(prefix),
                };
            }
        }
        self.strict.retain(|other| *other != slot);
    }

    /// Puts the slots that an event may matter to into `found`, some perhaps more than once.
    pub(super) fn find(&self, event: &Event, found: &mut Vec<usize>) {
        let topic = &*event.topic;
        found.extend(self.exact.get(topic).into_iter().flatten());
        if !self.wild.is_empty() {
            let prefixes = topic.match_indices('.').filter_map(|(dot, _)| topic.get(..dot));
            for prefix in std::iter::once("").chain(prefixes) {
                found.extend(self.wild.get(prefix).into_iter().flatten());
            }
        }
        // Changes of records are heard of only by who names them.
        if event.source != Source::Store {
            found.extend(&self.strict);
        }
    }

    fn slots(&mut self, topic: &str) -> &mut Vec<usize> {
        match literal_prefix(topic) {
            None => self.exact.entry(topic.into()).or_default(),
            Some(prefix) => self.wild.entry(prefix.into()).or_default(),
        }
    }
}

/// The segments before the one with the first wildcard; none if there is no wildcard.
fn literal_prefix(topic: &str) -> Option<&str> {
    let star = topic.find('*')?;
    let literal = topic.get(..star)?;
    Some(literal.rfind('.').and_then(|dot| literal.get(..dot)).unwrap_or_default())
}

/// Whether an event's topic matches. The change of a record is matched by its bucket and what happened to it.
pub(super) fn topic_matches(pattern: &TopicPattern, event: &Event) -> bool {
    if event.source != Source::Store {
        return pattern.matches(&event.topic);
    }
    let change = event.topic.strip_prefix("bucket.").and_then(|rest| rest.rsplit_once('.'));
    pattern.as_str().starts_with("bucket.")
        && change.is_some_and(|(bucket, kind)| pattern.matches_change(bucket, kind))
}
