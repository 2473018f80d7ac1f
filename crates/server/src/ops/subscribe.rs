//! `store.subscribe` and `store.unsubscribe`: from a wish to a place in a view.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dunlin_protocol::{Code, Error, Fingerprint, Object, Queried, Resume, Subscribe, frame};
use dunlin_store::{Guard, LiveQuery, Query};

use super::gate;
use crate::connection::{ConnectionState, Outbox, SubscriptionId, ask_live};
use crate::live::{Judged, LiveMessage, Start, Told, Watch};
use crate::registry::About;
use crate::shared::Shared;

/// What a query that a client gives is called where a message names it, and where subscriptions are counted by name.
pub(super) const INLINE: &str = "(inline)";

pub(super) async fn subscribe(state: &mut ConnectionState, wish: &Subscribe<'_>) -> Result<String, Error> {
    take_slot(state, About::Store)?;
    match watch(state, wish).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            state.seat().free_subscription(About::Store);
            Err(error)
        }
    }
}

/// Takes a place for one more subscription of this connection, if it may have one.
pub(super) fn take_slot(state: &ConnectionState, about: About) -> Result<(), Error> {
    let most = &state.shared.config.connection_limits;
    let (own, total) = (most.max_subscriptions_per_connection, most.max_total_subscriptions);
    if state.subscriptions.len() + state.heard.len() >= own {
        return Err(Error::new(
            Code::RateLimited,
            format!("Subscription limit reached (max {own} per connection)"),
        ));
    }
    if !state.seat().take_subscription(about, total) {
        return Err(Error::new(
            Code::RateLimited,
            format!("Global subscription limit reached (max {total})"),
        ));
    }
    Ok(())
}

async fn watch(state: &mut ConnectionState, wish: &Subscribe<'_>) -> Result<String, Error> {
    let Found { name, definition, asked, buckets } = find(state, wish)?;
    let guard = state.guard()?;
    let source = asked.guarded(&guard, &state.shared.published.snapshot())?;
    let id = state.shared.last_subscription.fetch_add(1, Ordering::Relaxed) + 1;
    let mode = wish.mode.unwrap_or_default();
    let epoch = told_epoch(state.shared.published.load().epoch(), (source != asked).then_some(&guard));
    let resume = wish.resume.as_ref().map(|resume| {
        // What was told under other rights is another history: nobody knows what of it the client has seen.
        let known = if resume.epoch == epoch {
            state.shared.published.load().epoch().to_owned()
        } else {
            String::new()
        };
        Resume { epoch: known, position: resume.position }
    });
    let watcher = Arc::clone(state.entry());
    let judged = match &state.shared.auth {
        None => Judged::All,
        Some(_) => Judged::Only(buckets.into()),
    };
    let outbox = &state.entry().outbox;
    // The first push must not overtake the result.
    outbox.hold();
    let opening = outbox.open(id, mode);
    let mut watch =
        Watch { query: name, definition, asked, source, judged, id, opening, mode, resume, watcher };
    let mut place = Asked { shared: Arc::clone(&state.shared), outbox: Arc::clone(outbox), id, kept: false };
    let joined = ask_live(&state.shared, |reply| LiveMessage::Watch {
        watch: Box::new(watch.clone()),
        reply: Some(reply),
    })
    .await;
    let joined = joined?;
    // What it reads may be more than was known: by a reference that was changed meanwhile, and of code nothing was known. Whoever
    // may not watch it was watching for a moment; nothing of it leaves the outbox.
    let is_code = matches!(watch.asked, LiveQuery::Programmatic { .. });
    if is_code || !watch.judged.covers(&joined.buckets) {
        gate::judge_watching(state, &watch.query, &joined.buckets).settled().await?;
        if let Judged::Only(judged) = &mut watch.judged {
            *judged = joined.buckets.into();
        }
    }
    let told = joined.told?;
    place.kept = true;
    drop(place);
    state.entry().outbox.begun(id, told.position);
    state.subscriptions.insert(id, watch);
    Ok(answer(id, told, wish.is_extended().then_some(&epoch)))
}

/// The epoch as the watcher of a query is told it. Where rules narrow the query it names these too: a position says nothing
/// about what somebody has seen under others.
fn told_epoch(epoch: &str, narrowed_by: Option<&Guard>) -> String {
    match narrowed_by {
        None => epoch.to_owned(),
        Some(guard) => {
            let rules = Fingerprint::of("rules").text("guard", guard.view_key()).get();
            format!("{epoch}-{rules:016x}")
        }
    }
}

/// A subscription that its connection does not know yet. Dropped, also by a panic of the permissions, it is given back.
struct Asked {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    id: SubscriptionId,
    kept: bool,
}

impl Drop for Asked {
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
    asked: LiveQuery,
    /// What it reads, as far as that is known: nothing, if it is code.
    buckets: Vec<Arc<str>>,
}

fn find(state: &ConnectionState, wish: &Subscribe<'_>) -> Result<Found, Error> {
    let Subscribe { query, params, .. } = wish;
    let view = state.shared.published.load();
    match query {
        Queried::Inline(config) => {
            let query = inline(config)?;
            query.check_against(&view)?;
            let asked = LiveQuery::Declarative(query.bind(params)?);
            Ok(Found { name: INLINE.into(), definition: None, asked, buckets: query.buckets(&view) })
        }
        Queried::Named(name) => {
            if let Some(query) = state.shared.programmatic.get(name) {
                let asked = LiveQuery::Programmatic {
                    query: query.clone(),
                    params: Arc::new(params.clone()),
                    guard: Guard::default(),
                };
                return Ok(Found {
                    name: name.as_ref().into(),
                    definition: None,
                    asked,
                    buckets: Vec::new(),
                });
            }
            let query = view.query(name)?;
            let asked = LiveQuery::Declarative(query.bind(params)?);
            let definition = Some(Arc::clone(query.config()));
            Ok(Found { name: name.as_ref().into(), definition, asked, buckets: query.buckets(&view) })
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
    state.seat().free_subscription(About::Store);
    state.entry().outbox.forget(id);
    state.shared.feed.tell(LiveMessage::Unwatch(vec![id]));
    Ok("{\"unsubscribed\":true}".to_owned())
}

/// The live query of this connection that has this name on the wire.
pub(super) fn own<'a>(
    state: &'a ConnectionState,
    subscription: &str,
) -> Result<(SubscriptionId, &'a Watch), Error> {
    let id = number(subscription);
    id.and_then(|id| Some((id, state.subscriptions.get(&id)?))).ok_or_else(|| not_found(subscription))
}

/// The number in the name of a subscription.
pub(super) fn number(subscription: &str) -> Option<SubscriptionId> {
    let id: Option<SubscriptionId> = subscription.strip_prefix("sub-").and_then(|number| number.parse().ok());
    id.filter(|id| format!("sub-{id}") == subscription)
}

pub(super) fn not_found(subscription: &str) -> Error {
    Error::new(Code::NotFound, format!("Subscription \"{subscription}\" not found"))
}
