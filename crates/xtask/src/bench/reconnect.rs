//! `reconnect`: the server goes away and comes back, and all its clients come back at once.
//!
//! Every client has one live query. Before the clients are back, some of what they watch has changed; each
//! must be told of exactly that, by a patch or by the whole result, and then get one last change by push.
//! Without the extension `resume` the storm is measured all the same, with plain subscriptions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{Connection, Kind, WHOLE, kind, refused};
use super::contest::{Canned, Contest, Role, Running, Storage};
use super::cpu::Sample;
use super::figures::median;
use super::hello::Extensions;
use super::limits::{self, OPENING, STORM_LIMIT, STORM_OPENING};
use super::report::{Report, count};
use super::returning::{self, Point, Return, shows};
use super::sliced;
use super::tasks::{self, Tally};
use crate::failure::{Doing, Failure, Outcome};
use crate::wire;

/// Slices that many clients watch.
const SHARED: usize = 100;

/// One client in so many watches a slice that nobody else does.
const ALONE: usize = 10;

/// Fewer clients than this are no storm.
const LEAST: usize = 1_000;

/// Payload bytes kept: the whole result of a slice.
const SLICE_BYTES: usize = 4 * 1024;

/// Handshakes of one client: the first ones may find the server's queue full.
const ATTEMPTS: usize = 5;

/// Between two handshakes of one client.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes sent at once; their answers fit the socket buffers.
const WRITE_BATCH: usize = 250;

/// What the records say that changed while the clients were away, and last of all.
const MISSED: &str = "missed";
const LAST: &str = "last";

const AIM: &str = "≤ 5 s";

/// One run.
struct Storm {
    /// From SIGTERM to the banner of the server started again.
    away: Duration,
    /// From the first attempt to connect until all have the state, and until all have the last change.
    caught_up: Duration,
    consistent: Duration,
    /// Server CPU meanwhile, and that of the generator, which takes its share of the same cores.
    cpu: Duration,
    generator: Duration,
    repeated: usize,
    resumed: usize,
    data: usize,
}

pub(crate) struct Storms {
    clients: usize,
    runs: Vec<Storm>,
    /// Why the clients could not resume.
    skipped: Option<String>,
}

impl Storms {
    pub(crate) fn put(&self, report: &mut Report) {
        let of = |figure: fn(&Storm) -> Duration| {
            let seconds = median(self.runs.iter().map(|run| figure(run).as_secs_f64()).collect());
            format!("{seconds:.2} s")
        };
        let name = format!("{} clients come back", count(self.clients));
        let name = match &self.skipped {
            None => name,
            Some(skipped) => {
                report.aimed(&format!("{name} and resume"), skipped.clone(), AIM);
                format!("{name} without resume")
            }
        };
        let worst = self.runs.iter().map(|run| run.consistent).max().unwrap_or_default();
        let consistent = format!("{}, at most {:.2} s", of(|run| run.consistent), worst.as_secs_f64());
        report.aimed(&format!("{name}, all consistent (storms: {})", self.runs.len()), consistent, AIM);
        report.aimed(&format!("{name}, all have the state"), of(|run| run.caught_up), "-");
        report.aimed(&format!("{name}, server CPU"), of(|run| run.cpu), "-");
        report.aimed(&format!("{name}, clients' CPU"), of(|run| run.generator), "-");
        let told = |figure: fn(&Storm) -> String| {
            let mut told: Vec<_> = self.runs.iter().map(figure).collect();
            told.dedup();
            told.join(", ")
        };
        let resumed = told(|run| format!("{} / {}", count(run.resumed), count(run.data)));
        report.aimed(&format!("{name}, resumed / got data"), resumed, "-");
        report.aimed(&format!("{name}, handshakes repeated"), told(|run| count(run.repeated)), "-");
        report.aimed("the server meanwhile away", of(|run| run.away), "-");
    }
}

/// Runs dunlin `rounds` times with `wanted` clients, or with as many as files allow.
pub(crate) async fn run(contest: &Contest, wanted: usize, rounds: usize) -> Outcome<Storms> {
    let clients = limits::connections_within(wanted, LEAST)?;
    let skipped = Extensions::of(contest).await?.missing(&["patch", "resume"]);
    if let Some(skipped) = &skipped {
        eprintln!("    resume: {skipped}");
    }
    let mut runs = Vec::new();
    for _ in 0..rounds {
        runs.push(storm(contest, clients, skipped.is_none()).await?);
    }
    Ok(Storms { clients, runs, skipped })
}

