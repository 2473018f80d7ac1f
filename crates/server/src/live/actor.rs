//! Owns every live query: one view per distinct query and parameters, whose changes are told once to all who watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_protocol::{Code, Error};
use dunlin_store::{Change, Commit, LiveExplain, LiveQuery, LiveStep, Snapshot, ViewId, ViewLimits, Views};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::admission::{Gap, Replayed, refuse};
use super::feed::{ChangeFeed, News};
use super::watch::{Joined, Waiting, Watch};
use super::watchers::Watchers;
use super::workshop::{Made, Missed, Workshop};
use crate::connection::{ConnectionMessage, SubscriptionId};
use crate::metrics::{Metrics, count};
use crate::published::Published;
use crate::registry::Entry;

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
}

pub(crate) struct LiveState {
    pub(super) shared: LiveArguments,
    /// While nobody watches anything they are in the feed, and these are none.
    pub(super) views: Box<Views>,
    pub(super) watchers: Watchers,
    pub(super) workshop: Workshop,
    /// Who waits for a view that is being worked out for the first time.
    pub(super) opening: HashMap<LiveQuery, Vec<Waiting>>,
    /// Who waits for one that is being worked out anew.
    pub(super) renewing: HashMap<ViewId, Vec<Waiting>>,
    /// How often in a row a view was of no use when it was worked out: too much had happened meanwhile.
    pub(super) outdated: HashMap<LiveQuery, u32>,
    /// What was missed by those who come back. Many of them have missed the same.
    pub(super) missed: HashMap<Gap, Replayed>,
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
            views: shared
                .feed
                .unpark()
                .unwrap_or_else(|| Box::new(Views::new(shared.published.snapshot(), shared.limits))),
            shared,
            watchers: Watchers::default(),
            workshop: Workshop::new(myself),
            opening: HashMap::new(),
            renewing: HashMap::new(),
            missed: HashMap::new(),
            outdated: HashMap::new(),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<LiveMessage>,
        message: LiveMessage,
        state: &mut LiveState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(views) = state.shared.feed.unpark() {
            state.views = views;
        }
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
        state.park();
        Ok(())
    }
}

impl LiveState {
    fn measure(&self) {
        let metrics = &self.shared.metrics;
        metrics.views.set(count(self.views.len()));
        metrics.views_unindexed.set(count(self.views.unindexed()));
        metrics.views_bytes.set(count(self.views.bytes()));
        metrics.history_bytes.set(count(self.views.history_bytes()));
    }

    /// Leaves the views in the feed while nobody watches anything.
    fn park(&mut self) {
        while self.views.is_empty() && self.opening.is_empty() && self.missed.is_empty() {
            let nothing = Box::new(Views::new(Snapshot::new(""), self.shared.limits));
            let views = std::mem::replace(&mut self.views, nothing);
            let Some(views) = self.shared.feed.park(views) else { return };
            self.views = views;
            self.changed();
        }
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

    /// Takes the views to the newest state and tells everybody what that has changed.
    pub(super) fn changed(&mut self) {
        let Some(News { snapshot, commits, .. }) = self.shared.feed.take() else { return };
        self.forget_missed();
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
                for commit in groups.iter().flat_map(|group| group.iter()) {
                    self.end_undefined(commit);
                }
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
            for waiting in waiting {
                refuse(waiting, error.clone(), Vec::new());
            }
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

    /// The same if nobody knows what has happened: a query of the same name may be another one now.
    fn end_all_undefined(&mut self) {
        let names: Vec<Arc<str>> = self.watchers.names().map(|(name, _)| Arc::clone(name)).collect();
        for name in &names {
            let query = self.views.snapshot().query(name).ok();
            let config = query.map(|query| &**query.config());
            let others = self.watchers.of_other(name, config);
            self.end_of_query(name, others);
        }
    }

    fn end_query(&mut self, name: &Arc<str>, before: u64) {
        self.end_of_query(name, self.watchers.of_query(name, before));
    }

    fn end_of_query(&mut self, name: &str, watchers: Vec<(SubscriptionId, Arc<Entry>)>) {
        for (id, watcher) in watchers {
            self.unwatch(id);
            end(id, &watcher, undefined(name));
        }
    }

    /// Ends all subscriptions of a view that is closed.
    pub(super) fn end_all(&mut self, view: ViewId, error: &Error) {
        for (id, watcher) in self.watchers.dismiss(view) {
            end(id, &watcher, error.clone());
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

pub(super) fn undefined(query: &str) -> Error {
    Error::new(Code::QueryNotDefined, format!("Query \"{query}\" is not defined any more"))
}

/// Lets the connection free the slot and tell its client.
pub(super) fn end(id: SubscriptionId, watcher: &Entry, error: Error) {
    if let Some(actor) = watcher.actor() {
        // A connection that is gone has freed everything already.
        let _ = actor.cast(ConnectionMessage::Ended { id, error });
    }
}

/// Lets the connection judge whether it may go on watching; until then it does not.
pub(super) fn ask_again(id: SubscriptionId, watcher: &Entry, buckets: Vec<Arc<str>>) {
    if let Some(actor) = watcher.actor() {
        // A connection that is gone watches nothing.
        let _ = actor.cast(ConnectionMessage::ReadsMore { id, buckets });
    }
}

#[cfg(test)]
mod tests {
    //! Here and not among the integration tests, because only a message that exists in tests can make this actor panic.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

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
        // Nobody has missed anything, so nobody is told anything.
        one.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 1}})).await;
        assert_eq!(one.push(&items).await[0]["n"], 1);
        assert_eq!(other.push(&count).await, json!(1));
        other.data(json!({"type": "store.unsubscribe", "subscriptionId": count})).await;
        one.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 2}})).await;
        one.push(&items).await;
        other.silent().await;
    }

    /// Long enough for what is under way to get where it is going.
    const PAUSE: Duration = Duration::from_millis(300);

    #[tokio::test(flavor = "multi_thread")]
    async fn who_leaves_while_it_is_taken_up_again_is_forgotten() {
        let gate = Arc::new(AtomicBool::new(true));
        let entrance = Arc::clone(&gate);
        let server = memory().query("gate", move |_, _| {
            while !entrance.load(Ordering::SeqCst) {
                std::thread::sleep(PAUSE / 100);
            }
            Ok(json!(1))
        });
        let server = server.bind().await.unwrap();
        let mut client = Client::connect(address(&server)).await;
        let mut other = Client::connect(address(&server)).await;
        let watch = json!({"type": "store.subscribe", "query": "gate"});
        let id = client.data(watch.clone()).await["subscriptionId"].clone();
        other.data(watch).await;

        gate.store(false, Ordering::SeqCst);
        server.inner.shared.feed.tell(LiveMessage::Panic);
        // It is worked out anew for both, who leave before it is.
        tokio::time::sleep(PAUSE).await;
        client.data(json!({"type": "store.unsubscribe", "subscriptionId": id})).await;
        other.close().await;
        tokio::time::sleep(PAUSE).await;
        gate.store(true, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
        let stats = server.stats().await.unwrap();
        assert_eq!(stats["store"]["queries"]["activeSubscriptions"], 0);
        assert_eq!(stats["connections"]["totalStoreSubscriptions"], 0);
    }
}
