//! Who is connected: what `server.connections` shows and what the limits count.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use ractor::ActorRef;
use serde::Serialize;

use crate::auth::Session;
use crate::connection::ConnectionMessage;
use crate::connection::Outbox;

/// All open connections of one server.
#[derive(Default)]
pub(crate) struct Registry {
    entries: DashMap<u64, Arc<Entry>>,
    per_address: DashMap<IpAddr, usize>,
    last_id: AtomicU64,
    subscriptions: AtomicUsize,
}

/// What is known of one connection outside its actor.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) address: IpAddr,
    pub(crate) connected_at: u64,
    pub(crate) session: ArcSwapOption<Session>,
    pub(crate) subscriptions: AtomicUsize,
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
            let mut count = self.per_address.entry(address).or_insert(0);
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
            subscriptions: AtomicUsize::new(0),
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

    pub(crate) fn connections(&self) -> Vec<ConnectionInfo> {
        self.entries().iter().map(|entry| entry.info()).collect()
    }

    pub(crate) fn totals(&self) -> ConnectionTotals {
        ConnectionTotals {
            active: self.len(),
            authenticated: self.entries.iter().filter(|entry| entry.session.load().is_some()).count(),
            total_store_subscriptions: self.subscriptions.load(Ordering::Relaxed),
            total_rules_subscriptions: 0,
        }
    }
}

impl Entry {
    /// The connection's actor, once it runs.
    pub(crate) fn actor(&self) -> Option<&ActorRef<ConnectionMessage>> {
        self.actor.get()
    }

    fn info(&self) -> ConnectionInfo {
        let session = self.session.load();
        ConnectionInfo {
            connection_id: format!("conn-{}", self.id),
            remote_address: self.address.to_string(),
            connected_at: self.connected_at,
            authenticated: session.is_some(),
            user_id: session.as_ref().map(|session| session.user_id.clone()),
            roles: session.as_ref().map(|session| session.roles.clone()).unwrap_or_default(),
            store_subscription_count: self.subscriptions.load(Ordering::Relaxed),
            rules_subscription_count: 0,
        }
    }
}

impl Seat {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    pub(crate) fn seat_actor(&self, actor: ActorRef<ConnectionMessage>) {
        // A connection has one actor for its whole life, so the cell is empty here.
        let _ = self.entry.actor.set(actor);
    }

    /// Takes a slot for one more subscription of all connections together; `false` if `most` are taken.
    pub(crate) fn take_subscription(&self, most: usize) -> bool {
        let total = &self.registry.subscriptions;
        let taken = total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1))
            .is_ok();
        if taken {
            self.entry.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    pub(crate) fn free_subscription(&self) {
        self.registry.subscriptions.fetch_sub(1, Ordering::Relaxed);
        self.entry.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seat {
    /// Frees the place, once.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let left = self.entry.subscriptions.swap(0, Ordering::Relaxed);
        self.registry.subscriptions.fetch_sub(left, Ordering::Relaxed);
        self.registry.entries.remove(&self.entry.id);
        self.registry.per_address.remove_if_mut(&self.entry.address, |_, count| {
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
