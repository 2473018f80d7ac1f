//! Writes: from an operation to an input of the engine, and from its answer to that of the client.

use std::sync::Arc;

use dunlin_protocol::limits::{MAX_NAME_BYTES, MAX_SEGMENTS};
use dunlin_protocol::{Error, Fingerprint, Kind, RuleWrite, frame};
use dunlin_rules::limits::MAX_VALUE_BYTES;
use dunlin_rules::{Answer, Input};
use dunlin_store::Idempotency;
use serde::Serialize;
use serde_json::{Value, json};

use super::validation;
use crate::ops::write::Shape;
use crate::rules::{RuleWork, Work};

/// The work that an operation stands for, and the shape of its answer. `once` are scope and key of what a repeat is known by.
pub(crate) fn work(write: RuleWrite<'_>, once: Option<(Arc<str>, &str)>) -> Result<(Work, Shape), Error> {
    check(&write)?;
    let (input, tell, shape): (Input, fn(&Answer) -> String, Shape) = match write {
        RuleWrite::Emit { topic, data, correlation_id, causation_id } => {
            let (correlation_id, causation_id) =
                (correlation_id.map(Into::into), causation_id.map(Into::into));
            (Input::Emit { topic: topic.into(), data, correlation_id, causation_id }, whole, Shape::Outcome)
        }
        RuleWrite::SetFact { key, value } => {
            (Input::SetFact { key: key.into(), value }, whole, Shape::Outcome)
        }
        RuleWrite::DeleteFact { key } => (Input::DeleteFact { key: key.into() }, deleted, Shape::Outcome),
        RuleWrite::RegisterRule { rule } => {
            (Input::Register { rule: Value::Object(rule) }, registered, Shape::Outcome)
        }
        RuleWrite::UnregisterRule { rule_id } => {
            let shape = Shape::of("ruleId", rule_id.clone().into_owned(), "unregistered");
            (Input::Unregister { id: rule_id.into() }, done, shape)
        }
        RuleWrite::UpdateRule { rule_id, updates } => {
            (Input::Update { id: rule_id.into(), updates }, updated, Shape::Outcome)
        }
        RuleWrite::SetEnabled { rule_id, enabled } => {
            (Input::SetEnabled { id: rule_id.into(), enabled }, switched, Shape::Outcome)
        }
        RuleWrite::Rollback { rule_id, version } => {
            (Input::Rollback { id: rule_id.into(), version }, updated, Shape::Outcome)
        }
        RuleWrite::CreateGroup { group } => {
            (Input::CreateGroup { group: Value::Object(group) }, whole, Shape::Outcome)
        }
        RuleWrite::UpdateGroup { group_id, updates } => {
            (Input::UpdateGroup { id: group_id.into(), updates }, whole, Shape::Outcome)
        }
        RuleWrite::DeleteGroup { group_id } => {
            let shape = Shape::of("groupId", group_id.clone().into_owned(), "deleted");
            (Input::DeleteGroup { id: group_id.into() }, done, shape)
        }
        RuleWrite::SetTimer { timer } => {
            (Input::SetTimer { timer: Value::Object(timer) }, whole, Shape::Outcome)
        }
        RuleWrite::CancelTimer { name } => {
            (Input::CancelTimer { name: name.into() }, cancelled, Shape::Outcome)
        }
        RuleWrite::Requeue { call_id } => {
            let shape = Shape::of("callId", call_id.clone().into_owned(), "requeued");
            (Input::Requeue { id: call_id.into() }, done, shape)
        }
        RuleWrite::Discard { call_id } => {
            let shape = Shape::of("callId", call_id.clone().into_owned(), "discarded");
            (Input::Discard { id: call_id.into() }, done, shape)
        }
    };
    let fingerprint = || fingerprint(&input);
    let once = once.map(|(scope, key)| Idempotency { scope, key: key.into(), fingerprint: fingerprint() });
    Ok((Work::Rules(Box::new(RuleWork { input, once, tell })), shape))
}

