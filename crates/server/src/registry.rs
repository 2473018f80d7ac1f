//! Who is connected: what `server.connections` shows and what the limits count.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use ractor::ActorRef;
use serde::Serialize;
use tokio::time::Instant;

use crate::address;
use crate::auth::Session;
use crate::connection::ConnectionMessage;
use crate::connection::Outbox;
use crate::time::unix_ms;

/// All open connections of one server.
pub(crate) struct Registry {
    made: Instant,
    entries: DashMap<u64, Arc<Entry>>,
    per_address: DashMap<IpAddr, usize>,
    last_id: AtomicU64,
    subscriptions: Subscriptions,
}

/// How many subscriptions there are.
#[derive(Default)]
pub(crate) struct Subscriptions {
    all: AtomicUsize,
    /// Those among them that are to events of rules.
    rules: AtomicUsize,
}

/// What a subscription is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// A live query.
    Store,
    /// Events of rules.
    Rules,
}

impl Subscriptions {
    /// One more, if there are fewer than `most`.
    fn take(&self, about: About, most: usize) -> bool {
        let taken = self
            .all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1))
            .is_ok();
        if taken && about == About::Rules {
            self.rules.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn free(&self, about: About) {
        if about == About::Rules {
            self.rules.fetch_sub(1, Ordering::Relaxed);
        }
        self.all.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many live queries, and how many subscriptions to events.
    fn counts(&self) -> (usize, usize) {
        let rules = self.rules.load(Ordering::Relaxed);
        (self.all.load(Ordering::Relaxed).saturating_sub(rules), rules)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            made: Instant::now(),
            entries: DashMap::new(),
            per_address: DashMap::new(),
            last_id: AtomicU64::new(0),
            subscriptions: Subscriptions::default(),
        }
    }
}

/// What is known of one connection outside its actor.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) address: IpAddr,
    pub(crate) connected_at: u64,
    pub(crate) session: ArcSwapOption<Session>,
    /// Since when nobody is logged in, in milliseconds of the registry's life.
    stranger_since: AtomicU64,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) outbox: Arc<Outbox>,
    actor: OnceLock<ActorRef<ConnectionMessage>>,
}

/// One connection as `server.connections` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// `conn-<n>`, unique within the server's life.
    pub connection_id: String,
    /// The peer's IP address.
    pub remote_address: String,
    /// Unix milliseconds.
    pub connected_at: u64,
    /// Whether somebody is logged in.
    pub authenticated: bool,
    /// Who.
    pub user_id: Option<String>,
    /// With which roles.
    pub roles: Vec<String>,
    /// Live queries of this connection.
    pub store_subscription_count: usize,
    /// Rule event subscriptions of this connection.
    pub rules_subscription_count: usize,
}

/// The `connections` part of `server.stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConnectionTotals {
    /// Open connections.
    pub active: usize,
    /// Those with somebody logged in.
    pub authenticated: usize,
    /// Live queries of all connections.
    pub total_store_subscriptions: usize,
    /// Rule event subscriptions of all connections.
    pub total_rules_subscriptions: usize,
}

/// A connection's place in the registry; dropping it frees the place and all its subscriptions' slots.
pub(crate) struct Seat {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
    left: bool,
}

