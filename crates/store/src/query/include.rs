//! `include`: each row of a result gains the record that one of its fields refers to.

use std::borrow::Cow;
use std::sync::Arc;

use super::evaluate::project;
use super::{BoundQuery, Inclusion, Query};
use crate::encode::write_string;
use crate::guard::Hidden;
use crate::limits::MAX_FAULTS;
use crate::schema::is_metadata;
use crate::{Bucket, FieldValue, Issue, Key, Member, Record, RowRule, Snapshot, StoreError};

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
    hidden: Option<&'a Hidden>,
    pub(crate) fields: Vec<(&'a str, Member)>,
    pub(crate) includes: Vec<Included<'a>>,
}

pub(crate) struct Included<'a> {
    pub(crate) name: &'a str,
    /// The field's place and name, and the bucket referred to. `None` if there is none (any more).
    source: Option<(usize, &'a str, &'a Bucket)>,
    /// Which records of that bucket are for the reader, and what of them; all if there is none.
    rule: Option<RowRule>,
}

impl<'a> RowWriter<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, bucket: &'a Bucket, query: &'a BoundQuery) -> Self {
        let (shape, sight) = (query.shape(), query.sight());
        let member = |name: &'a String| (name.as_str(), bucket.definition().member(name));
        let included = |include: &'a Include| {
            let source = include.resolve(bucket).and_then(|(slot, target)| {
                Some((slot, include.field.as_str(), snapshot.bucket(target).ok()?))
            });
            let inclusion = source.map(|(_, _, target)| sight.inclusion(target.name()));
            let (source, rule) = match inclusion {
                None | Some(Inclusion::Nothing) => (None, None),
                Some(Inclusion::All) => (source, None),
                Some(Inclusion::Seen(rule)) => (source, Some(rule)),
            };
            Included { name: &include.name, source, rule }
        };
        Self {
            hidden: sight.hidden(),
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
            include.write(json, record);
        }
        json.push('}');
    }

    /// The record without what is hidden, and without members outside its schema that an include replaces: no member stands
    /// twice.
    fn write_whole(&self, json: &mut String, record: &Record) {
        let replaced = |name: &str| self.includes.iter().any(|include| include.name == name);
        match self.hidden {
            Some(hidden) => hidden.write_members(json, record, replaced),
            None if self.includes.iter().any(|include| record.has_extra(include.name)) => {
                Hidden::default().write_members(json, record, replaced);
            }
            None => json.push_str(record.json()),
        }
    }

    /// The JSON text of a whole record without what is hidden.
    pub(crate) fn shown<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        let Some(hidden) = self.hidden else { return record.json().into() };
        let mut json = String::new();
        hidden.write(&mut json, record);
        json.into()
    }
}

impl<'a> Included<'a> {
    /// The place and name of the field that refers, if it refers to a bucket that there is.
    pub(crate) fn source(&self) -> Option<(usize, &'a str)> {
        self.source.map(|(slot, name, _)| (slot, name))
    }

    /// Appends the JSON text of the record that one refers to.
    pub(crate) fn write(&self, json: &mut String, record: &Record) {
        match (self.record(record), &self.rule) {
            (None, _) => json.push_str("null"),
            (Some(found), None) => json.push_str(found.json()),
            (Some(found), Some(rule)) => rule.hidden().write(json, found),
        }
    }

    /// The record that one refers to, if it is for the reader.
    fn record(&self, record: &Record) -> Option<&'a Record> {
        let (slot, name, target) = self.source?;
        let value = record.field(slot, name);
        let key = match &value {
            FieldValue::Number(number) => Key::Number(*number),
            other => Key::Str(other.as_str()?),
        };
        let found = target.find(key).map(|(_, record)| record);
        found.filter(|found| self.rule.as_ref().is_none_or(|rule| rule.sees(target, found)))
    }
}
