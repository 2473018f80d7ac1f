//! The session of one connection: who is logged in, what it watches, and the batches it is asked to work on.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_protocol::{Close, Code, Error, frame};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::SubscriptionId;
use super::turn::Turn;
use crate::live_actor::{LiveMessage, Watch};
use crate::registry::{Entry, Seat};
use crate::shared::Shared;

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
    pub(super) span: tracing::Span,
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
            // Boxed, because an actor's future has room for its largest handler for as long as it lives: 3 KiB of every idle
            // connection, against one small allocation for each batch.
            ConnectionMessage::Batch(frames) => Box::pin(Turn::new(state).run(frames)).await,
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
