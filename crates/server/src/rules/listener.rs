//! Who is told of events.

use std::sync::Arc;

use dunlin_rules::Event;

/// An event that happened, durable if anything had to be.
#[derive(Debug, Clone)]
pub(crate) struct EventAt {
    pub(crate) event: Arc<Event>,
    /// The commit with which it became durable; the newest one if it left nothing behind. Never less than that of the one before.
    pub(crate) position: u64,
    /// What [`RuleListener::number`] gave for it.
    pub(crate) number: u64,
}

/// Is told of events by the `RulesActor`, in the order in which they happened. What it does must be short: the actor waits.
pub(crate) trait RuleListener: Send + Sync {
    /// So many events have become durable: the number of the first of them. For the `StoreActor`, in the order in which they happened
    /// and before anybody is answered: who begins to listen then is told of none that was answered before.
    fn number(&self, events: usize) -> u64;

    /// These happened, one after the other.
    fn tell(&self, events: &[EventAt]);

    /// Some events are lost behind those that were told: the `RulesActor` has failed, or fell behind too far. Whoever was promised all
    /// of them must be told so.
    fn gap(&self);
}
