//! A running server, as its embedder sees it.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use dunlin_journal::Description;
use dunlin_protocol::{Close, TopicPattern, frame};
use ractor::ActorRef;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::auth::Policy;
use crate::backup::{self, Backup, BackupError};
use crate::builder::ServerBuilder;
use crate::connection::{ConnectionMessage, Upgrade, serve};
use crate::events::Events;
use crate::ops::stats::Horizon;
use crate::registry::ConnectionInfo;
use crate::rules_handle::RulesHandle;
use crate::shared::Shared;
use crate::store_actor::StoreMessage;
use crate::store_handle::StoreHandle;
use crate::{http, limits, ops};

/// A running server. Dropping it ends everything at once; [`stop`](Self::stop) does it properly.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::Server;
/// use std::time::Duration;
///
/// let server = Server::builder().memory().port(0).bind().await?;
/// println!("ws://{}/", server.local_addr().ok_or("not listening")?);
/// server.stop(Duration::ZERO).await?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    pub(crate) inner: Inner,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisor: ActorRef<()>,
    pub(crate) stop_listening: watch::Sender<bool>,
    /// Later than the others: whoever watches a stop sees it to its end.
    pub(crate) stop_monitoring: watch::Sender<bool>,
    storage: Description,
    local: Option<SocketAddr>,
    monitoring: Option<SocketAddr>,
    store_actor: watch::Receiver<Option<ActorRef<StoreMessage>>>,
    broken: watch::Receiver<Option<String>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    monitor: Mutex<Option<JoinHandle<()>>>,
}

/// Why a server ended, or did not end, as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A permanent actor failed and could not be restarted. Everything acknowledged is in the journal.
    #[error("the server cannot go on: {0}; see the log, and start it again when the cause is mended")]
    Broken(String),
    /// The store did not finish its queue in time.
    #[error("the store did not finish in time; writes that were not acknowledged may be missing")]
    Unfinished,
}

impl ServeError {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broken(_) => "BROKEN",
            Self::Unfinished => "UNFINISHED",
        }
    }
}

impl Inner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        supervisor: ActorRef<()>,
        storage: Description,
        local: Option<SocketAddr>,
        store_actor: watch::Receiver<Option<ActorRef<StoreMessage>>>,
        broken: watch::Receiver<Option<String>>,
    ) -> Self {
        let (stop_listening, _) = watch::channel(false);
        let (stop_monitoring, _) = watch::channel(false);
        Self {
            shared,
            supervisor,
            stop_listening,
            stop_monitoring,
            storage,
            local,
            monitoring: None,
            store_actor,
            broken,
            listener: Mutex::new(None),
            monitor: Mutex::new(None),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // The listener ends with its channel, every connection with its socket, every other actor with its supervisor.
        for entry in self.shared.registry.entries() {
            entry.outbox.close(Close::ServerShutdown);
        }
        self.supervisor.stop(None);
        self.shared.events.close();
        if let Some(rules) = &self.shared.rules {
            rules.events.close();
        }
    }
}

