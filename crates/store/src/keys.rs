//! Finds rows by primary key.
//!
//! A hash table whose buckets stand in a [`RowTable`], so that clones share them, and which grows by linear hashing: when
//! there are too many keys, one bucket is split in two, always the next in turn, so no write ever pays for a rehash. An
//! entry is the key's hash and its row; the keys themselves stand in the records, so that copying a bucket touches
//! nothing else.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use crate::rows::RowTable;
use crate::{Key, RowId};

/// Keys per bucket, on average, when it is split.
const LOAD: usize = 8;

/// Rows by the hash of their primary key.
///
/// The hash is seeded anew in every process, so that nobody can prepare keys that collide. It never shows: rows of
/// equal hash are told apart by their records, and the table is never listed.
#[derive(Clone)]
pub(crate) struct KeyIndex {
    hasher: RandomState,
    /// The buckets that are not empty.
    buckets: RowTable<Arc<[Entry]>>,
    /// How many buckets there are, empty ones included; at least one.
    size: u64,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u64,
    row: RowId,
}

impl KeyIndex {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), buckets: RowTable::new(), size: 1, len: 0 }
    }

    /// The rows whose keys have the hash of `key`: nearly always the one that has the key, if there is one.
    pub(crate) fn candidates(&self, key: impl Hash) -> impl Iterator<Item = RowId> {
        self.same_hash(self.hasher.hash_one(key))
    }

    /// Enters a key that is not there yet.
    pub(crate) fn insert(&mut self, key: impl Hash, row: RowId) {
        self.insert_hash(self.hasher.hash_one(key), row);
    }

    pub(crate) fn remove(&mut self, key: impl Hash, row: RowId) {
        self.remove_hash(self.hasher.hash_one(key), row);
    }

    pub(crate) fn clear(&mut self) {
        (self.buckets, self.size, self.len) = (RowTable::new(), 1, 0);
    }

    /// Enters many rows into an empty index. Two rows of one key are returned; `key_of` gives a row's key.
    pub(crate) fn load<'a>(
        &mut self,
        keys: impl Iterator<Item = (Key<'a>, RowId)>,
        key_of: impl Fn(RowId) -> Option<Key<'a>>,
    ) -> Option<(RowId, RowId)> {
        let mut entries: Vec<Entry> =
            keys.map(|(key, row)| Entry { hash: self.hasher.hash_one(key), row }).collect();
        self.len = entries.len();
        let size = (self.len / LOAD).max(1) as u64;
        self.size = size;
        let bucket_of = |entry: &Entry| bucket_of(entry.hash, size);
        entries.sort_unstable_by_key(|entry| (bucket_of(entry), *entry));
        for bucket in entries.chunk_by(|a, b| bucket_of(a) == bucket_of(b)) {
            for same_hash in bucket.chunk_by(|a, b| a.hash == b.hash).filter(|same| same.len() > 1) {
                for (i, entry) in same_hash.iter().enumerate() {
                    let others = same_hash.iter().take(i);
                    if let Some(other) =
                        others.into_iter().find(|other| key_of(other.row) == key_of(entry.row))
                    {
                        return Some((other.row, entry.row));
                    }
                }
            }
            if let Some(first) = bucket.first() {
                self.buckets.insert(bucket_of(first), bucket.into());
            }
        }
        None
    }

    fn same_hash(&self, hash: u64) -> impl Iterator<Item = RowId> {
        let bucket = self.bucket(bucket_of(hash, self.size));
        bucket.iter().filter(move |entry| entry.hash == hash).map(|entry| entry.row)
    }

    fn insert_hash(&mut self, hash: u64, row: RowId) {
        let number = bucket_of(hash, self.size);
        let entries: Arc<[Entry]> =
            self.bucket(number).iter().copied().chain([Entry { hash, row }]).collect();
        self.buckets.insert(number, entries);
        self.len += 1;
        if self.len as u64 > self.size * LOAD as u64 {
            self.split();
        }
    }

    fn remove_hash(&mut self, hash: u64, row: RowId) {
        let number = bucket_of(hash, self.size);
        let bucket = self.bucket(number);
        let Some(at) = bucket.iter().position(|entry| *entry == Entry { hash, row }) else { return };
        let (before, behind) = bucket.split_at(at);
        let left: Arc<[Entry]> = before.iter().chain(behind.iter().skip(1)).copied().collect();
        self.set(number, left);
        self.len -= 1;
        if (self.len as u64) < self.size * (LOAD as u64 / 4) && self.size > 1 {
            self.merge();
        }
    }

    /// Adds a bucket and moves to it what belongs there, all from one other.
    fn split(&mut self) {
        let from = partner(self.size);
        self.size += 1;
        let (stay, go): (Vec<Entry>, Vec<Entry>) =
            self.bucket(from).iter().partition(|entry| bucket_of(entry.hash, self.size) == from);
        if !go.is_empty() {
            self.set(self.size - 1, go.into());
            self.set(from, stay.into());
        }
    }

    /// Takes the last bucket away again.
    fn merge(&mut self) {
        self.size -= 1;
        if let Some(last) = self.buckets.remove(self.size) {
            let into = partner(self.size);
            let all: Arc<[Entry]> = self.bucket(into).iter().chain(&*last).copied().collect();
            self.set(into, all);
        }
    }

    fn bucket(&self, number: u64) -> &[Entry] {
        self.buckets.get(number).map(|bucket| &**bucket).unwrap_or_default()
    }

    fn set(&mut self, number: u64, entries: Arc<[Entry]>) {
        if entries.is_empty() {
            self.buckets.remove(number);
        } else {
            self.buckets.insert(number, entries);
        }
    }
}

