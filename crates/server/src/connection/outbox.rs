//! What waits for a connection's socket: answers in order, and at most one pending push per subscription.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dunlin_protocol::{Close, Mode};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::events::{Events, Heard};
use super::outgoing::Outgoing;
use super::pending::{Body, Payload, Pending, Pushed};
use crate::limits;
use crate::time::unix_ms;

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
    /// Wakes the `ConnectionActor` when everything has left.
    drained: Notify,
    /// What the socket has moved so far, for whoever wants to know: only its driver can look at it.
    received: AtomicU64,
    sent: AtomicU64,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
struct Waiting {
    answers: Vec<Utf8Bytes>,
    /// Bytes of answers that have not left for the socket yet, including those the driver has taken.
    answer_bytes: usize,
    /// Subscriptions that may be pushed to. The `LiveActor` learns of an end a little later than the client.
    open: HashMap<SubscriptionId, Open>,
    /// Those with a push that waits, the one that waits longest first. Among them may be some that have ended.
    queue: VecDeque<SubscriptionId>,
    /// Events that wait, all of them in order.
    events: Events,
    /// How often a subscription was opened.
    openings: u64,
    /// The client wants to know positions.
    positions: bool,
    /// While true, pushes stay: an answer that must precede them is being worked out.
    held: bool,
    /// How many ask the connection to judge its live queries anew. Until it has, pushes stay: it may be busy with something else.
    doubts: usize,
    /// When the rights end by which there are pushes, Unix milliseconds. Behind that they stay.
    rights_end: Option<u64>,
    /// The batch the driver handed over is answered.
    answered: bool,
    close: Option<Close>,
    /// The driver, if it waits. It is taken out to be woken: nobody wakes it twice.
    driver: Option<Waker>,
    /// The driver cannot send: only a reason to close is news to it.
    blocked: bool,
}

/// An open subscription.
struct Open {
    /// Which opening it was: a subscription that is opened anew has nothing to do with what was asked for before.
    opening: u64,
    /// It was opened anew, and what it shows from now on has not come yet: whatever is pushed is of before.
    awaits: bool,
    mode: Mode,
    pending: Option<Pending>,
    /// Position of the newest state that the client was told or is about to be.
    told: u64,
}

/// What the driver takes out at once, beside the frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// There were answers among them: say [`Outbox::sent`] when they have left.
    pub(crate) answers: bool,
    /// The pushes among them that are whole results.
    pub(crate) full: Pushes,
    /// Those to subscribers who want patches.
    pub(crate) patches: Pushes,
    /// Those that are events of rules.
    pub(crate) events: Pushes,
    /// The batch is answered: read the next one when these frames have left.
    pub(crate) answered: bool,
    /// Close the socket after these frames.
    pub(crate) close: Option<Close>,
}

/// How many, and how long.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushes {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// Bytes that have not left for the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingBytes {
    pub(crate) answers: usize,
    /// Shared with the other subscribers of the same result, but for patches that were merged.
    pub(crate) pushes: usize,
}

impl Waiting {
    /// Takes the driver out if it waits for this kind of news.
    fn driver(&mut self, closing: bool) -> Option<Waker> {
        if self.blocked && !closing { None } else { self.driver.take() }
    }

    /// Whether pushes may leave.
    fn is_open(&self) -> bool {
        !self.held && self.doubts == 0 && self.rights_end.is_none_or(|end| end >= unix_ms())
    }

