//! `rules.*`: events, facts and the rules themselves.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{
    items, object, optional_object, optional_string, parsed, positive, string, text, validation, whole,
};
use super::{Object, Operation, Resource};
use crate::limits::{MAX_TEST_EVENTS, MAX_TEST_FACTS};
use crate::request::{Fields, Scalar};
use crate::{Error, Kind};

/// Operations that look at rules and facts.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum RuleRead<'a> {
    GetFact {
        key: Cow<'a, str>,
    },
    QueryFacts {
        pattern: Cow<'a, str>,
    },
    GetAllFacts,
    Stats {
        /// More than protocol 1.0.0 tells.
        details: bool,
    },
    GetRule {
        rule_id: Cow<'a, str>,
    },
    GetRules,
    ValidateRule {
        rule: Object,
    },
    History {
        rule_id: Cow<'a, str>,
        limit: usize,
        offset: u64,
    },
    Diff {
        rule_id: Cow<'a, str>,
        from: u64,
        to: u64,
    },
    Groups,
    Timers {
        pattern: Option<Cow<'a, str>>,
    },
    Explain {
        rule_id: Cow<'a, str>,
        event_id: Cow<'a, str>,
    },
    /// What a rule would do: `rule`, `event` or `fact`, `facts`, `events` and `lookups`, as far as they are given.
    Test {
        trial: Object,
    },
    DeadLetters {
        limit: usize,
    },
}

/// Operations that change rules and facts, or set rules off.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum RuleWrite<'a> {
    Emit {
        topic: Cow<'a, str>,
        data: Object,
        correlation_id: Option<Cow<'a, str>>,
        /// Only together with a correlation.
        causation_id: Option<Cow<'a, str>>,
    },
    SetFact {
        key: Cow<'a, str>,
        value: Value,
    },
    DeleteFact {
        key: Cow<'a, str>,
    },
    RegisterRule {
        rule: Object,
    },
    UnregisterRule {
        rule_id: Cow<'a, str>,
    },
    UpdateRule {
        rule_id: Cow<'a, str>,
        updates: Object,
    },
    /// `rules.enableRule` and `rules.disableRule`.
    SetEnabled {
        rule_id: Cow<'a, str>,
        enabled: bool,
    },
    Rollback {
        rule_id: Cow<'a, str>,
        version: u64,
    },
    CreateGroup {
        group: Object,
    },
    UpdateGroup {
        group_id: Cow<'a, str>,
        updates: Object,
    },
    DeleteGroup {
        group_id: Cow<'a, str>,
    },
    SetTimer {
        timer: Object,
    },
    CancelTimer {
        name: Cow<'a, str>,
    },
    Requeue {
        call_id: Cow<'a, str>,
    },
    Discard {
        call_id: Cow<'a, str>,
    },
}

/// Entries of a history, and dead letters, that are given where no `limit` is.
const USUAL: usize = 50;

/// The operation of a kind that [is of rules](Kind::is_of_rules); `None` of any other.
pub(super) fn operation<'a>(kind: Kind, f: &Fields<'a>) -> Option<Result<Operation<'a>, Error>> {
    Some(match kind {
        Kind::RulesEmit => emit(f).map(write),
        Kind::RulesSetFact => set_fact(f).map(write),
        Kind::RulesDeleteFact => fact_key(f).map(|key| write(RuleWrite::DeleteFact { key })),
        Kind::RulesGetFact => fact_key(f).map(|key| read(RuleRead::GetFact { key })),
        Kind::RulesQueryFacts => {
            string("pattern", f.pattern).map(|pattern| read(RuleRead::QueryFacts { pattern }))
        }
        Kind::RulesGetAllFacts => Ok(read(RuleRead::GetAllFacts)),
        Kind::RulesStats => details(f).map(|details| read(RuleRead::Stats { details })),
        Kind::RulesSubscribe => {
            // The connection looks at its limits before it says what is wrong with the pattern.
            Ok(Operation::RulesSubscribe { pattern: string("pattern", f.pattern) })
        }
        Kind::RulesUnsubscribe => text("subscriptionId", f.subscription_id.as_ref())
            .map(|subscription_id| Operation::RulesUnsubscribe { subscription_id }),
        Kind::RulesGetRule => rule_id(f).map(|rule_id| read(RuleRead::GetRule { rule_id })),
        Kind::RulesGetRules => Ok(read(RuleRead::GetRules)),
        Kind::RulesRegisterRule => object("rule", f.rule).map(|rule| write(RuleWrite::RegisterRule { rule })),
        Kind::RulesUnregisterRule => rule_id(f).map(|rule_id| write(RuleWrite::UnregisterRule { rule_id })),
        Kind::RulesUpdateRule => update_rule(f).map(write),
        Kind::RulesEnableRule => set_enabled(f, true).map(write),
        Kind::RulesDisableRule => set_enabled(f, false).map(write),
        Kind::RulesValidateRule => object("rule", f.rule).map(|rule| read(RuleRead::ValidateRule { rule })),
        Kind::RulesHistory => history(f).map(read),
        Kind::RulesDiff => diff(f).map(read),
        Kind::RulesRollback => rollback(f).map(write),
        Kind::RulesGroups => Ok(read(RuleRead::Groups)),
        Kind::RulesCreateGroup => {
            object("group", f.group).map(|group| write(RuleWrite::CreateGroup { group }))
        }
        Kind::RulesUpdateGroup => update_group(f).map(write),
        Kind::RulesDeleteGroup => {
            string("groupId", f.group_id).map(|group_id| write(RuleWrite::DeleteGroup { group_id }))
        }
        Kind::RulesTimers => {
            optional_string("pattern", f.pattern).map(|pattern| read(RuleRead::Timers { pattern }))
        }
        Kind::RulesSetTimer => object("timer", f.timer).map(|timer| write(RuleWrite::SetTimer { timer })),
        Kind::RulesCancelTimer => {
            text("name", f.name.as_ref()).map(|name| write(RuleWrite::CancelTimer { name }))
        }
        Kind::RulesExplain => explain(f).map(read),
        Kind::RulesTest => trial(f).map(|trial| read(RuleRead::Test { trial })),
        Kind::RulesDeadLetters => limit(f).map(|limit| read(RuleRead::DeadLetters { limit })),
        Kind::RulesRequeue => call_id(f).map(|call_id| write(RuleWrite::Requeue { call_id })),
        Kind::RulesDiscard => call_id(f).map(|call_id| write(RuleWrite::Discard { call_id })),
        _ => return None,
    })
}

