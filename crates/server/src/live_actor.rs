//! Owns every live query: one view per distinct query and parameters, evaluated once and encoded once per change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, frame};
use dunlin_store::{BoundQuery, BucketId, Snapshot};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::connection::{ConnectionMessage, SubscriptionId};
use crate::feed::ChangeFeed;
use crate::limits;
use crate::metrics::{Metrics, count};
use crate::published::Published;
use crate::registry::Entry;

/// JSON text of a view's result; `None` is an undefined one (the minimum of nothing).
pub(crate) type Encoded = Option<Arc<str>>;

pub(crate) enum LiveMessage {
    /// Watch a query. With a `reply`, the result goes there; without (after a restart), it is pushed.
    Watch { watch: Watch, reply: Option<oneshot::Sender<Result<Encoded, Error>>> },
    /// These subscriptions have ended by the will of their connection.
    Unwatch(Vec<SubscriptionId>),
    /// The change feed has something.
    Changed,
    /// How many subscriptions each query has.
    Count(oneshot::Sender<HashMap<Arc<str>, usize>>),
    /// Test only: what a bug in this actor would do.
    #[cfg(test)]
    Panic,
}

/// A wish to watch a query.
#[derive(Clone)]
pub(crate) struct Watch {
    /// The query's name.
    pub(crate) query: Arc<str>,
    /// Its definition when it was bound.
    pub(crate) definition: Arc<str>,
    pub(crate) bound: BoundQuery,
    pub(crate) id: SubscriptionId,
    /// The connection it belongs to.
    pub(crate) watcher: Arc<Entry>,
}

pub(crate) struct LiveActor;

/// What the actor needs and does not own.
#[derive(Clone)]
pub(crate) struct LiveArguments {
    pub(crate) published: Arc<Published>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) metrics: Arc<Metrics>,
}

type ViewId = u64;

pub(crate) struct LiveState {
    shared: LiveArguments,
    views: BTreeMap<ViewId, View>,
    by_query: HashMap<BoundQuery, ViewId>,
    /// Which views read which bucket: a commit looks at these only.
    by_bucket: HashMap<BucketId, BTreeSet<ViewId>>,
    by_subscription: HashMap<SubscriptionId, ViewId>,
    last_view: ViewId,
}

/// One distinct live query with all who watch it.
struct View {
    bound: BoundQuery,
    bucket: BucketId,
    result: Encoded,
    /// Position of the state that `result` was worked out from.
    position: u64,
    watches: BTreeMap<SubscriptionId, Watcher>,
}

/// Who watches a view.
struct Watcher {
    /// By this name of the query.
    query: Arc<str>,
    /// The query was defined at this position. One that is undefined later ends the subscription.
    since: u64,
    entry: Arc<Entry>,
}

impl Actor for LiveActor {
    type Msg = LiveMessage;
    type State = LiveState;
    type Arguments = LiveArguments;

    async fn pre_start(
        &self,
        _: ActorRef<LiveMessage>,
        shared: LiveArguments,
    ) -> Result<LiveState, ActorProcessingErr> {
        Ok(LiveState {
            shared,
            views: BTreeMap::new(),
            by_query: HashMap::new(),
            by_bucket: HashMap::new(),
            by_subscription: HashMap::new(),
            last_view: 0,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<LiveMessage>,
        message: LiveMessage,
        state: &mut LiveState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LiveMessage::Watch { watch, reply } => state.watch(watch, reply).await,
            LiveMessage::Unwatch(ids) => ids.into_iter().for_each(|id| state.unwatch(id)),
            LiveMessage::Changed => state.changed().await,
            LiveMessage::Count(reply) => {
                let mut counts = HashMap::new();
                for watcher in state.views.values().flat_map(|view| view.watches.values()) {
                    *counts.entry(Arc::clone(&watcher.query)).or_insert(0) += 1;
                }
                let _ = reply.send(counts);
            }
            #[cfg(test)]
            LiveMessage::Panic => panic!("asked to"),
        }
        state.shared.metrics.views.set(count(state.views.len()));
        Ok(())
    }
}

impl LiveState {
    async fn watch(&mut self, watch: Watch, reply: Option<oneshot::Sender<Result<Encoded, Error>>>) {
        let id = watch.id;
        let outcome = self.join(watch.clone()).await;
        match (reply, outcome) {
            (Some(reply), outcome) => {
                let failed = outcome.is_err();
                // The connection may have ended while it waited; then nobody would ever unwatch.
                if reply.send(outcome).is_err() && !failed {
                    self.unwatch(id);
                }
            }
            (None, Ok(result)) => deliver(&self.shared.metrics, id, &watch.watcher, result.as_deref()),
            (None, Err(error)) => end(id, &watch.watcher, error),
        }
    }

