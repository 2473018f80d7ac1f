//! `fan-out` and `small-pushes`: one record changes, every subscriber gets the query's whole new result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Kind, TYPE_BYTES, WHOLE, kind, refused};
use super::contest::{Canned, Contest, ROLES, Role, Running, Storage};
use super::cpu::Sample;
use super::figures::{Figures, Pairs};
use super::limits::{self, DELIVERY_LIMIT, OPENING};
use super::records::{self, BUCKET};
use super::tasks::{self, Tally};
use crate::failure::{Doing, Failure, Outcome};

/// Records in the large result: of about 180 bytes each, together about 17 KB.
const BOARD: u64 = 96;

/// Updates before measuring.
const WARM_UP: u64 = 5;

/// How often a subscriber that has all its pushes looks whether the others have theirs.
const POLL: Duration = Duration::from_millis(20);

const QUERY: &str = "everything";

const COUNTERS: &str = "counters";

/// What is subscribed to.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Subject {
    /// About 17 KB of records.
    Board,
    /// One record of about 100 bytes.
    Counter,
}

#[derive(Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) subscribers: usize,
    pub(crate) subject: Subject,
}

impl Subject {
    fn bucket(self) -> &'static str {
        match self {
            Self::Board => BUCKET,
            Self::Counter => COUNTERS,
        }
    }

    /// What the floor pushes until dunlin's push has been seen.
    fn push_bytes(self) -> usize {
        match self {
            Self::Board => 17 * 1024,
            Self::Counter => 165,
        }
    }

    /// The requests that make it.
    fn setup(self) -> Vec<Value> {
        let query =
            json!({"id": 2, "type": "store.defineQuery", "name": QUERY, "config": {"bucket": self.bucket()}});
        match self {
            Self::Board => vec![records::define_bucket(), query],
            Self::Counter => vec![
                json!({"id": 1, "type": "store.defineBucket", "name": COUNTERS, "config": {
                    "key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}}}),
                query,
                json!({"id": 3, "type": "store.insert", "bucket": COUNTERS, "data": {"id": "c", "n": 0}}),
            ],
        }
    }

    /// The request that changes it for the `number`th time.
    fn update(self, number: u64) -> Value {
        let (key, field) = match self {
            Self::Board => (records::key(number % BOARD), "age"),
            Self::Counter => ("c".to_owned(), "n"),
        };
        json!({"id": 1_000_000 + number, "type": "store.update", "bucket": self.bucket(), "key": key,
            "data": {field: 1_000 + number}})
    }
}

/// What the subscribers tell the updater.
struct Deliveries {
    start: Instant,
    /// When the latest update was sent, in ns after `start`.
    sent: AtomicU64,
    delivered: Tally,
    measuring: AtomicBool,
    push_bytes: AtomicU64,
}

/// Runs both servers in turn, `rounds` times, with `updates` measured updates each.
/// Also returns the bytes of one push.
pub(crate) async fn run(
    contest: &Contest,
    audience: Audience,
    updates: u64,
    rounds: usize,
) -> Outcome<(Pairs<Figures>, Option<usize>)> {
    limits::allow_connections(audience.subscribers)?;
    let mut pairs = Pairs::new();
    let mut canned = Canned { answer_bytes: None, push_bytes: Some(audience.subject.push_bytes()) };
    for _ in 0..rounds {
        for role in ROLES {
            let running = contest.start(role, Storage::Memory, canned).await?;
            let run = measure(&running, audience, updates).await;
            let (figures, answer_bytes, push_bytes) =
                run.map_err(|why| running.server.failure(&why.to_string()))?;
            running.stop().await?;
            match role {
                Role::Dunlin => {
                    canned = Canned { answer_bytes: Some(answer_bytes), push_bytes: Some(push_bytes) };
                    pairs.dunlin.push(figures);
                }
                Role::Floor => pairs.floor.push(figures),
            }
        }
    }
    Ok((pairs, canned.push_bytes))
}

async fn measure(running: &Running, audience: Audience, updates: u64) -> Outcome<(Figures, usize, usize)> {
    let Audience { subscribers: count, subject } = audience;
    let mut writer = Connection::open(running.address, WHOLE).await?;
    for request in subject.setup() {
        writer.call(&request).await?;
    }
    if subject == Subject::Board {
        records::load(running.address, usize::try_from(BOARD).unwrap_or(0)).await?;
    }
    let deliveries = Arc::new(Deliveries {
        start: Instant::now(),
        sent: AtomicU64::new(0),
        delivered: Tally::default(),
        measuring: AtomicBool::new(false),
        push_bytes: AtomicU64::new(0),
    });
    let address = running.address;
    let connections = tasks::all(count, OPENING, |_| async move {
        let mut connection = Connection::open(address, TYPE_BYTES).await?;
        connection.settle(&json!({"id": 1, "type": "store.subscribe", "query": QUERY})).await?;
        Ok(connection)
    });
    let mut subscribers = JoinSet::new();
    for connection in connections.await? {
        subscribers.spawn(receive(connection, Arc::clone(&deliveries), updates));
    }
    let mut answer_bytes = 0;
    let mut update = async |number: u64, subscribers: &mut JoinSet<_>| {
        deliveries.delivered.expect((number + 1) * count as u64);
        deliveries.sent.store(nanos(deliveries.start), Ordering::Relaxed);
        answer_bytes = writer.call(&subject.update(number)).await?;
        tasks::meanwhile(subscribers, deliveries.delivered.complete(DELIVERY_LIMIT, "pushes")).await
    };
    for number in 0..WARM_UP {
        update(number, &mut subscribers).await?;
    }
    deliveries.measuring.store(true, Ordering::Relaxed);
    let (cpu, start) = (Sample::take(running.id)?, Instant::now());
    for number in WARM_UP..WARM_UP + updates {
        update(number, &mut subscribers).await?;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu.until(&Sample::take(running.id)?));
    deliveries.measuring.store(false, Ordering::Relaxed);

    let mut latencies = Vec::new();
    let collecting = async {
        while let Some(subscriber) = subscribers.join_next().await {
            latencies.extend(subscriber.doing(|| "a subscriber's task ended".into())??);
        }
        Ok(())
    };
    timeout(DELIVERY_LIMIT, collecting).await.map_err(|_| Failure::new("the subscribers did not end"))??;
    let due = updates * count as u64;
    if latencies.len() as u64 != due {
        return Err(Failure::new(format!("{} pushes came, {due} were due", latencies.len())));
    }
    let push_bytes = usize::try_from(deliveries.push_bytes.load(Ordering::Relaxed)).unwrap_or(0);
    Ok((Figures::of(due, elapsed, cpu, latencies)?, answer_bytes, push_bytes))
}

/// One subscriber: counts its pushes and returns the latencies of the measured ones in nanoseconds.
async fn receive(mut connection: Connection, deliveries: Arc<Deliveries>, updates: u64) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::new();
    while (latencies.len() as u64) < updates {
        connection
            .receive(|payload, bytes| {
                match kind(payload) {
                    Kind::Push => {
                        if deliveries.measuring.load(Ordering::Relaxed) {
                            let latency = nanos(deliveries.start) - deliveries.sent.load(Ordering::Relaxed);
                            latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                        }
                        deliveries.push_bytes.store(bytes as u64, Ordering::Relaxed);
                        deliveries.delivered.add();
                    }
                    Kind::Failure => return Err(refused(payload)),
                    Kind::Answer | Kind::Other => {}
                }
                Ok(())
            })
            .await?;
    }
    // The connection stays open until all have theirs: a disconnect is work for the server.
    while deliveries.measuring.load(Ordering::Relaxed) {
        sleep(POLL).await;
    }
    Ok(latencies)
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_update_changes_something_that_is_subscribed_to() {
        for subject in [Subject::Board, Subject::Counter] {
            let (one, two) = (subject.update(0), subject.update(BOARD));
            assert_eq!(one["key"], two["key"]);
            assert_ne!(one["data"], two["data"]);
            assert!(subject.setup().iter().any(|request| request["config"]["bucket"] == one["bucket"]));
        }
    }
}
