//! The dunlin server: a listener, one actor per connection, one writer, live queries.
//!
//! [`Server::builder`] is the way in. Inside, a request goes one way:
//!
//! - `listener`, `http`, `handshake`: TCP and HTTP until the upgrade;
//! - `connection`: a driver task owns the socket, an actor owns the session, an outbox joins them;
//! - `ops`: what each operation does, and the gate they all pass ([`auth`](Authenticator));
//! - `auth`: who is who: tokens, signed tokens, another service (`http_client`, `breaker`), and whose sessions were revoked;
//! - `store_actor`: the only writer, `workbench`: where it prepares what it writes; `published`: the newest durable state, which reads use without asking anybody;
//! - `live`: from commits to pushes; `programmatic`: queries that are part of the program; `events`: from commits to listeners in this process;
//! - `rule_events`: from the engine's events to whoever is subscribed;
//! - `rules`: the rule engine beside the store, what it tells and what it asks of others;
//! - `bench`: the writer without its actor, for simulations;
//! - `backup`: the newest durable state as a file;
//! - `expiry`: when records are due to be removed; `typed`: buckets as collections of a Rust type;
//! - `supervisor`: restarts what must not be missing. `docs/actors.md` says who owns what and what a panic costs;
//! - [`config`], [`limits`]: everything that can be chosen, and everything that is bounded.

mod address;
mod auth;
mod backup;
#[doc(hidden)]
pub mod bench;
mod breaker;
mod builder;
pub mod config;
mod connection;
mod crew;
mod events;
mod expiry;
mod handshake;
mod http;
mod http_client;
mod limiter;
pub mod limits;
mod listener;
mod live;
mod logins;
mod metrics;
mod migrate;
mod ops;
mod programmatic;
mod proxy;
mod published;
mod reconfigure;
mod registry;
mod rule_events;
mod rules;
mod rules_handle;
mod rules_start;
mod server;
mod shared;
mod start_error;
mod storage;
mod storage_health;
mod store_actor;
mod store_handle;
mod supervisor;
mod sweep;
mod time;
mod typed;
mod workbench;

/// The client of the integration tests, for the tests that need this crate's inside.
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod integration;

#[cfg(test)]
extern crate self as dunlin_server;

pub use auth::{
    Access, Authentication, Authenticator, AuthenticatorFault, Decision, HandshakeInfo, JwtAuthenticator,
    JwtError, Login, OwnedAccess, PermissionFault, Permissions, Policy, PolicyError, Revocation, Session,
    Verdict, WebhookAuthenticator, WebhookError,
};
pub use backup::{Backup, BackupError};
pub use builder::ServerBuilder;
pub use config::{Config, JwtOptions, RulesOptions, WebhookOptions, WebhookTargets};
pub use events::{Event, EventKind, Events, Lagged, Removal};
pub use reconfigure::Reconfigured;
pub use registry::{ConnectionInfo, ConnectionTotals};
pub use rule_events::{Missed, RuleEvent, RuleEventStream};
pub use rules::{ServiceError, Services};
pub use rules_handle::RulesHandle;
pub use server::{ServeError, Server};
pub use start_error::StartError;
pub use storage::open_journal;
pub use store_actor::WriteError;
pub use store_handle::StoreHandle;
pub use typed::{DecodeError, Stored, TypedBucket, TypedError};
