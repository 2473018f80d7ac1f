//! Inserts and updates of records.

use std::collections::HashMap;

use serde_json::Value;

use super::remove::make_room;
use crate::draft::Draft;
use crate::encode::Encoder;
use crate::generate::generate;
use crate::limits::{MAX_AUTOINCREMENT, MAX_FAULTS};
use crate::members::each_member;
use crate::record::{Expiry, Metadata};
use crate::schema::{CREATED_AT, EXPIRES_AT, UPDATED_AT, VERSION, is_metadata};
use crate::validate::{Checked, check_depth, check_length, check_record};
use crate::{
    Bucket, BucketId, Context, Counters, Definition, FieldValue, Generator, Issue, Key, Number, Object,
    Record, RowId, RowRule, StoreError,
};

/// Bytes that a record's text needs beyond its given members: generated ids, metadata, punctuation.
const ENCODING_RESERVE: usize = 160;

/// Up to so many changes are looked for one by one: quicker than hashing.
const FEW_CHANGES: usize = 16;

/// Adds a record.
pub(super) fn insert(
    draft: &mut Draft<'_>,
    id: BucketId,
    data: &Object,
    ctx: &mut Context<'_>,
) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    let rule = draft.rule(bucket);
    open_to(bucket, rule, data)?;
    let (record, counters) = new_record(bucket, data, Kept::Nothing, ctx)?;
    may_be(bucket, rule, &record)?;
    add(draft, id, record, counters, ctx)
}

/// Adds a record that was exported: `_version`, `_createdAt` and `_updatedAt` stay as given.
pub(super) fn import(
    draft: &mut Draft<'_>,
    id: BucketId,
    data: &Object,
    ctx: &mut Context<'_>,
) -> Result<(), StoreError> {
    let (record, counters) = new_record(draft.bucket(id)?, data, Kept::Metadata, ctx)?;
    add(draft, id, record, counters, ctx).map(drop)
}

/// Updates the record whose key `data` has; inserts it if there is none, as far as the writer sees.
pub(super) fn upsert(
    draft: &mut Draft<'_>,
    id: BucketId,
    data: &Object,
    ctx: &mut Context<'_>,
) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    open_to(bucket, draft.rule(bucket), data)?;
    let key = data.get(bucket.definition().key().name());
    let found = key.and_then(Key::of).and_then(|key| bucket.find(key));
    match found.filter(|(_, record)| draft.shows(bucket, record, [])) {
        Some((row, _)) => change_row(draft, id, row, data, ctx),
        None => insert(draft, id, data, ctx),
    }
}

/// Changes the record with this key.
pub(super) fn update(
    draft: &mut Draft<'_>,
    id: BucketId,
    key: &Value,
    changes: &Object,
    ctx: &mut Context<'_>,
) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    open_to(bucket, draft.rule(bucket), changes)?;
    key_open_to(bucket, draft.rule(bucket))?;
    let found = Key::of(key).and_then(|key| bucket.find(key));
    let Some((row, _)) = found.filter(|(_, record)| draft.shows(bucket, record, [])) else {
        return Err(StoreError::RecordNotFound { bucket: (&**bucket.name()).into(), key: key.clone() });
    };
    change_row(draft, id, row, changes, ctx)
}

/// Changes the record in this row, which the writer sees and whose changed members are not hidden from him.
pub(super) fn change_row(
    draft: &mut Draft<'_>,
    id: BucketId,
    row: RowId,
    changes: &Object,
    ctx: &Context<'_>,
) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    let rule = draft.rule(bucket);
    if let (Some(rule), Some(old)) = (rule, bucket.row(row)) {
        may_write(bucket, rule, old)?;
    }
    let record = changed(bucket, row, changes, rule, ctx)?;
    may_be(bucket, rule, &record)?;
    draft.put(id, row, &record)?;
    Ok(record)
}

/// Changes the record in this row, whoever has caused it.
pub(super) fn update_row(
    draft: &mut Draft<'_>,
    id: BucketId,
    row: RowId,
    changes: &Object,
    ctx: &Context<'_>,
) -> Result<(), StoreError> {
    let record = changed(draft.bucket(id)?, row, changes, None, ctx)?;
    draft.put(id, row, &record)
}

