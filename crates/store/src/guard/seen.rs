//! A bucket as one session sees it.

use std::borrow::Cow;

use serde_json::Value;

use super::{Hidden, RowRule};
use crate::{
    Aggregate, Bucket, Direction, Filter, Key, Number, Page, PageRequest, Paged, Record, StoreError,
};

/// A bucket through a rule: records that the rule does not let through are not there. Made by [`Bucket::through`].
///
/// Records come as they are stored; [`Seen::write_json`] and [`Seen::shown`] leave out what is hidden.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    bucket: &'a Bucket,
    rule: Option<&'a RowRule>,
}

impl Bucket {
    /// The bucket through a rule; without one it is read as it is.
    ///
    /// Everything is refused with [`StoreError::HiddenMember`] that asks for a member which the rule hides.
    ///
    /// ```
    /// # use dunlin_store::{Context, Filter, IdSource, Intent, RuleTemplate, Snapshot};
    /// # use serde_json::json;
    /// # struct Ids;
    /// # impl IdSource for Ids { fn next(&mut self) -> u128 { 0 } }
    /// # let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    /// # let mut state = Snapshot::new("epoch-1");
    /// # let config = object(json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    /// # state.execute(Intent::DefineBucket { name: "orders".into(), config }, &mut Context::new(1, &mut Ids))?;
    /// let data = vec![object(json!({"id": "a", "owner": "ada", "cost": 3})), object(json!({"id": "b", "owner": "bob"}))];
    /// state.execute(Intent::InsertMany { bucket: "orders".into(), data }, &mut Context::new(1, &mut Ids))?;
    ///
    /// let rule = object(json!({"bucket": "orders", "read": {"owner": "{{ session.userId }}"}, "hide": ["cost"]}));
    /// let rule = RuleTemplate::parse(&rule)?.bind(&json!({"userId": "ada"}));
    /// let orders = state.bucket("orders")?.through(Some(&rule));
    /// assert_eq!(orders.get(&json!("b"))?, None);
    /// assert_eq!(orders.count(&Filter::default())?, 1);
    /// assert!(orders.count(&Filter::parse(&object(json!({"cost": {"$gt": 2}})))?).is_err());
    /// let mut json = String::new();
    /// orders.get(&json!("a"))?.iter().for_each(|record| orders.write_json(&mut json, record));
    /// assert_eq!(json, r#"{"id":"a","owner":"ada","_version":1,"_createdAt":1,"_updatedAt":1}"#);
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    pub fn through<'a>(&'a self, rule: Option<&'a RowRule>) -> Seen<'a> {
        Seen { bucket: self, rule }
    }
}

