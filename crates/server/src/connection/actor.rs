//! The session of one connection: who is logged in, what it watches, and the batches it is asked to work on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_protocol::{Close, Code, Error, Kind, TopicPattern, frame};
use dunlin_store::Guard;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::Instrument;

use super::SubscriptionId;
use super::turn::Turn;
use crate::auth::{self, Auth, Rights, Session};
use crate::limiter::{Moment, Pass};
use crate::live::{LiveMessage, Watch};
use crate::ops;
use crate::ops::write::Scope;
use crate::registry::{About, Entry, Seat};
use crate::shared::Shared;
use crate::time::unix_ms;

pub(crate) enum ConnectionMessage {
    /// Frames the driver has read, and when. It reads no further until they are answered.
    Batch { frames: Vec<Utf8Bytes>, read: Instant },
    /// The server has ended this subscription.
    Ended { id: SubscriptionId, error: Error },
    /// The `LiveActor` was restarted and knows nobody any more.
    WatchAgain,
    /// Close the socket once everything that came before this is answered.
    Close(Close),
    /// The session was to end about now.
    SessionDue,
    /// What sessions may do may have changed.
    RightsChanged,
    /// The view of this subscription reads other buckets than its watcher was judged for; it is not watched meanwhile.
    ReadsMore { id: SubscriptionId, buckets: Vec<Arc<str>> },
}

pub(crate) struct ConnectionActor;

pub(crate) struct ConnectionArguments {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seat: Seat,
    /// Who has logged in with the handshake itself.
    pub(crate) session: Option<Box<Session>>,
    pub(crate) span: tracing::Span,
}

/// Everything a connection owns. Dropping it, also after a panic, gives everything back.
pub(crate) struct ConnectionState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Watch>,
    /// The patterns of the topics whose events it hears.
    pub(crate) heard: BTreeMap<SubscriptionId, TopicPattern>,
    /// The client wants to know positions.
    pub(crate) positions: bool,
    scope: Scope,
    /// What the session may do, as it was worked out last.
    rights: Option<Rights>,
    /// `None`: its requests are not limited.
    pass: Option<Pass>,
    seat: Seat,
    /// Wakes the actor when the session ends.
    expiry: Option<JoinHandle<()>>,
    span: tracing::Span,
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.leave();
    }
}

impl ConnectionState {
    /// Gives everything back, once.
    fn leave(&mut self) {
        if let Some(expiry) = self.expiry.take() {
            expiry.abort();
        }
        // After an orderly end the driver has closed already and this reason is not looked at.
        self.seat.entry().outbox.close(Close::InternalError);
        let ids: Vec<SubscriptionId> = std::mem::take(&mut self.subscriptions).into_keys().collect();
        if !ids.is_empty() {
            self.shared.feed.tell(LiveMessage::Unwatch(ids));
        }
        let heard = std::mem::take(&mut self.heard);
        self.hear_no_more(heard.into_keys());
        self.seat.leave();
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
        let ConnectionArguments { shared, seat, session, span } = arguments;
        seat.seat_actor(myself);
        let pass = shared.limiter.as_ref().and_then(|limiter| limiter.pass(seat.entry().address));
        let mut state = ConnectionState {
            shared,
            pass,
            subscriptions: BTreeMap::new(),
            heard: BTreeMap::new(),
            positions: false,
            scope: Scope::default(),
            rights: None,
            seat,
            expiry: None,
            span,
        };
        if let Some(session) = session
            && !state.begin_session(*session)
        {
            // Revoked between the handshake and now.
            auth::close_revoked(state.entry());
        }
        Ok(state)
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
            ConnectionMessage::Batch { frames, read } => {
                let span = state.span.clone();
                Box::pin(Turn::new(state, read).run(frames).instrument(span)).await;
            }
            ConnectionMessage::Ended { id, error } => {
                state.ended(id, &error);
            }
            ConnectionMessage::WatchAgain => {
                for watch in state.subscriptions.values() {
                    let watch = Box::new(watch.again());
                    state.shared.feed.tell(LiveMessage::Watch { watch, reply: None });
                }
            }
            ConnectionMessage::Close(reason) => state.entry().outbox.close(reason),
            ConnectionMessage::SessionDue => state.session_due(),
            ConnectionMessage::RightsChanged => {
                Box::pin(ops::judge_again(state)).await;
                state.entry().outbox.sure();
            }
            ConnectionMessage::ReadsMore { id, buckets } => {
                Box::pin(ops::judge_view(state, id, buckets)).await;
            }
        }
        Ok(())
    }

    /// After an orderly end the state travels to the Supervisor and is dropped there, which is late if that one is busy.
    async fn post_stop(
        &self,
        _: ActorRef<ConnectionMessage>,
        state: &mut ConnectionState,
    ) -> Result<(), ActorProcessingErr> {
        state.leave();
        Ok(())
    }
}

