//! `start`: from nothing to the first accepted connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::contest::{Canned, Contest, ROLES, Role, Storage};
use super::figures::Pairs;
use crate::failure::{Doing, Failure, Outcome};
use crate::server::Server;

/// Between two attempts to connect: well below what is measured.
const ATTEMPT: Duration = Duration::from_micros(200);

const START_LIMIT: Duration = Duration::from_secs(20);

/// Milliseconds from spawning an empty durable server to an accepted connection, `rounds` times.
pub(crate) async fn run(contest: &Contest, rounds: usize) -> Outcome<Pairs<f64>> {
    let mut pairs = Pairs::new();
    for _ in 0..rounds {
        for role in ROLES {
            let address = free_address().await?;
            let (mut command, data) =
                contest.command(role, Storage::Durable, Canned::default(), address.port())?;
            let start = Instant::now();
            let server = Server::spawn(&mut command)?;
            while TcpStream::connect(address).await.is_err() {
                if start.elapsed() > START_LIMIT {
                    return Err(
                        server.failure(&format!("nothing listens on {address} after {START_LIMIT:?}"))
                    );
                }
                sleep(ATTEMPT).await;
            }
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            server.stop().await?;
            drop(data);
            match role {
                Role::Dunlin => pairs.dunlin.push(elapsed),
                Role::Floor => pairs.floor.push(elapsed),
            }
        }
    }
    Ok(pairs)
}

/// An address nobody listens on just now.
async fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.doing(|| "no free port on loopback".into())?;
    listener.local_addr().map_err(|why| Failure::new(format!("no free port on loopback: {why}")))
}
