use std::path::Path;

use serde_json::json;

use super::{Pairs, load, message};
use crate::config::{Config, Fault, Flags, limits};

/// A JSON file and what is said about it.
const IN_A_FILE: &[(&str, &str)] = &[
    (r#"{"prot": 1}"#, "s.json: unknown key prot; did you mean port?"),
    (
        r#"{"colour": 1}"#,
        "s.json: unknown key colour; known here: name, host, port, path, maxPayloadBytes, maxDepth, heartbeat, backpressure, \
         connectionLimits, live, rules, idempotency, exposeErrorDetails, allowedOrigins, maxConnectionsPerIp, rateLimit, trustedProxies, proxyProtocol, shutdownGraceMs, auth, revocation, storage, metrics, log, seed",
    ),
    (r#"{"max_payload_bytes": 1}"#, "s.json: unknown key max_payload_bytes; did you mean maxPayloadBytes?"),
    (r#"{"hartbeat": {}}"#, "s.json: unknown key hartbeat; did you mean heartbeat?"),
    (r#"{"intervalMs": 5}"#, "s.json: unknown key intervalMs; did you mean heartbeat.intervalMs?"),
    (
        r#"{"heartbeat": {"intervallMs": 5}}"#,
        "s.json: unknown key heartbeat.intervallMs; did you mean heartbeat.intervalMs?",
    ),
    (
        r#"{"heartbeat": {"colour": 5}}"#,
        "s.json: unknown key heartbeat.colour; known here: intervalMs, timeoutMs",
    ),
    (
        r#"{"heartbeat.intervalMs": 5}"#,
        "s.json: unknown key heartbeat.intervalMs; did you mean heartbeat.intervalMs?",
    ),
    (r#"{"heartbeat": 5}"#, "s.json: heartbeat: expected an object with intervalMs, timeoutMs, found 5"),
    (r#"{"port": "80"}"#, r#"s.json: port: expected a whole number from 0 to 65535, found "80""#),
    (r#"{"port": 65536}"#, "s.json: port: expected a whole number from 0 to 65535, found 65536"),
    (r#"{"port": 80.5}"#, "s.json: port: expected a whole number from 0 to 65535, found 80.5"),
    (r#"{"port": -1}"#, "s.json: port: expected a whole number from 0 to 65535, found -1"),
    (r#"{"port": null}"#, "s.json: port: expected a whole number from 0 to 65535, found null"),
    (r#"{"port": []}"#, "s.json: port: expected a whole number from 0 to 65535, found an empty list"),
    (
        r#"{"maxConnectionsPerIp": 0}"#,
        "s.json: maxConnectionsPerIp: expected a whole number from 1 to 1000000, found 0",
    ),
    (
        r#"{"heartbeat": {"timeoutMs": 0}}"#,
        "s.json: heartbeat.timeoutMs: expected a whole number of milliseconds from 1 to 86400000, found 0",
    ),
    (
        r#"{"maxPayloadBytes": 0}"#,
        "s.json: maxPayloadBytes: expected a whole number of bytes from 1 to 268435456, found 0",
    ),
    (
        r#"{"backpressure": {"highWaterMark": 1.5}}"#,
        "s.json: backpressure.highWaterMark: expected a number above 0 and at most 1, found 1.5",
    ),
    (r#"{"exposeErrorDetails": "no"}"#, r#"s.json: exposeErrorDetails: expected true or false, found "no""#),
    (r#"{"name": ""}"#, r#"s.json: name: expected a name of 1 to 200 characters, found """#),
    (
        r#"{"path": "ws"}"#,
        r#"s.json: path: expected a URL path that starts with "/" and is not /health, /ready or /metrics, found "ws""#,
    ),
    (
        r#"{"host": "http://x"}"#,
        r#"s.json: host: expected an address or host name to listen on, such as "127.0.0.1", found "http://x""#,
    ),
    (
        r#"{"storage": {"kind": "sqlite"}}"#,
        r#"s.json: storage.kind: expected "disk" or "memory", found "sqlite""#,
    ),
    (
        r#"{"storage": {"durability": "always"}}"#,
        r#"s.json: storage.durability: expected "group", "interval" or "none", found "always""#,
    ),
    (
        r#"{"log": {"level": "loud"}}"#,
        r#"s.json: log.level: expected "off", "error", "warn", "info", "debug" or "trace", found "loud""#,
    ),
    (
        r#"{"allowedOrigins": "*"}"#,
        r#"s.json: allowedOrigins: expected a list of origins such as "https://app.example.com", found "*""#,
    ),
    (
        r#"{"allowedOrigins": ["https://a.example", "https://b.example/"]}"#,
        "s.json: allowedOrigins[1]: expected scheme://host or scheme://host:port, without a path (to admit \
             everybody, leave allowedOrigins out), found \"https://b.example/\"",
    ),
    (
        r#"{"audit": true}"#,
        "s.json: audit: this version of dunlin has no audit log yet; remove it or set it to false",
    ),
    (
        r#"{"auth": true}"#,
        "s.json: auth: this version of dunlin has no built-in identity yet; remove it or set it to false",
    ),
    (
        r#"{"auth": {"builtIn": true}}"#,
        "s.json: auth.builtIn: this version of dunlin has no built-in identity yet; remove it or set it to false",
    ),
    (
        r#"{"auth": {"permissions": {"default": "none", "rules": [{"role": "a", "allow": "store.fly"}]}}}"#,
        "the configuration has 2 faults:\n  \
         s.json: auth.permissions.default: expected \"allow\" or \"deny\", found \"none\"\n  \
         s.json: auth.permissions.rules[0].allow: expected operations that there are, not \"store.fly\", found \"store.fly\"",
    ),
    (
        r#"{"auth": {"roles": {"a": ["a"]}}}"#,
        "s.json: auth.roles.a: expected roles that do not include themselves, through others neither, found a list",
    ),
    (r#"{"auth": {"token": {}}}"#, "s.json: unknown key auth.token; did you mean auth.tokens?"),
    (
        r#"{"auth": 5}"#,
        "s.json: auth: expected an object with tokens, required, anonymous, loggedIn, roles, permissions, loginTimeoutMs, jwt, webhook, upgrade, found 5",
    ),
    (r#"{"auth": {"tokens": {}}}"#, "s.json: auth.tokens: expected 1 to 10000 tokens, found 0 of them"),
    (r#"{"auth": {"anonymous": 7}}"#, "s.json: auth.anonymous: expected the name of a role, found 7"),
    (
        r#"{"rateLimit": {"maxRequests": -5, "windowMs": 0, "burst": {"maxRequests": 0}}}"#,
        "the configuration has 3 faults:\n  s.json: rateLimit.maxRequests: expected a whole number from 0 to 1000000000, found \
         -5\n  s.json: rateLimit.windowMs: expected a whole number of milliseconds from 1 to 86400000, found 0\n  s.json: \
         rateLimit.burst.maxRequests: expected a whole number from 1 to 1000000000, found 0",
    ),
    (
        r#"{"rateLimit": {"windowMs": 9}}"#,
        "default: rateLimit.maxRequests: expected a whole number, because other keys of rateLimit are set, found nothing",
    ),
    (
        r#"{"rateLimit": {"maxRequests": 5, "weights": {"store.*": 0, "store.al": 2}}}"#,
        "the configuration has 2 faults:\n  s.json: rateLimit.weights.store.*: expected a whole number from 1 to 1000000, found \
         0\n  s.json: unknown key rateLimit.weights.store.al; did you mean rateLimit.weights.store.all?",
    ),
    (
        r#"{"trustedProxies": ["10.0.0.0/8", "10.0.0.0/33"]}"#,
        "s.json: trustedProxies[1]: expected an address or a network such as \"10.0.0.0/8\" or \"::1\", found \"10.0.0.0/33\"",
    ),
    (
        r#"{"proxyProtocol": true}"#,
        "default: trustedProxies: expected the addresses of the proxies, because proxyProtocol is true, found none",
    ),
    (
        r#"{"persistence": "sqlite"}"#,
        r#"s.json: persistence: this version of dunlin has no key of this name; use storage.kind ("disk" or "memory")"#,
    ),
    (
        r#"{"dataDir": "x"}"#,
        "s.json: dataDir: this version of dunlin has no key of this name; use storage.dir (the path of a directory)",
    ),
    ("[1]", "s.json: expected one object that holds the keys, found a list"),
    ("{\"port\": 1,\n \"port\": 2}", "s.json:2:7: not valid JSON: the key port is given twice"),
    ("{\n  \"port\" 1}", "s.json:2:10: not valid JSON: expected `:`"),
    ("", "s.json:1:1: not valid JSON: EOF while parsing a value"),
];

#[test]
fn every_fault_in_a_file_has_its_text() {
    for (text, expected) in IN_A_FILE.iter().copied() {
        assert_eq!(message("s.json", text), expected, "{text}");
    }
    assert_eq!(
        message("s.toml", "port = 1\nhost = 'a'\nport = 2"),
        "s.toml:3:1: not valid TOML: duplicate key"
    );
    assert_eq!(
        message("s.toml", "[log]\nlevel =\n"),
        "s.toml:2:8: not valid TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(
        message("conf", "port = nan"),
        "conf: port: expected a whole number from 0 to 65535, found \"NaN\""
    );
}

/// Whatever is wrong with a table of tokens, and wherever a token was written by mistake, no message repeats one.
#[test]
fn a_token_is_never_printed() {
    let session = "s.json: auth.tokens[0]: expected a session {\"userId\": …, \"roles\": […]}, found text";
    let cases = [
        (
            r#"{"auth": {"tokens": "hunter2"}}"#,
            "s.json: auth.tokens: expected an object from token to session, found text",
        ),
        (
            r#"{"auth": {"tokens": ["hunter2"]}}"#,
            "s.json: auth.tokens: expected an object from token to session, found a list",
        ),
        (r#"{"auth": {"tokens": {"hunter2": "ada"}}}"#, session),
        (r#"{"auth": {"tokens": {"ada": "hunter2"}}}"#, session),
        (
            r#"{"auth": {"tokens": {"a": {"userId": "u"}, "hunter2": {"roles": []}}}}"#,
            "s.json: auth.tokens[1].userId: expected the user's id, as text, found null",
        ),
        (
            r#"{"auth": {"tokens": {"hunter2": {"userId": "u", "role": []}}}}"#,
            "s.json: unknown key auth.tokens[0].role; did you mean auth.tokens[0].roles?",
        ),
        (
            r#"{"auth": {"tokens": {"hunter2": {"userId": "u", "expiresAt": 1, "expiresInMs": 1}}}}"#,
            "s.json: auth.tokens[0]: expected only one of expiresAt and expiresInMs, found both",
        ),
        (
            r#"{"auth": {"tokens": {"hunter2": {"userId": "u"}, "hunter2": {"userId": "u"}}}}"#,
            "s.json:1:58: not valid JSON: a key is given twice",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message("s.json", text), expected, "{text}");
    }
    let twice = "[auth.tokens]\nhunter2.userId = 'u'\n[auth.tokens.hunter2]\nuserId = 'v'\n";
    assert!(!message("s.toml", twice).contains("hunter2"));
    let loaded = Config::parse("s.json", r#"{"auth": {"tokens": {"hunter2": {"userId": "u"}}}}"#).unwrap();
    assert!(!format!("{loaded:?} {:?}", loaded.settings()).contains("hunter2"));
    let env = load(&[("DUNLIN_AUTH_TOKENS", "hunter2")], &[("--auth-tokens", "hunter2")]);
    assert!(!env.unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn faults_in_a_seed_name_their_place() {
    let cases = [
        (json!({"seed": {}}), "s.json: seed: expected a list of requests, found an object"),
        (
            json!({"seed": [7]}),
            "s.json: seed[0]: expected a request {\"type\": …, \"name\": …, \"config\": {…}}, alone or as \
             {\"request\": …}, found 7",
        ),
        (
            json!({"seed": [{"type": "store.insert", "name": "a", "config": {}}]}),
            "s.json: seed[0].type: expected \"store.defineBucket\" or \"store.defineQuery\", found \"store.insert\"",
        ),
        (
            json!({"seed": [{"request": {"type": "store.defineQuery", "name": "q"}}]}),
            "s.json: seed[0].request.config: expected the definition, an object, found nothing",
        ),
        (
            json!({"seed": [{"type": "store.defineQuery", "name": "q", "config": {}, "confg": {}}]}),
            "s.json: unknown key seed[0].confg; did you mean seed[0].config?",
        ),
    ];
    for (tree, expected) in cases {
        assert_eq!(message("s.json", &tree.to_string()), expected);
    }
    let two = Config::parse("s.json", r#"{"seed": [{}]}"#).expect_err("empty request");
    assert_eq!(two.faults().len(), 3, "{two}");
}

#[test]
fn every_fault_of_variables_and_flags_has_its_text() {
    let cases: [(Pairs, Pairs, &str); 9] = [
        (
            &[("DUNLIN_PORT", "x")],
            &[],
            r#"DUNLIN_PORT: port: expected a whole number from 0 to 65535, found "x""#,
        ),
        (&[("DUNLIN_PROT", "1")], &[], "DUNLIN_PROT: unknown variable; did you mean DUNLIN_PORT?"),
        (
            &[("DUNLIN_DATA_DIR", "x")],
            &[],
            "DUNLIN_DATA_DIR: dataDir: this version of dunlin has no key of this name; use DUNLIN_STORAGE_DIR (the path \
             of a directory)",
        ),
        (
            &[("DUNLIN_AUDIT_MAX_ENTRIES", "5")],
            &[],
            "DUNLIN_AUDIT_MAX_ENTRIES: audit: this version of dunlin has no audit log yet; remove it or set it to false",
        ),
        (
            &[("DUNLIN_SEED", "[]")],
            &[],
            "DUNLIN_SEED: seed: can only be set in a configuration file; use --config FILE",
        ),
        (&[], &[("--port", "70000")], "--port: port: expected a whole number from 0 to 65535, found 70000"),
        (&[], &[("--prot", "1")], "--prot: unknown flag; did you mean --port?"),
        (
            &[],
            &[("--durability", "x")],
            r#"--durability: storage.durability: expected "group", "interval" or "none", found "x""#,
        ),
        (
            &[],
            &[("--audit", "true")],
            "--audit: audit: this version of dunlin has no audit log yet; remove it or set it to false",
        ),
    ];
    for (env, flags, expected) in cases {
        assert_eq!(load(env, flags).expect_err("must be refused").to_string(), expected);
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, "hots = 1\ntls = true\n[heartbeat]\nintervalMs = 0\n").unwrap();
    let env = [("DUNLIN_PORT".to_owned(), "x".to_owned()), ("HOME".to_owned(), "/".to_owned())];
    let error = Config::load(Some(&path), env, &Flags::new().with("--host", "")).expect_err("faults");
    let codes: Vec<&str> = error.faults().iter().map(Fault::code).collect();
    assert_eq!(
        codes,
        ["CONFIG_VALUE", "CONFIG_UNKNOWN", "CONFIG_UNAVAILABLE", "CONFIG_VALUE", "CONFIG_VALUE"]
    );
    let file = path.display();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>()[..3],
        [
            "the configuration has 5 faults:".to_owned(),
            format!(
                "  {file}: heartbeat.intervalMs: expected a whole number of milliseconds from 1 to 86400000, found 0"
            ),
            format!("  {file}: unknown key hots; did you mean host?"),
        ]
    );
}

#[test]
fn unreadable_files_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let told = |path: &Path| {
        Config::load(Some(path), [], &Flags::new())
            .expect_err("unreadable")
            .to_string()
            .replace(&dir.path().display().to_string(), "D")
    };
    assert_eq!(
        told(&dir.path().join("a.json")),
        "cannot read D/a.json: there is no such file; check --config and DUNLIN_CONFIG"
    );
    assert_eq!(told(dir.path()), "cannot read D: it is a directory; name a .json or .toml file in it");
    let latin = dir.path().join("l.toml");
    std::fs::write(&latin, b"name = \"caf\xe9\"").unwrap();
    assert_eq!(told(&latin), "cannot read D/l.toml: it is not UTF-8 text (byte 11); save it as UTF-8");
    let long = dir.path().join("long.json");
    std::fs::write(&long, vec![b' '; usize::try_from(limits::MAX_FILE_BYTES).unwrap() + 1]).unwrap();
    assert_eq!(
        told(&long),
        "cannot read D/long.json: it is longer than 16777216 bytes; is it a configuration file?"
    );
}
