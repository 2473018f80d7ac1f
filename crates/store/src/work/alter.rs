//! Makes the records of a bucket fit its changed definition, or says which one does not.
//!
//! It looks at every row, and writes those that get new values; nobody else can write meanwhile. A million small records
//! are a matter of seconds, and the commit is as large as the records that were written.

use std::sync::Arc;

use serde_json::Value;

use super::check;
use super::remove::make_room;
use super::write::counted;
use crate::draft::Draft;
use crate::encode::Encoder;
use crate::generate::generate;
use crate::limits::MAX_AUTOINCREMENT;
use crate::members::each_member;
use crate::record::Metadata;
use crate::schema::is_metadata;
use crate::validate::{Checked, check_length, check_value};
use crate::{
    Bucket, BucketId, Change, Context, Definition, Field, FieldValue, Generator, Issue, Key, Object, Outcome,
    Record, RowId, StoreError, system,
};

/// Changes a definition. What the records say about it shows when it is in force; if they do not keep it, all is undone.
pub(super) fn update_bucket(
    draft: &mut Draft<'_>,
    name: &str,
    updates: &Object,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    system::refuse(name)?;
    let bucket = draft.state().bucket(name).map_err(StoreError::administrative)?;
    let (id, old) = (bucket.id(), bucket.definition().clone());
    let new = old.updated(name, updates)?;
    system::refuse_references(name, &new)?;
    nothing_missing(bucket, &old, &new)?;
    // While the old definition is in force: what the eviction writes cannot have the new fields yet.
    if let Some(max_size) = new.max_size() {
        make_room(draft, id, 0, max_size, ctx)?;
    }
    draft.change(Change::UpdateBucket { bucket: id, config: new.config().clone() })?;
    raise_counters(draft, id, &old)?;
    backfill(draft, id, &old, ctx)?;
    let bucket = draft.bucket(id)?;
    keep_rules(bucket, &old)?;
    if let Some((spec, _, row)) = bucket.duplicates()
        && let Some(record) = bucket.row(row)
    {
        return Err(check::not_unique(bucket, spec, record));
    }
    keep_references(draft, bucket, &old)?;
    Ok(Outcome::BucketUpdated)
}

/// The fields that were not there before, with their places. Old fields stand first.
fn added<'a>(old: &Definition, new: &'a Definition) -> impl Iterator<Item = (usize, &'a Field)> {
    new.fields().iter().enumerate().skip(old.fields().len())
}

/// An added field that is required must be filled by something.
fn nothing_missing(bucket: &Bucket, old: &Definition, new: &Definition) -> Result<(), StoreError> {
    let unfilled = |(_, field): &(usize, &Field)| {
        field.rules.required && field.generated().is_none() && field.default.is_none()
    };
    let mut issues = Vec::new();
    for (slot, field) in added(old, new).filter(unfilled) {
        let missing = bucket.iter().filter(|record| record.field(slot, field.name()).is_nullish()).count();
        if missing > 0 {
            let message = format!(
                "{missing} of {} records have no value for this required field; give it a \"default\" or \"generated\", or \
                 write the values before it becomes required",
                bucket.len()
            );
            issues.push(Issue::new(format!("addFields.{}.required", field.name()), "required", message));
        }
    }
    if issues.is_empty() {
        return Ok(());
    }
    Err(StoreError::InvalidDefinition { bucket: (&**bucket.name()).into(), issues })
}

/// Moves the counter past the numbers that the records have in fields that count from now on.
fn raise_counters(draft: &mut Draft<'_>, id: BucketId, old: &Definition) -> Result<(), StoreError> {
    let bucket = draft.bucket(id)?;
    let counts = |field: &Field| field.generated() == Some(Generator::Autoincrement);
    let counting = bucket
        .definition()
        .fields()
        .iter()
        .enumerate()
        .filter(|(slot, field)| counts(field) && !old.fields().get(*slot).is_some_and(counts));
    let largest = counting
        .flat_map(|(slot, field)| {
            bucket.iter().filter_map(move |record| counted(&record.field(slot, field.name())))
        })
        .max();
    let mut counters = bucket.counters();
    if let Some(largest) = largest.filter(|largest| *largest > counters.autoincrement) {
        counters.autoincrement = largest;
        draft.set_counters(id, counters)?;
    }
    Ok(())
}

