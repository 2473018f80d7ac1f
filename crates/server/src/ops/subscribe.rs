//! `store.subscribe` and `store.unsubscribe`: from a wish to a place in a view.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dunlin_protocol::{Code, Error, Object, Queried, Subscribe, frame};
use dunlin_store::{Guard, LiveQuery, Query};

use super::authorise_programmatic;
use crate::connection::{ConnectionState, Outbox, SubscriptionId, ask_live};
use crate::live::{LiveMessage, Start, Told, Watch};
use crate::shared::Shared;

/// What a query that a client gives is called where a message names it, and where subscriptions are counted by name.
pub(super) const INLINE: &str = "(inline)";

pub(super) async fn subscribe(state: &mut ConnectionState, wish: &Subscribe<'_>) -> Result<String, Error> {
    let most = &state.shared.config.connection_limits;
    let (own, total) = (most.max_subscriptions_per_connection, most.max_total_subscriptions);
    if state.subscriptions.len() >= own {
        return Err(Error::new(
            Code::RateLimited,
            format!("Subscription limit reached (max {own} per connection)"),
        ));
    }
    if !state.seat().take_subscription(total) {
        return Err(Error::new(
            Code::RateLimited,
            format!("Global subscription limit reached (max {total})"),
        ));
    }
    match watch(state, wish).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            state.seat().free_subscription();
            Err(error)
        }
    }
}

async fn watch(state: &mut ConnectionState, wish: &Subscribe<'_>) -> Result<String, Error> {
    let Found { name, definition, source } = find(state, wish)?;
    let id = state.shared.last_subscription.fetch_add(1, Ordering::Relaxed) + 1;
    let mode = wish.mode.unwrap_or_default();
    let resume = wish.resume.clone();
    let watcher = Arc::clone(state.entry());
    let watch = Watch { query: name, definition, source, id, mode, resume, watcher };
    let outbox = &state.entry().outbox;
    // The first push must not overtake the result.
    outbox.hold();
    outbox.open(id, mode);
    let mut asked = Asked { shared: &state.shared, outbox, id, kept: false };
    let joined = ask_live(&state.shared, |reply| LiveMessage::Watch {
        watch: Box::new(watch.clone()),
        reply: Some(reply),
    })
    .await;
    let told = joined.and_then(|joined| {
        authorise_programmatic(state, &watch.query, &joined.buckets)?;
        joined.told
    });
    // Whoever may not watch it was watching for a moment; nothing of it leaves the outbox.
    let told = told?;
    asked.kept = true;
    drop(asked);
    state.entry().outbox.begun(id, told.position);
    state.subscriptions.insert(id, watch);
    Ok(answer(id, told, wish.is_extended().then_some(state.shared.published.load().epoch())))
}

/// A subscription that its connection does not know yet. Dropped, also by a panic of the permissions, it is given back.
struct Asked<'s> {
    shared: &'s Shared,
    outbox: &'s Outbox,
    id: SubscriptionId,
    kept: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.outbox.forget(self.id);
            self.shared.feed.tell(LiveMessage::Unwatch(vec![self.id]));
        }
    }
}

/// The answer to a subscribe, as JSON text; with the epoch for a client that knows positions.
fn answer(id: SubscriptionId, told: Told, epoch: Option<&str>) -> String {
    let head = format!("{{\"subscriptionId\":\"sub-{id}\"");
    let Some(epoch) = epoch else {
        return match told.start {
            Start::Data(Some(data)) => [&head, ",\"data\":", data.as_str(), "}"].concat(),
            // Who asks for no more than protocol 1.0.0 is not resumed.
            Start::Data(None) | Start::Resumed(_) => head + "}",
        };
    };
    let place = format!(",\"epoch\":{},\"position\":{}", frame::json(epoch), told.position);
    match told.start {
        Start::Resumed(operations) => {
            [&head, &place, ",\"resumed\":true,\"patch\":[", &operations, "]}"].concat()
        }
        Start::Data(data) => {
            // Where there are patches there is a value that they change.
            let data = data.as_ref().map_or("null", |data| data.as_str());
            [&head, ",\"data\":", data, &place, ",\"resumed\":false}"].concat()
        }
    }
}

/// What shall be watched.
struct Found {
    name: Arc<str>,
    /// Its definition, where it can be undefined.
    definition: Option<Arc<str>>,
    source: LiveQuery,
}

fn find(state: &ConnectionState, wish: &Subscribe<'_>) -> Result<Found, Error> {
    let Subscribe { query, params, .. } = wish;
    let view = state.shared.published.load();
    match query {
        Queried::Inline(config) => {
            let query = inline(config)?;
            query.check_against(&view)?;
            let source = LiveQuery::Declarative(query.bind(params)?);
            Ok(Found { name: INLINE.into(), definition: None, source })
        }
        Queried::Named(name) => {
            let (definition, source) = if let Some(query) = state.shared.programmatic.get(name) {
                let (query, params, guard) = (query.clone(), Arc::new(params.clone()), Guard::default());
                (None, LiveQuery::Programmatic { query, params, guard })
            } else {
                let query = view.query(name)?;
                (Some(Arc::clone(query.config())), LiveQuery::Declarative(query.bind(params)?))
            };
            Ok(Found { name: name.as_ref().into(), definition, source })
        }
    }
}

/// A query that a client gives, checked like one that is defined.
pub(super) fn inline(config: &Object) -> Result<Query, Error> {
    Ok(Query::parse(INLINE, config)?)
}

pub(super) fn unsubscribe(state: &mut ConnectionState, subscription: &str) -> Result<String, Error> {
    let (id, _) = own(state, subscription)?;
    state.subscriptions.remove(&id);
    state.seat().free_subscription();
    state.entry().outbox.forget(id);
    state.shared.feed.tell(LiveMessage::Unwatch(vec![id]));
    Ok("{\"unsubscribed\":true}".to_owned())
}

/// The subscription of this connection that has this name on the wire.
pub(super) fn own<'a>(
    state: &'a ConnectionState,
    subscription: &str,
) -> Result<(SubscriptionId, &'a Watch), Error> {
    let id: Option<SubscriptionId> = subscription.strip_prefix("sub-").and_then(|number| number.parse().ok());
    let id = id.filter(|id| format!("sub-{id}") == subscription);
    id.and_then(|id| Some((id, state.subscriptions.get(&id)?)))
        .ok_or_else(|| Error::new(Code::NotFound, format!("Subscription \"{subscription}\" not found")))
}