impl<'a> Seen<'a> {
    /// The bucket as it is.
    pub(crate) fn bucket(&self) -> &'a Bucket {
        self.bucket
    }

    /// The record with this primary key. What cannot be a key finds nothing.
    pub fn get(&self, key: &Value) -> Result<Option<&'a Record>, StoreError> {
        match Key::of(key) {
            Some(key) => self.find(key),
            None => Ok(None),
        }
    }

    /// The record with this primary key.
    pub fn find(&self, key: Key<'_>) -> Result<Option<&'a Record>, StoreError> {
        let found = self.bucket.find(key).map(|(_, record)| record);
        let Some(rule) = self.rule else { return Ok(found) };
        self.by_key(rule)?;
        Ok(found.filter(|record| rule.sees(self.bucket, record)))
    }

    /// All records, in table order.
    pub fn all(&self) -> Vec<&'a Record> {
        match self.rule {
            None => self.bucket.iter().collect(),
            Some(rule) => self.bucket.matching(rule.read()),
        }
    }

    /// The records that match, in table order.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<&'a Record>, StoreError> {
        Ok(self.bucket.matching(&*self.narrowed(filter)?))
    }

    /// At most `most` of the records that match, the first in table order.
    pub(crate) fn matching_most(&self, filter: &Filter, most: usize) -> Result<Vec<&'a Record>, StoreError> {
        Ok(self.bucket.matching_most(&*self.narrowed(filter)?, most))
    }

    /// The first record that matches, in table order.
    pub fn find_one(&self, filter: &Filter) -> Result<Option<&'a Record>, StoreError> {
        Ok(self.bucket.find_one(&*self.narrowed(filter)?))
    }

    /// How many records match.
    pub fn count(&self, filter: &Filter) -> Result<usize, StoreError> {
        Ok(self.bucket.count(&*self.narrowed(filter)?))
    }

    /// See [`Bucket::first`].
    pub fn first(&self, n: usize) -> Result<Vec<&'a Record>, StoreError> {
        let Some(rule) = self.rule else { return Ok(self.bucket.first(n)) };
        self.in_order(rule)?;
        Ok(self.bucket.first_of(rule.read(), n))
    }

    /// See [`Bucket::last`].
    pub fn last(&self, n: usize) -> Result<Vec<&'a Record>, StoreError> {
        let Some(rule) = self.rule else { return Ok(self.bucket.last(n)) };
        self.in_order(rule)?;
        Ok(self.bucket.last_of(rule.read(), n))
    }

    /// See [`Bucket::paginate`]. Through a rule only a record that can be seen has a place: not one that was removed, as
    /// nobody knows any more who could see it.
    ///
    /// # Errors
    /// Those of [`Bucket::paginate`].
    pub fn paginate(&self, after: Option<&Value>, limit: usize) -> Result<Page<&'a Record>, StoreError> {
        let Some(rule) = self.rule else { return self.bucket.paginate(after, limit) };
        // Its cursors are keys.
        self.by_key(rule)?;
        self.bucket.paginate_of(Some(rule.read()), after, limit)
    }

    /// See [`Bucket::page`].
    ///
    /// # Errors
    /// Those of [`Bucket::page`].
    pub fn page(&self, request: &PageRequest) -> Result<Paged<'a>, StoreError> {
        let Some(rule) = self.rule else { return self.bucket.page(request) };
        let PageRequest { filter, sort, limit, cursor } = request;
        self.open_to(sort.iter().map(|(name, _): &(String, Direction)| name.as_str()))?;
        let filter = rule.narrowed(self.bucket.name(), filter)?;
        let (sort, cursor) = (sort.clone(), cursor.clone());
        self.bucket.page(&PageRequest { filter, sort, limit: *limit, cursor })
    }

    /// See [`Bucket::aggregate`].
    pub fn aggregate(
        &self,
        function: Aggregate,
        field: &str,
        filter: &Filter,
    ) -> Result<Option<Number>, StoreError> {
        self.open_to([field])?;
        Ok(self.bucket.aggregate(function, field, &*self.narrowed(filter)?))
    }

    /// See [`Bucket::group_by`].
    pub fn group_by(
        &self,
        by: &[String],
        function: Aggregate,
        field: &str,
        filter: &Filter,
    ) -> Result<String, StoreError> {
        self.groups(by, function, field, filter).map(|(groups, _)| groups)
    }

    pub(crate) fn groups(
        &self,
        by: &[String],
        function: Aggregate,
        field: &str,
        filter: &Filter,
    ) -> Result<(String, usize), StoreError> {
        self.open_to(by.iter().map(String::as_str).chain([field]))?;
        Ok(self.bucket.groups(by, function, field, &*self.narrowed(filter)?))
    }

    /// Appends the JSON text of a record of the bucket without what is hidden.
    pub fn write_json(&self, json: &mut String, record: &Record) {
        match self.hidden() {
            None => json.push_str(record.json()),
            Some(hidden) => hidden.write(json, record),
        }
    }

    /// The same as a text of its own, unless nothing is hidden.
    pub fn json<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        let Some(hidden) = self.hidden() else { return Cow::Borrowed(record.json()) };
        let mut json = String::with_capacity(record.json().len());
        hidden.write(&mut json, record);
        json.into()
    }

    /// A record of the bucket without what is hidden.
    pub fn shown(&self, record: &Record) -> Record {
        match self.hidden() {
            None => record.clone(),
            Some(hidden) => hidden.shown(record, self.bucket.definition()),
        }
    }

    /// What is hidden, if anything is.
    fn hidden(&self) -> Option<&'a Hidden> {
        self.rule.map(RowRule::hidden).filter(|hidden| !hidden.is_empty())
    }

    pub(crate) fn narrowed<'f>(&self, filter: &'f Filter) -> Result<Cow<'f, Filter>, StoreError> {
        match self.rule {
            None => Ok(Cow::Borrowed(filter)),
            Some(rule) => rule.narrowed(self.bucket.name(), filter).map(Cow::Owned),
        }
    }

    fn open_to<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<(), StoreError> {
        self.rule.map_or(Ok(()), |rule| rule.open_to(self.bucket.name(), names))
    }

    /// To ask for a key is to filter by it.
    fn by_key(&self, rule: &RowRule) -> Result<(), StoreError> {
        rule.open_to(self.bucket.name(), [self.bucket.definition().key().name()])
    }

    /// An `ordered_set` is sorted by its key.
    fn in_order(&self, rule: &RowRule) -> Result<(), StoreError> {
        if self.bucket.definition().is_ordered() { self.by_key(rule) } else { Ok(()) }
    }
}
