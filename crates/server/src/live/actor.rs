//! Owns every live query: one view per distinct query and parameters, whose changes are told once to all who watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_protocol::{Code, Error, Mode};
use dunlin_store::{
    Change, Commit, LiveExplain, LiveQuery, LiveStep, Prepared, Renewed, Replay, Resume, StoreError, ViewId,
    ViewLimits, Views,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::feed::{ChangeFeed, News};
use super::watch::{Joined, Start, Told, Waiting, Watch};
use super::watchers::Watchers;
use super::workshop::{Made, Missed, Workshop};
use crate::connection::{Body, ConnectionMessage, Payload, Pushed, SubscriptionId};
use crate::limits;
use crate::metrics::{Metrics, count};
use crate::ops::authorise_watcher;
use crate::published::Published;
use crate::registry::Entry;
use crate::shared::Auth;

pub(crate) enum LiveMessage {
    /// Watch a query. With a `reply`, what it begins with goes there; without (after a restart), it is pushed.
    Watch { watch: Box<Watch>, reply: Option<oneshot::Sender<Joined>> },
    /// These subscriptions have ended by the will of their connection. Its outbox has forgotten them before, or is closed: so is
    /// seen that those have ended which are not known yet.
    Unwatch(Vec<SubscriptionId>),
    /// The change feed has something.
    Changed,
    /// A view was worked out that some wait for.
    Opened(Box<Made>),
    /// A view was worked out anew.
    Renewed(ViewId, Box<Made>),
    /// It was worked out what somebody has missed.
    Replayed(Box<Missed>),
    /// How many subscriptions each query has.
    Count(oneshot::Sender<HashMap<Arc<str>, usize>>),
    /// How the view of a subscription is found and kept; its subscribers and what they were told.
    Explain(SubscriptionId, oneshot::Sender<Option<Explained>>),
    /// The same for the view of a query, if there is one.
    ExplainQuery(LiveQuery, oneshot::Sender<Option<Explained>>),
    /// Test only: what a bug in this actor would do.
    #[cfg(test)]
    Panic,
}

/// What is known of a view.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    #[serde(flatten)]
    view: LiveExplain,
    subscribers: usize,
    /// How often its result has changed since somebody watched it.
    pushes: u64,
}

pub(crate) struct LiveActor;

/// What the actor needs and does not own.
#[derive(Clone)]
pub(crate) struct LiveArguments {
    pub(crate) published: Arc<Published>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: ViewLimits,
    pub(crate) auth: Option<Arc<Auth>>,
}

pub(crate) struct LiveState {
    shared: LiveArguments,
    views: Views,
    watchers: Watchers,
    workshop: Workshop,
    /// Who waits for a view that is being worked out for the first time.
    opening: HashMap<LiveQuery, Vec<Waiting>>,
    /// Who waits for one that is being worked out anew.
    renewing: HashMap<ViewId, Vec<Waiting>>,
    /// How often in a row a view was of no use when it was worked out: too much had happened meanwhile.
    outdated: HashMap<LiveQuery, u32>,
}

impl Actor for LiveActor {
    type Msg = LiveMessage;
    type State = LiveState;
    type Arguments = LiveArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<LiveMessage>,
        shared: LiveArguments,
    ) -> Result<LiveState, ActorProcessingErr> {
        Ok(LiveState {
            views: Views::new(shared.published.snapshot(), shared.limits),
            shared,
            watchers: Watchers::default(),
            workshop: Workshop::new(myself),
            opening: HashMap::new(),
            renewing: HashMap::new(),
            outdated: HashMap::new(),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<LiveMessage>,
        message: LiveMessage,
        state: &mut LiveState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LiveMessage::Watch { watch, reply } => {
                state.catch_up().await;
                state.watch(*watch, reply);
            }
            LiveMessage::Unwatch(ids) => ids.into_iter().for_each(|id| state.unwatch(id)),
            LiveMessage::Changed => state.changed(),
            LiveMessage::Opened(made) => state.opened(*made),
            LiveMessage::Renewed(view, made) => state.renewed(view, *made),
            LiveMessage::Replayed(missed) => state.replayed(*missed),
            LiveMessage::Count(reply) => {
                let counts = state.watchers.names().map(|(name, count)| (Arc::clone(name), count));
                let _ = reply.send(counts.collect());
            }
            LiveMessage::Explain(id, reply) => {
                let view = state.watchers.view_of(id);
                let _ = reply.send(view.and_then(|view| state.explain(view)));
            }
            LiveMessage::ExplainQuery(query, reply) => {
                let view = state.views.find(&query);
                let _ = reply.send(view.and_then(|view| state.explain(view)));
            }
            #[cfg(test)]
            LiveMessage::Panic => panic!("asked to"),
        }
        state.measure();
        Ok(())
    }
}

