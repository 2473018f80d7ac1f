//! `cargo xtask`: runs the project's checks, the recorded dialogues and the load generator.

mod bench;
mod conformance;
mod failure;
mod floor;
mod process;
mod repo;
mod server;
mod signals;
mod test;
mod wire;

use std::process::ExitCode;

use failure::{Doing, Failure, Outcome};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                        install what the tests need, then run every check
  conformance [-k TEXT] [FILE...]
                              replay the recorded dialogues that should pass by now against the
                              release build (-k: only cases whose path or name contains TEXT;
                              FILE: these cases or directories, whatever they wait for)
  bench [--quick] [--markdown] [--server-cmd CMD] [SCENARIO...]
                              load the release build and a floor server beside it, print the ratios
                              (bench --help lists the scenarios)";

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing(|| "cannot start the async runtime".into())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Dropping the command's future kills every child it started, so an interrupt leaves nothing behind.
    runtime.block_on(async {
        tokio::select! {
            outcome = run(&arguments) => outcome,
            name = signals::interrupted() => Err(Failure::new(format!("stopped by {name}"))),
        }
    })
}

async fn run(arguments: &[String]) -> Outcome {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("--help", arguments),
    };
    match command {
        "test" if rest.is_empty() => test::run().await,
        "conformance" => conformance::run(rest).await,
        "bench" => bench::build_and_run(rest).await,
        // The two commands below are the other end of `bench`: itself in release, and the yardstick.
        "bench-inner" => bench::run(rest).await,
        "floor" => floor::run(rest).await,
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        "test" => Err(Failure::new(format!("`test` takes no arguments, got {rest:?}\n\n{USAGE}"))),
        other => Err(Failure::new(format!("unknown command {other:?}\n\n{USAGE}"))),
    }
}
