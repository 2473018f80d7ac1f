//! Figures since the start: not part of the state.

use serde_json::{Value, json};

use super::Engine;

/// What has happened since the engine was made.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) changes: u64,
    pub(super) timers: u64,
    pub(super) firings: u64,
    pub(super) conditions_not_met: u64,
    pub(super) dropped_triggers: u64,
    pub(super) dropped_firings: u64,
    pub(super) dropped_events: u64,
    pub(super) failed_actions: u64,
    pub(super) failed_rules: u64,
    pub(super) skipped_rules: u64,
    pub(super) calls: u64,
    pub(super) retries: u64,
    pub(super) failed_calls: u64,
    pub(super) lookups: u64,
    pub(super) lookups_known: u64,
    pub(super) unreported: u64,
    /// Steps that all inputs have taken.
    pub(super) steps: u64,
}

impl Engine {
    /// Figures, as `rules.stats` shows them. How long rules take only their host can measure: `avgProcessingTimeMs` is its own.
    pub fn stats(&self) -> Value {
        let counts = &self.counts;
        let (patterns, open_groups) = self.temporal.sizes();
        json!({
            "rulesCount": self.book.len(),
            "factsCount": self.facts.len(),
            "timersCount": self.timers.len(),
            "eventsProcessed": counts.events,
            "rulesExecuted": counts.firings,
            "groupsCount": self.groups.len(),
            "changesProcessed": counts.changes,
            "timersExpired": counts.timers,
            "conditionsNotMet": counts.conditions_not_met,
            "droppedTriggers": counts.dropped_triggers,
            "droppedFirings": counts.dropped_firings,
            "droppedEvents": counts.dropped_events,
            "failedActions": counts.failed_actions,
            "failedRules": counts.failed_rules,
            "skippedRules": counts.skipped_rules,
            "unreported": counts.unreported,
            "waiting": self.waiting.len(),
            "temporal": {"patterns": patterns, "openGroups": open_groups},
            "outbox": {
                "length": self.outbox.len(),
                "deadLetters": self.outbox.dead_len(),
                "calls": counts.calls,
                "retries": counts.retries,
                "failed": counts.failed_calls,
            },
            "lookups": {"asked": counts.lookups, "known": counts.lookups_known},
            "tracing": self.traces.stats(),
            "versioning": {"trackedRules": self.versions.rules(), "totalVersions": self.versions.total()},
        })
    }
}
