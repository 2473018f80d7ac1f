//! Operations on records, alone or together.

use std::borrow::Cow;

use serde_json::Value;

use super::{remove, write};
use crate::draft::Draft;
use crate::limits::{MAX_OPERATIONS, MAX_RECORDS_READ, MAX_RECORDS_WRITTEN};
use crate::{
    Bucket, BucketId, Context, Filter, Intent, Object, Outcome, Record, RowId, Seen, Step, StoreError, system,
};

/// All operations of a transaction, in order. What they read shows the effects of those before them.
pub(super) fn run(
    draft: &mut Draft<'_>,
    operations: Vec<Step>,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(StoreError::LimitReached { what: "operations of a transaction", limit: MAX_OPERATIONS });
    }
    let mut budget = ReadBudget(MAX_RECORDS_READ);
    let mut outcomes = Vec::with_capacity(operations.len());
    for (index, operation) in operations.into_iter().enumerate() {
        draft.begin_operation(index);
        let outcome = step(draft, operation, &mut budget, ctx).and_then(|outcome| {
            remove::bounded(draft)?;
            Ok(outcome)
        });
        let outcome = outcome.map_err(|error| match error {
            // The words and the code that clients know from transactions.
            StoreError::KeyExists { bucket, key } => StoreError::Conflict { bucket, key },
            other => other,
        });
        outcomes.push(outcome.map_err(|error| StoreError::Operation { index, error: error.into() })?);
    }
    Ok(Outcome::Transaction(outcomes))
}

/// How many records the reads of the transaction may still return.
struct ReadBudget(usize);

impl ReadBudget {
    fn take(&mut self, records: usize) -> Result<(), StoreError> {
        let limit = MAX_RECORDS_READ;
        let spent = || StoreError::LimitReached { what: "records read in one transaction", limit };
        self.0 = self.0.checked_sub(records).ok_or_else(spent)?;
        Ok(())
    }
}

fn step(
    draft: &mut Draft<'_>,
    step: Step,
    budget: &mut ReadBudget,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    Ok(match step {
        Step::Write(intent) => return write(draft, intent, ctx),
        Step::Get { bucket, key, if_version } => {
            let bucket = seen(draft, &bucket)?;
            if let Some(expected) = if_version {
                in_version(&bucket, &key, expected)?;
            }
            let found = bucket.get(&key)?;
            budget.take(usize::from(found.is_some()))?;
            Outcome::Found(found.map(|record| bucket.shown(record)))
        }
        Step::Where { bucket, filter } => {
            let (bucket, filter) = (seen(draft, &bucket)?, Filter::parse(&filter)?);
            // One more than there may be tells that there are too many.
            let records = bucket.matching_most(&filter, budget.0.saturating_add(1))?;
            budget.take(records.len())?;
            Outcome::Records(records.into_iter().map(|record| bucket.shown(record)).collect())
        }
        Step::FindOne { bucket, filter } => {
            let (bucket, filter) = (seen(draft, &bucket)?, Filter::parse(&filter)?);
            let found = bucket.find_one(&filter)?;
            budget.take(usize::from(found.is_some()))?;
            Outcome::Found(found.map(|record| bucket.shown(record)))
        }
        Step::Count { bucket, filter } => {
            let (bucket, filter) = (seen(draft, &bucket)?, Filter::parse(&filter)?);
            Outcome::Count(bucket.count(&filter)?)
        }
        Step::GroupBy { bucket, by, function, field, filter } => {
            let (bucket, filter) = (seen(draft, &bucket)?, Filter::parse(&filter)?);
            let (groups, count) = bucket.groups(&by, function, &field, &filter)?;
            budget.take(count)?;
            Outcome::Groups(groups)
        }
    })
}

/// A bucket as the writer sees it.
fn seen<'d>(draft: &'d Draft<'_>, name: &str) -> Result<Seen<'d>, StoreError> {
    let bucket = draft.state().bucket(name)?;
    Ok(bucket.through(draft.rule(bucket)))
}

/// A record of a bucket as the writer sees it.
fn shown(draft: &Draft<'_>, id: BucketId, record: Record) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    Ok(draft.rule(bucket).map(|rule| bucket.through(Some(rule)).shown(&record)).unwrap_or(record))
}

