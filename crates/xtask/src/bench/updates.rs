//! `updates`: the same records are updated again and again. How much of the disk that takes, and whether writers notice when
//! an image of the state is made.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{Connection, Kind, TYPE_BYTES, kind, refused};
use super::contest::{Contest, Storage};
use super::records::{self, BUCKET};
use super::report::{Report, count};
use super::tasks;
use crate::failure::{Doing, Failure, Outcome};
use crate::wire;

/// Records that are updated: some 20 MB, so that an image is due every 10 MB of log.
const RECORDS: usize = 100_000;

/// Writers, each with some updates in flight: a load that the server carries easily, so that what is late is late because of it.
const WRITERS: usize = 8;
const IN_FLIGHT: usize = 4;

/// How often the data directory is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long it takes; `BENCH_UPDATES_SECONDS` says otherwise.
const LENGTH: Duration = Duration::from_secs(60);
const QUICK_LENGTH: Duration = Duration::from_secs(10);
const SECONDS: &str = "BENCH_UPDATES_SECONDS";

/// The last answers must come within this.
const STOP_LIMIT: Duration = Duration::from_secs(20);

const DISK_AIM: &str = "≤ 3×";
const STALL_AIM: &str = "≤ 2×";

/// When an update was sent, and how long its answer took, in microseconds.
type Timed = (u64, u32);

pub(crate) struct Updates {
    seconds: f64,
    answers: usize,
    images: usize,
    /// 99th percentile while an image is made, and while none is, in microseconds; and the longest.
    during: u32,
    otherwise: u32,
    longest: u32,
    /// Most bytes on disk, over those of the image.
    disk: f64,
}

impl Updates {
    pub(crate) fn put(&self, report: &mut Report) {
        let milliseconds = |us: u32| format!("{:.1} ms", f64::from(us) / 1e3);
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let rate = self.answers as f64 / self.seconds;
        let title = format!("updates of {} records for {:.0} s", count(RECORDS), self.seconds);
        report.aimed(&format!("{title}, per second"), format!("{rate:.0}"), "-");
        report.aimed("images made meanwhile", count(self.images), "-");
        report.aimed(
            "most bytes on disk over those of the newest image",
            format!("{:.2}×", self.disk),
            DISK_AIM,
        );
        report.aimed("p99 while no image is made", milliseconds(self.otherwise), "-");
        let ratio = f64::from(self.during) / f64::from(self.otherwise);
        let during = format!("{}, {ratio:.2}×", milliseconds(self.during));
        report.aimed("p99 while an image is made", during, STALL_AIM);
        report.aimed("the longest wait", milliseconds(self.longest), "-");
    }
}

