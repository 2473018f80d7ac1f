//! Buckets that belong to the server: everybody reads them like any other, and only the server itself writes them. A fixed list.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Bucket, Definition, Issue, Object, StoreError};

/// The facts of the rule engine, by key. There is no such bucket before the first fact.
pub const FACTS: &str = "_facts";

/// Whether a bucket of this name belongs to the server, be there one or not.
///
/// ```
/// assert!(dunlin_store::is_system("_facts") && !dunlin_store::is_system("_mine"));
/// ```
pub fn is_system(bucket: &str) -> bool {
    bucket == FACTS
}

/// What the server notes: entries of its own, records of its buckets, and the answer to whoever has set that off. Carried out by
/// [`Intent::System`](crate::Intent::System), all of it or nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SystemWrite {
    /// Entries by key, each key once; `None` removes it. See [`Snapshot::entry`](crate::Snapshot::entry).
    pub entries: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Records of system buckets, each once.
    pub records: Vec<SystemRecord>,
    /// The `data` of the answer, JSON text.
    pub answer: Option<Arc<str>>,
}

/// One record of a system bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemRecord {
    /// Name of the bucket.
    pub bucket: &'static str,
    /// The record's key.
    pub key: Value,
    /// The record; `None` removes it.
    pub data: Option<Object>,
}

/// How a system bucket is defined.
pub(crate) fn config(name: &str) -> Object {
    let (schema, indexes) = match name {
        FACTS => (
            json!({
                "key": {"type": "string"},
                "value": {"type": "any"},
                "source": {"type": "string"},
                "timestamp": {"type": "number"},
                "version": {"type": "number"},
                "order": {"type": "number"},
            }),
            // Facts are looked for by what their keys begin with.
            json!(["key"]),
        ),
        _ => (Value::Null, Value::Null),
    };
    let members = [("key", "key".into()), ("schema", schema), ("indexes", indexes)];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Refuses what only the server may do.
pub(crate) fn refuse(bucket: &str) -> Result<(), StoreError> {
    if is_system(bucket) { Err(StoreError::SystemBucket { bucket: bucket.into() }) } else { Ok(()) }
}

/// Refuses a definition whose fields refer to records of system buckets: these come and go as the server wants.
pub(crate) fn refuse_references(bucket: &str, definition: &Definition) -> Result<(), StoreError> {
    let refers = |field: &&crate::Field| field.reference().is_some_and(|to| is_system(&to.bucket));
    let issues: Vec<Issue> = definition
        .fields()
        .iter()
        .filter(refers)
        .map(|field| {
            let message = "Records of this bucket belong to the server and cannot be referred to; keep the key without \"ref\"";
            Issue::new(format!("schema.{}.ref", field.name()), "reserved", message)
        })
        .collect();
    if issues.is_empty() {
        Ok(())
    } else {
        Err(StoreError::InvalidDefinition { bucket: bucket.into(), issues })
    }
}

impl Bucket {
    /// Whether it belongs to the server; see [`is_system`].
    pub fn is_system(&self) -> bool {
        is_system(self.name())
    }
}