/// One write of records.
pub(super) fn write(
    draft: &mut Draft<'_>,
    intent: Intent,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    let id = |draft: &Draft<'_>, name: &str| {
        system::refuse(name)?;
        draft.state().bucket(name).map(Bucket::id)
    };
    Ok(match intent {
        Intent::Insert { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            let record = write::insert(draft, bucket, &data, ctx)?;
            Outcome::Record(shown(draft, bucket, record)?)
        }
        Intent::InsertMany { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            bounded(data.len())?;
            let records = data.iter().map(|data| {
                let record = write::insert(draft, bucket, data, ctx)?;
                shown(draft, bucket, record)
            });
            Outcome::Records(records.collect::<Result<_, _>>()?)
        }
        Intent::Update { bucket, key, changes } => {
            let bucket = id(draft, &bucket)?;
            let record = write::update(draft, bucket, &key, &changes, ctx)?;
            Outcome::Record(shown(draft, bucket, record)?)
        }
        Intent::UpdateMany { bucket, filter, changes } => {
            let bucket = id(draft, &bucket)?;
            let rows = matching(draft, bucket, &filter)?;
            let changed = draft.bucket(bucket)?;
            write::open_to(changed, draft.rule(changed), &changes)?;
            for row in &rows {
                write::change_row(draft, bucket, *row, &changes, ctx)?;
            }
            Outcome::Count(rows.len())
        }
        Intent::Upsert { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            let record = write::upsert(draft, bucket, &data, ctx)?;
            Outcome::Record(shown(draft, bucket, record)?)
        }
        Intent::Delete { bucket, key } => {
            let bucket = id(draft, &bucket)?;
            Outcome::Deleted { existed: remove::delete(draft, bucket, &key, ctx)? }
        }
        Intent::DeleteMany { bucket, filter } => {
            let bucket = id(draft, &bucket)?;
            let rows = matching(draft, bucket, &filter)?;
            for row in &rows {
                remove::remove(draft, bucket, *row, crate::Cause::Deleted, ctx)?;
            }
            Outcome::Count(rows.len())
        }
        Intent::Clear { bucket } => {
            let bucket = id(draft, &bucket)?;
            Outcome::Cleared { removed: remove::clear(draft, bucket, ctx)? }
        }
        Intent::IfVersion { version, write: intent } => {
            expect_version(draft, &intent, version)?;
            write(draft, *intent, ctx)?
        }
        _ => return Err(StoreError::NotInTransaction),
    })
}

/// Holds the record that a write is about to a version.
fn expect_version(draft: &Draft<'_>, write: &Intent, expected: u64) -> Result<(), StoreError> {
    match write {
        Intent::Update { bucket, key, .. } | Intent::Delete { bucket, key } => {
            in_version(&seen(draft, bucket)?, key, expected)
        }
        Intent::Insert { bucket, data } if expected == 0 => {
            let bucket = seen(draft, bucket)?;
            // A key that is generated is nobody's.
            let key = data.get(bucket.bucket().definition().key().name());
            key.map_or(Ok(()), |key| in_version(&bucket, key, expected))
        }
        _ => Err(StoreError::VersionNotPossible),
    }
}

fn in_version(bucket: &Seen<'_>, key: &Value, expected: u64) -> Result<(), StoreError> {
    let version = bucket.get(key)?.map_or(0, Record::version);
    if version == expected {
        return Ok(());
    }
    let (bucket, key) = ((&**bucket.bucket().name()).into(), key.clone());
    Err(StoreError::VersionConflict { bucket, key, expected, version })
}

/// The rows that match and that the writer may write, as they are before the first of them is changed.
fn matching(draft: &Draft<'_>, id: BucketId, filter: &Object) -> Result<Vec<RowId>, StoreError> {
    let (bucket, filter) = (draft.bucket(id)?, Filter::parse(filter)?);
    let mut filter = bucket.through(draft.rule(bucket)).narrowed(&filter)?;
    if let Some(rule) = draft.rule(bucket) {
        filter = Cow::Owned(filter.and(rule.writable()));
    }
    let rows: Vec<RowId> = bucket.scan(&filter).rows().take(MAX_RECORDS_WRITTEN + 1).collect();
    bounded(rows.len()).map(|()| rows)
}

fn bounded(records: usize) -> Result<(), StoreError> {
    if records <= MAX_RECORDS_WRITTEN {
        return Ok(());
    }
    Err(StoreError::LimitReached { what: "records for one write", limit: MAX_RECORDS_WRITTEN })
}
