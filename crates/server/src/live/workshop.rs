//! Where live queries are worked out beside the `LiveActor`, a few at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dunlin_store::{LiveQuery, Preparation, Prepared, Replay};
use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::LiveMessage;
use super::admission::Gap;
use crate::connection::Body;
use crate::limits;

/// Hands work to blocking threads, as many pieces at once as there are processors: whoever comes back after a restart, with
/// thousands of others, waits for his turn here and not in everybody's way.
pub(super) struct Workshop {
    myself: ActorRef<LiveMessage>,
    places: Arc<Semaphore>,
}

/// A view that was worked out; `Err` is the query of one whose code panicked.
pub(super) type Made = Result<Prepared, LiveQuery>;

/// What those who come back have missed.
pub(crate) struct Missed {
    pub(super) gap: Gap,
    /// Operations of a patch; `None` if the result of then cannot be had back.
    pub(super) operations: Option<String>,
    /// The result at the end of the gap.
    pub(super) result: Option<Body>,
}

impl Workshop {
    pub(super) fn new(myself: ActorRef<LiveMessage>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { myself, places: Arc::new(Semaphore::new(processors)) }
    }

    /// Works a view out: on the spot if that is quickly done or the caller is not `patient`, else the actor is told later.
    pub(super) fn make(
        &self,
        preparation: Preparation,
        patient: bool,
        then: impl FnOnce(Made) -> LiveMessage + Send + 'static,
    ) -> Option<Made> {
        let query = preparation.query().clone();
        let few = |rows: usize| {
            rows <= limits::INLINE_ROWS && rows.saturating_mul(preparation.tests()) <= limits::INLINE_TESTS
        };
        let small = preparation.rows().is_some_and(few);
        let run = move || std::panic::catch_unwind(AssertUnwindSafe(|| preparation.run())).map_err(|_| query);
        if small || !patient {
            return Some(run());
        }
        self.hand_over(move || then(run()));
        None
    }

    /// Works out what somebody has missed.
    pub(super) fn replay(&self, replay: Replay, mut missed: Missed) {
        self.hand_over(move || {
            let run = std::panic::catch_unwind(AssertUnwindSafe(|| replay.run()));
            missed.operations = run.unwrap_or_default();
            LiveMessage::Replayed(Box::new(missed))
        });
    }

    fn hand_over(&self, work: impl FnOnce() -> LiveMessage + Send + 'static) {
        let (myself, places) = (self.myself.clone(), Arc::clone(&self.places));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            if let Ok(message) = tokio::task::spawn_blocking(work).await {
                // An actor that is gone has forgotten what this was for.
                let _ = myself.cast(message);
            }
        });
    }
}
