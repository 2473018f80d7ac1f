//! The `dunlin` program as its user meets it: banner, signals, exit codes, configuration mistakes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

fn dunlin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = dunlin(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running server; killed when dropped, in case a test fails.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    banner: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = dunlin(arguments).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Error details") {
            assert_ne!(output.read_line(&mut banner).unwrap(), 0, "ended early: {banner}");
        }
        Self { child, output, banner }
    }

    fn signal(&mut self, name: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_banner_says_what_is_on_and_sigterm_and_sigint_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for signal in ["-TERM", "-INT"] {
        let mut server = Running::start(&["--port", "0", "--data-dir", data.to_str().unwrap()]);
        assert!(
            server.banner.contains(&format!("Data           {}", data.canonicalize().unwrap().display()))
        );
        assert!(server.banner.contains("Durability     a write is synced to disk before it is answered"));
        assert!(server.banner.contains("Clients        ws://127.0.0.1:"), "{}", server.banner);
        assert!(!server.banner.contains('\x1b'), "colour only on a terminal");
        let (code, rest) = server.signal(signal);
        assert_eq!((code, rest.lines().last()), (Some(0), Some("stopped")));
    }
}

#[test]
fn the_banner_says_where_monitoring_is() {
    let server = Running::start(&["--memory", "--port", "0", "--metrics-port", "0"]);
    let after = |word: &str| server.banner.split_once(word).unwrap().1.split_once('/').unwrap().0.to_owned();
    let (clients, monitoring) = (after("ws://"), after("http://"));
    assert_ne!(clients, monitoring, "{}", server.banner);
    let get = |address: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get(&monitoring).contains("dunlin_build_info{"));
    assert!(get(&clients).starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_second_process_on_the_same_data_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _first = Running::start(&["--port", "0", "--data-dir", data.to_str().unwrap()]);
    let (code, _, message) = run(&["--port", "0", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(message.contains("in use by another dunlin") && message.contains("--data-dir"), "{message}");
}

#[test]
fn a_taken_port_is_told_before_anything_else_is_done() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (code, _, message) = run(&["serve", "--port", &port, "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{message}");
    assert!(!data.exists(), "no data directory is left behind");
}

#[test]
fn a_wrong_configuration_names_file_key_expectation_and_neighbour() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wrong =
        write("wrong.json", r#"{"prot": 1, "heartbeat": {"intervalMs": "x"}, "auth": {"tokens": {}}}"#);
    for command in ["check", "serve"] {
        let (code, _, message) = run(&[command, "-c", &wrong]);
        assert_eq!(code, Some(2), "{message}");
        for part in ["wrong.json", "prot", "port", "heartbeat.intervalMs", "auth"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let sound = write("sound.toml", "port = 9000\n[storage]\nkind = \"memory\"\n");
    let (code, text, _) = run(&["check", "-c", &sound, "--host", "::1"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("9000") && text.contains("sound.toml") && text.contains("--host"), "{text}");
}

#[test]
fn the_command_line_tells_its_version_and_refuses_what_it_does_not_know() {
    let (code, text, _) = run(&["--version"]);
    assert_eq!((code, text.trim()), (Some(0), concat!("dunlin ", env!("CARGO_PKG_VERSION"))));
    let (code, _, message) = run(&["--prot", "1"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("--port"), "{message}");
}
