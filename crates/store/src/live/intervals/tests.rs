//! Against a list of all stretches.

use proptest::prelude::*;

use super::{IntervalId, Intervals, Link, NONE, ends};
use crate::FieldValue;
use crate::live::ViewId;
use crate::order_key::{KeyRange, OrderKey};

#[derive(Debug, Clone)]
enum Step {
    Insert(i64, i64, u64),
    /// The one at this place of the list, counted around.
    Remove(usize),
    Stab(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_i64..30, 0_i64..6, 0_u64..8).prop_map(|(low, len, view)| Step::Insert(low, low + len, view)),
        4 => (0_i64..1_000, 0_i64..1_000, 0_u64..1_000).prop_map(|(a, b, view)| Step::Insert(a.min(b), a.max(b), view)),
        5 => any::<usize>().prop_map(Step::Remove),
        3 => prop_oneof![-1_i64..40, 0_i64..1_000].prop_map(Step::Stab),
    ]
}

fn key(value: i64) -> OrderKey {
    OrderKey::of(&FieldValue::Number(value.into())).unwrap()
}

fn range(low: i64, high: i64) -> KeyRange {
    KeyRange { low: key(low), high: key(high) }
}

/// Checks a subtree; gives its height and highest end.
fn check(tree: &Intervals, at: Link) -> (u8, Option<OrderKey>) {
    if at == NONE {
        return (0, None);
    }
    let node = tree.node(at);
    for (side, after) in [(node.left, false), (node.right, true)] {
        if side != NONE {
            assert_eq!(ends(node.range) < ends(tree.node(side).range), after);
        }
    }
    let ((left, before), (right, behind)) = (check(tree, node.left), check(tree, node.right));
    assert!(left.abs_diff(right) <= 1, "out of balance");
    assert_eq!(node.height, left.max(right) + 1);
    assert_eq!(Some(node.highest), before.max(behind).max(Some(node.range.high)));
    (node.height, Some(node.highest))
}

type Listed = Vec<(i64, i64, ViewId, IntervalId)>;

fn take(tree: &mut Intervals, list: &mut Listed, step: &Step) {
    match *step {
        Step::Insert(low, high, view) => {
            let view = ViewId(view);
            let known = list.iter().any(|(a, b, other, _)| (*a, *b, *other) == (low, high, view));
            let id = tree.insert(range(low, high), view);
            assert_eq!(id.is_none(), known);
            list.extend(id.map(|id| (low, high, view, id)));
        }
        Step::Remove(at) if !list.is_empty() => {
            let (_, _, view, id) = list.swap_remove(at % list.len());
            tree.remove(id, view);
        }
        Step::Remove(_) => {}
        Step::Stab(value) => {
            let mut found = Vec::new();
            tree.stab(key(value), &mut found);
            found.sort_unstable();
            let holds = |(low, high, ..): &&(i64, i64, ViewId, IntervalId)| (*low..=*high).contains(&value);
            let mut expected: Vec<ViewId> = list.iter().filter(holds).map(|(_, _, view, _)| *view).collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }
    check(tree, tree.root);
    assert_eq!(tree.is_empty(), list.is_empty());
}

proptest! {
    #[test]
    fn as_a_list(steps in prop::collection::vec(step(), 1..200)) {
        let (mut tree, mut list) = (Intervals::default(), Listed::new());
        for step in &steps {
            take(&mut tree, &mut list, step);
        }
        while !list.is_empty() {
            take(&mut tree, &mut list, &Step::Remove(0));
        }
        prop_assert!(tree.nodes.iter().all(|node| node.height == 0));
    }
}

#[test]
fn stays_shallow_and_small_whatever_the_order() {
    let mut tree = Intervals::default();
    let ids: Vec<IntervalId> =
        (0..20_000).map(|i| tree.insert(range(i, i + 2), ViewId(i.unsigned_abs())).unwrap()).collect();
    assert!(check(&tree, tree.root).0 <= 20);
    for (view, id) in (0..).zip(&ids).skip(100) {
        tree.remove(*id, ViewId(view));
    }
    assert!(check(&tree, tree.root).0 <= 9);
    let nodes = tree.nodes.len();
    for i in 0..10_000 {
        tree.insert(range(-i, i), ViewId(i.unsigned_abs()));
    }
    assert_eq!(tree.nodes.len(), nodes, "unused nodes are used again");
    assert!(size_of::<super::Node>() <= 80);
}

#[test]
fn what_is_out_stays_out() {
    let mut tree = Intervals::default();
    let id = tree.insert(range(1, 2), ViewId(1)).unwrap();
    tree.remove(id, ViewId(1));
    tree.remove(id, ViewId(1));
    assert!(tree.is_empty());
    let (one, two) = (tree.insert(range(1, 2), ViewId(1)), tree.insert(range(3, 4), ViewId(2)));
    assert_ne!(one, two);
}
