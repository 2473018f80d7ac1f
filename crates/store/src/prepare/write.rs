//! Inserts, updates and deletes of records.

use serde_json::{Map, Value};

use crate::encode::Encoder;
use crate::generate::generate;
use crate::limits::MAX_AUTOINCREMENT;
use crate::members::each_member;
use crate::record::Metadata;
use crate::schema::is_metadata;
use crate::validate::{check_depth, check_length, check_record};
use crate::{
    Bucket, Change, Context, Counters, Definition, FieldValue, Generator, Key, Number, Outcome, Record,
    RowId, StoreError,
};

type Worked = (Vec<Change>, Outcome);

/// Bytes that a record's text needs beyond its given members: generated ids, metadata, punctuation.
const ENCODING_RESERVE: usize = 160;

pub(super) fn insert(
    bucket: &Bucket,
    data: &Map<String, Value>,
    ctx: &mut Context<'_>,
) -> Result<Worked, StoreError> {
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
        value.map_or(FieldValue::Absent, FieldValue::of_value)
    })?;
    let metadata = Metadata { version: 1, created: ctx.now, updated: ctx.now };
    let record = encode_new(bucket, data, &filled, metadata)?;
    if let Some(key) = bucket.key_of(&record).filter(|key| bucket.find(*key).is_some()) {
        return Err(StoreError::KeyExists { bucket: (&**bucket.name()).into(), key: key.to_value() });
    }
    check_unique(bucket, &record, None)?;
    let counters = Counters {
        next_row: counters.next_row.saturating_add(1),
        autoincrement: number.min(MAX_AUTOINCREMENT).max(largest_given(definition, &given)),
    };
    let row = RowId(bucket.counters().next_row);
    let put = Change::Put { bucket: bucket.id(), row, record: record.clone() };
    Ok((vec![put, Change::Counters { bucket: bucket.id(), counters }], Outcome::Record(record)))
}

fn is_absent(given: &[Option<&Value>], slot: usize) -> bool {
    given.get(slot).is_none_or(Option::is_none)
}

fn encode_new(
    bucket: &Bucket,
    data: &Map<String, Value>,
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

pub(super) fn update(
    bucket: &Bucket,
    key: &Value,
    changes: &Map<String, Value>,
    now: u64,
) -> Result<Worked, StoreError> {
    let Some((row, old)) = Key::of(key).and_then(|key| bucket.find(key)) else {
        return Err(StoreError::RecordNotFound { bucket: (&**bucket.name()).into(), key: key.clone() });
    };
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
            Some(change) => FieldValue::of_value(change.value),
            None => old.field(slot, field.name()),
        }
    })?;
    let record = encode_changed(bucket, old, &mut settings, now)?;
    check_unique(bucket, &record, Some(row))?;
    let put = Change::Put { bucket: bucket.id(), row, record: record.clone() };
    Ok((vec![put], Outcome::Record(record)))
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
    now: u64,
) -> Result<Record, StoreError> {
    let definition = bucket.definition();
    let mut encoder = Encoder::new(definition.fields().len(), old.json().len() + 16 * settings.len());
    // A record's text was made or checked by this crate, so it always walks to its end.
    let _ = each_member(old.json(), |name, raw| {
        if is_metadata(&name) {
            return;
        }
        match settings.iter_mut().find(|change| change.name == name) {
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
    Ok(encoder.finish(Metadata { version, created, updated: now }))
}

fn check_unique(bucket: &Bucket, record: &Record, row: Option<RowId>) -> Result<(), StoreError> {
    match bucket.unique_conflict(record, row) {
        None => Ok(()),
        Some((field, value)) => Err(StoreError::NotUnique {
            bucket: (&**bucket.name()).into(),
            field: field.name().into(),
            value,
        }),
    }
}

pub(super) fn delete(bucket: &Bucket, key: &Value) -> Worked {
    let found = Key::of(key).and_then(|key| bucket.find(key));
    let changes = found.map(|(row, _)| Change::Remove { bucket: bucket.id(), row });
    let existed = changes.is_some();
    (changes.into_iter().collect(), Outcome::Deleted { existed })
}

pub(super) fn clear(bucket: &Bucket) -> Worked {
    let removed = bucket.len();
    let changes = if removed == 0 { Vec::new() } else { vec![Change::Clear { bucket: bucket.id() }] };
    (changes, Outcome::Cleared { removed })
}
