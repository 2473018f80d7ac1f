//! Every example runs and prints what it promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::process::Command;

/// Runs a built example; its standard output.
fn run(example: &str) -> String {
    // cargo builds the examples beside the tests: target/debug/{deps/<this test>, examples/<example>}.
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(example);
    let output = Command::new(&path).output().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{example}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn embed() {
    let text = run("embed");
    assert!(text.contains("at first: \"Lisbon\"\nthen:     Lisbon, Tromsø\nrecords:  2\n"), "{text}");
}

#[test]
fn axum_mount() {
    let text = run("axum_mount");
    assert!(text.contains("HTTP:      HTTP/1.1 200 OK\n"), "{text}");
    assert!(
        text.contains(r#"WebSocket: {"id":1,"type":"result","data":{"count":1,"names":["notes"]}}"#),
        "{text}"
    );
    assert!(text.contains("from:      127.0.0.1\n"), "{text}");
}

#[test]
fn custom_auth() {
    let text = run("custom_auth");
    let outcomes: Vec<&str> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        outcomes,
        [
            "welcome, login required",
            "before login   UNAUTHORIZED",
            "wrong token    UNAUTHORIZED",
            "as Ada         done",
            "write notes    done",
            "read salaries  FORBIDDEN",
            "drop notes     FORBIDDEN",
            "as the boss    done",
            "read salaries  done",
        ],
        "{text}"
    );
}

#[test]
fn row_rules() {
    let text = run("row_rules");
    assert_eq!(
        text,
        "ada sees  \"o1\" with cost null\nbob sees  \"o2\" with cost null\nada sees  \"o1\" with cost 7, \"o2\" with cost 9\n"
    );
}

#[test]
fn fraud() {
    let text = run("fraud");
    assert_eq!(
        text,
        "event \"alert.card-testing\" {\"card\":\"stolen\"}\n\
         event \"alert.trial-then-express\" {\"card\":\"tester\",\"order\":\"o8\"}\n\
         alert \"card-testing\" \"stolen\": \"3 declined orders in a minute\"\n\
         alert \"trial-then-express\" \"tester\": \"650 by express after a trial of 1\"\n\
         held  \"o7\" of card \"stolen\"\n"
    );
}
