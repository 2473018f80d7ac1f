//! What is to be done outside when a run is durable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Object;

/// One thing to do outside, once the run that asked for it is durable. Calls and lookups are part of the state too: after a
/// crash they come out of the engine again ([`Engine::outstanding`](crate::Engine::outstanding)). What is only told is not.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Make this call at its `due` time, then feed [`Input::CallDone`](crate::Input::CallDone) or
    /// [`Input::CallFailed`](crate::Input::CallFailed).
    Call(Arc<OutgoingCall>),
    /// Ask these, then feed [`Input::LookedUp`](crate::Input::LookedUp) with an answer for each.
    Lookup {
        /// The firing that waits.
        firing: Arc<str>,
        /// Id of its rule.
        rule: Arc<str>,
        /// What to ask; in parallel.
        calls: Vec<LookupCall>,
    },
    /// A `log` action.
    Log {
        /// Id of the rule.
        rule: Arc<str>,
        /// `debug`, `info`, `warn` or `error`.
        level: LogLevel,
        /// The text.
        message: String,
    },
}

/// How loud a `log` action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual names")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// A question to a service of the embedding program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupCall {
    /// Under which name the rule sees the answer.
    pub name: Arc<str>,
    /// The service.
    pub service: Arc<str>,
    /// Its method.
    pub method: Arc<str>,
    /// Arguments, with references resolved.
    pub args: Vec<Value>,
    /// How long an answer may be used again, milliseconds; 0: not at all.
    pub cache_ms: u64,
}

/// A call in the outbox: durable, made at least once, known by its id wherever it arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutgoingCall {
    /// Unique; sent along as the idempotency key.
    pub id: Arc<str>,
    /// Id of the rule.
    pub rule: Arc<str>,
    /// Where it goes.
    pub target: Target,
    /// How often it was tried and has failed.
    pub failures: u32,
    /// How often it is tried in all, at most.
    pub attempts: u32,
    /// Not before this time, Unix milliseconds.
    pub due: u64,
    /// How long one attempt may take, milliseconds.
    pub timeout_ms: u64,
    /// The firing that waits for the answer, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firing: Option<Arc<str>>,
    /// Of the event or timer that triggered the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Arc<str>>,
    /// When it was put into the outbox, Unix milliseconds.
    pub created_at: u64,
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields carry the names of the actions' fields")]
pub enum Target {
    /// A service of the embedding program.
    Service { service: Arc<str>, method: Arc<str>, args: Vec<Value> },
    /// `POST` with a JSON body to an URL of the allow-list.
    Webhook { url: Arc<str>, headers: Object, body: Value },
}
