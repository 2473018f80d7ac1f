//! When the engine has something to do next by itself.

use std::time::Duration;

use ractor::ActorRef;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::limits;
use crate::store_actor::StoreMessage;

/// The `StoreActor`'s clock for the rule engine. What is due the engine knows; here is only when to look.
#[derive(Default)]
pub(crate) struct Wake {
    /// Time to look.
    due: bool,
    /// The journal failed; not before this time.
    not_before: u64,
    timer: Option<Timer>,
}

struct Timer {
    /// By the clock that runs while it sleeps, which is not the one that tells what is due.
    fires: Instant,
    task: JoinHandle<()>,
}

impl Wake {
    /// The timer has run.
    pub(crate) fn wake(&mut self) {
        self.timer = None;
        self.due = true;
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Nothing could be made durable; another attempt at once would fail, too.
    pub(crate) fn hold_off(&mut self, now: u64) {
        self.due = false;
        self.not_before = now + limits::EXPIRY_CHECK_MS;
    }

    /// Whether the engine may do something at this time.
    pub(crate) fn may_run(&self, now: u64) -> bool {
        now >= self.not_before
    }

    /// Sets the timer for what the engine wants to do next; what it did not come to is still due.
    pub(crate) fn arm(&mut self, next: Option<u64>, now: u64, actor: &ActorRef<StoreMessage>) {
        let next = next.map(|at| at.max(self.not_before));
        self.due = next.is_some_and(|at| at <= now);
        let Some(at) = next.filter(|_| !self.due) else {
            self.timer = None;
            return;
        };
        // The wall clock may be set while it sleeps.
        let at = at.min(now.saturating_add(limits::EXPIRY_LOOK_AGAIN_MS));
        let fires = Instant::now() + Duration::from_millis(at.saturating_sub(now).max(1));
        // An earlier one finds nothing to do and sets the right one.
        if self.timer.as_ref().is_some_and(|timer| timer.fires <= fires) {
            return;
        }
        let actor = actor.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(fires).await;
            // An actor that is gone has a successor with a timer of its own.
            let _ = actor.cast(StoreMessage::Tick);
        });
        self.timer = Some(Timer { fires, task });
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
