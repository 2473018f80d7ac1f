//! `slices`: what an update costs that concerns one of many live queries.
//!
//! Two servers hold the same records, one with few subscribers and one with many, each subscriber with a
//! slice of its own. Every update touches one slice that is subscribed to, so both push as much; what is left
//! between them is finding the one query that is concerned, and colder caches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::connection::{Connection, Kind, TYPE_BYTES, WHOLE, kind, refused};
use super::contest::{Canned, Contest, Role, Running, Storage};
use super::cpu::Sample;
use super::figures::{median, ratio};
use super::limits::{self, DELIVERY_LIMIT, FEW_SLICES, MANY_SLICES, OPENING};
use super::load::Window;
use super::report::{Report, count, thousands};
use super::sliced::{self, EACH};
use super::tasks::{self, Tally};
use crate::failure::{Failure, Outcome};
use crate::wire;

/// Updates sent at once; the next ones follow when all have their answers and their pushes. Fewer than the
/// slices, so that no slice has two updates under way, which a server may answer with one push.
const IN_FLIGHT: usize = 8;

const AIM: &str = "≤ 1.30×";

pub(crate) struct Growth {
    /// Subscribers of the many, where files allow as many as are wanted.
    subscribers: usize,
    /// Server CPU per update in µs, of each run.
    few: Vec<f64>,
    many: Vec<f64>,
}

impl Growth {
    pub(crate) fn put(&self, report: &mut Report) {
        let shown = |runs: &[f64]| format!("{} µs", thousands(median(runs.to_vec())));
        let title = |watched| format!("an update, {} slices watched, server CPU", count(watched));
        report.aimed(&title(FEW_SLICES), shown(&self.few), "-");
        report.aimed(&title(self.subscribers), shown(&self.many), "-");
        report.aimed(
            &format!("the same, {FEW_SLICES} → {} subscribers", count(self.subscribers)),
            format!("{:.2}×", ratio(&self.many, &self.few, |cpu| *cpu)),
            AIM,
        );
    }
}

/// Runs with few and with many in turn, `rounds` times.
pub(crate) async fn run(contest: &Contest, window: Window, rounds: usize) -> Outcome<Growth> {
    let subscribers = limits::connections_within(MANY_SLICES, FEW_SLICES)?;
    let mut growth = Growth { subscribers, few: Vec::new(), many: Vec::new() };
    for _ in 0..rounds {
        for (watched, runs) in [(FEW_SLICES, &mut growth.few), (subscribers, &mut growth.many)] {
            let running = contest.start(Role::Dunlin, Storage::Memory, Canned::default()).await?;
            let cpu = measure(&running, watched, window).await;
            runs.push(cpu.map_err(|why| running.server.failure(&why.to_string()))?);
            running.stop().await?;
        }
    }
    Ok(growth)
}

/// Server CPU per update in µs.
async fn measure(running: &Running, watched: usize, window: Window) -> Outcome<f64> {
    let address = running.address;
    let mut setup = Connection::open(address, WHOLE).await?;
    sliced::prepare(address, &mut setup, MANY_SLICES).await?;
    let connections = tasks::all(watched, OPENING, |slice| async move {
        let mut connection = Connection::lean(address, TYPE_BYTES).await?;
        connection.settle(&sliced::subscribe(slice)).await?;
        Ok(connection)
    });
    let pushes = Arc::new(Tally::default());
    let mut subscribers = JoinSet::new();
    for connection in connections.await? {
        subscribers.spawn(receive(connection, Arc::clone(&pushes)));
    }
    let mut writer = Writer {
        connection: Connection::open(address, TYPE_BYTES).await?,
        pushes,
        subscribers,
        slices: watched,
        sent: 0,
    };
    writer.write_for(window.warm_up).await?;
    let (cpu, before) = (Sample::take(running.id)?, writer.sent);
    writer.write_for(window.measured).await?;
    let cpu = cpu.until(&Sample::take(running.id)?);
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let updates = (writer.sent - before) as f64;
    Ok(cpu.as_secs_f64() * 1e6 / updates)
}

struct Writer {
    connection: Connection,
    pushes: Arc<Tally>,
    subscribers: JoinSet<Outcome>,
    slices: usize,
    sent: usize,
}

impl Writer {
    /// Updates one slice after another; returns when every one sent has been pushed.
    async fn write_for(&mut self, how_long: Duration) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < how_long {
            self.write().await?;
        }
        Ok(())
    }

    /// `IN_FLIGHT` updates, their answers and their pushes.
    async fn write(&mut self) -> Outcome {
        let mut frames = Vec::new();
        for number in self.sent..self.sent + IN_FLIGHT {
            let (slice, record) = target(number, self.slices);
            let update = sliced::update(number as u64, slice, record, &format!("note {number}"));
            wire::put_client_text(&mut frames, update.to_string().as_bytes());
        }
        self.sent += IN_FLIGHT;
        self.pushes.expect(self.sent as u64);
        let Self { connection, pushes, subscribers, .. } = self;
        connection.exchange(&frames, IN_FLIGHT).await?;
        tasks::meanwhile(subscribers, pushes.complete(DELIVERY_LIMIT, "pushes")).await?;
        let (came, due) = (pushes.count(), self.sent as u64);
        if came != due {
            return Err(Failure::new(format!("{came} pushes came, {due} were due")));
        }
        Ok(())
    }
}

/// Slice and record of the `number`th update: every slice once before any of them again, but not one beside
/// the other, which would be kind to the caches.
fn target(number: usize, slices: usize) -> (usize, usize) {
    // A prime that divides neither number of slices.
    const STRIDE: usize = 7_919;
    (number % slices * STRIDE % slices, number / slices % EACH)
}

/// Counts pushes for as long as the connection lives.
async fn receive(mut connection: Connection, pushes: Arc<Tally>) -> Outcome {
    loop {
        connection
            .receive(|payload, _| match kind(payload) {
                Kind::Push => {
                    pushes.add();
                    Ok(())
                }
                Kind::Failure => Err(refused(payload)),
                Kind::Answer | Kind::Other => Ok(()),
            })
            .await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_slice_has_its_turn_before_any_has_two() {
        for slices in [FEW_SLICES, MANY_SLICES] {
            let seen: HashSet<_> = (0..slices).map(|number| target(number, slices)).collect();
            assert_eq!(seen.len(), slices);
            let all: HashSet<_> = (0..slices * EACH).map(|number| target(number, slices)).collect();
            assert_eq!(all.len(), slices * EACH);
        }
    }
}
