//! Rules, their groups and histories, timers and dead letters: what the engine keeps as entries of the store.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, KeyPattern, frame};
use dunlin_rules::change::prefix;
use dunlin_rules::{Object, versions};
use dunlin_store::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{apart, validation};

pub(super) use dunlin_rules::versions::key as version_key;

/// The entry of a rule: what it is, and its place among all.
#[derive(Deserialize)]
pub(super) struct Entry<R> {
    order: u64,
    pub(super) rule: R,
}

/// The entry of a rule's history, as far as anybody looks into it.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) rule: Object,
}

/// A rule as the list of all shows it.
#[derive(Deserialize, Serialize)]
struct Summary<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    name: &'a RawValue,
    enabled: bool,
    #[serde(borrow)]
    priority: &'a RawValue,
    version: u64,
    #[serde(borrow)]
    tags: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    group: Option<&'a RawValue>,
}

/// `rules.getRule`.
pub(super) fn rule(snapshot: &Snapshot, id: &str) -> Result<String, Error> {
    let text = snapshot.entry(&format!("{}{id}", prefix::RULE)).ok_or_else(|| not_found("Rule", id))?;
    let entry: Entry<&RawValue> = read(text)?;
    Ok(entry.rule.get().to_owned())
}

/// `rules.getRules`, in the order of registration.
pub(super) async fn rules(snapshot: Snapshot) -> Result<String, Error> {
    apart(move || {
        let entries = snapshot.entries(prefix::RULE).map(|(_, text)| read::<Entry<Summary<'_>>>(text));
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by_key(|entry| entry.order);
        let rules: Vec<_> = entries.into_iter().map(|entry| entry.rule).collect();
        Ok(format!("{{\"rules\":{}}}", frame::json(&rules)))
    })
    .await
}

/// `rules.history`: the newest entry first. A rule that is not there any more has one, too.
pub(super) fn history(snapshot: &Snapshot, id: &str, limit: usize, offset: u64) -> Result<String, Error> {
    let all = versions(snapshot, id);
    if all.is_empty() && snapshot.entry(&format!("{}{id}", prefix::RULE)).is_none() {
        return Err(not_found("Rule", id));
    }
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let shown: Vec<&str> = all.iter().rev().skip(offset).take(limit).map(|text| &***text).collect();
    let more = offset.saturating_add(shown.len()) < all.len();
    let (total, entries) = (all.len(), shown.join(","));
    Ok(format!("{{\"entries\":[{entries}],\"totalVersions\":{total},\"hasMore\":{more}}}"))
}

/// The entries of the history of a rule, ascending.
fn versions<'s>(snapshot: &'s Snapshot, id: &str) -> Vec<&'s Arc<str>> {
    let first = version_key(id, 0);
    let head = first.trim_end_matches('0').to_owned();
    let of_rule = snapshot.entries_from(&head).take_while(|(key, _)| key.starts_with(&head));
    // The id of another rule may begin with this one and a slash.
    of_rule.filter(|(key, _)| !key[head.len()..].contains('/')).map(|(_, text)| text).collect()
}

/// `rules.diff`.
pub(super) fn diff(snapshot: &Snapshot, id: &str, from: u64, to: u64) -> Result<String, Error> {
    let version = |number: u64| {
        let text = snapshot.entry(&version_key(id, number));
        let text = text.ok_or_else(|| not_found("Version", &format!("{number} of rule {id}")))?;
        read::<Version>(text)
    };
    let (old, new) = (version(from)?, version(to)?);
    let changes = versions::diff(&old.rule, &new.rule);
    Ok(frame::json(&json!({"ruleId": id, "fromVersion": from, "toVersion": to, "changes": changes})))
}

/// `rules.groups`, in the order in which they were made, each with how many rules it has.
pub(super) async fn groups(snapshot: Snapshot) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Member {
        #[serde(default)]
        group: Option<String>,
    }
    #[derive(Deserialize)]
    struct Placed {
        order: u64,
        group: Object,
    }
    apart(move || {
        let mut members: HashMap<String, u64> = HashMap::new();
        for (_, text) in snapshot.entries(prefix::RULE) {
            if let Some(group) = read::<Entry<Member>>(text)?.rule.group {
                *members.entry(group).or_default() += 1;
            }
        }
        let groups = snapshot.entries(prefix::GROUP).map(|(_, text)| read::<Placed>(text));
        let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
        groups.sort_unstable_by_key(|placed| placed.order);
        let with_count = |mut placed: Placed| {
            let id = placed.group.get("id").and_then(Value::as_str);
            let count = id.and_then(|id| members.get(id)).copied().unwrap_or_default();
            placed.group.insert("rules".to_owned(), count.into());
            placed.group
        };
        let groups: Vec<Object> = groups.into_iter().map(with_count).collect();
        Ok(frame::json(&json!({"groups": groups})))
    })
    .await
}

/// `rules.timers`, by name.
pub(super) async fn timers(snapshot: Snapshot, pattern: Option<&str>) -> Result<String, Error> {
    let pattern = pattern.map(KeyPattern::parse).transpose();
    let pattern = pattern.map_err(|fault| validation(format!("Invalid \"pattern\": {fault}")))?;
    apart(move || {
        let wanted = |key: &str| {
            let name = key.strip_prefix(prefix::TIMER).unwrap_or_default();
            pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
        };
        let timers = snapshot.entries(prefix::TIMER).filter(|(key, _)| wanted(key));
        let timers: Vec<&str> = timers.map(|(_, text)| &**text).collect();
        Ok(format!("{{\"timers\":[{}]}}", timers.join(",")))
    })
    .await
}

/// `rules.deadLetters`, the newest first.
pub(super) async fn dead_letters(snapshot: Snapshot, limit: usize) -> Result<String, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Letter {
        call: Object,
        error: String,
        failed_at: u64,
    }
    apart(move || {
        let letters = snapshot.entries(prefix::DEAD).map(|(_, text)| read::<Letter>(text));
        let mut letters = letters.collect::<Result<Vec<_>, _>>()?;
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.failed_at));
        let flat = |Letter { mut call, error, failed_at }: Letter| {
            call.insert("error".to_owned(), error.into());
            call.insert("failedAt".to_owned(), failed_at.into());
            call
        };
        let letters: Vec<Object> = letters.into_iter().take(limit).map(flat).collect();
        Ok(frame::json(&json!({"deadLetters": letters})))
    })
    .await
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(Code::InternalError, format!("What is kept of a rule cannot be read: {error}"))
    })
}

fn not_found(what: &str, name: &str) -> Error {
    Error::new(Code::NotFound, format!("{what} \"{name}\" not found"))
}
