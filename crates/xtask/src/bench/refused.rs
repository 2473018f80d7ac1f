//! `refused`: what a request costs that the rate limit refuses, against one that is served.
//!
//! Two servers get the same requests. One serves them; on the other the budget is spent with the first.

use std::sync::Arc;

use serde_json::json;

use super::connection::{Connection, Kind, WHOLE};
use super::contest::{Contest, Storage};
use super::figures::{Figures, median, ratio};
use super::load::{self, ANYBODY, Shape, Visitor, Window};
use super::records::{self, Gets, PEOPLE, Requests};
use super::report::{Report, thousands};
use crate::failure::Outcome;

/// Longer than any run, milliseconds: nothing becomes free again.
const WINDOW_MS: u64 = 3_600_000;

const AIM: &str = "< 1×";

#[derive(Default)]
pub(crate) struct Price {
    served: Vec<Figures>,
    refused: Vec<Figures>,
}

impl Price {
    /// `title` names the request.
    pub(crate) fn put(&self, title: &str, report: &mut Report) {
        let shown = |runs: &[Figures]| {
            format!("{} µs", thousands(median(runs.iter().map(|run| run.cpu_us).collect())))
        };
        report.aimed(&format!("{title}, served, server CPU"), shown(&self.served), "-");
        report.aimed("the same, refused by the rate limit", shown(&self.refused), "-");
        let times = ratio(&self.refused, &self.served, |run| run.cpu_us);
        report.aimed("a refusal against an answer", format!("{times:.2}×"), AIM);
    }
}

/// Runs served and refused in turn, `rounds` times.
pub(crate) async fn run(contest: &Contest, shape: Shape, window: Window, rounds: usize) -> Outcome<Price> {
    let gets = Arc::new(Gets::prepare());
    let unwelcome = Visitor { login: None, answer: Kind::Failure };
    let config = json!({"rateLimit": {"maxRequests": 1, "windowMs": WINDOW_MS}});
    let mut price = Price::default();
    for _ in 0..rounds {
        for refused in [false, true] {
            let running = if refused {
                contest.start_configured(Storage::Memory, &config).await?
            } else {
                contest.start_dunlin(Storage::Memory, &[]).await?
            };
            let address = running.address;
            let figures = async {
                let mut setup = Connection::open(address, WHOLE).await?;
                // On a server that refuses, this is what the budget is spent on.
                setup.call(&records::define_bucket()).await?;
                if !refused {
                    records::load(address, PEOPLE).await?;
                }
                let requests = |number| Ok(Requests::gets(&gets, number));
                let visitor = if refused { &unwelcome } else { &ANYBODY };
                load::measure_as(visitor, address, running.id, shape, window, requests).await
            };
            let figures = figures.await.map_err(|why| running.server.failure(&why.to_string()))?;
            running.stop().await?;
            if refused { &mut price.refused } else { &mut price.served }.push(figures);
        }
    }
    Ok(price)
}
