//! What came of a write, and how that is told.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::{Answer, Body, Record};

/// What a write, or an operation of a transaction, came to: the answer for whoever asked for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// Inserted or updated: the whole record as it is now.
    Record(Record),
    /// The records inserted, or found by `where`.
    Records(Vec<Record>),
    /// The record found, if there is one.
    Found(Option<Record>),
    /// How many records were found or changed.
    Count(usize),
    /// Groups, as JSON text.
    Groups(String),
    /// Deleted.
    Deleted {
        /// Whether there was anything to delete.
        existed: bool,
    },
    /// Cleared.
    Cleared {
        /// How many records there were.
        removed: usize,
    },
    /// One outcome for each operation, in order.
    Transaction(Vec<Self>),
    /// The migrations are done.
    Migrated {
        /// The versions that ran now.
        ran: Vec<u64>,
    },
    /// Nothing was done: it is a repeat of a write that was, and this was the answer to it.
    Repeated(Arc<Answer>),
    /// The answer that came with a [`SystemWrite`](crate::SystemWrite), JSON text.
    Told(Arc<str>),
    /// So many answers were forgotten.
    Forgotten(usize),
    /// The bucket is defined.
    BucketDefined,
    /// The bucket has its new definition.
    BucketUpdated,
    /// The bucket is gone.
    BucketDropped,
    /// The query is defined.
    QueryDefined,
    /// The query is gone.
    QueryUndefined,
}

impl Outcome {
    /// Writes what a client is told of it: the `data` of the answer, JSON text. Records are copied from their shared
    /// encoding. What only the store itself and its embedder ask for is `null`.
    ///
    /// ```
    /// let mut answer = String::from("{\"data\":");
    /// dunlin_store::Outcome::Deleted { existed: false }.write_json(&mut answer);
    /// assert_eq!(answer, r#"{"data":{"deleted":true}"#);
    /// ```
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Record(record) | Self::Found(Some(record)) => out.push_str(record.json()),
            Self::Records(records) => {
                out.push('[');
                for (index, record) in records.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(record.json());
                }
                out.push(']');
            }
            Self::Count(count) => {
                // Writing to a String cannot fail; here and below.
                let _ = write!(out, "{count}");
            }
            Self::Groups(groups) => out.push_str(groups),
            Self::Deleted { .. } => out.push_str("{\"deleted\":true}"),
            Self::Cleared { .. } => out.push_str("{\"cleared\":true}"),
            Self::Transaction(outcomes) => {
                out.push_str("{\"results\":[");
                for (index, outcome) in outcomes.iter().enumerate() {
                    let separator = if index > 0 { "," } else { "" };
                    let _ = write!(out, "{separator}{{\"index\":{index},\"data\":");
                    outcome.write_json(out);
                    out.push('}');
                }
                out.push_str("]}");
            }
            Self::Told(answer) => out.push_str(answer),
            Self::Repeated(answer) => out.push_str(answer.body.json()),
            _ => out.push_str("null"),
        }
    }

    /// The same as a text of its own.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    /// The same, to be remembered. What is shared already stays so.
    pub(crate) fn to_body(&self) -> Body {
        if let Self::Record(record) = self {
            return Body::Record(record.clone());
        }
        if let Self::Told(answer) = self {
            return Body::Text(Arc::clone(answer));
        }
        Body::Text(self.to_json().into())
    }
}
