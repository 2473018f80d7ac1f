//! A persistent table from numbers to values: what a bucket keeps its records in, and the key index its entries.
//!
//! It is a radix tree: four bits of the number choose among the sixteen places of each node, the leaves hold the
//! values, and the root stands as high as the highest number needs. So a look-up is array indexing, nothing is
//! compared and nothing rebalanced. Nodes are shared between clones: a change copies the nodes on its way that another
//! clone shares and works in place on the others; nodes that become empty go.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// Bits of the number that one node decides on.
const BITS: u32 = 4;
/// Places of a node.
const PLACES: usize = 1 << BITS;
/// The last place of a node, and the bits that choose one.
const LAST_PLACE: u64 = 0xF;

/// A table from numbers (`u64`) to values, cheap to clone.
#[derive(Clone)]
pub(crate) struct RowTable<T> {
    root: Option<Arc<Node<T>>>,
    /// Levels of inner nodes above the leaves.
    height: u32,
    len: usize,
}

type Leaf<T> = [Option<T>; PLACES];

#[derive(Clone)]
enum Node<T> {
    Leaf(Leaf<T>),
    Inner([Option<Arc<Node<T>>>; PLACES]),
}

impl<T> RowTable<T> {
    pub(crate) const fn new() -> Self {
        Self { root: None, height: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn get(&self, row: u64) -> Option<&T> {
        if !fits(row, self.height) {
            return None;
        }
        let mut node = &**self.root.as_ref()?;
        let mut level = self.height;
        loop {
            match node {
                Node::Leaf(values) => return values[place(row, 0)].as_ref(),
                Node::Inner(children) => node = &**children[place(row, level)].as_ref()?,
            }
            level = level.saturating_sub(1);
        }
    }

    /// All values and their numbers, ascending.
    pub(crate) fn iter(&self) -> Rows<'_, T> {
        self.range(0..=u64::MAX)
    }

    /// The values whose numbers are in the range, ascending.
    pub(crate) fn range(&self, range: RangeInclusive<u64>) -> Rows<'_, T> {
        let left = (!range.is_empty()).then(|| (*range.start(), *range.end()));
        Rows { table: self, left, front: None, back: None }
    }

    /// The first leaf that has places at or behind `row`, and the number of its first place.
    fn leaf_from(&self, row: u64) -> Option<(u64, &Leaf<T>)> {
        let root = self.root.as_ref().filter(|_| fits(row, self.height))?;
        root.leaf_from(row, 0, self.height)
    }

    /// The last leaf that has places at or before `row`, and the number of its first place.
    fn leaf_to(&self, row: u64) -> Option<(u64, &Leaf<T>)> {
        self.root.as_ref()?.leaf_to(if fits(row, self.height) { row } else { u64::MAX }, 0, self.height)
    }
}

impl<T: Clone> RowTable<T> {
    /// Sets the value of a number and gives the one it had.
    pub(crate) fn insert(&mut self, row: u64, value: T) -> Option<T> {
        let Some(root) = &mut self.root else {
            self.height = 0;
            while !fits(row, self.height) {
                self.height += 1;
            }
            let root = self.root.insert(Arc::new(Node::empty(self.height)));
            self.len = 1;
            return Node::insert(root, row, self.height, value);
        };
        while !fits(row, self.height) {
            let mut places = [const { None }; PLACES];
            places[0] = Some(root.clone());
            *root = Arc::new(Node::Inner(places));
            self.height += 1;
        }
        let old = Node::insert(root, row, self.height, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// The value of a number, to be changed.
    pub(crate) fn get_mut(&mut self, row: u64) -> Option<&mut T> {
        // Nothing is copied for a number that is not there.
        self.get(row)?;
        let mut node = self.root.as_mut()?;
        let mut level = self.height;
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(values) => return values[place(row, 0)].as_mut(),
                Node::Inner(children) => node = children[place(row, level)].as_mut()?,
            }
            level = level.saturating_sub(1);
        }
    }

    /// Takes the value of a number out.
    pub(crate) fn remove(&mut self, row: u64) -> Option<T> {
        self.get(row)?;
        let root = self.root.as_mut()?;
        let old = Node::remove(root, row, self.height);
        self.len -= usize::from(old.is_some());
        if self.len == 0 {
            self.clear();
        }
        old
    }
}

/// Whether a tree of this height has a place for the number.
fn fits(row: u64, height: u32) -> bool {
    row.checked_shr(BITS * (height + 1)).is_none_or(|rest| rest == 0)
}

/// The place of a number in a node of this level; leaves are level 0.
fn place(row: u64, level: u32) -> usize {
    ((row >> (BITS * level)) & LAST_PLACE) as usize
}

