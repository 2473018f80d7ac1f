//! Removals, and what they take with them.

use serde_json::{Map, Value};

use super::write;
use crate::draft::Draft;
use crate::limits::{MAX_EVICTION_SKIPS, MAX_RECORDS_WRITTEN};
use crate::{BucketId, Cause, Change, Context, Key, OnDelete, Outcome, Record, RowId, StoreError};

/// Removes the record with this key; whether it was there.
pub(super) fn delete(
    draft: &mut Draft<'_>,
    bucket: BucketId,
    key: &Value,
    ctx: &mut Context<'_>,
) -> Result<bool, StoreError> {
    let found = Key::of(key).and_then(|key| draft.state().bucket_by_id(bucket)?.find(key));
    let Some((row, _)) = found else { return Ok(false) };
    remove(draft, bucket, row, Cause::Deleted, ctx)?;
    Ok(true)
}

/// Removes a row and all that refers to it by `cascade`, and clears the fields that refer to any of these by `set_null`.
/// Rows that are gone are not visited again, so cycles end. Whether anything that restricts is left is checked when the
/// write is complete.
pub(super) fn remove(
    draft: &mut Draft<'_>,
    bucket: BucketId,
    row: RowId,
    cause: Cause,
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    let mut waiting = vec![(bucket, row, cause)];
    while let Some((id, row, cause)) = waiting.pop() {
        let bucket = draft.bucket(id)?;
        let Some(record) = bucket.row(row).cloned() else { continue };
        let referrers = draft.state().referrers(bucket.name()).to_vec();
        draft.remove(id, row, cause);
        if draft.touched().len() > MAX_RECORDS_WRITTEN {
            return Err(StoreError::LimitReached {
                what: "records for one write",
                limit: MAX_RECORDS_WRITTEN,
            });
        }
        if referrers.is_empty() {
            continue;
        }
        for referrer in referrers.iter().filter(|referrer| referrer.on_delete != OnDelete::Restrict) {
            let rows = referring(draft, id, &record, referrer.bucket, referrer.slot)?;
            match referrer.on_delete {
                OnDelete::Restrict => {}
                OnDelete::Cascade => {
                    waiting.extend(rows.into_iter().map(|row| (referrer.bucket, row, Cause::Cascaded)));
                }
                OnDelete::SetNull => {
                    let field = draft.bucket(referrer.bucket)?.definition().fields().get(referrer.slot);
                    let name = field.map(|field| field.name().to_owned()).unwrap_or_default();
                    let changes = Map::from_iter([(name, Value::Null)]);
                    for row in rows {
                        write::update_row(draft, referrer.bucket, row, &changes, ctx)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The rows of `source` whose field at `slot` refers to `record`, which bucket `target` has or had.
fn referring(
    draft: &Draft<'_>,
    target: BucketId,
    record: &Record,
    source: BucketId,
    slot: usize,
) -> Result<Vec<RowId>, StoreError> {
    let Some(key) = draft.bucket(target)?.key_of(record) else { return Ok(Vec::new()) };
    Ok(draft.bucket(source)?.referring(slot, key).map(|(row, _)| row).collect())
}

/// Removes all records; how many there were. One small change, unless other buckets refer to them.
pub(super) fn clear(draft: &mut Draft<'_>, id: BucketId, ctx: &mut Context<'_>) -> Result<usize, StoreError> {
    let bucket = draft.bucket(id)?;
    let removed = bucket.len();
    if removed == 0 {
        return Ok(0);
    }
    let others = draft.state().referrers(bucket.name()).iter().filter(|referrer| referrer.bucket != id);
    let referred =
        others.filter_map(|referrer| draft.state().bucket_by_id(referrer.bucket).zip(Some(referrer.slot)));
    if !referred.into_iter().any(|(source, slot)| source.refers_at_all(slot)) {
        draft.change(Change::Clear { bucket: id })?;
        return Ok(removed);
    }
    let rows: Vec<RowId> = bucket.rows().map(|(row, _)| row).take(MAX_RECORDS_WRITTEN + 1).collect();
    for row in rows {
        remove(draft, id, row, Cause::Deleted, ctx)?;
    }
    Ok(removed)
}

/// Makes room for `more` records in a bucket that has a `maxSize`: the oldest go, but neither those that this write has
/// made nor those that others restrict.
pub(super) fn make_room(
    draft: &mut Draft<'_>,
    id: BucketId,
    more: usize,
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    loop {
        let bucket = draft.bucket(id)?;
        let Some(max_size) = bucket.definition().max_size() else { return Ok(()) };
        if bucket.len() + more <= max_size {
            return Ok(());
        }
        let oldest = bucket.rows().take(MAX_EVICTION_SKIPS);
        let mut may_go = oldest
            .filter(|(row, record)| !draft.has_touched(id, *row) && !is_restricted(draft, id, *row, record));
        let Some((row, _)) = may_go.next() else {
            return Err(StoreError::BucketFull { bucket: (&**bucket.name()).into(), max_size });
        };
        remove(draft, id, row, Cause::Evicted, ctx)?;
    }
}

/// Whether a record of this bucket cannot be removed because others refer to it.
fn is_restricted(draft: &Draft<'_>, id: BucketId, own: RowId, record: &Record) -> bool {
    let Some(bucket) = draft.state().bucket_by_id(id) else { return false };
    let Some(key) = bucket.key_of(record) else { return false };
    let referrers = draft.state().referrers(bucket.name()).iter();
    referrers.filter(|referrer| referrer.on_delete == OnDelete::Restrict).any(|referrer| {
        let source = draft.state().bucket_by_id(referrer.bucket);
        source.is_some_and(|source| {
            source.referring(referrer.slot, key).any(|(row, _)| (referrer.bucket, row) != (id, own))
        })
    })
}

/// Removes a record whose time is over; nothing if it is not, or is gone.
pub(super) fn expire(
    draft: &mut Draft<'_>,
    id: BucketId,
    row: RowId,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    let due = draft.state().bucket_by_id(id).is_some_and(|bucket| {
        let deadline = bucket.row(row).and_then(Record::expires_at);
        bucket.definition().ttl().is_some() && deadline.is_some_and(|deadline| deadline <= ctx.now)
    });
    if due {
        remove(draft, id, row, Cause::Expired, ctx)?;
    }
    Ok(Outcome::Deleted { existed: due })
}
