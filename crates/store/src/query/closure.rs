//! Queries written in code: a closure that reads a snapshot, and a record of what it has read.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::reads::Reads;
use crate::{Aggregate, Bucket, Filter, Key, Number, Page, Record, Snapshot, StoreError};

/// A query that is a closure. It must depend on nothing but what it reads from the context, and its parameters.
///
/// ```
/// use dunlin_store::{ClosureQuery, Filter, Snapshot};
/// use serde_json::json;
///
/// let open = ClosureQuery::new("open tasks of", |ctx, params| {
///     let user = ctx.bucket("users")?.get(&params["user"]).map(|user| user.to_value());
///     let filter = json!({"owner": params["user"], "done": false});
///     let filter = Filter::parse(filter.as_object().unwrap_or(&serde_json::Map::new()))?;
///     Ok(json!({"user": user, "open": ctx.bucket("tasks")?.count(&filter)}))
/// });
/// let (result, reads) = open.run(&Snapshot::new("epoch-1"), &json!({"user": "ada"}));
/// assert_eq!(result.unwrap_err().to_string(), "Bucket \"users\" is not defined");
/// assert_eq!(reads.buckets().map(|name| &**name).collect::<Vec<_>>(), ["users"]);
/// ```
#[derive(Clone)]
pub struct ClosureQuery {
    name: Arc<str>,
    run: Arc<Run>,
}

type Run = dyn Fn(&ReadContext<'_>, &Value) -> Result<Value, StoreError> + Send + Sync;

impl ClosureQuery {
    /// A query of this name.
    pub fn new<F>(name: impl Into<Arc<str>>, run: F) -> Self
    where
        F: Fn(&ReadContext<'_>, &Value) -> Result<Value, StoreError> + Send + Sync + 'static,
    {
        Self { name: name.into(), run: Arc::new(run) }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Runs it. What it has read tells when the result, be it an error, can become another.
    pub fn run(&self, snapshot: &Snapshot, params: &Value) -> (Result<Value, StoreError>, Reads) {
        let context = ReadContext { snapshot, reads: RefCell::default() };
        let result = (self.run)(&context, params);
        (result, context.reads.into_inner())
    }
}

impl fmt::Debug for ClosureQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosureQuery").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A snapshot that remembers what is read from it.
#[derive(Debug)]
pub struct ReadContext<'a> {
    snapshot: &'a Snapshot,
    reads: RefCell<Reads>,
}

impl<'a> ReadContext<'a> {
    /// The bucket of this name.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn bucket(&self, name: &str) -> Result<Reader<'_, 'a>, StoreError> {
        match self.snapshot.bucket(name) {
            Ok(bucket) => {
                self.reads.borrow_mut().defined(bucket);
                Ok(Reader { bucket, reads: &self.reads })
            }
            Err(error) => {
                self.reads.borrow_mut().undefined(name);
                Err(error)
            }
        }
    }
}

/// A bucket that remembers what is read from it: a look-up by key reads this key, everything else the whole bucket.
#[derive(Debug)]
pub struct Reader<'c, 'a> {
    bucket: &'a Bucket,
    reads: &'c RefCell<Reads>,
}

impl<'a> Reader<'_, 'a> {
    /// The record with this primary key.
    pub fn get(&self, key: &Value) -> Option<&'a Record> {
        let key = Key::of(key)?;
        let found = self.bucket.find(key);
        self.reads.borrow_mut().key(self.bucket, key, found.map(|(row, _)| row));
        found.map(|(_, record)| record)
    }

    /// All records, in table order.
    pub fn all(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        self.whole().iter()
    }

    /// The records that match, in table order.
    pub fn matching(&self, filter: &Filter) -> Vec<&'a Record> {
        let bucket = self.whole();
        bucket.matching(filter)
    }

    /// The first record that matches.
    pub fn find_one(&self, filter: &Filter) -> Option<&'a Record> {
        self.whole().find_one(filter)
    }

    /// How many records match.
    pub fn count(&self, filter: &Filter) -> usize {
        self.whole().count(filter)
    }

    /// See [`Bucket::first`].
    pub fn first(&self, n: usize) -> Vec<&'a Record> {
        self.whole().first(n)
    }

    /// See [`Bucket::last`].
    pub fn last(&self, n: usize) -> Vec<&'a Record> {
        self.whole().last(n)
    }

    /// See [`Bucket::paginate`].
    ///
    /// # Errors
    /// Those of [`Bucket::paginate`].
    pub fn paginate(&self, after: Option<&Value>, limit: usize) -> Result<Page<&'a Record>, StoreError> {
        self.whole().paginate(after, limit)
    }

    /// The sum of the numbers that the matching records have in `field`.
    pub fn sum(&self, field: &str, filter: &Filter) -> Number {
        self.fold(Aggregate::Sum, field, filter).unwrap_or(Number::ZERO)
    }

    /// Their mean, 0 of nothing.
    pub fn avg(&self, field: &str, filter: &Filter) -> Number {
        self.fold(Aggregate::Avg, field, filter).unwrap_or(Number::ZERO)
    }

    /// The smallest of them.
    pub fn min(&self, field: &str, filter: &Filter) -> Option<Number> {
        self.fold(Aggregate::Min, field, filter)
    }

    /// The largest of them.
    pub fn max(&self, field: &str, filter: &Filter) -> Option<Number> {
        self.fold(Aggregate::Max, field, filter)
    }

    /// See [`Bucket::group_by`].
    pub fn group_by(&self, by: &[String], function: Aggregate, field: &str, filter: &Filter) -> Value {
        let groups = self.whole().group_by(by, function, field, filter);
        serde_json::from_str(&groups).unwrap_or_default()
    }

    fn fold(&self, function: Aggregate, field: &str, filter: &Filter) -> Option<Number> {
        self.whole().aggregate(function, field, filter)
    }

    fn whole(&self) -> &'a Bucket {
        self.reads.borrow_mut().whole(self.bucket);
        self.bucket
    }
}