impl Registry {
    /// Takes a place for a connection from `address`; `None` if `most` of that address are open already.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        connected_at: u64,
        most: Option<usize>,
        outbox: Arc<Outbox>,
    ) -> Option<Seat> {
        {
            let mut count = self.per_address.entry(address::block(address)).or_insert(0);
            if most.is_some_and(|most| *count >= most) {
                return None;
            }
            *count += 1;
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry {
            id,
            address,
            connected_at,
            session: ArcSwapOption::empty(),
            stranger_since: AtomicU64::new(self.age()),
            subscriptions: Subscriptions::default(),
            outbox,
            actor: OnceLock::new(),
        });
        self.entries.insert(id, Arc::clone(&entry));
        Some(Seat { registry: Arc::clone(self), entry, left: false })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All connections, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.entries.iter().map(|entry| Arc::clone(entry.value())).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }

    /// Those on which nobody has been logged in for `longest` milliseconds. To be asked often: how long somebody was logged
    /// in is only noticed when it is.
    pub(crate) fn strangers(&self, longest: u64) -> Vec<Arc<Entry>> {
        let now = self.age();
        let is_stranger = |entry: &Entry| {
            if entry.is_known() {
                entry.stranger_since.store(now, Ordering::Relaxed);
            }
            now.saturating_sub(entry.stranger_since.load(Ordering::Relaxed)) >= longest
        };
        let strangers = self.entries.iter().filter(|entry| is_stranger(entry));
        strangers.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Milliseconds since it was made.
    fn age(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Lets every connection judge its live queries anew.
    pub(crate) fn rights_changed(&self) {
        for entry in self.entries() {
            if let Some(actor) = entry.actor() {
                // It may be busy with what it was asked before.
                entry.outbox.doubt();
                // A connection that is gone watches nothing.
                let _ = actor.cast(ConnectionMessage::RightsChanged);
            }
        }
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionInfo> {
        self.entries().iter().map(|entry| entry.info()).collect()
    }

    pub(crate) fn totals(&self) -> ConnectionTotals {
        let (store, rules) = self.subscriptions.counts();
        ConnectionTotals {
            active: self.len(),
            authenticated: self.entries.iter().filter(|entry| entry.session.load().is_some()).count(),
            total_store_subscriptions: store,
            total_rules_subscriptions: rules,
        }
    }
}

impl Entry {
    /// The connection's actor, once it runs.
    pub(crate) fn actor(&self) -> Option<&ActorRef<ConnectionMessage>> {
        self.actor.get()
    }

    /// Somebody is logged in whose session has not ended.
    fn is_known(&self) -> bool {
        let session = self.session.load();
        session.as_ref().is_some_and(|session| session.expires_at.is_none_or(|end| end >= unix_ms()))
    }

    fn info(&self) -> ConnectionInfo {
        let session = self.session.load();
        let (store, rules) = self.subscriptions.counts();
        ConnectionInfo {
            connection_id: format!("conn-{}", self.id),
            remote_address: self.address.to_string(),
            connected_at: self.connected_at,
            authenticated: session.is_some(),
            user_id: session.as_ref().map(|session| session.user_id.clone()),
            roles: session.as_ref().map(|session| session.roles.clone()).unwrap_or_default(),
            store_subscription_count: store,
            rules_subscription_count: rules,
        }
    }
}

impl Seat {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Whoever was logged in is not any more: from now on a login is waited for anew.
    pub(crate) fn end_session(&self) -> Option<Arc<Session>> {
        self.entry.stranger_since.store(self.registry.age(), Ordering::Relaxed);
        self.entry.session.swap(None)
    }

    pub(crate) fn seat_actor(&self, actor: ActorRef<ConnectionMessage>) {
        // A connection has one actor for its whole life, so the cell is empty here.
        let _ = self.entry.actor.set(actor);
    }

    /// Takes a slot for one more subscription of all connections together; `false` if `most` are taken.
    pub(crate) fn take_subscription(&self, about: About, most: usize) -> bool {
        let taken = self.registry.subscriptions.take(about, most);
        // One connection is held to its own limit by what it knows.
        taken && self.entry.subscriptions.take(about, usize::MAX)
    }

    pub(crate) fn free_subscription(&self, about: About) {
        self.registry.subscriptions.free(about);
        self.entry.subscriptions.free(about);
    }
}

impl Seat {
    /// Frees the place, once.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let (store, rules) = self.entry.subscriptions.counts();
        let left = std::iter::repeat_n(About::Store, store).chain(std::iter::repeat_n(About::Rules, rules));
        left.for_each(|about| self.free_subscription(about));
        self.registry.entries.remove(&self.entry.id);
        self.registry.per_address.remove_if_mut(&address::block(self.entry.address), |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
