//! What a client hears of the events of rules: each that it has asked for, once and in order, or that it hears no more.

use serde_json::Value;

use crate::Tally;
use crate::truth::Truth;

/// What may be listened to.
pub(crate) const PATTERNS: [&str; 5] = ["*", "x.*", "x.a", "x.echo", "x.timer"];

/// Bytes of events that may wait for a subscription: some must be too slow.
pub(crate) const SUBSCRIBER_BYTES: usize = 2_000;
/// Bytes of one event, at most.
const MOST_BYTES: usize = 400;

/// An event that has happened: a rule notes each one in a record.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    /// What tells it from all others.
    pub(crate) name: String,
    pub(crate) topic: String,
    /// Of its record.
    pub(crate) position: u64,
}

/// A subscription to events.
#[derive(Debug)]
pub(crate) struct Hearing {
    pattern: &'static str,
    /// How many of its events had happened when it was asked for, and when the client knew of it.
    began: (usize, usize),
    /// How often the journal had failed when it was asked for.
    faults: u64,
    /// The next event.
    next: Option<usize>,
    position: u64,
}

/// How many events of a pattern have happened.
pub(crate) fn count(pattern: &str, truth: &Truth) -> usize {
    truth.happened(|all| all.iter().filter(|event| matches(pattern, event)).count())
}

fn matches(pattern: &str, event: &Happened) -> bool {
    pattern == "*" || pattern == "x.*" || pattern == event.topic
}

impl Hearing {
    pub(crate) fn new(pattern: &'static str, asked: usize, faults: u64, truth: &Truth) -> Self {
        Self { pattern, began: (asked, count(pattern, truth)), faults, next: None, position: 0 }
    }

    /// Takes a push.
    pub(crate) fn push(&mut self, push: &Value, positions: bool, truth: &Truth, tally: &mut Tally) {
        let event = &push["data"]["event"];
        let name = event["data"]["n"].as_str().unwrap();
        let found = truth.happened(|all| {
            let mut mine = all.iter().filter(|event| matches(self.pattern, event)).enumerate();
            mine.find(|(_, event)| event.name == name).map(|(index, event)| (index, event.clone()))
        });
        let (index, happened) = found.unwrap_or_else(|| panic!("nothing durable tells of it: {push}"));
        let (first, last) = self.next.map_or(self.began, |next| (next, next));
        assert!(
            (first..=last).contains(&index),
            "event {index} comes where {first}..={last} should: {self:?} {push}"
        );
        assert_eq!(push["data"]["topic"], happened.topic, "{push}");
        let told = push["position"].as_u64();
        assert_eq!(told.is_some(), positions, "a position for who knows positions: {push}");
        if let Some(position) = told {
            let range = self.position.max(happened.position)..=truth.position();
            assert!(range.contains(&position), "not within {range:?}: {push}");
            self.position = position;
        }
        self.next = Some(index + 1);
        tally.heard += 1;
    }

    /// The server has ended it: there must have been a reason.
    pub(crate) fn ended(&self, code: &str, truth: &Truth, tally: &mut Tally) {
        let all = count(self.pattern, truth);
        let reason = match code {
            // Those that waited came before this.
            "BACKPRESSURE" => {
                all > self.next.unwrap_or(self.began.0)
                    && (all - self.began.0) * MOST_BYTES > SUBSCRIBER_BYTES
            }
            "INTERNAL_ERROR" => truth.faults() > self.faults,
            _ => false,
        };
        assert!(reason, "ended by {code} without a reason: {self:?}");
        tally.unheard += 1;
    }

    /// The client has read everything that there was to read.
    pub(crate) fn is_quiet(&self, truth: &Truth) {
        let (_, last) = self.began;
        let all = count(self.pattern, truth);
        let heard = self.next.unwrap_or(last);
        assert_eq!(heard, all, "events were not told: {self:?}");
    }
}