/// What the engine takes as it comes: names and sizes.
fn check(write: &RuleWrite<'_>) -> Result<(), Error> {
    match write {
        RuleWrite::Emit { topic, data, .. } => {
            name("topic", topic, '.')?;
            if topic.starts_with("bucket.") {
                let message = "Invalid \"topic\": topics that begin with \"bucket.\" tell of changed records, and only changed \
                               records have them; choose another one";
                return Err(validation(message.to_owned()));
            }
            size("data", data)
        }
        RuleWrite::SetFact { key, value } => {
            name("key", key, ':')?;
            size("value", value)
        }
        _ => Ok(()),
    }
}

fn name(field: &str, name: &str, separator: char) -> Result<(), Error> {
    let too_long = name.len() > MAX_NAME_BYTES || name.split(separator).count() > MAX_SEGMENTS;
    if too_long {
        return Err(validation(format!(
            "Invalid \"{field}\": at most {MAX_NAME_BYTES} bytes and {MAX_SEGMENTS} segments are possible"
        )));
    }
    Ok(())
}

/// Bytes as JSON text, counted without writing it.
fn size(field: &str, value: &impl Serialize) -> Result<(), Error> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            if self.0 > MAX_VALUE_BYTES {
                Err(std::io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(bytes.len())
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Count(0), value).map_err(|_| {
        validation(format!("Invalid \"{field}\": at most {MAX_VALUE_BYTES} bytes of JSON are possible"))
    })
}

/// What an input asks for, as a number: a repeat asks for the same.
pub(crate) fn fingerprint(input: &Input) -> u64 {
    let fields = match input {
        Input::Emit { topic, data, correlation_id, causation_id } => {
            let of = Fingerprint::of(Kind::RulesEmit.as_str()).text("topic", topic).object("data", data);
            let of = correlation_id.iter().fold(of, |of, id| of.text("correlationId", id));
            causation_id.iter().fold(of, |of, id| of.text("causationId", id))
        }
        Input::SetFact { key, value } => {
            Fingerprint::of(Kind::RulesSetFact.as_str()).text("key", key).value("value", value)
        }
        Input::DeleteFact { key } => Fingerprint::of(Kind::RulesDeleteFact.as_str()).text("key", key),
        // No other has a key.
        _ => Fingerprint::of("rules"),
    };
    fields.get()
}

/// Whatever was made.
pub(crate) fn whole(answer: &Answer) -> String {
    match answer {
        Answer::Event(event) => frame::json(&**event),
        Answer::Fact(fact) => frame::json(&**fact),
        Answer::Rule(rule) => frame::json(&**rule),
        Answer::Json(value) => frame::json(value),
        Answer::Done(done) => frame::json(done),
        _ => "null".to_owned(),
    }
}

fn registered(answer: &Answer) -> String {
    some(answer, &["id", "name", "version", "createdAt", "updatedAt"])
}

fn updated(answer: &Answer) -> String {
    some(answer, &["id", "version", "updatedAt"])
}

/// Some members of a rule, in this order.
fn some(answer: &Answer, members: &[&str]) -> String {
    let Answer::Rule(rule) = answer else { return whole(answer) };
    let members = members.iter().filter_map(|name| Some(((*name).to_owned(), rule.get(*name)?.clone())));
    frame::json(&members.collect::<dunlin_rules::Object>())
}

fn switched(answer: &Answer) -> String {
    let Answer::Rule(rule) = answer else { return whole(answer) };
    frame::json(&json!({"ruleId": rule.get("id"), "enabled": rule.get("enabled")}))
}

fn deleted(answer: &Answer) -> String {
    frame::json(&json!({"deleted": matches!(answer, Answer::Done(true))}))
}

fn cancelled(answer: &Answer) -> String {
    frame::json(&json!({"cancelled": matches!(answer, Answer::Done(true))}))
}

/// Told by the shape of the answer.
fn done(_: &Answer) -> String {
    "null".to_owned()
}
