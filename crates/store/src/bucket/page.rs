//! Reading a bucket in order, a piece at a time.

use serde_json::Value;

use super::{Bucket, cursor};
use crate::plan::{Order, Position, window};
use crate::{Direction, FieldValue, Filter, Key, Member, Record, RowId, StoreError};

/// One page of a bucket, by [`Bucket::paginate`].
#[derive(Debug, Clone)]
pub struct Page<R> {
    /// The records, in table order; in an `ordered_set` by key.
    pub records: Vec<R>,
    /// Whether there are more behind them.
    pub has_more: bool,
    /// The key of the last record of the page, to be given as `after` for the next; `None` on an empty page.
    pub next_cursor: Option<Value>,
}

/// What [`Bucket::page`] is asked for.
///
/// ```
/// use dunlin_store::{Direction, PageRequest};
///
/// let newest_first = PageRequest {
///     sort: vec![("_createdAt".into(), Direction::Descending)],
///     limit: 20,
///     ..PageRequest::default()
/// };
/// assert!(newest_first.filter.is_empty() && newest_first.cursor.is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Which records.
    pub filter: Filter,
    /// Their order: member names, the first counting most. Table order if there are none, and among equals.
    pub sort: Vec<(String, Direction)>,
    /// How many records at most.
    pub limit: usize,
    /// The cursor of the page before; none for the first page.
    pub cursor: Option<String>,
}

/// One page of a bucket, by [`Bucket::page`].
#[derive(Debug, Clone)]
pub struct Paged<'a> {
    /// The records, in the order asked for.
    pub records: Vec<&'a Record>,
    /// Whether there are more behind them.
    pub has_more: bool,
    /// To be given for the next page; `None` on an empty page. It stays good whatever happens to the records, and over
    /// restarts.
    pub cursor: Option<String>,
}

impl Bucket {
    /// The first `n` records; in an `ordered_set` those of the smallest keys.
    pub fn first(&self, n: usize) -> Vec<&Record> {
        if self.definition.is_ordered() {
            return self.by_key(&Filter::default(), Direction::Ascending, None, n);
        }
        self.iter().take(n).collect()
    }

    /// The first `n` of those that match.
    pub(crate) fn first_of(&self, filter: &Filter, n: usize) -> Vec<&Record> {
        if self.definition.is_ordered() {
            return self.by_key(filter, Direction::Ascending, None, n);
        }
        self.matching_most(filter, n)
    }

    /// The last `n` records, in ascending table order; in an `ordered_set` by key.
    pub fn last(&self, n: usize) -> Vec<&Record> {
        let mut records = if self.definition.is_ordered() {
            self.by_key(&Filter::default(), Direction::Descending, None, n)
        } else {
            self.iter().rev().take(n).collect()
        };
        records.reverse();
        records
    }

    /// The last `n` of those that match.
    pub(crate) fn last_of(&self, filter: &Filter, n: usize) -> Vec<&Record> {
        if !self.definition.is_ordered() {
            return self.matching_last(filter, n);
        }
        let mut records = self.by_key(filter, Direction::Descending, None, n);
        records.reverse();
        records
    }

    /// At most `limit` records behind the one whose key is `after`; from the start if it is `None` or `null`.
    ///
    /// A record that was removed not long ago still has its place. In an `ordered_set` every key has one.
    ///
    /// # Errors
    /// [`StoreError::UnknownCursor`] if it cannot be told (any more) where that key was.
    pub fn paginate(&self, after: Option<&Value>, limit: usize) -> Result<Page<&Record>, StoreError> {
        self.paginate_of(None, after, limit)
    }

    /// The same of those that match, if there is a filter; then only they have a place.
    pub(crate) fn paginate_of(
        &self,
        filter: Option<&Filter>,
        after: Option<&Value>,
        limit: usize,
    ) -> Result<Page<&Record>, StoreError> {
        let unknown = || StoreError::UnknownCursor { bucket: (&**self.name()).into() };
        let after = match after {
            None | Some(Value::Null) => None,
            Some(value) => Some(Key::of(value).ok_or_else(unknown)?),
        };
        let (everything, more) = (Filter::default(), limit.saturating_add(1));
        let mut records: Vec<&Record> = if self.definition.is_ordered() {
            self.by_key(filter.unwrap_or(&everything), Direction::Ascending, after, more)
        } else if let Some(filter) = filter {
            let matcher = filter.matcher(&self.definition);
            let place = |key| {
                let found = self.find(key).filter(|(_, record)| matcher.matches(record));
                found.map(|(row, _)| Position { values: Vec::new(), row }).ok_or_else(unknown)
            };
            let after = after.map(place).transpose()?;
            let rows = window(self, &matcher, &Order(Vec::new()), after.as_ref(), more);
            rows.into_iter().map(|(_, record)| record).collect()
        } else {
            let from = match after {
                None => Some(0),
                Some(key) => {
                    let found = self.find(key).map(|(row, _)| row);
                    found.or_else(|| self.departed.row(key)).ok_or_else(unknown)?.0.checked_add(1)
                }
            };
            let rows = from.map(|from| self.rows_from(from)).into_iter().flatten();
            rows.map(|(_, record)| record).take(more).collect()
        };
        let has_more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().and_then(|record| self.key_of(record));
        Ok(Page { has_more, next_cursor: last.map(Key::to_value), records })
    }

    /// One page of the records that match, in the order asked for. Pages that follow one another by their cursors give
    /// every record that was there all the time, and not changed meanwhile, exactly once.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`] if the cursor is none, or belongs to another bucket or another sort.
    pub fn page(&self, request: &PageRequest) -> Result<Paged<'_>, StoreError> {
        let PageRequest { filter, sort, limit, cursor } = request;
        let after = cursor.as_deref().map(|cursor| cursor::read(self, sort, cursor)).transpose()?;
        let order = Order::new(&self.definition, sort);
        let matcher = filter.matcher(&self.definition);
        let mut rows = window(self, &matcher, &order, after.as_ref(), limit.saturating_add(1));
        let has_more = rows.len() > *limit;
        rows.truncate(*limit);
        let cursor = rows.last().map(|row| cursor::write(self.id, sort, &order, row));
        Ok(Paged { records: rows.into_iter().map(|(_, record)| record).collect(), has_more, cursor })
    }

    /// Records that match by key: numbers by value, then strings by UTF-16 code units.
    fn by_key(
        &self,
        filter: &Filter,
        direction: Direction,
        after: Option<Key<'_>>,
        count: usize,
    ) -> Vec<&Record> {
        let key = self.definition.key().name();
        let order = Order(vec![(Member::Field(self.definition.key_slot(), key.into()), direction)]);
        // Behind all rows of this key, which is at most one.
        let after = after.map(|key| {
            let value = match key {
                Key::Number(number) => FieldValue::Number(number),
                Key::Str(text) => FieldValue::Str(text.to_owned().into()),
            };
            Position { values: vec![value], row: RowId(u64::MAX) }
        });
        let rows = window(self, &filter.matcher(&self.definition), &order, after.as_ref(), count);
        rows.into_iter().map(|(_, record)| record).collect()
    }
}
