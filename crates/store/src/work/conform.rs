//! Holds a whole bucket to its definition, after that has changed.

use serde_json::Value;

use super::check;
use crate::draft::Draft;
use crate::validate::{Checked, check_record};
use crate::{BucketId, Context, StoreError};

/// Checks every record: its schema, the embedder's rules, uniqueness, references. Costs a look at every record.
pub(super) fn whole_bucket(draft: &Draft<'_>, id: BucketId, ctx: &Context<'_>) -> Result<(), StoreError> {
    // A bucket that the migration has dropped again has nothing to keep.
    let Some(bucket) = draft.state().bucket_by_id(id) else { return Ok(()) };
    for record in bucket.iter() {
        check_record(bucket.name(), bucket.definition(), |slot, field| {
            Checked::Stored(record.field(slot, field.name()))
        })?;
        let issues = ctx.validators.check(bucket.name(), record);
        if !issues.is_empty() {
            return Err(StoreError::Validation { bucket: (&**bucket.name()).into(), issues });
        }
        check::all_references(draft, bucket, record)?;
    }
    match bucket.duplicates() {
        None => Ok(()),
        Some((spec, row, _)) => {
            let record = bucket.row(row);
            Err(record.map_or_else(
                || StoreError::NotUnique {
                    bucket: (&**bucket.name()).into(),
                    field: "".into(),
                    value: Value::Null,
                },
                |record| check::not_unique(bucket, spec, record),
            ))
        }
    }
}
