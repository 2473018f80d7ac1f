//! `store.buckets`, `store.stats` and `server.stats`: only what the session may know of.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_protocol::{Error, frame};
use dunlin_store::{Guard, RowRule, Snapshot};
use serde_json::{Map, Value, json};

use super::{gate, rules};
use crate::auth::policy::Visible;
use crate::connection::{ConnectionState, ask_live};
use crate::limits;
use crate::live::LiveMessage;
use crate::shared::Shared;

/// What somebody may know of: buckets, and of some of these not how many records they have.
pub(crate) struct Horizon {
    visible: Visible,
    guard: Guard,
}

impl Horizon {
    /// Everything: for the embedder.
    pub(crate) fn whole() -> Self {
        Self { visible: Visible::All, guard: Guard::default() }
    }

    async fn of(state: &mut ConnectionState) -> Result<Self, Error> {
        let snapshot = state.shared.published.snapshot();
        Ok(Self { visible: gate::visible(state, &snapshot).await?, guard: state.guard()? })
    }

    /// Numbers by bucket as far as they may be known, with their sum.
    fn counts(&self, counts: &Map<String, Value>, are_of_records: bool) -> Value {
        let whole = |name: &str| self.guard.rule(name).is_none_or(RowRule::shows_all);
        let known = |name: &str| self.visible.contains(name) && (!are_of_records || whole(name));
        let known: Map<String, Value> = counts
            .iter()
            .filter(|(name, _)| known(name))
            .map(|(name, n)| (name.clone(), n.clone()))
            .collect();
        let total: u64 = known.values().filter_map(Value::as_u64).sum();
        json!({"total": total, "perBucket": known})
    }
}

/// `store.buckets`.
pub(super) async fn buckets(state: &mut ConnectionState) -> Result<String, Error> {
    let horizon = Horizon::of(state).await?;
    let snapshot = state.shared.published.snapshot();
    let names: Vec<&str> = snapshot
        .buckets()
        .filter(|bucket| !bucket.is_system())
        .map(|bucket| &**bucket.name())
        .filter(|name| horizon.visible.contains(name))
        .collect();
    Ok(frame::json(&json!({"count": names.len(), "names": names})))
}

/// `store.stats`.
pub(super) async fn store(state: &mut ConnectionState) -> Result<String, Error> {
    let horizon = Horizon::of(state).await?;
    store_stats(&state.shared, &horizon).await.map(|stats| frame::json(&stats))
}

/// `server.stats`.
pub(super) async fn server(state: &mut ConnectionState) -> Result<String, Error> {
    let horizon = Horizon::of(state).await?;
    server_stats(&state.shared, &horizon).await.map(|stats| frame::json(&stats))
}

async fn store_stats(shared: &Shared, horizon: &Horizon) -> Result<Value, Error> {
    let counts = ask_live(shared, LiveMessage::Count).await?;
    let snapshot = shared.published.snapshot();
    let stats = snapshot.stats();
    let names: Vec<&String> =
        stats.buckets.names.iter().filter(|name| horizon.visible.contains(name)).collect();
    let (defined, active) = queries(shared, &snapshot, horizon, &counts);
    Ok(json!({
        "name": shared.config.name,
        "buckets": {"count": names.len(), "names": names},
        "records": horizon.counts(&stats.records.per_bucket, true),
        "indexes": horizon.counts(&stats.indexes.per_bucket, false),
        "queries": {"defined": defined, "activeSubscriptions": active},
        "persistence": {"enabled": shared.durable},
        "ttl": {"enabled": true, "checkIntervalMs": limits::EXPIRY_CHECK_MS},
    }))
}

/// How many queries there are and how many subscriptions, as far as they may be known: what a query that is code reads
/// nobody knows.
fn queries(
    shared: &Shared,
    snapshot: &Snapshot,
    horizon: &Horizon,
    counts: &HashMap<Arc<str>, usize>,
) -> (usize, usize) {
    if horizon.visible == Visible::All {
        let declared = snapshot.queries().count();
        return (declared + shared.programmatic.names().len(), counts.values().sum());
    }
    let known = snapshot
        .queries()
        .filter(|query| query.buckets(snapshot).iter().all(|bucket| horizon.visible.contains(bucket)));
    known.fold((0, 0), |(defined, active), query| {
        (defined + 1, active + counts.get(query.name()).copied().unwrap_or(0))
    })
}

/// What `server.stats` answers, and [`Server::stats`](crate::Server::stats) builds on.
pub(crate) async fn server_stats(shared: &Shared, horizon: &Horizon) -> Result<Value, Error> {
    let rules = match &shared.rules {
        Some(_) => rules::stats(shared, false).await?,
        None => Value::Null,
    };
    Ok(json!({
        "name": shared.config.name,
        "connectionCount": shared.registry.len(),
        "authEnabled": shared.auth.is_some(),
        "rateLimitEnabled": shared.limiter.is_some(),
        "rulesEnabled": shared.rules.is_some(),
        "connections": shared.registry.totals(),
        "store": store_stats(shared, horizon).await?,
        "rules": rules,
    }))
}