impl<T> Node<T> {
    fn empty(level: u32) -> Self {
        if level == 0 { Self::Leaf([const { None }; PLACES]) } else { Self::Inner([const { None }; PLACES]) }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(values) => values.iter().all(Option::is_none),
            Self::Inner(children) => children.iter().all(Option::is_none),
        }
    }

    /// See [`RowTable::leaf_from`]; `base` is the number of this node's first place.
    fn leaf_from(&self, row: u64, base: u64, level: u32) -> Option<(u64, &Leaf<T>)> {
        let children = match self {
            Self::Leaf(values) => return Some((base, values)),
            Self::Inner(children) => children,
        };
        let first = place(row, level);
        (first..PLACES).find_map(|at| {
            let row = if at == first { row } else { 0 };
            children[at].as_ref()?.leaf_from(row, child_base(base, at, level), level - 1)
        })
    }

    /// See [`RowTable::leaf_to`].
    fn leaf_to(&self, row: u64, base: u64, level: u32) -> Option<(u64, &Leaf<T>)> {
        let children = match self {
            Self::Leaf(values) => return Some((base, values)),
            Self::Inner(children) => children,
        };
        let last = place(row, level);
        (0..=last).rev().find_map(|at| {
            let row = if at == last { row } else { u64::MAX };
            children[at].as_ref()?.leaf_to(row, child_base(base, at, level), level - 1)
        })
    }
}

/// The number of the first place under the child at `at` of a node.
fn child_base(base: u64, at: usize, level: u32) -> u64 {
    base | (at as u64) << (BITS * level)
}

impl<T: Clone> Node<T> {
    fn insert(root: &mut Arc<Self>, row: u64, height: u32, value: T) -> Option<T> {
        let (mut node, mut level) = (root, height);
        loop {
            match Arc::make_mut(node) {
                Self::Leaf(values) => return values[place(row, 0)].replace(value),
                Self::Inner(children) => {
                    let child = &mut children[place(row, level)];
                    level = level.saturating_sub(1);
                    node = child.get_or_insert_with(|| Arc::new(Self::empty(level)));
                }
            }
        }
    }

    /// Recurses as deep as the tree is high: at most 16 levels.
    fn remove(node: &mut Arc<Self>, row: u64, level: u32) -> Option<T> {
        match Arc::make_mut(node) {
            Self::Leaf(values) => values[place(row, 0)].take(),
            Self::Inner(children) => {
                let place = &mut children[place(row, level)];
                let child = place.as_mut()?;
                let old = Self::remove(child, row, level.saturating_sub(1));
                if child.is_empty() {
                    *place = None;
                }
                old
            }
        }
    }
}

impl<T: Clone> FromIterator<(u64, T)> for RowTable<T> {
    /// Quickest in ascending order: each value then goes next to the one before.
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(values: I) -> Self {
        let mut table = Self::new();
        for (row, value) in values {
            table.insert(row, value);
        }
        table
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for RowTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Values of a table with their numbers, ascending, from both ends. Keeps the leaf that each end stands in.
pub(crate) struct Rows<'a, T> {
    table: &'a RowTable<T>,
    /// The first and the last number still to be looked at.
    left: Option<(u64, u64)>,
    front: Option<(u64, &'a Leaf<T>)>,
    back: Option<(u64, &'a Leaf<T>)>,
}

/// The number of the first place of the leaf that `row` is in.
fn leaf_base(row: u64) -> u64 {
    row & !LAST_PLACE
}

impl<'a, T> Iterator for Rows<'a, T> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((first, last)) = self.left {
            let cached = self.front.filter(|(base, _)| *base == leaf_base(first));
            let Some((base, leaf)) = cached.or_else(|| self.table.leaf_from(first)) else {
                self.left = None;
                break;
            };
            self.front = Some((base, leaf));
            let first = first.max(base);
            let found = leaf[place(first, 0)..].iter().position(Option::is_some);
            // The value found, or the last place of the leaf.
            let row = found.map_or(base + LAST_PLACE, |steps| first + steps as u64);
            self.left = row.checked_add(1).filter(|next| *next <= last).map(|next| (next, last));
            if found.is_some() && row <= last {
                return Some((row, leaf[place(row, 0)].as_ref()?));
            }
        }
        None
    }
}

impl<T> DoubleEndedIterator for Rows<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while let Some((first, last)) = self.left {
            let cached = self.back.filter(|(base, _)| *base == leaf_base(last));
            let Some((base, leaf)) = cached.or_else(|| self.table.leaf_to(last)) else {
                self.left = None;
                break;
            };
            self.back = Some((base, leaf));
            let last = last.min(base + LAST_PLACE);
            let found = leaf[..=place(last, 0)].iter().rposition(Option::is_some);
            // The value found, or the first place of the leaf.
            let row = base + found.unwrap_or(0) as u64;
            self.left = row.checked_sub(1).filter(|next| *next >= first).map(|next| (first, next));
            if found.is_some() && row >= first {
                return Some((row, leaf[place(row, 0)].as_ref()?));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
