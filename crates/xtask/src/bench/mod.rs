//! `cargo xtask bench`: the load generator.
//!
//! Every scenario runs dunlin and the floor in turn, several times, and reports medians and the median
//! of the pairs' ratios: on a noisy machine only the ratio can be trusted. What the floor knows nothing of is
//! measured against an aim.

mod access;
mod connection;
mod contest;
mod cpu;
mod fan_out;
mod figures;
mod firings;
mod guarded;
mod hello;
mod idle;
mod keyed;
mod limiter_memory;
mod limits;
mod load;
mod machine;
mod options;
mod patch_bytes;
mod reconnect;
mod records;
mod refused;
mod report;
mod requests;
mod returning;
mod scenario;
mod scopes;
mod scrape;
mod sliced;
mod slices;
mod start;
mod tasks;
mod updates;

use std::path::PathBuf;
use std::time::Duration;

use contest::Contest;
use fan_out::Subject;
use figures::Figures;
use load::Window;
use options::Options;
use report::{Report, thousands};
use scenario::{Kind, SCENARIOS, Scenario};

use crate::failure::{Doing, Failure, Outcome};
use crate::process;
use crate::repo::{Repo, exe, text};

/// Pairs of runs per scenario; the median needs an odd number.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;

/// Long enough for some thousand durable inserts one at a time.
const WINDOW: Window = Window { warm_up: Duration::from_millis(700), measured: Duration::from_secs(2) };
const QUICK_WINDOW: Window =
    Window { warm_up: Duration::from_millis(200), measured: Duration::from_millis(500) };

/// Measured updates per fan-out run; each is 500 deliveries or more.
const UPDATES: u64 = 40;
const QUICK_UPDATES: u64 = 10;

/// Small pushes per second that one core of the server must be good for.
const PUSHES_AIM: &str = "≥ 100,000";

/// A storm has thousands of clients, whose figures differ little between rounds.
const STORMS: usize = 3;
const QUICK_STORMS: usize = 1;

/// The whole program; every single wait in it has a shorter limit of its own.
const BENCH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Builds both programs in release, then runs this one's release build as the generator.
pub(crate) async fn build_and_run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    if options.help {
        println!("{}", options::usage());
        return Ok(());
    }
    let repo = Repo::locate().await?;
    let mut inner = vec!["bench-inner".to_owned()];
    if options.server.is_none() {
        // By itself, as the README has it: together with xtask it would be built with xtask's features.
        let binary = repo.release_binary().await?;
        inner.extend(["--binary".to_owned(), text(&binary)]);
    }
    repo.cargo(["build", "--release", "--package", "xtask"]).await?;
    inner.extend_from_slice(arguments);
    let generator = repo.target.join("release").join(exe("xtask"));
    process::run(&mut process::command(generator, inner, &repo.root), BENCH_LIMIT).await
}

/// The generator itself.
pub(crate) async fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let Some(server) = &options.server else {
        return Err(Failure::new("bench-inner needs --binary or --server-cmd; run `cargo xtask bench`"));
    };
    let repo = Repo::locate().await?;
    let contest = Contest {
        dunlin: server.clone(),
        floor: std::env::current_exe().doing(|| "cannot find the path of this program".into())?,
        directory: repo.target.clone(),
    };
    // Read now: a commit made while this runs is not what is being measured.
    let machine = machine::line(&repo.root).await;
    let chosen: Vec<_> = SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)).collect();
    let rounds = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let mut report = Report::default();
    for (number, scenario) in chosen.iter().enumerate() {
        eprintln!("[{}/{}] {}", number + 1, chosen.len(), scenario.title);
        if let Err(why) = measure(scenario, &contest, &options, rounds, &mut report).await {
            // What was measured before took minutes.
            println!("\n{}", report.render(options.markdown));
            return Err(Failure::new(format!("{}: {why}", scenario.title)));
        }
    }
    let command = format!("cargo xtask bench{}", if options.quick { " --quick" } else { "" });
    println!(
        "\n{machine}\nmeasured: `{}`\n`{command}`, medians of {rounds} alternating pairs of runs\n",
        server.join(" ")
    );
    println!("{}", report.render(options.markdown));
    println!(
        "CPU is the server's, per request or delivery; the ratio is to a floor server that parses and keeps \
         nothing. The reference column is what the reference server shows in the same units."
    );
    Ok(())
}

async fn measure(
    scenario: &Scenario,
    contest: &Contest,
    options: &Options,
    rounds: usize,
    report: &mut Report,
) -> Outcome {
    let reference = scenario.reference;
    match scenario.kind {
        Kind::Loaded(loaded) => {
            let window = if options.quick { QUICK_WINDOW } else { WINDOW };
            let pairs = requests::run(contest, loaded, window, rounds).await?;
            report.operations(scenario.title, &pairs, reference);
        }
        Kind::FanOut(audience) => {
            let updates = if options.quick { QUICK_UPDATES } else { UPDATES };
            let (pairs, bytes) = fan_out::run(contest, audience, updates, rounds).await?;
            let title = format!("{}, {} bytes", scenario.title, bytes.unwrap_or(0));
            report.operations(&title, &pairs, reference);
            if audience.subject == Subject::Counter {
                let cpu_us = Figures::median(&pairs.dunlin).cpu_us;
                report.aimed("small pushes per second of server CPU", thousands(1e6 / cpu_us), PUSHES_AIM);
            }
        }
        Kind::Keyed(shape) => {
            let window = if options.quick { QUICK_WINDOW } else { WINDOW };
            keyed::run(contest, shape, window, rounds).await?.put(scenario.title, report);
        }
        Kind::Guarded(shape) => {
            let window = if options.quick { QUICK_WINDOW } else { WINDOW };
            guarded::run(contest, shape, window, rounds).await?.put(scenario.title, report);
        }
        Kind::Refused(shape) => {
            let window = if options.quick { QUICK_WINDOW } else { WINDOW };
            refused::run(contest, shape, window, rounds).await?.put(scenario.title, report);
        }
        Kind::Scopes => scopes::run(contest).await?.put(report),
        Kind::LimiterMemory => {
            limiter_memory::run(contest, limits::addresses(options.quick)).await?.put(report);
        }
        Kind::Slices => {
            let window = if options.quick { QUICK_WINDOW } else { WINDOW };
            slices::run(contest, window, rounds).await?.put(report);
        }
        Kind::PatchBytes => patch_bytes::run(contest).await?.put(report),
        Kind::Reconnect => {
            let (clients, storms) = if options.quick {
                (limits::QUICK_STORM_CLIENTS, QUICK_STORMS)
            } else {
                (limits::STORM_CLIENTS, STORMS)
            };
            reconnect::run(contest, clients, storms).await?.put(report);
        }
        Kind::Firings => firings::run(contest, options.quick).await?.put(report),
        Kind::Updates => updates::run(contest, options.quick).await?.put(report),
        Kind::IdleMemory => {
            let pairs = idle::run(contest, rounds).await?;
            report.size(&format!("{}, each", scenario.title), &pairs, "KiB", reference);
        }
        Kind::Start => {
            let pairs = start::run(contest, rounds).await?;
            report.size(scenario.title, &pairs, "ms", reference);
            report.fact("program's file", binary_size(&contest.dunlin[0])?);
        }
    }
    Ok(())
}

fn binary_size(program: &str) -> Outcome<String> {
    let path = PathBuf::from(program);
    let bytes = path.metadata().doing(|| format!("cannot read {program}"))?.len();
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let megabytes = bytes as f64 / 1e6;
    Ok(format!("{megabytes:.1} MB"))
}
