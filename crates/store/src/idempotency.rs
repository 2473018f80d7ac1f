//! Writes that happen once, however often they are asked for.

use std::sync::Arc;

use dunlin_protocol::Fingerprint;

use crate::answers::Place;
use crate::limits::{
    ANSWER_TTL_MS, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES_PER_SCOPE, MAX_ANSWERS, MAX_ANSWERS_PER_SCOPE,
    MAX_IDEMPOTENCY_KEY_BYTES, MAX_SCOPE_BYTES,
};
use crate::{Answer, Intent, Outcome, Snapshot, Step, StoreError};

/// What a repeat of a write is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is, 1 to 1,024 bytes; the same key in another scope is another key. Clients have `user:<id>`, or
    /// `address:<ip>` while they are not logged in.
    pub scope: Arc<str>,
    /// The key, 1 to 128 bytes.
    pub key: Arc<str>,
    /// [`Intent::fingerprint`] of the write.
    pub fingerprint: u64,
}

/// How many answers are remembered, and how long. A write whose answer would be one too many is refused; none is forgotten
/// before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// How long each is remembered, milliseconds.
    pub ttl_ms: u64,
    /// Answers of one scope.
    pub per_scope: usize,
    /// Answers of all scopes.
    pub all: usize,
    /// Bytes of the answers of one scope.
    pub bytes_per_scope: usize,
    /// Bytes of the answers of all scopes.
    pub bytes: usize,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self {
            ttl_ms: ANSWER_TTL_MS,
            per_scope: MAX_ANSWERS_PER_SCOPE,
            all: MAX_ANSWERS,
            bytes_per_scope: MAX_ANSWER_BYTES_PER_SCOPE,
            bytes: MAX_ANSWER_BYTES,
        }
    }
}

impl Intent {
    /// The same write, carried out once for this key. A repeat of it, with the same scope and key, within
    /// [`AnswerLimits::ttl_ms`] changes nothing and comes to [`Outcome::Repeated`] with the answer of the first; any other
    /// write with them is refused. So is what can have no key: only writes of records and transactions can. A write that
    /// is refused leaves its key free.
    ///
    /// ```
    /// # use dunlin_store::{Context, IdSource, Intent, Outcome, Snapshot};
    /// # use serde_json::json;
    /// # struct Ids(u128);
    /// # impl IdSource for Ids {
    /// #     fn next(&mut self) -> u128 {
    /// #         self.0 += 1;
    /// #         self.0
    /// #     }
    /// # }
    /// # let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    /// # let (mut ids, mut state) = (Ids(0), Snapshot::new("epoch-1"));
    /// # let config = object(json!({"key": "id", "schema": {"id": {"type": "string", "generated": "uuid"}}}));
    /// # let define = Intent::DefineBucket { name: "orders".into(), config };
    /// # state.execute(define, &mut Context::new(1_000, &mut ids))?;
    /// let order = Intent::Insert { bucket: "orders".into(), data: object(json!({"total": 5})) };
    /// let once = order.idempotent("user:ada", "cart-17");
    /// let first = state.execute(once.clone(), &mut Context::new(1_000, &mut ids))?;
    /// let again = state.execute(once, &mut Context::new(2_000, &mut ids))?;
    /// assert!(first.commit.is_some() && again.commit.is_none());
    /// assert_eq!(first.outcome.to_json(), again.outcome.to_json());
    /// assert_eq!(state.bucket("orders")?.len(), 1);
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    #[must_use]
    pub fn idempotent(self, scope: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        // One without a fingerprint is refused before it is looked at.
        let fingerprint = self.fingerprint().unwrap_or_default();
        let idempotency = Idempotency { scope: scope.into(), key: key.into(), fingerprint };
        Self::Idempotent { idempotency, write: Box::new(self) }
    }

    /// The same write, carried out only if the record that it is about has this `_version` by then; 0 if it must not exist.
    /// For an update, a delete, and an insert with 0; all others are refused with it.
    ///
    /// ```
    /// use dunlin_store::Intent;
    /// use serde_json::json;
    ///
    /// let delete = Intent::Delete { bucket: "orders".into(), key: json!("o1") }.if_version(3);
    /// assert!(matches!(delete, Intent::IfVersion { version: 3, .. }));
    /// ```
    #[must_use]
    pub fn if_version(self, version: u64) -> Self {
        match self {
            // The guard is around all that is asked for.
            Self::Guarded { guard, write } => {
                Self::Guarded { guard, write: Box::new(write.if_version(version)) }
            }
            write => Self::IfVersion { version, write: Box::new(write) },
        }
    }

    /// Whether it is a write of records, a transaction, or one of the server itself: what can have a key.
    pub(crate) fn is_of_records(&self) -> bool {
        match self {
            Self::Insert { .. }
            | Self::InsertMany { .. }
            | Self::Update { .. }
            | Self::UpdateMany { .. }
            | Self::Upsert { .. }
            | Self::Delete { .. }
            | Self::DeleteMany { .. }
            | Self::Clear { .. }
            | Self::Transaction { .. }
            | Self::IfVersion { .. }
            | Self::System(_) => true,
            Self::Guarded { write, .. } => write.is_of_records(),
            _ => false,
        }
    }

