//! Whose rights somebody may give to a rule: his own.

use std::sync::Arc;

use dunlin_protocol::{Error, RuleWrite};
use dunlin_rules::change::prefix;
use dunlin_rules::{Object, RunAs};
use dunlin_store::Snapshot;
use serde::Deserialize;
use serde_json::Value;

use super::read::{Entry, Version, version_key};
use crate::connection::ConnectionState;

/// The member of a rule.
const RUN_AS: &str = "runAs";

/// Whether the rights that a rule will have depend on what is written before.
pub(crate) fn asks_for_rights(write: &RuleWrite<'_>) -> bool {
    matches!(write, RuleWrite::UpdateRule { .. } | RuleWrite::Rollback { .. })
}

/// Judges whether whoever makes this write may let the rule run as it will. What he is judged for is written down in the write:
/// somebody else may be changing the rule at the same time.
pub(crate) fn judge_run_as(state: &mut ConnectionState, write: &mut RuleWrite<'_>) -> Result<(), Error> {
    let Some(auth) = state.shared.auth.clone() else { return Ok(()) };
    let snapshot = state.shared.published.snapshot();
    let all = wanted(&snapshot, write);
    let rights = state.rights(&auth)?;
    for run_as in &all {
        auth.may_run_as(rights, run_as)?;
    }
    if let RuleWrite::UpdateRule { rule_id, updates } = write
        && !updates.contains_key(RUN_AS)
    {
        let present = present(&snapshot, rule_id).and_then(|rule| rule.get(RUN_AS).cloned());
        updates.insert(RUN_AS.to_owned(), present.unwrap_or(Value::Null));
    }
    Ok(())
}

/// As whom the rule runs now, where it is there, and as whom it would.
fn wanted(snapshot: &Snapshot, write: &RuleWrite<'_>) -> Vec<RunAs> {
    match write {
        RuleWrite::RegisterRule { rule } => run_as(rule).into_iter().collect(),
        RuleWrite::UpdateRule { rule_id, updates } => {
            let present = present(snapshot, rule_id);
            present.as_ref().and_then(run_as).into_iter().chain(run_as(updates)).collect()
        }
        RuleWrite::Rollback { rule_id, version } => {
            let then = snapshot.entry(&version_key(rule_id, *version));
            let then = then.and_then(|text| serde_json::from_str::<Version>(text).ok());
            let then = then.and_then(|version| run_as(&version.rule));
            present(snapshot, rule_id).as_ref().and_then(run_as).into_iter().chain(then).collect()
        }
        _ => Vec::new(),
    }
}

/// What is no such object is refused when the rule is checked.
fn run_as(rule: &Object) -> Option<RunAs> {
    RunAs::deserialize(rule.get(RUN_AS)?).ok()
}

fn present(snapshot: &Snapshot, rule_id: &str) -> Option<Object> {
    let text: &Arc<str> = snapshot.entry(&format!("{}{rule_id}", prefix::RULE))?;
    serde_json::from_str::<Entry<Object>>(text).ok().map(|entry| entry.rule)
}
