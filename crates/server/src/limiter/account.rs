//! What one user or one address has used of its budget.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use super::log::{Log, Window};
use crate::address;

/// Whose budget it is. Users and addresses never meet, whatever a user is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    User(Box<str>),
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Key {
    pub(super) fn user(id: &str) -> Self {
        Self::User(id.into())
    }

    pub(super) fn address(address: IpAddr) -> Self {
        match address::block(address) {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The windows that must all have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) window: Window,
    pub(crate) burst: Option<Window>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// After so many milliseconds it would pass.
    Refused(u64),
    /// Nobody counts by this account any more: ask for the key's new one.
    Forgotten,
}

/// Shared by all connections of one key. The lock is held for a few nanoseconds and never across anything.
#[derive(Default)]
pub(super) struct Account(Mutex<Used>);

#[derive(Default)]
struct Used {
    window: Log,
    burst: Log,
    forgotten: bool,
}

impl Account {
    /// One that begins where `other` is now: for somebody who has, or may have, used that one before.
    pub(super) fn behind(other: &Self) -> Self {
        let used = other.used();
        Self(Mutex::new(Used { window: used.window.joined(), burst: used.burst.joined(), forgotten: false }))
    }

    pub(super) fn charge(&self, budget: &Budget, now: u64, weight: u32) -> Verdict {
        let mut used = self.used();
        if used.forgotten {
            return Verdict::Forgotten;
        }
        let mut wait = used.window.wait(budget.window, now, weight);
        if let Some(burst) = budget.burst {
            wait = wait.max(used.burst.wait(burst, now, weight));
        }
        if let Some(wait) = wait {
            return Verdict::Refused(wait);
        }
        used.window.pass(budget.window, now, weight);
        if let Some(burst) = budget.burst {
            used.burst.pass(burst, now, weight);
        }
        Verdict::Passed
    }

    /// Forgets it if it says nothing any more. Whoever still holds it will notice.
    pub(super) fn forget(&self, budget: &Budget, now: u64) -> bool {
        let mut used = self.used();
        used.forgotten = used.is_empty(budget, now);
        used.forgotten
    }

    pub(super) fn is_empty(&self, budget: &Budget, now: u64) -> bool {
        self.used().is_empty(budget, now)
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let used = self.used();
        used.window.heap_bytes() + used.burst.heap_bytes()
    }
}

impl Used {
    fn is_empty(&self, budget: &Budget, now: u64) -> bool {
        self.window.is_empty(budget.window, now)
            && budget.burst.is_none_or(|burst| self.burst.is_empty(burst, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_called_like_an_address_is_not_that_address() {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        assert_ne!(Key::user("127.0.0.1"), Key::address(address));
        assert_eq!(Key::address("::ffff:127.0.0.1".parse().unwrap()), Key::address(address));
        assert_eq!(
            Key::address("2001:db8::1".parse().unwrap()),
            Key::address("2001:db8::2".parse().unwrap())
        );
    }

    #[test]
    fn the_burst_must_have_room_too_and_the_longer_wait_is_told() {
        let window = Window { most: 5, ms: 1000 };
        let budget = Budget { window, burst: Some(Window { most: 2, ms: 100 }) };
        let account = Account::default();
        let charge = |now| account.charge(&budget, now, 1);
        assert_eq!([charge(0), charge(0)], [Verdict::Passed; 2]);
        assert_eq!(charge(30), Verdict::Refused(70));
        assert_eq!(charge(99), Verdict::Refused(1));
        assert_eq!([charge(100), charge(150)], [Verdict::Passed; 2]);
        assert_eq!(charge(199), Verdict::Refused(1));
        assert_eq!(charge(200), Verdict::Passed);
        assert_eq!(charge(300), Verdict::Refused(700), "five in the longer window");
        assert_eq!(charge(999), Verdict::Refused(1));
        assert_eq!(charge(1000), Verdict::Passed);
    }

    #[test]
    fn what_was_refused_by_one_window_is_not_counted_by_the_other() {
        let budget = Budget { window: Window { most: 3, ms: 1000 }, burst: Some(Window { most: 1, ms: 10 }) };
        let account = Account::default();
        for now in [0, 10, 20] {
            assert_eq!(account.charge(&budget, now, 1), Verdict::Passed);
            for _ in 0..10 {
                assert!(matches!(account.charge(&budget, now, 1), Verdict::Refused(_)));
            }
        }
    }

    #[test]
    fn only_an_account_that_says_nothing_is_forgotten() {
        let budget = Budget { window: Window { most: 1, ms: 100 }, burst: None };
        let account = Account::default();
        assert_eq!(account.charge(&budget, 0, 1), Verdict::Passed);
        assert!(!account.forget(&budget, 99));
        assert_eq!(account.charge(&budget, 99, 1), Verdict::Refused(1));
        assert!(account.forget(&budget, 100));
        assert_eq!(account.charge(&budget, 100, 1), Verdict::Forgotten);
    }

    #[test]
    fn whoever_moves_over_has_used_what_was_used_where_he_was() {
        let budget = Budget { window: Window { most: 2, ms: 100 }, burst: None };
        let shared = Account::default();
        shared.charge(&budget, 0, 1);
        shared.charge(&budget, 10, 1);
        let own = Account::behind(&shared);
        assert_eq!(own.charge(&budget, 20, 1), Verdict::Refused(90));
        assert_eq!(own.charge(&budget, 110, 2), Verdict::Passed);
    }
}