/// The bucket, of `size`, for a hash: as many of its lower bits as name a bucket that there is.
fn bucket_of(hash: u64, size: u64) -> u64 {
    let mask = size.next_power_of_two() - 1;
    let number = hash & mask;
    if number < size { number } else { hash & (mask >> 1) }
}

/// The bucket that holds the entries of bucket `number` (not 0) while that does not exist: its number without the
/// highest bit.
fn partner(number: u64) -> u64 {
    number - (1 << number.ilog2())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn rows(index: &KeyIndex, hash: u64) -> BTreeSet<u64> {
        index.same_hash(hash).map(|row| row.0).collect()
    }

    #[test]
    fn keys_of_equal_hash_do_not_hide_one_another() {
        let mut index = KeyIndex::new();
        for row in 0..40 {
            index.insert_hash(7, RowId(row));
        }
        index.insert_hash(8, RowId(99));
        assert_eq!(rows(&index, 7), (0..40).collect());
        for row in (0..40).rev() {
            index.remove_hash(7, RowId(row));
            index.remove_hash(7, RowId(row));
            assert_eq!(rows(&index, 7), (0..row).collect());
        }
        assert_eq!(rows(&index, 8), [99].into());
    }

    #[test]
    fn rows_of_one_key_are_told_when_loading() {
        let keys = |names: [&'static str; 4]| {
            let entries = names.map(Key::Str).into_iter().zip((0..).map(RowId));
            KeyIndex::new()
                .load(entries, |row| names.get(usize::try_from(row.0).ok()?).copied().map(Key::Str))
        };
        assert_eq!(keys(["a", "b", "c", "d"]), None);
        assert_eq!(keys(["a", "b", "c", "b"]), Some((RowId(1), RowId(3))));
    }

    proptest! {
        /// Few hashes, so that many rows share one; and all lengths, so that buckets are split and merged.
        #[test]
        fn equals_a_set_and_old_clones_never_change(
            steps in prop::collection::vec((any::<bool>(), 0_u64..300, 0_u64..3), 0..600), drain: bool,
        ) {
            let spread = |hash: u64| hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let (mut index, mut model) = (KeyIndex::new(), BTreeSet::new());
            let mut kept = None;
            for (i, (add, hash, row)) in steps.iter().enumerate() {
                if i == steps.len() / 2 {
                    kept = Some((index.clone(), model.clone()));
                }
                if *add || i < steps.len() / 3 {
                    if model.insert((*hash, *row)) {
                        index.insert_hash(spread(*hash), RowId(*row));
                    }
                } else {
                    model.remove(&(*hash, *row));
                    index.remove_hash(spread(*hash), RowId(*row));
                }
            }
            if drain {
                for (hash, row) in std::mem::take(&mut model) {
                    index.remove_hash(spread(hash), RowId(row));
                }
                prop_assert!(index.buckets.is_empty() && index.size == 1, "nothing is left behind");
            }
            for (index, model) in kept.into_iter().chain([(index, model)]) {
                prop_assert_eq!(index.len, model.len());
                for hash in 0..300 {
                    let expected: BTreeSet<u64> = model.range((hash, 0)..=(hash, 9)).map(|(_, row)| *row).collect();
                    prop_assert_eq!(rows(&index, spread(hash)), expected);
                }
            }
        }
    }
}