async fn storm(contest: &Contest, clients: usize, resume: bool) -> Outcome<Storm> {
    let running = contest.start(Role::Dunlin, Storage::Durable, Canned::default()).await?;
    let calm = subscribe_all(running.address, clients, resume).await;
    let calm = calm.map_err(|why| running.server.failure(&why.to_string()))?;
    let mut points = Vec::with_capacity(clients);
    let mut connected = JoinSet::new();
    for (point, connection) in calm {
        points.push(point);
        connected.spawn(stay(connection));
    }
    let start = Instant::now();
    let running = contest.restart(running).await?;
    let away = start.elapsed();
    drop(connected);
    let storm = come_back(&running, points, away).await;
    let storm = storm.map_err(|why| running.server.failure(&why.to_string()))?;
    running.stop().await?;
    Ok(storm)
}

/// The calm before: everybody is subscribed and knows the point to resume from.
async fn subscribe_all(
    address: SocketAddr,
    clients: usize,
    resume: bool,
) -> Outcome<Vec<(Option<Point>, Connection)>> {
    let mut setup = Connection::open(address, WHOLE).await?;
    sliced::prepare(address, &mut setup, slices(clients)).await?;
    tasks::all(clients, OPENING, |number| async move {
        let mut connection = Connection::lean(address, SLICE_BYTES).await?;
        let request = sliced::subscribe(slice(number));
        if !resume {
            connection.settle(&request).await?;
            return Ok((None, connection));
        }
        let answer = connection.ask(&returning::in_patch_mode(request, None)).await?.0;
        Ok((Some(Point::of(&answer)?), connection))
    })
    .await
}

/// Reads until the server says goodbye, and then hangs up, as clients do; a server that stops waits for that.
async fn stay(mut connection: Connection) {
    while connection.receive(|_, _| Ok(())).await.is_ok() {}
}

/// What the clients share.
struct Shore {
    address: SocketAddr,
    handshakes: Semaphore,
    /// Handshakes that failed and were tried again.
    repeated: Tally,
    resumed: Tally,
    caught_up: Tally,
    consistent: Tally,
}

impl Shore {
    /// Connects when it is its turn; a handshake that fails is tried again a little later, as clients do.
    async fn connect(&self) -> Outcome<Connection> {
        for _ in 1..ATTEMPTS {
            let turn = self.handshakes.acquire().await.doing(|| "no turn to connect".into())?;
            match Connection::lean(self.address, SLICE_BYTES).await {
                Ok(connection) => return Ok(connection),
                Err(_) => self.repeated.add(),
            }
            drop(turn);
            sleep(PAUSE).await;
        }
        Connection::lean(self.address, SLICE_BYTES).await
    }
}

/// The storm itself, on a server that has just started.
async fn come_back(running: &Running, points: Vec<Option<Point>>, away: Duration) -> Outcome<Storm> {
    let (address, clients) = (running.address, points.len());
    let mut writer = Connection::open(address, WHOLE).await?;
    let changed: Vec<_> = (0..slices(clients)).filter(|slice| is_changed(*slice)).collect();
    write(&mut writer, &changed, 0, MISSED).await?;

    let shore = Arc::new(Shore {
        address,
        handshakes: Semaphore::new(STORM_OPENING),
        repeated: Tally::default(),
        resumed: Tally::default(),
        caught_up: Tally::default(),
        consistent: Tally::default(),
    });
    shore.caught_up.expect(clients as u64);
    shore.consistent.expect(clients as u64);
    let me = rustix::process::getpid();
    let (cpu, own, start) = (Sample::take(running.id)?, Sample::take(me)?, Instant::now());
    let mut tasks = JoinSet::new();
    for (number, point) in points.into_iter().enumerate() {
        tasks.spawn(client(Arc::clone(&shore), slice(number), point));
    }
    tasks::meanwhile(&mut tasks, shore.caught_up.complete(STORM_LIMIT, "clients")).await?;
    let caught_up = start.elapsed();
    let all: Vec<_> = (0..slices(clients)).collect();
    let ending = async {
        write(&mut writer, &all, 1, LAST).await?;
        shore.consistent.complete(STORM_LIMIT, "last pushes").await
    };
    tasks::meanwhile(&mut tasks, ending).await?;
    let consistent = start.elapsed();
    let cpu = cpu.until(&Sample::take(running.id)?);
    let generator = own.until(&Sample::take(me)?);
    let [repeated, resumed] =
        [&shore.repeated, &shore.resumed].map(|tally| usize::try_from(tally.count()).unwrap_or(usize::MAX));
    let data = clients.saturating_sub(resumed);
    Ok(Storm { away, caught_up, consistent, cpu, generator, repeated, resumed, data })
}

