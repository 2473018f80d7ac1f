//! Removals, and what they take with them.

use serde_json::{Map, Value};

use super::write;
use crate::draft::Draft;
use crate::limits::{MAX_EVICTION_SKIPS, MAX_RECORDS_WRITTEN};
use crate::{BucketId, Cause, Change, Context, Key, Object, OnDelete, Outcome, Record, RowId, StoreError};

/// Removes the record with this key; whether it was there, as far as the writer sees.
pub(super) fn delete(
    draft: &mut Draft<'_>,
    bucket: BucketId,
    key: &Value,
    ctx: &mut Context<'_>,
) -> Result<bool, StoreError> {
    let id = bucket;
    let bucket = draft.bucket(id)?;
    write::key_open_to(bucket, draft.rule(bucket))?;
    let found = Key::of(key).and_then(|key| bucket.find(key));
    let Some((row, record)) = found.filter(|(_, record)| draft.shows(bucket, record, [])) else {
        return Ok(false);
    };
    if let Some(rule) = draft.rule(bucket) {
        write::may_write(bucket, rule, record)?;
    }
    remove(draft, id, row, Cause::Deleted, ctx)?;
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
        bounded(draft)?;
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
                        write::update_row(draft, referrer.bucket, row, &changes, ctx)
                            .map_err(|error| unless_shown(draft, referrer.bucket, row, &changes, error))?;
                        bounded(draft)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Why a row could not be changed, as far as the writer may know of that row.
fn unless_shown(
    draft: &Draft<'_>,
    id: BucketId,
    row: RowId,
    changes: &Object,
    error: StoreError,
) -> StoreError {
    let shown = draft.bucket(id).is_ok_and(|bucket| {
        bucket.row(row).is_some_and(|record| draft.shows(bucket, record, changes.keys().map(String::as_str)))
    });
    if shown { error } else { StoreError::ReferencedUnseen }
}

/// Refuses a write that has changed too much.
pub(super) fn bounded(draft: &Draft<'_>) -> Result<(), StoreError> {
    if draft.changes() <= MAX_RECORDS_WRITTEN {
        return Ok(());
    }
    Err(StoreError::LimitReached { what: "records for one write", limit: MAX_RECORDS_WRITTEN })
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
    if draft.rule(bucket).is_some() {
        return Err(StoreError::NotWhole { bucket: (&**bucket.name()).into() });
    }
    let removed = bucket.len();
    if removed == 0 || clear_at_once(draft, id, &[id])? {
        return Ok(removed);
    }
    let bucket = draft.bucket(id)?;
    let rows: Vec<RowId> = bucket.rows().map(|(row, _)| row).take(MAX_RECORDS_WRITTEN + 1).collect();
    for row in rows {
        remove(draft, id, row, Cause::Deleted, ctx)?;
    }
    Ok(removed)
}

/// Removes all records of several buckets. What these refer to among themselves goes with them and is in nobody's way.
pub(super) fn clear_together(
    draft: &mut Draft<'_>,
    ids: &[BucketId],
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    let mut referred = Vec::new();
    for id in ids {
        if !clear_at_once(draft, *id, ids)? {
            referred.push(*id);
        }
    }
    for id in referred {
        clear(draft, id, ctx)?;
    }
    Ok(())
}

/// Removes all records by one small change; `false`, and nothing is done, if records of buckets other than `together` refer
/// to them.
fn clear_at_once(draft: &mut Draft<'_>, id: BucketId, together: &[BucketId]) -> Result<bool, StoreError> {
    let bucket = draft.bucket(id)?;
    if bucket.is_empty() {
        return Ok(true);
    }
    let referrers = draft.state().referrers(bucket.name()).iter();
    let mut others = referrers.filter(|referrer| !together.contains(&referrer.bucket));
    if others.any(|referrer| {
        draft.state().bucket_by_id(referrer.bucket).is_some_and(|source| source.refers_at_all(referrer.slot))
    }) {
        return Ok(false);
    }
    draft.change(Change::Clear { bucket: id })?;
    Ok(true)
}

/// Makes room for `more` records in a bucket that may have `max_size`: the oldest go, but not those that others restrict
/// and, if there are more to come, not those that this write has made.
pub(super) fn make_room(
    draft: &mut Draft<'_>,
    id: BucketId,
    more: usize,
    max_size: usize,
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    loop {
        let bucket = draft.bucket(id)?;
        if bucket.len() + more <= max_size {
            return Ok(());
        }
        let oldest = bucket.rows().take(MAX_EVICTION_SKIPS);
        let is_own = |row: RowId| more > 0 && draft.has_touched(id, row);
        let mut may_go =
            oldest.filter(|(row, record)| !is_own(*row) && !is_restricted(draft, id, *row, record));
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
