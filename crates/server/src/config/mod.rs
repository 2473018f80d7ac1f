//! What a server can be told: one set of keys, read from a file, the environment and flags.
//!
//! The keys are listed once, in the table of `keys`; files, `DUNLIN_*` variables, flags, error messages and the
//! reference in `docs/configuration.md` all follow from it. A flag beats the environment, which beats the file, which
//! beats the default. Everything that is wrong is reported at once.
//!
//! ```
//! use dunlin_server::config::{Config, Flags, Origin};
//!
//! let env = [("DUNLIN_PORT".to_owned(), "9000".to_owned())];
//! let flags = Flags::new().with("--host", "0.0.0.0");
//! let loaded = Config::load(None, env, &flags)?;
//! assert_eq!((loaded.config.host.as_str(), loaded.config.port), ("0.0.0.0", 9000));
//! assert_eq!(loaded.origin("port"), &Origin::Variable("DUNLIN_PORT".into()));
//! assert_eq!(loaded.origin("path"), &Origin::Default);
//!
//! let wrong = Config::parse("dunlin.toml", "hots = \"::1\"").unwrap_err();
//! assert_eq!(wrong.to_string(), "dunlin.toml: unknown key hots; did you mean host?");
//! # Ok::<(), dunlin_server::config::ConfigError>(())
//! ```

mod auth;
mod document;
mod fault;
mod keys;
mod kind;
mod later;
pub mod limits;
mod logins;
mod nearest;
mod networks;
mod reference;
mod rules;
mod secret;
mod seed;
mod sources;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use dunlin_store::{AnswerLimits, HistoryLimits, ViewLimits};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::auth::{DefaultRule, Exception, OneOrMany, PermissionRules, RowRule, Rule};
pub use auth::{Auth, TokenSession};
pub use fault::{ConfigError, Fault, FaultKind, Origin};
pub(crate) use logins::is_url;
pub use logins::{JwtAlgorithm, JwtOptions, RevocationOptions, UpgradeLogin, WebhookOptions};
pub use networks::{Burst, RateLimit};
pub use reference::FlagSpec;
pub use rules::{RulesOptions, WebhookTargets};
pub use secret::Secret;
pub use seed::SeedRequest;
pub use sources::{Flags, Loaded, Setting, environment};

/// The whole configuration of one server. [`Config::default`] is a durable server for this machine only.
///
/// Serialised, it is a configuration file that loads to an equal value.
///
/// ```
/// # use dunlin_server::config::Config;
/// let mut config = Config::default();
/// config.port = 0;
/// config.heartbeat.interval_ms = 5_000;
/// config.check()?;
/// # Ok::<(), dunlin_server::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Config {
    /// What the server calls itself in `server.stats`.
    pub name: String,
    /// Address or host name to listen on.
    pub host: String,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// URL path of the WebSocket endpoint, starting with `/`.
    pub path: String,
    /// Longest message a client may send, in bytes.
    pub max_payload_bytes: usize,
    /// Levels of objects and arrays in a message, the message itself being the first.
    pub max_depth: usize,
    /// How dead connections are noticed.
    pub heartbeat: Heartbeat,
    /// How much may wait for a slow reader.
    pub backpressure: Backpressure,
    /// Live queries.
    pub live: Live,
    /// What is remembered for clients that repeat a write.
    pub idempotency: Idempotency,
    /// How many subscriptions there may be.
    pub connection_limits: ConnectionLimits,
    /// The rule engine.
    pub rules: RulesOptions,
    /// Whether errors tell clients what was wrong in detail.
    pub expose_error_details: bool,
    /// The `Origin` values that may connect; `None` checks nothing, an empty list refuses every browser.
    pub allowed_origins: Option<Vec<String>>,
    /// Open connections per remote address; `None` is no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
    /// How many requests there may be.
    pub rate_limit: RateLimit,
    /// Proxies that are believed whose connection theirs is.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether these begin each connection with a head of the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long a stopping server waits for its clients to leave, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// Who may log in.
    pub auth: Auth,
    /// Sessions that are ended from outside.
    pub revocation: RevocationOptions,
    /// Where the data lives.
    pub storage: Storage,
    /// Where monitoring is.
    pub metrics: Metrics,
    /// What is logged, and how.
    pub log: Log,
    /// Definitions made before the server listens.
    pub seed: Vec<SeedRequest>,
}

