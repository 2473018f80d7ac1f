//! `idle-memory`: what a connection costs that says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::connection::{Connection, TYPE_BYTES};
use super::contest::{Canned, Contest, ROLES, Role, Storage};
use super::cpu::resident_kib;
use super::figures::Pairs;
use super::limits;
use super::tasks;
use crate::failure::Outcome;

pub(crate) const CONNECTIONS: usize = 4_000;

/// The server finishes what the handshakes started.
const SETTLE: Duration = Duration::from_millis(500);

/// Resident KiB per connection, `rounds` times.
pub(crate) async fn run(contest: &Contest, rounds: usize) -> Outcome<Pairs<f64>> {
    limits::allow_connections(CONNECTIONS)?;
    let mut pairs = Pairs::new();
    for _ in 0..rounds {
        for role in ROLES {
            let running = contest.start(role, Storage::Memory, Canned::default()).await?;
            // The first connection pays for what all of them share.
            drop(Connection::open(running.address, TYPE_BYTES).await?);
            sleep(SETTLE).await;
            let before = resident_kib(running.id)?;
            let open = open(running.address).await.map_err(|why| running.server.failure(&why.to_string()))?;
            sleep(SETTLE).await;
            let grown = resident_kib(running.id)?.saturating_sub(before);
            drop(open);
            running.stop().await?;
            #[allow(clippy::cast_precision_loss)] // far below 2^53
            let each = grown as f64 / CONNECTIONS as f64;
            match role {
                Role::Dunlin => pairs.dunlin.push(each),
                Role::Floor => pairs.floor.push(each),
            }
        }
    }
    Ok(pairs)
}

async fn open(address: SocketAddr) -> Outcome<Vec<Connection>> {
    tasks::all(CONNECTIONS, limits::OPENING, |_| Connection::open(address, TYPE_BYTES)).await
}
