//! `limiter-memory`: what the rate limit keeps of as many addresses as somebody likes to have.
//!
//! A proxy that the server trusts names an address of its own for each connection; each makes one request and goes. What
//! the server has grown by is what it remembers of them. When all are idle, as many others come: if the first are
//! forgotten, it does not grow again.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::connection::{Connection, TYPE_BYTES};
use super::contest::{Contest, Storage};
use super::cpu::resident_kib;
use super::limits::OPENING;
use super::report::{Report, count, thousands};
use super::tasks;
use crate::failure::Outcome;

/// Connections of one address before anything is measured: they pay for what all connections share.
const WARM_UP: u32 = 2_000;

/// The server looks for idle addresses about every second.
const SWEEPS: Duration = Duration::from_secs(5);

const AIM: &str = "≤ 32 MB";
const AIM_AGAIN: &str = "≤ 4 MB";

/// Where the addresses of the warm-up and of each wave begin.
const WAVES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 16, 0, 0), Ipv4Addr::new(10, 32, 0, 0)];

pub(crate) struct Growth {
    addresses: u32,
    /// Resident bytes.
    first: f64,
    second: f64,
}

impl Growth {
    pub(crate) fn put(&self, report: &mut Report) {
        let shown = |bytes: f64| format!("{} MB", thousands(bytes / 1e6));
        let addresses = count(self.addresses as usize);
        report.aimed(
            &format!("memory for {addresses} addresses with a request each"),
            shown(self.first),
            AIM,
        );
        report.aimed("more for as many others, when these are idle", shown(self.second), AIM_AGAIN);
    }
}

fn config(window: Duration) -> Value {
    json!({
        "rateLimit": {"maxRequests": 100_000, "windowMs": window.as_secs() * 1_000},
        "trustedProxies": ["127.0.0.1"],
    })
}

/// Two waves of addresses, each within a window.
pub(crate) async fn run(contest: &Contest, (addresses, window): (u32, Duration)) -> Outcome<Growth> {
    let running = contest.start_configured(Storage::Memory, &config(window)).await?;
    let grown = measure(running.address, running.id, addresses, window).await;
    let [first, second] = grown.map_err(|why| running.server.failure(&why.to_string()))?;
    running.stop().await?;
    Ok(Growth { addresses, first, second })
}

async fn measure(address: SocketAddr, server: Pid, addresses: u32, window: Duration) -> Outcome<[f64; 2]> {
    let [warm_up, first, second] = WAVES;
    visit(address, WARM_UP, |_| warm_up).await?;
    let mut before = resident_kib(server)?;
    let mut grown = [0.0; 2];
    for (start, grown) in [first, second].into_iter().zip(&mut grown) {
        visit(address, addresses, |number| nth(start, number)).await?;
        let now = resident_kib(server)?;
        *grown = kib(now) - kib(before);
        before = now;
        sleep(window + SWEEPS).await;
    }
    Ok(grown)
}

#[allow(clippy::cast_precision_loss)] // far below 2^53
fn kib(kib: u64) -> f64 {
    kib as f64 * 1024.0
}

fn nth(start: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(start.to_bits() + number)
}

/// Connections that make one request each and go.
async fn visit(address: SocketAddr, visitors: u32, of: impl Fn(u32) -> Ipv4Addr) -> Outcome {
    tasks::all(visitors as usize, OPENING, |number| {
        let client = of(u32::try_from(number).unwrap_or(u32::MAX));
        async move {
            let mut connection = Connection::forwarded(address, TYPE_BYTES, client).await?;
            connection.settle(&json!({"id": 1, "type": "store.buckets"})).await
        }
    })
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_have_no_address_in_common() {
        let (most, _) = super::super::limits::addresses(false);
        let [warm_up, first, second] = WAVES;
        assert!(warm_up < first && nth(first, most) < second);
        assert_eq!(nth(first, 257).to_string(), "10.16.1.1");
    }
}