/// `heartbeat`: a silent connection is pinged and, if it stays silent, closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Heartbeat {
    /// Time between two pings, in milliseconds.
    pub interval_ms: u64,
    /// Time a client has to show life after a ping, in milliseconds.
    pub timeout_ms: u64,
}

/// `live`: bounds of live queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Live {
    /// Bytes of replaced and removed records that are kept, so that a client which comes back is told what it has missed.
    pub history_bytes: usize,
    /// Commits that are kept for the same.
    pub history_commits: usize,
    /// Tests that every write to a bucket makes for live queries whose filter no index can tell.
    pub max_unindexed_tests: usize,
    /// Bytes that live queries hold together, beside the records themselves.
    pub max_bytes: usize,
}

impl Live {
    pub(crate) fn limits(self) -> ViewLimits {
        ViewLimits {
            history: HistoryLimits { commits: self.history_commits, bytes: self.history_bytes },
            unindexed_tests: self.max_unindexed_tests,
            bytes: self.max_bytes,
            reserve: crate::limits::LIVE_RESERVE,
        }
    }
}

/// `idempotency`: what is remembered of writes that came with an `idempotencyKey`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Idempotency {
    /// How long the answer to such a write is remembered, in milliseconds.
    pub ttl_ms: u64,
    /// Answers that are remembered for one user or, where nobody is logged in, for one address.
    pub max_keys_per_user: usize,
    /// Answers that are remembered altogether.
    pub max_keys: usize,
}

impl Idempotency {
    pub(crate) fn limits(self) -> AnswerLimits {
        let (ttl_ms, per_scope, all) = (self.ttl_ms, self.max_keys_per_user, self.max_keys);
        AnswerLimits { ttl_ms, per_scope, all, ..AnswerLimits::default() }
    }
}

/// `backpressure`: bounds what waits for one slow reader.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Backpressure {
    /// Bytes of answers that may wait for one connection.
    pub max_buffered_bytes: usize,
    /// Share of `max_buffered_bytes` of waiting answers at which a connection is worked for no further; above 0, at most 1.
    pub high_water_mark: f64,
    /// How long a connection may take nothing of what waits for it, in milliseconds.
    pub slow_consumer_ms: u64,
}

/// `connectionLimits`: how many live subscriptions there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Subscriptions of one connection.
    pub max_subscriptions_per_connection: usize,
    /// Subscriptions of all connections together.
    pub max_total_subscriptions: usize,
}

/// `storage`: where the data lives and how durable a write is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Storage {
    /// The backend.
    pub kind: StorageKind,
    /// Directory of the data, relative to the working directory; unused in memory.
    pub dir: PathBuf,
    /// When a write is answered; unused in memory.
    pub durability: Durability,
    /// How often writes are synced with [`Durability::Interval`], milliseconds.
    pub sync_interval_ms: u64,
    /// Directory of the backups that clients ask for; `None` is a directory beside the data, see [`Storage::backups`].
    pub backup_dir: Option<PathBuf>,
}

impl Storage {
    /// The directory of the backups that clients ask for: `backup_dir`, or one beside the data whose name has `-backups`
    /// behind. `None` if neither is known.
    ///
    /// ```
    /// # use dunlin_server::config::{Config, StorageKind};
    /// let mut storage = Config::default().storage;
    /// storage.dir = "/var/lib/dunlin/data".into();
    /// assert_eq!(storage.backups(), Some("/var/lib/dunlin/data-backups".into()));
    /// storage.kind = StorageKind::Memory;
    /// assert_eq!(storage.backups(), None);
    /// ```
    pub fn backups(&self) -> Option<PathBuf> {
        if self.backup_dir.is_some() || self.kind == StorageKind::Memory {
            return self.backup_dir.clone();
        }
        // A path like `.` has no name of its own.
        let dir =
            if self.dir.file_name().is_some() { self.dir.clone() } else { self.dir.canonicalize().ok()? };
        let mut name = dir.file_name()?.to_owned();
        name.push("-backups");
        Some(dir.with_file_name(name))
    }
}

