//! Operations that need more than a snapshot: live queries, statistics, the connection's own login.

use std::sync::Arc;

use dunlin_protocol::{Code, Error, Operation, Read, frame};
use serde_json::json;

use super::{explain, hello, login, rules, stats, subscribe};
use crate::connection::{ConnectionState, ask_live};
use crate::live::LiveMessage;
use crate::shared::Shared;

/// Runs the operation and returns the JSON text of its `data`.
pub(crate) async fn run(state: &mut ConnectionState, operation: Operation<'_>) -> Result<String, Error> {
    match operation {
        Operation::Hello(wishes) => Ok(hello::hello(state, &wishes)),
        Operation::Subscribe(wish) => subscribe::subscribe(state, &wish).await,
        Operation::Unsubscribe { subscription_id } => subscribe::unsubscribe(state, &subscription_id),
        Operation::Explain(what) => explain::run(state, what).await,
        Operation::RuleRead(read) => rules::read(state, read).await,
        Operation::RulesSubscribe { pattern } => rules::subscribe(state, pattern),
        Operation::RulesUnsubscribe { subscription_id } => rules::unsubscribe(state, &subscription_id),
        Operation::ListQueries => list_queries(&state.shared).await,
        Operation::Read(Read::Buckets) => stats::buckets(state).await,
        Operation::StoreStats => stats::store(state).await,
        Operation::ServerStats => stats::server(state).await,
        Operation::ServerConnections => Ok(frame::json(&state.shared.registry.connections())),
        Operation::Login { token } => {
            let data = login::login(state, token.into_owned()).await?;
            super::judge_again(state).await;
            Ok(data)
        }
        Operation::Logout => Ok(login::logout(state)),
        Operation::WhoAmI => Ok(login::who_am_i(state)),
        Operation::Read(_)
        | Operation::Write { .. }
        | Operation::RuleWrite { .. }
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
