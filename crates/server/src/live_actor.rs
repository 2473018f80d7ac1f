//! Owns every live query: one view per distinct query and parameters, evaluated once and encoded once per change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Mode, Resume};
use dunlin_store::{Bucket, BucketId, Reads, Snapshot};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::connection::{ConnectionMessage, Payload, Pushed, SubscriptionId};
use crate::feed::ChangeFeed;
use crate::live_source::{Encoded, Evaluated, Source, SourceKey};
use crate::metrics::{Metrics, count};
use crate::published::Published;
use crate::registry::Entry;

pub(crate) enum LiveMessage {
    /// Watch a query. With a `reply`, the result goes there; without (after a restart), it is pushed.
    Watch { watch: Watch, reply: Option<oneshot::Sender<Joined>> },
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
    /// Its definition when it was bound; none of a query that is part of the program.
    pub(crate) definition: Option<Arc<str>>,
    pub(crate) source: Source,
    pub(crate) id: SubscriptionId,
    /// What its pushes hold.
    #[expect(dead_code, reason = "until views are maintained the outbox alone has to know")]
    pub(crate) mode: Mode,
    /// What the client has already.
    #[expect(dead_code, reason = "until views keep their history everybody gets the whole result")]
    pub(crate) resume: Option<Resume>,
    /// The connection it belongs to.
    pub(crate) watcher: Arc<Entry>,
}

/// What came of that wish.
pub(crate) struct Joined {
    /// The result now; after an error nothing is watched.
    pub(crate) result: Result<Encoded, Error>,
    /// The commit it shows.
    pub(crate) position: u64,
    /// The buckets that the query has read for it, or asked for.
    pub(crate) buckets: Vec<Arc<str>>,
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
    by_source: HashMap<SourceKey, ViewId>,
    /// Which views read which bucket: a commit looks at these only.
    by_bucket: HashMap<BucketId, BTreeSet<ViewId>>,
    /// The views that have asked for a bucket that is not defined: a definition looks at these.
    missing_a_bucket: BTreeSet<ViewId>,
    by_subscription: HashMap<SubscriptionId, ViewId>,
    last_view: ViewId,
}

/// One distinct live query with all who watch it.
struct View {
    source: Source,
    /// The bucket whose end is the view's end.
    bucket: Option<BucketId>,
    /// What the last evaluation has read.
    reads: Reads,
    result: Encoded,
    /// Position of the state that `result` was worked out from.
    position: u64,
    watches: BTreeMap<SubscriptionId, Watcher>,
}

/// Who watches a view.
struct Watcher {
    /// By this name of the query.
    query: Arc<str>,
    /// The query was defined at this position. One that is undefined later ends the subscription; one that is part of the
    /// program never is.
    since: Option<u64>,
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
            by_source: HashMap::new(),
            by_bucket: HashMap::new(),
            missing_a_bucket: BTreeSet::new(),
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
    async fn watch(&mut self, watch: Watch, reply: Option<oneshot::Sender<Joined>>) {
        let (id, watcher) = (watch.id, Arc::clone(&watch.watcher));
        let joined = self.join(watch).await;
        match (reply, joined.result) {
            (Some(reply), result) => {
                let failed = result.is_err();
                // The connection may have ended while it waited; then nobody would ever unwatch.
                if reply.send(Joined { result, ..joined }).is_err() && !failed {
                    self.unwatch(id);
                }
            }
            (None, Ok(data)) => {
                let payload = Payload::Full { position: joined.position, data };
                deliver(&self.shared.metrics, id, &watcher, &payload);
            }
            (None, Err(error)) => end(id, &watcher, error),
        }
    }

    /// Adds the subscription to its view, making the view if it is the first. The state it starts from is the published
    /// one: it holds every write that was answered before.
    async fn join(&mut self, watch: Watch) -> Joined {
        let since = match self.defined(&watch) {
            Ok(since) => since,
            Err(error) => return Joined { result: Err(error), position: 0, buckets: Vec::new() },
        };
        let key = watch.source.key();
        if let Some(id) = self.by_source.get(&key).copied() {
            // Brought up to date first, so that the result is not older than what the connection has already read.
            self.refresh(id, &self.shared.published.snapshot()).await;
        }
        let existing = self.by_source.get(&key).copied().filter(|id| self.views.contains_key(id));
        let view_id = match existing {
            Some(id) => id,
            None => match self.open(key, &watch.source).await {
                Ok(id) => id,
                Err(refused) => return refused,
            },
        };
        let Some(view) = self.views.get_mut(&view_id) else {
            let error = Error::new(Code::InternalError, "The live query was ended at once; subscribe again");
            return Joined { result: Err(error), position: 0, buckets: Vec::new() };
        };
        view.watches.insert(watch.id, Watcher { query: watch.query, since, entry: watch.watcher });
        self.by_subscription.insert(watch.id, view_id);
        let buckets = view.reads.buckets().cloned().collect();
        Joined { result: Ok(view.result.clone()), position: view.position, buckets }
    }

