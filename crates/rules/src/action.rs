//! What a rule does.

use std::sync::Arc;

use serde_json::Value;

use crate::condition::{Condition, Operand, Template};
use crate::effect::LogLevel;

/// One action. A failing one is reported and does not stop those behind it, except inside `try`.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields carry the names of the specification's fields")]
pub enum Action {
    /// Sets a fact; that triggers rules, unless it is `silent`.
    SetFact { key: Template, value: Operand, silent: bool },
    /// Deletes a fact.
    DeleteFact { key: Template, silent: bool },
    /// Emits an event; everything that it triggers is done before the next action. Its data must come out as an object.
    EmitEvent { topic: Template, data: Operand },
    /// Sets a timer, in the place of the one of its name.
    SetTimer(TimerTemplate),
    /// Cancels a timer.
    CancelTimer { name: Template },
    /// Calls a service of the program, through the outbox.
    CallService { service: Arc<str>, method: Arc<str>, args: Vec<Operand>, delivery: Delivery },
    /// Posts to an URL of the allow-list, through the outbox.
    Webhook { url: Template, headers: Vec<(Arc<str>, Operand)>, body: Operand, delivery: Delivery },
    /// Writes a line to the server's log.
    Log { level: LogLevel, message: Template },
    /// Writes records: one, or a `list` at one blow. `store_insert store_update store_upsert store_delete store_transaction`.
    Store { operations: Vec<StoreWrite>, as_name: Option<Arc<str>>, list: bool },
    /// Runs one of two branches.
    Conditional { conditions: Vec<Condition>, then: Vec<Action>, otherwise: Vec<Action> },
    /// Runs actions for each element, with the variables `<as>` and `<as>_index`.
    ForEach { collection: Operand, name: Arc<str>, actions: Vec<Action>, max_iterations: usize },
    /// Runs actions up to the first that fails, then `catch`, then `finally`.
    TryCatch { attempt: Vec<Action>, catch_as: Option<Arc<str>>, catch: Vec<Action>, finally: Vec<Action> },
}

/// A write of a record with references in it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields carry the names of the actions' fields")]
pub enum StoreWrite {
    Insert { bucket: Template, data: Operand },
    Update { bucket: Template, key: Operand, data: Operand },
    Upsert { bucket: Template, data: Operand },
    Delete { bucket: Template, key: Operand },
}

/// How a call leaves. Inside `try` the rule waits for its end, and the default is one attempt; elsewhere the rule goes on at
/// once, and the default is [`ATTEMPTS`](crate::limits::ATTEMPTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How often it is tried, at most.
    pub attempts: Option<u32>,
    /// How long one attempt may take, milliseconds.
    pub timeout_ms: u64,
}

/// A timer with references in it.
#[derive(Debug, Clone)]
pub struct TimerTemplate {
    /// Its name.
    pub name: Template,
    /// When it expires.
    pub schedule: Schedule,
    /// Topic of the event that it emits.
    pub topic: Template,
    /// Data of that event; must come out as an object.
    pub data: Operand,
}

/// When a timer expires.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// After a while, and then perhaps again and again.
    After {
        /// Milliseconds until the first time.
        duration: u64,
        /// Milliseconds between the times after that, counted from when each was due, not from when it was done.
        interval: Option<u64>,
        /// How often in all.
        max_count: Option<u64>,
    },
    /// By the calendar.
    Cron {
        /// Five fields, or six with seconds first.
        expression: Arc<str>,
        /// Name in the time zone database; UTC if not given.
        time_zone: Option<Arc<str>>,
        /// How often in all.
        max_count: Option<u64>,
    },
}

/// A JSON value that an action has left behind, for `try` and for tests.
pub type Result = std::result::Result<Value, crate::fault::ActionFault>;
