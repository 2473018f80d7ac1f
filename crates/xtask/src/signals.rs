//! Waits for the signals that ask this program to end.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves with the name of the signal once one of SIGINT, SIGTERM, SIGHUP has arrived.
pub(crate) async fn interrupted() -> &'static str {
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without handlers the signals keep their default action, which ends the process at once.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => "SIGINT",
        _ = term.recv() => "SIGTERM",
        _ = hup.recv() => "SIGHUP",
    }
}
