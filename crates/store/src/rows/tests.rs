//! Against `BTreeMap`, with old clones kept and looked at again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Node, RowTable};

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u16),
    Remove(u64),
    RemoveRange(u64, u64),
    Clear,
    Keep,
}

/// Numbers that are close, or at the edges of nodes and of the whole range.
fn row() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0_u64..40,
        3 => 0_u64..5_000,
        1 => (0_u32..64, -2_i64..3).prop_map(|(bit, by)| (1_u64 << bit).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (row(), any::<u16>()).prop_map(|(row, value)| Step::Insert(row, value)),
        8 => row().prop_map(Step::Remove),
        2 => (row(), row()).prop_map(|(a, b)| Step::RemoveRange(a.min(b), a.max(b))),
        1 => Just(Step::Clear),
        3 => Just(Step::Keep),
    ]
}

type Pair = (RowTable<u16>, BTreeMap<u64, u16>);

fn take((table, model): &mut Pair, step: &Step) {
    match *step {
        Step::Insert(row, value) => assert_eq!(table.insert(row, value), model.insert(row, value)),
        Step::Remove(row) => assert_eq!(table.remove(row), model.remove(&row)),
        Step::RemoveRange(from, to) => {
            let rows: Vec<u64> = model.range(from..=to).map(|(row, _)| *row).collect();
            for row in rows {
                assert_eq!(table.remove(row), model.remove(&row));
            }
        }
        Step::Clear => (*table, *model) = (RowTable::new(), BTreeMap::new()),
        Step::Keep => {}
    }
}

fn check((table, model): &Pair, probes: &[u64]) {
    assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
    let expected: Vec<(u64, u16)> = model.iter().map(|(row, value)| (*row, *value)).collect();
    let found: Vec<(u64, u16)> = table.iter().map(|(row, value)| (row, *value)).collect();
    assert_eq!(found, expected);
    for row in probes.iter().chain(model.keys()) {
        assert_eq!(table.get(*row), model.get(row), "{row}");
    }
    assert_eq!(table.root.is_some(), !model.is_empty(), "an empty table has no nodes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_btree_map_and_old_clones_never_change(
        steps in prop::collection::vec(step(), 0..120), probes in prop::collection::vec(row(), 10),
    ) {
        let mut pair: Pair = (RowTable::new(), BTreeMap::new());
        let mut kept: Vec<Pair> = Vec::new();
        for step in &steps {
            if matches!(step, Step::Keep) {
                kept.push(pair.clone());
            }
            take(&mut pair, step);
        }
        check(&pair, &probes);
        for pair in &kept {
            check(pair, &probes);
        }
        // An old clone can go on by itself.
        if let Some(mut old) = kept.pop() {
            for step in &steps {
                take(&mut old, step);
            }
            check(&old, &probes);
            check(&pair, &probes);
        }
    }

    #[test]
    fn ranges_from_both_ends(
        rows in prop::collection::btree_map(row(), any::<u16>(), 0..60),
        (a, b) in (row(), row()),
        ends in prop::collection::vec(any::<bool>(), 0..80),
    ) {
        let table: RowTable<u16> = rows.iter().map(|(row, value)| (*row, *value)).collect();
        prop_assert_eq!(table.range(a.max(b)..=a.min(b)).count(), usize::from(a == b && rows.contains_key(&a)));
        let (from, to) = (a.min(b), a.max(b));
        let (mut found, mut expected) = (table.range(from..=to), rows.range(from..=to));
        for back in ends {
            let (found, expected) =
                if back { (found.next_back(), expected.next_back()) } else { (found.next(), expected.next()) };
            prop_assert_eq!(found, expected.map(|(row, value)| (*row, value)));
        }
        prop_assert!(found.eq(expected.map(|(row, value)| (*row, value))));
    }
}

#[test]
fn nodes_that_become_empty_go() {
    let mut table: RowTable<u16> = (0..10_000).map(|row| (row, 1)).collect();
    let queue = table.clone();
    for row in 0..9_990 {
        table.remove(row);
    }
    let nodes = table.root.as_deref().map_or(0, nodes);
    assert!(nodes <= 5, "one or two leaves and the way to them, not {nodes} nodes");
    assert_eq!(table.iter().next().map(|(row, _)| row), Some(9_990));
    assert_eq!(queue.iter().count(), 10_000);
}

fn nodes(node: &Node<u16>) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Inner(children) => 1 + children.iter().flatten().map(|child| nodes(child)).sum::<usize>(),
    }
}