impl Server {
    /// Begins to build a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The address it listens on; `None` if it was [built](ServerBuilder::build) without a listener.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local
    }

    /// The address of `/metrics`, `/health` and `/ready`: that of the server, or one of their own if `metrics.port` is set.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::{Config, Server};
    ///
    /// let mut config = Config::default();
    /// (config.port, config.metrics.port) = (0, Some(0));
    /// let server = Server::builder().config(config).memory().bind().await?;
    /// assert!(server.monitoring_addr().is_some());
    /// assert_ne!(server.monitoring_addr(), server.local_addr());
    /// # Ok(())
    /// # }
    /// ```
    pub fn monitoring_addr(&self) -> Option<SocketAddr> {
        self.inner.monitoring.or(self.inner.local)
    }

    /// Where the data is and how durable a write is.
    pub fn storage(&self) -> &Description {
        &self.inner.storage
    }

    /// The store, for reads and writes from this process.
    pub fn store(&self) -> StoreHandle {
        self.inner.shared.store.clone()
    }

    /// The rules, for events, facts and administration from this process.
    pub fn rules(&self) -> RulesHandle {
        let shared = &self.inner.shared;
        RulesHandle::new(shared.store.clone(), shared.rules.as_ref().map(|rules| Arc::clone(&rules.events)))
    }

    /// What happens to records from now on, as far as it matches `pattern`; see [`StoreHandle::events`].
    pub fn events(&self, pattern: impl Into<TopicPattern>) -> Events {
        self.inner.shared.events.subscribe(pattern.into())
    }

    /// The WebSocket endpoint as an axum router, at the configured path, to merge into an application of your own. For
    /// addresses of clients serve the application with
    /// `into_make_service_with_connect_info::<std::net::SocketAddr>()`.
    pub fn router(&self) -> Router {
        http::websocket(self.http())
    }

    /// Serves a connection whose WebSocket handshake is over, on any byte stream: a Unix socket, a pipe in a test. `address`
    /// is whose it is, for `maxConnectionsPerIp` and for people. Returns at once; when the connection has ended the stream is
    /// dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::Server;
    /// use futures_util::StreamExt;
    /// use tokio_tungstenite::WebSocketStream;
    /// use tokio_tungstenite::tungstenite::protocol::Role;
    ///
    /// let server = Server::builder().memory().build().await?;
    /// let (ours, theirs) = tokio::io::duplex(64 * 1024);
    /// server.serve_stream(theirs, [127, 0, 0, 1].into());
    /// let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    /// let welcome = client.next().await.ok_or("closed")??;
    /// assert!(welcome.to_text()?.starts_with(r#"{"type":"welcome""#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_stream<S>(&self, stream: S, address: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (shared, supervisor) = (Arc::clone(&self.inner.shared), self.inner.supervisor.get_cell());
        let member = shared.crew.join();
        // A task of its own: were it dropped before its end, its actor would stay.
        tokio::spawn(async move {
            serve(shared, supervisor, Upgrade { stream, early: Vec::new(), address, session: None }).await;
            drop(member);
        });
    }

    /// Replaces what roles mean. Every request from now on is judged by the new policy, also one that was sent before, and so
    /// is every live query: what is no longer allowed ends, and a query of which somebody sees other records now goes on with
    /// these. Without an authenticator it has no effect.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::{Authentication, Login, Policy, Server};
    /// use serde_json::json;
    ///
    /// let nobody = |_: Login| async { Authentication::Ok(None) };
    /// let server = Server::builder().memory().authenticator(nobody).build().await?;
    /// server.set_policy(Policy::parse(&json!({"default": "deny"}))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_policy(&self, policy: Policy) {
        if let Some(auth) = &self.inner.shared.auth {
            auth.policy.store(Arc::new(policy));
            self.rights_changed();
        }
    }

    /// Judges every live query anew, because the permission callback may decide otherwise now than it did.
    pub fn rights_changed(&self) {
        self.inner.shared.registry.rights_changed();
    }

    /// `GET /health`, `GET /ready` and `GET /metrics` as an axum router.
    pub fn monitoring_router(&self) -> Router {
        http::monitoring(self.http())
    }

    /// Writes a backup of the newest durable state, beside everything else that goes on. The file must not be there yet, its
    /// directory must; `dunlin restore` or [`dunlin_journal::backup::restore`] makes data of it again. It is carried through
    /// even if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let server = dunlin_server::Server::builder().memory().build().await?;
    /// let written = server.backup(dir.path().join("monday")).await?;
    /// assert_eq!((written.name.as_str(), written.position), ("monday", 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BackupError::Busy`] while another one is written; whatever keeps the file from being written. Nothing is left behind
    /// then.
    pub async fn backup(&self, out: impl Into<PathBuf>) -> Result<Backup, BackupError> {
        let out = out.into();
        backup::write(&self.inner.shared, |_| out, false, |_| {}).await
    }

    /// Open connections.
    pub fn connection_count(&self) -> usize {
        self.inner.shared.registry.len()
    }

    /// Open connections, oldest first, as `server.connections` shows them.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.inner.shared.registry.connections()
    }

    /// What `server.stats` shows, with `host`, `port` and `uptimeMs`.
    pub async fn stats(&self) -> Result<Value, dunlin_protocol::Error> {
        let shared = &self.inner.shared;
        let mut stats = ops::stats::server_stats(shared, &Horizon::whole()).await?;
        stats["host"] = shared.config.host.clone().into();
        stats["port"] = self.inner.local.map(|address| address.port()).into();
        let uptime = shared.started.elapsed().as_millis();
        stats["uptimeMs"] = u64::try_from(uptime).unwrap_or(u64::MAX).into();
        Ok(stats)
    }

    /// Whether it takes new connections.
    pub fn is_running(&self) -> bool {
        !self.inner.shared.stopping.load(Ordering::Acquire)
    }

    /// Serves until `signal` completes, then stops with the configured grace period.
    ///
    /// # Errors
    /// [`ServeError::Broken`] if it had to stop by itself.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.serve_until(signal).await
    }

    /// The same with a server that is used meanwhile.
    ///
    /// # Errors
    /// [`ServeError::Broken`] if it had to stop by itself.
    pub async fn serve_until(&self, signal: impl Future<Output = ()>) -> Result<(), ServeError> {
        let mut broken = self.inner.broken.clone();
        let grace = Duration::from_millis(self.inner.shared.config.shutdown_grace_ms);
        let failure = async {
            let reason = broken.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            reason.unwrap_or_else(|| "its supervisor ended".to_owned())
        };
        tokio::select! {
            () = signal => self.stop(grace).await,
            reason = failure => {
                self.close_all(Close::InternalError).await;
                Err(ServeError::Broken(reason))
            }
        }
    }

    /// Stops: takes no new connections, gives the open ones `grace` to leave by themselves, closes the rest, lets the store
    /// finish. A second call does nothing.
    pub async fn stop(&self, grace: Duration) -> Result<(), ServeError> {
        if self.inner.shared.stopping.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.inner.stop_listening.send_replace(true);
        ended(&self.inner.listener).await;
        if !grace.is_zero() {
            let notice = frame::shutdown(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
            for entry in self.inner.shared.registry.entries() {
                entry.outbox.notice(notice.clone().into());
            }
            // Whether all left or the time is over: what remains is closed.
            let _ = tokio::time::timeout(grace, self.inner.shared.crew.gone()).await;
        }
        self.close_all(Close::ServerShutdown).await;
        let finished = self.finish_store().await;
        self.inner.shared.events.close();
        // Its end ends the other actors, and with them their hold on the journal.
        let _ = self.inner.supervisor.stop_and_wait(None, Some(limits::CLOSE_WAIT)).await;
        self.inner.stop_monitoring.send_replace(true);
        ended(&self.inner.monitor).await;
        if finished { Ok(()) } else { Err(ServeError::Unfinished) }
    }

    /// Closes all connections at once, each after the batch it is working on, and waits for their sockets.
    async fn close_all(&self, reason: Close) {
        for entry in self.inner.shared.registry.entries() {
            match entry.actor().map(|actor| actor.cast(ConnectionMessage::Close(reason))) {
                Some(Ok(())) => {}
                // Not started yet, or over already.
                _ => entry.outbox.close(reason),
            }
        }
        let gone = self.inner.shared.crew.gone();
        if tokio::time::timeout(limits::CLOSE_WAIT, gone).await.is_err() {
            for entry in self.inner.shared.registry.entries() {
                entry.outbox.close(reason);
            }
            let _ = tokio::time::timeout(2 * limits::CLOSE_WAIT, self.inner.shared.crew.gone()).await;
        }
    }

    /// Lets the `StoreActor` work off its queue.
    async fn finish_store(&self) -> bool {
        let actor = self.inner.store_actor.borrow().clone();
        let Some(actor) = actor else { return false };
        let (done, finished) = oneshot::channel();
        let finished = actor.cast(StoreMessage::Finish(done)).is_ok()
            && matches!(tokio::time::timeout(limits::STORE_FINISH_WAIT, finished).await, Ok(Ok(())));
        // Its supervisor would not wait for its end, and whoever opens the data next must not find it held.
        let _ = actor.stop_and_wait(None, Some(limits::CLOSE_WAIT)).await;
        finished
    }

    /// It listens; for monitoring on a port of its own, perhaps.
    pub(crate) fn listening(
        &mut self,
        main: JoinHandle<()>,
        monitoring: Option<(JoinHandle<()>, SocketAddr)>,
    ) {
        self.inner.listener = Mutex::new(Some(main));
        let (monitor, address) = monitoring.unzip();
        self.inner.monitor = Mutex::new(monitor);
        self.inner.monitoring = address;
    }
}

/// Waits for the end of a listener that was told to stop.
async fn ended(listener: &Mutex<Option<JoinHandle<()>>>) {
    let listener = listener.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(listener) = listener {
        // It ends at once; if it panicked it has ended too.
        let _ = listener.await;
    }
}