fn read(read: RuleRead<'_>) -> Operation<'_> {
    Operation::RuleRead(read)
}

fn write(write: RuleWrite<'_>) -> Operation<'_> {
    Operation::RuleWrite { write, idempotency_key: None }
}

fn rule_id<'a>(f: &Fields<'a>) -> Result<Cow<'a, str>, Error> {
    string("ruleId", f.rule_id)
}

fn call_id<'a>(f: &Fields<'a>) -> Result<Cow<'a, str>, Error> {
    string("callId", f.call_id)
}

fn fact_key<'a>(f: &Fields<'a>) -> Result<Cow<'a, str>, Error> {
    text("key", f.key.as_ref())
}

fn emit<'a>(f: &Fields<'a>) -> Result<RuleWrite<'a>, Error> {
    let topic = string("topic", f.topic)?;
    let data = optional_object("data", f.data)?.unwrap_or_default();
    let correlation_id = optional_string("correlationId", f.correlation_id)?;
    // Without a correlation nobody asks what it is.
    let causation_id = match correlation_id {
        Some(_) => optional_string("causationId", f.causation_id)?,
        None => None,
    };
    Ok(RuleWrite::Emit { topic, data, correlation_id, causation_id })
}

fn set_fact<'a>(f: &Fields<'a>) -> Result<RuleWrite<'a>, Error> {
    let key = fact_key(f)?;
    let Some(value) = f.value else {
        return Err(validation("Missing \"value\": expected a value".to_owned()));
    };
    Ok(RuleWrite::SetFact { key, value: parsed("value", value)? })
}

fn update_rule<'a>(f: &Fields<'a>) -> Result<RuleWrite<'a>, Error> {
    Ok(RuleWrite::UpdateRule { rule_id: rule_id(f)?, updates: object("updates", f.updates)? })
}

fn set_enabled<'a>(f: &Fields<'a>, enabled: bool) -> Result<RuleWrite<'a>, Error> {
    Ok(RuleWrite::SetEnabled { rule_id: rule_id(f)?, enabled })
}

fn rollback<'a>(f: &Fields<'a>) -> Result<RuleWrite<'a>, Error> {
    Ok(RuleWrite::Rollback { rule_id: rule_id(f)?, version: version("version", f.version)? })
}

fn update_group<'a>(f: &Fields<'a>) -> Result<RuleWrite<'a>, Error> {
    Ok(RuleWrite::UpdateGroup {
        group_id: string("groupId", f.group_id)?,
        updates: object("updates", f.updates)?,
    })
}

fn history<'a>(f: &Fields<'a>) -> Result<RuleRead<'a>, Error> {
    let (rule_id, limit) = (rule_id(f)?, limit(f)?);
    let offset = whole("offset", scalar(f.offset).as_ref())?.unwrap_or_default();
    Ok(RuleRead::History { rule_id, limit, offset })
}

fn diff<'a>(f: &Fields<'a>) -> Result<RuleRead<'a>, Error> {
    Ok(RuleRead::Diff { rule_id: rule_id(f)?, from: version("from", f.from)?, to: version("to", f.to)? })
}

fn explain<'a>(f: &Fields<'a>) -> Result<RuleRead<'a>, Error> {
    Ok(RuleRead::Explain { rule_id: rule_id(f)?, event_id: string("eventId", f.event_id)? })
}

