//! Every default and every allowed range of the configuration, in one place.

use std::ops::RangeInclusive;

/// Largest configuration file that is read, in bytes. A seed of thousands of definitions fits; a data file given by
/// mistake is refused before it fills the memory.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Most requests in `seed`. They run one after another before the server listens.
pub const MAX_SEED_REQUESTS: usize = 10_000;

/// Most entries in `allowedOrigins`. Each upgrade compares its `Origin` with all of them.
pub const MAX_ALLOWED_ORIGINS: usize = 1_000;

/// Most entries in `trustedProxies` and in `rateLimit.allow`. Each connection is compared with all of them.
pub const MAX_NETWORKS: usize = 1_000;

/// Most entries in `auth.tokens`: a table that a person writes. More users belong into a system of their own, which an
/// authenticator in code asks.
pub const MAX_TOKENS: usize = 10_000;

/// Longest token in `auth.tokens`, in bytes. Signed tokens fit.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Shortest secret of HS256, bytes: as long as the hash (RFC 7518, section 3.2). Shorter ones are found by trying.
pub const JWT_SECRET_BYTES: usize = 32;

/// Longest secret, bytes: a mistake is found before it is hashed for every login.
pub const MAX_SECRET_BYTES: usize = 8 * 1024;

/// Longest name of a claim, a query parameter, an issuer or an audience, bytes.
pub const MAX_CLAIM_BYTES: usize = 1024;

/// Longest `name`, in characters: it is repeated in every `server.stats` answer.
pub const MAX_NAME_CHARS: usize = 200;

/// How much of a wrong value an error repeats, in characters. Enough to recognise it, short enough for one line.
pub const MAX_SHOWN_CHARS: usize = 60;

/// Longest misspelt name for which the nearest known one is sought, in characters. No key is half as long, and the
/// comparison costs length times length.
pub const MAX_COMPARED_CHARS: usize = 100;

/// Default of `name`; clients written for noex-server see this one in `server.stats`.
pub const NAME: &str = "noex-server";
/// Default of `host`: this machine only, so that nobody publishes a server without saying so.
pub const HOST: &str = "127.0.0.1";
/// Default of `port`.
pub const PORT: u16 = 8080;
/// Default of `path`.
pub const PATH: &str = "/";
/// Default of `maxPayloadBytes`, bytes.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;
/// Default of `maxDepth`: as deep as JSON is read at all, see [`dunlin_protocol::limits::MAX_DEPTH`]. A record of
/// [`dunlin_store::limits::MAX_VALUE_DEPTH`] levels fits into a transaction.
pub const DEPTH: usize = dunlin_protocol::limits::MAX_DEPTH;
/// Default of `heartbeat.intervalMs`, milliseconds.
pub const HEARTBEAT_INTERVAL_MS: u64 = 30_000;
/// Default of `heartbeat.timeoutMs`, milliseconds.
pub const HEARTBEAT_TIMEOUT_MS: u64 = 10_000;
/// Default of `backpressure.maxBufferedBytes`, bytes.
pub const BUFFERED_BYTES: usize = 1024 * 1024;
/// Default of `backpressure.highWaterMark`, a share of `maxBufferedBytes`.
pub const HIGH_WATER_MARK: f64 = 0.8;
/// Default of `backpressure.slowConsumerMs`, milliseconds: longer than a phone in a tunnel.
pub const SLOW_CONSUMER_MS: u64 = 30_000;
/// Default of `connectionLimits.maxSubscriptionsPerConnection`.
pub const SUBSCRIPTIONS_PER_CONNECTION: usize = 100;
/// Default of `connectionLimits.maxTotalSubscriptions`.
pub const TOTAL_SUBSCRIPTIONS: usize = 10_000;
/// Default of `live.historyBytes`, bytes: at 200 bytes a record some 200,000 changes.
pub const HISTORY_BYTES: usize = 64 * 1024 * 1024;
/// Default of `live.historyCommits`: small commits are bounded too.
pub const HISTORY_COMMITS: usize = 1_000_000;
/// Default of `live.maxUnindexedTests`: a test takes some 20 ns, so a write is delayed by a fifth of a millisecond at most.
pub const UNINDEXED: usize = 10_000;
/// Default of `live.maxBytes`, bytes: 100,000 usual live queries hold a tenth of it.
pub const VIEW_BYTES: usize = 1024 * 1024 * 1024;
/// Default of `idempotency.ttlMs`, milliseconds: see [`dunlin_store::limits::ANSWER_TTL_MS`].
pub const IDEMPOTENCY_TTL_MS: u64 = dunlin_store::limits::ANSWER_TTL_MS;
/// Default of `idempotency.maxKeysPerUser`: see [`dunlin_store::limits::MAX_ANSWERS_PER_SCOPE`].
pub const KEYS_PER_USER: usize = dunlin_store::limits::MAX_ANSWERS_PER_SCOPE;
/// Default of `idempotency.maxKeys`: see [`dunlin_store::limits::MAX_ANSWERS`].
pub const KEYS: usize = dunlin_store::limits::MAX_ANSWERS;
/// Default of `rateLimit.windowMs`, milliseconds.
pub const RATE_WINDOW_MS: u64 = 60_000;
/// Default of `rateLimit.burst.windowMs`, milliseconds.
pub const BURST_WINDOW_MS: u64 = 1000;
/// Default of `rateLimit.maxKeys`: about 20 MiB.
pub const RATE_KEYS: usize = 100_000;
/// Default of `auth.loginTimeoutMs`, milliseconds: a person has time to find a password.
pub const LOGIN_TIMEOUT_MS: u64 = 60_000;
/// Default of `auth.jwt.leewaySeconds`: clocks that are set by the network differ by less.
pub const JWT_LEEWAY_SECONDS: u64 = 60;
/// Default of `auth.jwt.userClaim`.
pub const JWT_USER_CLAIM: &str = "sub";
/// Default of `auth.jwt.rolesClaim`.
pub const JWT_ROLES_CLAIM: &str = "roles";
/// Default of `auth.webhook.timeoutMs`, milliseconds: a person waits for it.
pub const WEBHOOK_TIMEOUT_MS: u64 = 3000;
/// Default of `auth.webhook.cacheMs`, milliseconds: so late is noticed what changes there.
pub const WEBHOOK_CACHE_MS: u64 = 30_000;
/// Default of `auth.webhook.maxCached`: some megabytes.
pub const WEBHOOK_CACHED: usize = 10_000;
/// Default of `revocation.blacklistTtlMs`, milliseconds: an hour, which is longer than tokens should live.
pub const BLACKLIST_TTL_MS: u64 = 3_600_000;
/// Default of `shutdownGraceMs`, milliseconds.
pub const SHUTDOWN_GRACE_MS: u64 = 0;
/// Default of `metrics.host`: this machine only, as for `host`.
pub const METRICS_HOST: &str = HOST;
/// Default of `storage.dir`, relative to the working directory.
pub const STORAGE_DIR: &str = "./dunlin-data";

