//! What must hold of the data as a whole, checked on the state that a write leaves.

use serde_json::Value;

use crate::draft::{Draft, Touched};
use crate::schema::IndexSpec;
use crate::{Bucket, Field, FieldValue, Key, Record, Reference, Referenced, StoreError};

/// Unique values and references, as far as the write can have changed them. A fault is told with the last operation that
/// changed its row, if the write is a transaction.
pub(super) fn whole(draft: &Draft<'_>) -> Result<(), StoreError> {
    // What went with its bucket was not touched, so what a record referred to before the write may be gone.
    let emptied = draft.has_emptied_buckets();
    for touched in draft.touched() {
        // A bucket that is gone took its rows with it.
        let Some(bucket) = draft.state().bucket_by_id(touched.bucket) else { continue };
        let checked = match bucket.row(touched.row) {
            Some(record) => unique(draft, bucket, record, touched)
                .and_then(|()| {
                    references(draft, bucket, record, touched.before.as_ref().filter(|_| !emptied))
                })
                .and_then(|()| not_referenced(draft, bucket, touched)),
            None => not_referenced(draft, bucket, touched),
        };
        checked.map_err(|error| match touched.operation {
            Some(index) => StoreError::Operation { index, error: error.into() },
            None => error,
        })?;
    }
    Ok(())
}

fn unique(draft: &Draft<'_>, bucket: &Bucket, record: &Record, touched: &Touched) -> Result<(), StoreError> {
    match bucket.unique_conflict(record, Some(touched.row)) {
        None => Ok(()),
        // Of two that the write has changed the later one is to blame, and meets this one in its turn.
        Some((_, holder)) if draft.operation_of(bucket.id(), holder) > touched.operation => Ok(()),
        Some((spec, _)) => Err(not_unique(bucket, spec, record)),
    }
}

/// Another record has what `record` has in the fields of a unique index.
pub(super) fn not_unique(bucket: &Bucket, spec: &IndexSpec, record: &Record) -> StoreError {
    let fields = spec.slots.iter().filter_map(|slot| Some((*slot, bucket.definition().fields().get(*slot)?)));
    let mut named: Vec<(String, Value)> = fields
        .map(|(slot, field)| (field.name().to_owned(), record.field(slot, field.name()).to_value()))
        .collect();
    let name = (&**bucket.name()).into();
    match (named.pop(), named.is_empty()) {
        (Some((field, value)), true) => StoreError::NotUnique { bucket: name, field: field.into(), value },
        (last, _) => {
            let (fields, values) = named.into_iter().chain(last).unzip();
            StoreError::NotUniqueTogether { bucket: name, fields, values }
        }
    }
}

/// What a record newly refers to must be there.
fn references(
    draft: &Draft<'_>,
    bucket: &Bucket,
    record: &Record,
    before: Option<&Record>,
) -> Result<(), StoreError> {
    for (slot, field) in bucket.definition().fields().iter().enumerate() {
        let Some(reference) = field.reference() else { continue };
        let value = record.field(slot, field.name());
        let old = before.map(|record| record.field(slot, field.name()));
        if value.is_nullish() || old.as_ref() == Some(&value) {
            continue;
        }
        let target = draft.state().bucket(&reference.bucket)?;
        is_there(bucket, field, reference, target, &value)?;
    }
    Ok(())
}

/// What a field holds must be the key of a record of the bucket that it refers to.
pub(super) fn is_there(
    bucket: &Bucket,
    field: &Field,
    reference: &Reference,
    target: &Bucket,
    value: &FieldValue<'_>,
) -> Result<(), StoreError> {
    if Key::of_field(value).and_then(|key| target.find(key)).is_some() {
        return Ok(());
    }
    Err(StoreError::ReferenceMissing {
        bucket: (&**bucket.name()).into(),
        field: field.name().into(),
        target: (&*reference.bucket).into(),
        key: value.to_value(),
    })
}

/// Everything that a record refers to must be there.
pub(super) fn all_references(draft: &Draft<'_>, bucket: &Bucket, record: &Record) -> Result<(), StoreError> {
    references(draft, bucket, record, None)
}

/// Nobody may refer to a key that its record no longer has, unless another one has it now. Where a record was removed, what
/// cascades or clears its field has done so already.
fn not_referenced(draft: &Draft<'_>, bucket: &Bucket, touched: &Touched) -> Result<(), StoreError> {
    let Some(key) = touched.before.as_ref().and_then(|record| bucket.key_of(record)) else { return Ok(()) };
    if bucket.find(key).is_some() {
        return Ok(());
    }
    for referrer in draft.state().referrers(bucket.name()) {
        let Some(source) = draft.state().bucket_by_id(referrer.bucket) else { continue };
        if let Some((_, record)) = source.referring(referrer.slot, key).next() {
            let field = source.definition().fields().get(referrer.slot).map_or("", |field| field.name());
            return Err(StoreError::Referenced(Box::new(Referenced {
                bucket: (&**bucket.name()).into(),
                key: key.to_value(),
                by: (&**source.name()).into(),
                by_key: source.key_of(record).map_or(Value::Null, Key::to_value),
                field: field.into(),
            })));
        }
    }
    Ok(())
}