    fn listen(&mut self, cx: &Context<'_>) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }
}

fn wake(driver: Option<Waker>) {
    if let Some(driver) = driver {
        driver.wake();
    }
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts answers in. With `last`, the batch is answered and pushes held back may follow.
    pub(crate) fn answer(&self, answers: Vec<Utf8Bytes>, last: bool) {
        let driver = {
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
            waiting.driver(false)
        };
        wake(driver);
    }

    /// Puts a message in that answers nothing (`system` events).
    pub(crate) fn notice(&self, frame: Utf8Bytes) {
        self.answer(vec![frame], false);
    }

    /// Keeps pushes back until the batch is answered.
    pub(crate) fn hold(&self) {
        self.waiting().held = true;
    }

    /// Keeps pushes back until the connection is [sure](Self::sure) that they are still allowed.
    pub(crate) fn doubt(&self) {
        self.waiting().doubts += 1;
    }

    /// One of those who had doubts has none any more.
    pub(crate) fn sure(&self) {
        let driver = {
            let mut waiting = self.waiting();
            waiting.doubts = waiting.doubts.saturating_sub(1);
            waiting.driver(false)
        };
        wake(driver);
    }

    /// Lets no push leave behind this time, Unix milliseconds.
    pub(crate) fn rights_end(&self, end: Option<u64>) {
        self.waiting().rights_end = end;
    }

    /// Whether pushes tell positions to a client that wants whole results. Patches always do.
    pub(crate) fn tell_positions(&self, tell: bool) {
        self.waiting().positions = tell;
    }

    /// Whether they do.
    pub(crate) fn tells_positions(&self) -> bool {
        self.waiting().positions
    }

    /// Lets pushes of a new subscription in. The number of this opening.
    pub(crate) fn open(&self, subscription: SubscriptionId, mode: Mode) -> u64 {
        self.opened(subscription, mode, false)
    }

    /// The same of one that shows something else from now on: nothing is let in before that [begins](Self::begins). Who pushes
    /// does not know of it yet.
    pub(crate) fn open_anew(&self, subscription: SubscriptionId, mode: Mode) -> u64 {
        self.opened(subscription, mode, true)
    }

    fn opened(&self, subscription: SubscriptionId, mode: Mode, awaits: bool) -> u64 {
        let mut waiting = self.waiting();
        waiting.openings += 1;
        let opening = waiting.openings;
        waiting.open.insert(subscription, Open { opening, awaits, mode, pending: None, told: 0 });
        opening
    }

    /// What is pushed from now on is what was asked for at this opening.
    pub(crate) fn begins(&self, subscription: SubscriptionId, opening: u64) {
        if let Some(open) = self.waiting().open.get_mut(&subscription).filter(|open| open.opening == opening)
        {
            open.awaits = false;
        }
    }

    /// Whether a subscription may be pushed to what was asked for at this opening: it has not ended since, was not opened anew,
    /// and its connection has not ended either.
    pub(crate) fn is_open(&self, subscription: SubscriptionId, opening: u64) -> bool {
        !self.is_closing()
            && self.waiting().open.get(&subscription).is_some_and(|open| open.opening == opening)
    }

    /// Tells an open subscription of a newer state. A whole result replaces what still waits; a patch joins it, for as long as
    /// that is no longer than the whole result, which has `whole` bytes.
    pub(crate) fn push(&self, subscription: SubscriptionId, payload: &Payload, whole: usize) -> Pushed {
        match payload {
            Payload::Full { position, data } => self.push_whole(subscription, *position, data.as_ref()),
            Payload::Patch { position, ops } => {
                self.put(subscription, *position, |open| match (open.mode, &mut open.pending) {
                    (Mode::Full, _) => false,
                    (Mode::Patch, Some(pending)) => pending.join(*position, ops, whole),
                    (Mode::Patch, pending) => {
                        *pending = Pending::patch(*position, ops, whole);
                        pending.is_some()
                    }
                })
            }
        }
    }

    /// Tells an open subscription of the whole newest state, which replaces what still waits. In patch mode it becomes a patch
    /// of one operation.
    pub(crate) fn push_whole(
        &self,
        subscription: SubscriptionId,
        position: u64,
        data: Option<&Body>,
    ) -> Pushed {
        self.put(subscription, position, |open| {
            open.pending = Some(Pending::whole(open.mode, position, data.cloned()));
            true
        })
    }

    /// Lets events of a new subscription in.
    pub(crate) fn open_events(&self, subscription: SubscriptionId) {
        self.waiting().events.open(subscription);
    }

    /// Tells an open subscription of an event. Every one is told, in order; `most` bytes of them may wait.
    pub(crate) fn push_event(
        &self,
        subscription: SubscriptionId,
        position: u64,
        body: &Body,
        most: usize,
    ) -> Heard {
        let driver = {
            let mut waiting = self.waiting();
            let heard = waiting.events.push(subscription, position, body, most);
            if heard != Heard::Waits {
                return heard;
            }
            if waiting.held || waiting.doubts > 0 { None } else { waiting.driver(false) }
        };
        wake(driver);
        Heard::Waits
    }

    /// The client was told the state at this position in the answer to its wish.
    pub(crate) fn begun(&self, subscription: SubscriptionId, position: u64) {
        if let Some(open) = self.waiting().open.get_mut(&subscription) {
            open.told = open.told.max(position);
        }
    }

    /// Changes what waits for a subscription; `change` says whether it has. The state at a position that was told before is
    /// not told again: it is the same.
    fn put(&self, id: SubscriptionId, position: u64, change: impl FnOnce(&mut Open) -> bool) -> Pushed {
        let driver = {
            let mut waiting = self.waiting();
            let Some(open) = waiting.open.get_mut(&id) else { return Pushed::Closed };
            if open.awaits {
                return Pushed::Closed;
            }
            if position <= open.told {
                return Pushed::Known;
            }
            let merged = open.pending.is_some();
            if !change(open) {
                return Pushed::NeedsWhole;
            }
            open.told = position;
            if merged {
                // The driver has been woken, or is not to be.
                return Pushed::Merged;
            }
            waiting.queue.push_back(id);
            if waiting.held || waiting.doubts > 0 { None } else { waiting.driver(false) }
        };
        wake(driver);
        Pushed::Sent
    }

    /// Forgets what waits for a subscription that has ended, and lets nothing of it in any more.
    pub(crate) fn forget(&self, subscription: SubscriptionId) {
        let mut waiting = self.waiting();
        waiting.events.forget(subscription);
        waiting.open.remove(&subscription);
        // Now and then, so that forgetting many does not take the square of their number.
        if waiting.queue.len() > 2 * waiting.open.len() {
            let Waiting { open, queue, .. } = &mut *waiting;
            queue.retain(|id| open.contains_key(id));
        }
    }

    /// Asks the driver to close the socket once what is already answered has left. The first reason stands.
    pub(crate) fn close(&self, reason: Close) {
        self.closing.store(true, Ordering::Release);
        let driver = {
            let mut waiting = self.waiting();
            waiting.close.get_or_insert(reason);
            waiting.driver(true)
        };
        wake(driver);
        self.drained.notify_one();
    }

    /// Whether the socket is being closed: requests not yet begun are dropped, not executed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// For a driver that cannot send: the reason to close, or `None` and a wake-up when there is one.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>) -> Option<Close> {
        let mut waiting = self.waiting();
        waiting.blocked = true;
        waiting.listen(cx);
        waiting.close
    }

