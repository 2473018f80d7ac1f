//! Views by stretches of values: those whose stretch holds a value are found without a look at the others.
//!
//! A balanced search tree (AVL) of the stretches by their lower ends, in which every node knows the highest upper end at
//! or below it, so that whole subtrees that end too early are passed over. The balance is strict rather than left to
//! chance: stretches come from clients, and none of them can make the tree deep. Nodes stand in one vector and refer to
//! each other by their places in it, which they keep.

#[cfg(test)]
mod tests;

use super::ViewId;
use super::postings::Postings;
use crate::order_key::{KeyRange, OrderKey};

/// Views by stretches, both ends in them. The empty one has no memory of its own.
#[derive(Debug)]
pub(super) struct Intervals {
    nodes: Vec<Node>,
    root: Link,
    /// The first of the unused nodes, which are linked by `left`.
    unused: Link,
}

/// The place of a node, or [`NONE`].
type Link = u32;

const NONE: Link = Link::MAX;

#[derive(Debug)]
struct Node {
    range: KeyRange,
    /// The highest upper end at or below this node.
    highest: OrderKey,
    views: Postings,
    left: Link,
    right: Link,
    /// Levels from here down; 0 in a node that is not in use.
    height: u8,
}

/// Names the stretch of a view for as long as the view stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IntervalId(Link);

impl Default for Intervals {
    fn default() -> Self {
        Self { nodes: Vec::new(), root: NONE, unused: NONE }
    }
}

impl Intervals {
    pub(super) fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// Adds a view; `None` if it stands at this stretch already.
    pub(super) fn insert(&mut self, range: KeyRange, view: ViewId) -> Option<IntervalId> {
        let mut at = self.root;
        while at != NONE {
            let node = self.node_mut(at);
            match ends(range).cmp(&ends(node.range)) {
                std::cmp::Ordering::Less => at = node.left,
                std::cmp::Ordering::Equal => return node.views.insert(view).then_some(IntervalId(at)),
                std::cmp::Ordering::Greater => at = node.right,
            }
        }
        let new = self.make(range, view);
        self.root = self.link(self.root, new);
        Some(IntervalId(new))
    }

    /// Takes a view out again.
    pub(super) fn remove(&mut self, IntervalId(at): IntervalId, view: ViewId) {
        let Some(node) = self.nodes.get_mut(at as usize).filter(|node| node.height > 0) else { return };
        if node.views.remove(view) {
            self.root = self.unlink(self.root, at);
            let unused = self.unused;
            let node = self.node_mut(at);
            (node.height, node.left) = (0, unused);
            self.unused = at;
        }
    }

    /// Adds the views whose stretch holds this value to `found`.
    pub(super) fn stab(&self, value: OrderKey, found: &mut Vec<ViewId>) {
        self.stab_below(self.root, value, found);
    }

    fn stab_below(&self, mut at: Link, value: OrderKey, found: &mut Vec<ViewId>) {
        while at != NONE {
            let node = self.node(at);
            if node.highest < value {
                return;
            }
            self.stab_below(node.left, value, found);
            if value < node.range.low {
                return;
            }
            if value <= node.range.high {
                node.views.copy_to(found);
            }
            at = node.right;
        }
    }

    fn node(&self, at: Link) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: Link) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    /// A node that is not linked yet.
    fn make(&mut self, range: KeyRange, view: ViewId) -> Link {
        let views = Postings::One(view);
        let node = Node { range, highest: range.high, views, left: NONE, right: NONE, height: 1 };
        if self.unused != NONE {
            let at = self.unused;
            self.unused = self.node(at).left;
            *self.node_mut(at) = node;
            return at;
        }
        // Most trees have one node, as most clients watch their own: a vector would begin with four.
        if self.nodes.len() < 4 {
            self.nodes.reserve_exact(1);
        }
        self.nodes.push(node);
        // Memory ends long before 32 bits do.
        Link::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    /// Puts a new node into a subtree; gives the subtree's root.
    fn link(&mut self, at: Link, new: Link) -> Link {
        if at == NONE {
            return new;
        }
        if ends(self.node(new).range) < ends(self.node(at).range) {
            let left = self.link(self.node(at).left, new);
            self.node_mut(at).left = left;
        } else {
            let right = self.link(self.node(at).right, new);
            self.node_mut(at).right = right;
        }
        self.balance(at)
    }

    /// Takes a node out of a subtree; gives the subtree's root.
    fn unlink(&mut self, at: Link, gone: Link) -> Link {
        if at == NONE {
            return NONE;
        }
        let Node { left, right, range, .. } = *self.node(at);
        if at == gone {
            if left == NONE || right == NONE {
                return if left == NONE { right } else { left };
            }
            let (next, rest) = self.unlink_first(right);
            let node = self.node_mut(next);
            (node.left, node.right) = (left, rest);
            return self.balance(next);
        }
        if ends(self.node(gone).range) < ends(range) {
            let left = self.unlink(left, gone);
            self.node_mut(at).left = left;
        } else {
            let right = self.unlink(right, gone);
            self.node_mut(at).right = right;
        }
        self.balance(at)
    }

    /// Takes the first node out of a subtree; gives that node and the subtree's root.
    fn unlink_first(&mut self, at: Link) -> (Link, Link) {
        let Node { left, right, .. } = *self.node(at);
        if left == NONE {
            return (at, right);
        }
        let (first, left) = self.unlink_first(left);
        self.node_mut(at).left = left;
        (first, self.balance(at))
    }

    /// Makes a subtree balanced whose two sides are, and differ by at most two levels; gives its root.
    fn balance(&mut self, at: Link) -> Link {
        let Node { left, right, .. } = *self.node(at);
        if self.height(left) > self.height(right) + 1 {
            let Node { left: outer, right: inner, .. } = *self.node(left);
            if self.height(inner) > self.height(outer) {
                let left = self.rotate_left(left);
                self.node_mut(at).left = left;
            }
            self.rotate_right(at)
        } else if self.height(right) > self.height(left) + 1 {
            let Node { left: inner, right: outer, .. } = *self.node(right);
            if self.height(inner) > self.height(outer) {
                let right = self.rotate_right(right);
                self.node_mut(at).right = right;
            }
            self.rotate_left(at)
        } else {
            self.sum_up(at);
            at
        }
    }

    fn rotate_left(&mut self, at: Link) -> Link {
        let top = self.node(at).right;
        self.node_mut(at).right = self.node(top).left;
        self.node_mut(top).left = at;
        self.sum_up(at);
        self.sum_up(top);
        top
    }

    fn rotate_right(&mut self, at: Link) -> Link {
        let top = self.node(at).left;
        self.node_mut(at).left = self.node(top).right;
        self.node_mut(top).right = at;
        self.sum_up(at);
        self.sum_up(top);
        top
    }

    /// Works out again what a node knows of those below it.
    fn sum_up(&mut self, at: Link) {
        let Node { left, right, range, .. } = *self.node(at);
        let (mut height, mut highest) = (0, range.high);
        for below in [left, right] {
            if below != NONE {
                let below = self.node(below);
                height = height.max(below.height);
                highest = highest.max(below.highest);
            }
        }
        let node = self.node_mut(at);
        (node.height, node.highest) = (height + 1, highest);
    }

    fn height(&self, at: Link) -> u8 {
        if at == NONE { 0 } else { self.node(at).height }
    }
}

fn ends(range: KeyRange) -> (OrderKey, OrderKey) {
    (range.low, range.high)
}