impl LiveState {
    fn measure(&self) {
        let metrics = &self.shared.metrics;
        metrics.views.set(count(self.views.len()));
        metrics.views_unindexed.set(count(self.views.unindexed()));
        metrics.history_bytes.set(count(self.views.history_bytes()));
    }

    /// Waits until the views show what is published: whoever asks now may have seen it.
    async fn catch_up(&mut self) {
        loop {
            self.changed();
            if self.views.snapshot().position() >= self.shared.published.load().position() {
                return;
            }
            // The StoreActor is between publishing and telling: an instant, unless it has just failed there.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn watch(&mut self, watch: Watch, reply: Option<oneshot::Sender<Joined>>) {
        let asked_at = self.views.snapshot().position();
        let waiting = Waiting { watch, reply, asked_at };
        if let Some(view) = self.views.find(&waiting.watch.source) {
            self.admit(view, waiting);
            return;
        }
        let query = waiting.watch.source.clone();
        let others = self.opening.entry(query.clone()).or_default();
        others.push(waiting);
        if others.len() == 1 {
            self.open(query);
        }
    }

    fn open(&mut self, query: LiveQuery) {
        let patient = self.is_patient(&query);
        let preparation = self.views.prepare(query);
        let then = |made| LiveMessage::Opened(Box::new(made));
        if let Some(made) = self.workshop.make(preparation, patient, then) {
            self.opened(made);
        }
    }

    /// Whether a view may be worked out beside this actor. One that has been too late several times is worked out here, where
    /// nothing happens meanwhile: else those who wait would wait for as long as others write.
    fn is_patient(&self, query: &LiveQuery) -> bool {
        self.outdated.get(query).is_none_or(|times| *times < limits::VIEW_TRIES)
    }

    /// A view was worked out: everybody who waits for it joins.
    fn opened(&mut self, made: Made) {
        self.shared.metrics.views_evaluated.increment(1);
        let (query, buckets, view) = match made {
            Err(query) => (query, Vec::new(), Err(failed())),
            Ok(prepared) => {
                let (query, buckets) = (prepared.query().clone(), prepared.buckets());
                match self.views.open(prepared) {
                    Ok(dunlin_store::Joined::Outdated) => {
                        *self.outdated.entry(query.clone()).or_default() += 1;
                        if self.opening.contains_key(&query) {
                            self.open(query);
                        }
                        return;
                    }
                    Ok(dunlin_store::Joined::View(view)) => (query, buckets, Ok(view)),
                    Err(error) => (query, buckets, Err(Error::from(error))),
                }
            }
        };
        self.outdated.remove(&query);
        let everybody = self.opening.remove(&query).unwrap_or_default();
        match view {
            Ok(view) => {
                if self.views.is_stale(view) {
                    self.renew(view);
                }
                for waiting in everybody {
                    self.admit(view, waiting);
                }
                self.drop_if_unwatched(view);
            }
            Err(error) => {
                for waiting in everybody {
                    self.refuse(waiting, error.clone(), buckets.clone());
                }
            }
        }
    }

    fn renew(&mut self, view: ViewId) {
        let Some(preparation) = self.views.prepare_again(view) else { return };
        let patient = self.is_patient(preparation.query());
        self.renewing.entry(view).or_default();
        let then = move |made| LiveMessage::Renewed(view, Box::new(made));
        let made = self.workshop.make(preparation, patient, then);
        if let Some(made) = made {
            self.renewed(view, made);
        }
    }

    /// A view was worked out anew: everybody who watches it is told of the difference.
    fn renewed(&mut self, view: ViewId, made: Made) {
        self.shared.metrics.views_evaluated.increment(1);
        let known = self.views.buckets(view);
        let renewed = match made {
            Ok(prepared) => self.put_in_place(view, prepared),
            Err(query) => {
                self.outdated.remove(&query);
                Err(failed())
            }
        };
        self.authorise_again(view, &known);
        match renewed {
            Ok(Renewed::Changed) => self.deliver(view),
            Ok(_) => {}
            Err(error) => {
                let waiting = self.renewing.remove(&view).unwrap_or_default();
                waiting.into_iter().for_each(|waiting| self.refuse(waiting, error.clone(), Vec::new()));
                self.views.close(view);
                self.end_all(view, &error);
                return;
            }
        }
        let waiting = self.renewing.remove(&view).unwrap_or_default();
        if self.views.is_stale(view) {
            self.renew(view);
        }
        for waiting in waiting {
            self.admit(view, waiting);
        }
        self.drop_if_unwatched(view);
    }

    /// A view that reads other buckets than before goes on only for those who may read these, too.
    fn authorise_again(&mut self, view: ViewId, known: &[Arc<str>]) {
        let Some(auth) = self.shared.auth.clone() else { return };
        let buckets = self.views.buckets(view);
        if buckets.iter().all(|name| known.contains(name)) {
            return;
        }
        for (id, query, watcher) in self.watchers.of_view(view) {
            if let Err(error) = authorise_watcher(&watcher, &auth, &query, &buckets) {
                self.unwatch(id);
                end(id, &watcher, error);
            }
        }
    }

    fn put_in_place(&mut self, view: ViewId, prepared: Prepared) -> Result<Renewed, Error> {
        let query = prepared.query().clone();
        let renewed = self.views.renew(view, prepared);
        if renewed == Renewed::Outdated {
            *self.outdated.entry(query).or_default() += 1;
        } else {
            self.outdated.remove(&query);
        }
        match renewed {
            Renewed::Ended(error) => Err(error.into()),
            Renewed::Closed => Err(Error::new(
                Code::InternalError,
                "The live query ended while it was worked out; subscribe again",
            )),
            renewed => Ok(renewed),
        }
    }

    /// Lets somebody join a view, or wait for its newer result.
    fn admit(&mut self, view: ViewId, waiting: Waiting) {
        if self.views.shows(view).is_none_or(|position| position < waiting.asked_at) {
            self.renewing.entry(view).or_default().push(waiting);
            return;
        }
        // Who was unwatched while it waited was not known here yet. One with a reply is asked when it gets that.
        if waiting.reply.is_none() && !waiting.watch.watcher.outbox.is_open(waiting.watch.id) {
            return;
        }
        if let Err(error) = self.still_defined(&waiting.watch) {
            self.refuse(waiting, error, Vec::new());
            return;
        }
        // Of a new subscription its connection asks.
        if let (None, Some(auth)) = (&waiting.reply, &self.shared.auth) {
            let Watch { query, watcher, .. } = &waiting.watch;
            if let Err(error) = authorise_watcher(watcher, auth, query, &self.views.buckets(view)) {
                self.refuse(waiting, error, Vec::new());
                return;
            }
        }
        let position = self.views.shows(view).unwrap_or_default();
        let told = self.begin(view, &waiting.watch);
        let (start, replay) = match told {
            Ok(told) => told,
            Err(error) => {
                self.refuse(waiting, error, Vec::new());
                return;
            }
        };
        self.watchers.join(view, &waiting.watch, position);
        match replay {
            Some(replay) => {
                let result = if let Start::Data(data) = start { data } else { None };
                self.workshop.replay(*replay, Missed { waiting, operations: None, result, position });
            }
            None => self.answer(waiting, Told { position, start }),
        }
    }

    /// What a new subscriber begins with; with a replay, that is to be worked out first, and the result is the way out.
    fn begin(&mut self, view: ViewId, watch: &Watch) -> Result<(Start, Option<Box<Replay>>), Error> {
        let data =
            |views: &mut Views| -> Result<Start, Error> { Ok(Start::Data(views.result(view)?.map(body))) };
        let Some(resume) = &watch.resume else { return Ok((data(&mut self.views)?, None)) };
        let name = watch.definition.is_some().then_some(&*watch.query);
        match self.views.resume(view, name, &resume.epoch, resume.position)? {
            Resume::Unchanged => Ok((Start::Resumed(String::new()), None)),
            Resume::Replay(replay) => Ok((data(&mut self.views)?, Some(replay))),
            Resume::Lost => Ok((data(&mut self.views)?, None)),
        }
    }

    fn replayed(&mut self, missed: Missed) {
        let Missed { waiting, operations, result, position } = missed;
        let start = operations.map_or(Start::Data(result), Start::Resumed);
        self.answer(waiting, Told { position, start });
    }

    fn answer(&mut self, waiting: Waiting, told: Told) {
        let Waiting { watch, reply, .. } = waiting;
        let metrics = &self.shared.metrics;
        if watch.resume.is_some() {
            let resumed = matches!(told.start, Start::Resumed(_));
            (if resumed { &metrics.resumed } else { &metrics.not_resumed }).increment(1);
        }
        match reply {
            Some(reply) => {
                let view = self.watchers.view_of(watch.id);
                let buckets = view.map(|view| self.views.buckets(view)).unwrap_or_default();
                // The connection may have ended while it waited; then nobody would ever unwatch.
                if reply.send(Joined { told: Ok(told), buckets }).is_err() {
                    self.unwatch(watch.id);
                }
            }
            None => {
                if let Start::Data(data) = told.start {
                    let payload = Payload::Full { position: told.position, data };
                    self.push(watch.id, &watch.watcher, &payload, 0);
                }
            }
        }
    }

    fn refuse(&mut self, waiting: Waiting, error: Error, buckets: Vec<Arc<str>>) {
        match waiting.reply {
            Some(reply) => {
                // Nobody has to know if the connection has ended.
                let _ = reply.send(Joined { told: Err(error), buckets });
            }
            None => end(waiting.watch.id, &waiting.watch.watcher, error),
        }
    }

    /// The query may have been undefined since the connection looked it up.
    fn still_defined(&self, watch: &Watch) -> Result<(), Error> {
        let Some(definition) = &watch.definition else { return Ok(()) };
        match self.views.snapshot().query(&watch.query) {
            Ok(query) if query.config() == definition => Ok(()),
            _ => Err(undefined(&watch.query)),
        }
    }

    fn unwatch(&mut self, id: SubscriptionId) {
        if let Some(view) = self.watchers.leave(id) {
            self.drop_if_unwatched(view);
        }
    }

    fn drop_if_unwatched(&mut self, view: ViewId) {
        let awaited = self.renewing.get(&view).is_some_and(|waiting| !waiting.is_empty());
        if !self.watchers.is_watched(view) && !awaited {
            self.renewing.remove(&view);
            self.views.close(view);
        }
    }

    /// Takes the views to the newest state and tells everybody what that has changed.
    fn changed(&mut self) {
        let Some(News { snapshot, commits, .. }) = self.shared.feed.take() else { return };
        let position = self.views.snapshot().position();
        let step = match &commits {
            None => self.views.restart(snapshot.clone()),
            Some(groups) => {
                let new = |commit: &&Commit| commit.position > position;
                let commits = groups.iter().flat_map(|group| group.iter()).filter(new);
                self.views.advance(commits, snapshot.clone())
            }
        };
        match &commits {
            None => self.end_all_undefined(),
            Some(groups) => {
                groups.iter().flat_map(|group| group.iter()).for_each(|commit| self.end_undefined(commit))
            }
        }
        self.tell(step);
    }

    fn tell(&mut self, step: LiveStep) {
        let LiveStep { changed, stale, ended, evaluated, .. } = step;
        self.shared.metrics.views_evaluated.increment(evaluated as u64);
        for (view, error) in ended {
            // Its bucket is gone.
            let error = Error::new(error.code(), format!("{error} any more"));
            let waiting = self.renewing.remove(&view).unwrap_or_default();
            waiting.into_iter().for_each(|waiting| self.refuse(waiting, error.clone(), Vec::new()));
            self.end_all(view, &error);
        }
        for view in changed {
            self.deliver(view);
        }
        for view in stale {
            self.renew(view);
        }
    }

    /// Ends the subscriptions of queries that a commit has undefined.
    fn end_undefined(&mut self, commit: &Commit) {
        for change in &commit.changes {
            if let Change::UndefineQuery { name } = change {
                self.end_query(name, commit.position);
            }
        }
    }

    /// The same if nobody knows what has happened.
    fn end_all_undefined(&mut self) {
        let gone = |name: &&Arc<str>| self.views.snapshot().query(name).is_err();
        let names: Vec<Arc<str>> =
            self.watchers.names().map(|(name, _)| name).filter(gone).cloned().collect();
        names.iter().for_each(|name| self.end_query(name, u64::MAX));
    }

    fn end_query(&mut self, name: &Arc<str>, before: u64) {
        for (id, watcher) in self.watchers.of_query(name, before) {
            self.unwatch(id);
            end(id, &watcher, undefined(name));
        }
    }

    /// Ends all subscriptions of a view that is closed.
    fn end_all(&mut self, view: ViewId, error: &Error) {
        for (id, watcher) in self.watchers.dismiss(view) {
            end(id, &watcher, error.clone());
        }
    }

    /// Tells everybody who watches a view that its result has changed: written once as a whole, and once as a patch, if
    /// anybody wants the one or the other.
    fn deliver(&mut self, view: ViewId) {
        let Some(audience) = self.watchers.audience(view) else { return };
        audience.pushes += 1;
        let (some_full, some_patch) = (audience.full > 0, audience.full < audience.watchers.len());
        let position = self.views.changed_at(view);
        let written = (|| {
            let whole = if some_full { Some(self.views.result(view)?.map(body)) } else { None };
            let patch = if some_patch { Some(self.views.patch(view)?) } else { None };
            Ok::<_, StoreError>((whole, patch))
        })();
        let (mut whole, patch) = match written {
            Ok(written) => written,
            Err(error) => {
                self.views.close(view);
                self.end_all(view, &error.into());
                return;
            }
        };
        let metrics = &self.shared.metrics;
        metrics.payloads_encoded.increment(u64::from(some_full) + u64::from(some_patch));
        let full = whole.clone().map(|data| Payload::Full { position, data });
        let patch = patch.map(|operations| Payload::Patch { position, ops: operations.into() });
        let length = self.views.length(view);
        let mut failed = None;
        for (id, watcher) in &audience.watchers {
            let payload = match watcher.mode {
                Mode::Full => &full,
                Mode::Patch => &patch,
            };
            let Some(payload) = payload else { continue };
            let mut pushed = watcher.entry.outbox.push(*id, payload, length);
            if pushed == Pushed::NeedsWhole {
                // Written for the first that needs it.
                let data =
                    match whole.take().map_or_else(|| self.views.result(view).map(|text| text.map(body)), Ok)
                    {
                        Ok(data) => data,
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    };
                pushed = watcher.entry.outbox.push_whole(*id, position, data.as_ref());
                whole = Some(data);
            }
            if pushed == Pushed::Merged {
                metrics.pushes_merged.increment(1);
            }
        }
        if let Some(error) = failed {
            self.views.close(view);
            self.end_all(view, &error.into());
        }
    }

    fn push(&self, id: SubscriptionId, watcher: &Entry, payload: &Payload, length: usize) {
        if watcher.outbox.push(id, payload, length) == Pushed::Merged {
            self.shared.metrics.pushes_merged.increment(1);
        }
    }

    fn explain(&mut self, view: ViewId) -> Option<Explained> {
        let explain = self.views.explain(view)?;
        let audience = self.watchers.audience(view);
        let (subscribers, pushes) =
            audience.map_or((0, 0), |audience| (audience.watchers.len(), audience.pushes));
        Some(Explained { view: explain, subscribers, pushes })
    }
}

/// A text that the views keep, as the sockets want it: not copied.
fn body(text: Arc<str>) -> Body {
    struct Shared(Arc<str>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    // It was text before.
    Body::try_from(Bytes::from_owner(Shared(text))).unwrap_or_default()
}

fn failed() -> Error {
    Error::new(Code::InternalError, "The live query failed and was ended; subscribe again")
}

fn undefined(query: &str) -> Error {
    Error::new(Code::QueryNotDefined, format!("Query \"{query}\" is not defined any more"))
}

/// Lets the connection free the slot and tell its client.
fn end(id: SubscriptionId, watcher: &Entry, error: Error) {
    if let Some(actor) = watcher.actor() {
        // A connection that is gone has freed everything already.
        let _ = actor.cast(ConnectionMessage::Ended { id, error });
    }
}

#[cfg(test)]
mod tests {
    //! Here and not among the integration tests, because only a message that exists in tests can make this actor panic.

    use serde_json::json;

    use super::LiveMessage;
    use crate::integration::{Client, address, define_items, memory};

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_panic_every_subscription_goes_on() {
        let server = memory().bind().await.unwrap();
        define_items(&server).await;
        let mut one = Client::connect(address(&server)).await;
        let mut other = Client::connect(address(&server)).await;
        let items =
            one.data(json!({"type": "store.subscribe", "query": "all-items"})).await["subscriptionId"]
                .clone();
        let count =
            other.data(json!({"type": "store.subscribe", "query": "item-count"})).await["subscriptionId"]
                .clone();

        server.inner.shared.feed.tell(LiveMessage::Panic);
        // Each is told the state of the moment in which it was taken up again.
        assert_eq!(one.push(&items).await, json!([]));
        assert_eq!(other.push(&count).await, json!(0));

        one.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
        assert_eq!(one.push(&items).await[0]["n"], 1);
        assert_eq!(other.push(&count).await, json!(1));
        other.data(json!({"type": "store.unsubscribe", "subscriptionId": count})).await;
        one.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 2}})).await;
        one.push(&items).await;
        other.silent().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_leaves_while_it_is_taken_up_again_is_forgotten() {
        let gate = std::sync::Arc::new(std::sync::RwLock::new(()));
        let entrance = std::sync::Arc::clone(&gate);
        let server = memory().query("gate", move |_, _| {
            let _open = entrance.read();
            Ok(json!(1))
        });
        let server = server.bind().await.unwrap();
        let mut client = Client::connect(address(&server)).await;
        let mut other = Client::connect(address(&server)).await;
        let watch = json!({"type": "store.subscribe", "query": "gate"});
        let id = client.data(watch.clone()).await["subscriptionId"].clone();
        other.data(watch).await;

        let closed = gate.write().unwrap();
        server.inner.shared.feed.tell(LiveMessage::Panic);
        // It is worked out anew for both, who leave before it is.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
        other.close().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        drop(closed);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let stats = server.stats().await.unwrap();
        assert_eq!(stats["store"]["queries"]["activeSubscriptions"], 0);
        assert_eq!(stats["connections"]["totalStoreSubscriptions"], 0);
    }
}
