//! The road from the `StoreActor` to the `RulesActor`: events and effects in order, durable when they stand here, up to a bound.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use dunlin_rules::{Effect, Object};
use ractor::ActorRef;
use serde_json::Value;

use super::actor::RulesMessage;
use super::listener::EventAt;
use crate::limits;

/// Gathers what has happened until it is taken. If the `RulesActor` falls too far behind, events are lost, which it is told; calls
/// and lookups never are, as the engine knows which of them are outstanding.
#[derive(Default)]
pub(crate) struct RuleFeed {
    waiting: Mutex<Waiting>,
    reader: ArcSwapOption<ActorRef<RulesMessage>>,
}

#[derive(Default)]
struct Waiting {
    news: RuleNews,
    bytes: usize,
    /// A wake-up is on its way.
    awake: bool,
}

/// What has happened since it was asked last.
#[derive(Default)]
pub(super) struct RuleNews {
    pub(super) events: Vec<EventAt>,
    pub(super) effects: Vec<Effect>,
    /// Events behind these are lost.
    pub(super) gap: bool,
    /// Effects are missing: those that are outstanding have to be asked for.
    pub(super) incomplete: bool,
}

impl RuleFeed {
    /// Sets who is woken.
    pub(crate) fn set_reader(&self, reader: ActorRef<RulesMessage>) {
        self.reader.store(Some(Arc::new(reader)));
        // A wake-up may have been lost with the reader before.
        self.waiting().awake = true;
        self.tell(RulesMessage::News);
    }

    /// These happened, in this order, and are durable.
    pub(crate) fn happened(&self, events: Vec<EventAt>, effects: Vec<Effect>) {
        if events.is_empty() && effects.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for event in events {
            // Behind a gap everything is a gap, until it is told.
            if waiting.news.gap {
                break;
            }
            waiting.bytes += weight(&event.event.data);
            if waiting.news.events.len() >= limits::RULE_FEED_EVENTS
                || waiting.bytes > limits::RULE_FEED_BYTES
            {
                waiting.news.gap = true;
                break;
            }
            waiting.news.events.push(event);
        }
        if waiting.news.effects.len() + effects.len() > limits::RULE_FEED_EVENTS {
            waiting.news.effects.clear();
            waiting.news.incomplete = true;
        } else if !waiting.news.incomplete {
            waiting.news.effects.extend(effects);
        }
        self.wake(waiting);
    }

    /// The engine was made anew: what it has done before may be missing here.
    pub(crate) fn interrupted(&self) {
        let mut waiting = self.waiting();
        (waiting.news.gap, waiting.news.incomplete) = (true, true);
        waiting.news.effects.clear();
        self.wake(waiting);
    }

    /// For the reader: what has happened.
    pub(super) fn take(&self) -> RuleNews {
        let mut waiting = self.waiting();
        (waiting.awake, waiting.bytes) = (false, 0);
        std::mem::take(&mut waiting.news)
    }

    /// Sends the reader a message.
    pub(crate) fn tell(&self, message: RulesMessage) {
        if let Some(reader) = &*self.reader.load() {
            // One that is gone is being restarted, and then begins with what waits here.
            let _ = reader.cast(message);
        }
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let asleep = !std::mem::replace(&mut waiting.awake, true);
        drop(waiting);
        if asleep {
            self.tell(RulesMessage::News);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of an event's data, about.
fn weight(data: &Object) -> usize {
    data.iter().map(|(name, value)| name.len() + of_value(value)).sum::<usize>() + NODE
}

/// A value beside its text.
const NODE: usize = 32;

fn of_value(value: &Value) -> usize {
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(of_value).sum(),
        Value::Object(members) => weight(members),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, bytes: usize) -> EventAt {
        let data = Object::from_iter([("text".to_owned(), "x".repeat(bytes).into())]);
        let event = dunlin_rules::Event {
            id: number.to_string().into(),
            topic: "t".into(),
            data: Arc::new(data),
            timestamp: 0,
            source: dunlin_rules::Source::Api,
            correlation_id: None,
            causation_id: None,
        };
        EventAt { event: Arc::new(event), position: number, number }
    }

    fn log(message: &str) -> Effect {
        Effect::Log {
            rule: "r".into(),
            level: dunlin_rules::effect::LogLevel::Info,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_happened_is_taken_once_and_in_order() {
        let feed = RuleFeed::default();
        feed.happened(vec![event(1, 0)], vec![log("a")]);
        feed.happened(vec![event(2, 0)], vec![log("b")]);
        let news = feed.take();
        assert_eq!(news.events.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((news.effects, news.gap, news.incomplete), (vec![log("a"), log("b")], false, false));
        assert!(feed.take().events.is_empty());
    }

    #[test]
    fn behind_the_bound_events_are_a_gap_and_effects_are_asked_for_again() {
        let feed = RuleFeed::default();
        feed.happened(vec![event(1, limits::RULE_FEED_BYTES / 2)], vec![log("a")]);
        feed.happened(vec![event(2, limits::RULE_FEED_BYTES / 2), event(3, 0)], vec![log("b")]);
        feed.happened(vec![event(4, 0)], (0..limits::RULE_FEED_EVENTS).map(|_| log("c")).collect());
        feed.happened(Vec::new(), vec![log("d")]);
        let news = feed.take();
        assert_eq!((news.events.len(), news.gap), (1, true));
        assert!(news.incomplete && news.effects.is_empty());
        feed.happened(vec![event(5, 0)], vec![log("e")]);
        let news = feed.take();
        assert_eq!((news.events.len(), news.gap, news.effects.len()), (1, false, 1));
    }

    #[test]
    fn an_interruption_is_a_gap() {
        let feed = RuleFeed::default();
        feed.happened(vec![event(1, 0)], vec![log("a")]);
        feed.interrupted();
        let news = feed.take();
        assert_eq!((news.events.len(), news.gap, news.incomplete, news.effects.len()), (1, true, true, 0));
    }
}
