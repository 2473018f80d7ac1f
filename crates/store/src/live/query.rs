//! What a live query works its result out from: a definition or a closure, with parameters.

use std::hash::{Hash, Hasher};
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

/// Equal if name (or definition) and parameters are: all who ask for the same share one view.
impl PartialEq for LiveQuery {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Declarative(one), Self::Declarative(other)) => one == other,
            (
                Self::Programmatic { query, params },
                Self::Programmatic { query: other_query, params: other_params },
            ) => query.name() == other_query.name() && params == other_params,
            _ => false,
        }
    }
}

impl Eq for LiveQuery {}

impl Hash for LiveQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Declarative(bound) => bound.hash(state),
            Self::Programmatic { query, params } => {
                query.name().hash(state);
                params.hash(state);
            }
        }
    }
}
