//! Logins under way: so many of one address, and so many in all, so that a slow authenticator is there for everybody.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{address, limits};

/// The places of one server.
pub(crate) struct Logins {
    all: Arc<Semaphore>,
    /// Of the addresses that have a login under way or waiting.
    by_address: DashMap<IpAddr, Arc<Semaphore>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(limits::LOGINS)), by_address: DashMap::new() }
    }
}

/// A login under way; dropping it makes room for the next.
pub(crate) struct LoginPlace {
    // Given back in this order: who leaves the queue must not hold its semaphore.
    _all: Option<OwnedSemaphorePermit>,
    _own: Option<OwnedSemaphorePermit>,
    _queue: Queue,
}

impl Logins {
    /// Waits for a place, behind those who came before. Whoever waits for one of his address takes none of the others.
    pub(crate) async fn enter(self: &Arc<Self>, address: IpAddr) -> LoginPlace {
        let queue = Queue::join(self, address::block(address));
        // Neither is ever closed.
        let own = match &queue.places {
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        };
        let all = Arc::clone(&self.all).acquire_owned().await.ok();
        LoginPlace { _all: all, _own: own, _queue: queue }
    }
}

/// Somebody who has or wants a place of an address.
struct Queue {
    logins: Arc<Logins>,
    address: IpAddr,
    places: Option<Arc<Semaphore>>,
}

impl Queue {
    fn join(logins: &Arc<Logins>, address: IpAddr) -> Self {
        let places = Arc::clone(
            &*logins
                .by_address
                .entry(address)
                .or_insert_with(|| Arc::new(Semaphore::new(limits::LOGINS_PER_ADDRESS))),
        );
        Self { logins: Arc::clone(logins), address, places: Some(places) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // First: of several who leave together the last one must find that nobody is left.
        self.places = None;
        self.logins.by_address.remove_if(&self.address, |_, places| Arc::strong_count(places) == 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Those who get in at once.
    async fn enter(logins: &Arc<Logins>, address: &str, how_many: usize) -> Vec<LoginPlace> {
        let address = address.parse().unwrap();
        let mut places = Vec::new();
        for _ in 0..how_many {
            places.extend(tokio::time::timeout(Duration::from_millis(1), logins.enter(address)).await.ok());
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_room_for_others_and_all_of_them_for_the_authenticator() {
        let logins = Arc::new(Logins::default());
        let mut flood = enter(&logins, "192.0.2.1", 40).await;
        assert_eq!(flood.len(), limits::LOGINS_PER_ADDRESS);
        assert_eq!(enter(&logins, "192.0.2.2", 1).await.len(), 1);
        assert_eq!(enter(&logins, "2001:db8::1", 4).await.len(), 4);
        flood.pop();
        assert_eq!(enter(&logins, "192.0.2.1", 2).await.len(), 1);
        for n in 0..40 {
            flood.extend(enter(&logins, &format!("198.51.100.{n}"), 40).await);
        }
        assert_eq!(flood.len(), limits::LOGINS);
        drop(flood);
        assert_eq!(logins.by_address.len(), 0, "nothing is kept of those who have left, or given up");
        assert_eq!(logins.all.available_permits(), limits::LOGINS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_place_that_becomes_free() {
        let logins = Arc::new(Logins::default());
        let mut flood = enter(&logins, "192.0.2.1", 8).await;
        let address = "192.0.2.1".parse().unwrap();
        let waiting = tokio::spawn({
            let logins = Arc::clone(&logins);
            async move { drop(logins.enter(address).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        flood.pop();
        waiting.await.unwrap();
    }
}
