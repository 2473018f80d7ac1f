//! The order of a sort, and places in it.

use std::cmp::Ordering;

use crate::value::value_order;
use crate::{Definition, FieldValue, Member, Record, RowId};

/// A direction of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// The name in a query config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    /// The direction of a name in a query config.
    ///
    /// ```
    /// use dunlin_store::Direction;
    /// assert_eq!(Direction::parse("desc"), Some(Direction::Descending));
    /// assert_eq!(Direction::parse("down"), None);
    /// ```
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ascending, Self::Descending].into_iter().find(|direction| direction.as_str() == name)
    }
}

/// A sort, its members resolved. `null` and absent come last in both directions and are equal to one another; different
/// types stand in the fixed order booleans, numbers, strings, objects and arrays; what is equal stays in table order.
#[derive(Debug)]
pub(crate) struct Order(pub(crate) Vec<(Member, Direction)>);

/// A place in an order: right behind a record that has or had these values, in this row.
#[derive(Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) values: Vec<FieldValue<'static>>,
    pub(crate) row: RowId,
}

/// A record with its row.
pub(crate) type Row<'b> = (RowId, &'b Record);

impl Order {
    pub(crate) fn new(definition: &Definition, sort: &[(String, Direction)]) -> Self {
        Self(sort.iter().map(|(name, direction)| (definition.member(name), *direction)).collect())
    }

    pub(crate) fn compare(&self, (row, record): &Row<'_>, (other_row, other): &Row<'_>) -> Ordering {
        let mut orders =
            self.0.iter().map(|(member, direction)| by(&record.get(member), &other.get(member), *direction));
        orders.find(|order| order.is_ne()).unwrap_or_else(|| row.cmp(other_row))
    }

    /// Whether a record stands behind a place.
    pub(crate) fn is_behind(&self, (row, record): &Row<'_>, place: &Position) -> bool {
        let keys = self.0.iter().zip(&place.values);
        let mut orders = keys.map(|((member, direction), value)| by(&record.get(member), value, *direction));
        orders.find(|order| order.is_ne()).unwrap_or_else(|| row.cmp(&place.row)).is_gt()
    }
}

fn by(a: &FieldValue<'_>, b: &FieldValue<'_>, direction: Direction) -> Ordering {
    match (a.is_nullish(), b.is_nullish()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => match direction {
            Direction::Ascending => value_order(a, b),
            Direction::Descending => value_order(b, a),
        },
    }
}

/// The first so many of the rows that are added, in some order: keeps no more than twice as many at any time.
pub(crate) struct Best<'o, 'b> {
    order: &'o Order,
    count: usize,
    rows: Vec<Row<'b>>,
    /// The last of the first, once there are enough: what stands behind it is of no use.
    last: Option<Row<'b>>,
}

/// Rows that are always kept before any is thrown away.
const ROOM: usize = 64;

impl<'o, 'b> Best<'o, 'b> {
    pub(crate) fn new(order: &'o Order, count: usize) -> Self {
        Self { order, count, rows: Vec::new(), last: None }
    }

    pub(crate) fn add(&mut self, row: Row<'b>) {
        if self.last.as_ref().is_some_and(|last| self.order.compare(&row, last).is_gt()) {
            return;
        }
        self.rows.push(row);
        if self.rows.len() > self.count.saturating_mul(2).max(ROOM) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if let Some(place) = self.count.checked_sub(1).filter(|place| *place < self.rows.len()) {
            let (_, last, _) = self.rows.select_nth_unstable_by(place, |a, b| self.order.compare(a, b));
            self.last = Some(*last);
        }
        self.rows.truncate(self.count);
    }

    /// The rows, sorted.
    pub(crate) fn finish(mut self) -> Vec<Row<'b>> {
        if self.rows.len() > self.count {
            self.cut();
        }
        self.rows.sort_unstable_by(|a, b| self.order.compare(a, b));
        self.rows
    }
}
