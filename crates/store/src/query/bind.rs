//! A query with its parameters filled in.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Query, Shape};
use crate::filter::Parameters;
use crate::{Filter, Issue, StoreError};

impl Query {
    /// Fills the parameters in. A parameter yields a plain value, or an array of them as the whole operand of `$in`,
    /// `$nin` or `$between`; never an operator.
    ///
    /// # Errors
    /// [`StoreError::InvalidParams`] naming each parameter that is missing or does not fit its place.
    pub fn bind(&self, params: &Value) -> Result<BoundQuery, StoreError> {
        let refuse = |issues| StoreError::InvalidParams { query: (&*self.name).into(), issues };
        let none = Map::new();
        let params = match params {
            Value::Object(params) => params,
            Value::Null => &none,
            _ => return Err(refuse(vec![Issue::new("params", "type", "Expected an object")])),
        };
        let (filter, used) = Filter::read(&self.filter, Parameters::Given(params)).map_err(refuse)?;
        let mut key = self.config.to_string();
        for (name, value) in used {
            // Names are words and values JSON text, so the parts cannot run into one another.
            key.extend(["\n", &name, "=", &value]);
        }
        Ok(BoundQuery(Arc::new(Bound {
            key: key.into(),
            bucket: self.bucket.clone(),
            filter,
            shape: self.shape.clone(),
        })))
    }
}

/// A query with its parameters. Cheap to clone. Equal (and of equal hash) if definition and used parameters are, so
/// that all who ask for the same share one live view.
#[derive(Debug, Clone)]
pub struct BoundQuery(pub(super) Arc<Bound>);

#[derive(Debug)]
pub(super) struct Bound {
    key: Box<str>,
    pub(super) bucket: Arc<str>,
    pub(super) filter: Filter,
    pub(super) shape: Arc<Shape>,
}

impl BoundQuery {
    /// The bucket it reads.
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// What identifies it: the definition and the canonical parameters. Opaque; equal for equal queries.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Its filter.
    pub fn filter(&self) -> &Filter {
        &self.0.filter
    }

    /// The same query of those records only that a rule lets through: for readers who may not see all. `rule` identifies the
    /// filter, which all readers under one rule share with its values filled in; so they share one live view too.
    ///
    /// What an `include` adds is not looked at.
    ///
    /// ```
    /// use dunlin_store::{Filter, Query};
    /// use serde_json::json;
    ///
    /// let query = Query::parse("open", json!({"bucket": "orders"}).as_object().unwrap())?.bind(&json!({}))?;
    /// let own = Filter::parse(json!({"owner": "ada"}).as_object().unwrap())?;
    /// let narrowed = query.narrowed("owner=ada", &own);
    /// assert_ne!(narrowed, query);
    /// assert_eq!(narrowed, query.narrowed("owner=ada", &own));
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    #[must_use]
    pub fn narrowed(&self, rule: &str, filter: &Filter) -> Self {
        let Bound { key, bucket, filter: own, shape } = &*self.0;
        // JSON text has no line of its own that begins so.
        let key = [key, "\nrule ", rule].concat().into();
        let (bucket, shape) = (bucket.clone(), shape.clone());
        Self(Arc::new(Bound { key, bucket, filter: own.and(filter), shape }))
    }

    /// What it makes of the records that match.
    pub(crate) fn shape(&self) -> &Shape {
        &self.0.shape
    }
}

impl PartialEq for BoundQuery {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for BoundQuery {}

impl Hash for BoundQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}
