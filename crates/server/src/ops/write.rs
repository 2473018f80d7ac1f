//! Writes: from an operation to an intent for the store, and from its outcome to an answer.

use dunlin_protocol::{Code, Error, Write, frame};
use dunlin_store::Intent;
use serde_json::json;

use crate::store_actor::WriteError;

/// What the answer to a write looks like, kept while the write is under way.
pub(crate) enum Shape {
    /// The record.
    Record,
    /// `{"deleted":true}`.
    Deleted,
    /// `{"cleared":true}`.
    Cleared,
    /// `{"name":…,"<what>":true}`, of an administrative operation.
    Named { name: Box<str>, what: &'static str },
}

/// The intent an operation stands for, and the shape of its answer.
pub(crate) fn intent(write: Write<'_>) -> (Intent, Shape) {
    match write {
        Write::Insert { bucket, data } => {
            (Intent::Insert { bucket: bucket.into_owned(), data }, Shape::Record)
        }
        Write::Update { bucket, key, data } => {
            (Intent::Update { bucket: bucket.into_owned(), key, changes: data }, Shape::Record)
        }
        Write::Delete { bucket, key } => {
            (Intent::Delete { bucket: bucket.into_owned(), key }, Shape::Deleted)
        }
        Write::Clear { bucket } => (Intent::Clear { bucket: bucket.into_owned() }, Shape::Cleared),
        Write::DefineBucket { name, config } => {
            let name = name.into_owned();
            (Intent::DefineBucket { name: name.clone(), config }, Shape::named(name, "created"))
        }
        Write::DropBucket { name } => {
            let name = name.into_owned();
            (Intent::DropBucket { name: name.clone() }, Shape::named(name, "dropped"))
        }
        Write::UpdateBucket { name, updates } => {
            let name = name.into_owned();
            (Intent::UpdateBucket { name: name.clone(), updates }, Shape::named(name, "updated"))
        }
        Write::DefineQuery { name, config } => {
            let name = name.into_owned();
            (Intent::DefineQuery { name: name.clone(), config }, Shape::named(name, "defined"))
        }
        Write::UndefineQuery { name } => {
            let name = name.into_owned();
            (Intent::UndefineQuery { name: name.clone() }, Shape::named(name, "undefined"))
        }
    }
}

impl Shape {
    fn named(name: String, what: &'static str) -> Self {
        Self::Named { name: name.into(), what }
    }

    /// The answer's data where it is not a record.
    pub(crate) fn confirmation(&self) -> String {
        match self {
            Self::Record => "null".to_owned(),
            Self::Deleted => "{\"deleted\":true}".to_owned(),
            Self::Cleared => "{\"cleared\":true}".to_owned(),
            Self::Named { name, what } => frame::json(&json!({"name": name, *what: true})),
        }
    }
}

/// The error a refused write is answered with.
pub(crate) fn refusal(shape: &Shape, error: WriteError) -> Error {
    match error {
        WriteError::Refused(refusal) if matches!(shape, Shape::Named { .. }) => {
            refusal.administrative().into()
        }
        WriteError::Refused(refusal) => refusal.into(),
        other => Error::new(Code::InternalError, other.to_string()),
    }
}
