//! What only the engine knows, and what needs an engine of its own.

use dunlin_protocol::{Code, Error, frame};
use dunlin_rules::fault::RuleFault;
use dunlin_rules::{Engine, Object};
use dunlin_store::{Outcome, Snapshot};
use serde_json::{Value, json};

use super::apart;
use crate::ops;
use crate::rules::{Look, Work};
use crate::shared::Shared;
use crate::store_actor::{Done, WriteError};

/// `rules.stats`: what protocol 1.0.0 tells, or with `details` all there is.
pub(crate) async fn stats(shared: &Shared, details: bool) -> Result<Value, Error> {
    let told = look(shared, |engine, _| Ok(frame::json(&engine.stats()))).await?;
    let told: Object = serde_json::from_str(&told).unwrap_or_default();
    if details {
        return Ok(Value::Object(told));
    }
    let kept = PLAIN.iter().filter_map(|name| Some(((*name).to_owned(), told.get(*name)?.clone())));
    let mut plain: Object = kept.collect();
    // What the original calls tracing is a log for debugging, and there is none here.
    let tracing = json!({"enabled": false, "entriesCount": 0, "maxEntries": shared.config.rules.max_traces});
    plain.insert("tracing".to_owned(), tracing);
    Ok(Value::Object(plain))
}

/// The members of `rules.stats` in protocol 1.0.0, but for `tracing`.
const PLAIN: [&str; 6] =
    ["rulesCount", "factsCount", "timersCount", "eventsProcessed", "rulesExecuted", "avgProcessingTimeMs"];

/// `rules.explain`.
pub(super) async fn explain(shared: &Shared, rule: &str, event: &str) -> Result<String, Error> {
    let (rule, event) = (rule.to_owned(), event.to_owned());
    look(shared, move |engine, _| engine.explain(&rule, &event).map(|why| frame::json(&why))).await
}

/// Asks the engine, behind everything that was asked for before.
async fn look(
    shared: &Shared,
    reading: impl FnOnce(&Engine, &Snapshot) -> Result<String, RuleFault> + Send + Sync + 'static,
) -> Result<String, Error> {
    let work = Work::Look(Look(Box::new(reading)));
    let done = shared.store.carry_out(vec![work]).await.pop().unwrap_or(Err(WriteError::Interrupted));
    match done {
        Ok(Done { outcome: Outcome::Told(data), .. }) => Ok(data.to_string()),
        Ok(_) => Err(Error::new(Code::InternalError, "The rule engine gave no answer")),
        Err(error) => Err(ops::write::refusal(&ops::write::Shape::Outcome, error)),
    }
}

/// `rules.validateRule`: whatever is wrong with it is the answer.
pub(super) fn validate(shared: &Shared, rule: Object) -> String {
    let limits = shared.config.rules.limits();
    let (errors, warnings) = dunlin_rules::rule::check(&Value::Object(rule), &limits);
    let valid = errors.is_empty();
    frame::json(&json!({"valid": valid, "errors": errors, "warnings": warnings}))
}

/// `rules.test`: in an engine of its own.
pub(super) async fn test(shared: &Shared, trial: Object) -> Result<String, Error> {
    let limits = shared.config.rules.limits();
    apart(move || match dunlin_rules::dry_run::test(&Value::Object(trial), &limits) {
        Ok(found) => Ok(frame::json(&found)),
        Err(fault) => Err(super::refusal(&fault)),
    })
    .await
}
