//! `rules.*`: events, facts and rules.
//!
//! - `facts`, `rules`: reads, from the published snapshot like any other; `engine`: what only the engine knows;
//! - `write`: from an operation to an input of the engine, and from its answer to that of the client;
//! - `run_as`: whose rights somebody may give to a rule; `subscribe`: who hears of what.

mod engine;
mod facts;
mod read;
mod run_as;
mod subscribe;
pub(crate) mod write;

use dunlin_protocol::{Code, Error, RuleRead};
use dunlin_rules::fault::RuleFault;

pub(crate) use run_as::{asks_for_rights, judge_run_as};
pub(super) use subscribe::{subscribe, unsubscribe};

use crate::connection::ConnectionState;

/// Answers a read; the JSON text of its `data`.
pub(super) async fn read(state: &mut ConnectionState, read: RuleRead<'_>) -> Result<String, Error> {
    let guard = state.guard()?;
    let snapshot = state.shared.published.snapshot();
    match read {
        RuleRead::GetFact { key } => facts::get(&snapshot, &guard, &key),
        RuleRead::QueryFacts { pattern } => facts::query(snapshot, guard, &pattern).await,
        RuleRead::GetAllFacts => facts::all(snapshot, guard).await,
        RuleRead::GetRule { rule_id } => read::rule(&snapshot, &rule_id),
        RuleRead::GetRules => read::rules(snapshot).await,
        RuleRead::History { rule_id, limit, offset } => read::history(&snapshot, &rule_id, limit, offset),
        RuleRead::Diff { rule_id, from, to } => read::diff(&snapshot, &rule_id, from, to),
        RuleRead::Groups => read::groups(snapshot).await,
        RuleRead::Timers { pattern } => read::timers(snapshot, pattern.as_deref()).await,
        RuleRead::DeadLetters { limit } => read::dead_letters(snapshot, limit).await,
        RuleRead::ValidateRule { rule } => Ok(engine::validate(&state.shared, rule)),
        RuleRead::Test { trial } => engine::test(&state.shared, trial).await,
        RuleRead::Stats { details } => {
            engine::stats(&state.shared, details).await.map(|stats| dunlin_protocol::frame::json(&stats))
        }
        RuleRead::Explain { rule_id, event_id } => engine::explain(&state.shared, &rule_id, &event_id).await,
    }
}

/// The statistics of the engine, as `rules.stats` shows them.
pub(crate) use engine::stats;

/// The error that a client is told.
pub(crate) fn refusal(fault: &RuleFault) -> Error {
    let message = fault.to_string();
    match fault {
        RuleFault::Invalid { issues, .. } => {
            let issues = serde_json::to_value(issues).unwrap_or_default();
            Error::new(Code::ValidationError, message).with_details(issues)
        }
        RuleFault::Exists { .. } => Error::new(Code::AlreadyExists, message),
        RuleFault::NotFound { .. } => Error::new(Code::NotFound, message),
        RuleFault::Full { .. } => Error::new(Code::RateLimited, message),
        _ => Error::new(Code::InternalError, message),
    }
}

/// Runs what may take long on a blocking thread, so that the connections which share this worker thread do not wait for it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = |_| Error::new(Code::InternalError, "The read failed by a fault of the server");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn validation(message: String) -> Error {
    Error::new(Code::ValidationError, message)
}
