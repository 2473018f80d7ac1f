//! The first records of an order: walked along an index that has the order, or the best of all that match.

use super::facts::Facts;
use super::order::{Best, Direction, Order, Position, Row};
use super::{Access, Candidates, Last, Lookup, choose};
use crate::filter::Matcher;
use crate::index::{Index, Lead};
use crate::limits::{INDEX_ROWS_FLOOR, INDEX_SHARE, NARROW_ROWS};
use crate::order_key::{KeyRange, OrderKey};
use crate::value::Constant;
use crate::{Bucket, Member, RowId};

/// At most `count` of the records that match, the first in the order, from the start or behind a place.
pub(crate) fn window<'b>(
    bucket: &'b Bucket,
    matcher: &Matcher<'_>,
    order: &Order,
    after: Option<&Position>,
    count: usize,
) -> Vec<Row<'b>> {
    if count == 0 {
        return Vec::new();
    }
    let mut access = choose(bucket, matcher);
    if order.0.is_empty() {
        let mut candidates = access.candidates(bucket);
        if let (Candidates::All(_), Some(place)) = (&candidates, after) {
            // The last row there can be has no row behind it.
            let Some(next) = place.row.0.checked_add(1) else { return Vec::new() };
            candidates = Candidates::All(bucket.rows_from(next));
        }
        let rows = std::iter::from_fn(|| candidates.next(bucket));
        let behind = rows.filter(|(row, _)| after.is_none_or(|place| *row > place.row));
        return behind.filter(|(_, record)| matcher.matches(record)).take(count).collect();
    }
    let short = count <= (bucket.len() / INDEX_SHARE).max(INDEX_ROWS_FLOOR);
    let walk = if short { Walk::find(bucket, matcher, order, after) } else { None };
    // A short walk: along a lead, or while nothing else says where the records are.
    if let Some(walk) = walk.filter(|walk| walk.lead != Lead::NONE || !is_narrow(&access))
        && let Some(rows) = walk.rows(count)
    {
        return rows;
    }
    let mut best = Best::new(order, count);
    let mut candidates = access.candidates(bucket);
    while let Some(row) = candidates.next(bucket) {
        if matcher.matches(row.1) && after.is_none_or(|place| order.is_behind(&row, place)) {
            best.add(row);
        }
    }
    best.finish()
}

/// Whether an access gives so few rows that they are quickly sorted.
fn is_narrow(access: &Access<'_, '_>) -> bool {
    match access {
        Access::Nothing | Access::Key(_) => true,
        Access::Keys(values) => values.len() <= NARROW_ROWS,
        Access::Index(Lookup { index, lead, last }) => {
            let rows = match last {
                Last::Equal(value) => index.equal(*lead, &value.as_field()).take(NARROW_ROWS + 1).count(),
                Last::Within(range) => index.within(*lead, *range).take(NARROW_ROWS + 1).count(),
                Last::In(values) => values
                    .iter()
                    .flat_map(|value| index.equal(*lead, &value.as_field()))
                    .take(NARROW_ROWS + 1)
                    .count(),
            };
            rows <= NARROW_ROWS
        }
        Access::Union(branches) => branches.iter().all(is_narrow),
        Access::Scan => false,
    }
}

/// A walk along an index in its order.
struct Walk<'w, 'b> {
    bucket: &'b Bucket,
    matcher: &'w Matcher<'w>,
    order: &'w Order,
    after: Option<&'w Position>,
    index: &'b Index,
    lead: Lead,
    range: KeyRange,
    direction: Direction,
    /// Whether every record that matches is in the range.
    complete: bool,
}

impl<'w, 'b> Walk<'w, 'b> {
    /// The walk that gives the order, if an index has it.
    fn find(
        bucket: &'b Bucket,
        matcher: &'w Matcher<'w>,
        order: &'w Order,
        after: Option<&'w Position>,
    ) -> Option<Self> {
        let (Member::Field(slot, _), direction) = order.0.first()? else { return None };
        let facts = Facts::of(matcher.root(), matcher.members());
        let fits = |index: &&Index| {
            let Some((last, before)) = index.spec().slots.split_last() else { return false };
            let fixed = before.iter().all(|slot| facts.equal(*slot).is_some());
            // Objects and arrays, which no index has, come first when the largest do.
            last == slot && fixed && (*direction == Direction::Ascending || index.has_all_ordered())
        };
        let index = bucket.indexes().iter().filter(fits).max_by_key(|index| index.spec().slots.len())?;
        let (_, before) = index.spec().slots.split_last()?;
        let lead = match before {
            [] => Lead::NONE,
            before => {
                index.lead(before.iter().filter_map(|slot| facts.equal(*slot)).map(Constant::as_field))?
            }
        };
        let wanted = facts.range(*slot);
        let mut range = wanted.map_or(KeyRange::NOT_NULL, |wanted| wanted.and(KeyRange::NOT_NULL));
        if let Some(value) = after.and_then(|place| place.values.first()) {
            // Behind `null`, an object or an array there is nothing that the index has in order.
            let key = OrderKey::of(value).filter(|_| !value.is_nullish())?;
            range = match direction {
                Direction::Ascending => KeyRange { low: range.low.max(key), ..range },
                Direction::Descending => KeyRange { high: range.high.min(key), ..range },
            };
        }
        let complete = wanted.is_some() || *slot == bucket.definition().key_slot();
        Some(Self { bucket, matcher, order, after, index, lead, range, direction: *direction, complete })
    }

    /// The first `count` rows; `None` if the walk cannot tell, or turns out long.
    fn rows(&self, count: usize) -> Option<Vec<Row<'b>>> {
        let mut rows = Vec::new();
        let mut vain = (self.bucket.len() / INDEX_SHARE).max(INDEX_ROWS_FLOOR);
        let mut range = self.range;
        while rows.len() < count && !range.is_empty() {
            let mut left = self.index.within(self.lead, range);
            let next = match self.direction {
                Direction::Ascending => left.next(),
                Direction::Descending => left.next_back(),
            };
            let Some((key, _)) = next else { break };
            self.add_group(key, count, &mut rows, &mut vain)?;
            range = match self.direction {
                Direction::Ascending => range.behind(key),
                Direction::Descending => range.before(key),
            };
        }
        (rows.len() == count || self.complete).then_some(rows)
    }

    /// Adds the rows of one key, in order. `None` if too many rows were looked at in vain.
    fn add_group(
        &self,
        key: OrderKey,
        count: usize,
        rows: &mut Vec<Row<'b>>,
        vain: &mut usize,
    ) -> Option<()> {
        let group = self.index.within(self.lead, KeyRange { low: key, high: key });
        let sorted = key.is_whole() && self.order.0.len() == 1;
        let missing = count - rows.len();
        let mut best = Best::new(self.order, missing);
        let mut found = 0;
        for (_, row) in group {
            let Some(row) = self.useful(row) else {
                *vain = vain.checked_sub(1)?;
                continue;
            };
            found += 1;
            if !sorted {
                best.add(row);
                // All of a group must be seen before its first is known.
                if found > missing {
                    *vain = vain.checked_sub(1)?;
                }
                continue;
            }
            rows.push(row);
            if found == missing {
                return Some(());
            }
        }
        rows.extend(best.finish());
        Some(())
    }

    fn useful(&self, row: RowId) -> Option<Row<'b>> {
        let row = (row, self.bucket.row(row)?);
        let useful =
            self.matcher.matches(row.1) && self.after.is_none_or(|place| self.order.is_behind(&row, place));
        useful.then_some(row)
    }
}
