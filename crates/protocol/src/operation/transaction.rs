//! The operations of a `store.transaction`: all of them checked before any is carried out.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::conditions::VERSIONED;
use super::fields::{grouping, items, key, object, objects, validation, whole};
use super::{Grouping, Object, Write};
use crate::Error;
use crate::limits::MAX_OPERATIONS;
use crate::request::{Fields, Scalar};

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Step<'a> {
    Get {
        bucket: Cow<'a, str>,
        key: Value,
        if_version: Option<u64>,
    },
    Where {
        bucket: Cow<'a, str>,
        filter: Object,
    },
    FindOne {
        bucket: Cow<'a, str>,
        filter: Object,
    },
    Count {
        bucket: Cow<'a, str>,
        filter: Option<Object>,
    },
    GroupBy {
        bucket: Cow<'a, str>,
        grouping: Grouping,
        filter: Option<Object>,
    },
    /// A write of records: an insert, update, upsert or delete, of one or of many.
    Write(Write<'a>),
}

/// Every operation of the field `operations`, checked in the order of the specification (§5).
pub(super) fn steps(raw: Option<&RawValue>) -> Result<Vec<Step<'_>>, Error> {
    let Some(items) = raw.and_then(|raw| items(raw, MAX_OPERATIONS)) else {
        return Err(validation("Missing or invalid \"operations\": expected array".to_owned()));
    };
    let items = items.map_err(|count| {
        validation(format!(
            "\"operations\" has {count} of them, at most {MAX_OPERATIONS} are possible in one transaction; send several"
        ))
    })?;
    if items.is_empty() {
        return Err(validation("\"operations\" must contain at least one operation".to_owned()));
    }
    items.into_iter().enumerate().map(|(index, item)| step(index, item.get())).collect()
}

fn step(index: usize, text: &str) -> Result<Step<'_>, Error> {
    let wrong = |reason: &str| validation(format!("operations[{index}]: {reason}"));
    if !text.starts_with('{') {
        return Err(wrong("expected object"));
    }
    let fields = Fields::of_object(text).map_err(|_| {
        wrong("a field holds a number that no double can hold, or text that is not valid Unicode")
    })?;
    let op = match &fields.op {
        Some(Scalar::Text(op)) if OPERATIONS.contains(&&**op) => &**op,
        _ => return Err(wrong(&format!("invalid \"op\" — expected one of: {}", OPERATIONS.join(", ")))),
    };
    let bucket = match &fields.bucket {
        Some(Scalar::Text(bucket)) if !bucket.is_empty() => bucket.clone(),
        _ => return Err(wrong("missing or invalid \"bucket\"")),
    };
    Element { index, op, bucket, fields: &fields }.step()
}

/// The operations, as the message about an unknown one lists them.
const OPERATIONS: [&str; 12] = [
    "get",
    "insert",
    "update",
    "delete",
    "where",
    "findOne",
    "count",
    "insertMany",
    "updateMany",
    "deleteMany",
    "upsert",
    "groupBy",
];

/// An operation whose name and bucket are known.
struct Element<'e, 'a> {
    index: usize,
    op: &'e str,
    bucket: Cow<'a, str>,
    fields: &'e Fields<'a>,
}

impl<'a> Element<'_, 'a> {
    fn step(self) -> Result<Step<'a>, Error> {
        let f = self.fields;
        let bucket = self.bucket.clone();
        let if_version = self.if_version()?;
        Ok(match self.op {
            "get" => Step::Get { bucket, key: self.key()?, if_version },
            "where" => Step::Where { bucket, filter: self.object("filter", f.filter)? },
            "findOne" => Step::FindOne { bucket, filter: self.object("filter", f.filter)? },
            "count" => Step::Count { bucket, filter: self.optional_filter()? },
            "groupBy" => {
                let grouping = grouping(f).map_err(|error| self.at(error))?;
                Step::GroupBy { bucket, grouping, filter: self.optional_filter()? }
            }
            "insert" => {
                let data = self.object("data", f.data)?;
                Step::Write(Write::Insert { bucket, data, if_version })
            }
            "insertMany" => Step::Write(Write::InsertMany { bucket, data: self.objects()? }),
            "update" => {
                let key = self.key()?;
                Step::Write(Write::Update { bucket, key, data: self.object("data", f.data)?, if_version })
            }
            "updateMany" => Step::Write(Write::UpdateMany {
                bucket,
                filter: self.object("filter", f.filter)?,
                data: self.object("data", f.data)?,
            }),
            "upsert" => Step::Write(Write::Upsert { bucket, data: self.object("data", f.data)? }),
            "delete" => {
                let key = self.key()?;
                Step::Write(Write::Delete { bucket, key, if_version })
            }
            // The last one that `OPERATIONS` lets through.
            _ => Step::Write(Write::DeleteMany { bucket, filter: self.object("filter", f.filter)? }),
        })
    }

    /// The version that the operation asks for, and that no `idempotencyKey` stands here.
    fn if_version(&self) -> Result<Option<u64>, Error> {
        let unexpected = |what| Err(self.at(validation(format!("Unexpected {what}"))));
        if self.fields.idempotency_key.is_some() {
            return unexpected(
                "\"idempotencyKey\": it belongs to the transaction, beside \"operations\"".to_owned(),
            );
        }
        let version = whole("ifVersion", self.fields.if_version.as_ref()).map_err(|error| self.at(error))?;
        match (self.op, version) {
            (_, None) | ("get" | "update" | "delete", _) | ("insert", Some(0)) => Ok(version),
            ("insert", Some(_)) => unexpected(
                "\"ifVersion\": an insert can ask for 0 only, that the record does not exist".to_owned(),
            ),
            (op, _) => unexpected(format!("\"ifVersion\": it is for {VERSIONED}, not for \"{op}\"")),
        }
    }

    fn key(&self) -> Result<Value, Error> {
        key(self.fields).map_err(|_| self.requires("\"key\""))
    }

    fn object(&self, field: &str, raw: Option<&RawValue>) -> Result<Object, Error> {
        match raw {
            Some(raw) if raw.get().starts_with('{') => {
                object(field, Some(raw)).map_err(|error| self.at(error))
            }
            _ => Err(self.requires(&format!("\"{field}\" object"))),
        }
    }

    fn objects(&self) -> Result<Vec<Object>, Error> {
        match self.fields.data {
            Some(raw) if raw.get().starts_with('[') => {
                objects("data", Some(raw)).map_err(|error| self.at(error))
            }
            _ => Err(self.requires("\"data\" array of objects")),
        }
    }

    /// Absent and `null` both mean "none".
    fn optional_filter(&self) -> Result<Option<Object>, Error> {
        match self.fields.filter {
            None => Ok(None),
            Some(raw) if raw.get() == "null" => Ok(None),
            raw => self.object("filter", raw).map(Some),
        }
    }

    fn requires(&self, what: &str) -> Error {
        validation(format!("operations[{}]: \"{}\" requires {what}", self.index, self.op))
    }

    /// The same error, told where it is.
    fn at(&self, error: Error) -> Error {
        Error { message: format!("operations[{}]: {}", self.index, error.message), ..error }
    }
}
