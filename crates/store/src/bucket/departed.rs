//! Where removed keys had been, for a while.

use std::hash::{BuildHasher, RandomState};

use crate::limits::MAX_DEPARTED;
use crate::rows::RowTable;
use crate::{Key, RowId};

/// The last keys that were removed, by their hashes, each with the row it had. A page that is asked for behind such a key
/// continues behind its row: rows are never given again.
#[derive(Clone)]
pub(super) struct Departed {
    /// Seeded anew in every process, so that nobody can prepare keys that collide. Two keys of one hash among so few are
    /// not to be expected, and would only let a page begin elsewhere.
    hasher: RandomState,
    /// A ring; the number of an entry is that of the removal, modulo its size.
    ring: RowTable<(u64, RowId)>,
    /// How many removals there were.
    removals: u64,
}

impl Default for Departed {
    fn default() -> Self {
        Self { hasher: RandomState::new(), ring: RowTable::new(), removals: 0 }
    }
}

impl Departed {
    pub(super) fn note(&mut self, key: Key<'_>, row: RowId) {
        self.ring.insert(self.removals % MAX_DEPARTED, (self.hasher.hash_one(key), row));
        self.removals = self.removals.wrapping_add(1);
    }

    /// The last row that a removed key had, if that is not too long ago.
    pub(super) fn row(&self, key: Key<'_>) -> Option<RowId> {
        let hash = self.hasher.hash_one(key);
        let of_key = self.ring.iter().filter(|(_, (other, _))| *other == hash);
        of_key.map(|(_, (_, row))| *row).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered() {
        let mut departed = Departed::default();
        for n in 0..MAX_DEPARTED + 10 {
            departed.note(Key::Number(n.into()), RowId(n));
        }
        departed.note(Key::Number(200_u64.into()), RowId(5_000));
        assert_eq!(departed.row(Key::Number(200_u64.into())), Some(RowId(5_000)));
        assert_eq!(departed.row(Key::Number(201_u64.into())), Some(RowId(201)));
        assert_eq!(departed.row(Key::Number(10_u64.into())), None);
        assert_eq!(departed.row(Key::Str("201")), None);
    }
}
