//! What is looked through every now and then, so that it costs nothing per connection: accounts of the limiter that are idle,
//! connections on which nobody has logged in.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use dunlin_protocol::Close;

use crate::limits;
use crate::metrics::count;
use crate::shared::Shared;

/// Sweeps until the server stops: then all connections are closed anyway.
pub(crate) async fn run(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(limits::SWEEP).await;
        let Some(shared) = shared.upgrade().filter(|shared| !shared.stopping.load(Ordering::Acquire)) else {
            return;
        };
        if let Some(limiter) = &shared.limiter {
            shared.metrics.rate_limit_keys.set(count(limiter.sweep()));
        }
        close_strangers(&shared);
    }
}

/// Closes the connections on which nobody has been logged in for `auth.loginTimeoutMs`, where a login is required.
fn close_strangers(shared: &Arc<Shared>) {
    let longest = shared.config.auth.login_timeout_ms;
    if longest == 0 || shared.auth.as_ref().is_none_or(|auth| auth.anonymous.is_some()) {
        return;
    }
    for entry in shared.registry.strangers(longest) {
        entry.outbox.close(Close::LoginTimeout);
    }
}
