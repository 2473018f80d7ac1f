//! Why the store refused: typed, with a stable code and a sentence that says what to do.

use std::fmt;

use dunlin_protocol::Code;
use serde::Serialize;
use serde_json::{Value, json};

use crate::limits::MAX_FAULTS;

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
    /// A bound of [`crate::limits`] would be exceeded.
    LimitReached {
        /// What there would be too much of, in the plural.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The bucket's `autoincrement` has handed out (or been given) its largest number.
    CounterExhausted {
        /// The bucket.
        bucket: Box<str>,
    },
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
            | Self::NotUnique { .. } => Code::AlreadyExists,
            Self::RecordNotFound { .. } => Code::NotFound,
            Self::Validation { .. }
            | Self::InvalidDefinition { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidQuery { .. }
            | Self::InvalidParams { .. }
            | Self::UnknownCursor { .. }
            | Self::LimitReached { .. }
            | Self::CounterExhausted { .. } => Code::ValidationError,
        }
    }

    /// Machine-readable particulars: `[{field, message, code}]` of everything that is invalid, `{bucket, key}` of
    /// a taken key, `{bucket, field, value}` of a unique value; nothing otherwise.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Validation { issues, .. }
            | Self::InvalidDefinition { issues, .. }
            | Self::InvalidFilter { issues }
            | Self::InvalidQuery { issues, .. }
            | Self::InvalidParams { issues, .. } => Some(
                issues
                    .iter()
                    .take(MAX_FAULTS)
                    .map(|i| json!({"field": i.field, "message": i.message, "code": i.code}))
                    .collect(),
            ),
            Self::KeyExists { bucket, key } => Some(json!({"bucket": bucket, "key": key})),
            Self::NotUnique { bucket, field, value } => {
                Some(json!({"bucket": bucket, "field": field, "value": value}))
            }
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

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BucketNotDefined { bucket } => write!(f, "Bucket \"{bucket}\" is not defined"),
            Self::BucketMissing { bucket } => write!(f, "Bucket \"{bucket}\" does not exist"),
            Self::BucketExists { bucket } => write!(f, "Bucket \"{bucket}\" already exists"),
            Self::QueryNotDefined { query } => write!(f, "Query \"{query}\" is not defined"),
            Self::QueryExists { query } => write!(f, "Query \"{query}\" is already defined"),
            Self::Validation { bucket, issues } => {
                write!(f, "Validation failed for bucket \"{bucket}\": {}", Listed(issues))
            }
            Self::InvalidDefinition { bucket, issues } => {
                write!(f, "Invalid definition of bucket \"{bucket}\": {}", Listed(issues))
            }
            Self::InvalidFilter { issues } => write!(f, "Invalid filter: {}", Listed(issues)),
            Self::InvalidQuery { query, issues } => {
                write!(f, "Invalid definition of query \"{query}\": {}", Listed(issues))
            }
            Self::InvalidParams { query, issues } => {
                write!(f, "Invalid parameters for query \"{query}\": {}", Listed(issues))
            }
            Self::KeyExists { bucket, key } => write!(
                f,
                "Record with key \"{}\" already exists in bucket \"{bucket}\"; update it, or choose another key",
                Text(key)
            ),
            Self::NotUnique { bucket, field, value } => write!(
                f,
                "Unique constraint violation in bucket \"{bucket}\": field \"{field}\" already has value \"{}\"",
                Text(value)
            ),
            Self::RecordNotFound { bucket, key } => {
                write!(f, "Record with key \"{}\" not found in bucket \"{bucket}\"", Text(key))
            }
            Self::UnknownCursor { bucket } => write!(
                f,
                "Invalid \"after\": bucket \"{bucket}\" has no record with this key (any more); restart from the \
                 beginning, without \"after\""
            ),
            Self::LimitReached { what, limit } => {
                write!(f, "Too many {what}: at most {limit} are possible; remove one first, or use fewer")
            }
            Self::CounterExhausted { bucket } => write!(
                f,
                "The autoincrement counter of bucket \"{bucket}\" has reached its largest number; give the value \
                 yourself"
            ),
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

/// `<field>: <message>; <field>: <message>…`
struct Listed<'a>(&'a [Issue]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.0.iter().take(MAX_FAULTS).enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", issue.field, issue.message)?;
        }
        Ok(())
    }
}

/// A JSON value inside a sentence: a string without its quotes, everything else as JSON.
struct Text<'a>(&'a Value);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

/// Why a commit could not be applied: it does not follow from this state. The snapshot it was applied to may be
/// half changed and must be thrown away; the writer works on its own clone for that reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The commit is not the next one.
    #[error("commit {found} cannot be applied at position {position}: the next one is {}", .position + 1)]
    Position {
        /// Where the snapshot stands.
        position: u64,
        /// The commit's own number.
        found: u64,
    },
    /// The commit names a bucket that is not there.
    #[error("commit {position} names bucket {bucket}, which is not defined")]
    UnknownBucket {
        /// Number of the commit.
        position: u64,
        /// The bucket's id.
        bucket: u32,
    },
    /// The commit names a row that is not there.
    #[error("commit {position} removes row {row} of bucket {bucket}, which is not there")]
    UnknownRow {
        /// Number of the commit.
        position: u64,
        /// The bucket's id.
        bucket: u32,
        /// The row's number.
        row: u64,
    },
    /// The commit contradicts the state in another way: a name or key that is taken, a record without a key, a
    /// definition that cannot be read.
    #[error("commit {position} contradicts the state: {reason}")]
    Contradiction {
        /// Number of the commit.
        position: u64,
        /// What contradicts what.
        reason: String,
    },
}

/// Why a stored state could not be restored. It names what is damaged; nothing was guessed or left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A bucket's definition cannot be restored.
    #[error("bucket \"{name}\" (id {bucket}) cannot be restored: {reason}")]
    Bucket {
        /// The bucket's id.
        bucket: u32,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A row or counter belongs to a bucket that was not defined before it.
    #[error("stored data belong to bucket {bucket}, which is not defined")]
    UnknownBucket {
        /// The bucket's id.
        bucket: u32,
    },
    /// A stored row cannot be restored.
    #[error("row {row} of bucket \"{name}\" (id {bucket}) cannot be restored: {reason}")]
    Row {
        /// The bucket's id.
        bucket: u32,
        /// Its name.
        name: String,
        /// The row's number.
        row: u64,
        /// What is wrong.
        reason: String,
    },
    /// A query cannot be restored.
    #[error("query \"{name}\" cannot be restored: {reason}")]
    Query {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
