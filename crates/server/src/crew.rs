//! How many connections are still at work, and when the last one has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts running connections, each from its upgrade until its socket is closed.
#[derive(Default)]
pub(crate) struct Crew {
    members: AtomicUsize,
    left: Notify,
}

/// One running connection; dropping it says that it has ended.
pub(crate) struct Member(Arc<Crew>);

impl Crew {
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        self.members.fetch_add(1, Ordering::AcqRel);
        Member(Arc::clone(self))
    }

    /// Waits until nobody is at work.
    pub(crate) async fn gone(&self) {
        loop {
            let left = self.left.notified();
            if self.members.load(Ordering::Acquire) == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}
