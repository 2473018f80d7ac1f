//! Why the store refused: typed, with a stable code and a sentence that says what to do.

mod display;
mod state;

use dunlin_protocol::Code;
use serde::Serialize;
use serde_json::{Value, json};

use crate::limits::MAX_FAULTS;

pub use state::{ApplyError, RestoreError};

/// One thing wrong with a record, a definition, a filter or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Where: a field of the record, or a path into the definition (`schema.age.min`, `filter.$or[1].n.$gt`).
    pub field: String,
    /// What is wrong, and what is accepted instead.
    pub message: String,
    /// Stable name of the kind of fault (`required`, `type`, `enum`, `min`, `unknown`, `unsupported`, …).
    pub code: &'static str,
}

impl Issue {
    /// An issue at `field`.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), code }
    }

    /// An issue found by a rule in code. `field` is `_record` if it is about the whole record.
    pub fn custom(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "custom", message)
    }
}

/// Why an intent, a read or a definition was refused. Nothing has changed when one of these is returned.
///
/// ```
/// use dunlin_store::{Snapshot, StoreError};
/// use dunlin_protocol::Code;
///
/// let error = Snapshot::new("epoch-1").bucket("tasks").unwrap_err();
/// assert_eq!(error.code(), Code::BucketNotDefined);
/// assert_eq!(error.to_string(), "Bucket \"tasks\" is not defined");
/// assert_eq!(error.administrative().to_string(), "Bucket \"tasks\" does not exist");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// A data operation named a bucket that is not defined.
    BucketNotDefined {
        /// The name.
        bucket: Box<str>,
    },
    /// An administrative operation (drop, update, show the schema) named a bucket that is not defined. The same
    /// code as [`Self::BucketNotDefined`], but the words that clients of these operations know.
    BucketMissing {
        /// The name.
        bucket: Box<str>,
    },
    /// Somebody would write or define a bucket that belongs to the server.
    SystemBucket {
        /// The name.
        bucket: Box<str>,
    },
    /// A bucket of that name exists.
    BucketExists {
        /// The name.
        bucket: Box<str>,
    },
    /// No query of that name is defined.
    QueryNotDefined {
        /// The name.
        query: Box<str>,
    },
    /// A query of that name exists.
    QueryExists {
        /// The name.
        query: Box<str>,
    },
    /// A record does not fit its bucket's schema.
    Validation {
        /// The bucket.
        bucket: Box<str>,
        /// Everything that does not fit, in schema order.
        issues: Vec<Issue>,
    },
    /// A bucket definition, or an update of one, cannot be.
    InvalidDefinition {
        /// The bucket.
        bucket: Box<str>,
        /// Everything wrong with it.
        issues: Vec<Issue>,
    },
    /// A filter cannot be understood.
    InvalidFilter {
        /// Everything wrong with it.
        issues: Vec<Issue>,
    },
    /// A query config cannot be understood.
    InvalidQuery {
        /// The query.
        query: Box<str>,
        /// Everything wrong with it.
        issues: Vec<Issue>,
    },
    /// A row rule cannot be understood.
    InvalidRule {
        /// Everything wrong with it.
        issues: Vec<Issue>,
    },
    /// Somebody asks for, or writes, a member that a rule hides from him.
    HiddenMember {
        /// The bucket.
        bucket: Box<str>,
        /// The member, as he names it.
        member: Box<str>,
    },
    /// A record that somebody sees, and may not write.
    NotWritable {
        /// The bucket.
        bucket: Box<str>,
        /// The record's key.
        key: Value,
    },
    /// A write would leave a record that its writer may not write.
    ResultNotWritable {
        /// The bucket.
        bucket: Box<str>,
    },
    /// A bucket of which somebody does not see everything cannot be cleared, or explained.
    NotWhole {
        /// The bucket.
        bucket: Box<str>,
    },
    /// A write would give a record a value that is taken, and that its writer may not know.
    NotUniqueUnseen {
        /// The bucket.
        bucket: Box<str>,
    },
    /// What a write removes, by itself or by what it takes with it, is referred to, and its writer may not know by what.
    ReferencedUnseen,
    /// The parameters given to a query do not fit it.
    InvalidParams {
        /// The query.
        query: Box<str>,
        /// Everything wrong with them.
        issues: Vec<Issue>,
    },
    /// An insert gave a primary key that is taken.
    KeyExists {
        /// The bucket.
        bucket: Box<str>,
        /// The key.
        key: Value,
    },
    /// A write would give a `unique` field a value that another record has.
    NotUnique {
        /// The bucket.
        bucket: Box<str>,
        /// The field.
        field: Box<str>,
        /// The value.
        value: Value,
    },
    /// A write gives several fields that must be unique together the values that another record has.
    NotUniqueTogether {
        /// The bucket.
        bucket: Box<str>,
        /// The fields.
        fields: Vec<String>,
        /// Their values.
        values: Vec<Value>,
    },
    /// A reference names a record that is not there.
    ReferenceMissing {
        /// The bucket of the referring record.
        bucket: Box<str>,
        /// The referring field.
        field: Box<str>,
        /// The bucket referred to.
        target: Box<str>,
        /// The key that no record there has.
        key: Value,
    },
    /// A record cannot be removed because another one refers to it.
    Referenced(Box<Referenced>),
    /// A bucket cannot be dropped because records of another one refer to its records.
    BucketReferenced {
        /// The bucket.
        bucket: Box<str>,
        /// The bucket whose records refer to it.
        by: Box<str>,
        /// The referring field.
        field: Box<str>,
    },
    /// Inside a transaction, an insert gave a primary key that is taken.
    Conflict {
        /// The bucket.
        bucket: Box<str>,
        /// The key.
        key: Value,
    },
    /// A write, or an operation of a transaction, wanted a record in another version than it has.
    VersionConflict {
        /// The bucket.
        bucket: Box<str>,
        /// The key.
        key: Value,
        /// The version that it wanted; 0 if the record must not exist.
        expected: u64,
        /// The version that the record has; 0 if it does not exist.
        version: u64,
    },
    /// A version was asked for of what has none, or an insert was to find a record.
    VersionNotPossible,
    /// A write came with the idempotency key of another one.
    IdempotencyKeyReused {
        /// The key.
        key: Box<str>,
    },
    /// An idempotency key that cannot be, or on what can have none.
    InvalidIdempotency {
        /// Why.
        reason: Box<str>,
    },
    /// No more answers are remembered for now.
    TooMuchRemembered {
        /// What there would be too much of, in the plural.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// How long each answer is remembered, milliseconds.
        ttl_ms: u64,
    },
    /// A write would remove records that it has just written, because the bucket holds no more.
    BucketFull {
        /// The bucket.
        bucket: Box<str>,
        /// How many records it holds.
        max_size: usize,
    },
    /// A change contradicts the state: a bug of this crate, never of who asked for it.
    Contradiction {
        /// What contradicts what.
        reason: String,
    },
    /// An operation that cannot be part of a transaction.
    NotInTransaction,
    /// An operation of a transaction was refused, and with it all of them.
    Operation {
        /// Its place in the transaction, from 0.
        index: usize,
        /// Why.
        error: Box<StoreError>,
    },
    /// A record of an import was refused, and with it the whole import.
    Import {
        /// The bucket.
        bucket: Box<str>,
        /// Its place among the records for that bucket, from 1.
        record: usize,
        /// Why.
        error: Box<StoreError>,
    },
    /// A list of migrations, or a step of one, cannot be.
    InvalidMigrations {
        /// Why.
        reason: String,
    },
    /// The code of a migration panicked.
    MigrationPanicked,
    /// A migration was refused, and nothing of it has happened.
    Migration {
        /// Its version.
        version: u64,
        /// Why.
        error: Box<StoreError>,
    },
    /// An update named a record that is not there.
    RecordNotFound {
        /// The bucket.
        bucket: Box<str>,
        /// The key.
        key: Value,
    },
    /// A page was asked for behind a record that is not there (any more).
    UnknownCursor {
        /// The bucket.
        bucket: Box<str>,
    },
    /// The cursor of a page cannot be used.
    InvalidCursor {
        /// The bucket.
        bucket: Box<str>,
        /// Why.
        reason: &'static str,
    },
    /// A bound of [`crate::limits`] would be exceeded.
    LimitReached {
        /// What there would be too much of, in the plural.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// No more live queries of a bucket are possible whose filter no index can tell.
    UnindexedViews {
        /// The bucket.
        bucket: Box<str>,
        /// The bound: tests in their filters.
        limit: usize,
    },
    /// The live queries together hold as much as they may.
    ViewsTooLarge {
        /// The bound, bytes.
        limit: usize,
    },
    /// The bucket's `autoincrement` has handed out (or been given) its largest number.
    CounterExhausted {
        /// The bucket.
        bucket: Box<str>,
    },
}