    /// For the driver: puts what there is to send behind `frames`, or is `Pending` until there is something. All answers, and
    /// pushes up to [`limits::PUSH_PORTION_BYTES`], the longest waiting first: what stays here can still be merged.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, frames: &mut VecDeque<Outgoing>) -> Poll<Parcel> {
        let mut waiting = self.waiting();
        waiting.blocked = false;
        let parcel = waiting.take(frames);
        if parcel == Parcel::default() {
            waiting.listen(cx);
            return Poll::Pending;
        }
        Poll::Ready(parcel)
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

    /// How many bytes wait here.
    pub(crate) fn waiting_bytes(&self) -> WaitingBytes {
        let waiting = self.waiting();
        let pending = waiting.open.values().filter_map(|open| open.pending.as_ref());
        let pushes = pending.map(Pending::bytes).sum::<usize>() + waiting.events.bytes();
        WaitingBytes { answers: waiting.answer_bytes, pushes }
    }

    /// For the driver: the socket has received and sent so many bytes. 0 when these are counted elsewhere.
    pub(crate) fn has_moved(&self, received: u64, sent: u64) {
        self.received.store(received, Ordering::Release);
        self.sent.store(sent, Ordering::Release);
    }

    /// Bytes that the socket has received and sent.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.received.load(Ordering::Acquire), self.sent.load(Ordering::Acquire))
    }
}

impl Waiting {
    fn take(&mut self, frames: &mut VecDeque<Outgoing>) -> Parcel {
        let mut parcel = Parcel {
            answers: !self.answers.is_empty(),
            full: Pushes::default(),
            patches: Pushes::default(),
            events: Pushes::default(),
            answered: std::mem::take(&mut self.answered),
            close: self.close,
        };
        frames.extend(std::mem::take(&mut self.answers).into_iter().map(Outgoing::Text));
        let mut bytes = 0;
        let open = self.is_open();
        while open && bytes < limits::PUSH_PORTION_BYTES {
            // In turns: neither kind waits until there is nothing of the other.
            let (state, event) = (self.next_state(), self.events.take(self.positions));
            if state.is_none() && event.is_none() {
                break;
            }
            for (pushes, frame) in [
                state.map(|(mode, frame)| match mode {
                    Mode::Full => (&mut parcel.full, frame),
                    Mode::Patch => (&mut parcel.patches, frame),
                }),
                event.map(|frame| (&mut parcel.events, frame)),
            ]
            .into_iter()
            .flatten()
            {
                pushes.count += 1;
                pushes.bytes += frame.len() as u64;
                bytes += frame.len();
                frames.push_back(frame);
            }
        }
        parcel
    }

    /// The push of a live query that waits longest, as it leaves.
    fn next_state(&mut self) -> Option<(Mode, Outgoing)> {
        loop {
            let id = self.queue.pop_front()?;
            let Some(open) = self.open.get_mut(&id) else { continue };
            let Some(pending) = open.pending.take() else { continue };
            return Some((open.mode, pending.into_frame(id, self.positions)));
        }
    }
}

fn bytes(frames: &[Utf8Bytes]) -> usize {
    frames.iter().map(|frame| frame.len()).sum()
}

#[cfg(test)]
mod tests;