/// Changes one record of each of the slices.
async fn write(writer: &mut Connection, slices: &[usize], record: usize, note: &str) -> Outcome {
    for batch in slices.chunks(WRITE_BATCH) {
        let mut frames = Vec::new();
        for slice in batch {
            let update = sliced::update(*slice as u64, *slice, record, note).to_string();
            wire::put_client_text(&mut frames, update.as_bytes());
        }
        writer.exchange(&frames, batch.len()).await?;
    }
    Ok(())
}

/// One client: connects, catches up, and waits for the last change. It stays until all have theirs, because a
/// disconnect is work for the server.
async fn client(shore: Arc<Shore>, slice: usize, point: Option<Point>) -> Outcome {
    let mut connection = shore.connect().await?;
    let request = sliced::subscribe(slice);
    let request = match &point {
        Some(point) => returning::in_patch_mode(request, Some(point)),
        None => request,
    };
    connection.post(&request).await?;
    let (mut caught_up, mut consistent) = (false, false);
    let missed = is_changed(slice).then_some(MISSED);
    loop {
        connection
            .receive(|payload, _| match kind(payload) {
                Kind::Answer if !caught_up => {
                    caught_up = true;
                    if returning::read(payload, missed)? == Return::Resumed {
                        shore.resumed.add();
                    }
                    shore.caught_up.add();
                    Ok(())
                }
                Kind::Push if caught_up && !consistent && shows(payload, LAST) => {
                    consistent = true;
                    shore.consistent.add();
                    Ok(())
                }
                Kind::Failure => Err(refused(payload)),
                Kind::Push if !caught_up => Err(Failure::new("a push came before the answer it follows")),
                Kind::Answer | Kind::Push | Kind::Other => Ok(()),
            })
            .await?;
    }
}

/// The slice that a client watches: most share one with many, some have theirs alone.
fn slice(client: usize) -> usize {
    if client.is_multiple_of(ALONE) { SHARED + client / ALONE } else { client / ALONE % SHARED }
}

/// Slices that are watched.
fn slices(clients: usize) -> usize {
    SHARED + clients.div_ceil(ALONE)
}

/// Whether a slice changes while the clients are away: every second one.
fn is_changed(slice: usize) -> bool {
    slice.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn some_slices_are_shared_and_some_watched_alone() {
        for clients in [1_000, 2_001, 10_000] {
            let mut watchers = HashMap::new();
            for client in 0..clients {
                *watchers.entry(slice(client)).or_insert(0) += 1;
            }
            assert_eq!(watchers.len(), slices(clients));
            assert!(watchers.keys().all(|slice| *slice < slices(clients)));
            assert!(watchers.iter().all(|(slice, count)| (*slice >= SHARED) == (*count == 1)));
        }
    }

    #[test]
    fn what_is_skipped_is_said_and_what_was_measured_as_well() {
        let run = || Storm {
            away: Duration::from_millis(300),
            caught_up: Duration::from_secs(1),
            consistent: Duration::from_millis(1_250),
            cpu: Duration::from_millis(900),
            generator: Duration::from_millis(800),
            repeated: 3,
            resumed: 0,
            data: 2_000,
        };
        let skipped = Some("skipped: the server has no `resume`".to_owned());
        let mut report = Report::default();
        Storms { clients: 2_000, runs: vec![run(), run(), run()], skipped }.put(&mut report);
        let text = report.render(false);
        assert!(
            text.contains("2,000 clients come back and resume") && text.contains("no `resume`"),
            "{text}"
        );
        assert!(text.contains("1.25 s, at most 1.25 s") && text.contains(" 0 / 2,000"), "{text}");
    }
}
