//! A `dunlin` process, and a WebSocket to it, for tests in which one of them does not live long.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longest wait for anything that must come; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program; with `before`, what it is started by.
pub fn dunlin(before: &[&str], arguments: &[&str]) -> Command {
    let mut words = before.iter().chain([&env!("CARGO_BIN_EXE_dunlin")]).chain(arguments);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub fn run(before: &[&str], arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = dunlin(before, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running server; killed when dropped.
pub struct Running {
    pub child: Child,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Running {
    /// Starts it and waits until it is there. Its log goes to this process's standard error.
    pub fn start(before: &[&str], arguments: &[&str]) -> Self {
        let mut child = dunlin(before, arguments).stderr(Stdio::inherit()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Error details") {
            assert_ne!(output.read_line(&mut banner).unwrap(), 0, "ended early: {banner}");
        }
        let address = banner.split_once("ws://").unwrap().1;
        let address = address.split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
        Self { child, output, address: address.parse().unwrap() }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A sign to stop; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.output.read_to_string(&mut String::new()).unwrap();
        self.child.wait().unwrap().code()
    }

    /// `GET` of a path: head and body.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Repeats until `check` holds; for effects that come soon after their cause.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A connection. Whatever fails on it means that the server is gone.
pub struct Socket(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Socket {
    /// Connects and takes the welcome.
    pub async fn connect(address: SocketAddr) -> Option<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/")).await.ok()?;
        let mut socket = Self(socket);
        let welcome = socket.receive().await?;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Some(socket)
    }

    pub async fn send(&mut self, request: &Value) -> Option<()> {
        self.0.send(Message::text(request.to_string())).await.ok()
    }

    /// The next message; `None` if the server is gone. Pings are answered.
    pub async fn receive(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing came in time");
            let Message::Text(text) = next?.ok()? else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] != "ping" {
                return Some(message);
            }
            let pong = serde_json::json!({"type": "pong", "timestamp": message["timestamp"]});
            self.send(&pong).await?;
        }
    }

    /// Sends a request with this id and waits for its answer; what comes before it is dropped.
    pub async fn call(&mut self, id: u64, mut request: Value) -> Option<Value> {
        request["id"] = id.into();
        self.send(&request).await?;
        loop {
            let message = self.receive().await?;
            if message["id"] == id && message["type"] != "system" {
                return Some(message);
            }
        }
    }
}
