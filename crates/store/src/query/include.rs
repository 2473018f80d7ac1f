//! `include`: each row of a result gains the record that one of its fields refers to.

use std::sync::Arc;

use super::evaluate::project;
use super::{Query, Shape};
use crate::encode::write_string;
use crate::limits::MAX_FAULTS;
use crate::members::each_member;
use crate::schema::is_metadata;
use crate::{Bucket, FieldValue, Issue, Key, Member, Record, Snapshot, StoreError};

/// One member of `include`.
#[derive(Debug)]
pub(crate) struct Include {
    /// The member that the row gains.
    pub(super) name: String,
    /// The field that refers to the record.
    pub(super) field: String,
}

impl Include {
    /// The field's place, and the bucket that it refers to.
    pub(crate) fn resolve<'b>(&self, bucket: &'b Bucket) -> Option<(usize, &'b Arc<str>)> {
        let slot = bucket.definition().slot(&self.field)?;
        let reference = bucket.definition().fields().get(slot)?.reference()?;
        Some((slot, &reference.bucket))
    }
}

impl Query {
    /// Holds the query to the buckets as they are: its own must be defined, and every `include` must name a field of it
    /// that is a reference.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`], or [`StoreError::InvalidQuery`] with every fault and its path
    /// (`include.author.ref`).
    pub fn check_against(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let bucket = snapshot.bucket(&self.bucket)?;
        let definition = bucket.definition();
        let mut issues = Vec::new();
        for include in &self.shape.includes {
            let name = &include.name;
            if definition.slot(name).is_some() || is_metadata(name) {
                let message = "The records have a member of this name already; choose another name";
                issues.push(Issue::new(format!("include.{name}"), "conflict", message));
            }
            if definition.slot(&include.field).is_none() {
                let message = format!("Field \"{}\" does not exist in schema", include.field);
                issues.push(Issue::new(format!("include.{name}.ref"), "unknown", message));
            } else if include.resolve(bucket).is_none() {
                let message = format!("Field \"{}\" is no reference: it has no \"ref\"", include.field);
                issues.push(Issue::new(format!("include.{name}.ref"), "conflict", message));
            }
        }
        issues.truncate(MAX_FAULTS);
        if issues.is_empty() {
            Ok(())
        } else {
            Err(StoreError::InvalidQuery { query: (&*self.name).into(), issues })
        }
    }
}

/// Writes the rows of one result.
pub(crate) struct RowWriter<'a> {
    pub(crate) fields: Vec<(&'a str, Member)>,
    pub(crate) includes: Vec<Included<'a>>,
}

pub(crate) struct Included<'a> {
    pub(crate) name: &'a str,
    /// The field's place and name, and the bucket referred to. `None` if there is none (any more).
    source: Option<(usize, &'a str, &'a Bucket)>,
}

impl<'a> RowWriter<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, bucket: &'a Bucket, shape: &'a Shape) -> Self {
        let member = |name: &'a String| (name.as_str(), bucket.definition().member(name));
        let included = |include: &'a Include| {
            let source = include.resolve(bucket).and_then(|(slot, target)| {
                Some((slot, include.field.as_str(), snapshot.bucket(target).ok()?))
            });
            Included { name: &include.name, source }
        };
        Self {
            fields: shape.fields.iter().map(member).collect(),
            includes: shape.includes.iter().map(included).collect(),
        }
    }

    /// Whether rows hold more than their own record.
    pub(crate) fn includes(&self) -> bool {
        !self.includes.is_empty()
    }

    /// Appends a row: the whole record or the named members, then what is included.
    pub(crate) fn write(&self, json: &mut String, record: &Record) {
        let start = json.len();
        if self.fields.is_empty() {
            self.write_whole(json, record);
        } else {
            project(json, record, &self.fields);
        }
        if self.includes.is_empty() {
            return;
        }
        json.pop();
        for include in &self.includes {
            if json.len() > start + 1 {
                json.push(',');
            }
            write_string(json, include.name);
            json.push(':');
            json.push_str(include.record(record).map_or("null", Record::json));
        }
        json.push('}');
    }

    /// The record without members outside its schema that an include replaces: no member stands twice.
    fn write_whole(&self, json: &mut String, record: &Record) {
        let replaced = |name: &str| self.includes.iter().any(|include| include.name == name);
        if !self.includes.iter().any(|include| record.has_extra(include.name)) {
            return json.push_str(record.json());
        }
        json.push('{');
        let start = json.len();
        // A record's text was made or checked by this crate, so it always walks to its end.
        let _ = each_member(record.json(), |name, raw| {
            if !replaced(&name) {
                if json.len() > start {
                    json.push(',');
                }
                write_string(json, &name);
                json.push(':');
                json.push_str(raw);
            }
        });
        json.push('}');
    }
}

impl<'a> Included<'a> {
    /// The place and name of the field that refers, if it refers to a bucket that there is.
    pub(crate) fn source(&self) -> Option<(usize, &'a str)> {
        self.source.map(|(slot, name, _)| (slot, name))
    }

    /// The record that one refers to.
    pub(crate) fn record(&self, record: &Record) -> Option<&'a Record> {
        let (slot, name, target) = self.source?;
        let value = record.field(slot, name);
        let key = match &value {
            FieldValue::Number(number) => Key::Number(*number),
            other => Key::Str(other.as_str()?),
        };
        target.find(key).map(|(_, record)| record)
    }
}
