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
                .and_then(|()| references(draft, bucket, record, touched.before.as_ref(), emptied))
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
        Some((spec, _)) => {
            let fields = spec.slots.iter().filter_map(|slot| bucket.definition().fields().get(*slot));
            let hidden =
                draft.rule(bucket).and_then(|rule| rule.hidden().touched_by(fields.map(Field::name)));
            Err(match hidden {
                None => not_unique(bucket, spec, record),
                Some(_) => StoreError::NotUniqueUnseen { bucket: (&**bucket.name()).into() },
            })
        }
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

/// What a record newly refers to must be there, and for whoever writes to see. `all` that it refers to must be there if that
/// may have gone.
fn references(
    draft: &Draft<'_>,
    bucket: &Bucket,
    record: &Record,
    before: Option<&Record>,
    all: bool,
) -> Result<(), StoreError> {
    for (slot, field) in bucket.definition().fields().iter().enumerate() {
        let Some(reference) = field.reference() else { continue };
        let value = record.field(slot, field.name());
        let old = before.map(|record| record.field(slot, field.name()));
        let same = old.as_ref() == Some(&value);
        if value.is_nullish() || same && !all {
            continue;
        }
        let target = draft.state().bucket(&reference.bucket)?;
        let found = Key::of_field(&value).and_then(|key| target.find(key));
        if found.is_some_and(|(_, referred)| same || draft.shows(target, referred, [])) {
            continue;
        }
        return Err(if draft.shows(bucket, record, [field.name()]) {
            missing(bucket, field, reference, &value)
        } else {
            StoreError::ReferencedUnseen
        });
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
    Err(missing(bucket, field, reference, value))
}

fn missing(bucket: &Bucket, field: &Field, reference: &Reference, value: &FieldValue<'_>) -> StoreError {
    StoreError::ReferenceMissing {
        bucket: (&**bucket.name()).into(),
        field: field.name().into(),
        target: (&*reference.bucket).into(),
        key: value.to_value(),
    }
}

/// Everything that a record refers to must be there.
pub(super) fn all_references(draft: &Draft<'_>, bucket: &Bucket, record: &Record) -> Result<(), StoreError> {
    references(draft, bucket, record, None, true)
}

/// Nobody may refer to a key that its record no longer has, unless another one has it now. Where a record was removed, what
/// cascades or clears its field has done so already.
fn not_referenced(draft: &Draft<'_>, bucket: &Bucket, touched: &Touched) -> Result<(), StoreError> {
    let Some(before) = &touched.before else { return Ok(()) };
    let Some(key) = bucket.key_of(before) else { return Ok(()) };
    if bucket.find(key).is_some() {
        return Ok(());
    }
    for referrer in draft.state().referrers(bucket.name()) {
        let Some(source) = draft.state().bucket_by_id(referrer.bucket) else { continue };
        if let Some((_, record)) = source.referring(referrer.slot, key).next() {
            let field = source.definition().fields().get(referrer.slot).map_or("", |field| field.name());
            let shown = draft.shows(bucket, before, [bucket.definition().key().name()])
                && draft.shows(source, record, [field, source.definition().key().name()]);
            if !shown {
                return Err(StoreError::ReferencedUnseen);
            }
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
