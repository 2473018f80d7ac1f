//! The sliding log of one key: what has passed, and when. Pure: the time is an argument.
//!
//! A request passes if what has passed in the last window, and itself, weigh at most what the window allows. Requests of
//! one millisecond are one entry. When there are [`LIMIT_ENTRIES`] of them two neighbours become one entry of the later
//! time: what is counted is never counted for too short a time, so no window of that length ever sees more than it allows.

use crate::limits::LIMIT_ENTRIES;

/// So much in so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) most: u32,
    pub(crate) ms: u64,
}

impl Window {
    /// What a request of this weight counts: a heavier one than the window allows could never pass.
    fn counted(self, weight: u32) -> u32 {
        weight.min(self.most)
    }
}

/// What has passed in one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    /// The oldest first.
    passed: Vec<Passed>,
    /// Of all of them.
    weight: u32,
}

#[derive(Debug, Clone, Copy)]
struct Passed {
    at: u64,
    weight: u32,
}

impl Log {
    /// Milliseconds until a request of this weight passes, if nothing else does meanwhile; `None`: it passes now. A window
    /// that allows nothing has no such time, and says 0.
    pub(super) fn wait(&mut self, window: Window, now: u64, weight: u32) -> Option<u64> {
        if window.most == 0 {
            return Some(0);
        }
        self.forget(window, now);
        let wanted = window.counted(weight);
        let mut over = (self.weight + wanted).saturating_sub(window.most);
        if over == 0 {
            return None;
        }
        // It passes when enough of the oldest have left.
        for passed in &self.passed {
            if over <= passed.weight {
                return Some((passed.at + window.ms).saturating_sub(now));
            }
            over -= passed.weight;
        }
        // All of them weigh at least what is over, because `wanted` alone is not too much.
        Some(window.ms)
    }

    /// A request has passed.
    pub(super) fn pass(&mut self, window: Window, now: u64, weight: u32) {
        let weight = window.counted(weight);
        self.weight += weight;
        match self.passed.last_mut() {
            // One that read the clock earlier and came later counts as if it had read it later.
            Some(last) if last.at >= now => last.weight += weight,
            _ => self.push(Passed { at: now, weight }),
        }
    }

    fn push(&mut self, passed: Passed) {
        if self.passed.len() == LIMIT_ENTRIES {
            self.join_two();
        }
        if self.passed.len() == self.passed.capacity() {
            // Most keys have one entry; the usual first four are three too many.
            self.passed.reserve_exact(self.passed.len().max(1));
        }
        self.passed.push(passed);
    }

    /// Joins the neighbours for which that costs least: time that something is counted too long.
    fn join_two(&mut self) {
        let costs = self.passed.windows(2).map(|pair| (pair[1].at - pair[0].at) * u64::from(pair[0].weight));
        if let Some((earlier, _)) = costs.enumerate().min_by_key(|(_, cost)| *cost) {
            let joined = self.passed.remove(earlier);
            self.passed[earlier].weight += joined.weight;
        }
    }

    /// Forgets what has left the window.
    fn forget(&mut self, window: Window, now: u64) {
        let gone = self.passed.iter().take_while(|passed| passed.at + window.ms <= now).count();
        if gone > 0 {
            self.weight -= self.passed.drain(..gone).map(|passed| passed.weight).sum::<u32>();
        }
    }

    /// Whether nothing is in the window.
    pub(super) fn is_empty(&self, window: Window, now: u64) -> bool {
        self.passed.last().is_none_or(|last| last.at + window.ms <= now)
    }