/// Writes the values of added fields into the records that lack them, in table order. Nobody has changed these records, so
/// `_version` and `_updatedAt` stay: a client that holds one can go on updating it, and "changed since" finds what people
/// have changed. What a record already carries under the name of the field is its value.
fn backfill(
    draft: &mut Draft<'_>,
    id: BucketId,
    old: &Definition,
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    let bucket = draft.bucket(id)?;
    let definition = Arc::clone(bucket.definition());
    let fill: Vec<(usize, &Field)> = added(old, &definition)
        .filter(|(_, field)| field.generated().is_some() || field.default.is_some())
        .collect();
    if fill.is_empty() {
        return Ok(());
    }
    let lacks = |record: &Record| {
        fill.iter().any(|(slot, field)| record.field(*slot, field.name()) == FieldValue::Absent)
    };
    let rows: Vec<RowId> = bucket.rows().filter(|(_, record)| lacks(record)).map(|(row, _)| row).collect();
    let mut counters = bucket.counters();
    for row in rows {
        let bucket = draft.bucket(id)?;
        let Some(record) = bucket.row(row) else { continue };
        let number = counters.autoincrement.saturating_add(1);
        let mut values: Vec<(usize, &Field, Value)> = Vec::with_capacity(fill.len());
        for (slot, field) in &fill {
            if record.field(*slot, field.name()) != FieldValue::Absent {
                continue;
            }
            let value = match (field.generated(), &field.default) {
                (Some(Generator::Autoincrement), _) => {
                    if number > MAX_AUTOINCREMENT {
                        return Err(StoreError::CounterExhausted { bucket: (&**bucket.name()).into() });
                    }
                    counters.autoincrement = number;
                    number.into()
                }
                (Some(generator), _) => generate(generator, number, ctx),
                (None, Some(default)) => default.clone(),
                (None, None) => continue,
            };
            values.push((*slot, *field, value));
        }
        let filled = filled(bucket, record, &values)?;
        draft.put(id, row, &filled)?;
    }
    if draft.bucket(id)?.counters() != counters {
        draft.set_counters(id, counters)?;
    }
    Ok(())
}

/// The record with these values behind its members.
fn filled(bucket: &Bucket, old: &Record, values: &[(usize, &Field, Value)]) -> Result<Record, StoreError> {
    let definition = bucket.definition();
    let mut encoder = Encoder::new(definition.fields().len(), old.json().len() + 64 * values.len());
    // A record's text was made or checked by this crate, so it always walks to its end.
    let _ = each_member(old.json(), |name, raw| {
        if !is_metadata(&name) {
            encoder.push_raw(&name, definition.slot(&name), raw);
        }
    });
    for (slot, field, value) in values {
        encoder.push(field.name(), Some(*slot), value);
    }
    check_length(bucket.name(), encoder.len())?;
    let (version, created, updated) = (old.version(), old.created_at(), old.updated_at());
    Ok(encoder.finish(Metadata { version, created, updated, expires: old.expires() }))
}

/// Holds all records to the rules that are new or others than before. The first record that does not keep them is told in
/// full, the rest by their number.
fn keep_rules(bucket: &Bucket, old: &Definition) -> Result<(), StoreError> {
    let stricter: Vec<(usize, &Field)> = bucket.definition().stricter_than(old).collect();
    if stricter.is_empty() {
        return Ok(());
    }
    let mut first: Option<(&Record, Vec<Issue>)> = None;
    let mut failing = 0;
    for record in bucket.iter() {
        let mut issues = Vec::new();
        for (slot, field) in &stricter {
            check_value(field, &Checked::Stored(record.field(*slot, field.name())), &mut issues);
        }
        if !issues.is_empty() {
            failing += 1;
            first.get_or_insert((record, issues));
        }
    }
    let Some((record, mut issues)) = first else { return Ok(()) };
    let key = bucket.key_of(record).map_or(Value::Null, Key::to_value);
    let message = format!(
        "{failing} of {} records do not keep the new definition; change them first. This is the one with key {key}",
        bucket.len()
    );
    issues.insert(0, Issue::new("_record", "definition", message));
    Err(StoreError::Validation { bucket: (&**bucket.name()).into(), issues })
}

/// What the records hold in fields that refer to another bucket than before must be keys of records there.
fn keep_references(draft: &Draft<'_>, bucket: &Bucket, old: &Definition) -> Result<(), StoreError> {
    let target = |field: &Field| field.reference().map(|reference| reference.bucket.clone());
    for (slot, field) in bucket.definition().fields().iter().enumerate() {
        let Some(reference) = field.reference() else { continue };
        if old.fields().get(slot).and_then(target).as_deref() == Some(&*reference.bucket) {
            continue;
        }
        let mut values = bucket.iter().map(|record| record.field(slot, field.name()));
        let mut referring = values.by_ref().filter(|value| !value.is_nullish()).peekable();
        if referring.peek().is_none() {
            continue;
        }
        let target = draft.state().bucket(&reference.bucket)?;
        referring.try_for_each(|value| check::is_there(bucket, field, reference, target, &value))?;
    }
    Ok(())
}
