//! A server under test: started, found by its banner, stopped.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::failure::{Failure, Outcome};
use crate::process::Group;

/// A durable start is promised within 100 ms; this bound only keeps a server that never starts from hanging us.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Graceful stop includes the last group commit; after that it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Lines of the server's output kept for an error message.
const KEPT_LINES: usize = 20;

/// The banner's line with the address; the host is fixed because everything here stays on loopback.
const BANNER: &str = "ws://127.0.0.1:";

/// A running server; it is killed when this is dropped.
pub(crate) struct Server {
    group: Group,
    output: Arc<Mutex<VecDeque<String>>>,
    port: watch::Receiver<Option<u16>>,
}

impl Server {
    /// Starts it without waiting for anything.
    pub(crate) fn spawn(command: &mut Command) -> Outcome<Self> {
        let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let (found, port) = watch::channel(None);
        let found = Arc::new(found);
        if let Some(stdout) = group.child().stdout.take() {
            tokio::spawn(drain(stdout, Arc::clone(&output), Arc::clone(&found)));
        }
        if let Some(stderr) = group.child().stderr.take() {
            tokio::spawn(drain(stderr, Arc::clone(&output), found));
        }
        Ok(Self { group, output, port })
    }

    /// Starts it and waits until its banner names the address.
    pub(crate) async fn start(command: &mut Command) -> Outcome<(Self, SocketAddr)> {
        let mut server = Self::spawn(command)?;
        let address = server.address().await?;
        Ok((server, address))
    }

    /// Waits for the banner.
    async fn address(&mut self) -> Outcome<SocketAddr> {
        let mut port = self.port.clone();
        let banner = async {
            // The sender goes away when both outputs are closed, that is when the server has exited.
            port.wait_for(Option::is_some).await.ok().and_then(|port| *port)
        };
        match timeout(START_LIMIT, banner).await {
            Ok(Some(port)) => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
            Ok(None) => Err(self.failure("the server exited before it printed its address")),
            Err(_) => Err(self.failure(&format!(
                "the server printed no line with `{BANNER}PORT/` within {} s",
                START_LIMIT.as_secs()
            ))),
        }
    }

    pub(crate) fn id(&self) -> Outcome<Pid> {
        self.group.id().ok_or_else(|| self.failure("the server has no process id"))
    }

    /// A failure with the last lines the server printed.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!("{what}; the last lines it printed:");
        for line in output.iter() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        Failure::new(text)
    }

    /// SIGTERM, and an error if it does not end by itself.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.group.signal(Signal::TERM);
        match timeout(STOP_LIMIT, self.group.child().wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.failure(&format!(
                "the server did not stop within {} s of SIGTERM and was killed",
                STOP_LIMIT.as_secs()
            ))),
        }
    }
}

/// Reads one output to its end, so that the server never blocks on a full pipe.
async fn drain(
    output: impl AsyncRead + Unpin,
    kept: Arc<Mutex<VecDeque<String>>>,
    found: Arc<watch::Sender<Option<u16>>>,
) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if let Some(port) = banner_port(&text) {
            found.send_if_modified(|known| known.is_none() && known.replace(port).is_none());
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(text);
        line.clear();
    }
}

/// The port in a banner line.
fn banner_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(BANNER)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;
    use std::path::Path;

    #[test]
    fn the_port_is_read_from_a_plain_or_coloured_banner() {
        assert_eq!(banner_port("  listening  ws://127.0.0.1:40123/"), Some(40123));
        assert_eq!(banner_port("\u{1b}[36mws://127.0.0.1:8080/\u{1b}[0m"), Some(8080));
        assert_eq!(banner_port("ws://127.0.0.1:0/"), None);
        assert_eq!(banner_port("ws://127.0.0.1:99999/"), None);
        assert_eq!(banner_port("starting"), None);
    }

    #[tokio::test]
    async fn a_server_that_dies_at_start_is_reported_with_its_last_words() {
        let mut dying = command("sh", ["-c", "echo no such key >&2; exit 2"], Path::new("/"));
        let Err(why) = Server::start(&mut dying).await else { panic!("it started") };
        let why = why.to_string();
        assert!(why.contains("exited before") && why.contains("no such key"), "{why}");
    }

    #[tokio::test]
    async fn a_banner_gives_the_address_and_sigterm_stops_it() {
        let mut fake = command("sh", ["-c", "echo ws://127.0.0.1:4321/; exec sleep 60"], Path::new("/"));
        let (server, address) = Server::start(&mut fake).await.unwrap();
        assert_eq!(address.port(), 4321);
        server.stop().await.unwrap();
    }
}
