//! The session of one connection: parse, authenticate, authorise, route, answer, in the order the requests came.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_protocol::{Close, Code, Error, Message, Operation, Write, frame};
use dunlin_store::Outcome;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::SubscriptionId;
use crate::live_actor::{LiveMessage, Watch};
use crate::ops;
use crate::registry::{Entry, Seat};
use crate::shared::Shared;
use crate::store_actor::{WriteError, Written};

pub(crate) enum ConnectionMessage {
    /// Frames the driver has read. It reads no further until they are answered.
    Batch(Vec<Utf8Bytes>),
    /// The server has ended this subscription.
    Ended { id: SubscriptionId, error: Error },
    /// The `LiveActor` was restarted and knows nobody any more.
    WatchAgain,
    /// Close the socket once everything that came before this is answered.
    Close(Close),
}

pub(crate) struct ConnectionActor;

pub(crate) struct ConnectionArguments {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seat: Seat,
    pub(crate) span: tracing::Span,
}

/// Everything a connection owns. Dropping it, also after a panic, gives everything back.
pub(crate) struct ConnectionState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Watch>,
    seat: Seat,
    span: tracing::Span,
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        if !ids.is_empty() {
            self.shared.feed.tell(LiveMessage::Unwatch(ids));
        }
        // After an orderly end the driver has closed already and this reason is not looked at.
        self.seat.entry().outbox.close(Close::InternalError);
    }
}

impl Actor for ConnectionActor {
    type Msg = ConnectionMessage;
    type State = ConnectionState;
    type Arguments = ConnectionArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ConnectionMessage>,
        arguments: ConnectionArguments,
    ) -> Result<ConnectionState, ActorProcessingErr> {
        let ConnectionArguments { shared, seat, span } = arguments;
        seat.seat_actor(myself);
        Ok(ConnectionState { shared, subscriptions: BTreeMap::new(), seat, span })
    }

    async fn handle(
        &self,
        _: ActorRef<ConnectionMessage>,
        message: ConnectionMessage,
        state: &mut ConnectionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConnectionMessage::Batch(frames) => Turn::new(state).run(frames).await,
            ConnectionMessage::Ended { id, error } => state.ended(id, &error),
            ConnectionMessage::WatchAgain => {
                for watch in state.subscriptions.values() {
                    state.shared.feed.tell(LiveMessage::Watch { watch: watch.clone(), reply: None });
                }
            }
            ConnectionMessage::Close(reason) => state.entry().outbox.close(reason),
        }
        Ok(())
    }
}

impl ConnectionState {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        self.seat.entry()
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Ends all subscriptions, because whoever made them is not logged in here any more.
    pub(crate) fn end_all(&mut self, error: &Error) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        if !ids.is_empty() {
            self.shared.feed.tell(LiveMessage::Unwatch(ids.clone()));
            ids.into_iter().for_each(|id| self.ended(id, error));
        }
    }

    fn ended(&mut self, id: SubscriptionId, error: &Error) {
        if self.subscriptions.remove(&id).is_some() {
            self.seat.free_subscription();
            let outbox = &self.entry().outbox;
            outbox.forget(id);
            outbox.notice(frame::subscription_ended(&format!("sub-{id}"), error.code, &error.message).into());
        }
    }
}

/// The work on one batch of frames.
struct Turn<'a> {
    state: &'a mut ConnectionState,
    answers: Vec<Utf8Bytes>,
    answer_bytes: usize,
    /// Neighbouring writes, not yet sent to the `StoreActor`.
    staged: Vec<Staged>,
    intents: Vec<dunlin_store::Intent>,
}

/// A write whose answer is outstanding.
struct Staged {
    id: Box<str>,
    shape: ops::write::Shape,
}

impl<'a> Turn<'a> {
    fn new(state: &'a mut ConnectionState) -> Self {
        Self { state, answers: Vec::new(), answer_bytes: 0, staged: Vec::new(), intents: Vec::new() }
    }