    /// The query may have been undefined since the connection looked it up. The position at which it is still there.
    fn defined(&self, watch: &Watch) -> Result<Option<u64>, Error> {
        let Some(definition) = &watch.definition else { return Ok(None) };
        let snapshot = self.shared.published.load();
        if snapshot.query(&watch.query)?.config() == definition {
            Ok(Some(snapshot.position()))
        } else {
            Err(undefined(&watch.query))
        }
    }

    async fn open(&mut self, key: SourceKey, source: &Source) -> Result<ViewId, Joined> {
        let snapshot = self.shared.published.snapshot();
        let bucket = source.bucket().and_then(|name| snapshot.bucket(name).ok()).map(Bucket::id);
        let Evaluated { result, reads } = self.evaluate(source, &snapshot).await;
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let buckets = reads.buckets().cloned().collect();
                return Err(Joined { result: Err(error), position: 0, buckets });
            }
        };
        self.last_view += 1;
        let id = self.last_view;
        self.views.insert(
            id,
            View {
                source: source.clone(),
                bucket,
                reads: Reads::default(),
                result,
                position: snapshot.position(),
                watches: BTreeMap::new(),
            },
        );
        self.by_source.insert(key, id);
        self.file(id, reads);
        Ok(id)
    }

    /// Notes what a view has read now.
    fn file(&mut self, id: ViewId, reads: Reads) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let before = std::mem::replace(&mut view.reads, reads);
        if !before.ids().eq(view.reads.ids()) {
            for bucket in before.ids() {
                if let Some(siblings) = self.by_bucket.get_mut(&bucket) {
                    siblings.remove(&id);
                    if siblings.is_empty() {
                        self.by_bucket.remove(&bucket);
                    }
                }
            }
            for bucket in view.reads.ids() {
                self.by_bucket.entry(bucket).or_default().insert(id);
            }
        }
        if view.reads.misses_a_bucket() {
            self.missing_a_bucket.insert(id);
        } else {
            self.missing_a_bucket.remove(&id);
        }
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
        self.file(id, Reads::default());
        let Some(view) = self.views.remove(&id) else { return };
        self.by_source.remove(&view.source.key());
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
            let mut readers: BTreeSet<ViewId> = BTreeSet::new();
            readers.extend(changes.buckets.keys().filter_map(|bucket| self.by_bucket.get(bucket)).flatten());
            if changes.defined {
                readers.extend(&self.missing_a_bucket);
            }
            let touched = |id: &ViewId| {
                self.views.get(id).is_some_and(|view| view.reads.touched(&snapshot, &changes.buckets))
            };
            readers.into_iter().filter(touched).collect()
        };
        for id in affected {
            self.refresh(id, &snapshot).await;
        }
    }

    /// Ends the subscriptions of queries that were undefined.
    fn end_undefined(&mut self, names: &BTreeMap<Arc<str>, u64>, everything: bool, snapshot: &Snapshot) {
        let gone = |watcher: &Watcher| {
            watcher.since.is_some_and(|since| {
                names.get(&watcher.query).is_some_and(|at| since < *at)
                    || (everything && snapshot.query(&watcher.query).is_err())
            })
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
        let source = view.source.clone();
        let evaluated = match view.lost(snapshot) {
            Some(error) => Evaluated { result: Err(error), reads: Reads::default() },
            None => self.evaluate(&source, snapshot).await,
        };
        match evaluated.result {
            Ok(result) => {
                self.file(id, evaluated.reads);
                let Some(view) = self.views.get_mut(&id) else { return };
                view.position = snapshot.position();
                if view.result != result {
                    let payload = Payload::Full { position: view.position, data: result.clone() };
                    for (subscription, watcher) in &view.watches {
                        deliver(&self.shared.metrics, *subscription, &watcher.entry, &payload);
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

    async fn evaluate(&self, source: &Source, snapshot: &Snapshot) -> Evaluated {
        self.shared.metrics.views_evaluated.increment(1);
        source.evaluate(snapshot).await
    }
}

impl View {
    /// Why it cannot be evaluated any more, if its bucket is gone. One of the same name is another.
    fn lost(&self, snapshot: &Snapshot) -> Option<Error> {
        let name = self.source.bucket()?;
        let now = snapshot.bucket(name).ok().map(Bucket::id);
        (now != self.bucket)
            .then(|| Error::new(Code::BucketNotDefined, format!("Bucket \"{name}\" is not defined any more")))
    }
}

fn undefined(query: &str) -> Error {
    Error::new(Code::QueryNotDefined, format!("Query \"{query}\" is not defined any more"))
}

fn deliver(metrics: &Metrics, id: SubscriptionId, watcher: &Entry, payload: &Payload) {
    if watcher.outbox.push(id, payload, 0) == Pushed::Merged {
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