/// Default of `storage.syncIntervalMs`, milliseconds: a sync a second is no load, and few like to lose more.
pub const DEFAULT_SYNC_INTERVAL_MS: u64 = 1000;

/// Every port number; 0 lets the system choose a free one.
pub const PORTS: RangeInclusive<u64> = 0..=65_535;
/// From one byte to 256 MiB: one frame is held in memory as a whole.
pub const PAYLOADS: RangeInclusive<u64> = 1..=256 * 1024 * 1024;
/// From what every operation of protocol 1.0.0 can be asked for with (a filter in a transaction has more), to as deep as JSON is
/// read at all.
pub const DEPTHS: RangeInclusive<u64> = 8..=DEPTH as u64;
/// From one millisecond (tests) to a day, in milliseconds. No proxy keeps a silent connection longer.
pub const HEARTBEATS_MS: RangeInclusive<u64> = 1..=86_400_000;
/// From one byte (tests) to 1 GiB per connection.
pub const BUFFERS: RangeInclusive<u64> = 1..=1024 * 1024 * 1024;
/// From one millisecond (tests) to a day, in milliseconds: whoever takes nothing for a day is gone.
pub const SLOW_CONSUMERS_MS: RangeInclusive<u64> = 1..=86_400_000;
/// Subscriptions of one connection; 0 switches subscriptions off. The upper end keeps a typing error from meaning
/// "unlimited".
pub const SUBSCRIPTIONS_OF_ONE: RangeInclusive<u64> = 0..=1_000_000;
/// Subscriptions of the whole server.
pub const SUBSCRIPTIONS_OF_ALL: RangeInclusive<u64> = 0..=10_000_000;
/// From a millisecond to an hour, in milliseconds.
pub const SYNC_INTERVALS_MS: RangeInclusive<u64> = 1..=3_600_000;
/// Connections of one address; 0 would refuse everybody.
pub const CONNECTIONS_PER_IP: RangeInclusive<u64> = 1..=1_000_000;
/// Requests in a window; 0 refuses everything. The upper end is far above what a server does in a day.
pub const RATES: RangeInclusive<u64> = 0..=1_000_000_000;
/// Requests in a burst; 0 would refuse everything for no reason that anybody could see.
pub const BURSTS: RangeInclusive<u64> = 1..=1_000_000_000;
/// From one millisecond (tests) to a day, in milliseconds.
pub const RATE_WINDOWS_MS: RangeInclusive<u64> = 1..=86_400_000;
/// What one request counts. 0 would be a way around the limit.
pub const WEIGHTS: RangeInclusive<u64> = 1..=1_000_000;
/// Users and addresses counted for themselves; at 200 bytes each the upper end takes 2 GiB.
pub const RATES_KEYS: RangeInclusive<u64> = 1..=10_000_000;
/// Up to a day, in milliseconds; 0 waits for ever.
pub const LOGIN_TIMEOUTS_MS: RangeInclusive<u64> = 0..=86_400_000;
/// Up to one hour, in milliseconds: longer than any service manager waits before it kills.
pub const GRACES_MS: RangeInclusive<u64> = 0..=3_600_000;
/// Up to 64 GiB; 0 keeps nothing, and whoever comes back gets the whole result.
pub const HISTORIES_BYTES: RangeInclusive<u64> = 0..=64 * 1024 * 1024 * 1024;
/// Commits kept at most; 0 keeps none.
pub const HISTORIES_COMMITS: RangeInclusive<u64> = 0..=1_000_000_000;
/// Tests of live queries of one bucket that no index can tell; 0 allows no such queries.
pub const UNINDEXED_TESTS: RangeInclusive<u64> = 0..=10_000_000;
/// Up to a tebibyte; 0 allows no live queries.
pub const LIVE_BYTES: RangeInclusive<u64> = 0..=1024 * 1024 * 1024 * 1024;
/// From one millisecond (tests) to a year, in milliseconds.
pub const IDEMPOTENCY_TTLS_MS: RangeInclusive<u64> = 1..=365 * 24 * 60 * 60 * 1000;
/// Answers remembered, of one user and of all; 0 refuses every write that has a key.
pub const REMEMBERED: RangeInclusive<u64> = 0..=100_000_000;
/// Up to ten minutes, in seconds: a clock that is further away is broken.
pub const LEEWAYS_SECONDS: RangeInclusive<u64> = 0..=600;
/// Up to ten seconds, in milliseconds, as long as any login may take ([`AUTHENTICATE_WAIT`](crate::limits::AUTHENTICATE_WAIT)).
pub const WEBHOOK_TIMEOUTS_MS: RangeInclusive<u64> = 1..=10_000;
/// Up to an hour, in milliseconds; 0 remembers nothing.
pub const WEBHOOK_CACHES_MS: RangeInclusive<u64> = 0..=3_600_000;
/// Answers remembered; 0 remembers none.
pub const WEBHOOK_ANSWERS: RangeInclusive<u64> = 0..=1_000_000;
/// From one millisecond (tests) to a year, in milliseconds.
pub const BLACKLIST_TTLS_MS: RangeInclusive<u64> = 1..=365 * 24 * 60 * 60 * 1000;
/// Default of `rules.subscriberBytes`, bytes: some thousand events of usual size.
pub const SUBSCRIBER_BYTES: usize = 1024 * 1024;
/// Default of `rules.serviceTimeoutMs`, milliseconds: a rule waits for it, and nobody else.
pub const SERVICE_TIMEOUT_MS: u64 = 5_000;
/// Most entries in `rules.webhooks.allow`. Each target is compared with all of them.
pub const MAX_WEBHOOK_TARGETS: usize = 1_000;
/// Rules, and groups of them; 0 allows none.
pub const RULES: RangeInclusive<u64> = 0..=10_000_000;
/// Facts, timers, groups of patterns, calls and firings that wait; 0 allows none. The upper end is far above what fits into
/// memory.
pub const FACTS: RangeInclusive<u64> = 0..=1_000_000_000;
/// From no chain at all to as long as one may carry out step inside step.
pub const RULE_DEPTHS: RangeInclusive<u64> = 1..=100;
/// Firings and events of one input, events that are remembered.
pub const BUDGETS: RangeInclusive<u64> = 1..=10_000_000;
/// From some rules to about 17 minutes, for which nobody can write.
pub const STEPS: RangeInclusive<u64> = 1_000..=10_000_000_000;
/// Entries of the history of one rule; the newest is what a rollback of the last change needs.
pub const VERSIONS: RangeInclusive<u64> = 1..=100_000;
/// From a kilobyte (tests) to 1 GiB per subscription.
pub const SUBSCRIBERS_BYTES: RangeInclusive<u64> = 1024..=1024 * 1024 * 1024;
/// From one millisecond (tests) to five minutes, in milliseconds.
pub const SERVICE_TIMEOUTS_MS: RangeInclusive<u64> = 1..=300_000;
