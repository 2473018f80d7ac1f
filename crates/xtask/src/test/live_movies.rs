//! Runs `examples/live-movies` against a server of our own.

use std::time::Duration;

use crate::failure::Outcome;
use crate::process;
use crate::repo::Repo;
use crate::server::Server;

/// Two npm packages, about 40 MB, from a registry that may be slow.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The script limits each of its own waits; an unoptimised server needs some seconds in all.
const RUN_LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn run(repo: &Repo) -> Outcome {
    let example = repo.root.join("examples/live-movies");
    let install = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    process::run(&mut process::command("npm", install, &example), INSTALL_LIMIT).await?;
    let binary = repo.debug_binary().await?;
    let arguments = ["serve", "--memory", "--host", "127.0.0.1", "--port", "0"];
    // In the target directory, so that a mistake about where data goes does not litter the repository.
    let (server, address) = Server::start(&mut process::command(binary, arguments, &repo.target)).await?;
    let script = ["run.mjs".to_owned(), format!("ws://{address}/")];
    // The script compares both top tens with its own computation and exits with 1 if they differ.
    process::run(&mut process::command("node", script, &example), RUN_LIMIT)
        .await
        .map_err(|why| server.failure(&why.to_string()))?;
    server.stop().await
}