/// `storage.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StorageKind {
    /// A log and images of the state in `storage.dir`.
    Disk,
    /// Nothing is kept when the server ends.
    Memory,
}

/// `storage.durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Durability {
    /// A write is answered after it is on disk; writes that arrive together share one sync.
    Group,
    /// A write is answered once the operating system has it, and synced after `storage.syncIntervalMs` at the latest: a killed
    /// server loses nothing, a power cut at most the writes of that time.
    Interval,
    /// A write is answered once the operating system has it: a killed server loses nothing, a power cut may.
    None,
}

/// `metrics`: where `/metrics`, `/health` and `/ready` are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Metrics {
    /// Address or host name to listen on for them alone.
    pub host: String,
    /// TCP port for them alone; 0 takes any free one. `None`: they are on the port of the WebSocket endpoint.
    pub port: Option<u16>,
}

/// `log`: what the program logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe messages that are logged.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs a person.
    Error,
    /// What may soon need one.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

impl StorageKind {
    /// The word used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

impl Durability {
    /// The word used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Interval => "interval",
            Self::None => "none",
        }
    }
}

impl LogFormat {
    /// The word used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl LogLevel {
    /// The word used in files; `tracing` understands the same ones.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: limits::NAME.to_owned(),
            host: limits::HOST.to_owned(),
            port: limits::PORT,
            path: limits::PATH.to_owned(),
            max_payload_bytes: limits::PAYLOAD_BYTES,
            max_depth: limits::DEPTH,
            heartbeat: Heartbeat {
                interval_ms: limits::HEARTBEAT_INTERVAL_MS,
                timeout_ms: limits::HEARTBEAT_TIMEOUT_MS,
            },
            live: Live {
                history_bytes: limits::HISTORY_BYTES,
                history_commits: limits::HISTORY_COMMITS,
                max_unindexed_tests: limits::UNINDEXED,
                max_bytes: limits::VIEW_BYTES,
            },
            backpressure: Backpressure {
                max_buffered_bytes: limits::BUFFERED_BYTES,
                high_water_mark: limits::HIGH_WATER_MARK,
                slow_consumer_ms: limits::SLOW_CONSUMER_MS,
            },
            idempotency: Idempotency {
                ttl_ms: limits::IDEMPOTENCY_TTL_MS,
                max_keys_per_user: limits::KEYS_PER_USER,
                max_keys: limits::KEYS,
            },
            connection_limits: ConnectionLimits {
                max_subscriptions_per_connection: limits::SUBSCRIPTIONS_PER_CONNECTION,
                max_total_subscriptions: limits::TOTAL_SUBSCRIPTIONS,
            },
            rules: RulesOptions::default(),
            expose_error_details: true,
            allowed_origins: None,
            max_connections_per_ip: None,
            rate_limit: RateLimit {
                max_requests: None,
                window_ms: limits::RATE_WINDOW_MS,
                burst: Burst { max_requests: None, window_ms: limits::BURST_WINDOW_MS },
                weights: BTreeMap::new(),
                allow: Vec::new(),
                max_keys: limits::RATE_KEYS,
            },
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            shutdown_grace_ms: limits::SHUTDOWN_GRACE_MS,
            auth: Auth::default(),
            revocation: RevocationOptions::default(),
            storage: Storage {
                kind: StorageKind::Disk,
                dir: PathBuf::from(limits::STORAGE_DIR),
                durability: Durability::Group,
                sync_interval_ms: limits::DEFAULT_SYNC_INTERVAL_MS,
                backup_dir: None,
            },
            metrics: Metrics { host: limits::METRICS_HOST.to_owned(), port: None },
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
            seed: Vec::new(),
        }
    }
}
