//! Events of rules for the embedding program.

use std::fmt;
use std::sync::Arc;

use dunlin_protocol::TopicPattern;
use dunlin_rules::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// One event, durable with everything that it set off when it is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuleEvent {
    /// The event.
    pub event: Arc<Event>,
    /// Number of the commit that it was durable with.
    pub position: u64,
    /// How many events there were before it; gaps are events that were lost.
    number: u64,
}

/// Events that this receiver has not seen: it was too slow, or rules were interrupted. Not all of them need to have matched its
/// pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// How many events.
    pub events: u64,
}

impl RuleEvent {
    pub(super) fn new(event: Arc<Event>, position: u64, number: u64) -> Self {
        Self { event, position, number }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events were missed; receive faster, or keep what must not be missed as a fact",
            self.events
        )
    }
}

impl std::error::Error for Missed {}

/// The events whose topic matches a pattern, in their order, from the moment of [subscribing](crate::RulesHandle::subscribe) on.
///
/// A receiver that falls behind by more than [`limits::RULE_EVENTS`](crate::limits::RULE_EVENTS) is told how many it has missed and
/// goes on with the oldest that is still there. Nobody waits for it.
pub struct RuleEventStream {
    pattern: TopicPattern,
    receiver: Option<broadcast::Receiver<RuleEvent>>,
    /// Number of the last event that was looked at.
    last: u64,
    /// An event behind a gap, to be given when the gap was told.
    held: Option<RuleEvent>,
}

impl RuleEventStream {
    pub(super) fn new(
        pattern: TopicPattern,
        receiver: Option<broadcast::Receiver<RuleEvent>>,
        since: u64,
    ) -> Self {
        Self { pattern, receiver, last: since, held: None }
    }

    /// The next event; `None` when the server has stopped. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<RuleEvent, Missed>> {
        loop {
            if let Some(event) = self.held.take() {
                return Some(Ok(event));
            }
            let event = match self.receiver.as_mut()?.recv().await {
                Ok(event) => event,
                // The gap in the numbers tells how many.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            if event.number <= self.last {
                continue;
            }
            let missed = event.number - self.last - 1;
            self.last = event.number;
            let held = self.pattern.matches(&event.event.topic).then_some(event);
            if missed > 0 {
                self.held = held;
                return Some(Err(Missed { events: missed }));
            }
            if let Some(event) = held {
                return Some(Ok(event));
            }
        }
    }
}
