//! What a live query works its result out from: a definition or a closure, with parameters.

use std::sync::Arc;

use serde_json::Value;

use crate::{BoundQuery, ClosureQuery};

/// A query with its parameters, as it is watched.
#[derive(Debug, Clone)]
pub enum LiveQuery {
    /// One that is data, and is maintained.
    Declarative(BoundQuery),
    /// One that is code, and is run again when a commit touches what it has read.
    Programmatic {
        /// The closure.
        query: ClosureQuery,
        /// Its parameters.
        params: Arc<Value>,
    },
}

/// What identifies a live query: all who ask for the same share one view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LiveKey {
    Declarative(BoundQuery),
    /// The closure's name, and its parameters as JSON text.
    Programmatic(Arc<str>, Box<str>),
}

impl LiveQuery {
    pub(crate) fn key(&self) -> LiveKey {
        match self {
            Self::Declarative(bound) => LiveKey::Declarative(bound.clone()),
            Self::Programmatic { query, params } => {
                LiveKey::Programmatic(Arc::clone(query.name()), params.to_string().into())
            }
        }
    }
}
