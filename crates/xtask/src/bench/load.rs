//! Closed-loop load: each connection keeps a fixed number of requests in flight.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Kind, TYPE_BYTES, kind, refused};
use super::cpu::Sample;
use super::figures::Figures;
use super::records::Requests;
use super::tasks;
use crate::failure::{Doing, Failure, Outcome};

/// Latencies kept per connection, 4 bytes each; the first ones of the window, should there be more.
const MAX_LATENCIES: usize = 2_000_000;

/// After the window the last answers must come within this.
const STOP_LIMIT: Duration = Duration::from_secs(20);

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// How many connections, and how many unanswered requests on each.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

/// How long to load before and while measuring.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Who loads, and what he is answered.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// What he says first.
    pub(crate) login: Option<Value>,
    /// What every answer is; another one is a failure.
    pub(crate) answer: Kind,
}

/// Anybody, served.
pub(crate) const ANYBODY: Visitor = Visitor { login: None, answer: Kind::Answer };

#[derive(Default)]
struct Gauge {
    phase: AtomicU8,
    answers: AtomicU64,
}

/// Loads the server and measures it within the window.
pub(crate) async fn measure(
    address: SocketAddr,
    server: Pid,
    shape: Shape,
    window: Window,
    requests: impl Fn(usize) -> Outcome<Requests>,
) -> Outcome<Figures> {
    measure_as(&ANYBODY, address, server, shape, window, requests).await
}

/// The same, by somebody.
pub(crate) async fn measure_as(
    visitor: &Visitor,
    address: SocketAddr,
    server: Pid,
    shape: Shape,
    window: Window,
    requests: impl Fn(usize) -> Outcome<Requests>,
) -> Outcome<Figures> {
    let gauge = Arc::new(Gauge::default());
    let mut drivers = JoinSet::new();
    for number in 0..shape.connections {
        let connection = Connection::logged_in(address, TYPE_BYTES, visitor.login.as_ref()).await?;
        let (requests, gauge) = (requests(number)?, Arc::clone(&gauge));
        drivers.spawn(drive(connection, requests, shape.in_flight, visitor.answer, gauge));
    }
    watch(&mut drivers, window.warm_up).await?;
    let cpu = Sample::take(server)?;
    let (start, answers) = (Instant::now(), gauge.answers.load(Ordering::Relaxed));
    gauge.phase.store(MEASURING, Ordering::Relaxed);
    watch(&mut drivers, window.measured).await?;
    let cpu = cpu.until(&Sample::take(server)?);
    let answers = gauge.answers.load(Ordering::Relaxed) - answers;
    let elapsed = start.elapsed();
    gauge.phase.store(STOPPED, Ordering::Relaxed);

    let mut latencies = Vec::new();
    let stopping = async {
        while let Some(driver) = drivers.join_next().await {
            latencies.extend(driver.doing(|| "a connection's task ended".into())??);
        }
        Ok(())
    };
    timeout(STOP_LIMIT, stopping)
        .await
        .map_err(|_| Failure::new(format!("the last answers did not come within {STOP_LIMIT:?}")))??;
    Figures::of(answers, elapsed, cpu, latencies)
}

/// Waits, unless a connection fails first.
async fn watch(drivers: &mut JoinSet<Outcome<Vec<u32>>>, how_long: Duration) -> Outcome {
    tasks::meanwhile(drivers, async {
        sleep(how_long).await;
        Ok(())
    })
    .await
}

/// One connection's loop; returns its latencies in nanoseconds.
async fn drive(
    mut connection: Connection,
    mut requests: Requests,
    in_flight: usize,
    answer: Kind,
    gauge: Arc<Gauge>,
) -> Outcome<Vec<u32>> {
    let mut out = Vec::new();
    let mut sent = VecDeque::with_capacity(in_flight);
    let mut latencies = Vec::new();
    let mut free = in_flight;
    loop {
        out.clear();
        for _ in 0..free {
            requests.put(&mut out);
        }
        let now = Instant::now();
        sent.extend(std::iter::repeat_n(now, free));
        connection.send(&out).await?;
        free = 0;
        while free == 0 {
            connection
                .receive(|payload, _| match kind(payload) {
                    kind if kind == answer => {
                        free += 1;
                        Ok(())
                    }
                    Kind::Failure => Err(refused(payload)),
                    Kind::Answer => Err(Failure::new("a request was served that should be refused")),
                    Kind::Push | Kind::Other => Ok(()),
                })
                .await?;
        }
        gauge.answers.fetch_add(free as u64, Ordering::Relaxed);
        let phase = gauge.phase.load(Ordering::Relaxed);
        let now = Instant::now();
        for _ in 0..free {
            // Answers come in the order of the requests.
            let start = sent.pop_front().ok_or_else(|| Failure::new("more answers than requests"))?;
            if phase == MEASURING && latencies.len() < MAX_LATENCIES {
                latencies.push(u32::try_from((now - start).as_nanos()).unwrap_or(u32::MAX));
            }
        }
        if phase == STOPPED {
            return Ok(latencies);
        }
        debug_assert!(phase == WARMING || phase == MEASURING);
    }
}
