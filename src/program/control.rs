//! The control channel: orders of a supervisor, one JSON object a line on standard input, answers on standard output.
//!
//! `{"id":1,"call":"server.revokeSession","args":["ada"]}` is answered by `CONTROL {"id":1,"result":1}`, what cannot be done by
//! `CONTROL {"id":1,"error":"…"}`. Whoever has started the process may do everything, so nobody has to log in here.

use std::io::{BufRead as _, Read as _, Write as _};

use clap::ArgMatches;
use dunlin::{Revocation, Server};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Bytes of one order; names of users and roles are short.
const ORDER_BYTES: u64 = 64 * 1024;

/// The variables that stand for `--control`; the second is that of noex-server.
const VARIABLES: [&str; 2] = ["DUNLIN_CONTROL", "NOEX_CONTROL"];

/// Whether standard input is the control channel.
pub(super) fn is_wanted(matches: &ArgMatches) -> Result<bool, String> {
    if matches.get_one::<String>("control").is_some() {
        return Ok(true);
    }
    for variable in VARIABLES {
        match std::env::var_os(variable) {
            None => {}
            Some(value) if value.is_empty() => {}
            Some(value) if value == "stdin" => return Ok(true),
            Some(value) => {
                return Err(format!("{variable} is {}; the only control channel is stdin", value.display()));
            }
        }
    }
    Ok(false)
}

/// Carries out what comes in. Never ends: the end of standard input ends only the channel.
pub(super) async fn take_orders(server: &Server) {
    // One line at a time: whoever sends faster than it is done waits in the pipe.
    let (send, mut lines) = mpsc::channel(1);
    // A thread of its own, because a read from standard input cannot be broken off.
    let reader = std::thread::Builder::new().name("control".to_owned()).spawn(move || read_lines(&send));
    if let Err(error) = reader {
        tracing::error!(%error, "the control channel cannot be read");
    }
    while let Some(line) = lines.recv().await {
        let answer = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => carry_out(server, &line).await,
            Err(error) => json!({"id": null, "error": error}),
        };
        let mut output = std::io::stdout().lock();
        // Nobody may listen any more; what was ordered is done nevertheless.
        let _ = writeln!(output, "CONTROL {answer}").and_then(|()| output.flush());
    }
    std::future::pending::<()>().await;
}

/// The lines of standard input. What is left of one that is too long is read and thrown away.
fn read_lines(send: &mpsc::Sender<Result<String, &'static str>>) {
    let mut input = std::io::stdin().lock();
    let mut cut = false;
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(ORDER_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.ends_with(b"\n") || (line.len() as u64) < ORDER_BYTES;
        let is_rest = std::mem::replace(&mut cut, !whole);
        let line = match (is_rest, whole) {
            (true, _) => continue,
            (false, false) => Err("an order has at most 65536 bytes"),
            (false, true) => String::from_utf8(line).map_err(|_| "an order is text in UTF-8"),
        };
        if send.blocking_send(line).is_err() {
            return;
        }
    }
}

#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    id: Value,
    call: String,
    #[serde(default)]
    args: Vec<Value>,
}

async fn carry_out(server: &Server, line: &str) -> Value {
    let order: Order = match serde_json::from_str(line) {
        Ok(order) => order,
        Err(error) => {
            return json!({"id": null, "error": format!("expected {{\"id\": …, \"call\": …, \"args\": […]}}: {error}")});
        }
    };
    match call(server, &order.call, &order.args).await {
        Ok(result) => json!({"id": order.id, "result": result}),
        Err(error) => json!({"id": order.id, "error": error}),
    }
}

async fn call(server: &Server, name: &str, args: &[Value]) -> Result<Value, String> {
    let user = || args.first().and_then(Value::as_str).ok_or("expected the id of a user, as text");
    Ok(match name {
        "server.revokeSession" => json!(server.revoke_session(user()?)),
        "server.revokeSessions" => json!(server.revoke_sessions(&revocation(args.first())?)),
        "server.forgive" => json!(server.forgive(user()?)),
        "server.getConnections" => json!(server.connections()),
        "server.getStats" => server.stats().await.map_err(|error| error.to_string())?,
        "server.connectionCount" => json!(server.connection_count()),
        "server.isRunning" => json!(server.is_running()),
        _ => {
            return Err(format!(
                "unknown call {name:?}; known: server.revokeSession, server.revokeSessions, server.forgive, \
                 server.getConnections, server.getStats, server.connectionCount, server.isRunning"
            ));
        }
    })
}

/// Only what is understood: a misspelt condition would end the sessions of everybody.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    user_id: Option<String>,
    role: Option<String>,
}

fn revocation(filter: Option<&Value>) -> Result<Revocation, String> {
    let filter = match filter {
        None | Some(Value::Null) => Filter::default(),
        Some(filter) => {
            Filter::deserialize(filter).map_err(|error| format!("expected {{userId?, role?}}: {error}"))?
        }
    };
    Ok(Revocation { user_id: filter.user_id, role: filter.role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_are_carried_out_or_refused_by_name() {
        let server = Server::builder().memory().build().await.unwrap();
        for (order, answer) in [
            (r#"{"id":1,"call":"server.revokeSession","args":["u"]}"#, r#"{"id":1,"result":0}"#),
            (r#"{"id":"a","call":"server.revokeSessions"}"#, r#"{"id":"a","result":0}"#),
            (r#"{"id":2,"call":"server.forgive","args":["u"]}"#, r#"{"id":2,"result":false}"#),
            (r#"{"id":3,"call":"server.connectionCount","args":[]}"#, r#"{"id":3,"result":0}"#),
            (r#"{"id":4,"call":"server.isRunning"}"#, r#"{"id":4,"result":true}"#),
            (r#"{"id":5,"call":"server.getConnections"}"#, r#"{"id":5,"result":[]}"#),
        ] {
            assert_eq!(carry_out(&server, order).await.to_string(), answer);
        }
        assert_eq!(
            carry_out(&server, r#"{"id":6,"call":"server.getStats"}"#).await["result"]["connectionCount"],
            0
        );
        for (order, part) in [
            ("nonsense", "expected {\"id\""),
            (r#"{"id":7,"call":"server.stop"}"#, "unknown call \"server.stop\""),
            (r#"{"id":8,"call":"server.revokeSession","args":[1]}"#, "the id of a user"),
            (r#"{"id":9,"call":"server.revokeSessions","args":[{"user":"u"}]}"#, "unknown field `user`"),
        ] {
            let answer = carry_out(&server, order).await;
            assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        }
    }
}
