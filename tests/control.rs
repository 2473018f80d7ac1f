//! Orders to a running program: the control channel on standard input, and the signal to read the configuration again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use common::{PATIENCE, dunlin};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// A program whose standard input and output are ours.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    log: Receiver<String>,
    address: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        let input = child.stdin.take();
        let mut program = Self { child, input, output, log, address: String::new() };
        let clients = program.line("Clients");
        program.address = clients.split_whitespace().last().unwrap().into();
        program.line("Error details");
        program
    }

    /// The next line of the output with this in it.
    fn line(&self, part: &str) -> String {
        wait_for(&self.output, part)
    }

    fn order(&mut self, text: &str) -> Value {
        self.write(text);
        serde_json::from_str(self.line("CONTROL ").strip_prefix("CONTROL ").unwrap()).unwrap()
    }

    fn write(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{text}").unwrap();
        input.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// What is answered to a login.
    async fn login(&self, token: &str) -> Value {
        let (mut socket, _) = connect_async(&self.address).await.unwrap();
        let request = json!({"id": 1, "type": "auth.login", "token": token});
        socket.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
            let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if message["id"] == 1 {
                return message;
            }
        }
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

fn wait_for(lines: &Receiver<String>, part: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never came: {part}"));
        if line.contains(part) {
            return line;
        }
    }
}

fn configured(dir: &tempfile::TempDir, content: &Value) -> Command {
    let path = dir.path().join("dunlin.json");
    std::fs::write(&path, content.to_string()).unwrap();
    dunlin(&[], &["serve", "--memory", "--port", "0", "--config", path.to_str().unwrap()])
}

fn tokens(names: &[&str]) -> Value {
    let table: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| (format!("t-{name}"), json!({"userId": name, "roles": ["writer"]})))
        .collect();
    json!({"auth": {"tokens": table}})
}

#[tokio::test]
async fn orders_come_by_standard_input() {
    for channel in ["--control", "DUNLIN_CONTROL", "NOEX_CONTROL"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = configured(&dir, &tokens(&["ada"]));
        if channel == "--control" {
            command.args([channel, "stdin"])
        } else {
            command.env(channel, "stdin")
        };
        let mut program = Program::start(command);
        assert_eq!(program.login("t-ada").await["type"], "result");
        let revoke = r#"{"id":7,"call":"server.revokeSession","args":["ada"]}"#;
        assert_eq!(program.order(revoke)["id"], 7);
        assert_eq!(program.login("t-ada").await["code"], "SESSION_REVOKED");
        let forgive = r#"{"id":8,"call":"server.forgive","args":["ada"]}"#;
        assert_eq!(program.order(forgive), json!({"id": 8, "result": true}));
        let refused = program.order("nonsense");
        assert!(refused["error"].as_str().unwrap().contains("expected"), "{refused}");
        let long = program.order(&"x".repeat(200_000));
        assert!(long["error"].as_str().unwrap().contains("65536 bytes"), "{long}");
        let count = r#"{"id":9,"call":"server.isRunning"}"#;
        assert_eq!(program.order(count), json!({"id": 9, "result": true}), "the channel goes on");
        // Its end is not the end of the server.
        drop(program.input.take());
        assert_eq!(program.login("t-ada").await["type"], "result");
        program.signal("-TERM");
        program.line("stopped");
        assert_eq!(program.child.wait().unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn without_being_told_so_nobody_listens_to_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(configured(&dir, &tokens(&["ada"])));
    program.write(r#"{"id":1,"call":"server.revokeSession","args":["ada"]}"#);
    assert_eq!(program.login("t-ada").await["type"], "result");
    program.signal("-TERM");
    program.child.wait().unwrap();
    assert!(program.output.iter().all(|line| !line.starts_with("CONTROL")));
    let mut wrong = configured(&dir, &tokens(&["ada"]));
    let output = wrong.env("DUNLIN_CONTROL", "socket").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the only control channel is stdin"));
}

#[tokio::test]
async fn a_hangup_reads_the_configuration_again() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(configured(&dir, &tokens(&["ada"])));
    let mut new = tokens(&["bob"]);
    new["name"] = json!("other");
    configured(&dir, &new);
    program.signal("-HUP");
    let told = wait_for(&program.log, "was read again");
    assert!(told.contains("applied=\"auth.tokens\"") && told.contains("needs_restart=\"name\""), "{told}");
    assert_eq!(program.login("t-bob").await["type"], "result");
    assert_eq!(program.login("t-ada").await["code"], "UNAUTHORIZED");
    configured(&dir, &json!({"auth": {"tokens": {"t-eve": {"userId": "eve"}}}, "prot": 1}));
    program.signal("-HUP");
    let told = wait_for(&program.log, "faulty");
    assert!(told.contains("did you mean port"), "{told}");
    assert_eq!(program.login("t-bob").await["type"], "result", "nothing has changed");
    assert_eq!(program.login("t-eve").await["code"], "UNAUTHORIZED");
}
