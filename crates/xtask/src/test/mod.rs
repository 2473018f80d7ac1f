//! `cargo xtask test`: installs what the checks need, then runs every one of them.

mod live_movies;
pub(crate) mod packages;
mod tools;

use std::future::Future;
use std::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::process;
use crate::repo::{BUILD_LIMIT, Repo, cargo};

pub(crate) async fn run() -> Outcome {
    let start = Instant::now();
    let repo = Repo::locate().await?;
    let mut steps = Steps::default();
    steps.run("tools", tools::install(&repo.root)).await?;
    steps.run("format", repo.cargo(["fmt", "--all", "--check"])).await?;
    let lint = "clippy --workspace --all-targets --all-features -- -D warnings";
    steps.run("lints", repo.cargo(lint.split(' '))).await?;
    steps.run("tests", repo.cargo(["test", "--workspace"])).await?;
    steps.run("documentation", documentation(&repo)).await?;
    steps.run("example live-movies", live_movies::run(&repo)).await?;
    println!("\nall {} steps passed in {:.1} s", steps.passed.len(), start.elapsed().as_secs_f64());
    for (name, seconds) in &steps.passed {
        println!("  {seconds:>7.1} s  {name}");
    }
    Ok(())
}

#[derive(Default)]
struct Steps {
    passed: Vec<(&'static str, f64)>,
}

impl Steps {
    async fn run(&mut self, name: &'static str, step: impl Future<Output = Outcome>) -> Outcome {
        println!("\n=== {name}");
        let start = Instant::now();
        step.await.map_err(|why| Failure::new(format!("step \"{name}\" failed: {why}")))?;
        let seconds = start.elapsed().as_secs_f64();
        println!("=== {name}: passed in {seconds:.1} s");
        self.passed.push((name, seconds));
        Ok(())
    }
}

async fn documentation(repo: &Repo) -> Outcome {
    let mut command = process::command(cargo(), ["doc", "--workspace", "--no-deps"], &repo.root);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"), BUILD_LIMIT).await
}
