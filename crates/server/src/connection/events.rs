//! Events that wait for a connection's socket: every one, in the order in which they happened, up to a bound for each subscription.

use std::collections::{HashMap, VecDeque};

use dunlin_protocol::frame::event_head;

use super::SubscriptionId;
use super::outgoing::Outgoing;
use super::pending::Body;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It waits for the driver.
    Waits,
    /// Not taken: too much waits already. The subscription has to end, because it cannot be told everything.
    TooMuch,
    /// The subscription has ended.
    Closed,
}

/// See the module.
#[derive(Default)]
pub(super) struct Events {
    /// Bytes that wait, by subscription.
    open: HashMap<SubscriptionId, usize>,
    /// Of open subscriptions, the one that waits longest first.
    queue: VecDeque<Waiting>,
}

struct Waiting {
    subscription: SubscriptionId,
    position: u64,
    body: Body,
}

impl Events {
    pub(super) fn open(&mut self, subscription: SubscriptionId) {
        self.open.insert(subscription, 0);
    }

    pub(super) fn push(
        &mut self,
        subscription: SubscriptionId,
        position: u64,
        body: &Body,
        most: usize,
    ) -> Heard {
        let Some(bytes) = self.open.get_mut(&subscription) else { return Heard::Closed };
        // One that is longer than the bound by itself leaves if nothing is before it.
        if *bytes > 0 && *bytes + body.len() > most {
            return Heard::TooMuch;
        }
        *bytes += body.len();
        self.queue.push_back(Waiting { subscription, position, body: body.clone() });
        Heard::Waits
    }

    pub(super) fn forget(&mut self, subscription: SubscriptionId) {
        if self.open.remove(&subscription).is_some_and(|bytes| bytes > 0) {
            self.queue.retain(|waiting| waiting.subscription != subscription);
        }
    }

    /// The event that waits longest, as it leaves.
    pub(super) fn take(&mut self, positions: bool) -> Option<Outgoing> {
        let Waiting { subscription, position, body } = self.queue.pop_front()?;
        if let Some(bytes) = self.open.get_mut(&subscription) {
            *bytes -= body.len();
        }
        let head = event_head(&format!("sub-{subscription}"), positions.then_some(position));
        Some(Outgoing::around(&head, body, "}"))
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.values().sum()
    }
}
