//! From a configuration and callbacks to a running server.

mod auth;
mod rules;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dunlin_journal::{Journal, Past};
use dunlin_store::{ClosureQuery, ReadContext, Snapshot, StoreError, Validators, ViewLimits, Views};
use ractor::{Actor, ActorRef};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Access;
use crate::auth::{
    AsyncPermissions, Authentication, Authenticator, Login, OwnedAccess, PermissionFault, Permissions,
    Policy, Verdict,
};
use crate::config::{Config, JwtOptions, SeedRequest, StorageKind, TokenSession, WebhookOptions};
use crate::crew::Crew;
use crate::events::EventBus;
use crate::http::{self, Http};
use crate::limiter::Limiter;
use crate::listener;
use crate::live::ChangeFeed;
use crate::live::LiveArguments;
use crate::metrics::Metrics;
use crate::programmatic::Programmatic;
use crate::published::Published;
use crate::registry::Registry;
use crate::rules::Services;
use crate::rules_start::{self, Ingredients};
use crate::server::{Inner, Server};
use crate::shared::Shared;
use crate::start_error::StartError;
use crate::storage::{Opened, open};
use crate::storage_health::StorageHealth;
use crate::store_actor::{StoreArguments, WriteError};
use crate::store_handle::StoreHandle;
use crate::supervisor::{Supervisor, SupervisorArguments};
use crate::sweep;
use crate::time::unix_ms;
use crate::workbench::TimeSource;

/// Builds a [`Server`]. Whatever is not said has the default of [`Config`].
#[derive(Default)]
#[must_use = "nothing starts before `bind` or `build`"]
pub struct ServerBuilder {
    config: Config,
    journal: Option<Arc<dyn Journal>>,
    authenticator: Option<Box<dyn Authenticator>>,
    permissions: Option<Box<dyn Permissions>>,
    policy: Option<Policy>,
    validators: Validators,
    queries: Vec<ClosureQuery>,
    clock: Option<TimeSource>,
    services: Services,
    rules: Vec<Value>,
}