fn changed(
    bucket: &Bucket,
    row: RowId,
    changes: &Object,
    rule: Option<&RowRule>,
    ctx: &Context<'_>,
) -> Result<Record, StoreError> {
    let Some(old) = bucket.row(row) else {
        return Err(StoreError::RecordNotFound { bucket: (&**bucket.name()).into(), key: Value::Null });
    };
    let record = changed_record(bucket, old, changes, ctx.now)?;
    custom(bucket, &record, rule, ctx)?;
    Ok(record)
}

/// Refuses to write members that are hidden.
pub(super) fn open_to(bucket: &Bucket, rule: Option<&RowRule>, data: &Object) -> Result<(), StoreError> {
    rule.map_or(Ok(()), |rule| rule.open_to(bucket.name(), data.keys().map(String::as_str)))
}

/// Refuses to look a record up by a key that is hidden.
pub(super) fn key_open_to(bucket: &Bucket, rule: Option<&RowRule>) -> Result<(), StoreError> {
    rule.map_or(Ok(()), |rule| rule.open_to(bucket.name(), [bucket.definition().key().name()]))
}

/// Refuses to change or remove a record that is seen, but may not be written.
pub(super) fn may_write(bucket: &Bucket, rule: &RowRule, old: &Record) -> Result<(), StoreError> {
    if rule.writes(bucket, old) {
        return Ok(());
    }
    let key = bucket.key_of(old).map_or(Value::Null, Key::to_value);
    Err(StoreError::NotWritable { bucket: (&**bucket.name()).into(), key })
}

/// Refuses to leave a record that may not be written.
fn may_be(bucket: &Bucket, rule: Option<&RowRule>, new: &Record) -> Result<(), StoreError> {
    if rule.is_none_or(|rule| rule.writes(bucket, new)) {
        return Ok(());
    }
    Err(StoreError::ResultNotWritable { bucket: (&**bucket.name()).into() })
}

/// Puts a new record into the next row, after making room for it.
fn add(
    draft: &mut Draft<'_>,
    id: BucketId,
    record: Record,
    counters: Counters,
    ctx: &mut Context<'_>,
) -> Result<Record, StoreError> {
    let bucket = draft.bucket(id)?;
    custom(bucket, &record, draft.rule(bucket), ctx)?;
    if let Some(key) = bucket.key_of(&record).filter(|key| bucket.find(*key).is_some()) {
        return Err(StoreError::KeyExists { bucket: (&**bucket.name()).into(), key: key.to_value() });
    }
    let row = RowId(bucket.counters().next_row);
    if let Some(max_size) = bucket.definition().max_size() {
        make_room(draft, id, 1, max_size, ctx)?;
    }
    draft.put(id, row, &record)?;
    draft.set_counters(id, counters)?;
    Ok(record)
}

/// Holds a record that keeps its schema to the embedder's rules. What these say of a hidden member is not told.
fn custom(
    bucket: &Bucket,
    record: &Record,
    rule: Option<&RowRule>,
    ctx: &Context<'_>,
) -> Result<(), StoreError> {
    let mut issues: Vec<Issue> = ctx.validators.check(bucket.name(), record);
    if issues.is_empty() {
        return Ok(());
    }
    for issue in &mut issues {
        if rule.is_some_and(|rule| rule.hidden().touches(&issue.field)) {
            *issue = Issue::custom("_record", "Does not go with a member that is hidden from you");
        }
    }
    issues.truncate(MAX_FAULTS);
    Err(StoreError::Validation { bucket: (&**bucket.name()).into(), issues })
}

/// What a new record keeps of the metadata it is given.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Nothing,
    Metadata,
}