/// Absent and `null` both mean "as usual".
fn limit(f: &Fields<'_>) -> Result<usize, Error> {
    match &f.limit {
        None | Some(Scalar::Null) => Ok(USUAL),
        limit => positive("limit", limit.as_ref()),
    }
}

/// Absent and `null` both mean no.
fn details(f: &Fields<'_>) -> Result<bool, Error> {
    match scalar(f.details) {
        None | Some(Scalar::Null) => Ok(false),
        Some(Scalar::Bool(details)) => Ok(details),
        Some(_) => Err(validation("Invalid \"details\": expected true or false".to_owned())),
    }
}

/// Number of an entry of a history.
fn version(field: &str, raw: Option<&RawValue>) -> Result<u64, Error> {
    let version = positive(field, scalar(raw).as_ref())?;
    u64::try_from(version)
        .map_err(|_| validation(format!("Missing or invalid \"{field}\": expected positive integer")))
}

/// A field as the scalar that it should be; `None` also if it cannot be read as one.
fn scalar(raw: Option<&RawValue>) -> Option<Scalar<'_>> {
    raw.map(|raw| serde_json::from_str(raw.get()).unwrap_or(Scalar::Composite))
}

/// The fields of a dry run, each where it is given.
fn trial(f: &Fields<'_>) -> Result<Object, Error> {
    let mut trial = Object::new();
    trial.insert("rule".to_owned(), Value::Object(object("rule", f.rule)?));
    for (name, raw) in [("event", f.event), ("fact", f.fact), ("lookups", f.lookups)] {
        if let Some(given) = optional_object(name, raw)? {
            trial.insert(name.to_owned(), Value::Object(given));
        }
    }
    for (name, raw, most) in [("facts", f.facts, MAX_TEST_FACTS), ("events", f.events, MAX_TEST_EVENTS)] {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { continue };
        if name == "facts" && raw.get().starts_with('{') {
            trial.insert(name.to_owned(), Value::Object(object(name, Some(raw))?));
            continue;
        }
        let wrong = || validation(format!("Invalid \"{name}\": expected array of at most {most} objects"));
        let given = items(raw, most).and_then(Result::ok).ok_or_else(wrong)?;
        let given: Result<Vec<Value>, Error> = given
            .into_iter()
            .map(|item| object(name, Some(item)).map(Value::Object).map_err(|_| wrong()))
            .collect();
        trial.insert(name.to_owned(), Value::Array(given?));
    }
    Ok(trial)
}

impl RuleRead<'_> {
    /// What this read touches.
    pub(super) fn resource(&self) -> Resource<'_> {
        match self {
            Self::GetFact { key } => Resource::Key(Cow::Borrowed(key)),
            Self::QueryFacts { pattern } => Resource::KeyPattern(Cow::Borrowed(pattern)),
            Self::GetRule { rule_id }
            | Self::History { rule_id, .. }
            | Self::Diff { rule_id, .. }
            | Self::Explain { rule_id, .. } => Resource::Rule(Cow::Borrowed(rule_id)),
            Self::GetAllFacts
            | Self::Stats { .. }
            | Self::GetRules
            | Self::ValidateRule { .. }
            | Self::Groups
            | Self::Timers { .. }
            | Self::Test { .. }
            | Self::DeadLetters { .. } => Resource::Rules,
        }
    }
}

impl RuleWrite<'_> {
    /// What this write touches, apart from what the rules do that it sets off: these have rights of their own.
    pub(super) fn resource(&self) -> Resource<'_> {
        match self {
            Self::Emit { topic, .. } => Resource::Topic(Cow::Borrowed(topic)),
            Self::SetFact { key, .. } | Self::DeleteFact { key } => Resource::Key(Cow::Borrowed(key)),
            Self::RegisterRule { rule } => match rule.get("id").and_then(Value::as_str) {
                Some(id) => Resource::Rule(Cow::Borrowed(id)),
                // It is refused for that when it is clear that this user may register rules at all.
                None => Resource::Rules,
            },
            Self::UnregisterRule { rule_id }
            | Self::UpdateRule { rule_id, .. }
            | Self::SetEnabled { rule_id, .. }
            | Self::Rollback { rule_id, .. } => Resource::Rule(Cow::Borrowed(rule_id)),
            Self::CreateGroup { .. }
            | Self::UpdateGroup { .. }
            | Self::DeleteGroup { .. }
            | Self::SetTimer { .. }
            | Self::CancelTimer { .. }
            | Self::Requeue { .. }
            | Self::Discard { .. } => Resource::Rules,
        }
    }

    /// Whether a repeat can be known by a key.
    pub(super) fn can_be_repeated(&self) -> bool {
        matches!(self, Self::Emit { .. } | Self::SetFact { .. } | Self::DeleteFact { .. })
    }
}

#[cfg(test)]
mod tests;
