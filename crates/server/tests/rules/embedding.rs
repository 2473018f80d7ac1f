//! Rules from the program that embeds the server, and from its configuration.

use dunlin_server::config::{Flags, StorageKind};
use dunlin_server::{Config, RulesOptions, Server, StartError, WriteError};
use serde_json::json;

use super::common::memory;
use super::{relay, ruled};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_does_all_that_clients_do() {
    let server = ruled().build().await.unwrap();
    let rules = server.rules();
    let registered = rules.register(relay("r", "a")).await.unwrap();
    assert_eq!((&registered["id"], &registered["version"]), (&json!("r"), &json!(1)));
    let again = rules.register(relay("r", "a")).await.unwrap_err();
    assert_eq!(again.to_string(), "Rule \"r\" already exists");
    let mut events = rules.subscribe("*").unwrap();
    let event = rules.emit("a", json!({"n": 1})).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.event.id, event.id);
    let second = events.next().await.unwrap().unwrap();
    assert_eq!((&*second.event.topic, second.event.causation_id.as_deref()), ("output.r", Some(&*event.id)));
    assert_eq!(rules.disable("r").await.unwrap()["enabled"], false);
    assert_eq!(rules.enable("r").await.unwrap()["enabled"], true);
    assert_eq!(rules.update("r", json!({"priority": 3})).await.unwrap()["priority"], 3);
    assert_eq!(rules.rule("r").unwrap().unwrap()["priority"], 3);
    rules.unregister("r").await.unwrap();
    assert_eq!(rules.rule("r").unwrap(), None);
    let fact = rules.set_fact("k:1", json!([1])).await.unwrap();
    assert_eq!((&*fact.key, fact.version), ("k:1", 1));
    assert_eq!(rules.facts("k:*").unwrap()[0].value, fact.value);
    assert!(rules.delete_fact("k:1").await.unwrap() && !rules.delete_fact("k:1").await.unwrap());
    assert!(matches!(rules.emit("a", json!(5)).await, Err(WriteError::NotAnObject { .. })));
    drop(server);
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_behind_is_told_how_many_events_it_has_missed() {
    let server = ruled().build().await.unwrap();
    let rules = server.rules();
    let mut events = rules.subscribe("a").unwrap();
    let all = dunlin_server::limits::RULE_EVENTS as u64 + 10;
    for n in 0..all {
        rules.emit("a", json!({"n": n})).await.unwrap();
    }
    // The last one is on its way to the stream when it is answered.
    let mut last = rules.subscribe("end").unwrap();
    rules.emit("end", json!({})).await.unwrap();
    last.next().await.unwrap().unwrap();
    let missed = events.next().await.unwrap().unwrap_err().events;
    let next = events.next().await.unwrap().unwrap();
    assert_eq!((missed, &next.event.data["n"]), (11, &json!(11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_program_are_registered_if_they_are_new_or_differ() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |rule| {
        let builder = Server::builder().data_dir(directory.path()).rules(RulesOptions::on()).rule(rule);
        builder.build().await.unwrap()
    };
    let version = |server: &Server| server.rules().rule("r").unwrap().unwrap()["version"].clone();
    let mut rule = json!({"id": "r", "name": "r", "trigger": {"type": "event", "topic": "a"}, "group": null});
    rule.as_object_mut().unwrap().remove("group");
    let server = start(rule.clone()).await;
    assert_eq!(version(&server), 1);
    server.rules().disable("r").await.unwrap();
    server.stop(std::time::Duration::ZERO).await.unwrap();
    let server = start(rule.clone()).await;
    let found = server.rules().rule("r").unwrap().unwrap();
    assert_eq!((&found["enabled"], &found["version"]), (&json!(false), &json!(1)), "it stays switched off");
    server.stop(std::time::Duration::ZERO).await.unwrap();
    rule["priority"] = json!(7);
    let server = start(rule).await;
    let found = server.rules().rule("r").unwrap().unwrap();
    assert_eq!((&found["priority"], &found["version"]), (&json!(7), &json!(2)));
    server.stop(std::time::Duration::ZERO).await.unwrap();
    let wrong = memory().rules(RulesOptions::on()).rule(json!({"id": "x"})).build().await;
    assert!(matches!(wrong, Err(StartError::Rule { index: 0, .. })));
    let off = memory().rule(json!({"id": "x"})).build().await;
    assert!(matches!(off, Err(StartError::Rule { .. })));
}

#[test]
fn rules_are_switched_on_in_every_way_there_is() {
    let on = |text: &str| Config::parse("c.json", text).unwrap().config.rules;
    assert!(!on("{}").enabled && !on(r#"{"rules": false}"#).enabled);
    assert!(on(r#"{"rules": true}"#).enabled && on(r#"{"rules": {}}"#).enabled);
    let some = on(r#"{"rules": {"maxDepth": 3, "webhooks": {"allow": ["https://a.example/x"]}}}"#);
    assert_eq!(
        (some.enabled, some.max_depth, some.webhooks.allow),
        (true, 3, vec!["https://a.example/x".to_owned()])
    );
    assert!(!on(r#"{"rules": {"maxDepth": 3, "enabled": false}}"#).enabled);
    let load = |env: &[(&str, &str)], flags: &[(&str, &str)]| {
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Config::load(None, env, &flags.iter().copied().collect::<Flags>()).unwrap().config.rules.enabled
    };
    assert!(load(&[("DUNLIN_RULES", "true")], &[]) && load(&[("DUNLIN_RULES_ENABLED", "true")], &[]));
    assert!(load(&[], &[("--rules", "")]) && !load(&[("DUNLIN_RULES", "true")], &[("--no-rules", "")]));
    for wrong in [
        r#"{"rules": "yes"}"#,
        r#"{"rules": {"maxDepth": 0}}"#,
        r#"{"rules": {"webhooks": {"allow": ["example.com"]}}}"#,
        r#"{"rules": {"webhooks": {"allow": ["https://example.com"]}}}"#,
        r#"{"rules": {"webhooks": {"allow": ["https://u:p@example.com/"]}}}"#,
    ] {
        assert!(Config::parse("c.json", wrong).is_err(), "{wrong}");
    }
    let mut config = Config::default();
    config.rules = RulesOptions::on();
    config.rules.max_facts = 7;
    config.storage.kind = StorageKind::Memory;
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(Config::parse("c.json", &text).unwrap().config, config);
}
