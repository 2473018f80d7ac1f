use serde_json::{Value, json};

use super::load;
use crate::config::{
    Config, Durability, Flags, LogFormat, LogLevel, Origin, StorageKind, keys, kind, limits, sources,
};

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.json");
    std::fs::write(&path, r#"{"port": 1, "host": "a", "path": "/f", "heartbeat": {"intervalMs": 7}}"#)
        .unwrap();
    let env = [("DUNLIN_PORT", "2"), ("DUNLIN_HOST", "b"), ("DUNLIN_CONFIG", "?"), ("DUNLIN_LOG", "?")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Flags::new().with("--port", "3").with("--memory", "").with("--data-dir", "d");
    let loaded = Config::load(Some(&path), env, &flags).unwrap();
    let config = &loaded.config;
    assert_eq!((config.port, config.host.as_str(), config.path.as_str()), (3, "b", "/f"));
    assert_eq!(
        (config.heartbeat.interval_ms, config.heartbeat.timeout_ms),
        (7, limits::HEARTBEAT_TIMEOUT_MS)
    );
    assert_eq!((config.storage.kind, config.storage.dir.to_str()), (StorageKind::Memory, Some("d")));
    assert_eq!(loaded.origin("port"), &Origin::Flag("--port".into()));
    assert_eq!(loaded.origin("host"), &Origin::Variable("DUNLIN_HOST".into()));
    assert_eq!(loaded.origin("heartbeat.intervalMs"), &Origin::File(path));
    assert_eq!(loaded.origin("heartbeat.timeoutMs"), &Origin::Default);
    assert_eq!(loaded.origin("storage.kind"), &Origin::Flag("--memory".into()));
    let port = loaded.settings().into_iter().find(|setting| setting.key == "port").unwrap();
    assert_eq!((port.value, port.origin.to_string()), (json!(3), "--port".to_owned()));
}

#[test]
fn every_key_can_be_set_by_variable_and_by_flag() {
    let samples = |path: &str| match path {
        "name" => "n",
        "host" => "::1",
        "path" => "/p",
        "exposeErrorDetails" | "auth.required" => "false",
        "auth.anonymous" => "reader",
        "allowedOrigins" => "https://a.example, http://b.example:8080",
        "backpressure.highWaterMark" => "0.5",
        "storage.kind" => "memory",
        "storage.dir" => "elsewhere",
        "storage.durability" => "none",
        "log.format" => "json",
        "log.level" => "trace",
        "rateLimit.allow" | "trustedProxies" => "10.0.0.0/8, ::1",
        "proxyProtocol" => "true",
        _ => "17",
    };
    // What other keys need to mean anything.
    let needed = [("DUNLIN_RATE_LIMIT_MAX_REQUESTS", "3"), ("DUNLIN_TRUSTED_PROXIES", "127.0.0.1")];
    let default = load(&needed, &[]).unwrap().config;
    for key in keys::KEYS.iter().filter(|key| !key.kind.is_for_files()) {
        let (variable, flag) = (keys::variable(key.path), keys::flag(key.path));
        let sample = samples(key.path);
        let mut env: Vec<_> = needed.into_iter().filter(|(name, _)| *name != variable).collect();
        let by_flag = load(&needed, &[(&flag, sample)]).unwrap();
        env.push((&variable, sample));
        let by_variable = load(&env, &[]).unwrap();
        assert_eq!(by_variable.config, by_flag.config, "{}", key.path);
        assert_ne!(by_variable.config, default, "{}", key.path);
        assert_eq!(by_variable.origin(key.path), &Origin::Variable(variable));
    }
    assert_eq!(keys::variable("heartbeat.intervalMs"), "DUNLIN_HEARTBEAT_INTERVAL_MS");
    assert_eq!(keys::variable("maxConnectionsPerIp"), "DUNLIN_MAX_CONNECTIONS_PER_IP");
    let none = load(&[("DUNLIN_ALLOWED_ORIGINS", "")], &[]).unwrap();
    assert_eq!(none.config.allowed_origins, Some(vec![]), "an empty list refuses every origin");
}

#[test]
fn every_word_of_the_table_is_understood() {
    for key in keys::KEYS {
        if let kind::Kind::Word { words, .. } = &key.kind {
            for word in *words {
                let mut config = Config::default();
                assert!((key.set)(&mut config, &Value::from(*word)).is_some(), "{} {word}", key.path);
                assert_eq!(sources::at(&sources::tree_of(&config), key.path), Value::from(*word));
            }
        }
    }
    assert_eq!(Durability::None.as_str(), "none");
    assert_eq!(LogLevel::Warn.as_str(), "warn");
    assert_eq!(StorageKind::Memory.as_str(), "memory");
    assert_eq!(LogFormat::Json.as_str(), "json");
}

#[test]
fn json_and_toml_mean_the_same() {
    let json = r#"{"port": 1e3, "allowedOrigins": ["https://a.example"], "heartbeat": {"intervalMs": 5},
        "backpressure": {"highWaterMark": 1}, "storage": {"kind": "memory"}, "maxConnectionsPerIp": 3, "rules": false,
        "seed": [{"type": "store.defineBucket", "name": "b", "config": {"key": "id", "schema": {"id": {"max": 1.5}}}}]}"#;
    let toml = r#"
        port = 1_000
        allowedOrigins = ["https://a.example"]
        maxConnectionsPerIp = 3
        rules = false
        heartbeat.intervalMs = 5
        [backpressure]
        highWaterMark = 1.0
        [storage]
        kind = "memory"
        [[seed]]
        type = "store.defineBucket"
        name = "b"
        config = { key = "id", schema = { id = { max = 1.5 } } }
    "#;
    let expected = Config::parse("a.json", json).unwrap().config;
    assert_eq!(Config::parse("a.toml", toml).unwrap().config, expected);
    assert_eq!(Config::parse("unnamed", json).unwrap().config, expected);
    assert_eq!(Config::parse("unnamed", toml).unwrap().config, expected);
    assert_eq!(Config::parse("a.json", &format!("\u{feff}{json}")).unwrap().config, expected);
    assert_eq!((expected.port, expected.seed.len()), (1000, 1));
    assert_eq!(Config::parse("empty.toml", "").unwrap().config, Config::default());
}

