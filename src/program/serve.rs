//! `dunlin serve`: start, say so, run until told to stop.

use std::io::Write as _;
use std::process::ExitCode;

use clap::ArgMatches;
use dunlin::config::Config;
use dunlin::{Server, StartError};

use super::{Exit, banner, control, fail, load, logs};

/// With `control` it takes orders from standard input.
pub(super) fn serve(config: &Config, matches: &ArgMatches, control: bool) -> ExitCode {
    if let Err(error) = logs::install(&config.log) {
        return fail(Exit::Configuration, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::NotStarted, &format!("cannot start threads: {error}")),
    };
    runtime.block_on(run(config.clone(), matches, control))
}

async fn run(config: Config, matches: &ArgMatches, control: bool) -> ExitCode {
    // Before the banner, so that nobody who has read it can send a signal that is not caught.
    let (signals, hangups) = match Signals::install().and_then(|stop| Ok((stop, Hangups::install()?))) {
        Ok(both) => both,
        Err(error) => return fail(Exit::NotStarted, &format!("cannot listen for signals: {error}")),
    };
    let server = match Server::builder().config(config.clone()).bind().await {
        Ok(server) => server,
        Err(error @ (StartError::Config(_) | StartError::Jwt(_) | StartError::Webhook(_))) => {
            return fail(Exit::Configuration, &error);
        }
        Err(error) => return fail(Exit::NotStarted, &error),
    };
    if let Some(address) = server.local_addr() {
        // A closed standard output (`| head -1`) is no reason to stop serving.
        let _ = std::io::stdout().write_all(banner::banner(&config, &server, address).as_bytes());
        let _ = std::io::stdout().flush();
    }
    // Both go on beside the server until it is told to stop.
    let orders = async {
        let reloads = reload_with(hangups, &server, matches);
        if control { tokio::join!(reloads, control::take_orders(&server)).0 } else { reloads.await }
    };
    let stop = async {
        tokio::select! {
            () = signals.first() => {}
            () = orders => {}
        }
    };
    match server.serve_until(stop).await {
        Ok(()) => {
            let _ = writeln!(std::io::stdout(), "stopped");
            Exit::Done.into()
        }
        Err(error) => fail(Exit::Broken, &error),
    }
}

/// Reads the configuration again with each signal. Never ends.
async fn reload_with(mut hangups: Hangups, server: &Server, matches: &ArgMatches) {
    loop {
        hangups.next().await;
        match load(matches).and_then(|loaded| server.reconfigure(&loaded.config)) {
            Ok(done) => tracing::info!(
                applied = done.applied.join(", "),
                needs_restart = done.needs_restart.join(", "),
                "the configuration was read again"
            ),
            Err(error) => tracing::error!(%error, "the new configuration is faulty; nothing has changed"),
        }
    }
}

/// The signal that means "read the configuration again".
struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    #[cfg(unix)]
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    fn install() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
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