/// The record that `data` makes, and the bucket's counters behind it.
fn new_record(
    bucket: &Bucket,
    data: &Object,
    kept: Kept,
    ctx: &mut Context<'_>,
) -> Result<(Record, Counters), StoreError> {
    let definition = bucket.definition();
    let counters = bucket.counters();
    let number = counters.autoincrement.saturating_add(1);
    let mut given: Vec<Option<&Value>> = vec![None; definition.fields().len()];
    for (name, value) in data {
        check_depth(bucket.name(), name, value)?;
        if let Some(place) = definition.slot(name).and_then(|slot| given.get_mut(slot)) {
            *place = Some(value);
        }
    }
    let mut filled: Vec<(usize, Value)> = Vec::new();
    for (slot, field) in definition.fields().iter().enumerate() {
        let Some(generator) = field.generated().filter(|_| is_absent(&given, slot)) else { continue };
        if generator == Generator::Autoincrement && number > MAX_AUTOINCREMENT {
            return Err(StoreError::CounterExhausted { bucket: (&**bucket.name()).into() });
        }
        filled.push((slot, generate(generator, number, ctx)));
    }
    for (slot, field) in definition.fields().iter().enumerate() {
        if let Some(default) = &field.default
            && field.generated().is_none()
            && is_absent(&given, slot)
        {
            filled.push((slot, default.clone()));
        }
    }
    let added = |slot: usize| filled.iter().find(|(other, _)| *other == slot).map(|(_, value)| value);
    check_record(bucket.name(), definition, |slot, _| {
        let value = given.get(slot).copied().flatten().or_else(|| added(slot));
        value.map_or(Checked::Stored(FieldValue::Absent), Checked::New)
    })?;
    let metadata = new_metadata(bucket, data, kept, ctx.now)?;
    let record = encode_new(bucket, data, &filled, metadata)?;
    let counters = Counters {
        next_row: counters.next_row.saturating_add(1),
        autoincrement: number.min(MAX_AUTOINCREMENT).max(largest_given(definition, &given)),
    };
    Ok((record, counters))
}

/// A record with other members and the metadata of `old`.
pub(super) fn rewritten(bucket: &Bucket, members: &Object, old: &Record) -> Result<Record, StoreError> {
    for (name, value) in members {
        check_depth(bucket.name(), name, value)?;
    }
    let (version, created, updated) = (old.version(), old.created_at(), old.updated_at());
    encode_new(bucket, members, &[], Metadata { version, created, updated, expires: old.expires() })
}

fn new_metadata(bucket: &Bucket, data: &Object, kept: Kept, now: u64) -> Result<Metadata, StoreError> {
    let given = |name: &str| data.get(name).filter(|_| kept == Kept::Metadata).and_then(Value::as_u64);
    let created = given(CREATED_AT).unwrap_or(now);
    let expires = match given_expiry(bucket, data)? {
        Expiry::Absent => match bucket.definition().ttl() {
            Some(ttl) => Expiry::At(created.saturating_add(ttl).into()),
            None => Expiry::Absent,
        },
        given => given,
    };
    let version = given(VERSION).filter(|version| *version > 0).unwrap_or(1);
    let updated = given(UPDATED_AT).unwrap_or(now);
    Ok(Metadata { version, created, updated, expires })
}

/// The `_expiresAt` that a writer gives.
fn given_expiry(bucket: &Bucket, data: &Object) -> Result<Expiry, StoreError> {
    let Some(value) = data.get(EXPIRES_AT) else { return Ok(Expiry::Absent) };
    Expiry::of(&FieldValue::of_value(value)).ok_or_else(|| {
        let issue = Issue::new(EXPIRES_AT, "type", "Expected a number (Unix milliseconds) or null");
        StoreError::Validation { bucket: (&**bucket.name()).into(), issues: vec![issue] }
    })
}

fn is_absent(given: &[Option<&Value>], slot: usize) -> bool {
    given.get(slot).is_none_or(Option::is_none)
}

