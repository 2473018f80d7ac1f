//! Every bound of the engine, with its unit and its reason. Those that a configuration can change are in [`Limits`].

/// Bounds of one engine that its owner may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Rules. Each holds its compiled form and its history.
    pub rules: usize,
    /// Groups.
    pub groups: usize,
    /// Facts.
    pub facts: usize,
    /// Timers.
    pub timers: usize,
    /// Steps of a causal chain: the input is 0, what its rules trigger is 1. A trigger beyond is dropped and reported.
    pub depth: usize,
    /// Rules that one input may fire, all together. What is beyond is dropped and reported.
    pub firings: usize,
    /// Events that one input may emit, all together.
    pub events: usize,
    /// Steps that one input may take: each condition, action, loop turn, look at a fact and 64 bytes of text are one. A bound of
    /// time that is the same on any machine; a step takes about 0.1 µs.
    pub steps: u64,
    /// Groups of one temporal pattern that are open at once; the oldest is dropped and counted.
    pub groups_per_pattern: usize,
    /// Events that one group of a temporal pattern remembers with their data.
    pub events_per_group: usize,
    /// Calls in the outbox; an action that would add one more fails.
    pub outbox: usize,
    /// Dead letters; the oldest is thrown away and reported.
    pub dead_letters: usize,
    /// Firings that wait for an answer from outside.
    pub waiting: usize,
    /// Entries of the history of one rule; the oldest are thrown away.
    pub versions_per_rule: usize,
    /// Rules that are gone and still have a history; that of the one that has been gone longest is thrown away.
    pub gone_histories: usize,
    /// Inputs, and again as many firings, that are remembered to explain them.
    pub traces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rules: 100_000,
            groups: 10_000,
            facts: 10_000_000,
            timers: 1_000_000,
            depth: 10,
            firings: 10_000,
            events: 10_000,
            steps: 10_000_000,
            groups_per_pattern: 1_000_000,
            events_per_group: 10_000,
            outbox: 100_000,
            dead_letters: 10_000,
            waiting: 100_000,
            versions_per_rule: 100,
            gone_histories: 10_000,
            traces: 10_000,
        }
    }
}

/// Attempts of a call outside of `try`, unless its action says otherwise: with the waits of [`BACKOFF_MS`] some 20 minutes.
pub const ATTEMPTS: u32 = 12;
/// The longest that an action may ask for.
pub const MAX_ATTEMPTS: u32 = 100;
/// Milliseconds before the second attempt; twice as long before each further one, up to [`MAX_BACKOFF_MS`], each time with a
/// random part of up to a half.
pub const BACKOFF_MS: u64 = 500;
/// Milliseconds between two attempts, at most.
pub const MAX_BACKOFF_MS: u64 = 5 * 60 * 1000;
/// Milliseconds that one attempt may take, unless the action says otherwise.
pub const CALL_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds that an action may ask for.
pub const MAX_CALL_TIMEOUT_MS: u64 = 5 * 60 * 1000;
/// Bytes (UTF-8) of ids, names, topics, keys of facts and names of timers. They are keys of the log and of indexes.
pub const MAX_NAME_BYTES: usize = dunlin_protocol::limits::MAX_NAME_BYTES;
/// Segments of a topic or key. Matching takes one step for each.
pub const MAX_SEGMENTS: usize = dunlin_protocol::limits::MAX_SEGMENTS;
/// Bytes of a rule as JSON text.
pub const MAX_RULE_BYTES: usize = 256 * 1024;
/// Levels of conditions, of actions and of values in a rule. They are carried out by recursion.
pub const MAX_DEPTH: usize = 16;
/// Levels of objects and arrays in a whole rule. Reading it recurses, and so does writing it.
pub const MAX_JSON_DEPTH: usize = 100;
/// Errors and warnings that are told at once about one rule; the rest is cut off, so that an answer stays small.
pub const MAX_ISSUES: usize = 100;
/// Headers of one webhook.
pub const MAX_HEADERS: usize = 32;
/// Conditions and actions of one rule, all levels together.
pub const MAX_PARTS: usize = 1_000;
/// Bytes of the value of a fact and of the data of an event, as JSON text.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Values of an `in` by which a rule is found; one with more is found by its pattern alone. The rule is entered under each.
pub const MAX_INDEXED_VALUES: usize = 1_000;
/// Turns of a `for_each`, unless it says otherwise.
pub const MAX_ITERATIONS: usize = 1_000;
/// Turns that a `for_each` may ask for.
pub const MAX_TURNS: u64 = 100_000;
/// Largest duration, milliseconds: what a JavaScript date can hold.
pub const MAX_DURATION_MS: u64 = 8_640_000_000_000_000;
/// Levels of the value of a fact and of the data of an event. They are read and written by recursion, and an entry of the log adds a
/// few of its own to the 128 that a reader of JSON bears.
pub const MAX_VALUE_DEPTH: usize = 64;
/// Reports of one input. What is beyond is counted.
pub const MAX_REPORTS: usize = 100;
/// Lines that one input may log. What is beyond fails.
pub const MAX_LOGS: usize = 1_000;
/// Steps of a write to the store: it takes as long as many other actions.
pub const STORE_STEPS: u64 = 100;
/// Times of a cron timer that passed while nobody was there: more are not counted in its `missed`. Each takes a microsecond to find.
pub const MAX_MISSED_COUNTED: u64 = 1_000;
/// Years that a cron expression is looked ahead for its next time; the 29th of February comes at least every eighth year, on a given
/// day of the week every fortieth.
pub const MAX_CRON_YEARS: i16 = 40;
/// Windows without an event in a row for which `emptyWindows` remembers a group.
pub const MAX_EMPTY_WINDOWS: u32 = 1_000;
/// Groups of temporal patterns that are forgotten at one go when their time is over.
pub const MAX_FORGOTTEN_AT_ONCE: usize = 100;
/// Steps that the conditions of a rule may take to be shown.
pub const EXPLAIN_STEPS: u64 = 1_000_000;
/// Facts and events before the one that a rule is tried with.
pub const MAX_TRIAL_INPUTS: usize = 1_000;
/// Calls of one trial that are answered.
pub const MAX_TRIAL_CALLS: usize = 1_000;
/// Links of a chain of causes in a report: the input, and what came last.
pub const MAX_CHAIN: usize = 100;
/// Bytes (JSON text) of the events that are remembered to explain them.
pub const MAX_TRACED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one event may write anew into open sequences: each has its events with it, so one large event could be written as often as
/// there are sequences. The oldest of those for which there is no room are forgotten.
pub const MAX_PATTERN_BYTES: usize = 16 * 1024 * 1024;
/// Events that a complete window shows to its rule, the newest; all together at most [`MAX_VALUE_BYTES`]. It counts all.
pub const MAX_SHOWN_EVENTS: usize = 1_000;
/// Steps of one entry that a pattern writes, beside those of its text.
pub const PATTERN_STEPS: u64 = 2;
