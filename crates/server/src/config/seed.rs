//! `seed`: definitions that are made before the server listens, as the requests a client would send.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fault::FaultKind;
use super::kind::{Found, mismatch};
use super::limits::MAX_SEED_REQUESTS;
use super::nearest::nearest;

/// One request of `seed`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum SeedRequest {
    /// Define a bucket.
    #[serde(rename = "store.defineBucket")]
    DefineBucket {
        /// Its name.
        name: String,
        /// Its definition, as a client would send it.
        config: Value,
    },
    /// Define a query.
    #[serde(rename = "store.defineQuery")]
    DefineQuery {
        /// Its name.
        name: String,
        /// Its definition, as a client would send it.
        config: Value,
    },
}

const DEFINE_BUCKET: &str = "store.defineBucket";
const DEFINE_QUERY: &str = "store.defineQuery";
const EXPECTED_TYPE: &str = "\"store.defineBucket\" or \"store.defineQuery\"";
const EXPECTED_ITEM: &str =
    "a request {\"type\": …, \"name\": …, \"config\": {…}}, alone or as {\"request\": …}";

/// All that is wrong with the value of `seed`.
pub(super) fn check(value: &Value) -> Found {
    let Some(list) = value.as_array() else { return vec![mismatch("", "a list of requests", value)] };
    if list.len() > MAX_SEED_REQUESTS {
        let expected = format!("at most {MAX_SEED_REQUESTS} requests");
        return vec![(
            String::new(),
            FaultKind::Value { expected, found: format!("{} of them", list.len()) },
        )];
    }
    let mut found = Found::new();
    for (i, item) in list.iter().enumerate() {
        match item.get("request") {
            Some(request) => {
                // `expect` is what the request was answered when it was recorded; it asks for nothing.
                refuse_others(item, &format!("[{i}]"), &["request", "expect"], &mut found);
                check_request(request, &format!("[{i}].request"), &mut found);
            }
            None => check_request(item, &format!("[{i}]"), &mut found),
        }
    }
    found
}

fn check_request(request: &Value, at: &str, found: &mut Found) {
    if !request.is_object() {
        found.push(mismatch(at, EXPECTED_ITEM, request));
        return;
    }
    let mut field = |name: &str, expected: &str, fits: fn(&Value) -> bool| {
        let value = &request[name];
        if !fits(value) {
            let (path, mut kind) = mismatch(format!("{at}.{name}"), expected, value);
            if let (FaultKind::Value { found, .. }, None) = (&mut kind, request.get(name)) {
                "nothing".clone_into(found);
            }
            found.push((path, kind));
        }
    };
    field("type", EXPECTED_TYPE, |v| v == DEFINE_BUCKET || v == DEFINE_QUERY);
    field("name", "the name to define, as text", |v| v.as_str().is_some_and(|name| !name.is_empty()));
    field("config", "the definition, an object", Value::is_object);
    refuse_others(request, at, &["type", "name", "config"], found);
}

fn refuse_others(object: &Value, at: &str, known: &[&str], found: &mut Found) {
    for name in object.as_object().into_iter().flat_map(Map::keys) {
        if !known.contains(&name.as_str()) {
            let nearest = nearest(name, known.iter().copied()).map(|near| format!("seed{at}.{near}"));
            let known = known.iter().map(ToString::to_string).collect();
            found.push((format!("{at}.{name}"), FaultKind::Unknown { what: "key", nearest, known }));
        }
    }
}

/// The requests of a value without faults.
pub(super) fn read(value: &Value) -> Option<Vec<SeedRequest>> {
    value.as_array()?.iter().map(|item| read_request(item.get("request").unwrap_or(item))).collect()
}

fn read_request(request: &Value) -> Option<SeedRequest> {
    let name = request.get("name")?.as_str()?.to_owned();
    let config = request.get("config")?.clone();
    match request.get("type")?.as_str()? {
        DEFINE_BUCKET => Some(SeedRequest::DefineBucket { name, config }),
        DEFINE_QUERY => Some(SeedRequest::DefineQuery { name, config }),
        _ => None,
    }
}
