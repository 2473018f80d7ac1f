//! Finds answers by scope and key.
//!
//! One table that all clones of a state share and change in place: the one exception to the rule that clones share nothing that
//! changes. Keys come in no order, so a persistent table copies, for nearly every answer, a path that no other answer of the commit
//! needs, whose neighbours are in no cache: 1.4 of the 7.4 microseconds of an insert with a key (benchmark `store`, 400,000 answers).
//! Here it is one line of memory.
//!
//! What makes that sound: the table only holds hints. Whoever asks checks what a hint says in his own list, so he never finds what he
//! does not have. And he never misses what he has: a hint stays until somebody forgets its answer; answers are forgotten in the
//! order of their numbers; and so the one number below which hints may be gone tells each clone which of its own answers it must look
//! through one by one. Only clones from before the newest forgetting have any, and nobody writes to those.
//!
//! Its memory is bounded by the answers of the newest clone: 16 bytes for each, in tables that grow by doubling and shrink when they
//! are mostly empty. Hints of clones that went another way or were thrown away are dropped before a table grows.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

/// Tables that one is made of, so that growing one takes well below a millisecond with a million answers.
const SHARDS: usize = 256;

/// Tables smaller than this never shrink.
const SMALL: usize = 64;

/// See the module. The hash is seeded anew in every process, so that nobody can prepare keys that collide.
#[derive(Debug)]
pub(super) struct Hints {
    hasher: RandomState,
    shards: Box<[Mutex<HashTable<Hint>>]>,
    /// Hints of lower numbers may be gone.
    gone: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Hint {
    /// Of scope and key.
    hash: u64,
    /// The answer's number in the lists that have it.
    number: u64,
}

impl Hints {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hasher: RandomState::new(), shards, gone: AtomicU64::new(0) }
    }

    pub(super) fn hash(&self, scope: &str, key: &str) -> u64 {
        self.hasher.hash_one((scope, key))
    }

    /// The first hinted number of this hash that is the right one.
    pub(super) fn find(&self, hash: u64, right: impl Fn(u64) -> bool) -> Option<u64> {
        let shard = self.shard(hash);
        let hints = shard.iter_hash(hash).filter(|hint| hint.hash == hash);
        hints.map(|hint| hint.number).find(|number| right(*number))
    }

    /// The number below which hints may be gone; to be asked when [`find`](Self::find) has found nothing.
    pub(super) fn gone(&self) -> u64 {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn insert(&self, hash: u64, number: u64) {
        let hint = Hint { hash, number };
        let mut shard = self.shard(hash);
        // Another clone may have the same key under the same number: one that was thrown away when the log failed, say.
        if shard.find(hash, |known| *known == hint).is_some() {
            return;
        }
        if shard.len() == shard.capacity() {
            let gone = self.gone();
            shard.retain(|hint| hint.number >= gone);
        }
        shard.insert_unique(hash, hint, |hint| hint.hash);
    }

    /// Drops the hint to an answer that was forgotten, as all with lower numbers were.
    pub(super) fn forget(&self, hash: u64, number: u64) {
        // Before the hint goes, so that whoever misses it sees this.
        self.gone.fetch_max(number.saturating_add(1), Ordering::AcqRel);
        let mut shard = self.shard(hash);
        if let Ok(place) = shard.find_entry(hash, |hint| *hint == Hint { hash, number }) {
            place.remove();
        }
        if shard.capacity() > SMALL && shard.len() < shard.capacity() / 8 {
            let twice = 2 * shard.len();
            shard.shrink_to(twice, |hint| hint.hash);
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Hint>> {
        // Bits that the table itself does not go by: it has the lowest and the highest.
        let place = (hash >> 32) as usize % SHARDS;
        // A panic cannot leave one half changed.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Hints {
    /// How many hints there are, and for how many there is room.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.len(), shard.capacity())
        });
        sizes.fold((0, 0), |(len, room), (more, more_room)| (len + more, room + more_room))
    }
}
