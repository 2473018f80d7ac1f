//! The sentences: what went wrong, and what to do about it.

use std::fmt;

use serde_json::Value;

use super::{Issue, Referenced, StoreError};
use crate::limits::MAX_FAULTS;

impl fmt::Display for StoreError {
    #[expect(clippy::too_many_lines, reason = "one sentence for each error")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BucketNotDefined { bucket } => write!(f, "Bucket \"{bucket}\" is not defined"),
            Self::BucketMissing { bucket } => write!(f, "Bucket \"{bucket}\" does not exist"),
            Self::SystemBucket { bucket } => write!(
                f,
                "Bucket \"{bucket}\" belongs to the server: it can be read by everybody who may, and is written by rules.setFact, \
                 rules.deleteFact and rules only; choose another bucket"
            ),
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
            Self::InvalidRule { issues } => write!(f, "Invalid row rule: {}", Listed(issues)),
            Self::HiddenMember { bucket, member } => write!(
                f,
                "Member \"{member}\" of bucket \"{bucket}\" is hidden from you, so it cannot be written, nor filtered, sorted, \
                 grouped or aggregated by; leave it out"
            ),
            Self::NotWritable { bucket, key } => {
                write!(f, "You may read the record with key \"{}\" in bucket \"{bucket}\", but not write it", Text(key))
            }
            Self::ResultNotWritable { bucket } => write!(
                f,
                "What this would leave in bucket \"{bucket}\" is a record that you may not write; give its members values \
                 that you may"
            ),
            Self::NotWhole { bucket } => write!(
                f,
                "Not possible for all records of bucket \"{bucket}\", of which you may not see or write every one; name those that \
                 you mean by a filter"
            ),
            Self::NotUniqueUnseen { bucket } => write!(
                f,
                "Unique constraint violation in bucket \"{bucket}\": another record has the same value in a member that is hidden \
                 from you, or the same values in several of which one is"
            ),
            Self::ReferencedUnseen => f.write_str(
                "Records that this would remove or change are referred to, or needed, by others that are hidden from you",
            ),
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
            Self::NotUniqueTogether { bucket, fields, values } => write!(
                f,
                "Unique constraint violation in bucket \"{bucket}\": fields {} already have values {}",
                Value::from(fields.clone()),
                Value::from(values.clone())
            ),
            Self::ReferenceMissing { bucket, field, target, key } => write!(
                f,
                "Foreign key violation in bucket \"{bucket}\": field \"{field}\" references bucket \"{target}\" with \
                 key \"{}\", but no such record exists",
                Text(key)
            ),
            Self::Referenced(referenced) => referenced.fmt(f),
            Self::BucketReferenced { bucket, by, field } => write!(
                f,
                "Cannot drop bucket \"{bucket}\": records of bucket \"{by}\" refer to it via field \"{field}\"; delete \
                 them or clear that field first"
            ),
            Self::Conflict { bucket, key } => write!(
                f,
                "Transaction conflict in bucket \"{bucket}\" for key \"{0}\": Record with key \"{0}\" already exists",
                Text(key)
            ),
            Self::VersionConflict { bucket, key, expected, version } => {
                write!(f, "Record with key \"{}\" in bucket \"{bucket}\" ", Text(key))?;
                match (expected, version) {
                    (0, version) => write!(f, "exists already, in version {version}")?,
                    (expected, 0) => write!(f, "is not there (any more), version {expected} was expected")?,
                    (expected, version) => write!(f, "has version {version}, {expected} was expected")?,
                }
                f.write_str("; read it again and decide anew")
            }
            Self::VersionNotPossible => f.write_str(
                "A version can be asked for by an update, a delete and, inside a transaction, also by a get and an insert; \
                 an insert can ask for 0 only, that the record does not exist",
            ),
            Self::IdempotencyKeyReused { key } => write!(
                f,
                "Idempotency key \"{key}\" was used for another request; take a new key for every request, and an old one \
                 only to repeat its request unchanged"
            ),
            Self::InvalidIdempotency { reason } => write!(f, "Invalid idempotency key: {reason}"),
            Self::TooMuchRemembered { what, limit, ttl_ms } => write!(
                f,
                "Too many {what} are remembered (max {limit}): write without an idempotency key, or wait, each is forgotten \
                 {} minutes after its write",
                ttl_ms.div_ceil(60_000)
            ),
            Self::BucketFull { bucket, max_size } => write!(
                f,
                "Bucket \"{bucket}\" holds at most {max_size} records, and there are none left that this write may \
                 remove; write fewer at once"
            ),
            Self::Contradiction { reason } => {
                write!(f, "The store contradicts itself: {reason}; please report this")
            }
            Self::NotInTransaction => f.write_str(
                "A transaction holds reads and writes of records only; send this operation by itself",
            ),
            Self::Import { bucket, record, error } => {
                write!(
                    f,
                    "Record {record} for bucket \"{bucket}\" was refused, and nothing was imported: {error}"
                )
            }
            Self::InvalidMigrations { reason } => f.write_str(reason),
            Self::MigrationPanicked => f.write_str("its code panicked; the log has the details"),
            Self::Operation { index, error } => write!(f, "operations[{index}]: {error}"),
            Self::Migration { version, error } => write!(f, "Migration {version} was rolled back: {error}"),
            Self::RecordNotFound { bucket, key } => {
                write!(f, "Record with key \"{}\" not found in bucket \"{bucket}\"", Text(key))
            }
            Self::UnknownCursor { bucket } => write!(
                f,
                "Invalid \"after\": bucket \"{bucket}\" has no record with this key (any more); restart from the \
                 beginning, without \"after\""
            ),
            Self::InvalidCursor { bucket, reason } => write!(
                f,
                "Invalid \"cursor\" for bucket \"{bucket}\": {reason}; restart from the beginning, without \"cursor\""
            ),
            Self::LimitReached { what, limit } => {
                write!(f, "Too many {what}: at most {limit} are possible; remove one first, or use fewer")
            }
            Self::UnindexedViews { bucket, limit } => write!(
                f,
                "Too many live queries on bucket \"{bucket}\" whose filters every write has to try (max {limit} tests): filter by a \
                 value, a list, a range or a prefix of a field"
            ),
            Self::ViewsTooLarge { limit } => write!(
                f,
                "The live queries hold too much already (max {limit} bytes): subscribe to less, with a narrower filter or a limit"
            ),
            Self::CounterExhausted { bucket } => write!(
                f,
                "The autoincrement counter of bucket \"{bucket}\" has reached its largest number; give the value \
                 yourself"
            ),
        }
    }
}

impl fmt::Display for Referenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, key, by, by_key, field } = self;
        write!(
            f,
            "Cannot delete from bucket \"{bucket}\" (key \"{}\"): referenced by bucket \"{by}\" (key \"{}\") via field \
             \"{field}\"; delete that record or clear its field first",
            Text(key),
            Text(by_key)
        )
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
