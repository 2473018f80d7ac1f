//! Runs a bound query on a snapshot and writes its result as JSON text.

use std::collections::HashMap;
use std::sync::Arc;

use super::include::RowWriter;
use super::{BoundQuery, Fold, Query, Shape};
use crate::aggregate::Totals;
use crate::encode::write_string;
use crate::limits::MAX_INCLUDED_BYTES;
use crate::plan::{Order, window};
use crate::{Aggregate, Bucket, Filter, Member, Number, Record, Snapshot, StoreError};

impl BoundQuery {
    /// The result as JSON text: an array of records, of projections or of groups, or a number. `None` if it is
    /// undefined (the smallest or largest of nothing). Whole records are copied from their shared encoding.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`] if the bucket has been dropped, [`StoreError::LimitReached`] if included records
    /// make the result too long.
    pub fn evaluate(&self, snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
        let bucket = snapshot.bucket(self.bucket())?;
        let (filter, shape) = (self.filter(), &*self.0.shape);
        Ok(match &shape.fold {
            Some(Fold { function, field, group_by: Some(by) }) => {
                Some(bucket.group_by(by, *function, field, filter))
            }
            Some(Fold { function: Aggregate::Count, group_by: None, .. }) => {
                Some(bucket.count(filter).to_string())
            }
            Some(Fold { function, field, group_by: None }) => {
                bucket.aggregate(*function, field, filter).map(|number| number.to_string())
            }
            None => {
                let row = RowWriter::new(snapshot, bucket, self);
                let limit = shape.limit.unwrap_or(usize::MAX);
                Some(if shape.sort.is_empty() {
                    rows(&row, bucket.scan(filter).skip(shape.offset).take(limit))?
                } else {
                    let order = Order::new(bucket.definition(), &shape.sort);
                    let matcher = filter.matcher(bucket.definition());
                    let count = shape.offset.saturating_add(limit);
                    let sorted = window(bucket, &matcher, &order, None, count).into_iter();
                    rows(&row, sorted.skip(shape.offset).map(|(_, record)| record))?
                })
            }
        })
    }

    /// The buckets that `include` looks into.
    pub(super) fn included(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        let Ok(bucket) = snapshot.bucket(&self.0.bucket) else { return Vec::new() };
        let resolved = self.0.shape.includes.iter().filter_map(|include| include.resolve(bucket));
        resolved.map(|(_, target)| Arc::clone(target)).collect()
    }

    /// The buckets whose records the result is made of: its own, and those that `include` looks into.
    pub fn buckets(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        buckets(snapshot, &self.0.bucket, &self.0.shape)
    }
}

impl Query {
    /// The buckets that it reads, as [`BoundQuery::buckets`] of any parameters.
    pub fn buckets(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        buckets(snapshot, &self.bucket, &self.shape)
    }
}

fn buckets(snapshot: &Snapshot, own: &Arc<str>, shape: &Shape) -> Vec<Arc<str>> {
    let mut names = vec![own.clone()];
    if let Ok(bucket) = snapshot.bucket(own) {
        for include in &shape.includes {
            if let Some((_, target)) = include.resolve(bucket)
                && !names.contains(target)
            {
                names.push(target.clone());
            }
        }
    }
    names
}

impl Bucket {
    /// An aggregate for each group of the matching records that have the same values in the fields `by`: JSON text,
    /// `[{"key":{…},"value":…}]` in order of first appearance. See [`Aggregate`].
    pub fn group_by(&self, by: &[String], function: Aggregate, field: &str, filter: &Filter) -> String {
        self.groups(by, function, field, filter).0
    }

    /// The same, and how many groups there are.
    pub(crate) fn groups(
        &self,
        by: &[String],
        function: Aggregate,
        field: &str,
        filter: &Filter,
    ) -> (String, usize) {
        groups(self, self.scan(filter), function, field, by)
    }
}

/// The records as an array. With records included it can be many times what is stored, so then it has a bound.
pub(crate) fn rows<'a>(
    writer: &RowWriter<'_>,
    records: impl Iterator<Item = &'a Record>,
) -> Result<String, StoreError> {
    let mut json = String::from("[");
    for record in records {
        if json.len() > 1 {
            json.push(',');
        }
        writer.write(&mut json, record);
        if writer.includes() && json.len() > MAX_INCLUDED_BYTES {
            return Err(StoreError::LimitReached {
                what: "bytes in a result with included records",
                limit: MAX_INCLUDED_BYTES,
            });
        }
    }
    json.push(']');
    Ok(json)
}

/// Writes the named members, in the order of the names; those that the record lacks are left out.
pub(crate) fn project<N: AsRef<str>>(json: &mut String, record: &Record, fields: &[(N, Member)]) {
    json.push('{');
    let start = json.len();
    for (name, member) in fields {
        if let Some(value) = record.get(member).to_json() {
            if json.len() > start {
                json.push(',');
            }
            write_string(json, name.as_ref());
            json.push(':');
            json.push_str(&value);
        }
    }
    json.push('}');
}

/// `[{"key":{…},"value":…}]` in order of first appearance. Values of different type are different groups; `null` and
/// absent are one; objects and arrays are told apart by their JSON text.
fn groups<'a>(
    bucket: &Bucket,
    records: impl Iterator<Item = &'a Record>,
    function: Aggregate,
    field: &str,
    by: &[String],
) -> (String, usize) {
    let member = bucket.definition().member(field);
    let by: Vec<(&str, Member)> =
        by.iter().map(|name| (name.as_str(), bucket.definition().member(name))).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(&Record, Totals)> = Vec::new();
    for record in records {
        let identity = identity(record, &by);
        let place = *places.entry(identity).or_insert_with(|| {
            groups.push((record, Totals::default()));
            groups.len() - 1
        });
        if let Some((_, totals)) = groups.get_mut(place) {
            totals.add(&record.get(&member));
        }
    }
    let (mut json, count) = (String::from("["), groups.len());
    for (first, totals) in groups {
        if json.len() > 1 {
            json.push(',');
        }
        let mut key = String::new();
        project(&mut key, first, &by);
        write_group(&mut json, &key, group_value(totals.result(function)));
    }
    json.push(']');
    (json, count)
}

/// Writes one group; its key is JSON text.
pub(crate) fn write_group(json: &mut String, key: &str, value: Number) {
    json.extend(["{\"key\":", key, ",\"value\":", &value.to_string(), "}"]);
}

/// What stands in a group for its result: there the smallest or largest of no numbers is 0 on this wire.
pub(crate) fn group_value(result: Option<Number>) -> Number {
    result.unwrap_or(Number::ZERO)
}

/// One text for each group: the values as JSON, numbers canonical. JSON texts cannot run into one another.
pub(crate) fn identity<N>(record: &Record, by: &[(N, Member)]) -> String {
    let mut identity = String::new();
    for (_, member) in by {
        identity.push_str(record.get(member).to_json().as_deref().unwrap_or("null"));
        identity.push(',');
    }
    identity
}
