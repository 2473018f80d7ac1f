//! **dunlin**: a realtime data server to embed in a Rust service, or to run as a program.
//!
//! Clients connect over WebSocket, do schema-checked reads and writes on a reactive store, and subscribe to live queries.
//! Three ways to use it from Rust:
//!
//! - a server of its own: [`Server::builder`], then [`bind`](ServerBuilder::bind);
//! - inside an axum application: [`build`](ServerBuilder::build), then merge [`Server::router`];
//! - with your own rights: [`authenticator`](ServerBuilder::authenticator) and [`permissions`](ServerBuilder::permissions).
//!
//! ```
//! use dunlin::Server;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().memory().port(0).bind().await?;
//! server.store().define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await?;
//! println!("clients connect to ws://{}/", server.local_addr().ok_or("not listening")?);
//! server.stop(std::time::Duration::ZERO).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Rules say what follows from events and facts: [`ServerBuilder::rules`], [`Server::rules`].
//!
//! The parts are crates of their own: [`protocol`] is the wire, [`store`] the pure store, [`rules`] the pure rule engine, [`journal`] durability. The program
//! is in the feature `program` (on by default); a service that embeds the library can leave it out with
//! `default-features = false`.

pub use dunlin_journal as journal;
pub use dunlin_protocol as protocol;
pub use dunlin_rules as rules;
pub use dunlin_rules::RuleBuilder;
pub use dunlin_server::*;
pub use dunlin_store as store;

/// The examples of the guide compile and hold.
#[cfg(doctest)]
#[doc = include_str!("../docs/store.md")]
struct StoreGuide;
