//! Events of rules on their way to whoever listens: clients with `rules.subscribe`, and the embedding program.
//!
//! Events get a number when they are durable and before whoever caused them is answered. Somebody who begins to listen hears what
//! has a higher number than the last one there was: nothing that was answered before, and everything that happens after.

mod listeners;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_protocol::{Code, Error, TopicPattern, frame};
use dunlin_rules::Event;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::connection::{Body, ConnectionMessage, Heard, SubscriptionId};
use crate::limits;
use crate::metrics::Metrics;
use crate::registry::Entry;
use crate::rules::{EventAt, RuleListener};

use listeners::Listeners;
pub use stream::{Missed, RuleEvent, RuleEventStream};

/// Who listens to the events of rules.
pub(crate) struct RuleEvents {
    listeners: Mutex<Listeners>,
    /// Number of the newest event that is durable.
    newest: AtomicU64,
    /// For the embedding program; `None` when the server has stopped.
    streams: Mutex<Option<broadcast::Sender<RuleEvent>>>,
    /// Bytes of events that may wait for one subscription.
    bytes: usize,
    metrics: Arc<Metrics>,
}

impl RuleListener for RuleEvents {
    fn number(&self, events: usize) -> u64 {
        self.newest.fetch_add(events as u64, Ordering::AcqRel) + 1
    }

    fn tell(&self, events: &[EventAt]) {
        self.tell_clients(events);
        if let Some(streams) = &*self.streams() {
            for EventAt { event, position, number } in events {
                // Nobody has to listen.
                let _ = streams.send(RuleEvent::new(Arc::clone(event), *position, *number));
            }
        }
    }

    fn gap(&self) {
        // A gap in the numbers, which streams notice.
        self.newest.fetch_add(1, Ordering::AcqRel);
        let everybody = std::mem::take(&mut *self.listeners()).into_all();
        let reason = "Rules were interrupted and events may be missing; subscribe again";
        for (id, entry) in everybody {
            end(id, &entry, Error::new(Code::InternalError, reason));
        }
    }
}

impl RuleEvents {
    /// Nobody listens yet. `bytes` of events may wait for one subscription.
    pub(crate) fn new(bytes: usize, metrics: Arc<Metrics>) -> Self {
        let streams = Mutex::new(Some(broadcast::Sender::new(limits::RULE_EVENTS)));
        Self { listeners: Mutex::default(), newest: AtomicU64::new(0), streams, bytes, metrics }
    }

    fn tell_clients(&self, events: &[EventAt]) {
        let mut beaten = Vec::new();
        let mut listeners = self.listeners();
        for EventAt { event, position, number } in events {
            let audience = listeners.of(&event.topic, *number);
            if audience.is_empty() {
                continue;
            }
            let mut told = Bodies::new(event, &self.metrics);
            for (id, entry) in audience {
                let body = told.of(entry.outbox.tells_positions());
                if entry.outbox.push_event(id, *position, body, self.bytes) == Heard::TooMuch {
                    listeners.leave(id);
                    beaten.push((id, entry));
                }
            }
        }
        drop(listeners);
        let reason = "More events wait for this subscription than rules.subscriberBytes allows; read faster or subscribe to fewer \
                      topics, and subscribe again";
        for (id, entry) in beaten {
            end(id, &entry, Error::new(Code::Backpressure, reason));
        }
    }

    /// Lets a connection hear what happens from now on. Its outbox knows the subscription already.
    pub(crate) fn subscribe(&self, id: SubscriptionId, pattern: TopicPattern, entry: Arc<Entry>) {
        let mut listeners = self.listeners();
        let since = self.newest.load(Ordering::Acquire);
        listeners.join(id, pattern, entry, since);
    }

    pub(crate) fn unsubscribe(&self, ids: impl IntoIterator<Item = SubscriptionId>) {
        let mut listeners = self.listeners();
        for id in ids {
            listeners.leave(id);
        }
    }

    /// Lets the embedding program hear what happens from now on.
    pub(crate) fn listen(&self, pattern: TopicPattern) -> RuleEventStream {
        let receiver = self.streams().as_ref().map(broadcast::Sender::subscribe);
        RuleEventStream::new(pattern, receiver, self.newest.load(Ordering::Acquire))
    }

    /// The server has stopped: streams end.
    pub(crate) fn close(&self) {
        *self.streams() = None;
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter; here and below.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Option<broadcast::Sender<RuleEvent>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What pushes of an event hold: written once for all who get it.
///
/// In protocol 1.0.0 an event has a `causationId` only together with a `correlationId`. Whoever asked for positions is told it
/// always.
struct Bodies<'e> {
    event: &'e Event,
    metrics: &'e Metrics,
    plain: Option<Body>,
    whole: Option<Body>,
}

impl<'e> Bodies<'e> {
    fn new(event: &'e Event, metrics: &'e Metrics) -> Self {
        Self { event, metrics, plain: None, whole: None }
    }

    fn of(&mut self, whole: bool) -> &Body {
        let Self { event, metrics, .. } = *self;
        let is_plain = event.correlation_id.is_some() || event.causation_id.is_none();
        let body = if whole || is_plain { &mut self.whole } else { &mut self.plain };
        body.get_or_insert_with(|| {
            metrics.rule_events_encoded.increment(1);
            if whole || is_plain {
                return body_of(event);
            }
            body_of(&Event { causation_id: None, ..event.clone() })
        })
    }
}

fn body_of(event: &Event) -> Body {
    #[derive(Serialize)]
    struct Told<'a> {
        topic: &'a str,
        event: &'a Event,
    }
    frame::json(&Told { topic: &event.topic, event }).into()
}

fn end(id: SubscriptionId, entry: &Entry, error: Error) {
    if let Some(actor) = entry.actor() {
        // A connection that is gone has freed everything already.
        let _ = actor.cast(ConnectionMessage::Ended { id, error });
    }
}
