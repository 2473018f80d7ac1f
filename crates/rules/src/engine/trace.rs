//! What happened lately, to explain it: not part of the state, and bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cause::Occasion;
use crate::Event;
use crate::limits::MAX_TRACED_BYTES;
use crate::rule::Rule;

/// The newest events, and what became of rules that they reached.
#[derive(Debug)]
pub(super) struct Traces {
    most: usize,
    /// Each with about as many bytes as its data have.
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    outcomes: VecDeque<Trace>,
    /// The rule that somebody looks at, and what its conditions saw the last time.
    pub(super) watching: Option<Arc<str>>,
    pub(super) seen: Option<Vec<Value>>,
}

#[derive(Debug)]
struct Trace {
    event: Arc<str>,
    rule: Arc<str>,
    version: u64,
    outcome: Outcome,
}

/// What became of a rule that an event reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fired,
    NotMet,
    Waits,
    LookupFailed,
    Failed,
}

impl Traces {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            events: VecDeque::new(),
            bytes: 0,
            outcomes: VecDeque::new(),
            watching: None,
            seen: None,
        }
    }

    pub(super) fn event(&mut self, event: &Arc<Event>) {
        if self.most == 0 {
            return;
        }
        let bytes = event.bytes();
        self.bytes += bytes;
        self.events.push_back((Arc::clone(event), bytes));
        while self.events.len() > self.most || self.bytes > MAX_TRACED_BYTES {
            let Some((_, bytes)) = self.events.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    pub(super) fn outcome(&mut self, occasion: &Occasion, rule: &Rule, outcome: Outcome) {
        if let Some(event) = &occasion.id {
            let (event, rule_id) = (Arc::clone(event), Arc::clone(&rule.id));
            let trace = Trace { event, rule: rule_id, version: rule.version, outcome };
            push(&mut self.outcomes, trace, self.most);
        }
    }

    pub(super) fn find(&self, event: &str) -> Option<&Arc<Event>> {
        self.events.iter().rev().map(|(known, _)| known).find(|known| *known.id == *event)
    }

    /// What became of a rule, and which `version` it had then.
    pub(super) fn outcome_of(&self, event: &str, rule: &str) -> Option<(Outcome, u64)> {
        let trace =
            self.outcomes.iter().rev().find(|trace| *trace.event == *event && *trace.rule == *rule)?;
        Some((trace.outcome, trace.version))
    }

    pub(super) fn stats(&self) -> Value {
        json!({
            "enabled": self.most > 0,
            "entriesCount": self.events.len() + self.outcomes.len(),
            "maxEntries": self.most.saturating_mul(2),
        })
    }
}

fn push<T>(ring: &mut VecDeque<T>, entry: T, most: usize) {
    if most == 0 {
        return;
    }
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(entry);
}