    /// Adds the subscription to its view, making the view if it is the first. The state it starts from is the published
    /// one: it holds every write that was answered before.
    async fn join(&mut self, watch: Watch) -> Result<Encoded, Error> {
        let since = self.defined(&watch)?;
        let existing = self.by_query.get(&watch.bound).copied();
        let view_id = match existing {
            // Brought up to date first, so that the result is not older than what the connection has already read.
            Some(id) => {
                self.refresh(id, &self.shared.published.snapshot()).await;
                self.views.contains_key(&id).then_some(id)
            }
            None => None,
        };
        let view_id = match view_id {
            Some(id) => id,
            None => self.open(&watch.bound).await?,
        };
        let view = self.views.get_mut(&view_id).ok_or_else(evaluation_failed)?;
        view.watches.insert(watch.id, Watcher { query: watch.query, since, entry: watch.watcher });
        self.by_subscription.insert(watch.id, view_id);
        Ok(view.result.clone())
    }

    /// The query may have been undefined since the connection looked it up. The position at which it is still there.
    fn defined(&self, watch: &Watch) -> Result<u64, Error> {
        let snapshot = self.shared.published.load();
        if *snapshot.query(&watch.query)?.config() == watch.definition {
            Ok(snapshot.position())
        } else {
            Err(undefined(&watch.query))
        }
    }

    async fn open(&mut self, bound: &BoundQuery) -> Result<ViewId, Error> {
        let snapshot = self.shared.published.snapshot();
        let bucket = snapshot.bucket(bound.bucket())?.id();
        let result = self.evaluate(bound, &snapshot).await?;
        self.last_view += 1;
        let id = self.last_view;
        self.views.insert(
            id,
            View {
                bound: bound.clone(),
                bucket,
                result,
                position: snapshot.position(),
                watches: BTreeMap::new(),
            },
        );
        self.by_query.insert(bound.clone(), id);
        self.by_bucket.entry(bucket).or_default().insert(id);
        Ok(id)
    }

    fn unwatch(&mut self, id: SubscriptionId) {
        let Some(view_id) = self.by_subscription.remove(&id) else { return };
        let Some(view) = self.views.get_mut(&view_id) else { return };
        view.watches.remove(&id);
        if view.watches.is_empty() {
            self.close(view_id);
        }
    }

    fn close(&mut self, id: ViewId) {
        let Some(view) = self.views.remove(&id) else { return };
        self.by_query.remove(&view.bound);
        if let Some(siblings) = self.by_bucket.get_mut(&view.bucket) {
            siblings.remove(&id);
            if siblings.is_empty() {
                self.by_bucket.remove(&view.bucket);
            }
        }
        for subscription in view.watches.keys() {
            self.by_subscription.remove(subscription);
        }
    }

    /// Brings everything that may have changed up to the published state.
    async fn changed(&mut self) {
        // Taken before the snapshot is loaded: a later change wakes us again, and is at worst looked at twice.
        let changes = self.shared.feed.take();
        let snapshot = self.shared.published.snapshot();
        if !changes.undefined.is_empty() || changes.everything {
            self.end_undefined(&changes.undefined, changes.everything, &snapshot);
        }
        let affected: Vec<ViewId> = if changes.everything {
            self.views.keys().copied().collect()
        } else {
            changes
                .buckets
                .iter()
                .filter_map(|bucket| self.by_bucket.get(bucket))
                .flatten()
                .copied()
                .collect()
        };
        for id in affected {
            self.refresh(id, &snapshot).await;
        }
    }

