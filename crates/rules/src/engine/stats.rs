//! Figures since the start: not part of the state.

use std::time::Duration;

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
    /// How long inputs that made rules fire have taken, as the host has measured it.
    busy: Duration,
}

impl Engine {
    /// An input that made rules fire has taken so long: only whoever runs the engine can measure that. For
    /// `avgProcessingTimeMs` of [`stats`](Self::stats), and nothing else.
    pub fn took(&mut self, time: Duration) {
        self.counts.busy += time;
    }

    /// Figures since the engine was made, as `rules.stats` shows them.
    pub fn stats(&self) -> Value {
        let counts = &self.counts;
        let (patterns, open_groups) = self.temporal.sizes();
        #[expect(clippy::cast_precision_loss, reason = "an average; far below 2^53")]
        let average = counts.busy.as_secs_f64() * 1e3 / counts.firings.max(1) as f64;
        json!({
            "rulesCount": self.book.len(),
            "factsCount": self.facts.len(),
            "timersCount": self.timers.len(),
            "eventsProcessed": counts.events,
            "rulesExecuted": counts.firings,
            "avgProcessingTimeMs": average,
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
