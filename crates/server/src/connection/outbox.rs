//! What waits for a connection's socket: answers in order, and at most one pending push per subscription.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use dunlin_protocol::Close;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Number of a subscription, unique within the server's life; on the wire `sub-<n>`.
pub(crate) type SubscriptionId = u64;

/// The only way to a connection's socket. The `ConnectionActor` puts answers in, the `LiveActor` puts pushes in, the driver
/// takes both out.
///
/// A plain mutex: it is held for a push or a pop and never across an await, and there is nothing to do meanwhile.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Set once and never cleared: nothing that comes in from the client has an effect any more.
    closing: AtomicBool,
    /// Wakes the driver.
    driver: AtomicWaker,
    /// Wakes the `ConnectionActor` when everything has left.
    drained: Notify,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<Utf8Bytes>,
    /// Bytes of answers that have not left for the socket yet, including those the driver has taken.
    answer_bytes: usize,
    pushes: Vec<(SubscriptionId, Utf8Bytes)>,
    /// Subscriptions that may be pushed to, ascending. The `LiveActor` learns of an end a little later than the client.
    open: Vec<SubscriptionId>,
    /// While true, pushes stay: an answer that must precede them is being worked out.
    held: bool,
    /// The batch the driver handed over is answered.
    answered: bool,
    close: Option<Close>,
}

/// What the driver takes out at once.
#[derive(Default)]
pub(crate) struct Parcel {
    pub(crate) frames: Vec<Utf8Bytes>,
    /// How many of `frames`, from the end, are pushes.
    pub(crate) pushes: usize,
    /// The batch is answered: read the next one when these frames have left.
    pub(crate) answered: bool,
    /// Close the socket after these frames.
    pub(crate) close: Option<Close>,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts answers in. With `last`, the batch is answered and pushes held back may follow.
    pub(crate) fn answer(&self, answers: Vec<Utf8Bytes>, last: bool) {
        {
            let mut waiting = self.waiting();
            waiting.answer_bytes += bytes(&answers);
            if waiting.answers.is_empty() {
                waiting.answers = answers;
            } else {
                waiting.answers.extend(answers);
            }
            if last {
                waiting.answered = true;
                waiting.held = false;
            }
        }
        self.driver.wake();
    }

    /// Puts a message in that answers nothing (`system` events).
    pub(crate) fn notice(&self, frame: Utf8Bytes) {
        self.answer(vec![frame], false);
    }

    /// Keeps pushes back until the batch is answered.
    pub(crate) fn hold(&self) {
        self.waiting().held = true;
    }

    /// Lets pushes of a new subscription in. Ids are given in ascending order.
    pub(crate) fn open(&self, subscription: SubscriptionId) {
        self.waiting().open.push(subscription);
    }

    /// Puts the newest state of an open subscription in; an older one that still waits is replaced. Returns whether it was.
    pub(crate) fn push(&self, subscription: SubscriptionId, frame: Utf8Bytes) -> bool {
        let (replaced, held) = {
            let mut waiting = self.waiting();
            if waiting.open.binary_search(&subscription).is_err() {
                return false;
            }
            let replaced =
                if let Some((_, pending)) = waiting.pushes.iter_mut().find(|(id, _)| *id == subscription) {
                    *pending = frame;
                    true
                } else {
                    waiting.pushes.push((subscription, frame));
                    false
                };
            (replaced, waiting.held)
        };
        if !held {
            self.driver.wake();
        }
        replaced
    }

    /// Forgets what waits for a subscription that has ended, and lets nothing of it in any more.
    pub(crate) fn forget(&self, subscription: SubscriptionId) {
        let mut waiting = self.waiting();
        if let Ok(at) = waiting.open.binary_search(&subscription) {
            waiting.open.remove(at);
        }
        waiting.pushes.retain(|(id, _)| *id != subscription);
    }

