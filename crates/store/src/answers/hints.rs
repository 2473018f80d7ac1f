//! Finds answers by scope and key.
//!
//! One table that all clones of a state share and change in place. A persistent one copies the path to a place that a hash
//! has chosen, whose neighbours are in no cache: with some 400,000 answers that was 1.4 of the 7.4 microseconds of an insert with a
//! key (benchmark `store`). And only writers ever look. So the table holds hints. Whoever asks checks what a hint says in his own
//! list, and a hint stays as long as any clone has its answer; so a clone never finds what it does not have and never misses
//! what it has, whatever others did meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Answer;

/// Tables that one is made of, so that growing and tidying one takes well below a millisecond with a million answers.
const SHARDS: usize = 256;

/// Tables that are tidied at a time.
const TIDIED: usize = 4;

/// See the module. The hash is seeded anew in every process, so that nobody can prepare keys that collide.
pub(super) struct Hints {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// The next one to tidy.
    next: AtomicUsize,
}

/// Hints by the hash of scope and key.
type Shard = HashMap<u64, Chain, BuildHasherDefault<Hashed>>;

/// The hints of one hash: nearly always one.
struct Chain {
    first: Hint,
    more: Vec<Hint>,
}

struct Hint {
    /// The answer's number in the lists that have it.
    number: u64,
    /// Tells whether any list has it.
    answer: Weak<Answer>,
}

impl Hints {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hasher: RandomState::new(), shards, next: AtomicUsize::new(0) }
    }

    /// The first hinted number that is the right one.
    pub(super) fn find(&self, scope: &str, key: &str, right: impl Fn(u64) -> bool) -> Option<u64> {
        let hash = self.hash(scope, key);
        let shard = self.shard(hash);
        let chain = shard.get(&hash)?;
        let mut numbers = std::iter::once(&chain.first).chain(&chain.more).map(|hint| hint.number);
        numbers.find(|number| right(*number))
    }

    pub(super) fn insert(&self, number: u64, answer: &Arc<Answer>) {
        let hash = self.hash(&answer.scope, &answer.key);
        let hint = Hint { number, answer: Arc::downgrade(answer) };
        let mut shard = self.shard(hash);
        if shard.len() == shard.capacity() {
            tidy(&mut shard);
        }
        match shard.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(Chain { first: hint, more: Vec::new() });
            }
            Entry::Occupied(mut place) => {
                let chain = place.get_mut();
                chain.more.retain(Hint::is_alive);
                if chain.first.is_alive() {
                    chain.more.push(hint);
                } else {
                    chain.first = hint;
                }
            }
        }
    }

    /// Lets go of hints to answers that nobody has any more, in some of the tables, in turn.
    pub(super) fn tidy(&self) {
        for _ in 0..TIDIED {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            if let Some(shard) = self.shards.get(next) {
                tidy(&mut lock(shard));
            }
        }
    }

    fn hash(&self, scope: &str, key: &str) -> u64 {
        self.hasher.hash_one((scope, key))
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Not the bits that the table itself goes by.
        let place = (hash >> 32) as usize % SHARDS;
        lock(&self.shards[place])
    }
}

/// A panic cannot leave one half changed.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tidy(shard: &mut Shard) {
    shard.retain(|_, chain| {
        chain.more.retain(Hint::is_alive);
        if !chain.first.is_alive()
            && let Some(other) = chain.more.pop()
        {
            chain.first = other;
        }
        chain.first.is_alive()
    });
    if shard.len() < shard.capacity() / 4 {
        shard.shrink_to(2 * shard.len());
    }
}

impl Hint {
    fn is_alive(&self) -> bool {
        self.answer.strong_count() > 0
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

/// Gives a number that is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
impl Hints {
    /// How many hints there are, dead ones included.
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).values().map(|chain| 1 + chain.more.len()).sum::<usize>())
            .sum()
    }
}