pub(crate) async fn run(contest: &Contest, quick: bool) -> Outcome<Updates> {
    let length = match std::env::var(SECONDS) {
        Ok(seconds) => Duration::from_secs(seconds.parse().doing(|| format!("{SECONDS} is no number"))?),
        Err(_) if quick => QUICK_LENGTH,
        Err(_) => LENGTH,
    };
    let running = contest.start_dunlin(Storage::Durable, &[]).await?;
    let dir = running.data_dir().ok_or_else(|| Failure::new("a durable server has a data directory"))?;
    let mut definer = Connection::open(running.address, TYPE_BYTES).await?;
    definer.call(&records::define_bucket()).await?;
    records::load(running.address, RECORDS).await?;
    let start = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let connection = Connection::open(running.address, TYPE_BYTES).await?;
        writers.spawn(write(connection, number, start, Arc::clone(&stop)));
    }
    let mut looks = Vec::new();
    tasks::meanwhile(&mut writers, async {
        while start.elapsed() < length {
            looks.push(Look::take(&dir, start)?);
            sleep(LOOK).await;
        }
        Ok(())
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    let mut timed = Vec::new();
    let stopping = async {
        while let Some(writer) = writers.join_next().await {
            timed.extend(writer.doing(|| "a writer's task ended".into())??);
        }
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(STOP_LIMIT, stopping)
        .await
        .map_err(|_| Failure::new(format!("the last answers did not come within {STOP_LIMIT:?}")))??;
    running.stop().await?;
    judge(&looks, timed, length)
}

/// One writer's loop: updates of records of its own, all over them.
async fn write(
    mut connection: Connection,
    number: usize,
    start: Instant,
    stop: Arc<AtomicBool>,
) -> Outcome<Vec<Timed>> {
    let (mut timed, mut out, mut turn) = (Vec::new(), Vec::new(), number);
    while !stop.load(Ordering::Relaxed) {
        out.clear();
        for _ in 0..IN_FLIGHT {
            // A step that has no divisor in common with the number of records comes to all of them.
            turn = (turn + 7_919 * WRITERS) % RECORDS;
            let key = records::key(turn as u64);
            let request = json!({"id": turn, "type": "store.update", "bucket": BUCKET, "key": key, "data": {"age": turn % 90}});
            wire::put_client_text(&mut out, request.to_string().as_bytes());
        }
        let sent = Instant::now();
        connection.send(&out).await?;
        let mut missing = IN_FLIGHT;
        while missing > 0 {
            connection
                .receive(|payload, _| match kind(payload) {
                    Kind::Answer => {
                        missing -= 1;
                        let took = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
                        timed.push((micros(sent - start), took));
                        Ok(())
                    }
                    Kind::Failure => Err(refused(payload)),
                    Kind::Push | Kind::Other => Ok(()),
                })
                .await?;
        }
    }
    Ok(timed)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What the data directory holds at a moment.
struct Look {
    at: u64,
    bytes: u64,
    /// An image is being written.
    making: bool,
    /// The newest whole one: its name and length.
    image: Option<(String, u64)>,
}

impl Look {
    fn take(dir: &Path, start: Instant) -> Outcome<Self> {
        let mut look = Self { at: micros(start.elapsed()), bytes: 0, making: false, image: None };
        let entries = fs::read_dir(dir).doing(|| format!("cannot read {}", dir.display()))?;
        for entry in entries.flatten() {
            // It may be gone by now.
            let Ok(length) = entry.metadata().map(|metadata| metadata.len()) else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            look.bytes += length;
            let Some(position) = name.strip_prefix("image-") else { continue };
            if position.strip_suffix(".new").is_some() {
                look.making = true;
            } else if look.image.as_ref().is_none_or(|(newest, _)| *newest < name) {
                look.image = Some((name, length));
            }
        }
        Ok(look)
    }
}

fn judge(looks: &[Look], timed: Vec<Timed>, length: Duration) -> Outcome<Updates> {
    let (mut during, mut otherwise) = (Vec::new(), Vec::new());
    let answers = timed.len();
    for (sent, took) in timed {
        // An image that was made at any time between the request and its answer.
        let first = looks.partition_point(|look| look.at < sent).saturating_sub(1);
        let until = sent + u64::from(took);
        let made = looks.iter().skip(first).take_while(|look| look.at <= until).any(|look| look.making);
        if made { &mut during } else { &mut otherwise }.push(took);
    }
    let mut images: Vec<&str> =
        looks.iter().filter_map(|look| look.image.as_ref()).map(|(name, _)| &**name).collect();
    images.dedup();
    let image = looks.iter().filter_map(|look| look.image.as_ref()).map(|(_, bytes)| *bytes).max();
    let image = image.ok_or_else(|| Failure::new("no image was made; the run was too short"))?;
    let most = looks.iter().map(|look| look.bytes).max().unwrap_or(0);
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let disk = most as f64 / image as f64;
    let longest = during.iter().chain(&otherwise).copied().max().unwrap_or(0);
    Ok(Updates {
        seconds: length.as_secs_f64(),
        answers,
        images: images.len(),
        during: percentile(during)?,
        otherwise: percentile(otherwise)?,
        longest,
        disk,
    })
}

/// The 99th.
fn percentile(mut values: Vec<u32>) -> Outcome<u32> {
    values.sort_unstable();
    let place = values.len() * 99 / 100;
    values
        .get(place)
        .copied()
        .ok_or_else(|| Failure::new("nothing was answered meanwhile; the run was too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_whether_an_image_was_made_meanwhile() {
        let look = |at, making, bytes| {
            let image = Some(("image-1".to_owned(), 100));
            Look { at, bytes, making, image }
        };
        let looks = [look(0, false, 150), look(10, true, 250), look(20, false, 120)];
        let timed = vec![(1, 2), (2, 9), (12, 3), (21, 4), (25, 8)];
        let found = judge(&looks, timed, Duration::from_secs(1)).unwrap();
        assert_eq!((found.answers, found.images, found.longest), (5, 1, 9));
        assert_eq!((found.during, found.otherwise), (9, 8));
        assert!((found.disk - 2.5).abs() < 1e-9);
    }
}