fn encode_new(
    bucket: &Bucket,
    data: &Object,
    filled: &[(usize, Value)],
    metadata: Metadata,
) -> Result<Record, StoreError> {
    let definition = bucket.definition();
    let mut encoder = Encoder::new(definition.fields().len(), ENCODING_RESERVE + 16 * data.len());
    for (name, value) in data.iter().filter(|(name, _)| !is_metadata(name)) {
        encoder.push(name, definition.slot(name), value);
    }
    for (slot, value) in filled {
        let name = definition.fields().get(*slot).map_or("", |field| field.name());
        encoder.push(name, Some(*slot), value);
    }
    check_length(bucket.name(), encoder.len())?;
    Ok(encoder.finish(metadata))
}

/// The largest number given for an `autoincrement` field, so that the counter never comes to it again.
fn largest_given(definition: &Definition, given: &[Option<&Value>]) -> u64 {
    let fields = definition.fields().iter().zip(given);
    let numbers = fields
        .filter(|(field, _)| field.generated() == Some(Generator::Autoincrement))
        .filter_map(|(_, value)| counted(&FieldValue::of_value((*value)?)));
    numbers.max().unwrap_or(0)
}

/// The number, if it is one that `autoincrement` could hand out.
pub(super) fn counted(value: &FieldValue<'_>) -> Option<u64> {
    let int = value.as_number().and_then(Number::as_integer)?;
    u64::try_from(int).ok().filter(|int| *int <= MAX_AUTOINCREMENT)
}

/// The record that `changes` make of an old one.
fn changed_record(bucket: &Bucket, old: &Record, changes: &Object, now: u64) -> Result<Record, StoreError> {
    let definition = bucket.definition();
    let mut settings: Vec<Setting<'_>> = Vec::with_capacity(changes.len());
    for (name, value) in changes {
        let slot = definition.slot(name);
        if is_metadata(name) || slot.is_some_and(|slot| is_fixed(definition, slot)) {
            continue;
        }
        check_depth(bucket.name(), name, value)?;
        settings.push(Setting { name, slot, value, written: false });
    }
    check_record(bucket.name(), definition, |slot, field| {
        match settings.iter().find(|change| change.slot == Some(slot)) {
            Some(change) => Checked::New(change.value),
            None => Checked::Stored(old.field(slot, field.name())),
        }
    })?;
    let expires = match given_expiry(bucket, changes)? {
        Expiry::Absent => old.expires(),
        given => given,
    };
    encode_changed(bucket, old, &mut settings, (now, expires))
}

/// One member that an update sets.
struct Setting<'a> {
    name: &'a str,
    slot: Option<usize>,
    value: &'a Value,
    written: bool,
}

/// Whether updates leave a field as it is: the key and everything generated.
fn is_fixed(definition: &Definition, slot: usize) -> bool {
    slot == definition.key_slot()
        || definition.fields().get(slot).is_some_and(|field| field.generated().is_some())
}

/// The old record's text with the changed members in their old places and the new ones behind.
fn encode_changed(
    bucket: &Bucket,
    old: &Record,
    settings: &mut [Setting<'_>],
    (now, expires): (u64, Expiry),
) -> Result<Record, StoreError> {
    let definition = bucket.definition();
    let mut encoder = Encoder::new(definition.fields().len(), old.json().len() + 16 * settings.len());
    let places: HashMap<&str, usize> = if settings.len() > FEW_CHANGES {
        settings.iter().enumerate().map(|(place, change)| (change.name, place)).collect()
    } else {
        HashMap::new()
    };
    // A record's text was made or checked by this crate, so it always walks to its end.
    let _ = each_member(old.json(), |name, raw| {
        if is_metadata(&name) {
            return;
        }
        let place = if places.is_empty() {
            settings.iter().position(|change| change.name == name)
        } else {
            places.get(&*name).copied()
        };
        match place.and_then(|place| settings.get_mut(place)) {
            Some(change) => {
                change.written = true;
                encoder.push(change.name, change.slot, change.value);
            }
            None => encoder.push_raw(&name, definition.slot(&name), raw),
        }
    });
    for change in settings.iter().filter(|change| !change.written) {
        encoder.push(change.name, change.slot, change.value);
    }
    check_length(bucket.name(), encoder.len())?;
    let (version, created) = (old.version().saturating_add(1), old.created_at());
    Ok(encoder.finish(Metadata { version, created, updated: now, expires }))
}
