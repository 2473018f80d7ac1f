//! Reads rules until they are read by their own module.

use std::sync::Arc;

use dunlin_protocol::{KeyPattern, TopicPattern};
use serde_json::Value;

use crate::action::{Action, Delivery, Schedule, StoreWrite, TimerTemplate};
use crate::condition::{Condition, ConditionSource, Operand, Operator, Path, Template, Test};
use crate::effect::LogLevel;
use crate::fault::{Issue, Severity};
use crate::rule::{FactChanges, Lookup, Rule, RunAs, Trigger};
use crate::{Limits, Object};

type Bad = String;

fn text(v: &Value, f: &str) -> Result<String, Bad> {
    v.get(f)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("Required field \"{f}\" is missing"))
}
fn tpl(v: &Value, f: &str) -> Result<Template, Bad> {
    Template::parse(&text(v, f)?)
}
fn op(v: &Value, f: &str) -> Result<Operand, Bad> {
    Operand::parse(v.get(f).unwrap_or(&Value::Null))
}
fn list<T>(v: &Value, f: &str, each: fn(&Value) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    v.get(f).and_then(Value::as_array).map_or(Ok(Vec::new()), |items| items.iter().map(each).collect())
}
fn members(v: &Value, f: &str) -> Result<Vec<(Arc<str>, Operand)>, Bad> {
    let m = v.get(f).and_then(Value::as_object).cloned().unwrap_or_default();
    m.iter().map(|(n, v)| Ok((n.as_str().into(), Operand::parse(v)?))).collect()
}

fn condition(v: &Value) -> Result<Condition, Bad> {
    if v.get("any").is_some() {
        return Ok(Condition::Any(list(v, "any", condition)?));
    }
    if v.get("all").is_some() {
        return Ok(Condition::All(list(v, "all", condition)?));
    }
    if let Some(not) = v.get("not") {
        return Ok(Condition::Not(Box::new(condition(not)?)));
    }
    let s = v.get("source").ok_or("source")?;
    let source = match text(s, "type")?.as_str() {
        "event" => ConditionSource::Event(Path::new(&text(s, "field")?)),
        "fact" => ConditionSource::Fact(tpl(s, "pattern")?),
        "context" => ConditionSource::Context(Path::new(&text(s, "key")?)),
        _ => ConditionSource::Lookup {
            name: text(s, "name")?.into(),
            field: text(s, "field").ok().map(|f| Path::new(&f)),
        },
    };
    let o = text(v, "operator")?;
    let operator = Operator::ALL.into_iter().find(|k| k.as_str() == o).ok_or("operator")?;
    Ok(Condition::Test(Test { source, operator, value: op(v, "value")?, pattern: None }))
}

fn delivery(v: &Value) -> Delivery {
    Delivery { attempts: v.get("attempts").and_then(Value::as_u64).map(|n| n as u32), timeout_ms: 10_000 }
}

fn action(v: &Value) -> Result<Action, Bad> {
    let silent = v.get("silent").and_then(Value::as_bool).unwrap_or(false);
    Ok(match text(v, "type")?.as_str() {
        "set_fact" => Action::SetFact { key: tpl(v, "key")?, value: op(v, "value")?, silent },
        "delete_fact" => Action::DeleteFact { key: tpl(v, "key")?, silent },
        "emit_event" => Action::EmitEvent { topic: tpl(v, "topic")?, data: op(v, "data")? },
        "set_timer" => Action::SetTimer(timer(v.get("timer").ok_or("timer")?)?),
        "cancel_timer" => Action::CancelTimer { name: tpl(v, "name")? },
        "call_service" => Action::CallService {
            service: text(v, "service")?.into(),
            method: text(v, "method")?.into(),
            args: list(v, "args", Operand::parse)?,
            delivery: delivery(v),
        },
        "webhook" => Action::Webhook {
            url: tpl(v, "url")?,
            headers: members(v, "headers")?,
            body: op(v, "body")?,
            delivery: delivery(v),
        },
        "log" => Action::Log { level: LogLevel::Info, message: tpl(v, "message")? },
        "store_insert" => Action::Store {
            operations: vec![StoreWrite::Insert { bucket: tpl(v, "bucket")?, data: op(v, "data")? }],
            as_name: text(v, "as").ok().map(Into::into),
        },
        "conditional" => Action::Conditional {
            conditions: list(v, "conditions", condition)?,
            then: list(v, "then", action)?,
            otherwise: list(v, "else", action)?,
        },
        "for_each" => Action::ForEach {
            collection: op(v, "collection")?,
            name: text(v, "as")?.into(),
            actions: list(v, "actions", action)?,
            max_iterations: v.get("maxIterations").and_then(Value::as_u64).unwrap_or(1000) as usize,
        },
        "try_catch" => {
            let catch = v.get("catch").cloned().unwrap_or_default();
            Action::TryCatch {
                attempt: list(v, "try", action)?,
                catch_as: text(&catch, "as").ok().map(Into::into),
                catch: list(&catch, "actions", action)?,
                finally: list(v, "finally", action)?,
            }
        }
        other => return Err(format!("Invalid action type: {other}")),
    })
}

