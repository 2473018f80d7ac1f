//! Operations on records, alone or together.

use super::{remove, write};
use crate::draft::Draft;
use crate::limits::{MAX_OPERATIONS, MAX_RECORDS_WRITTEN};
use crate::{Bucket, Context, Filter, Intent, Object, Outcome, RowId, Step, StoreError};

/// All operations of a transaction, in order. What they read shows the effects of those before them.
pub(super) fn run(
    draft: &mut Draft<'_>,
    operations: Vec<Step>,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(StoreError::LimitReached { what: "operations of a transaction", limit: MAX_OPERATIONS });
    }
    let mut outcomes = Vec::with_capacity(operations.len());
    for (index, operation) in operations.into_iter().enumerate() {
        draft.begin_operation(index);
        let outcome = step(draft, operation, ctx).map_err(|error| match error {
            // The words and the code that clients know from transactions.
            StoreError::KeyExists { bucket, key } => StoreError::Conflict { bucket, key },
            other => other,
        });
        outcomes.push(outcome.map_err(|error| StoreError::Operation { index, error: error.into() })?);
    }
    Ok(Outcome::Transaction(outcomes))
}

fn step(draft: &mut Draft<'_>, step: Step, ctx: &mut Context<'_>) -> Result<Outcome, StoreError> {
    let state = draft.state();
    Ok(match step {
        Step::Write(intent) => return write(draft, intent, ctx),
        Step::Get { bucket, key } => Outcome::Found(state.bucket(&bucket)?.get(&key).cloned()),
        Step::Where { bucket, filter } => {
            let (bucket, filter) = (state.bucket(&bucket)?, Filter::parse(&filter)?);
            Outcome::Records(bucket.scan(&filter).cloned().collect())
        }
        Step::FindOne { bucket, filter } => {
            let (bucket, filter) = (state.bucket(&bucket)?, Filter::parse(&filter)?);
            Outcome::Found(bucket.find_one(&filter).cloned())
        }
        Step::Count { bucket, filter } => {
            let (bucket, filter) = (state.bucket(&bucket)?, Filter::parse(&filter)?);
            Outcome::Count(bucket.count(&filter))
        }
        Step::GroupBy { bucket, by, function, field, filter } => {
            let (bucket, filter) = (state.bucket(&bucket)?, Filter::parse(&filter)?);
            Outcome::Groups(bucket.group_by(&by, function, &field, &filter))
        }
    })
}

/// One write of records.
pub(super) fn write(
    draft: &mut Draft<'_>,
    intent: Intent,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    let id = |draft: &Draft<'_>, name: &str| draft.state().bucket(name).map(Bucket::id);
    Ok(match intent {
        Intent::Insert { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            Outcome::Record(write::insert(draft, bucket, &data, ctx)?)
        }
        Intent::InsertMany { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            bounded(data.len())?;
            let records = data.iter().map(|data| write::insert(draft, bucket, data, ctx));
            Outcome::Records(records.collect::<Result<_, _>>()?)
        }
        Intent::Update { bucket, key, changes } => {
            let bucket = id(draft, &bucket)?;
            Outcome::Record(write::update(draft, bucket, &key, &changes, ctx)?)
        }
        Intent::UpdateMany { bucket, filter, changes } => {
            let bucket = id(draft, &bucket)?;
            let rows = matching(draft, bucket, &filter)?;
            for row in &rows {
                write::update_row(draft, bucket, *row, &changes, ctx)?;
            }
            Outcome::Count(rows.len())
        }
        Intent::Upsert { bucket, data } => {
            let bucket = id(draft, &bucket)?;
            Outcome::Record(write::upsert(draft, bucket, &data, ctx)?)
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
        _ => return Err(StoreError::NotInTransaction),
    })
}

/// The rows that match, as they are before the first of them is changed.
fn matching(draft: &Draft<'_>, bucket: crate::BucketId, filter: &Object) -> Result<Vec<RowId>, StoreError> {
    let filter = Filter::parse(filter)?;
    let rows: Vec<RowId> = draft.bucket(bucket)?.scan(&filter).rows().take(MAX_RECORDS_WRITTEN + 1).collect();
    bounded(rows.len()).map(|()| rows)
}

fn bounded(records: usize) -> Result<(), StoreError> {
    if records <= MAX_RECORDS_WRITTEN {
        return Ok(());
    }
    Err(StoreError::LimitReached { what: "records for one write", limit: MAX_RECORDS_WRITTEN })
}