/// A record that cannot be removed, and one that refers to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Referenced {
    /// The bucket of the record that was to be removed.
    pub bucket: Box<str>,
    /// Its key.
    pub key: Value,
    /// The bucket of the record that refers to it.
    pub by: Box<str>,
    /// The key of that record.
    pub by_key: Value,
    /// The referring field.
    pub field: Box<str>,
}

impl StoreError {
    /// The stable code for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::BucketNotDefined { .. } | Self::BucketMissing { .. } => Code::BucketNotDefined,
            Self::QueryNotDefined { .. } => Code::QueryNotDefined,
            Self::BucketExists { .. }
            | Self::QueryExists { .. }
            | Self::KeyExists { .. }
            | Self::NotUnique { .. }
            | Self::NotUniqueTogether { .. }
            | Self::NotUniqueUnseen { .. } => Code::AlreadyExists,
            Self::Conflict { .. }
            | Self::VersionConflict { .. }
            | Self::IdempotencyKeyReused { .. }
            | Self::Referenced(_)
            | Self::ReferencedUnseen
            | Self::BucketReferenced { .. } => Code::Conflict,
            Self::Contradiction { .. } | Self::MigrationPanicked => Code::InternalError,
            Self::Operation { error, .. } | Self::Migration { error, .. } | Self::Import { error, .. } => {
                error.code()
            }
            Self::RecordNotFound { .. } => Code::NotFound,
            Self::HiddenMember { .. }
            | Self::NotWritable { .. }
            | Self::ResultNotWritable { .. }
            | Self::NotWhole { .. }
            | Self::SystemBucket { .. } => Code::Forbidden,
            Self::UnindexedViews { .. } | Self::ViewsTooLarge { .. } | Self::TooMuchRemembered { .. } => {
                Code::RateLimited
            }
            Self::Validation { .. }
            | Self::InvalidDefinition { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidQuery { .. }
            | Self::InvalidRule { .. }
            | Self::InvalidParams { .. }
            | Self::UnknownCursor { .. }
            | Self::InvalidCursor { .. }
            | Self::ReferenceMissing { .. }
            | Self::BucketFull { .. }
            | Self::NotInTransaction
            | Self::VersionNotPossible
            | Self::InvalidIdempotency { .. }
            | Self::InvalidMigrations { .. }
            | Self::LimitReached { .. }
            | Self::CounterExhausted { .. } => Code::ValidationError,
        }
    }

    /// Machine-readable particulars: `[{field, message, code}]` of everything that is invalid, `{bucket, key}` of
    /// a taken key and of a record that may not be written, `{bucket, key, version}` of a record in another version, `{key}` of a reused idempotency key, `{bucket,
    /// field, value}` of a unique value, `{bucket, field}` of a hidden member; nothing otherwise.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Validation { issues, .. }
            | Self::InvalidDefinition { issues, .. }
            | Self::InvalidFilter { issues }
            | Self::InvalidQuery { issues, .. }
            | Self::InvalidRule { issues }
            | Self::InvalidParams { issues, .. } => Some(
                issues
                    .iter()
                    .take(MAX_FAULTS)
                    .map(|i| json!({"field": i.field, "message": i.message, "code": i.code}))
                    .collect(),
            ),
            Self::KeyExists { bucket, key }
            | Self::Conflict { bucket, key }
            | Self::NotWritable { bucket, key } => Some(json!({"bucket": bucket, "key": key})),
            Self::VersionConflict { bucket, key, version, .. } => {
                Some(json!({"bucket": bucket, "key": key, "version": version}))
            }
            Self::HiddenMember { bucket, member } => Some(json!({"bucket": bucket, "field": member})),
            Self::ResultNotWritable { bucket }
            | Self::SystemBucket { bucket }
            | Self::NotWhole { bucket }
            | Self::NotUniqueUnseen { bucket } => Some(json!({"bucket": bucket})),
            Self::IdempotencyKeyReused { key } => Some(json!({"key": key})),
            Self::NotUnique { bucket, field, value } => {
                Some(json!({"bucket": bucket, "field": field, "value": value}))
            }
            Self::NotUniqueTogether { bucket, fields, values } => {
                Some(json!({"bucket": bucket, "fields": fields, "values": values}))
            }
            Self::ReferenceMissing { field, .. } => {
                Some(json!([{"field": field, "message": self.to_string(), "code": "ref"}]))
            }
            Self::Referenced(referenced) => {
                let Referenced { bucket, key, by, by_key, field } = &**referenced;
                let by = json!({"bucket": by, "key": by_key, "field": field});
                Some(json!({"bucket": bucket, "key": key, "referencedBy": by}))
            }
            Self::BucketReferenced { bucket, by, field } => {
                Some(json!({"bucket": bucket, "referencedBy": {"bucket": by, "field": field}}))
            }
            Self::Operation { index, error } => Some(match error.details() {
                None => json!({"index": index}),
                Some(Value::Object(mut details)) => {
                    details.insert("index".into(), (*index).into());
                    details.into()
                }
                // A list of issues has no place for it; the message tells it.
                Some(issues) => issues,
            }),
            Self::Migration { error, .. } | Self::Import { error, .. } => error.details(),
            _ => None,
        }
    }

    /// The same refusal in the words of the administrative operations: an unknown bucket "does not exist".
    #[must_use]
    pub fn administrative(self) -> Self {
        match self {
            Self::BucketNotDefined { bucket } => Self::BucketMissing { bucket },
            other => other,
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for dunlin_protocol::Error {
    fn from(error: StoreError) -> Self {
        let wire = Self::new(error.code(), error.to_string());
        match error.details() {
            Some(details) => wire.with_details(details),
            None => wire,
        }
    }
}