    /// A number for what this write asks for: two that ask for the same have the same one, in every process and version.
    /// `None` for what is neither a write of records nor a transaction of such.
    pub fn fingerprint(&self) -> Option<u64> {
        let of = |operation, bucket: &str| Fingerprint::of(operation).text("bucket", bucket);
        let fingerprint = match self {
            Self::Insert { bucket, data } => of("store.insert", bucket).object("data", data),
            Self::InsertMany { bucket, data } => {
                let records = data.iter().map(|data| Fingerprint::of("").object("data", data).get());
                of("store.insertMany", bucket).list("data", records)
            }
            Self::Update { bucket, key, changes } => {
                of("store.update", bucket).value("key", key).object("data", changes)
            }
            Self::UpdateMany { bucket, filter, changes } => {
                of("store.updateMany", bucket).object("filter", filter).object("data", changes)
            }
            Self::Upsert { bucket, data } => of("store.upsert", bucket).object("data", data),
            Self::Delete { bucket, key } => of("store.delete", bucket).value("key", key),
            Self::DeleteMany { bucket, filter } => of("store.deleteMany", bucket).object("filter", filter),
            Self::Clear { bucket } => of("store.clear", bucket),
            Self::Transaction { operations } => {
                let steps: Option<Vec<u64>> = operations.iter().map(Step::fingerprint).collect();
                Fingerprint::of("store.transaction").list("operations", steps?)
            }
            Self::IfVersion { version, write } => {
                let write = write.fingerprint()?;
                Fingerprint::of("").list("write", [write]).value("ifVersion", &(*version).into())
            }
            // Who may write it is not what is asked for.
            Self::Guarded { write, .. } => return write.fingerprint(),
            _ => return None,
        };
        Some(fingerprint.get())
    }
}

impl Step {
    fn fingerprint(&self) -> Option<u64> {
        let of = |operation, bucket: &str| Fingerprint::of(operation).text("bucket", bucket);
        let fingerprint = match self {
            Self::Write(intent) => return intent.fingerprint(),
            Self::Get { bucket, key, if_version } => {
                of("store.get", bucket).value("key", key).value("ifVersion", &(*if_version).into())
            }
            Self::Where { bucket, filter } => of("store.where", bucket).object("filter", filter),
            Self::FindOne { bucket, filter } => of("store.findOne", bucket).object("filter", filter),
            Self::Count { bucket, filter } => of("store.count", bucket).object("filter", filter),
            Self::GroupBy { bucket, by, function, field, filter } => of("store.groupBy", bucket)
                .value("by", &by.clone().into())
                .text("function", function.as_str())
                .text("field", field)
                .object("filter", filter),
        };
        Some(fingerprint.get())
    }
}

/// What is known of a write.
pub(crate) enum Known {
    /// It was done; its answer.
    Repeated(Arc<Answer>),
    /// It was not; where its answer will be.
    New(Place),
}

impl Idempotency {
    /// Whether there was one of these writes before.
    pub(crate) fn look_up(&self, state: &Snapshot, write: &Intent, now: u64) -> Result<Known, StoreError> {
        if !write.is_of_records() {
            return Err(StoreError::InvalidIdempotency {
                reason: "only writes of records and transactions can have a key".into(),
            });
        }
        self.known(state, now)
    }

    /// The answer to the request, if it was carried out before: for those whose write is worked out only if it was not.
    ///
    /// # Errors
    /// The key is that of another request, or cannot be.
    pub fn repeated(&self, state: &Snapshot, now: u64) -> Result<Option<Arc<Answer>>, StoreError> {
        Ok(match self.known(state, now)? {
            Known::Repeated(answer) => Some(answer),
            Known::New(_) => None,
        })
    }

    fn known(&self, state: &Snapshot, now: u64) -> Result<Known, StoreError> {
        let within = |text: &str, what: &str, most: usize| {
            if (1..=most).contains(&text.len()) {
                return Ok(());
            }
            Err(StoreError::InvalidIdempotency {
                reason: format!("the {what} has {} bytes, it must have 1 to {most}", text.len()).into(),
            })
        };
        within(&self.key, "key", MAX_IDEMPOTENCY_KEY_BYTES)?;
        within(&self.scope, "scope", MAX_SCOPE_BYTES)?;
        let place = state.answers.place(&self.scope, &self.key);
        match state.answers.at(place).filter(|answer| answer.expires_at > now) {
            Some(answer) if answer.fingerprint == self.fingerprint => Ok(Known::Repeated(Arc::clone(answer))),
            Some(_) => Err(StoreError::IdempotencyKeyReused { key: (&*self.key).into() }),
            None => Ok(Known::New(place)),
        }
    }

    /// What is to be remembered of a write that was carried out, if there is room for it.
    pub(crate) fn answer(
        self,
        state: &Snapshot,
        place: Place,
        outcome: &Outcome,
        now: u64,
        limits: &AnswerLimits,
    ) -> Result<Answer, StoreError> {
        let Self { scope, key, fingerprint } = self;
        let body = outcome.to_body();
        // One that is there has outlived its time, and makes way.
        let replaced = state.answers.at(place);
        let more = usize::from(replaced.is_none());
        let freed = replaced.map_or(0, |replaced| replaced.body.json().len());
        let bytes = body.json().len();
        let (own, all) = (state.answers.usage_at(place), state.answers.usage());
        let bounds = [
            (own.answers + more, limits.per_scope, "keys of this user or address"),
            (all.answers + more, limits.all, "keys"),
            (own.bytes - freed + bytes, limits.bytes_per_scope, "bytes of answers to this user or address"),
            (all.bytes - freed + bytes, limits.bytes, "bytes of answers"),
        ];
        if let Some((_, limit, what)) = bounds.into_iter().find(|(used, limit, _)| used > limit) {
            return Err(StoreError::TooMuchRemembered { what, limit, ttl_ms: limits.ttl_ms });
        }
        // At least as long as it must be: the order in which they come is the order in which they are forgotten, also when the time to
        // live has become shorter.
        let expires_at = now.saturating_add(limits.ttl_ms).max(state.answers.latest().unwrap_or(0));
        let position = state.position() + 1;
        Ok(Answer { scope, key, fingerprint, position, expires_at, body })
    }
}
