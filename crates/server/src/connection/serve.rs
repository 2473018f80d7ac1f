//! From an accepted upgrade to a running connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin_protocol::{Close, frame};
use ractor::{Actor, ActorCell};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Outbox;
use super::actor::{ConnectionActor, ConnectionArguments};
use super::driver::{Driver, End, close};
use super::heartbeat::{Heartbeat, Rhythm};
use super::meter::Meter;
use super::stall::Stall;
use crate::auth::Session;
use crate::limits;
use crate::metrics::{Closed, Refused};
use crate::shared::Shared;
use crate::time::unix_ms;

/// A socket whose HTTP part is over.
pub(crate) struct Upgrade<S> {
    pub(crate) stream: S,
    /// What the client sent along with its handshake: the beginning of the conversation.
    pub(crate) early: Vec<u8>,
    pub(crate) address: IpAddr,
    /// Who has logged in with the handshake itself. Boxed: few have, and all have room for it as long as they live.
    pub(crate) session: Option<Box<Session>>,
}

/// Runs a connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, supervisor: ActorCell, upgrade: Upgrade<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = upgrade.address;
    let most = shared.config.max_payload_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let stream = Meter::new(upgrade.stream, upgrade.early);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;

    let refusal =
        if shared.stopping.load(Ordering::Acquire) { Some(Close::ServerShuttingDown) } else { None };
    let outbox = Arc::new(Outbox::default());
    let most = shared.config.max_connections_per_ip.map(std::num::NonZeroUsize::get);
    let seat = match refusal {
        Some(reason) => Err(reason),
        None => shared
            .registry
            .admit(address, unix_ms(), most, Arc::clone(&outbox))
            .ok_or(Close::TooManyConnections),
    };
    let seat = match seat {
        Ok(seat) => seat,
        Err(reason) => {
            let refused =
                if reason == Close::TooManyConnections { Refused::TooMany } else { Refused::Stopping };
            shared.metrics.connections_refused.of(refused).increment(1);
            return Box::pin(close(socket, reason)).await;
        }
    };

    let span = tracing::info_span!("connection", id = seat.entry().id, peer = %address);
    span.in_scope(|| tracing::debug!("opened"));
    shared.metrics.connections_opened.increment(1);
    // Whoever is logged in already needs no login.
    let requires_auth =
        upgrade.session.is_none() && shared.auth.as_ref().is_some_and(|auth| auth.anonymous.is_none());
    let arguments = ConnectionArguments {
        shared: Arc::clone(&shared),
        seat,
        session: upgrade.session,
        span: span.clone(),
    };
    let end = match ConnectionActor::spawn_linked(None, ConnectionActor, arguments, supervisor).await {
        Ok((actor, _)) => {
            let heartbeat = &shared.config.heartbeat;
            let rhythm = Rhythm {
                interval: Duration::from_millis(heartbeat.interval_ms),
                timeout: Duration::from_millis(heartbeat.timeout_ms),
            };
            let welcome = frame::welcome(unix_ms(), requires_auth);
            let heartbeat = Heartbeat::new(rhythm, Instant::now());
            let stall = Stall::new(Duration::from_millis(shared.config.backpressure.slow_consumer_ms));
            let (metrics, outbox) = (Arc::clone(&shared.metrics), Arc::clone(&outbox));
            Driver::new(socket, outbox, actor, metrics, heartbeat, stall, welcome.into()).run().await
        }
        Err(error) => {
            span.in_scope(|| tracing::error!(%error, "the connection's actor did not start"));
            Box::pin(close(socket, Close::InternalError)).await;
            End::Server(Close::InternalError)
        }
    };
    span.in_scope(|| match end {
        End::Client => {
            shared.metrics.connections_closed.of(Closed::ByClient).increment(1);
            tracing::debug!("closed by the client");
        }
        End::Server(reason) => {
            shared.metrics.connections_closed.of(Closed::ByServer(reason)).increment(1);
            if reason == Close::SlowConsumer {
                tracing::info!(
                    push_bytes = outbox.waiting_bytes().pushes,
                    "it took nothing of what waited for it"
                );
            }
            tracing::debug!(code = reason.code(), reason = reason.reason(), "closed");
        }
    });
}
