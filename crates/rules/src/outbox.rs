//! Calls that are to be made, and those that failed for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::OutgoingCall;
use crate::limits::{BACKOFF_MS, MAX_BACKOFF_MS};

/// The outbox and its dead letters.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    calls: BTreeMap<Arc<str>, Arc<OutgoingCall>>,
    dead: BTreeMap<Arc<str>, Arc<DeadLetter>>,
    /// Ids of dead letters, oldest first.
    by_age: BTreeSet<(u64, Arc<str>)>,
}

/// A call that failed for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter {
    pub(crate) call: Arc<OutgoingCall>,
    pub(crate) error: String,
    pub(crate) failed_at: u64,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn dead_len(&self) -> usize {
        self.dead.len()
    }

    pub(crate) fn call(&self, id: &str) -> Option<&Arc<OutgoingCall>> {
        self.calls.get(id)
    }

    pub(crate) fn dead(&self, id: &str) -> Option<&Arc<DeadLetter>> {
        self.dead.get(id)
    }

    /// All calls, by id.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Arc<OutgoingCall>> {
        self.calls.values()
    }

    /// Puts a call in or takes it out.
    pub(crate) fn put(&mut self, id: &Arc<str>, call: Option<Arc<OutgoingCall>>) {
        match call {
            Some(call) => self.calls.insert(Arc::clone(id), call),
            None => self.calls.remove(id),
        };
    }

    /// Puts a dead letter in or takes it out.
    pub(crate) fn put_dead(&mut self, id: &Arc<str>, letter: Option<Arc<DeadLetter>>) {
        if let Some(old) = self.dead.remove(id) {
            self.by_age.remove(&(old.failed_at, Arc::clone(id)));
        }
        if let Some(letter) = letter {
            self.by_age.insert((letter.failed_at, Arc::clone(id)));
            self.dead.insert(Arc::clone(id), letter);
        }
    }

    /// The dead letter that has been there longest.
    pub(crate) fn oldest_dead(&self) -> Option<&Arc<DeadLetter>> {
        let (_, id) = self.by_age.first()?;
        self.dead.get(id)
    }
}

/// Milliseconds until the next attempt of a call that has failed so often. Between a half and the whole of what doubles each time:
/// calls that failed together do not come back together.
pub(crate) fn backoff(failures: u32, random: u128) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let whole = BACKOFF_MS.saturating_mul(1 << doublings).min(MAX_BACKOFF_MS);
    let half = whole / 2;
    let part = u64::try_from(random % u128::from(half + 1)).unwrap_or_default();
    whole - part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_never_the_same_for_all() {
        assert_eq!(
            [1, 2, 3, 10, 11, 100].map(|n| backoff(n, 0)),
            [500, 1000, 2000, 256_000, 300_000, 300_000]
        );
        let halves = [(1, 250), (2, 500), (11, 150_000)];
        assert_eq!(halves.map(|(n, half)| backoff(n, half)), [250, 500, 150_000]);
        for random in 0..2000 {
            assert!((250..=500).contains(&backoff(1, random)));
        }
    }
}
