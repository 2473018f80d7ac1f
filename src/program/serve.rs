//! `dunlin serve`: start, say so, run until told to stop.

use std::io::Write as _;
use std::process::ExitCode;

use dunlin::config::Config;
use dunlin::{Server, StartError};

use super::{Exit, banner, fail, logs};

pub(super) fn serve(config: &Config) -> ExitCode {
    if let Err(error) = logs::install(&config.log) {
        return fail(Exit::Configuration, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::NotStarted, &format!("cannot start threads: {error}")),
    };
    runtime.block_on(run(config.clone()))
}

async fn run(config: Config) -> ExitCode {
    // Before the banner, so that nobody who has read it can send a signal that is not caught.
    let signal = match Signals::install() {
        Ok(signals) => signals.first(),
        Err(error) => return fail(Exit::NotStarted, &format!("cannot listen for signals: {error}")),
    };
    let server = match Server::builder().config(config.clone()).bind().await {
        Ok(server) => server,
        Err(error @ StartError::Config(_)) => return fail(Exit::Configuration, &error),
        Err(error) => return fail(Exit::NotStarted, &error),
    };
    if let Some(address) = server.local_addr() {
        // A closed standard output (`| head -1`) is no reason to stop serving.
        let _ = std::io::stdout().write_all(banner::banner(&config, &server, address).as_bytes());
        let _ = std::io::stdout().flush();
    }
    match server.run_until(signal).await {
        Ok(()) => {
            let _ = writeln!(std::io::stdout(), "stopped");
            Exit::Done.into()
        }
        Err(error) => fail(Exit::Broken, &error),
    }
}

/// The signals that mean "stop".
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    fn install() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Completes with the first of them. A second SIGINT or SIGTERM while the server stops has no effect.
    async fn first(mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        // Where the signal cannot be listened for, the process is simply ended by it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
