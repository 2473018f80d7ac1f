//! `hello`: who is here, what both can do beyond protocol 1.0.0, and within which bounds.

use dunlin_protocol::{Hello, frame, limits as wire};
use dunlin_store::limits as store;
use serde_json::{Value, json};

use crate::config::RateLimit;
use crate::connection::ConnectionState;

/// What this server can do beyond protocol 1.0.0.
const EXTENSIONS: [&str; 7] =
    ["hello", POSITION, "patch", "resume", "inline-query", "idempotency", "if-version"];

/// The only one that a client has to ask for: it changes what other answers look like.
const POSITION: &str = "position";

/// A client that knows how much it may ask need not run into the limit.
fn told(limit: &RateLimit) -> Value {
    let window = |requests: Option<u32>, ms: u64| requests.map(|n| json!({"maxRequests": n, "windowMs": ms}));
    let mut told = json!({
        "maxRequests": limit.max_requests,
        "windowMs": limit.window_ms,
        "burst": window(limit.burst.max_requests, limit.burst.window_ms),
    });
    if !limit.weights.is_empty() {
        told["weights"] = json!(limit.weights);
    }
    told
}

/// The last `hello` says what holds from here on. Extensions that this server does not know are for others.
pub(super) fn hello(state: &mut ConnectionState, wishes: &Hello<'_>) -> String {
    if let Some(client) = &wishes.client {
        tracing::debug!(?client, "hello");
    }
    let outbox = &state.entry().outbox;
    // Pushes that look otherwise follow the answer.
    outbox.hold();
    let positions = wishes.extensions.iter().any(|name| name == POSITION);
    outbox.tell_positions(positions);
    state.positions = positions;
    let config = &state.shared.config;
    let snapshot = state.shared.published.load();
    frame::json(&json!({
        "server": "dunlin",
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": snapshot.epoch(),
        "position": snapshot.position(),
        "extensions": EXTENSIONS,
        "limits": {
            "maxPayloadBytes": config.max_payload_bytes,
            "maxDepth": config.max_depth,
            "maxRecordBytes": store::MAX_RECORD_BYTES,
            "maxOperations": wire::MAX_OPERATIONS,
            "maxInserted": wire::MAX_INSERTED,
            "maxSubscriptionsPerConnection": config.connection_limits.max_subscriptions_per_connection,
            "maxTotalSubscriptions": config.connection_limits.max_total_subscriptions,
            "heartbeatIntervalMs": config.heartbeat.interval_ms,
            "heartbeatTimeoutMs": config.heartbeat.timeout_ms,
            "idempotencyTtlMs": config.idempotency.ttl_ms,
            "slowConsumerMs": config.backpressure.slow_consumer_ms,
            "loginTimeoutMs": config.auth.login_timeout_ms,
            "rateLimit": state.shared.limiter.as_ref().map(|_| told(&config.rate_limit)),
        },
    }))
}