    /// Ends the subscriptions of queries that were undefined.
    fn end_undefined(&mut self, names: &BTreeMap<Arc<str>, u64>, everything: bool, snapshot: &Snapshot) {
        let gone = |watcher: &Watcher| {
            names.get(&watcher.query).is_some_and(|at| watcher.since < *at)
                || (everything && snapshot.query(&watcher.query).is_err())
        };
        let ended: Vec<(SubscriptionId, Arc<str>, Arc<Entry>)> = self
            .views
            .values()
            .flat_map(|view| &view.watches)
            .filter(|(_, watcher)| gone(watcher))
            .map(|(id, watcher)| (*id, Arc::clone(&watcher.query), Arc::clone(&watcher.entry)))
            .collect();
        for (id, query, watcher) in ended {
            self.unwatch(id);
            end(id, &watcher, undefined(&query));
        }
    }

    /// Evaluates a view anew and pushes the result if it differs. A view that cannot be evaluated is ended.
    async fn refresh(&mut self, id: ViewId, snapshot: &Snapshot) {
        let Some(view) = self.views.get(&id) else { return };
        if view.position == snapshot.position() {
            return;
        }
        let same_bucket = snapshot.bucket(view.bound.bucket()).is_ok_and(|bucket| bucket.id() == view.bucket);
        let result = if same_bucket {
            self.evaluate(&view.bound, snapshot).await
        } else {
            let name = view.bound.bucket();
            Err(Error::new(Code::BucketNotDefined, format!("Bucket \"{name}\" is not defined any more")))
        };
        match result {
            Ok(result) => {
                let Some(view) = self.views.get_mut(&id) else { return };
                view.position = snapshot.position();
                if view.result != result {
                    for (subscription, watcher) in &view.watches {
                        deliver(&self.shared.metrics, *subscription, &watcher.entry, result.as_deref());
                    }
                    view.result = result;
                }
            }
            Err(error) => {
                let watches: Vec<_> = self
                    .views
                    .get(&id)
                    .into_iter()
                    .flat_map(|view| &view.watches)
                    .map(|(subscription, watcher)| (*subscription, Arc::clone(&watcher.entry)))
                    .collect();
                self.close(id);
                for (subscription, watcher) in watches {
                    end(subscription, &watcher, error.clone());
                }
            }
        }
    }

    /// Runs a query from scratch. A large one runs on a blocking thread; a panic in it is its own failure only.
    async fn evaluate(&self, bound: &BoundQuery, snapshot: &Snapshot) -> Result<Encoded, Error> {
        self.shared.metrics.views_evaluated.increment(1);
        let rows = snapshot.bucket(bound.bucket())?.len();
        let (bound, snapshot) = (bound.clone(), snapshot.clone());
        let run = move || std::panic::catch_unwind(AssertUnwindSafe(|| bound.evaluate(&snapshot)));
        let caught = if rows > limits::INLINE_ROWS {
            tokio::task::spawn_blocking(run).await.map_err(|_| evaluation_failed())?
        } else {
            run()
        };
        let result = caught.map_err(|_| evaluation_failed())??;
        Ok(result.map(Arc::from))
    }
}

fn undefined(query: &str) -> Error {
    Error::new(Code::QueryNotDefined, format!("Query \"{query}\" is not defined any more"))
}

fn evaluation_failed() -> Error {
    Error::new(Code::InternalError, "The live query failed and was ended; subscribe again")
}

fn deliver(metrics: &Metrics, id: SubscriptionId, watcher: &Entry, result: Option<&str>) {
    if watcher.outbox.push(id, frame::push(&format!("sub-{id}"), result).into()) {
        metrics.pushes_merged.increment(1);
    }
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
}
