//! A query with its parameters filled in.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Query, Shape};
use crate::filter::Parameters;
use crate::guard::{Hidden, quoted};
use crate::{Filter, Guard, Issue, RowRule, Snapshot, StoreError};

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
            sight: Sight::default(),
            whole: None,
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
    pub(super) sight: Sight,
    /// The query as nobody has narrowed it, if this one was.
    whole: Option<Arc<Self>>,
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

    /// The same query for somebody under a guard: of the records that he sees, without what is hidden from him, and with no
    /// more included than he sees of the buckets that `include` looks into. All whose guards say the same of these buckets
    /// share one live view. The last guard counts; the empty one gives the query as it was.
    ///
    /// Which buckets are looked into is told by `snapshot`. If a later definition has `include` look into another one, nothing
    /// of that is shown.
    ///
    /// ```
    /// use dunlin_store::{Guard, Query, RuleTemplate, Snapshot};
    /// use serde_json::json;
    ///
    /// let query = Query::parse("open", json!({"bucket": "orders"}).as_object().unwrap())?.bind(&json!({}))?;
    /// let rule = json!({"bucket": "orders", "read": {"owner": "{{ session.userId }}"}, "hide": ["cost"]});
    /// let rule = RuleTemplate::parse(rule.as_object().unwrap())?;
    /// let guard = |user: &str| Guard::new([("orders", rule.bind(&json!({"userId": user})))]);
    /// let state = Snapshot::new("epoch-1");
    /// let hers = query.guarded(&guard("ada"), &state)?;
    /// assert!(hers != query && hers == query.guarded(&guard("ada"), &state)?);
    /// assert!(hers != query.guarded(&guard("bob"), &state)?);
    /// assert_eq!(hers.guarded(&Guard::default(), &state)?, query);
    ///
    /// let sorted = json!({"bucket": "orders", "sort": {"cost": "asc"}});
    /// let sorted = Query::parse("dear", sorted.as_object().unwrap())?.bind(&json!({}))?;
    /// assert_eq!(sorted.guarded(&guard("ada"), &state).unwrap_err().code().as_str(), "FORBIDDEN");
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreError::HiddenMember`] if the query filters, sorts, groups, aggregates, includes by or shows a member that is
    /// hidden.
    pub fn guarded(&self, guard: &Guard, snapshot: &Snapshot) -> Result<Self, StoreError> {
        let whole = self.0.whole.as_ref().unwrap_or(&self.0);
        let Bound { key, bucket, filter, shape, .. } = &**whole;
        // A rule that is about writing alone is none for who reads.
        let rule = |name: &str| guard.rule(name).filter(|rule| !rule.shows_all()).cloned();
        let own = rule(bucket);
        let mut key = key.to_string();
        let mut narrowed = None;
        if let Some(rule) = &own {
            rule.open_to(bucket, shape.members())?;
            narrowed = Some(rule.narrowed(bucket, filter)?);
            // JSON text has no line of its own that begins so.
            key.extend(["\nrule ", rule.view_key()]);
        }
        let mut sight = Sight { own, included: None };
        if !guard.view_key().is_empty() && !shape.includes.is_empty() {
            let names = Self(Arc::clone(whole)).included(snapshot).into_iter();
            let rules: BTreeMap<Arc<str>, Option<RowRule>> =
                names.map(|name| (Arc::clone(&name), rule(&name))).collect();
            for (name, rule) in &rules {
                key.extend(["\nincluded ", &quoted(name), " "]);
                key.push_str(rule.as_ref().map_or("open", RowRule::view_key));
            }
            sight.included = Some(rules);
        }
        if sight.own.is_none() && sight.included.is_none() {
            return Ok(Self(Arc::clone(whole)));
        }
        Ok(Self(Arc::new(Bound {
            key: key.into(),
            bucket: bucket.clone(),
            filter: narrowed.unwrap_or_else(|| filter.clone()),
            shape: shape.clone(),
            sight,
            whole: Some(Arc::clone(whole)),
        })))
    }

    /// What of the records may be shown.
    pub(crate) fn sight(&self) -> &Sight {
        &self.0.sight
    }

    /// What it makes of the records that match.
    pub(crate) fn shape(&self) -> &Shape {
        &self.0.shape
    }
}

/// What of the records that a query shows may be shown to those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    own: Option<RowRule>,
    /// The rule for each bucket that may be included from, `None` for an open one; everything is open if there is no map.
    included: Option<BTreeMap<Arc<str>, Option<RowRule>>>,
}

/// What of the records of a bucket is included.
#[derive(Debug, Clone)]
pub(crate) enum Inclusion {
    All,
    Seen(RowRule),
    Nothing,
}

impl Sight {
    /// What is hidden of the query's own records, if anything is.
    pub(crate) fn hidden(&self) -> Option<&Hidden> {
        self.own.as_ref().map(RowRule::hidden).filter(|hidden| !hidden.is_empty())
    }

    pub(crate) fn inclusion(&self, bucket: &str) -> Inclusion {
        match self.included.as_ref().map(|rules| rules.get(bucket)) {
            None | Some(Some(None)) => Inclusion::All,
            Some(Some(Some(rule))) => Inclusion::Seen(rule.clone()),
            Some(None) => Inclusion::Nothing,
        }
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
