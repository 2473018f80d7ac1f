//! `fan-out`: one record changes, every subscriber gets the query's whole new result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Kind, TYPE_BYTES, WHOLE, kind, refused};
use super::contest::{Canned, Contest, ROLES, Role, Running, Storage};
use super::cpu::Sample;
use super::figures::{Figures, Pairs};
use super::records::{self, BUCKET};
use crate::failure::{Doing, Failure, Outcome};
use crate::wire;

pub(crate) const SUBSCRIBERS: usize = 500;

/// Records in the result: of about 180 bytes each, together about 17 KB.
const BOARD: usize = 96;

/// Updates before measuring.
const WARM_UP: u64 = 5;

/// All subscribers must have an update's push within this.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// How often a subscriber that has all its pushes looks whether the others have theirs.
const POLL: Duration = Duration::from_millis(20);

const QUERY: &str = "everybody";

/// What the subscribers tell the updater.
struct Board {
    start: Instant,
    /// When the latest update was sent, in ns after `start`.
    sent: AtomicU64,
    delivered: AtomicU64,
    /// Deliveries after which `all` is notified.
    target: AtomicU64,
    measuring: AtomicBool,
    all: Notify,
}

/// Runs both servers in turn, `rounds` times, with `updates` measured updates each.
/// Also returns the bytes of one push.
pub(crate) async fn run(
    contest: &Contest,
    updates: u64,
    rounds: usize,
) -> Outcome<(Pairs<Figures>, Option<usize>)> {
    let mut pairs = Pairs::new();
    let mut canned = Canned { answer_bytes: None, push_bytes: Some(17 * 1024) };
    for _ in 0..rounds {
        for role in ROLES {
            let running = contest.start(role, Storage::Memory, canned).await?;
            let run = measure(&running, updates).await;
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

async fn measure(running: &Running, updates: u64) -> Outcome<(Figures, usize, usize)> {
    let mut writer = Connection::open(running.address, WHOLE).await?;
    writer.call(&records::define_bucket()).await?;
    records::load(running.address, BOARD).await?;
    let query = json!({"id": 2, "type": "store.defineQuery", "name": QUERY, "config": {"bucket": BUCKET}});
    writer.call(&query).await?;

    let board = Arc::new(Board {
        start: Instant::now(),
        sent: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        target: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
        all: Notify::new(),
    });
    let push_bytes = Arc::new(AtomicU64::new(0));
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let connection = subscribe(running).await?;
        subscribers.spawn(receive(connection, Arc::clone(&board), Arc::clone(&push_bytes), updates));
    }
    let mut answer_bytes = 0;
    for number in 0..WARM_UP {
        answer_bytes = update(&mut writer, &board, &mut subscribers, number).await?;
    }
    board.measuring.store(true, Ordering::Relaxed);
    let (cpu, start) = (Sample::take(running.id)?, Instant::now());
    for number in WARM_UP..WARM_UP + updates {
        update(&mut writer, &board, &mut subscribers, number).await?;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu.until(&Sample::take(running.id)?));
    board.measuring.store(false, Ordering::Relaxed);

    let mut latencies = Vec::new();
    let collecting = async {
        while let Some(subscriber) = subscribers.join_next().await {
            latencies.extend(subscriber.doing(|| "a subscriber's task ended".into())??);
        }
        Ok(())
    };
    timeout(DELIVERY_LIMIT, collecting).await.map_err(|_| Failure::new("the subscribers did not end"))??;
    let deliveries = updates * SUBSCRIBERS as u64;
    if latencies.len() as u64 != deliveries {
        return Err(Failure::new(format!("{} pushes came, {deliveries} were due", latencies.len())));
    }
    let push_bytes = usize::try_from(push_bytes.load(Ordering::Relaxed)).unwrap_or(0);
    Ok((Figures::of(deliveries, elapsed, cpu, latencies)?, answer_bytes, push_bytes))
}

async fn subscribe(running: &Running) -> Outcome<Connection> {
    let mut connection = Connection::open(running.address, TYPE_BYTES).await?;
    let mut frame = Vec::new();
    let request = json!({"id": 1, "type": "store.subscribe", "query": QUERY}).to_string();
    wire::put_client_text(&mut frame, request.as_bytes());
    connection.send(&frame).await?;
    let mut subscribed = false;
    let waiting = async {
        while !subscribed {
            connection
                .receive(|payload, _| match kind(payload) {
                    Kind::Answer => {
                        subscribed = true;
                        Ok(())
                    }
                    Kind::Failure => Err(refused(payload)),
                    Kind::Push | Kind::Other => Ok(()),
                })
                .await?;
        }
        Ok(())
    };
    timeout(DELIVERY_LIMIT, waiting).await.map_err(|_| Failure::new("no answer to a subscribe"))??;
    Ok(connection)
}

/// Changes a record and waits until every subscriber has the push; returns the answer's bytes.
async fn update(
    writer: &mut Connection,
    board: &Board,
    subscribers: &mut JoinSet<Outcome<Vec<u32>>>,
    number: u64,
) -> Outcome<usize> {
    board.target.store((number + 1) * SUBSCRIBERS as u64, Ordering::Relaxed);
    let change: Value = json!({"id": 1_000_000 + number, "type": "store.update", "bucket": BUCKET,
        "key": records::key(number % BOARD as u64), "data": {"age": 1_000 + number}});
    board.sent.store(nanos(board.start), Ordering::Relaxed);
    let answer_bytes = writer.call(&change).await?;
    tokio::select! {
        all = timeout(DELIVERY_LIMIT, board.all.notified()) => all.map_err(|_| {
            let came = board.delivered.load(Ordering::Relaxed);
            let due = board.target.load(Ordering::Relaxed);
            Failure::new(format!("only {came} of {due} pushes came within {DELIVERY_LIMIT:?}"))
        })?,
        Some(ended) = subscribers.join_next() => {
            ended.doing(|| "a subscriber's task ended".into())??;
            return Err(Failure::new("a subscriber ended before it was told to"));
        }
    }
    Ok(answer_bytes)
}

/// One subscriber: counts its pushes and returns the latencies of the measured ones in nanoseconds.
async fn receive(
    mut connection: Connection,
    board: Arc<Board>,
    push_bytes: Arc<AtomicU64>,
    updates: u64,
) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::new();
    while (latencies.len() as u64) < updates {
        connection
            .receive(|payload, bytes| {
                match kind(payload) {
                    Kind::Push => {
                        if board.measuring.load(Ordering::Relaxed) {
                            let latency = nanos(board.start) - board.sent.load(Ordering::Relaxed);
                            latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                        }
                        push_bytes.store(bytes as u64, Ordering::Relaxed);
                        let delivered = board.delivered.fetch_add(1, Ordering::Relaxed) + 1;
                        if delivered == board.target.load(Ordering::Relaxed) {
                            board.all.notify_one();
                        }
                    }
                    Kind::Failure => return Err(refused(payload)),
                    Kind::Answer | Kind::Other => {}
                }
                Ok(())
            })
            .await?;
    }
    // The connection stays open until all have theirs: a disconnect is work for the server.
    while board.measuring.load(Ordering::Relaxed) {
        sleep(POLL).await;
    }
    Ok(latencies)
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