    /// All of it as one entry, of the latest time.
    pub(super) fn joined(&self) -> Self {
        let passed = self.passed.last().map(|last| Passed { at: last.at, weight: self.weight });
        Self { passed: passed.into_iter().collect(), weight: self.weight }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.passed.capacity() * size_of::<Passed>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is meant, without any thought of memory: each request that passed, with its time.
    #[derive(Default)]
    struct Naive(Vec<(u64, u32)>);

    impl Naive {
        fn within(&self, window: Window, now: u64) -> u64 {
            let within = self.0.iter().filter(|(at, _)| now - at < window.ms);
            within.map(|(_, weight)| u64::from(*weight)).sum()
        }

        fn passes(&self, window: Window, now: u64, weight: u32) -> bool {
            self.within(window, now) + u64::from(weight.min(window.most)) <= u64::from(window.most)
        }

        /// Tried millisecond by millisecond.
        fn wait(&self, window: Window, now: u64, weight: u32) -> Option<u64> {
            let wait = (0..=window.ms).find(|wait| self.passes(window, now + wait, weight));
            wait.filter(|wait| *wait > 0)
        }
    }

    /// A request, or a pause before it.
    fn requests(pause: std::ops::Range<u64>, most: usize) -> impl Strategy<Value = Vec<(u64, u32)>> {
        prop::collection::vec((prop_oneof![2 => Just(0), 1 => pause], 1u32..8), 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// In a window of 32 ms there are at most 32 different milliseconds.
        #[test]
        fn it_is_the_naive_log_as_long_as_there_are_few_entries(
            most in 1u32..20, ms in 1u64..=32, requests in requests(1..20, 200)
        ) {
            let window = Window { most, ms };
            let (mut log, mut naive, mut now) = (Log::default(), Naive::default(), 0);
            for (pause, weight) in requests {
                now += pause;
                let wait = log.wait(window, now, weight);
                prop_assert_eq!(wait, naive.wait(window, now, weight));
                if wait.is_none() {
                    log.pass(window, now, weight);
                    naive.0.push((now, weight.min(most)));
                }
                prop_assert_eq!(u64::from(log.weight), naive.within(window, now));
            }
        }

        #[test]
        fn it_never_lets_more_pass_and_keeps_to_what_it_says(
            most in 1u32..300, ms in 1u64..2000, requests in requests(1..30, 600)
        ) {
            let window = Window { most, ms };
            let (mut log, mut naive, mut now) = (Log::default(), Naive::default(), 0);
            for (pause, weight) in requests {
                now += pause;
                match log.wait(window, now, weight) {
                    None => {
                        prop_assert!(naive.passes(window, now, weight));
                        log.pass(window, now, weight);
                        naive.0.push((now, weight.min(most)));
                    }
                    Some(wait) => {
                        prop_assert!((1..=ms).contains(&wait));
                        prop_assert!(log.clone().wait(window, now + wait - 1, weight).is_some());
                        prop_assert_eq!(log.clone().wait(window, now + wait, weight), None);
                    }
                }
                prop_assert!(log.passed.len() <= LIMIT_ENTRIES);
                prop_assert!(log.passed.is_sorted_by(|a, b| a.at < b.at));
            }
        }

        /// Connections of one user on several threads read the clock before they take the lock.
        #[test]
        fn times_out_of_order_are_no_way_around_it(
            most in 1u32..20, ms in 20u64..100, requests in requests(1..20, 200), late in prop::collection::vec(0u64..15, 200)
        ) {
            let window = Window { most, ms };
            let (mut log, mut naive, mut clock) = (Log::default(), Naive::default(), 100);
            for ((pause, weight), late) in requests.into_iter().zip(late) {
                clock += pause;
                if log.wait(window, clock - late, weight).is_none() {
                    log.pass(window, clock - late, weight);
                    naive.0.push((clock, weight.min(most)));
                }
                // What passed at a time that was read earlier counts from then on, not from when it came.
                let shortened = Window { ms: ms - 15, ..window };
                prop_assert!(naive.within(shortened, clock) <= u64::from(most));
            }
        }
    }

    #[test]
    fn a_request_heavier_than_the_window_passes_alone() {
        let window = Window { most: 3, ms: 100 };
        let mut log = Log::default();
        assert_eq!(log.wait(window, 0, 50), None);
        log.pass(window, 0, 50);
        assert_eq!(log.wait(window, 40, 1), Some(60));
        assert_eq!(log.wait(window, 100, 50), None);
    }

    #[test]
    fn a_window_that_allows_nothing_says_so() {
        assert_eq!(Log::default().wait(Window { most: 0, ms: 100 }, 5, 1), Some(0));
    }

    #[test]
    fn a_steady_client_loses_little_by_what_is_joined() {
        let window = Window { most: 1000, ms: 60_000 };
        let (mut log, mut passed) = (Log::default(), 0u32);
        // Twice as many as allowed, evenly, for ten windows.
        for now in (0..600_000).step_by(30) {
            if log.wait(window, now, 1).is_none() {
                log.pass(window, now, 1);
                passed += 1;
            }
        }
        assert!((9_300..=10_000).contains(&passed), "{passed} of 10000 passed");
    }
}
