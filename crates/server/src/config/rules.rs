//! `rules`: whether there is a rule engine, and its bounds.

use serde::Serialize;
use serde_json::Value;

use super::fault::FaultKind;
use super::kind::{Found, mismatch};
use super::{is_url, limits};

/// `rules`: the rule engine. It is off unless it is [enabled](Self::enabled).
///
/// In a file `"rules": true` is enough, and so is an object with any of the other keys.
///
/// ```
/// use dunlin_server::{RulesOptions, Server};
///
/// let mut rules = RulesOptions::on();
/// rules.max_depth = 5;
/// rules.webhooks.allow = vec!["https://hooks.example.com/".to_owned()];
/// let builder = Server::builder().rules(rules);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RulesOptions {
    /// Whether there is an engine.
    pub enabled: bool,
    /// Rules.
    pub max_rules: usize,
    /// Groups of rules.
    pub max_groups: usize,
    /// Facts.
    pub max_facts: usize,
    /// Timers.
    pub max_timers: usize,
    /// Steps of a causal chain.
    pub max_depth: usize,
    /// Rules that one input may fire, all together.
    pub max_firings: usize,
    /// Events that one input may emit, all together.
    pub max_events: usize,
    /// Steps that one input may take, about 0.1 µs each.
    pub max_steps: u64,
    /// Groups of one temporal pattern that are open at once.
    pub max_groups_per_pattern: usize,
    /// Events that one group of a temporal pattern remembers.
    pub max_events_per_group: usize,
    /// Calls that wait to be made.
    pub max_outbox: usize,
    /// Calls that failed for good and are kept.
    pub max_dead_letters: usize,
    /// Firings that wait for an answer from outside.
    pub max_waiting: usize,
    /// Entries of the history of one rule.
    pub max_versions_per_rule: usize,
    /// Inputs, and again as many firings, that are remembered to explain them.
    pub max_traces: usize,
    /// Bytes of events that may wait for one subscription.
    pub subscriber_bytes: usize,
    /// Time that a lookup has to answer, in milliseconds.
    pub service_timeout_ms: u64,
    /// Requests to other servers.
    pub webhooks: WebhookTargets,
}

/// `rules.webhooks`: where rules may post to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WebhookTargets {
    /// Addresses of which one must be the beginning of the target's; none allows no webhooks.
    pub allow: Vec<String>,
}

impl Default for RulesOptions {
    fn default() -> Self {
        let engine = dunlin_rules::Limits::default();
        Self {
            enabled: false,
            max_rules: engine.rules,
            max_groups: engine.groups,
            max_facts: engine.facts,
            max_timers: engine.timers,
            max_depth: engine.depth,
            max_firings: engine.firings,
            max_events: engine.events,
            max_steps: engine.steps,
            max_groups_per_pattern: engine.groups_per_pattern,
            max_events_per_group: engine.events_per_group,
            max_outbox: engine.outbox,
            max_dead_letters: engine.dead_letters,
            max_waiting: engine.waiting,
            max_versions_per_rule: engine.versions_per_rule,
            max_traces: engine.traces,
            subscriber_bytes: limits::SUBSCRIBER_BYTES,
            service_timeout_ms: limits::SERVICE_TIMEOUT_MS,
            webhooks: WebhookTargets::default(),
        }
    }
}

impl RulesOptions {
    /// A rule engine with the usual bounds.
    pub fn on() -> Self {
        Self { enabled: true, ..Self::default() }
    }

    /// The bounds of the engine itself.
    pub(crate) fn limits(&self) -> dunlin_rules::Limits {
        let mut limits = dunlin_rules::Limits::default();
        limits.rules = self.max_rules;
        limits.groups = self.max_groups;
        limits.facts = self.max_facts;
        limits.timers = self.max_timers;
        limits.depth = self.max_depth;
        limits.firings = self.max_firings;
        limits.events = self.max_events;
        limits.steps = self.max_steps;
        limits.groups_per_pattern = self.max_groups_per_pattern;
        limits.events_per_group = self.max_events_per_group;
        limits.outbox = self.max_outbox;
        limits.dead_letters = self.max_dead_letters;
        limits.waiting = self.max_waiting;
        limits.versions_per_rule = self.max_versions_per_rule;
        limits.traces = self.max_traces;
        limits
    }
}

/// What a list of targets should be.
pub(super) const TARGETS: &str =
    "a list of beginnings of addresses such as \"https://hooks.example.com/orders/\"";

/// What is wrong with a list of targets.
pub(super) fn check_targets(value: &Value) -> Found {
    let Some(list) = value.as_array() else { return vec![mismatch("", TARGETS, value)] };
    if list.len() > limits::MAX_WEBHOOK_TARGETS {
        let expected = format!("at most {} addresses", limits::MAX_WEBHOOK_TARGETS);
        let found = format!("{} of them", list.len());
        return vec![(String::new(), FaultKind::Value { expected, found })];
    }
    let wrong = list.iter().enumerate().filter(|(_, entry)| !entry.as_str().is_some_and(is_target));
    wrong
        .map(|(i, entry)| {
            let expected = "an http:// or https:// address with a path, if only \"/\", and without user name, password, \
                            query and fragment";
            mismatch(format!("[{i}]"), expected, entry)
        })
        .collect()
}

/// With the slash behind the host: else `https://example.com` would also be the beginning of `https://example.com.evil.org`.
fn is_target(text: &str) -> bool {
    let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    path.is_some() && is_url(text) && !text.contains('?')
}

/// Reads a checked list.
pub(super) fn read_targets(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
}
