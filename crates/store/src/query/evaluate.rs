//! Runs a bound query on a snapshot and writes its result as JSON text.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{BoundQuery, Direction, Fold, Shape};
use crate::aggregate::Totals;
use crate::encode::write_string;
use crate::value::value_order;
use crate::{Aggregate, Bucket, FieldValue, Filter, Member, Number, Record, Snapshot, StoreError};

impl BoundQuery {
    /// The result as JSON text: an array of records, of projections or of groups, or a number. `None` if it is
    /// undefined (the smallest or largest of nothing). Whole records are copied from their shared encoding.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`] if the bucket has been dropped.
    pub fn evaluate(&self, snapshot: &Snapshot) -> Result<Option<String>, StoreError> {
        let bucket = snapshot.bucket(self.bucket())?;
        let shape = &*self.0.shape;
        let matching = bucket.scan(&self.0.filter);
        Ok(match &shape.fold {
            Some(Fold { function, field, group_by: Some(fields) }) => {
                Some(groups(bucket, matching, *function, field, fields))
            }
            Some(Fold { function, field, group_by: None }) => {
                let member = bucket.definition().member(field);
                let mut totals = Totals::default();
                matching.for_each(|record| totals.add(&record.get(&member)));
                totals.result(*function).map(|number| number.to_string())
            }
            None if shape.sort.is_empty() => Some(rows(bucket, shape, matching)),
            None => Some(rows(bucket, shape, sorted(bucket, shape, matching.collect()).into_iter())),
        })
    }
}

impl Bucket {
    /// An aggregate for each group of the matching records that have the same values in the fields `by`: JSON text,
    /// `[{"key":{…},"value":…}]` in order of first appearance. See [`Aggregate`].
    pub fn group_by(&self, by: &[String], function: Aggregate, field: &str, filter: &Filter) -> String {
        groups(self, self.scan(filter), function, field, by)
    }
}

/// The window of the records, as an array of whole records or of projections.
fn rows<'a>(bucket: &Bucket, shape: &Shape, records: impl Iterator<Item = &'a Record>) -> String {
    let fields: Vec<(&str, Member)> =
        shape.fields.iter().map(|name| (name.as_str(), bucket.definition().member(name))).collect();
    let mut json = String::from("[");
    for record in records.skip(shape.offset).take(shape.limit.unwrap_or(usize::MAX)) {
        if json.len() > 1 {
            json.push(',');
        }
        if fields.is_empty() {
            json.push_str(record.json());
        } else {
            project(&mut json, record, &fields);
        }
    }
    json.push(']');
    json
}

/// Writes the named members, in the order of the names; those that the record lacks are left out.
fn project(json: &mut String, record: &Record, fields: &[(&str, Member)]) {
    json.push('{');
    let start = json.len();
    for (name, member) in fields {
        if let Some(value) = record.get(member).to_json() {
            if json.len() > start {
                json.push(',');
            }
            write_string(json, name);
            json.push(':');
            json.push_str(&value);
        }
    }
    json.push('}');
}

/// Sorts stably: `null` and absent last in both directions and equal to one another, different types in the fixed
/// order booleans, numbers, strings, objects and arrays.
fn sorted<'a>(bucket: &Bucket, shape: &Shape, mut records: Vec<&'a Record>) -> Vec<&'a Record> {
    let keys: Vec<(Member, Direction)> =
        shape.sort.iter().map(|(name, direction)| (bucket.definition().member(name), *direction)).collect();
    records.sort_by(|a, b| {
        let mut orders =
            keys.iter().map(|(member, direction)| by(&a.get(member), &b.get(member), *direction));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    records
}

fn by(a: &FieldValue<'_>, b: &FieldValue<'_>, direction: Direction) -> Ordering {
    match (a.is_nullish(), b.is_nullish()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => match direction {
            Direction::Ascending => value_order(a, b),
            Direction::Descending => value_order(b, a),
        },
    }
}

/// `[{"key":{…},"value":…}]` in order of first appearance. Values of different type are different groups; `null` and
/// absent are one; objects and arrays are told apart by their JSON text.
fn groups<'a>(
    bucket: &Bucket,
    records: impl Iterator<Item = &'a Record>,
    function: Aggregate,
    field: &str,
    by: &[String],
) -> String {
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
    let mut json = String::from("[");
    for (first, totals) in groups {
        let separator = if json.len() > 1 { "," } else { "" };
        json.extend([separator, "{\"key\":"]);
        project(&mut json, first, &by);
        // In a group the smallest or largest of no numbers is 0 on this wire.
        let value = totals.result(function).unwrap_or(Number::ZERO);
        json.extend([",\"value\":", &value.to_string(), "}"]);
    }
    json.push(']');
    json
}

/// One text for each group: the values as JSON, numbers canonical. JSON texts cannot run into one another.
fn identity(record: &Record, by: &[(&str, Member)]) -> String {
    let mut identity = String::new();
    for (_, member) in by {
        identity.push_str(record.get(member).to_json().as_deref().unwrap_or("null"));
        identity.push(',');
    }
    identity
}
