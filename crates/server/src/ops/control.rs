//! Operations that need more than a snapshot: live queries, statistics, the connection's own login.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dunlin_protocol::{Code, Error, Operation, frame};
use serde_json::{Value, json};

use super::{authorise_programmatic, explain, login};
use crate::connection::{ConnectionState, SubscriptionId, ask_live};
use crate::limits;
use crate::live_actor::{LiveMessage, Watch};
use crate::live_source::Source;
use crate::shared::Shared;

/// Runs the operation and returns the JSON text of its `data`.
pub(crate) async fn run(state: &mut ConnectionState, operation: Operation<'_>) -> Result<String, Error> {
    match operation {
        Operation::Subscribe { query, params } => subscribe(state, &query, &params).await,
        Operation::Unsubscribe { subscription_id } => unsubscribe(state, &subscription_id),
        Operation::Explain(what) => explain::run(&state.shared, what).await,
        Operation::ListQueries => list_queries(&state.shared).await,
        Operation::StoreStats => store_stats(&state.shared).await.map(|stats| frame::json(&stats)),
        Operation::ServerStats => server_stats(&state.shared).await.map(|stats| frame::json(&stats)),
        Operation::ServerConnections => Ok(frame::json(&state.shared.registry.connections())),
        Operation::Login { token } => login::login(state, token.into_owned()).await,
        Operation::Logout => Ok(login::logout(state)),
        Operation::WhoAmI => Ok(login::who_am_i(state)),
        Operation::Read(_) | Operation::Write(_) => {
            Err(Error::new(Code::InternalError, "A read or write took the wrong way through the server"))
        }
    }
}

async fn subscribe(state: &mut ConnectionState, query: &str, params: &Value) -> Result<String, Error> {
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
    match watch(state, query, params).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            state.seat().free_subscription();
            Err(error)
        }
    }
}

async fn watch(state: &mut ConnectionState, query: &str, params: &Value) -> Result<String, Error> {
    let (source, definition) = if let Some(query) = state.shared.programmatic.get(query) {
        (Source::Programmatic { query: query.clone(), params: Arc::new(params.clone()) }, None)
    } else {
        let view = state.shared.published.load();
        let query = view.query(query)?;
        (Source::Declarative(query.bind(params)?), Some(Arc::clone(query.config())))
    };
    let id = state.shared.last_subscription.fetch_add(1, Ordering::Relaxed) + 1;
    let watch = Watch { query: query.into(), definition, source, id, watcher: Arc::clone(state.entry()) };
    let outbox = &state.entry().outbox;
    // The first push must not overtake the result.
    outbox.hold();
    outbox.open(id);
    let joined =
        ask_live(&state.shared, |reply| LiveMessage::Watch { watch: watch.clone(), reply: Some(reply) })
            .await;
    let result = joined.and_then(|joined| {
        authorise_programmatic(state, query, &joined.buckets)?;
        joined.result
    });
    let result = match result {
        Ok(result) => result,
        Err(error) => {
            // Whoever may not watch it was watching for a moment; nothing of it leaves the outbox.
            state.shared.feed.tell(LiveMessage::Unwatch(vec![id]));
            outbox.forget(id);
            return Err(error);
        }
    };
    state.subscriptions.insert(id, watch);
    Ok(match result {
        Some(data) => format!("{{\"subscriptionId\":\"sub-{id}\",\"data\":{data}}}"),
        None => format!("{{\"subscriptionId\":\"sub-{id}\"}}"),
    })
}

fn unsubscribe(state: &mut ConnectionState, subscription: &str) -> Result<String, Error> {
    let id: Option<SubscriptionId> = subscription.strip_prefix("sub-").and_then(|number| number.parse().ok());
    match id.filter(|id| format!("sub-{id}") == subscription && state.subscriptions.remove(id).is_some()) {
        Some(id) => {
            state.seat().free_subscription();
            state.shared.feed.tell(LiveMessage::Unwatch(vec![id]));
            state.entry().outbox.forget(id);
            Ok("{\"unsubscribed\":true}".to_owned())
        }
        None => Err(Error::new(Code::NotFound, format!("Subscription \"{subscription}\" not found"))),
    }
}

async fn list_queries(shared: &Shared) -> Result<String, Error> {
    let counts = ask_live(shared, LiveMessage::Count).await?;
    let snapshot = shared.published.snapshot();
    let active = |name: &Arc<str>| counts.get(name).copied().unwrap_or(0);
    let declarative = snapshot.queries().map(|query| {
        format!(
            "{{\"name\":{},\"type\":\"declarative\",\"activeSubscriptions\":{},\"config\":{}}}",
            frame::json(&**query.name()),
            active(query.name()),
            query.config()
        )
    });
    let programmatic = shared.programmatic.names().map(|name| {
        frame::json(&json!({"name": &**name, "type": "programmatic", "activeSubscriptions": active(name)}))
    });
    let queries: Vec<String> = declarative.chain(programmatic).collect();
    Ok(format!("{{\"queries\":[{}]}}", queries.join(",")))
}

async fn store_stats(shared: &Shared) -> Result<Value, Error> {
    let counts = ask_live(shared, LiveMessage::Count).await?;
    let mut stats = json!(shared.published.load().stats());
    stats["name"] = json!(shared.config.name);
    let declarative = stats["queries"]["defined"].as_u64().unwrap_or(0);
    stats["queries"]["defined"] = json!(declarative + shared.programmatic.names().len() as u64);
    stats["queries"]["activeSubscriptions"] = json!(counts.values().sum::<usize>());
    stats["persistence"] = json!({"enabled": shared.durable});
    stats["ttl"] = json!({"enabled": true, "checkIntervalMs": limits::EXPIRY_CHECK_MS});
    Ok(stats)
}

/// `server.stats`, and what [`Server::stats`](crate::Server::stats) builds on.
pub(crate) async fn server_stats(shared: &Shared) -> Result<Value, Error> {
    Ok(json!({
        "name": shared.config.name,
        "connectionCount": shared.registry.len(),
        "authEnabled": shared.auth.is_some(),
        "rateLimitEnabled": false,
        "rulesEnabled": false,
        "connections": shared.registry.totals(),
        "store": store_stats(shared).await?,
        "rules": null,
    }))
}
