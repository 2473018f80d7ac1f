//! Carries an access out: the rows to try, in table order.

use super::{Access, Last, Lookup};
use crate::filter::{Matcher, Node, Test};
use crate::index::IndexRows;
use crate::limits::{INDEX_ROWS_FLOOR, INDEX_SHARE};
use crate::rows::Rows;
use crate::value::Constant;
use crate::{Bucket, Key, Record, RowId};

/// Rows to be tried with a filter, ascending.
pub(crate) enum Candidates<'b> {
    /// All rows of the bucket, from some row on.
    All(Rows<'b, Record>),
    /// Rows of equal values, straight from an index.
    Indexed(IndexRows<'b>),
    /// Rows gathered from several places.
    Gathered(std::vec::IntoIter<RowId>),
    /// One row, or none.
    One(Option<(RowId, &'b Record)>),
}

impl<'b> Candidates<'b> {
    /// The next row that is there.
    #[inline]
    pub(crate) fn next(&mut self, bucket: &'b Bucket) -> Option<(RowId, &'b Record)> {
        let row = match self {
            Self::All(rows) => return rows.next().map(|(row, record)| (RowId(row), record)),
            Self::One(found) => return found.take(),
            Self::Indexed(rows) => rows.next()?,
            Self::Gathered(rows) => rows.next()?,
        };
        // Indexes name only rows that are there.
        bucket.row(row).map(|record| (row, record))
    }
}

impl<'f, 'b> Access<'f, 'b> {
    /// The rows to try. If gathering them turns out to cost more than to try all, all it is: the access is then
    /// [`Access::Scan`].
    pub(crate) fn candidates(&mut self, bucket: &'b Bucket) -> Candidates<'b> {
        match self {
            Self::Nothing => return Candidates::One(None),
            Self::Key(value) => return Candidates::One(find(bucket, value)),
            Self::Index(Lookup { index, lead, last: Last::Equal(value) }) => {
                return Candidates::Indexed(index.equal(*lead, &value.as_field()));
            }
            Self::Scan => return Candidates::All(bucket.rows_from(0)),
            Self::Keys(_) | Self::Index(_) | Self::Union(_) => {}
        }
        let mut budget = (bucket.len() / INDEX_SHARE).max(INDEX_ROWS_FLOOR);
        let mut rows = Vec::new();
        if !self.gather(bucket, &mut rows, &mut budget) {
            *self = Self::Scan;
            return Candidates::All(bucket.rows_from(0));
        }
        rows.sort_unstable();
        rows.dedup();
        Candidates::Gathered(rows.into_iter())
    }

    /// Adds the rows; `false` if they, and the look-ups for them, are more than the budget allows.
    fn gather(&self, bucket: &'b Bucket, rows: &mut Vec<RowId>, budget: &mut usize) -> bool {
        match self {
            Self::Nothing => true,
            Self::Key(value) => spend(find(bucket, value).map(|(row, _)| row), rows, budget),
            Self::Keys(values) => values
                .iter()
                .all(|value| spend(find(bucket, value).map(|(row, _)| row), rows, budget) && pay(budget)),
            Self::Index(Lookup { index, lead, last }) => match last {
                Last::Equal(value) => spend(index.equal(*lead, &value.as_field()), rows, budget),
                Last::In(values) => values
                    .iter()
                    .all(|value| spend(index.equal(*lead, &value.as_field()), rows, budget) && pay(budget)),
                Last::Within(range) => spend(index.within(*lead, *range).map(|(_, row)| row), rows, budget),
            },
            Self::Union(branches) => {
                branches.iter().all(|access| access.gather(bucket, rows, budget) && pay(budget))
            }
            Self::Scan => false,
        }
    }

    /// How many rows match, if the index can tell without a look at the records: when it is asked exactly what the whole
    /// filter asks.
    pub(crate) fn exact_count(&self, matcher: &Matcher<'f>) -> Option<usize> {
        let Self::Index(Lookup { index, lead, last }) = self else { return None };
        let test = only_test(matcher.root())?;
        let whole = |value: &Constant| index.is_exact(&value.as_field());
        let exact = match test {
            Test::Equals(Some(value)) | Test::Related(_, value) => whole(value),
            Test::Between(low, high) => whole(low) && whole(high),
            Test::In(values) => values.iter().all(whole),
            _ => false,
        };
        exact.then(|| match last {
            Last::Equal(value) => index.equal(*lead, &value.as_field()).count(),
            Last::In(values) => {
                values.iter().map(|value| index.equal(*lead, &value.as_field()).count()).sum()
            }
            Last::Within(range) => index.within(*lead, *range).count(),
        })
    }
}

/// The test that a filter consists of, if it is a single one.
fn only_test(node: &Node) -> Option<&Test> {
    match node {
        Node::All(nodes) | Node::Any(nodes) => match nodes.as_slice() {
            [node] => only_test(node),
            _ => None,
        },
        Node::Test { test, .. } => Some(test),
        Node::Not(_) => None,
    }
}

fn find<'b>(bucket: &'b Bucket, value: &Constant) -> Option<(RowId, &'b Record)> {
    bucket.find(Key::of_field(&value.as_field())?)
}

fn spend(found: impl IntoIterator<Item = RowId>, rows: &mut Vec<RowId>, budget: &mut usize) -> bool {
    found.into_iter().all(|row| {
        rows.push(row);
        pay(budget)
    })
}

fn pay(budget: &mut usize) -> bool {
    *budget = budget.saturating_sub(1);
    *budget > 0
}
