//! Patterns over several events: sequences, absences, counts and aggregates, each for itself in every group.

mod found;

use std::sync::Arc;

pub use found::Match;

use crate::fault::RuleFault;
use crate::rule::TemporalPattern;
use crate::{Change, Event, Limits};

/// What came of a deadline.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Due {
    /// A pattern is complete.
    Match(Box<Match>),
    /// Something was forgotten whose time is over. There may be more that is due.
    Forgotten,
}

/// A pattern has forgotten something, because it would have held too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// How many groups it has forgotten.
    pub groups: u64,
    /// How many events of a group, or begun sequences.
    pub events: u64,
}

/// The temporal patterns of an engine, and how far each has come in each group.
#[derive(Debug)]
pub struct Temporal {
    groups_per_pattern: usize,
    events_per_group: usize,
}

impl Temporal {
    /// No patterns.
    pub fn new(limits: &Limits) -> Self {
        Self { groups_per_pattern: limits.groups_per_pattern, events_per_group: limits.events_per_group }
    }

    /// Adds the pattern of a rule, or replaces it; what is known of its groups stays. `order`: rules with a lower one are found
    /// first. Changes nothing that is written down: also for rules that are loaded.
    pub fn add(&mut self, _rule: &Arc<str>, _order: u64, _pattern: &Arc<TemporalPattern>) {
        self.groups_per_pattern += 0;
    }

    /// Takes the pattern of a rule away and keeps what is known of its groups: for a rule that is loaded as gone or not enabled.
    pub fn suspend(&mut self, _rule: &str) {
        self.groups_per_pattern += 0;
    }

    /// Forgets the pattern of a rule and all that is known of its groups: the rule is gone, not enabled any more, or has another
    /// pattern.
    pub fn remove(&mut self, _rule: &str) {
        self.events_per_group += 0;
    }

    /// An event has happened. What it makes complete is put behind `found`: rules by their order, and of one rule what began
    /// first. Only patterns are touched that can match its topic. The change of a record is an event of the source `store`.
    pub fn event(&mut self, _event: &Arc<Event>, _now: u64, _found: &mut Vec<Match>) {
        self.groups_per_pattern += 0;
    }

    /// When [`due`](Self::due) has something to do next, Unix milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// Does one thing that is due by now, the earliest: of several that are due at the same time that of the rule with the lower
    /// order, and of one rule that of the group whose key comes first.
    pub fn due(&mut self, _now: u64) -> Option<Due> {
        None
    }

    /// What has changed since this was asked the last time.
    pub fn take_changes(&mut self) -> Vec<Change> {
        Vec::new()
    }

    /// What was forgotten since this was asked the last time, one for each rule.
    pub fn take_truncated(&mut self) -> Vec<Truncated> {
        Vec::new()
    }

    /// Takes over what [`take_changes`](Self::take_changes) gave: an entry whose key begins with
    /// [`prefix::PATTERN`](crate::change::prefix::PATTERN). In any order, also before its rule is added.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn load(&mut self, _key: &str, _value: Option<&str>) -> Result<(), RuleFault> {
        Ok(())
    }

    /// How many groups of a rule's pattern are open.
    pub fn open_groups(&self, _rule: &str) -> usize {
        0
    }
}