    /// Asks the driver to close the socket once what is already answered has left. The first reason stands.
    pub(crate) fn close(&self, reason: Close) {
        self.closing.store(true, Ordering::Release);
        self.waiting().close.get_or_insert(reason);
        self.driver.wake();
        self.drained.notify_one();
    }

    /// Whether the socket is being closed: requests not yet begun are dropped, not executed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// For a driver that cannot send: the reason to close, or `None` and a wake-up when there is one.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>) -> Option<Close> {
        self.driver.register(cx.waker());
        if self.is_closing() { self.waiting().close } else { None }
    }

    /// For the driver: what there is to send, or `Pending` until there is something.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Parcel> {
        if let Some(parcel) = self.take() {
            return Poll::Ready(parcel);
        }
        self.driver.register(cx.waker());
        // Once more: something may have come in before the waker was in place.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self) -> Option<Parcel> {
        let mut waiting = self.waiting();
        let mut parcel = Parcel {
            frames: std::mem::take(&mut waiting.answers),
            pushes: 0,
            answered: std::mem::take(&mut waiting.answered),
            close: waiting.close,
        };
        if !waiting.held && !waiting.pushes.is_empty() {
            parcel.pushes = waiting.pushes.len();
            parcel.frames.extend(waiting.pushes.drain(..).map(|(_, frame)| frame));
        }
        let empty = parcel.frames.is_empty() && !parcel.answered && parcel.close.is_none();
        (!empty).then_some(parcel)
    }

    /// For the driver: everything it has taken has left for the socket.
    pub(crate) fn sent(&self) {
        let mut waiting = self.waiting();
        if waiting.answer_bytes > 0 {
            waiting.answer_bytes = bytes(&waiting.answers);
            drop(waiting);
            self.drained.notify_one();
        }
    }

    /// For the `ConnectionActor`: waits until fewer than `most` bytes of answers wait (or the socket is being closed).
    pub(crate) async fn below(&self, most: usize) {
        while !self.is_closing() && self.waiting().answer_bytes >= most {
            self.drained.notified().await;
        }
    }
}

fn bytes(frames: &[Utf8Bytes]) -> usize {
    frames.iter().map(|frame| frame.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_two() -> Outbox {
        let outbox = Outbox::default();
        outbox.open(1);
        outbox.open(2);
        outbox
    }

    fn take(outbox: &Outbox) -> Vec<String> {
        outbox.take().map_or_else(Vec::new, |parcel| parcel.frames.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_newer_push_takes_the_place_of_an_older_one() {
        let outbox = with_two();
        assert!(!outbox.push(1, "a1".into()));
        assert!(!outbox.push(2, "b1".into()));
        assert!(outbox.push(1, "a2".into()));
        assert_eq!(take(&outbox), ["a2", "b1"]);
        assert_eq!(take(&outbox), [""; 0]);
    }

    #[test]
    fn pushes_held_back_leave_behind_the_answers() {
        let outbox = with_two();
        outbox.hold();
        outbox.push(1, "push".into());
        assert_eq!(take(&outbox), [""; 0]);
        outbox.answer(vec!["early".into()], false);
        assert_eq!(take(&outbox), ["early"]);
        outbox.answer(vec!["late".into()], true);
        assert_eq!(take(&outbox), ["late", "push"]);
    }

    #[test]
    fn a_subscription_that_ended_sends_nothing_more() {
        let outbox = with_two();
        outbox.push(1, "a".into());
        outbox.push(2, "b".into());
        outbox.forget(1);
        // What was on its way when it ended comes too late.
        outbox.push(1, "a".into());
        assert_eq!(take(&outbox), ["b"]);
    }

    #[tokio::test]
    async fn a_writer_above_the_mark_waits_until_the_socket_has_taken_everything() {
        let outbox = Outbox::default();
        outbox.answer(vec!["0123456789".into()], false);
        outbox.below(11).await;
        take(&outbox);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), outbox.below(10)).await;
        assert!(waits.is_err(), "taken is not sent");
        outbox.sent();
        outbox.below(10).await;
    }
}
