//! Definitions of buckets and queries.

use serde_json::Value;

use crate::draft::Draft;
use crate::limits::{MAX_BUCKETS, MAX_NAME_BYTES, MAX_QUERIES};
use crate::{BucketId, Change, Definition, Issue, Object, Outcome, Query, StoreError, system};

pub(super) fn define_bucket(
    draft: &mut Draft<'_>,
    name: &str,
    config: &Object,
) -> Result<Outcome, StoreError> {
    system::refuse(name)?;
    let state = draft.state();
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
    system::refuse_references(name, &definition)?;
    let bucket = BucketId(state.next_bucket);
    draft.change(Change::DefineBucket { bucket, name: name.into(), config: definition.config().clone() })?;
    Ok(Outcome::BucketDefined)
}

/// Removes a bucket, unless records of others refer to its records.
pub(super) fn drop_bucket(draft: &mut Draft<'_>, name: &str) -> Result<Outcome, StoreError> {
    system::refuse(name)?;
    let state = draft.state();
    let bucket = state.bucket(name).map_err(StoreError::administrative)?.id();
    for referrer in state.referrers(name).iter().filter(|referrer| referrer.bucket != bucket) {
        let Some(source) = state.bucket_by_id(referrer.bucket) else { continue };
        if source.refers_at_all(referrer.slot) {
            let field = source.definition().fields().get(referrer.slot).map_or("", crate::Field::name);
            let (by, field) = ((&**source.name()).into(), field.into());
            return Err(StoreError::BucketReferenced { bucket: name.into(), by, field });
        }
    }
    draft.change(Change::DropBucket { bucket })?;
    Ok(Outcome::BucketDropped)
}

pub(super) fn define_query(
    draft: &mut Draft<'_>,
    name: &str,
    config: &Object,
) -> Result<Outcome, StoreError> {
    let state = draft.state();
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
    query.check_against(state)?;
    draft.change(Change::DefineQuery { name: query.name().clone(), config: query.config().clone() })?;
    Ok(Outcome::QueryDefined)
}

pub(super) fn undefine_query(draft: &mut Draft<'_>, name: &str) -> Result<Outcome, StoreError> {
    let name = draft.state().query(name)?.name().clone();
    draft.change(Change::UndefineQuery { name })?;
    Ok(Outcome::QueryUndefined)
}

/// What is wrong with a bucket's or query's name.
fn bad_name(name: &str) -> Option<Issue> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    (!fits).then(|| {
        let message = format!("Expected 1 to {MAX_NAME_BYTES} bytes without control characters");
        Issue::new("name", "name", message)
    })
}
