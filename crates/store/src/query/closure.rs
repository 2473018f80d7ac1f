//! Queries written in code: a closure that reads a snapshot, and a record of what it has read.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::reads::Reads;
use crate::{Aggregate, Bucket, Filter, Guard, Key, Number, Page, Record, Seen, Snapshot, StoreError};

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
        self.run_guarded(snapshot, params, &Guard::default())
    }

    /// Runs it for somebody under a guard: it sees what he sees. If it asks for a member that is hidden from him, the result is
    /// [`StoreError::HiddenMember`], whatever it makes of what it was given instead.
    pub fn run_guarded(
        &self,
        snapshot: &Snapshot,
        params: &Value,
        guard: &Guard,
    ) -> (Result<Value, StoreError>, Reads) {
        let context = ReadContext { snapshot, guard, noted: Noted::default() };
        let result = (self.run)(&context, params);
        let Noted { reads, refused } = context.noted;
        (refused.into_inner().map_or(result, Err), reads.into_inner())
    }
}

impl fmt::Debug for ClosureQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosureQuery").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A snapshot that remembers what is read from it, as far as the reader sees it.
#[derive(Debug)]
pub struct ReadContext<'a> {
    snapshot: &'a Snapshot,
    guard: &'a Guard,
    noted: Noted,
}

#[derive(Debug, Default)]
struct Noted {
    reads: RefCell<Reads>,
    /// The first read that was refused.
    refused: RefCell<Option<StoreError>>,
}

impl Noted {
    /// What a read gave; nothing, and it is noted, if it was refused.
    fn granted<T: Default>(&self, read: Result<T, StoreError>) -> T {
        read.unwrap_or_else(|error| {
            self.refused.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl<'a> ReadContext<'a> {
    /// The bucket of this name.
    ///
    /// # Errors
    /// [`StoreError::BucketNotDefined`].
    pub fn bucket(&self, name: &str) -> Result<Reader<'_, 'a>, StoreError> {
        match self.snapshot.bucket(name) {
            Ok(bucket) => {
                self.noted.reads.borrow_mut().defined(bucket);
                Ok(Reader { bucket, seen: bucket.through(self.guard.rule(name)), noted: &self.noted })
            }
            Err(error) => {
                self.noted.reads.borrow_mut().undefined(name);
                Err(error)
            }
        }
    }
}

/// A bucket that remembers what is read from it: a look-up by key reads this key, everything else the whole bucket.
///
/// Records that the reader does not see are not there, and what is hidden from him is left out of the others. A read that
/// asks for a hidden member gives nothing, and the whole query fails.
#[derive(Debug)]
pub struct Reader<'c, 'a> {
    bucket: &'a Bucket,
    seen: Seen<'a>,
    noted: &'c Noted,
}

impl<'a> Reader<'_, 'a> {
    /// The record with this primary key.
    pub fn get(&self, key: &Value) -> Option<Record> {
        let key = Key::of(key)?;
        let row = self.bucket.find(key).map(|(row, _)| row);
        self.noted.reads.borrow_mut().key(self.bucket, key, row);
        self.noted.granted(self.seen.find(key)).map(|record| self.seen.shown(record))
    }

    /// All records, in table order.
    pub fn all(&self) -> impl Iterator<Item = Record> + use<'a> {
        let seen = self.whole();
        seen.all().into_iter().map(move |record| seen.shown(record))
    }

    /// The records that match, in table order.
    pub fn matching(&self, filter: &Filter) -> Vec<Record> {
        self.shown(self.whole().matching(filter))
    }

    /// The first record that matches.
    pub fn find_one(&self, filter: &Filter) -> Option<Record> {
        let found = self.noted.granted(self.whole().find_one(filter));
        found.map(|record| self.seen.shown(record))
    }

    /// How many records match.
    pub fn count(&self, filter: &Filter) -> usize {
        self.noted.granted(self.whole().count(filter))
    }

    /// See [`Bucket::first`].
    pub fn first(&self, n: usize) -> Vec<Record> {
        self.shown(self.whole().first(n))
    }

    /// See [`Bucket::last`].
    pub fn last(&self, n: usize) -> Vec<Record> {
        self.shown(self.whole().last(n))
    }

    /// See [`Bucket::paginate`] and [`Seen::paginate`].
    ///
    /// # Errors
    /// Those of [`Bucket::paginate`].
    pub fn paginate(&self, after: Option<&Value>, limit: usize) -> Result<Page<Record>, StoreError> {
        let page = self.whole().paginate(after, limit);
        if let Err(error @ StoreError::HiddenMember { .. }) = &page {
            self.noted.refused.borrow_mut().get_or_insert_with(|| error.clone());
        }
        let Page { records, has_more, next_cursor } = page?;
        Ok(Page { records: self.shown(Ok(records)), has_more, next_cursor })
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
        let groups = self.noted.granted(self.whole().group_by(by, function, field, filter));
        serde_json::from_str(&groups).unwrap_or_default()
    }

    fn fold(&self, function: Aggregate, field: &str, filter: &Filter) -> Option<Number> {
        self.noted.granted(self.whole().aggregate(function, field, filter))
    }

    fn shown(&self, records: Result<Vec<&'a Record>, StoreError>) -> Vec<Record> {
        let records = self.noted.granted(records);
        records.into_iter().map(|record| self.seen.shown(record)).collect()
    }

    fn whole(&self) -> Seen<'a> {
        self.noted.reads.borrow_mut().whole(self.bucket);
        self.seen
    }
}