impl ServerBuilder {
    /// Replaces the whole configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Address or host name to listen on.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.config.host = host.into();
        self
    }

    /// TCP port; 0 takes any free one (see [`Server::local_addr`]).
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// Path of the WebSocket endpoint.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// Keeps data in memory only.
    pub fn memory(mut self) -> Self {
        self.config.storage.kind = StorageKind::Memory;
        self
    }

    /// Keeps data in this directory.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.storage.kind = StorageKind::Disk;
        self.config.storage.dir = dir.into();
        self
    }

    /// Keeps data in a journal of your own instead of the configured one.
    pub fn journal(mut self, journal: impl Journal) -> Self {
        self.journal = Some(Arc::new(journal));
        self
    }

    /// Requires a login and validates its tokens with this `async` closure. What the roles of its sessions mean is for
    /// [`policy`](Self::policy) and [`permissions`](Self::permissions) to say.
    pub fn authenticator<F, A>(mut self, authenticator: F) -> Self
    where
        F: Fn(Login) -> A + Send + Sync + 'static,
        A: Future<Output = Authentication> + Send + 'static,
    {
        self.authenticator = Some(Box::new(authenticator));
        self
    }

    /// The same with a type of your own.
    pub fn authenticator_with(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Box::new(authenticator));
        self
    }

    /// Requires a login, and knows these tokens: `auth.tokens`. With [`jwt`](Self::jwt) and [`webhook`](Self::webhook) beside it
    /// the first of the three that knows a token decides, in this order.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = (String, TokenSession)>) -> Self {
        self.config.auth.tokens = Some(tokens.into_iter().collect());
        self
    }

    /// Requires a login, and knows tokens that are signed: `auth.jwt`.
    pub fn jwt(mut self, options: JwtOptions) -> Self {
        self.config.auth.jwt = options;
        self
    }

    /// Requires a login, and asks another service who a token is: `auth.webhook`.
    pub fn webhook(mut self, options: WebhookOptions) -> Self {
        self.config.auth.webhook = options;
        self
    }

    /// Decides with this closure what a session may do: it says `true`, `false`, or as an `Option` also `None`, which leaves it to
    /// the [policy](Self::policy). Has no effect without an authenticator.
    pub fn permissions<V: Into<Verdict>>(
        mut self,
        permissions: impl Fn(&Access<'_>) -> V + Send + Sync + 'static,
    ) -> Self {
        self.permissions = Some(Box::new(permissions));
        self
    }

    /// The same with an `async` closure. An error or an answer that comes late denies.
    ///
    /// ```
    /// use dunlin_server::{OwnedAccess, PermissionFault, Server};
    ///
    /// let server = Server::builder().permissions_async(|access: OwnedAccess| async move {
    ///     // Ask whoever knows.
    ///     Ok::<_, PermissionFault>(access.as_access().touches_bucket("notes"))
    /// });
    /// # let _ = server;
    /// ```
    pub fn permissions_async<F, A, V>(mut self, permissions: F) -> Self
    where
        F: Fn(OwnedAccess) -> A + Send + Sync + 'static,
        A: Future<Output = Result<V, PermissionFault>> + Send + 'static,
        V: Into<Verdict> + 'static,
    {
        self.permissions = Some(Box::new(AsyncPermissions(permissions)));
        self
    }

    /// What roles mean, in the place of `auth.permissions` and `auth.roles`. Without either, the built-in roles mean what they
    /// always do: `reader` may read, `writer` also write, `admin` also administer; every other role grants nothing.
    ///
    /// ```
    /// use dunlin_server::{Policy, Server};
    /// use serde_json::json;
    ///
    /// let policy = Policy::parse(&json!({"rules": [{"role": "guest", "allow": "store.get", "buckets": ["news"]}]}))?;
    /// let server = Server::builder().policy(policy);
    /// # let _ = server;
    /// # Ok::<(), dunlin_server::PolicyError>(())
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Decides with a type of your own what a session may do; see [`permissions`](Self::permissions).
    pub fn permissions_with(mut self, permissions: impl Permissions) -> Self {
        self.permissions = Some(Box::new(permissions));
        self
    }

    /// Holds every record that is written to these rules, whoever writes it: beyond what a schema can say.
    pub fn validators(mut self, validators: Validators) -> Self {
        self.validators = validators;
        self
    }

    /// Takes the times of commits, and with them the moment at which a record expires, from here instead of the system's
    /// clock: Unix milliseconds. For tests, where time passes as the test wants.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::Server;
    /// use serde_json::json;
    ///
    /// let server = Server::builder().memory().clock(|| 1_000).build().await?;
    /// let store = server.store();
    /// store.define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await?;
    /// let note = store.insert("notes", json!({"id": "a"})).await?;
    /// assert_eq!(note.to_value()["_createdAt"], 1_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock(mut self, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(now));
        self
    }

    /// Adds a query that is code. Clients watch it by its name like any other; it runs again when a commit touches what it
    /// has read. It must depend on nothing but what it reads and the parameters that the client gives (`null` if none), and
    /// check these itself. Whoever watches it needs rights on its name and on every bucket that it reads.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::Server;
    /// use dunlin_store::Filter;
    /// use serde_json::json;
    ///
    /// let server = Server::builder().memory().port(0).query("profile", |ctx, params| {
    ///     let user = ctx.bucket("users")?.get(&params["id"]).map(|user| user.to_value());
    ///     let orders = ctx.bucket("orders")?.count(&Filter::default());
    ///     Ok(json!({"user": user, "orders": orders}))
    /// });
    /// # let server = server.bind().await?;
    /// # server.stop(std::time::Duration::ZERO).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query<F>(mut self, name: &str, run: F) -> Self
    where
        F: Fn(&ReadContext<'_>, &Value) -> Result<Value, StoreError> + Send + Sync + 'static,
    {
        self.queries.push(ClosureQuery::new(name, run));
        self
    }

    /// Opens the data, starts the actors and listens.
    pub async fn bind(self) -> Result<Server, StartError> {
        self.config.check()?;
        let address = format!("{}:{}", self.config.host, self.config.port);
        let failed = |source| StartError::Listen { address: address.clone(), source };
        // Before anything else: a taken port is the commonest mistake and shall cost nothing.
        let listener = listener::listen(&self.config.host, self.config.port).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let monitoring = monitoring(&self.config).await?;
        let mut server = self.start(Some(local)).await?;
        let config = &server.inner.shared.config;
        if let Some(warning) = unlimited(config) {
            tracing::warn!("{warning}");
        }
        // Only with the PROXY protocol does the listener itself have to know them.
        let proxies: Arc<[_]> =
            if config.proxy_protocol { config.trusted_proxies.as_slice().into() } else { Arc::default() };
        let metrics = || Arc::clone(&server.inner.shared.metrics);
        let (stop, router) = (server.inner.stop_listening.subscribe(), http::whole(server.http()));
        let main = tokio::spawn(listener::accept(listener, router, proxies, metrics(), stop));
        let monitoring = monitoring.map(|(listener, address)| {
            let (stop, router) =
                (server.inner.stop_monitoring.subscribe(), http::monitoring_alone(server.http()));
            (tokio::spawn(listener::accept(listener, router, Arc::default(), metrics(), stop)), address)
        });
        server.listening(main, monitoring);
        Ok(server)
    }

    /// Opens the data and starts the actors without a listener of its own: for [`Server::router`].
    pub async fn build(self) -> Result<Server, StartError> {
        self.config.check()?;
        self.start(None).await
    }

    async fn start(self, local: Option<SocketAddr>) -> Result<Server, StartError> {
        let Self { config, journal, authenticator, permissions, policy, validators, queries, .. } = self;
        let (clock, services, rules) =
            (self.clock.unwrap_or_else(|| Arc::new(unix_ms)), self.services, self.rules);
        let auth = auth::of(&config, authenticator, permissions, policy)?.map(Arc::new);
        let Opened { journal, recovered, past } = open(&config, journal).await?;
        let programmatic = Arc::new(Programmatic::new(queries, &recovered, &config.seed)?);
        let metrics = Arc::new(Metrics::new());
        journal.when_synced(synced(&metrics));
        let feed = Arc::new(ChangeFeed::new(views(past, &recovered, config.live.limits())));
        let events = Arc::new(EventBus::default());
        let storage = Arc::new(StorageHealth::default());
        let registry = Arc::new(Registry::default());
        let (store_actor, running_store) = watch::channel(None);
        let (broken, is_broken) = watch::channel(None);
        let published = Arc::new(Published::new(recovered.clone()));
        let store = StoreHandle::new(Arc::clone(&published), Arc::clone(&events), running_store.clone());
        let ready = rules_start::ready(Ingredients {
            options: &config.rules,
            services,
            auth: auth.clone(),
            state: &recovered,
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
        })?;
        drop(recovered);
        let (of_writer, of_actor, of_all) = match ready {
            Some((writer, actor, all)) => (Some(writer), Some(actor), Some(Arc::new(all))),
            None => (None, None, None),
        };
        let arguments = SupervisorArguments {
            store: StoreArguments {
                journal: Arc::clone(&journal),
                published: Arc::clone(&published),
                feed: Arc::clone(&feed),
                events: Arc::clone(&events),
                validators: Arc::new(validators),
                programmatic: Arc::clone(&programmatic),
                metrics: Arc::clone(&metrics),
                clock,
                answers: config.idempotency.limits(),
                health: Arc::clone(&storage),
                rules: of_writer,
                recover: false,
            },
            live: LiveArguments {
                published: Arc::clone(&published),
                feed: Arc::clone(&feed),
                metrics: Arc::clone(&metrics),
                limits: config.live.limits(),
            },
            rules: of_actor,
            registry: Arc::clone(&registry),
            store_actor,
            broken,
        };
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, arguments)
            .await
            .map_err(|error| StartError::Actors(error.to_string()))?;
        let server = Server {
            inner: Inner::new(
                Arc::new(Shared {
                    answer_mark: answer_mark(&config),
                    auth,
                    limiter: Limiter::new(&config.rate_limit).map(Arc::new),
                    logins: Arc::default(),
                    backup: crate::backup::Turn::default(),
                    journal: Arc::downgrade(&journal),
                    durable: journal.blocks(),
                    now: Mutex::new(config.clone()),
                    config,
                    published,
                    feed,
                    events,
                    store,
                    registry,
                    programmatic,
                    metrics,
                    rules: of_all,
                    crew: Arc::new(Crew::default()),
                    last_subscription: AtomicU64::new(0),
                    started: Instant::now(),
                    stopping: AtomicBool::new(false),
                    storage,
                }),
                ActorRef::clone(&supervisor),
                journal.describe(),
                local,
                running_store,
                is_broken,
            ),
        };
        drop(journal);
        tokio::spawn(sweep::run(Arc::downgrade(&server.inner.shared)));
        seed(&server).await?;
        rules_start::register(&server, rules).await?;
        Ok(server)
    }
}

