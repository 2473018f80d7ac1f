//! What the engine asks of whoever runs it: time, chance, the store, answers of other services.

use std::collections::BTreeSet;
use std::sync::Arc;

use dunlin_protocol::TopicPattern;
use serde_json::Value;

use crate::effect::LookupCall;
use crate::fault::ActionFault;
use crate::{Object, RunAs};

/// The world around one run. What it answers is part of the run's input: the same answers give the same run.
pub trait World {
    /// Unix milliseconds, the same throughout a run and never earlier than in the run before.
    fn now(&self) -> u64;

    /// 128 bits that nobody got before: ids and the jitter of retries.
    fn random(&mut self) -> u128;

    /// Carries a write out, at once and whole, on the state that the run belongs to. It becomes durable with the run.
    ///
    /// # Errors
    /// What the store or the rule's rights refuse; nothing was changed then and the action has failed.
    fn write(&mut self, request: &StoreRequest) -> Result<Written, ActionFault>;

    /// What is known already of an external lookup; `None` if it has to be asked.
    fn known(&mut self, _call: &LookupCall) -> Option<Result<Arc<Value>, String>> {
        None
    }
}

/// A write by a rule's action.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreRequest {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// Whose rights count.
    pub run_as: RunAs,
    /// All of them or none.
    pub operations: Vec<StoreOperation>,
    /// Which changes the engine wants to hear of.
    pub watched: Arc<Watched>,
}

/// One write of records.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "fields carry the names of the protocol's fields")]
pub enum StoreOperation {
    /// Add a record.
    Insert { bucket: String, data: Object },
    /// Change members of one.
    Update { bucket: String, key: Value, data: Object },
    /// Update it, or add it.
    Upsert { bucket: String, data: Object },
    /// Remove one.
    Delete { bucket: String, key: Value },
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// One for each operation: the record, or `{"deleted": bool}`.
    pub results: Vec<Value>,
    /// The changes of [watched](Watched) buckets, in order; they trigger rules.
    pub changes: Vec<StoreChange>,
}

/// One record was changed. Rules see it as an event of the topic `bucket.<name>.inserted|updated|deleted` with the data
/// `{bucket, key, before?, after?}`. Such events reach rules whose topic begins with `bucket.`, and nobody else.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreChange {
    /// Name of the bucket.
    pub bucket: Arc<str>,
    /// The record's primary key.
    pub key: Value,
    /// What happened.
    pub kind: ChangeKind,
    /// The record as it was; not if it is new.
    pub before: Option<Arc<Value>>,
    /// The record as it is; not if it is gone.
    pub after: Option<Arc<Value>>,
}

impl StoreChange {
    /// The topic under which rules see it.
    pub(crate) fn topic(&self) -> Arc<str> {
        format!("bucket.{}.{}", self.bucket, self.kind.as_str()).into()
    }

    /// What rules see of it.
    pub(crate) fn data(&self) -> Object {
        let mut data = Object::new();
        data.insert("bucket".into(), Value::from(&*self.bucket));
        data.insert("key".into(), self.key.clone());
        for (name, record) in [("before", &self.before), ("after", &self.after)] {
            if let Some(record) = record {
                data.insert(name.into(), record.as_ref().clone());
            }
        }
        data
    }

    /// The change that a topic and its data tell of, if the topic is that of a change.
    pub(crate) fn parse(topic: &str, data: &Object) -> Option<Self> {
        let (bucket, kind) = topic.strip_prefix("bucket.")?.rsplit_once('.')?;
        let kind = [ChangeKind::Inserted, ChangeKind::Updated, ChangeKind::Deleted]
            .into_iter()
            .find(|known| known.as_str() == kind)?;
        let record = |name: &str| data.get(name).cloned().map(Arc::new);
        Some(Self {
            bucket: bucket.into(),
            key: data.get("key").cloned().unwrap_or_default(),
            kind,
            before: record("before"),
            after: record("after"),
        })
    }
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is new.
    Inserted,
    /// It was changed.
    Updated,
    /// It is gone.
    Deleted,
}

impl ChangeKind {
    /// The last segment of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// Which changes of records some rule may be triggered by: asked before anything is read for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// Topics of rules and temporal patterns that begin with `bucket.`, each once.
    patterns: BTreeSet<TopicPattern>,
}

impl Watched {
    /// What the rules with these topics hear of.
    pub fn new(patterns: impl IntoIterator<Item = TopicPattern>) -> Self {
        Self {
            patterns: patterns
                .into_iter()
                .filter(|pattern| pattern.as_str().starts_with("bucket."))
                .collect(),
        }
    }

    pub(crate) fn insert(&mut self, pattern: TopicPattern) {
        self.patterns.insert(pattern);
    }

    pub(crate) fn remove(&mut self, pattern: &TopicPattern) {
        self.patterns.remove(pattern);
    }

    /// Whether there is nothing to hear of.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether some rule may hear of changes of this kind in this bucket.
    pub fn wants(&self, bucket: &str, kind: ChangeKind) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches_change(bucket, kind.as_str()))
    }

    /// Whether some rule may hear of changes of this bucket.
    pub fn wants_bucket(&self, bucket: &str) -> bool {
        [ChangeKind::Inserted, ChangeKind::Updated, ChangeKind::Deleted]
            .into_iter()
            .any(|kind| self.wants(bucket, kind))
    }
}
