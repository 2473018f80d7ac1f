//! Notes what belongs to the server.

use super::{remove, write};
use crate::draft::Draft;
use crate::{
    BucketId, Cause, Change, Context, Definition, Key, Outcome, StoreError, SystemRecord, SystemWrite, system,
};

/// Writes entries and records of system buckets.
pub(super) fn run(
    draft: &mut Draft<'_>,
    noted: SystemWrite,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    for (key, value) in noted.entries {
        draft.set_entry(key, value);
    }
    for SystemRecord { bucket, key, data } in noted.records {
        if let Some(data) = data {
            let id = defined(draft, bucket)?;
            write::upsert(draft, id, &data, ctx)?;
            continue;
        }
        let Ok(bucket) = draft.state().bucket(bucket) else { continue };
        let found = Key::of(&key).and_then(|key| bucket.find(key));
        if let Some((row, id)) = found.map(|(row, _)| (row, bucket.id())) {
            remove::remove(draft, id, row, Cause::Deleted, ctx)?;
        }
    }
    Ok(Outcome::Told(noted.answer.unwrap_or_else(|| "null".into())))
}

/// The system bucket of this name, which is made now if it is not there.
fn defined(draft: &mut Draft<'_>, name: &str) -> Result<BucketId, StoreError> {
    if let Ok(bucket) = draft.state().bucket(name) {
        return Ok(bucket.id());
    }
    let definition = Definition::parse(name, &system::config(name))?;
    let bucket = BucketId(draft.state().next_bucket);
    draft.change(Change::DefineBucket { bucket, name: name.into(), config: definition.config().clone() })?;
    Ok(bucket)
}