/// Notes how long the disk took.
fn synced(metrics: &Arc<Metrics>) -> Box<dyn Fn(Duration) + Send + Sync> {
    let metrics = Arc::downgrade(metrics);
    Box::new(move |took| {
        if let Some(metrics) = metrics.upgrade() {
            metrics.sync_seconds.record(took);
        }
    })
}

/// The port for monitoring alone, if there is to be one.
async fn monitoring(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(port) = config.metrics.port else { return Ok(None) };
    let host = &config.metrics.host;
    let failed = |source| StartError::Listen { address: format!("{host}:{port}"), source };
    let listener = listener::listen(host, port).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, address)))
}

/// The live queries, of which there are none yet, with what they know of the past: whoever was here before the server was
/// restarted can resume.
fn views(past: Option<Past>, now: &Snapshot, limits: ViewLimits) -> Box<Views> {
    let Some(Past { before, commits, .. }) = past else { return Box::new(Views::new(now.clone(), limits)) };
    let mut views = Views::new(before, limits);
    views.advance(&commits, now.clone());
    Box::new(views)
}

/// What to say about a server that everybody can reach and ask without end.
fn unlimited(config: &Config) -> Option<&'static str> {
    (config.host == "0.0.0.0" && config.rate_limit.max_requests.is_none()).then_some(
        "rate limiting is disabled. Consider enabling it for production use: rateLimit.maxRequests",
    )
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a byte count; `config.check` has bounded both factors"
)]
fn answer_mark(config: &Config) -> usize {
    let backpressure = &config.backpressure;
    ((backpressure.max_buffered_bytes as f64 * backpressure.high_water_mark) as usize).max(1)
}

