//! A circuit breaker: whoever fails again and again is left alone for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Opens after some faults in a row; after a pause it lets one attempt through, whose end decides.
pub(crate) struct Breaker {
    most_faults: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    faults: u32,
    /// While open: when the next attempt may be made.
    next: Option<Instant>,
}

/// The right to one attempt.
pub(crate) struct Attempt<'a>(&'a Breaker);

impl Breaker {
    pub(crate) fn new(most_faults: u32, pause: Duration) -> Self {
        Self { most_faults, pause, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while it is open. An attempt that is dropped without an end counts for nothing; the next may be made after a pause.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.state();
        if let Some(next) = &mut state.next {
            let now = Instant::now();
            if now < *next {
                return None;
            }
            // This one tries; the others wait for what comes of it.
            *next = now + self.pause;
        }
        Some(Attempt(self))
    }
}

impl Attempt<'_> {
    /// It works; `true` if it did not before.
    pub(crate) fn succeeded(self) -> bool {
        let mut state = self.0.state();
        state.faults = 0;
        state.next.take().is_some()
    }

    /// It does not; `true` if it is given up for a while by this.
    pub(crate) fn failed(self) -> bool {
        let mut state = self.0.state();
        state.faults = state.faults.saturating_add(1);
        let opens = state.faults >= self.0.most_faults;
        let opened = opens && state.next.is_none();
        if opens {
            state.next = Some(Instant::now() + self.0.pause);
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn fails(breaker: &Breaker) -> bool {
        breaker.attempt().expect("closed").failed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_faults_in_a_row_and_tries_one_after_a_pause() {
        let breaker = Breaker::new(3, PAUSE);
        assert!(!fails(&breaker) && !fails(&breaker));
        assert!(!breaker.attempt().unwrap().succeeded(), "a success between them begins anew");
        assert!(!fails(&breaker) && !fails(&breaker) && fails(&breaker));
        assert!(breaker.attempt().is_none());
        tokio::time::advance(PAUSE).await;
        let one = breaker.attempt().expect("half open");
        assert!(breaker.attempt().is_none(), "only one");
        assert!(!one.failed());
        tokio::time::advance(Duration::from_millis(4999)).await;
        assert!(breaker.attempt().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(breaker.attempt().expect("half open").succeeded());
        assert!(breaker.attempt().is_some() && breaker.attempt().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_an_end_keeps_nobody_out_for_ever() {
        let breaker = Breaker::new(1, PAUSE);
        assert!(fails(&breaker));
        tokio::time::advance(PAUSE).await;
        assert!(breaker.attempt().is_some(), "half open");
        tokio::time::advance(PAUSE).await;
        assert!(breaker.attempt().is_some());
    }
}
