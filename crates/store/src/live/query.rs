//! What a live query works its result out from: a definition or a closure, with parameters.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;

use crate::{BoundQuery, ClosureQuery, Guard, Snapshot, StoreError};

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
        /// What those who watch it see of the records that it reads.
        guard: Guard,
    },
}

impl LiveQuery {
    /// The same query for somebody under a guard; see [`BoundQuery::guarded`]. The last guard counts.
    ///
    /// # Errors
    /// [`StoreError::HiddenMember`] if the query is data and uses a member that is hidden. One that is code fails with that
    /// when it is run.
    pub fn guarded(&self, guard: &Guard, snapshot: &Snapshot) -> Result<Self, StoreError> {
        Ok(match self {
            Self::Declarative(bound) => Self::Declarative(bound.guarded(guard, snapshot)?),
            Self::Programmatic { query, params, .. } => {
                let (query, params) = (query.clone(), Arc::clone(params));
                Self::Programmatic { query, params, guard: guard.clone() }
            }
        })
    }
}

/// Equal if name (or definition), parameters and what the guard lets see are: all who ask for the same share one view.
impl PartialEq for LiveQuery {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Declarative(one), Self::Declarative(other)) => one == other,
            (
                Self::Programmatic { query, params, guard },
                Self::Programmatic { query: other_query, params: other_params, guard: other_guard },
            ) => {
                query.name() == other_query.name()
                    && params == other_params
                    && guard.view_key() == other_guard.view_key()
            }
            _ => false,
        }
    }
}

impl Eq for LiveQuery {}

impl Hash for LiveQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Declarative(bound) => bound.hash(state),
            Self::Programmatic { query, params, guard } => {
                query.name().hash(state);
                params.hash(state);
                guard.view_key().hash(state);
            }
        }
    }
}
