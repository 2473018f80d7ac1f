//! A set of rows that knows its first.

use super::ranked::Ranked;
use crate::RowId;

/// Rows, in blocks of 64 that have a bit for each. One row alone, as groups of one have, needs no memory of its own.
#[derive(Debug, Default)]
pub(crate) enum RowSet {
    #[default]
    Empty,
    One(RowId),
    Blocks(Ranked<Block>),
}

/// Which of 64 successive rows there are; never none.
#[derive(Debug)]
pub(crate) struct Block {
    number: u64,
    bits: u64,
}

impl RowSet {
    pub(crate) fn first(&self) -> Option<RowId> {
        match self {
            Self::Empty => None,
            Self::One(row) => Some(*row),
            Self::Blocks(blocks) => blocks.get(0).map(Block::first),
        }
    }

    pub(crate) fn insert(&mut self, row: RowId) {
        match self {
            Self::Empty => *self = Self::One(row),
            Self::One(other) if *other == row => {}
            Self::One(other) => {
                let mut blocks = Ranked::new();
                insert(&mut blocks, *other);
                insert(&mut blocks, row);
                *self = Self::Blocks(blocks);
            }
            Self::Blocks(blocks) => insert(blocks, row),
        }
    }

    pub(crate) fn remove(&mut self, row: RowId) {
        match self {
            Self::One(other) if *other == row => *self = Self::Empty,
            Self::Empty | Self::One(_) => {}
            Self::Blocks(blocks) => {
                let (number, bit) = place(row);
                let Ok(at) = find(blocks, number) else { return };
                let Some(block) = blocks.get_mut(at) else { return };
                block.bits &= !bit;
                if block.bits == 0 {
                    blocks.remove(at);
                }
                if let (1, Some(block)) = (blocks.len(), blocks.get(0))
                    && block.bits.is_power_of_two()
                {
                    *self = Self::One(block.first());
                }
            }
        }
    }
}

impl Block {
    fn first(&self) -> RowId {
        RowId(self.number * u64::from(u64::BITS) + u64::from(self.bits.trailing_zeros()))
    }
}

fn insert(blocks: &mut Ranked<Block>, row: RowId) {
    let (number, bit) = place(row);
    match find(blocks, number) {
        Ok(at) => {
            if let Some(block) = blocks.get_mut(at) {
                block.bits |= bit;
            }
        }
        Err(at) => blocks.insert(at, Block { number, bits: bit }),
    }
}

fn find(blocks: &Ranked<Block>, number: u64) -> Result<usize, usize> {
    blocks.search_by(|block| block.number.cmp(&number))
}

/// The number of the row's block, and its bit there.
fn place(row: RowId) -> (u64, u64) {
    (row.0 / u64::from(u64::BITS), 1 << (row.0 % u64::from(u64::BITS)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_btree_set(
            steps in prop::collection::vec(
                (prop_oneof![0_u64..3, 0_u64..200, 0_u64..10_000, u64::MAX - 70..=u64::MAX], any::<bool>()), 0..300,
            ),
        ) {
            let (mut set, mut model) = (RowSet::default(), BTreeSet::new());
            for (row, insert) in steps {
                let row = RowId(row);
                if insert {
                    set.insert(row);
                    model.insert(row);
                } else {
                    set.remove(row);
                    model.remove(&row);
                }
                prop_assert_eq!(set.first(), model.first().copied());
                prop_assert!(model.len() != 1 || matches!(set, RowSet::One(_)), "one row is kept in place");
            }
            while let Some(first) = model.pop_first() {
                prop_assert_eq!(set.first(), Some(first));
                set.remove(first);
            }
            prop_assert!(matches!(set, RowSet::Empty));
        }
    }

    #[test]
    fn a_set_is_no_larger_than_its_list() {
        assert_eq!(size_of::<RowSet>(), size_of::<Vec<u64>>());
    }
}