/// Configurations of the recorded dialogues (conformance/FORMAT.md, `server`), and one with a seed as the replayer
/// writes it.
#[test]
fn recorded_server_objects_load() {
    for text in [
        r#"{"rules": false}"#,
        r#"{"rules": false, "heartbeat": {"intervalMs": 50, "timeoutMs": 25}}"#,
        r#"{"rules": false, "connectionLimits": {"maxSubscriptionsPerConnection": 100, "maxTotalSubscriptions": 2}}"#,
        r#"{"rules": false, "shutdownGraceMs": 10000}"#,
        r#"{"rules": false, "auth": {"tokens": {"__setup__": {"userId": "__setup__", "roles": ["admin", "__setup__"]},
            "t": {"userId": "u", "roles": ["user"], "metadata": {"a": 1}, "expiresInMs": -1000}}, "required": false}}"#,
        r#"{"auth": false}"#,
        r#"{"rules": false, "exposeErrorDetails": false, "name": "test-server"}"#,
        r#"{"rules": false, "maxConnectionsPerIp": 2, "allowedOrigins": ["https://app1.example.com"]}"#,
        r#"{"rules": false, "seed": [{"request": {"type": "store.defineBucket", "name": "users", "config": {"key": "id",
            "schema": {"id": {"type": "string", "generated": "uuid"}}}}, "expect": {"name": "users"}}]}"#,
    ] {
        Config::parse("server.json", text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn impossible_values_in_code_are_found() {
    let mut config = Config::default();
    config.check().unwrap();
    config.path = "ws".into();
    config.heartbeat.interval_ms = 0;
    let error = config.check().expect_err("impossible");
    assert_eq!(error.faults().len(), 2);
    assert_eq!(
        error.faults()[0].to_string(),
        "configuration in code: path: expected a URL path that starts with \"/\" and is not /health, /ready or /metrics, found \"ws\""
    );
}

#[test]
fn the_documentation_holds_the_reference() {
    let page = include_str!("../../../../../docs/configuration.md");
    assert!(
        page.contains(&Config::reference()),
        "put this into docs/configuration.md:\n{}",
        Config::reference()
    );
}

#[test]
fn the_examples_of_the_documentation_load_and_agree() {
    let page = include_str!("../../../../../docs/configuration.md");
    let example = |language: &str| {
        let start = page.split(&format!("```{language}\n")).nth(1).unwrap();
        start.split("```").next().unwrap()
    };
    let json = Config::parse("e.json", example("json")).unwrap().config;
    assert_eq!(json, Config::parse("e.toml", example("toml")).unwrap().config);
    assert_ne!(json, Config::default());
}
