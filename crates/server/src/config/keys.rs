//! The table of keys. Files, variables, flags, errors and the reference are all derived from it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Config;
use super::kind::{Kind, as_whole};
use super::{Secret, auth, limits, logins, networks, rules, seed};

/// One key.
pub(super) struct Key {
    /// Full path in a file, e.g. `heartbeat.intervalMs`.
    pub(super) path: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// What `null` (that is: leaving the key out) means; `None` where `null` is no value.
    pub(super) absent: Option<&'static str>,
    /// What it does, one sentence.
    pub(super) about: &'static str,
    /// Writes a checked value; `None` if it does not fit after all.
    pub(super) set: fn(&mut Config, &Value) -> Option<()>,
}

const COUNT: &str = "a whole number";
const MILLISECONDS: &str = "a whole number of milliseconds";
const BYTES: &str = "a whole number of bytes";

/// A row of the table.
macro_rules! key {
    ($path:literal, $kind:expr, $about:literal, |$config:ident, $value:ident| $place:expr => $read:expr) => {
        key!($path, $kind, None, $about, |$config, $value| $place => $read)
    };
    ($path:literal, $kind:expr, $absent:expr, $about:literal, |$config:ident, $value:ident| $place:expr => $read:expr) => {
        Key {
            path: $path,
            kind: $kind,
            absent: $absent,
            about: $about,
            set: |$config, $value| {
                $place = $read?;
                Some(())
            },
        }
    };
}

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key!("name", Kind::Text { expected: "a name of 1 to 200 characters", accepts: is_name },
        "What the server calls itself in `server.stats`.", |c, v| c.name => text(v)),
    key!("host", Kind::Text { expected: "an address or host name to listen on, such as \"127.0.0.1\"", accepts: is_host },
        "Address or host name to listen on; `0.0.0.0` or `::` for all networks.", |c, v| c.host => text(v)),
    key!("port", Kind::Whole { of: COUNT, range: limits::PORTS },
        "TCP port; 0 takes any free one.", |c, v| c.port => whole(v)),
    key!("path", Kind::Text { expected: "a URL path that starts with \"/\" and is not /health, /ready or /metrics", accepts: is_path },
        "URL path of the WebSocket endpoint.", |c, v| c.path => text(v)),
    key!("maxPayloadBytes", Kind::Whole { of: BYTES, range: limits::PAYLOADS },
        "Longest message a client may send; a longer one closes its connection.", |c, v| c.max_payload_bytes => whole(v)),
    key!("maxDepth", Kind::Whole { of: COUNT, range: limits::DEPTHS },
        "Levels of objects and arrays in a message, the message itself being the first; a deeper one is refused.", |c, v| c.max_depth => whole(v)),
    key!("heartbeat.intervalMs", Kind::Whole { of: MILLISECONDS, range: limits::HEARTBEATS_MS },
        "Time between two pings to a connection.", |c, v| c.heartbeat.interval_ms => whole(v)),
    key!("heartbeat.timeoutMs", Kind::Whole { of: MILLISECONDS, range: limits::HEARTBEATS_MS },
        "Time a client has to show life after a ping; any traffic counts.", |c, v| c.heartbeat.timeout_ms => whole(v)),
    key!("backpressure.maxBufferedBytes", Kind::Whole { of: BYTES, range: limits::BUFFERS },
        "Bytes of answers that may wait for one slow connection. Pushes do not count: at most one waits for each subscription.", |c, v| c.backpressure.max_buffered_bytes => whole(v)),
    key!("backpressure.highWaterMark", Kind::Share,
        "Share of `maxBufferedBytes` at which a connection's requests wait until it has taken its answers.", |c, v| c.backpressure.high_water_mark => v.as_f64()),
    key!("backpressure.slowConsumerMs", Kind::Whole { of: MILLISECONDS, range: limits::SLOW_CONSUMERS_MS },
        "Time after which a connection that takes nothing of what waits for it is closed.", |c, v| c.backpressure.slow_consumer_ms => whole(v)),
    key!("connectionLimits.maxSubscriptionsPerConnection", Kind::Whole { of: COUNT, range: limits::SUBSCRIPTIONS_OF_ONE },
        "Live subscriptions of one connection.", |c, v| c.connection_limits.max_subscriptions_per_connection => whole(v)),
    key!("connectionLimits.maxTotalSubscriptions", Kind::Whole { of: COUNT, range: limits::SUBSCRIPTIONS_OF_ALL },
        "Live subscriptions of all connections together.", |c, v| c.connection_limits.max_total_subscriptions => whole(v)),
    key!("live.historyBytes", Kind::Whole { of: BYTES, range: limits::HISTORIES_BYTES },
        "Most bytes of replaced and removed records that are kept for clients which come back and resume.", |c, v| c.live.history_bytes => whole(v)),
    key!("live.historyCommits", Kind::Whole { of: COUNT, range: limits::HISTORIES_COMMITS },
        "Most commits that are kept for the same.", |c, v| c.live.history_commits => whole(v)),
    key!("live.maxUnindexedTests", Kind::Whole { of: COUNT, range: limits::UNINDEXED_TESTS },
        "Tests that every write to a bucket makes for live queries whose filter no index can tell; most filters have one or two.", |c, v| c.live.max_unindexed_tests => whole(v)),
    key!("live.maxBytes", Kind::Whole { of: BYTES, range: limits::LIVE_BYTES },
        "Bytes that live queries hold together, beside the records themselves; beyond that no further one is opened.", |c, v| c.live.max_bytes => whole(v)),
    key!("rules.enabled", Kind::Switch,
        "Whether there is a rule engine; `\"rules\": true`, or an object with any of these keys, switches it on too.", |c, v| c.rules.enabled => v.as_bool()),
    key!("rules.maxRules", Kind::Whole { of: COUNT, range: limits::RULES },
        "Rules.", |c, v| c.rules.max_rules => whole(v)),
    key!("rules.maxGroups", Kind::Whole { of: COUNT, range: limits::RULES },
        "Groups of rules.", |c, v| c.rules.max_groups => whole(v)),
    key!("rules.maxFacts", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Facts.", |c, v| c.rules.max_facts => whole(v)),
    key!("rules.maxTimers", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Timers.", |c, v| c.rules.max_timers => whole(v)),
    key!("rules.maxDepth", Kind::Whole { of: COUNT, range: limits::RULE_DEPTHS },
        "Steps of a causal chain; what would be a step further is dropped and reported.", |c, v| c.rules.max_depth => whole(v)),
    key!("rules.maxFirings", Kind::Whole { of: COUNT, range: limits::BUDGETS },
        "Rules that one event, fact, timer or change may fire, all together; what is beyond is dropped and reported.", |c, v| c.rules.max_firings => whole(v)),
    key!("rules.maxEvents", Kind::Whole { of: COUNT, range: limits::BUDGETS },
        "Events that it may cause to be emitted, all together.", |c, v| c.rules.max_events => whole(v)),
    key!("rules.maxSteps", Kind::Whole { of: COUNT, range: limits::STEPS },
        "Steps that its rules may take, about 0.1 µs each: a bound of time that is the same on any machine.", |c, v| c.rules.max_steps => whole(v)),
    key!("rules.maxGroupsPerPattern", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Groups of one temporal pattern that are open at once; the oldest is dropped and counted.", |c, v| c.rules.max_groups_per_pattern => whole(v)),
    key!("rules.maxEventsPerGroup", Kind::Whole { of: COUNT, range: limits::BUDGETS },
        "Events that one group of a temporal pattern remembers.", |c, v| c.rules.max_events_per_group => whole(v)),
    key!("rules.maxOutbox", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Calls to the outside that wait to be made; an action that would add one more fails.", |c, v| c.rules.max_outbox => whole(v)),
    key!("rules.maxDeadLetters", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Calls that failed for good and are kept; the oldest is thrown away and reported.", |c, v| c.rules.max_dead_letters => whole(v)),
    key!("rules.maxWaiting", Kind::Whole { of: COUNT, range: limits::FACTS },
        "Firings that wait for an answer from outside.", |c, v| c.rules.max_waiting => whole(v)),
    key!("rules.maxVersionsPerRule", Kind::Whole { of: COUNT, range: limits::VERSIONS },
        "Entries of the history of one rule; the oldest are thrown away.", |c, v| c.rules.max_versions_per_rule => whole(v)),
    key!("rules.maxTraces", Kind::Whole { of: COUNT, range: limits::BUDGETS },
        "Inputs, and again as many firings, that are remembered for `rules.explain`.", |c, v| c.rules.max_traces => whole(v)),
    key!("rules.subscriberBytes", Kind::Whole { of: BYTES, range: limits::SUBSCRIBERS_BYTES },
        "Bytes of events that may wait for one subscription; beyond that it ends with `BACKPRESSURE`.", |c, v| c.rules.subscriber_bytes => whole(v)),
    key!("rules.serviceTimeoutMs", Kind::Whole { of: MILLISECONDS, range: limits::SERVICE_TIMEOUTS_MS },
        "Time that a lookup has to answer.", |c, v| c.rules.service_timeout_ms => whole(v)),
    key!("rules.webhooks.allow", Kind::Targets,
        "Where rules may post to: the target must begin with one of these addresses; an empty list allows no webhooks.", |c, v| c.rules.webhooks.allow => rules::read_targets(v)),
    key!("idempotency.ttlMs", Kind::Whole { of: MILLISECONDS, range: limits::IDEMPOTENCY_TTLS_MS },
        "How long the answer to a write with an `idempotencyKey` is remembered for a repeat.", |c, v| c.idempotency.ttl_ms => whole(v)),
    key!("idempotency.maxKeysPerUser", Kind::Whole { of: COUNT, range: limits::REMEMBERED },
        "Such answers of one user or, where nobody is logged in, of one address; beyond that a write with a key is refused.", |c, v| c.idempotency.max_keys_per_user => whole(v)),
    key!("idempotency.maxKeys", Kind::Whole { of: COUNT, range: limits::REMEMBERED },
        "Such answers altogether.", |c, v| c.idempotency.max_keys => whole(v)),
    key!("exposeErrorDetails", Kind::Switch,
        "Whether errors tell clients what was wrong in detail.", |c, v| c.expose_error_details => v.as_bool()),
    key!("allowedOrigins", Kind::Origins, Some("no check"),
        "The `Origin` values that may connect; an empty list refuses every request that has an `Origin`.",
        |c, v| c.allowed_origins => optional(v, origins)),
    key!("maxConnectionsPerIp", Kind::Whole { of: COUNT, range: limits::CONNECTIONS_PER_IP }, Some("no limit"),
        "Open connections of one remote address.", |c, v| c.max_connections_per_ip => optional(v, some_connections)),
    key!("rateLimit.maxRequests", Kind::Whole { of: COUNT, range: limits::RATES }, Some("no limit"),
        "Requests that a user, or an address where nobody is logged in, may make in any window; 0 refuses everything.", |c, v| c.rate_limit.max_requests => optional(v, whole)),
    key!("rateLimit.windowMs", Kind::Whole { of: MILLISECONDS, range: limits::RATE_WINDOWS_MS },
        "Length of the window.", |c, v| c.rate_limit.window_ms => whole(v)),
    key!("rateLimit.burst.maxRequests", Kind::Whole { of: COUNT, range: limits::BURSTS }, Some("no second window"),
        "Requests in any shorter window, which must hold as well.", |c, v| c.rate_limit.burst.max_requests => optional(v, whole)),
    key!("rateLimit.burst.windowMs", Kind::Whole { of: MILLISECONDS, range: limits::RATE_WINDOWS_MS },
        "Length of that window.", |c, v| c.rate_limit.burst.window_ms => whole(v)),
    key!("rateLimit.weights", Kind::Weights,
        "What a request counts, by operation or beginning of its name (`store.*`), the longest that fits; others count 1.", |c, v| c.rate_limit.weights => networks::read_weights(v)),
    key!("rateLimit.allow", Kind::Networks,
        "Whose connections are not limited.", |c, v| c.rate_limit.allow => networks::read(v)),
    key!("rateLimit.maxKeys", Kind::Whole { of: COUNT, range: limits::RATES_KEYS },
        "Users and addresses that are counted for themselves, about 200 bytes each; while there are more, newcomers share one budget.", |c, v| c.rate_limit.max_keys => whole(v)),
    key!("trustedProxies", Kind::Networks,
        "Proxies whose `X-Forwarded-For` is believed.", |c, v| c.trusted_proxies => networks::read(v)),
    key!("proxyProtocol", Kind::Switch,
        "Whether each connection of a trusted proxy begins with a head of the PROXY protocol, version 1 or 2.", |c, v| c.proxy_protocol => v.as_bool()),
    key!("shutdownGraceMs", Kind::Whole { of: MILLISECONDS, range: limits::GRACES_MS },
        "How long a stopping server waits for its clients to leave.", |c, v| c.shutdown_grace_ms => whole(v)),
    key!("auth.tokens", Kind::Tokens, Some("nobody logs in"),
        "The session that each token stands for.", |c, v| c.auth.tokens => optional(v, auth::read)),
    key!("auth.required", Kind::Switch, Some("`true`"),
        "Whether a client must log in before anything else.", |c, v| c.auth.required => optional(v, Value::as_bool)),
    key!("auth.anonymous", Kind::Text { expected: "the name of a role", accepts: is_name }, Some("`\"writer\"`"),
        "The role of whoever has not logged in, where `auth.required` is false.", |c, v| c.auth.anonymous => optional(v, text)),
    key!("auth.loggedIn", Kind::Text { expected: "the name of a role", accepts: is_name }, Some("`\"writer\"`; none where `auth.roles` or `auth.permissions` are given"),
        "The role of whoever has logged in and has none of the built-in roles.", |c, v| c.auth.logged_in => optional(v, text)),
    key!("auth.roles", Kind::Roles, Some("no role includes others"),
        "Which roles each role includes.", |c, v| c.auth.roles => optional(v, read)),
    key!("auth.permissions", Kind::Permissions, Some("the built-in roles alone"),
        "What roles mean: operations, buckets, records, members.", |c, v| c.auth.permissions => optional(v, read)),
    key!("auth.loginTimeoutMs", Kind::Whole { of: MILLISECONDS, range: limits::LOGIN_TIMEOUTS_MS },
        "Where a login is required: time after which a connection on which nobody is logged in is closed; 0 waits for ever.", |c, v| c.auth.login_timeout_ms => whole(v)),
    key!("auth.jwt.algorithms", Kind::Words(&["HS256", "RS256", "ES256", "EdDSA"]), Some("all that the key is for"),
        "The algorithms that signed tokens may have.", |c, v| c.auth.jwt.algorithms => optional(v, words)),
    key!("auth.jwt.secret", Kind::Secret { least: limits::JWT_SECRET_BYTES }, Some("none"),
        "The secret of HS256.", |c, v| c.auth.jwt.secret => optional(v, secret)),
    key!("auth.jwt.secretFile", Kind::Text { expected: "the path of a file", accepts: is_file }, Some("none"),
        "A file with that secret; it is read again when it changes.", |c, v| c.auth.jwt.secret_file => optional(v, path)),
    key!("auth.jwt.publicKeyFile", Kind::Text { expected: "the path of a file", accepts: is_file }, Some("none"),
        "A file with one public key, PEM, of RSA, P-256 or Ed25519; it is read again when it changes.", |c, v| c.auth.jwt.public_key_file => optional(v, path)),
    key!("auth.jwt.jwksFile", Kind::Text { expected: "the path of a file", accepts: is_file }, Some("none"),
        "A file with a JWK set, from which a token chooses its key by `kid`; it is read again when it changes.", |c, v| c.auth.jwt.jwks_file => optional(v, path)),
    key!("auth.jwt.issuer", Kind::Text { expected: "the issuer, as text", accepts: is_claim }, Some("any"),
        "The `iss` that a token must have.", |c, v| c.auth.jwt.issuer => optional(v, text)),
    key!("auth.jwt.audience", Kind::Text { expected: "an audience, as text", accepts: is_claim }, Some("a token may have none"),
        "What must be among the `aud` of a token.", |c, v| c.auth.jwt.audience => optional(v, text)),
    key!("auth.jwt.leewaySeconds", Kind::Whole { of: "a whole number of seconds", range: limits::LEEWAYS_SECONDS },
        "By how much the clocks of the issuer and of this machine may differ.", |c, v| c.auth.jwt.leeway_seconds => whole(v)),
    key!("auth.jwt.userClaim", Kind::Text { expected: "the name of a claim", accepts: is_claim },
        "The claim that is the user's id: its name, or a path with dots.", |c, v| c.auth.jwt.user_claim => text(v)),
    key!("auth.jwt.rolesClaim", Kind::Text { expected: "the name of a claim", accepts: is_claim },
        "The claim that lists the roles: its name, or a path with dots.", |c, v| c.auth.jwt.roles_claim => text(v)),
    key!("auth.webhook.url", Kind::Text { expected: "an http:// or https:// address without user name and password", accepts: logins::is_url }, Some("none"),
        "The service that is asked who a token is.", |c, v| c.auth.webhook.url => optional(v, text)),
    key!("auth.webhook.secret", Kind::Secret { least: 1 }, Some("none"),
        "What it is shown as `Authorization: Bearer …`, so that it knows who asks.", |c, v| c.auth.webhook.secret => optional(v, secret)),
    key!("auth.webhook.caFile", Kind::Text { expected: "the path of a file", accepts: is_file }, Some("the system's certificates"),
        "A file with certificates, PEM, that it is held to beside the system's.", |c, v| c.auth.webhook.ca_file => optional(v, path)),
    key!("auth.webhook.timeoutMs", Kind::Whole { of: MILLISECONDS, range: limits::WEBHOOK_TIMEOUTS_MS },
        "Time it has to answer; a later answer denies.", |c, v| c.auth.webhook.timeout_ms => whole(v)),
    key!("auth.webhook.cacheMs", Kind::Whole { of: MILLISECONDS, range: limits::WEBHOOK_CACHES_MS },
        "How long its answers are remembered, yes and no; 0 asks for each login.", |c, v| c.auth.webhook.cache_ms => whole(v)),
    key!("auth.webhook.maxCached", Kind::Whole { of: COUNT, range: limits::WEBHOOK_ANSWERS },
        "Most answers that are remembered.", |c, v| c.auth.webhook.max_cached => whole(v)),
    key!("auth.upgrade.header", Kind::Switch,
        "Whether a client may log in with `Authorization: Bearer …` in its handshake.", |c, v| c.auth.upgrade.header => v.as_bool()),
    key!("auth.upgrade.queryParameter", Kind::Text { expected: "the name of a query parameter, such as \"access_token\"", accepts: is_parameter }, Some("none"),
        "The query parameter of the handshake in which a client may send its token.", |c, v| c.auth.upgrade.query_parameter => optional(v, text)),
    key!("auth.upgrade.required", Kind::Switch,
        "Whether a handshake without a token is refused.", |c, v| c.auth.upgrade.required => v.as_bool()),
    key!("revocation.blacklistTtlMs", Kind::Whole { of: MILLISECONDS, range: limits::BLACKLIST_TTLS_MS },
        "How long a user cannot log in whose sessions were revoked.", |c, v| c.revocation.blacklist_ttl_ms => whole(v)),
    key!("storage.kind", Kind::Word { words: &["disk", "memory"], later: &[] },
        "Where the data lives: on disk (a log and images of the state), or in memory only.", |c, v| c.storage.kind => word(v)),
    key!("storage.dir", Kind::Text { expected: "the path of a directory", accepts: is_directory },
        "Directory of the data, relative to the working directory; made if missing.",
        |c, v| c.storage.dir => text(v).map(PathBuf::from)),
    key!("storage.durability", Kind::Word { words: &["group", "interval", "none"], later: &[] },
        "`group`: a write is answered after it is synced to disk. `interval`: before, and it is synced soon. `none`: before, and it is not.",
        |c, v| c.storage.durability => word(v)),
    key!("storage.syncIntervalMs", Kind::Whole { of: MILLISECONDS, range: limits::SYNC_INTERVALS_MS },
        "With `interval`: how often what was written is synced; so much a power cut can take.", |c, v| c.storage.sync_interval_ms => whole(v)),
    key!("storage.backupDir", Kind::Text { expected: "the path of a directory", accepts: is_directory }, Some("`storage.dir` with `-backups` behind"),
        "Directory of the backups that `server.backup` writes; made if missing.",
        |c, v| c.storage.backup_dir => optional(v, path)),
    key!("metrics.host", Kind::Text { expected: "an address or host name to listen on, such as \"127.0.0.1\"", accepts: is_host },
        "Address or host name to listen on for monitoring, with `metrics.port`.", |c, v| c.metrics.host => text(v)),
    key!("metrics.port", Kind::Whole { of: COUNT, range: limits::PORTS }, Some("the port of the server"),
        "TCP port for `/metrics`, `/health` and `/ready` alone, which then are not on `port` any more; 0 takes any free one.", |c, v| c.metrics.port => optional(v, whole)),
    key!("log.format", Kind::Word { words: &["text", "json"], later: &[] },
        "How a log line looks.", |c, v| c.log.format => word(v)),
    key!("log.level", Kind::Word { words: &["off", "error", "warn", "info", "debug", "trace"], later: &[] },
        "The least severe messages that are logged.", |c, v| c.log.level => word(v)),
    key!("seed", Kind::Seed,
        "Buckets and queries to define before the server listens.", |c, v| c.seed => seed::read(v)),
];

/// Flags with a name of their own, beside the ones derived from the key: flag, key, and the value it stands for if it
/// takes none.
pub(super) const SHORT_FLAGS: &[(&str, &str, Option<&str>)] = &[
    ("--data-dir", "storage.dir", None),
    ("--durability", "storage.durability", None),
    ("--memory", "storage.kind", Some("memory")),
    ("--rules", "rules.enabled", Some("true")),
    ("--no-rules", "rules.enabled", Some("false")),
];

/// The variables that the program reads itself: which file to load, a filter for its log, and whether it takes orders.
pub(super) const PROGRAM_VARIABLES: &[&str] = &["DUNLIN_CONFIG", "DUNLIN_LOG", "DUNLIN_CONTROL"];

/// The key with this full path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key that switches a whole group on and off, if it has one: the group's name alone stands for it.
pub(super) fn switch_of(group: &str) -> Option<&'static Key> {
    switches().find(|(_, switched)| *switched == group).map(|(key, _)| key)
}

/// All such keys, each with its group.
pub(super) fn switches() -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().filter_map(|key| Some((key, key.path.strip_suffix(".enabled")?)))
}

/// Whether a word is the name of a key or of a group.
pub(super) fn is_name_of_any(word: &str) -> bool {
    KEYS.iter().flat_map(|key| key.path.split('.')).any(|part| part == word)
}

/// Whether keys lie below this path.
pub(super) fn is_group(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The names directly below a group (the empty path is the file), in table order.
pub(super) fn names_in(group: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for key in KEYS {
        let below = if group.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(group).and_then(|p| p.strip_prefix('.'))
        };
        let Some(name) = below.and_then(|path| path.split('.').next()) else { continue };
        if names.last().is_none_or(|last| last != name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The environment variable of a key: `heartbeat.intervalMs` is `DUNLIN_HEARTBEAT_INTERVAL_MS`.
pub(super) fn variable(path: &str) -> String {
    let mut name = "DUNLIN_".to_owned();
    for c in path.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => name.extend(['_', c]),
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

/// The flag of a key: `heartbeat.intervalMs` is `--heartbeat-interval-ms`.
pub(super) fn flag(path: &str) -> String {
    let mut name = "--".to_owned();
    for c in path.chars() {
        match c {
            '.' => name.push('-'),
            c if c.is_ascii_uppercase() => name.extend(['-', c.to_ascii_lowercase()]),
            c => name.push(c),
        }
    }
    name
}

fn is_name(text: &str) -> bool {
    (1..=limits::MAX_NAME_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\[]".contains(c))
}

fn is_path(text: &str) -> bool {
    let free = !crate::http::MONITORING_PATHS.contains(&text);
    free && text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !"?#".contains(c))
}

fn is_claim(text: &str) -> bool {
    (1..=limits::MAX_CLAIM_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_parameter(text: &str) -> bool {
    is_claim(text) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn is_file(text: &str) -> bool {
    is_directory(text)
}

fn is_directory(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn secret(value: &Value) -> Option<Secret> {
    text(value).map(Secret::new)
}

fn words<T: DeserializeOwned>(value: &Value) -> Option<Vec<T>> {
    value.as_array()?.iter().map(word).collect()
}

fn path(value: &Value) -> Option<PathBuf> {
    text(value).map(PathBuf::from)
}

fn whole<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(as_whole(value)?).ok()
}

fn word<T: DeserializeOwned>(value: &Value) -> Option<T> {
    read(value)
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn origins(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn some_connections(value: &Value) -> Option<NonZeroUsize> {
    NonZeroUsize::new(whole(value)?)
}

/// `null` is no value; anything else is read.
#[expect(clippy::option_option, reason = "outer: whether the value fits, inner: whether there is one")]
fn optional<T>(value: &Value, read: fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}