impl ConnectionState {
    /// Whose idempotency keys its requests have.
    pub(crate) fn scope(&mut self) -> Arc<str> {
        self.scope.of(self.seat.entry())
    }

    /// Charges a request, or a frame that is none, to whoever sends it.
    pub(super) fn charge(&mut self, kind: Option<Kind>, moment: &mut Moment) -> Result<(), Error> {
        match &mut self.pass {
            Some(pass) => pass.charge(self.seat.entry(), kind, moment),
            None => Ok(()),
        }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        self.seat.entry()
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// What whoever is logged in here may do now; or whoever is not, where that is allowed.
    pub(crate) fn rights(&mut self, auth: &Auth) -> Result<&Rights, Error> {
        current(&mut self.rights, auth, self.seat.entry())
    }

    /// Whether the policy alone allows an operation whatever it touches.
    pub(crate) fn is_allowed_everywhere(&mut self, kind: Kind) -> bool {
        let Some(auth) = self.shared.auth.as_deref() else { return true };
        let rights = current(&mut self.rights, auth, self.seat.entry());
        auth.permissions.is_none() && rights.is_ok_and(|rights| rights.grants.allows_all(kind))
    }

    /// What it may do, as it was judged last.
    pub(super) fn judged_by(&self) -> Option<Rights> {
        self.rights.clone()
    }

    /// Whether these are still its rights.
    pub(super) fn has(&self, rights: &Rights) -> bool {
        let Some(auth) = &self.shared.auth else { return true };
        let session = self.seat.entry().session.load();
        let session = session.as_ref().or(auth.anonymous.as_ref());
        session.is_some_and(|session| rights.are_of(session, &auth.policy.load()))
    }

    /// The records and members that there are for whoever is logged in here now.
    pub(crate) fn guard(&mut self) -> Result<Guard, Error> {
        match self.shared.auth.as_deref() {
            Some(auth) => {
                current(&mut self.rights, auth, self.seat.entry()).map(|rights| rights.guard.clone())
            }
            None => Ok(Guard::default()),
        }
    }

    /// Ends one subscription, because it is not allowed any more.
    pub(crate) fn end_one(&mut self, id: SubscriptionId, error: &Error) {
        let about = self.ended(id, error);
        match about {
            Some(About::Store) => self.shared.feed.tell(LiveMessage::Unwatch(vec![id])),
            Some(About::Rules) => self.hear_no_more([id]),
            None => {}
        }
    }

    /// Nothing is told to these subscriptions any more.
    pub(crate) fn hear_no_more(&self, ids: impl IntoIterator<Item = SubscriptionId>) {
        let mut ids = ids.into_iter().peekable();
        if let Some(rules) = self.shared.rules.as_ref().filter(|_| ids.peek().is_some()) {
            rules.events.unsubscribe(ids);
        }
    }

    /// Lets a subscription whose source is another one now go on with that.
    pub(crate) fn watch_anew(&mut self, id: SubscriptionId) {
        let Some(watch) = self.subscriptions.get_mut(&id) else { return };
        // What waits shows what was allowed before, and so does what the LiveActor pushes until it knows; what follows may be as
        // old as what was told.
        watch.opening = self.seat.entry().outbox.open_anew(id, watch.mode);
        self.shared.feed.tell(LiveMessage::Unwatch(vec![id]));
        self.shared.feed.tell(LiveMessage::Watch { watch: Box::new(watch.again()), reply: None });
    }

    /// Begins a session in the place of the one before, if there was one. `false`: its user's sessions were revoked meanwhile,
    /// and nobody is logged in.
    pub(crate) fn begin_session(&mut self, session: Session) -> bool {
        let end = session.expires_at;
        let session = Arc::new(session);
        self.entry().session.store(Some(Arc::clone(&session)));
        // Looked at again now that whoever revokes sees this one: it is found there or here.
        if self.shared.auth.as_ref().is_some_and(|auth| auth.revoked.holds(&session.user_id)) {
            self.entry().session.store(None);
            self.wake_at(None);
            return false;
        }
        self.entry().outbox.rights_end(end);
        self.wake_at(end);
        true
    }

    fn wake_at(&mut self, end: Option<u64>) {
        if let Some(expiry) = self.expiry.take() {
            expiry.abort();
        }
        if let (Some(end), Some(myself)) = (end, self.entry().actor().cloned()) {
            // An end is over when it has passed.
            let wait = Duration::from_millis(end.saturating_sub(unix_ms()).saturating_add(1));
            self.expiry = Some(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                // A connection that is gone has no session.
                let _ = myself.cast(ConnectionMessage::SessionDue);
            }));
        }
    }

    /// Ends the subscriptions of a session that has ended. The session itself stays until the client is told of its end, in
    /// answer to its next request.
    fn session_due(&mut self) {
        let end = self.entry().session.load().as_ref().and_then(|session| session.expires_at);
        match end {
            Some(end) if end < unix_ms() => {
                self.end_all(&Error::new(Code::Unauthorized, "Session expired"));
            }
            // The clock was set back, or somebody has logged in anew.
            end => self.wake_at(end),
        }
    }

    /// Ends all subscriptions, because whoever made them is not logged in here any more.
    pub(crate) fn end_all(&mut self, error: &Error) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        if !ids.is_empty() {
            for id in &ids {
                self.ended(*id, error);
            }
            self.shared.feed.tell(LiveMessage::Unwatch(ids));
        }
        let heard: Vec<SubscriptionId> = self.heard.keys().copied().collect();
        for id in &heard {
            self.ended(*id, error);
        }
        self.hear_no_more(heard);
        self.entry().outbox.rights_end(None);
    }

    /// Tells the client that a subscription has ended. What it was about, if there was one.
    fn ended(&mut self, id: SubscriptionId, error: &Error) -> Option<About> {
        let watched = self.subscriptions.remove(&id).map(|_| About::Store);
        let about = watched.or_else(|| self.heard.remove(&id).map(|_| About::Rules))?;
        self.seat.free_subscription(about);
        self.shared.metrics.subscriptions_ended.of(error.code).increment(1);
        let outbox = &self.entry().outbox;
        outbox.forget(id);
        outbox.notice(frame::subscription_ended(&format!("sub-{id}"), error.code, &error.message).into());
        Some(about)
    }
}

/// The rights of whoever is logged in now, or of whoever is not; worked out anew if they are not those that were known.
fn current<'r>(known: &'r mut Option<Rights>, auth: &Auth, entry: &Entry) -> Result<&'r Rights, Error> {
    let session = entry.session.load();
    let Some(session) = session.as_ref().or(auth.anonymous.as_ref()) else {
        return Err(ops::gate::login_required());
    };
    let policy = auth.policy.load();
    if !known.as_ref().is_some_and(|rights| rights.are_of(session, &policy)) {
        *known = None;
    }
    Ok(known.get_or_insert_with(|| auth.rights_of(Arc::clone(session), Arc::clone(&policy))))
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