    async fn run(mut self, frames: Vec<Utf8Bytes>) {
        self.answers.reserve(frames.len());
        for frame in frames {
            if self.state.entry().outbox.is_closing() {
                break;
            }
            self.request(frame).await;
            if self.answer_bytes >= self.state.shared.answer_mark {
                self.hand_over().await;
            }
        }
        self.settle().await;
        self.state.entry().outbox.answer(self.answers, true);
    }

    /// Gives the socket what is answered so far and waits until it has taken it.
    async fn hand_over(&mut self) {
        self.answer_bytes = 0;
        let outbox = Arc::clone(&self.state.entry().outbox);
        outbox.answer(std::mem::take(&mut self.answers), false);
        outbox.below(self.state.shared.answer_mark).await;
    }

    async fn request(&mut self, frame: Utf8Bytes) {
        let request = match Message::parse(&frame) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Pong) => return,
            Err(error) => {
                self.settle().await;
                return self.refuse("0", &error);
            }
        };
        let operation = match ops::admit(self.state, &request) {
            Ok(operation) => operation,
            Err(error) => {
                self.settle().await;
                return self.refuse(request.id, &error);
            }
        };
        if let Operation::Write(write) = operation {
            return self.stage(request.id, write);
        }
        // Whatever is not a write waits for the writes before it: it sees what they did, and answers keep their order.
        self.settle().await;
        match operation {
            Operation::Read(read) => match ops::read::answer(&self.state.shared, request.id, read, &frame).await {
                Ok(answer) => self.answer(answer),
                Err(error) => self.refuse(request.id, &error),
            },
            operation => match ops::control::run(self.state, operation).await {
                Ok(data) => self.answer(frame::result(request.id, Some(&data))),
                Err(error) => self.refuse(request.id, &error),
            },
        }
    }

    fn stage(&mut self, id: &str, write: Write<'_>) {
        let (intent, shape) = ops::write::intent(write);
        self.staged.push(Staged { id: id.into(), shape });
        self.intents.push(intent);
    }

    /// Sends the staged writes as one group and answers them.
    async fn settle(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let outbox = Arc::clone(&self.state.entry().outbox);
        // The pushes these writes cause must not overtake their answers.
        outbox.hold();
        if !self.answers.is_empty() {
            outbox.answer(std::mem::take(&mut self.answers), false);
        }
        let staged = std::mem::take(&mut self.staged);
        let written = self.state.shared.store.write(std::mem::take(&mut self.intents)).await;
        let mut written = written.into_iter();
        for Staged { id, shape } in staged {
            // A group that was interrupted has no results.
            let result: Written = written.next().unwrap_or(Err(WriteError::Interrupted));
            match result {
                Ok(outcome) => self.answer(done(&id, &shape, &outcome)),
                Err(error) => self.refuse(&id, &ops::write::refusal(&shape, error)),
            }
        }
    }

    fn answer(&mut self, answer: String) {
        self.answer_bytes += answer.len();
        self.state.shared.metrics.requests.increment(1);
        self.answers.push(answer.into());
    }

    fn refuse(&mut self, id: &str, error: &Error) {
        if error.code == Code::InternalError {
            self.state.span.in_scope(|| tracing::error!(%error, "request failed by a fault of the server"));
        }
        self.state.shared.metrics.errors.increment(1);
        self.answer(frame::error(id, error, self.state.shared.config.expose_error_details));
    }
}

fn done(id: &str, shape: &ops::write::Shape, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Record(record) => frame::result(id, Some(record.json())),
        _ => frame::result(id, Some(&shape.confirmation())),
    }
}

/// Asks the `LiveActor`; an error if it is being restarted.
pub(crate) async fn ask_live<T>(
    shared: &Shared,
    message: impl FnOnce(oneshot::Sender<T>) -> LiveMessage,
) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    shared.feed.tell(message(reply));
    answer
        .await
        .map_err(|_| Error::new(Code::InternalError, "Live queries are being restarted; repeat the request"))
}
