//! What the checks need beside cargo: rustfmt, clippy, Node with npm.

use std::path::Path;
use std::time::Duration;

use super::packages;
use crate::failure::{Failure, Outcome};
use crate::process;
use crate::repo::cargo;

/// `--version` answers at once.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// Two components of some 10 MB each.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// The oldest Node that the example's packages run on.
const NODE_MAJOR: u32 = 18;

pub(crate) async fn install(root: &Path) -> Outcome {
    rust_components(root).await?;
    node(root).await
}

async fn rust_components(root: &Path) -> Outcome {
    let mut missing = Vec::new();
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let mut probe = process::command(cargo(), [subcommand, "--version"], root);
        match process::capture(&mut probe, PROBE_LIMIT).await {
            Ok(version) => println!("{}", version.trim()),
            Err(_) => missing.push(component),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let arguments = ["component", "add"].into_iter().chain(missing.iter().copied());
    process::run(&mut process::command("rustup", arguments, root), INSTALL_LIMIT).await.map_err(|why| {
        let missing = missing.join(" ");
        Failure::new(format!(
            "the Rust toolchain lacks {missing} and they could not be added ({why}). With rustup: `rustup \
             component add {missing}`; with a toolchain of the system's packages (Debian: `apt-get install \
             rustfmt rust-clippy`) install them the same way as cargo"
        ))
    })
}

/// The example live-movies is a pair of npm packages talking to dunlin.
async fn node(root: &Path) -> Outcome {
    if versions(root).await.is_err() {
        packages::install(&["nodejs", "npm"], "test the example live-movies").await?;
    }
    let (node, npm) = versions(root).await?;
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        return Err(Failure::new(format!(
            "the example live-movies needs Node {NODE_MAJOR} or newer, `node --version` says {node}; install \
             a newer one and run this again"
        )));
    }
    println!("node {node}, npm {npm}");
    Ok(())
}

async fn versions(root: &Path) -> Outcome<(String, String)> {
    let mut versions = Vec::new();
    for program in ["node", "npm"] {
        let version =
            process::capture(&mut process::command(program, ["--version"], root), PROBE_LIMIT).await?;
        versions.push(version.trim().to_owned());
    }
    match <[String; 2]>::try_from(versions) {
        Ok([node, npm]) => Ok((node, npm)),
        Err(_) => Err(Failure::new("node and npm did not tell their versions")),
    }
}