fn timer(v: &Value) -> Result<TimerTemplate, Bad> {
    let on = v.get("onExpire").cloned().unwrap_or_default();
    let duration =
        crate::duration::parse(v.get("duration").unwrap_or(&Value::Null)).map_err(|_| "duration")?;
    Ok(TimerTemplate {
        name: tpl(v, "name")?,
        schedule: Schedule::After { duration, interval: None, max_count: None },
        topic: tpl(&on, "topic")?,
        data: op(&on, "data")?,
    })
}

fn lookup(v: &Value) -> Result<Lookup, Bad> {
    Ok(Lookup {
        name: text(v, "name")?.into(),
        service: text(v, "service")?.into(),
        method: text(v, "method")?.into(),
        args: list(v, "args", Operand::parse)?,
        cache_ms: 0,
        fails: text(v, "onError").is_ok_and(|s| s == "fail"),
    })
}

fn trigger(v: &Value) -> Result<Trigger, Bad> {
    Ok(match text(v, "type")?.as_str() {
        "event" => Trigger::Event { topic: TopicPattern::new(&text(v, "topic")?) },
        "fact" => {
            let on = v.get("on").cloned().unwrap_or("set".into()).to_string();
            Trigger::Fact {
                pattern: KeyPattern::new(&text(v, "pattern")?),
                on: FactChanges {
                    set: on.contains("set"),
                    changed: on.contains("changed"),
                    deleted: on.contains("deleted"),
                },
            }
        }
        _ => Trigger::Timer { name: KeyPattern::new(&text(v, "name")?) },
    })
}

fn read(v: &Value) -> Result<Rule, Bad> {
    let mut json = v.as_object().cloned().ok_or("Rule must be an object")?;
    for (f, d) in [
        ("priority", 0.into()),
        ("enabled", true.into()),
        ("tags", Value::Array(vec![])),
        ("conditions", Value::Array(vec![])),
        ("actions", Value::Array(vec![])),
    ] {
        json.entry(f).or_insert(d);
    }
    let v = &Value::Object(json.clone());
    Ok(Rule {
        id: text(v, "id")?.into(),
        name: text(v, "name")?.into(),
        priority: v["priority"].as_f64().unwrap_or(0.0),
        enabled: v["enabled"].as_bool().unwrap_or(true),
        tags: Vec::new(),
        group: text(v, "group").ok().map(Into::into),
        trigger: trigger(v.get("trigger").ok_or("Required field \"trigger\" is missing")?)?,
        conditions: list(v, "conditions", condition)?.into(),
        actions: list(v, "actions", action)?.into(),
        lookups: list(v, "lookups", lookup)?.into(),
        run_as: RunAs::default(),
        json: Arc::new(json),
        version: 0,
        created_at: 0,
        updated_at: 0,
    })
}

fn issue(message: String) -> Vec<Issue> {
    vec![Issue { path: "(root)".into(), message, severity: Severity::Error, code: "invalid" }]
}

impl Rule {
    pub(crate) fn parse(json: &Value, _limits: &Limits) -> Result<(Self, Vec<Issue>), Vec<Issue>> {
        read(json).map(|rule| (rule, Vec::new())).map_err(issue)
    }
    pub(crate) fn stamped(mut self, version: u64, created_at: u64, updated_at: u64) -> Self {
        let mut json: Object = self.json.as_ref().clone();
        json.insert("version".into(), version.into());
        json.insert("createdAt".into(), created_at.into());
        json.insert("updatedAt".into(), updated_at.into());
        Self { json: Arc::new(json), version, created_at, updated_at, ..self }
    }
}

impl TimerTemplate {
    pub(crate) fn parse(json: &Value) -> Result<Self, Vec<Issue>> {
        timer(json).map_err(issue)
    }
}

pub(crate) fn check(json: &Value) -> (Vec<Issue>, Vec<Issue>) {
    (read(json).err().map(issue).unwrap_or_default(), Vec::new())
}
