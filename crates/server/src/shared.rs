//! What all connections of one server look at.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use dunlin_journal::Journal;

use crate::auth::Auth;
use crate::config::Config;
use crate::crew::Crew;
use crate::events::EventBus;
use crate::limiter::Limiter;
use crate::live::ChangeFeed;
use crate::logins::Logins;
use crate::metrics::Metrics;
use crate::programmatic::Programmatic;
use crate::published::Published;
use crate::registry::Registry;
use crate::rule_events::RuleEvents;
use crate::storage_health::StorageHealth;
use crate::store_handle::StoreHandle;

/// What of the rule engine is for everybody to use.
pub(crate) struct RulesPart {
    /// Who hears of what.
    pub(crate) events: Arc<RuleEvents>,
}

/// One server's shared parts. Each is safe to use from anywhere; see `docs/actors.md` for who changes what.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The same with what has changed since the start.
    pub(crate) now: Mutex<Config>,
    pub(crate) published: Arc<Published>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) events: Arc<EventBus>,
    pub(crate) store: StoreHandle,
    pub(crate) registry: Arc<Registry>,
    /// The queries that are part of the program.
    pub(crate) programmatic: Arc<Programmatic>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None`: there is no rule engine.
    pub(crate) rules: Option<Arc<RulesPart>>,
    /// Connections at work, for an orderly stop.
    pub(crate) crew: Arc<Crew>,
    /// `None`: everybody may do everything.
    pub(crate) auth: Option<Arc<Auth>>,
    /// `None`: requests are not limited.
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// Logins under way.
    pub(crate) logins: Arc<Logins>,
    /// Backups are written in turn.
    pub(crate) backup: crate::backup::Turn,
    /// For those who want to know its figures; the `StoreActor` has it.
    pub(crate) journal: Weak<dyn Journal>,
    /// Whether data survives the process.
    pub(crate) durable: bool,
    /// Bytes of waiting answers at which a connection pauses its work: `maxBufferedBytes × highWaterMark`.
    pub(crate) answer_mark: usize,
    pub(crate) last_subscription: AtomicU64,
    pub(crate) started: Instant,
    /// No new connections; `/ready` says so.
    pub(crate) stopping: AtomicBool,
    /// Whether writes can be made durable; `/ready` says so.
    pub(crate) storage: Arc<StorageHealth>,
}
