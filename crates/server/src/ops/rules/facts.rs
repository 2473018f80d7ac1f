//! Facts, which are the records of a bucket of the server's own.

use dunlin_protocol::{Error, KeyPattern, frame};
use dunlin_store::{FACTS, Filter, Guard, Key, Record, Seen, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{apart, validation};
use crate::limits;

/// A fact as the wire shows it, out of its record.
#[derive(Deserialize, Serialize)]
struct Fact<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
}

/// The value of a fact, or `null`.
pub(super) fn get(snapshot: &Snapshot, guard: &Guard, key: &str) -> Result<String, Error> {
    let Some(facts) = seen(snapshot, guard) else { return Ok("null".to_owned()) };
    let found = facts.find(Key::Str(key))?;
    let value = found.and_then(|record| {
        let json = facts.json(record);
        let fact: Option<Fact<'_>> = serde_json::from_str(&json).ok();
        fact.and_then(|fact| fact.value.map(|value| value.get().to_owned()))
    });
    Ok(value.unwrap_or_else(|| "null".to_owned()))
}

/// The facts whose keys match, in the order in which they came to be.
pub(super) async fn query(snapshot: Snapshot, guard: Guard, pattern: &str) -> Result<String, Error> {
    let pattern =
        KeyPattern::parse(pattern).map_err(|fault| validation(format!("Invalid \"pattern\": {fault}")))?;
    let head = pattern.as_str().split('*').next().unwrap_or_default().to_owned();
    if head.len() == pattern.as_str().len() {
        let Some(facts) = seen(&snapshot, &guard) else { return Ok("[]".to_owned()) };
        return Ok(list(&facts, facts.find(Key::Str(&head))?));
    }
    scan(snapshot, guard, move |facts| {
        // An index finds those that begin so; the pattern decides.
        let filter = json!({"key": {"$startsWith": head}});
        let filter = Filter::parse(filter.as_object().unwrap_or(&serde_json::Map::new()))?;
        let records = facts.matching(&filter)?;
        let matching = records.into_iter().filter(|record| {
            let fact: Option<Fact<'_>> = serde_json::from_str(record.json()).ok();
            let key = fact.and_then(|fact| serde_json::from_str::<String>(fact.key?.get()).ok());
            key.is_some_and(|key| pattern.matches(&key))
        });
        Ok(list(facts, matching))
    })
    .await
}

/// All facts, in the order in which they came to be.
pub(super) async fn all(snapshot: Snapshot, guard: Guard) -> Result<String, Error> {
    scan(snapshot, guard, |facts| Ok(list(facts, facts.all()))).await
}

/// Looks at many facts: on the spot where there are few at all.
async fn scan(
    snapshot: Snapshot,
    guard: Guard,
    look: impl FnOnce(&Seen<'_>) -> Result<String, Error> + Send + 'static,
) -> Result<String, Error> {
    let few = match seen(&snapshot, &guard) {
        None => return Ok("[]".to_owned()),
        Some(_) => snapshot.bucket(FACTS).is_ok_and(|facts| facts.len() <= limits::INLINE_ROWS),
    };
    let look = move || match seen(&snapshot, &guard) {
        None => Ok("[]".to_owned()),
        Some(facts) => look(&facts),
    };
    if few { look() } else { apart(look).await }
}

/// The bucket of facts as somebody under a guard sees it; none before the first fact.
fn seen<'a>(snapshot: &'a Snapshot, guard: &'a Guard) -> Option<Seen<'a>> {
    snapshot.bucket(FACTS).ok().map(|facts| facts.through(guard.rule(FACTS)))
}

fn list<'r>(facts: &Seen<'_>, records: impl IntoIterator<Item = &'r Record>) -> String {
    let mut list = "[".to_owned();
    for record in records {
        let json = facts.json(record);
        let Ok(fact) = serde_json::from_str::<Fact<'_>>(&json) else { continue };
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&frame::json(&fact));
    }
    list.push(']');
    list
}
