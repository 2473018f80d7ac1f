//! The queries that are part of the program: closures, given when the server is built.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_store::limits::MAX_NAME_BYTES;
use dunlin_store::{ClosureQuery, Snapshot};

use crate::config::SeedRequest;
use crate::start_error::StartError;

/// By name, and for as long as the server runs: clients cannot define, change or remove them.
#[derive(Default)]
pub(crate) struct Programmatic(BTreeMap<Arc<str>, ClosureQuery>);

impl Programmatic {
    /// Each name must be one, be given once, and mean nothing else in the data or in `seed`: a client that asks for a name
    /// shall never get another query than it had before.
    pub(crate) fn new(
        queries: Vec<ClosureQuery>,
        stored: &Snapshot,
        seed: &[SeedRequest],
    ) -> Result<Self, StartError> {
        let mut known = BTreeMap::new();
        for query in queries {
            let name = Arc::clone(query.name());
            let seeded = |request: &SeedRequest| matches!(request, SeedRequest::DefineQuery { name: other, .. } if **other == *name);
            let fault = if name.is_empty()
                || name.len() > MAX_NAME_BYTES
                || name.chars().any(char::is_control)
            {
                Some("its name must have 1 to 128 bytes and no control characters")
            } else if known.contains_key(&name) {
                Some("it was given twice; rename one of them")
            } else if seed.iter().any(seeded) {
                Some("\"seed\" defines a query of this name, too; rename one of them")
            } else if stored.query(&name).is_ok() {
                Some(
                    "the data holds a declarative query of this name; rename the one of the program, or start once without \
                     it and remove the stored one with store.undefineQuery",
                )
            } else {
                None
            };
            if let Some(reason) = fault {
                return Err(StartError::Query { query: name.to_string(), reason });
            }
            known.insert(name, query);
        }
        Ok(Self(known))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&ClosureQuery> {
        self.0.get(name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.0.keys()
    }
}
