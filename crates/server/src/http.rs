//! The HTTP side of the port: the upgrade, health, metrics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper::upgrade::Parts;
use hyper_util::rt::TokioIo;
use ractor::ActorCell;
use tokio::net::TcpStream;

use crate::auth::UpgradeWish;
use crate::connection::{Upgrade, serve};
use crate::handshake;
use crate::metrics::{Metrics, Refused};
use crate::proxy;
use crate::shared::Shared;

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisor: ActorCell,
}

/// Paths of [`monitoring`]; the WebSocket endpoint cannot have one of them.
pub(crate) const MONITORING_PATHS: [&str; 3] = ["/health", "/ready", "/metrics"];

/// The WebSocket endpoint alone, at the configured path.
pub(crate) fn websocket(http: Http) -> Router {
    // What means something to the router means itself here.
    let path = http.shared.config.path.replace('{', "{{").replace('}', "}}");
    Router::new().without_v07_checks().route(&path, any(upgrade)).with_state(http)
}

/// `GET /health`, `GET /ready`, `GET /metrics`.
pub(crate) fn monitoring(http: Http) -> Router {
    let [health_path, ready_path, metrics_path] = MONITORING_PATHS;
    Router::new()
        .route(health_path, get(health))
        .route(ready_path, get(ready))
        .route(metrics_path, get(metrics))
        .with_state(http)
}

/// Everything the server's own port answers; without monitoring if that has a port of its own.
pub(crate) fn whole(http: Http) -> Router {
    let path = http.shared.config.path.clone();
    let not_found = move || async move {
        (StatusCode::NOT_FOUND, format!("Nothing here. The WebSocket endpoint is at {path}.\n"))
    };
    let endpoint = websocket(http.clone());
    let apart = http.shared.config.metrics.port.is_some();
    if apart { endpoint } else { endpoint.merge(monitoring(http)) }.fallback(not_found)
}

/// Everything the port for monitoring answers.
pub(crate) fn monitoring_alone(http: Http) -> Router {
    let not_found = || async {
        let paths = MONITORING_PATHS.join(", ");
        (StatusCode::NOT_FOUND, format!("Nothing here. This port is for monitoring: {paths}.\n"))
    };
    monitoring(http).fallback(not_found)
}

/// The process runs and answers.
async fn health() -> &'static str {
    "ok\n"
}

/// New clients are welcome, and can write.
async fn ready(State(http): State<Http>) -> Response {
    if http.shared.stopping.load(Ordering::Acquire) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else if let Some(error) = http.shared.storage.trouble() {
        // The reason names directories of this machine; it is in the log.
        let text = format!("storage: writes cannot be made durable ({}); reads are served\n", error.code());
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn metrics(State(http): State<Http>) -> Response {
    let Some(text) = Metrics::read(http.shared).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn upgrade(State(http): State<Http>, mut request: Request<Body>) -> Response {
    let response = match handshake::accept(&request, http.shared.config.allowed_origins.as_deref()) {
        Ok(response) => response,
        Err(refusal) => {
            let refused = match refusal {
                handshake::Refusal::Origin => Refused::Origin,
                _ => Refused::Handshake,
            };
            http.shared.metrics.connections_refused.of(refused).increment(1);
            return refusal.into_response();
        }
    };
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
    let address = proxy::client(&http.shared.config.trusted_proxies, peer, request.headers());
    let session = match UpgradeWish::of(&http.shared, &request, address) {
        Some(wish) => match wish.session(&http.shared).await {
            Ok(session) => session,
            Err(refusal) => {
                http.shared.metrics.connections_refused.of(Refused::Login).increment(1);
                return refusal.into_response();
            }
        },
        None => None,
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let member = http.shared.crew.join();
    tokio::spawn(async move {
        // The client may be gone before the 101 has left; then there is nothing to serve.
        if let Ok(upgraded) = upgraded.await {
            let Http { shared, supervisor } = http;
            // On our own listener the socket comes back as it was, without hyper's buffering around it. Both are boxed
            // apart from the wait for the upgrade, so that the larger one does not count for the smaller.
            match upgraded.downcast::<TokioIo<TcpStream>>() {
                Ok(Parts { io, read_buf, .. }) => {
                    // Copied: it is nearly always empty, and would keep hyper's whole read buffer alive.
                    let early = read_buf.to_vec();
                    drop(read_buf);
                    let upgrade = Upgrade { stream: io.into_inner(), early, address, session };
                    Box::pin(serve(shared, supervisor, upgrade)).await;
                }
                Err(upgraded) => {
                    let upgrade =
                        Upgrade { stream: TokioIo::new(upgraded), early: Vec::new(), address, session };
                    Box::pin(serve(shared, supervisor, upgrade)).await;
                }
            }
        }
        drop(member);
    });
    response
}
