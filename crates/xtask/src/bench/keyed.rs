//! `keyed-50x16`: what an idempotency key adds to a durable insert.
//!
//! Two servers take the same inserts, one of them with a new key in each. Keys are forgotten soon, and the load runs for longer than
//! they are remembered before anything is measured: forgetting as many as come is part of the price.

use std::time::Duration;

use super::connection::{Connection, WHOLE};
use super::contest::{Contest, Storage};
use super::figures::{Figures, median, ratio};
use super::load::{self, Shape, Window};
use super::records::{self, Requests};
use super::report::{Report, thousands};
use crate::failure::Outcome;

/// The server's options: a key is remembered for a second (and up to one more, until it is swept), and none is one too many.
const OPTIONS: &[&str] = &[
    "--idempotency-ttl-ms",
    "1000",
    "--idempotency-max-keys-per-user",
    "100000000",
    "--idempotency-max-keys",
    "100000000",
];

/// Until as many keys are forgotten as come.
const WARM_UP: Duration = Duration::from_millis(2_500);

const AIM: &str = "≤ 1.05×";

#[derive(Default)]
pub(crate) struct Price {
    plain: Vec<Figures>,
    keyed: Vec<Figures>,
}

impl Price {
    /// `title` names the insert.
    pub(crate) fn put(&self, title: &str, report: &mut Report) {
        let shown = |runs: &[Figures]| {
            format!("{} µs", thousands(median(runs.iter().map(|run| run.cpu_us).collect())))
        };
        report.aimed(&format!("{title}, server CPU"), shown(&self.plain), "-");
        report.aimed("the same with an idempotency key", shown(&self.keyed), "-");
        let times = ratio(&self.keyed, &self.plain, |run| run.cpu_us);
        report.aimed("what the key multiplies it by", format!("{times:.2}×"), AIM);
    }
}

/// Runs without and with keys in turn, `rounds` times.
pub(crate) async fn run(contest: &Contest, shape: Shape, window: Window, rounds: usize) -> Outcome<Price> {
    let window = Window { warm_up: WARM_UP, ..window };
    let mut price = Price::default();
    for _ in 0..rounds {
        for (keyed, runs) in [(false, &mut price.plain), (true, &mut price.keyed)] {
            let running = contest.start_dunlin(Storage::Durable, OPTIONS).await?;
            let address = running.address;
            Connection::open(address, WHOLE).await?.call(&records::define_bucket()).await?;
            let requests = if keyed { Requests::keyed_inserts } else { Requests::inserts };
            let figures = load::measure(address, running.id, shape, window, requests).await;
            runs.push(figures.map_err(|why| running.server.failure(&why.to_string()))?);
            running.stop().await?;
        }
    }
    Ok(price)
}
