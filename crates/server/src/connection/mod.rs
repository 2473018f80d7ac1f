//! One connection: a driver task that owns the socket and an actor that owns the session, joined by an outbox.

mod actor;
mod driver;
mod events;
mod heartbeat;
mod meter;
mod outbox;
mod outgoing;
mod pending;
mod serve;
mod stall;
mod turn;

pub(crate) use actor::{ConnectionMessage, ConnectionState, ask_live};
pub(crate) use events::Heard;
pub(crate) use outbox::{Outbox, SubscriptionId};
pub(crate) use pending::{Body, Payload, Pushed};
pub(crate) use serve::{Upgrade, serve};
