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
        "auth.upgrade.header" | "auth.upgrade.required" | "proxyProtocol" | "rules.enabled" => "true",
        "rules.maxSteps" | "rules.subscriberBytes" => "2000",
        "rules.webhooks.allow" => "https://a.example/, http://b.example:8080/x",
        "auth.jwt.algorithms" => "RS256, EdDSA",
        "auth.webhook.url" => "https://accounts.example.com/login",
        "auth.anonymous" => "reader",
        "allowedOrigins" => "https://a.example, http://b.example:8080",
        "backpressure.highWaterMark" => "0.5",
        "storage.kind" => "memory",
        "storage.dir" => "elsewhere",
        "storage.durability" => "none",
        "log.format" => "json",
        "log.level" => "trace",
        "rateLimit.allow" | "trustedProxies" => "10.0.0.0/8, ::1",
        _ => "17",
    };
    // What other keys need to mean anything.
    let needed = [("DUNLIN_RATE_LIMIT_MAX_REQUESTS", "3"), ("DUNLIN_TRUSTED_PROXIES", "127.0.0.1")];
    let default = load(&needed, &[]).unwrap().config;
    for key in keys::KEYS.iter().filter(|key| key.kind.has_flag()) {
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
fn a_secret_comes_from_a_file_or_the_environment_and_is_never_shown() {
    const SECRET: &str = " 0123456789 0123456789 0123456789 ";
    let loaded = load(&[("DUNLIN_AUTH_JWT_SECRET", SECRET)], &[]).unwrap();
    assert_eq!(loaded.config.auth.jwt.secret.as_ref().unwrap().expose(), SECRET, "blanks are a part of it");
    let file = format!("[auth.jwt]\nsecret = \"{SECRET}\"");
    assert_eq!(Config::parse("a.toml", &file).unwrap().config, loaded.config);
    let shown = loaded.settings().into_iter().find(|setting| setting.key == "auth.jwt.secret").unwrap();
    assert_eq!(shown.value, json!("not shown"));
    assert!(!format!("{loaded:?}").contains("0123456789"));
    assert!(!Config::flags().iter().any(|flag| flag.key == "auth.jwt.secret"));
    let refused = load(&[], &[("--auth-jwt-secret", SECRET)]).unwrap_err();
    assert_eq!(refused.faults()[0].code(), "CONFIG_NO_FLAG");
    let short = load(&[("DUNLIN_AUTH_JWT_SECRET", "hunter2")], &[]).unwrap_err().to_string();
    assert!(short.contains("32 to 8192 bytes, found one of 7") && !short.contains("hunter2"), "{short}");
    let number = Config::parse("a.json", r#"{"auth": {"jwt": {"secret": 4711}}}"#).unwrap_err().to_string();
    assert!(number.contains("found a number") && !number.contains("4711"), "{number}");
}

#[test]
fn what_a_login_can_be_told_is_checked() {
    for (text, part) in [
        (
            r#"{"auth": {"jwt": {"algorithms": ["none"]}}}"#,
            "auth.jwt.algorithms: expected a list of \"HS256\"",
        ),
        (r#"{"auth": {"jwt": {"algorithms": []}}}"#, "auth.jwt.algorithms"),
        (r#"{"auth": {"webhook": {"url": "ftp://a.example"}}}"#, "auth.webhook.url: expected an http"),
        (r#"{"auth": {"webhook": {"url": "https://u:p@a.example"}}}"#, "auth.webhook.url"),
        (r#"{"auth": {"webhook": {"timeoutMs": 60000}}}"#, "auth.webhook.timeoutMs"),
        (r#"{"auth": {"upgrade": {"queryParameter": "a&b"}}}"#, "auth.upgrade.queryParameter"),
        (r#"{"revocation": {"blacklistTtlMs": 0}}"#, "revocation.blacklistTtlMs"),
    ] {
        let error = Config::parse("a.json", text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let audience = r#"{"auth": {"jwt": {"audience": null, "secret": null}, "webhook": {"url": null}}}"#;
    assert_eq!(Config::parse("a.json", audience).unwrap().config, Config::default());
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
