//! Definitions of buckets and queries.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::write::counted;
use crate::limits::{MAX_BUCKETS, MAX_NAME_BYTES, MAX_QUERIES};
use crate::{
    Bucket, BucketId, Change, Counters, Definition, Generator, Issue, Outcome, Query, Snapshot, StoreError,
};

type Worked = (Vec<Change>, Outcome);

pub(super) fn define_bucket(
    state: &Snapshot,
    name: &str,
    config: &Map<String, Value>,
) -> Result<Worked, StoreError> {
    if state.bucket(name).is_ok() {
        return Err(StoreError::BucketExists { bucket: name.into() });
    }
    if let Some(issue) = bad_name(name) {
        return Err(StoreError::InvalidDefinition { bucket: name.into(), issues: vec![issue] });
    }
    if state.buckets.len() >= MAX_BUCKETS || state.next_bucket == u32::MAX {
        return Err(StoreError::LimitReached { what: "buckets", limit: MAX_BUCKETS });
    }
    let definition = Definition::parse(name, config)?;
    let bucket = BucketId(state.next_bucket);
    let change = Change::DefineBucket { bucket, name: name.into(), config: definition.config().clone() };
    Ok((vec![change], Outcome::BucketDefined))
}

pub(super) fn update_bucket(
    state: &Snapshot,
    name: &str,
    updates: &Map<String, Value>,
) -> Result<Worked, StoreError> {
    let bucket = state.bucket(name).map_err(StoreError::administrative)?;
    let definition = Arc::new(bucket.definition().updated(name, updates)?);
    let config = definition.config().clone();
    // Tried on a clone: what the records say about the new fields shows only now.
    let mut next = bucket.clone();
    if let Err((field, row, _)) = next.redefine(definition) {
        let value = bucket
            .row(row)
            .map_or(Value::Null, |record| record.get(&bucket.definition().member(&field)).to_value());
        return Err(StoreError::NotUnique { bucket: name.into(), field: (&*field).into(), value });
    }
    let mut changes = vec![Change::UpdateBucket { bucket: bucket.id(), config }];
    if let Some(counters) = raised_counters(&next, bucket.definition().fields().len()) {
        changes.push(Change::Counters { bucket: bucket.id(), counters });
    }
    Ok((changes, Outcome::BucketUpdated))
}

/// The counters, if the records have larger numbers in `autoincrement` fields from place `added` on.
fn raised_counters(bucket: &Bucket, added: usize) -> Option<Counters> {
    let fields = bucket.definition().fields().iter().enumerate().skip(added);
    let counting = fields.filter(|(_, field)| field.generated() == Some(Generator::Autoincrement));
    let largest = counting
        .flat_map(|(slot, field)| {
            bucket.iter().filter_map(move |record| counted(&record.field(slot, field.name())))
        })
        .max()?;
    let counters = bucket.counters();
    (largest > counters.autoincrement).then_some(Counters { autoincrement: largest, ..counters })
}

pub(super) fn define_query(
    state: &Snapshot,
    name: &str,
    config: &Map<String, Value>,
) -> Result<Worked, StoreError> {
    if let Some(bucket) = config.get("bucket").and_then(Value::as_str) {
        state.bucket(bucket)?;
    }
    if state.query(name).is_ok() {
        return Err(StoreError::QueryExists { query: name.into() });
    }
    if let Some(issue) = bad_name(name) {
        return Err(StoreError::InvalidQuery { query: name.into(), issues: vec![issue] });
    }
    if state.queries.len() >= MAX_QUERIES {
        return Err(StoreError::LimitReached { what: "queries", limit: MAX_QUERIES });
    }
    let query = Query::parse(name, config)?;
    let change = Change::DefineQuery { name: query.name().clone(), config: query.config().clone() };
    Ok((vec![change], Outcome::QueryDefined))
}

/// What is wrong with a bucket's or query's name.
fn bad_name(name: &str) -> Option<Issue> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    (!fits).then(|| {
        let message = format!("Expected 1 to {MAX_NAME_BYTES} bytes without control characters");
        Issue::new("name", "name", message)
    })
}
