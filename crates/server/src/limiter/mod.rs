//! How much everybody may ask: requests by user, or by address where nobody is logged in.
//!
//! An [`Account`](account::Account) keeps two sliding logs; a connection holds the one it is charged to, so that a request
//! costs an uncontended lock and no look-up. Accounts that say nothing any more are forgotten, whoever holds them; if there
//! are too many that do, newcomers share one: a flood of addresses costs the flood, and frees nobody's budget.

mod account;
mod log;
mod weights;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;
use dunlin_protocol::{Code, Error, Kind};
use ipnet::IpNet;
use serde_json::json;
use tokio::time::Instant;

use self::account::{Account, Budget, Key, Verdict};
use self::log::Window;
use self::weights::Weights;
pub(crate) use self::weights::fits;
use crate::auth::Session;
use crate::config::RateLimit;
use crate::registry::Entry;

/// The limiter of one server.
pub(crate) struct Limiter {
    budget: Budget,
    weights: Weights,
    exempt: Vec<IpNet>,
    accounts: DashMap<Key, Arc<Account>>,
    /// How many there are: the map would have to add up its parts.
    len: AtomicUsize,
    most: usize,
    /// Whom all newcomers share while there is no room.
    overflow: Arc<Account>,
    started: Instant,
}

impl Limiter {
    /// `None` if nothing is limited.
    pub(crate) fn new(config: &RateLimit) -> Option<Self> {
        let window = Window { most: config.max_requests?, ms: config.window_ms };
        let burst = config.burst.max_requests.map(|most| Window { most, ms: config.burst.window_ms });
        Some(Self {
            budget: Budget { window, burst },
            weights: Weights::new(&config.weights),
            exempt: config.allow.clone(),
            accounts: DashMap::new(),
            len: AtomicUsize::new(0),
            most: config.max_keys,
            overflow: Arc::default(),
            started: Instant::now(),
        })
    }

    /// What a connection from this address needs to be limited; `None` if it is not.
    pub(crate) fn pass(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let address = address.to_canonical();
        let exempt = self.exempt.iter().any(|network| network.contains(&address));
        (!exempt).then(|| Pass { limiter: Arc::clone(self), session: None, account: None })
    }

    /// Charges an operation to an address that has no connection yet.
    pub(crate) fn charge_address(self: &Arc<Self>, address: IpAddr, kind: Kind) -> Result<(), Error> {
        if self.pass(address).is_none() {
            return Ok(());
        }
        let (now, weight) = (self.now(), self.weights.of(Some(kind)));
        loop {
            match self.account(Key::address(address), now).charge(&self.budget, now, weight) {
                Verdict::Passed => return Ok(()),
                Verdict::Refused(wait) => return Err(refusal(wait)),
                Verdict::Forgotten => {}
            }
        }
    }

    /// Milliseconds of this limiter's life.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The account of a key, a new one if need be.
    fn account(&self, key: Key, now: u64) -> Arc<Account> {
        match self.accounts.entry(key) {
            Place::Occupied(found) => Arc::clone(found.get()),
            Place::Vacant(place) => {
                let room = |len| (len < self.most).then_some(len + 1);
                if self.len.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
                    return Arc::clone(&self.overflow);
                }
                // Whoever comes may have used the shared one a moment ago.
                let fresh = self.overflow.is_empty(&self.budget, now);
                let account = if fresh { Account::default() } else { Account::behind(&self.overflow) };
                Arc::clone(&place.insert(Arc::new(account)))
            }
        }
    }

    /// Forgets the accounts that say nothing; how many remain.
    pub(crate) fn sweep(&self) -> usize {
        let now = self.now();
        self.accounts.retain(|_, account| {
            let forgotten = account.forget(&self.budget, now);
            if forgotten {
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
            !forgotten
        });
        self.len.load(Ordering::Relaxed)
    }
}

/// What one connection holds of the limiter: the account that it is charged to.
pub(crate) struct Pass {
    limiter: Arc<Limiter>,
    /// Who was logged in when that was chosen. Held, so that no other session can have its place in memory.
    session: Option<Arc<Session>>,
    account: Option<Arc<Account>>,
}

/// A time that several requests share: reading the clock costs as much as the rest.
#[derive(Default)]
pub(crate) struct Moment(Option<u64>);

impl Moment {
    /// Time has passed.
    pub(crate) fn over(&mut self) {
        self.0 = None;
    }
}

impl Pass {
    /// Charges a request, or a frame that is none (`kind` is `None`), to whoever is logged in, or else to the address.
    pub(crate) fn charge(
        &mut self,
        entry: &Entry,
        kind: Option<Kind>,
        moment: &mut Moment,
    ) -> Result<(), Error> {
        let now = *moment.0.get_or_insert_with(|| self.limiter.now());
        let weight = self.limiter.weights.of(kind);
        let session = entry.session.load();
        if self.session.as_ref().map(Arc::as_ptr) != session.as_ref().map(Arc::as_ptr) {
            self.session.clone_from(&session);
            self.account = None;
        }
        loop {
            let account = match &self.account {
                Some(account) => account,
                None => self.account.insert(self.limiter.account(self.key(entry), now)),
            };
            let verdict = account.charge(&self.limiter.budget, now, weight);
            // There may be room for an account of its own next time.
            if verdict == Verdict::Forgotten || Arc::ptr_eq(account, &self.limiter.overflow) {
                self.account = None;
            }
            match verdict {
                Verdict::Passed => return Ok(()),
                Verdict::Refused(wait) => return Err(refusal(wait)),
                Verdict::Forgotten => {}
            }
        }
    }

    fn key(&self, entry: &Entry) -> Key {
        match &self.session {
            Some(session) => Key::user(&session.user_id),
            None => Key::address(entry.address),
        }
    }
}

fn refusal(wait: u64) -> Error {
    Error::new(Code::RateLimited, format!("Rate limit exceeded. Retry after {wait}ms"))
        .with_details(json!({"retryAfterMs": wait}))
}

#[cfg(test)]
mod tests;
