//! What one session sees, worked out the simple way: a whole state in which the other records and the hidden members never
//! were. Whatever is asked of it needs no rule any more.

use std::collections::BTreeMap;

use dunlin_store::{Filter, Guard, Record, Restore, RowRule, RuleTemplate, Snapshot};
use serde_json::{Map, Value, json};

use super::object;

/// Row rules of one session, as a policy has them and by themselves.
#[derive(Debug, Clone)]
pub struct Session {
    pub guard: Guard,
    /// The rules by bucket.
    rules: BTreeMap<String, Vec<Plain>>,
}

/// A rule with the values of the session in the places where they stand; `None` if one is missing.
#[derive(Debug, Clone)]
struct Plain {
    read: Option<Value>,
    write: Option<Value>,
    hide: Vec<String>,
}

impl Session {
    /// `None` if one of the rules is none.
    pub fn new(rules: &[Value], session: &Value) -> Option<Self> {
        let (mut bound, mut plain): (BTreeMap<String, Vec<RowRule>>, BTreeMap<String, Vec<Plain>>) =
            Default::default();
        for rule in rules {
            let template = RuleTemplate::parse(&object(rule.clone())).ok()?;
            let name = template.bucket().to_string();
            bound.entry(name.clone()).or_default().push(template.bind(session));
            let (read, write) = (filled(rule.get("read"), session), filled(rule.get("write"), session));
            let complete = read.is_some() && write.is_some();
            let hide = rule["hide"].as_array().into_iter().flatten();
            plain.entry(name).or_default().push(Plain {
                read: read.filter(|_| complete),
                write: write.filter(|_| complete),
                hide: hide.map(|name| name.as_str().unwrap().to_owned()).collect(),
            });
        }
        let guard = Guard::new(bound.iter().map(|(name, rules)| (name.as_str(), RowRule::any(rules))));
        Some(Self { guard, rules: plain })
    }

    /// Whether a record can be seen.
    pub fn sees(&self, state: &Snapshot, bucket: &str, record: &Record) -> bool {
        let Some(rules) = self.rules.get(bucket) else { return true };
        rules.iter().any(|rule| holds(state, bucket, rule.read.as_ref(), record))
    }

    /// Whether a record can be seen and may be written.
    pub fn writes(&self, state: &Snapshot, bucket: &str, record: &Record) -> bool {
        let Some(rules) = self.rules.get(bucket) else { return true };
        rules.iter().any(|rule| {
            holds(state, bucket, rule.read.as_ref(), record)
                && holds(state, bucket, rule.write.as_ref(), record)
        })
    }

    /// The names of what is hidden.
    pub fn hidden(&self, bucket: &str) -> Vec<&str> {
        let rules = self.rules.get(bucket).into_iter().flatten();
        rules.flat_map(|rule| rule.hide.iter().map(String::as_str)).collect()
    }

    /// A record's members without what is hidden.
    pub fn strip(&self, bucket: &str, members: &mut Map<String, Value>) {
        for name in self.hidden(bucket) {
            members.retain(|member, _| member != name && !member.starts_with(&format!("{name}.")));
            if let Some((first, rest)) = name.split_once('.')
                && let Some(inner) = members.get_mut(first)
            {
                take(inner, rest);
            }
        }
    }

    /// The state as the session sees it.
    pub fn view_of(&self, state: &Snapshot) -> Snapshot {
        let mut restore = Restore::new(state.epoch());
        for bucket in state.buckets() {
            restore.define_bucket(bucket.id(), bucket.name(), bucket.config()).unwrap();
            restore.counters(bucket.id(), bucket.counters()).unwrap();
            for (row, record) in bucket.rows().filter(|(_, record)| self.sees(state, bucket.name(), record)) {
                let mut members = object(record.to_value());
                self.strip(bucket.name(), &mut members);
                restore.put(bucket.id(), row, &Value::Object(members).to_string()).unwrap();
            }
        }
        restore.next_bucket(state.next_bucket());
        restore.finish(state.position()).unwrap()
    }
}

fn take(value: &mut Value, path: &str) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| take(element, path)),
        Value::Object(members) => {
            let (first, rest) =
                path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
            match (members.get_mut(first), rest) {
                (Some(inner), Some(rest)) => take(inner, rest),
                _ => drop(members.shift_remove(path)),
            }
        }
        _ => {}
    }
}

fn holds(state: &Snapshot, bucket: &str, condition: Option<&Value>, record: &Record) -> bool {
    match condition {
        None => false,
        Some(Value::Bool(all)) => *all,
        Some(filter) => {
            let filter = Filter::parse(filter.as_object().unwrap()).unwrap();
            filter.matcher(state.bucket(bucket).unwrap().definition()).matches(record)
        }
    }
}

/// A condition with the session's values in it; `None` if one is missing, or would be no plain value.
fn filled(condition: Option<&Value>, session: &Value) -> Option<Value> {
    match condition {
        None => Some(json!(true)),
        Some(Value::String(text)) if text.starts_with("{{") => {
            let name = text.trim_matches(['{', '}', ' ']).replace('.', "/");
            let value = session.pointer(&name.replacen("session", "", 1))?;
            let list = value.as_array().is_some_and(|list| list.iter().all(|value| !value.is_null()));
            (list || !value.is_object() && !value.is_array() && !value.is_null()).then(|| value.clone())
        }
        Some(Value::Array(elements)) => {
            elements.iter().map(|element| filled(Some(element), session)).collect::<Option<_>>()
        }
        Some(Value::Object(members)) => {
            let filled =
                members.iter().map(|(name, value)| Some((name.clone(), filled(Some(value), session)?)));
            filled.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        Some(other) => Some(other.clone()),
    }
}
