//! Operations that need more than a snapshot: live queries, statistics, the connection's own login.

use std::sync::Arc;

use dunlin_protocol::{Code, Error, Operation, frame};
use dunlin_store::Guard;
use serde_json::{Value, json};

use super::{explain, hello, login, subscribe};
use crate::connection::{ConnectionState, ask_live};
use crate::limits;
use crate::live::LiveMessage;
use crate::shared::Shared;

/// Runs the operation and returns the JSON text of its `data`.
pub(crate) async fn run(state: &mut ConnectionState, operation: Operation<'_>) -> Result<String, Error> {
    match operation {
        Operation::Hello(wishes) => Ok(hello::hello(state, &wishes)),
        Operation::Subscribe(wish) => subscribe::subscribe(state, &wish).await,
        Operation::Unsubscribe { subscription_id } => subscribe::unsubscribe(state, &subscription_id),
        Operation::Explain(what) => explain::run(state, what, &Guard::default()).await,
        Operation::ListQueries => list_queries(&state.shared).await,
        Operation::StoreStats => store_stats(&state.shared).await.map(|stats| frame::json(&stats)),
        Operation::ServerStats => server_stats(&state.shared).await.map(|stats| frame::json(&stats)),
        Operation::ServerConnections => Ok(frame::json(&state.shared.registry.connections())),
        Operation::Login { token } => login::login(state, token.into_owned()).await,
        Operation::Logout => Ok(login::logout(state)),
        Operation::WhoAmI => Ok(login::who_am_i(state)),
        Operation::Read(_)
        | Operation::Write { .. }
        | Operation::Backup { .. }
        | Operation::RevokeSessions { .. } => {
            Err(Error::new(Code::InternalError, "A request took the wrong way through the server"))
        }
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