/// Makes the definitions of `seed`. One that exists already, from an earlier start on the same data, stays as it is.
async fn seed(server: &Server) -> Result<(), StartError> {
    let store = server.store();
    for (index, request) in server.inner.shared.config.seed.iter().enumerate() {
        let define = |config: &Value| config.clone();
        let result = match request {
            SeedRequest::DefineBucket { name, config } => store.define_bucket(name, define(config)).await,
            SeedRequest::DefineQuery { name, config } => store.define_query(name, define(config)).await,
        };
        match result {
            Ok(()) => {}
            Err(WriteError::Refused(refusal)) if refusal.code() == dunlin_protocol::Code::AlreadyExists => {
                tracing::info!(index, %refusal, "seed: kept what is there");
            }
            Err(source) => return Err(StartError::Seed { index, source: source.into() }),
        }
    }
    Ok(())
}

impl Server {
    /// What the HTTP handlers need.
    pub(crate) fn http(&self) -> Http {
        Http { shared: Arc::clone(&self.inner.shared), supervisor: self.inner.supervisor.get_cell() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_for_everybody_without_a_limit_is_warned_of() {
        let mut config = Config::default();
        assert_eq!(unlimited(&config), None);
        config.host = "0.0.0.0".to_owned();
        assert!(unlimited(&config).is_some_and(|warning| warning.starts_with("rate limiting is disabled.")));
        config.rate_limit.max_requests = Some(100);
        assert_eq!(unlimited(&config), None);
    }
}
