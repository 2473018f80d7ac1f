//! When the next record is due to be removed or the next answer to be forgotten, and which records have to wait although
//! their time is over.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use dunlin_store::{BucketId, RowId, Snapshot};
use ractor::ActorRef;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::limits;
use crate::store_actor::StoreMessage;

type Row = (BucketId, RowId);

/// The `StoreActor`'s clock for expiry. What is due is found in the state itself; here is only when to look, and what not
/// to try again yet.
#[derive(Default)]
pub(crate) struct Expiry {
    /// Time to look.
    due: bool,
    /// Records that others refer to, so that their removal was refused.
    postponed: HashSet<Row>,
    /// The same with the time at which each is tried again, ascending.
    retries: VecDeque<(u64, Row)>,
    /// The journal failed; not before this time.
    not_before: u64,
    timer: Option<Timer>,
}

struct Timer {
    /// By the clock that runs while it sleeps, which is not the one that tells what is due.
    fires: Instant,
    task: JoinHandle<()>,
}

impl Expiry {
    /// The timer has run.
    pub(crate) fn wake(&mut self) {
        self.timer = None;
        self.due = true;
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// What one group commit removes, if it is time to look. If there is more, it stays due, so that the next group takes
    /// the rest and writers have their turn in between.
    pub(crate) fn take(&mut self, state: &Snapshot, now: u64) -> Vec<Row> {
        if !self.due {
            return Vec::new();
        }
        while self.retries.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, row)) = self.retries.pop_front() {
                self.postponed.remove(&row);
            }
        }
        let waiting = |row: &Row| !self.postponed.contains(row);
        let rows: Vec<Row> = state.due(now).filter(waiting).take(limits::EXPIRY_GROUP).collect();
        self.due = rows.len() == limits::EXPIRY_GROUP;
        rows
    }

    /// Whether it is time to forget answers. They wait for a while, so that one commit forgets many: nobody is given one whose
    /// time is over, so nobody can tell.
    pub(crate) fn forgets(state: &Snapshot, now: u64) -> bool {
        state.next_answer_deadline().is_some_and(|at| at.saturating_add(limits::FORGET_DELAY_MS) <= now)
    }

    /// The removal of this record was refused: it is tried again later, and does not stand in the way of others.
    pub(crate) fn postpone(&mut self, row: Row, now: u64) {
        if self.postponed.insert(row) {
            let crowd = u64::try_from(self.postponed.len()).unwrap_or(u64::MAX);
            let pause = limits::EXPIRY_CHECK_MS.max(crowd.saturating_mul(limits::EXPIRY_RETRY_US) / 1000);
            // Ascending, also when the crowd and with it the pause has shrunk.
            let at = (now + pause).max(self.retries.back().map_or(0, |(at, _)| *at));
            self.retries.push_back((at, row));
        }
    }

    /// Nothing could be made durable; another attempt at once would fail, too.
    pub(crate) fn hold_off(&mut self, now: u64) {
        self.due = false;
        self.not_before = now + limits::EXPIRY_CHECK_MS;
    }

    /// Sets the timer for the next record or answer of `state` that is due.
    pub(crate) fn arm(&mut self, state: &Snapshot, now: u64, actor: &ActorRef<StoreMessage>) {
        let record = state.next_deadline().map(|at| {
            // It is one of those. While there are any, the others are looked for at intervals.
            let waits = !self.postponed.is_empty() && at <= now;
            if waits { now + limits::EXPIRY_CHECK_MS } else { at }
        });
        let answer = state.next_answer_deadline().map(|at| at.saturating_add(limits::FORGET_DELAY_MS));
        let Some(mut at) = record.into_iter().chain(answer).min().filter(|_| !self.due) else {
            self.timer = None;
            return;
        };
        at = at.max(self.not_before).min(now.saturating_add(limits::EXPIRY_LOOK_AGAIN_MS));
        let wait = Duration::from_millis(at.saturating_sub(now).max(1));
        let fires = Instant::now() + wait;
        // An earlier wake-up that was meant for another record finds nothing and sets the right one. One that is about to
        // come is left alone: busy writers would put it off again and again.
        if self.timer.as_ref().is_some_and(|timer| timer.fires <= fires) {
            return;
        }
        let actor = actor.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(fires).await;
            // An actor that is gone has a successor with a timer of its own.
            let _ = actor.cast(StoreMessage::Expire);
        });
        self.timer = Some(Timer { fires, task });
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
