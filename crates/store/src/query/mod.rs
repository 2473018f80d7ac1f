//! Declarative queries: defined as data, checked once, bound to parameters, evaluated on a snapshot.

mod bind;
mod closure;
mod evaluate;
mod include;
mod parse;
mod reads;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Aggregate, Direction};

pub use bind::BoundQuery;
pub(crate) use bind::Inclusion;
pub use closure::{ClosureQuery, ReadContext, Reader};
pub(crate) use evaluate::{group_value, identity, project, rows, write_group};
pub(crate) use include::{Include, Included, RowWriter};
pub(crate) use reads::Read;
pub use reads::Reads;

/// A declarative query: `{bucket, filter?, sort?, offset?, limit?, fields?, include?, aggregate?}`.
///
/// ```
/// use dunlin_store::Query;
/// use serde_json::json;
///
/// let config = json!({
///     "bucket": "tasks",
///     "filter": {"owner": "{{ params.owner }}", "done": false},
///     "sort": {"due": "asc"},
///     "limit": 10,
/// });
/// let query = Query::parse("open-tasks", config.as_object().unwrap())?;
/// let bound = query.bind(&json!({"owner": "ada"}))?;
/// assert_eq!(bound.bucket(), "tasks");
/// assert_eq!(bound, query.bind(&json!({"owner": "ada", "unused": 1}))?);
///
/// let missing = query.bind(&json!({})).unwrap_err();
/// assert_eq!(missing.details().unwrap()[0]["field"], "params.owner");
/// # Ok::<(), dunlin_store::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Query {
    name: Arc<str>,
    config: Arc<str>,
    bucket: Arc<str>,
    filter: Map<String, Value>,
    shape: Arc<Shape>,
}

/// What a query makes of the matching records.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) sort: Vec<(String, Direction)>,
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) fields: Vec<String>,
    pub(crate) includes: Vec<Include>,
    pub(crate) fold: Option<Fold>,
}

impl Shape {
    /// The members that it looks at.
    fn members(&self) -> impl Iterator<Item = &str> {
        let folded = self.fold.iter().flat_map(|fold| {
            let by = fold.group_by.iter().flatten().map(String::as_str);
            by.chain(std::iter::once(fold.field.as_str()).filter(|field| !field.is_empty()))
        });
        let sorted = self.sort.iter().map(|(name, _)| name.as_str());
        let shown = self.fields.iter().map(String::as_str);
        sorted.chain(shown).chain(self.includes.iter().map(|include| include.field.as_str())).chain(folded)
    }
}

/// An aggregate, alone or for each group.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) function: Aggregate,
    pub(crate) field: String,
    pub(crate) group_by: Option<Vec<String>>,
}

impl Query {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its definition as given, JSON text.
    pub fn config(&self) -> &Arc<str> {
        &self.config
    }

    /// The bucket it reads. It may have been dropped since the query was defined.
    pub fn bucket(&self) -> &Arc<str> {
        &self.bucket
    }
}
