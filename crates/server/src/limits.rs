//! Every bound of the server that is not configuration, with its unit and its reason.

use std::time::Duration;

/// Frames in one batch. A driver takes what its socket has ready, at most this many, and reads again when they are
/// answered: one connection's share of the server's attention.
pub const BATCH_FRAMES: usize = 128;

/// Bytes in one batch; after the frame that reaches it the batch is handed over. Keeps 128 frames of 1 MiB from piling up.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// Writes under way from [`StoreHandle`](crate::StoreHandle)s at once, per server. Further ones wait for a place.
pub const EMBEDDED_WRITES: usize = 1024;

/// Changes of records in one group commit; after the intent that reaches it the group is complete. More would make the
/// first writer of the group wait too long. A refused intent counts as one change.
pub const GROUP_CHANGES: usize = 1024;

/// Records that expire in one group commit, beside the writes in it: neither keeps the other waiting for long.
pub const EXPIRY_GROUP: usize = 256;

/// Milliseconds that a record whose removal was refused (others refer to it) waits until it is tried again, at least; and
/// while there are such records, how late another one may be removed. Clients know this figure as `ttl.checkIntervalMs`.
pub const EXPIRY_CHECK_MS: u64 = 1000;

/// Microseconds for each refused record by which all of them wait longer: an attempt takes about ten, so attempts never
/// take more than a tenth of the time.
pub const EXPIRY_RETRY_US: u64 = 100;

/// Milliseconds that the store sleeps at most until it looks for expired records again. Deadlines are times of the wall
/// clock, which may be set while it sleeps.
pub const EXPIRY_LOOK_AGAIN_MS: u64 = 60_000;

/// Milliseconds that answers are kept in memory beyond the time for which they are remembered, so that one commit forgets all
/// of a second and not each for itself.
pub const FORGET_DELAY_MS: u64 = 1000;

/// Changes of records that wait for the live queries, at most: some seconds of writing. Behind more of them every live query is
/// worked out anew from the newest state.
pub const FEED_CHANGES: usize = 65_536;

/// Answers to those who come back that are kept for others who have missed the same, until something is written. Clients
/// choose the positions, so there could be as many as the past has commits.
pub const KNOWN_GAPS: usize = 1024;

/// Bytes of such an answer; a longer one is shared only by those who wait for it together.
pub const KNOWN_GAP_BYTES: usize = 16 * 1024;

/// Records that a live query with a limit holds beyond those that it shows, at least; and as many as it shows if these are
/// more. So many may leave before the next are looked for; each is 24 bytes.
pub const LIVE_RESERVE: usize = 256;

/// How often a live query is worked out beside the others in vain, because the history did not reach back to when that was
/// begun. Then it is worked out among them, and they wait.
pub const VIEW_TRIES: u32 = 3;

/// Commits kept for a receiver of [`Events`](crate::Events) that falls behind. Older ones it only learns the number of.
pub const EVENT_COMMITS: usize = 1024;

/// How often a permanent actor may be restarted within [`RESTART_WINDOW`] before the server gives up: an error that comes
/// back at once is not mended by restarting.
pub const RESTARTS: usize = 5;

/// See [`RESTARTS`].
pub const RESTART_WINDOW: Duration = Duration::from_secs(10);

/// How long a writer waits for a `StoreActor` that is being restarted: rebuilding a large store from the journal takes
/// seconds.
pub const STORE_RESTART_WAIT: Duration = Duration::from_secs(30);

/// How often the journal is tried again while it cannot write: whoever has made room on a full disk sees it work within that.
pub const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// How long a closing connection may take from our close frame to its end before its socket is dropped.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Bytes that are read and thrown away while a closing client still sends. Dropping a socket with unread input makes the
/// kernel answer with a reset, which can overtake the close frame.
pub const CLOSE_DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// How long a client may take to send its HTTP request head.
pub const REQUEST_HEAD_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an HTTP request head: an upgrade with cookies and an `Authorization` header fits, a flood does not.
pub const REQUEST_HEAD_BYTES: usize = 16 * 1024;

/// TCP connections that are not (yet) WebSockets, at once: handshakes under way and health checks. One more is dropped.
pub const HANDSHAKES: usize = 8192;

/// The same, of one address, so that a single flooder leaves room for others. Clients behind one proxy share it; a
/// handshake takes milliseconds.
pub const HANDSHAKES_PER_ADDRESS: usize = 2048;

/// Connections that the operating system keeps for us until they are accepted. More wait in vain, and try again a second later;
/// systems have bounds of their own, 4096 mostly.
pub const LISTEN_BACKLOG: u32 = 4096;

/// Pause of the listener after a failed `accept` (out of file descriptors, say), so that it does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// tungstenite's read buffer per connection, bytes; allocated at once, so it is most of an idle connection's memory. 1 KiB
/// was no slower than 4 KiB (design, "facts measured").
pub const READ_BUFFER_BYTES: usize = 1024;

/// tungstenite's write buffer target per connection, bytes: frames are gathered up to this size before a write.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of pushes that a driver takes from its outbox at once; the push that reaches it is the last one. What it has taken
/// can no longer be merged, and fewer bytes would not fill a write.
pub const PUSH_PORTION_BYTES: usize = 64 * 1024;

/// Bytes of a push's body from which on it is written straight from where all subscribers share it. Copying a smaller one
/// into a write together with others costs less than a write of its own.
pub const SHARED_BODY_BYTES: usize = 2 * 1024;

/// How long a callback of the embedder may take to validate a token. A later answer denies.
pub const AUTHENTICATE_WAIT: Duration = Duration::from_secs(10);

/// How long a permission callback may take. A later answer denies. The connection's other requests wait meanwhile.
pub const PERMISSION_WAIT: Duration = Duration::from_secs(5);

/// Rules, exceptions, row rules or roles of a policy, each. All of them are looked at when grants are worked out.
pub const MAX_PERMISSION_RULES: usize = 10_000;

/// Names in a list of a permission rule, and bytes of a role's name.
pub const MAX_RULE_NAMES: usize = 1000;

/// Sets of roles whose grants are kept. Tokens say who has which, so there could be any number.
pub const KNOWN_ROLE_SETS: usize = 1024;

/// Different milliseconds that the rate limiter keeps apart for one key and window; of more, neighbours are counted as one. At
/// 16 bytes each a key that is busy takes half a KiB.
pub const LIMIT_ENTRIES: usize = 32;

/// How often the keys of the rate limiter are looked through for those that are idle, and connections for those on which nobody
/// has logged in: so much later than due both may be noticed.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Logins that one address may have under way; further ones wait. A person has one, an office behind one address some.
pub const LOGINS_PER_ADDRESS: usize = 8;

/// Logins under way in all: an authenticator that is slow, or another server behind it, is not buried.
pub const LOGINS: usize = 256;

/// How long a login waits for its place among those.
pub const LOGIN_WAIT: Duration = AUTHENTICATE_WAIT;

/// Bytes of the head that a proxy puts before a connection (PROXY protocol, version 2). The addresses take 52; the rest is for
/// what else it likes to tell, such as a client certificate's name.
pub const PROXY_HEAD_BYTES: usize = 4096;

/// Addresses of an `X-Forwarded-For` that are looked at, from the last one on: more proxies in a row there are not.
pub const FORWARDED: usize = 32;

/// Users that are kept from logging in because their sessions were revoked. Beyond that the one whose time ends first may log in
/// again; each is some 200 bytes.
pub const REVOKED_USERS: usize = 1_000_000;

/// How often a file with the keys of signed tokens is read again, at most; it happens with a login.
pub const KEY_FILE_CHECK: Duration = Duration::from_secs(1);

/// Bytes of such a file: a JWK set of a hundred keys with their certificates fits.
pub const KEY_FILE_BYTES: u64 = 1024 * 1024;

/// Keys in a JWK set: issuers have a handful.
pub const JWKS_KEYS: usize = 100;

/// Requests to the webhook of logins at once; others wait within their time. Nobody's service shall be flooded by us.
pub const WEBHOOK_REQUESTS: usize = 32;

/// Different tokens that wait for the webhook. Further logins are denied at once.
pub const WEBHOOK_WAITING: usize = 4096;

/// Bytes of a webhook's answer: a session with a generous metadata.
pub const WEBHOOK_ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of the answers of a webhook that are remembered, beside the bound of their number.
pub const WEBHOOK_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How often in a row the webhook gives no answer, or one that says that it is in trouble (5xx, 429), until it is not asked for
/// [`WEBHOOK_PAUSE`]; then one login tries it.
pub const WEBHOOK_FAULTS: u32 = 5;

/// See [`WEBHOOK_FAULTS`].
pub const WEBHOOK_PAUSE: Duration = Duration::from_secs(5);

/// How long a connection to another server is kept for the next request.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);

/// Rows that a read may visit on the spot. A read that may visit more moves to a blocking thread, so that a large scan
/// does not hold up the connections that share its worker thread.
pub const INLINE_ROWS: usize = 4096;

/// Tests of its filter that a live query may make on the spot: about a millisecond.
pub const INLINE_TESTS: usize = 8 * INLINE_ROWS;

/// Records that a group of writes may look at or change on the spot: about a millisecond. A group that may do more moves to
/// a blocking thread, for the same reason; so do definitions and migrations.
pub const INLINE_WRITES: usize = 256;

/// Inputs of rules that a group may have on the spot. What an input takes shows only when it is carried out; the bound of one is
/// `rules.maxSteps`, at about 0.1 µs.
pub const INLINE_RULES: usize = 32;

/// After an input of rules that has taken longer the next [`RULE_DOUBTS`] are carried out on a blocking thread.
pub const INLINE_RULES_TIME: Duration = Duration::from_millis(1);

/// See [`INLINE_RULES_TIME`].
pub const RULE_DOUBTS: u32 = 1_000;

/// Timers and windows of rules that are worked off in one group commit, beside the writes in it: neither keeps the other waiting for
/// long.
pub const RULE_TICKS: usize = 256;

/// Events, and again as many calls and lookups, that wait for the `RulesActor`. Behind more of them event subscriptions end, because
/// they would have a gap.
pub const RULE_FEED_EVENTS: usize = 65_536;

/// Bytes of such events, about.
pub const RULE_FEED_BYTES: usize = 256 * 1024 * 1024;

/// Calls of rules under way at once: each holds a connection, or what a service of the program needs.
pub const CALLS: usize = 64;

/// The same, to one target: nobody is flooded by us, and one that is slow leaves room for others.
pub const CALLS_PER_TARGET: usize = 8;

/// Targets whose state is kept, while there is nothing to send them.
pub const CALL_TARGETS: usize = 1_000;

/// How often in a row calls to a target fail, so that trying again may help, until it is left alone for [`CALL_PAUSE`]; then one call
/// tries it.
pub const CALL_FAULTS: u32 = 5;

/// See [`CALL_FAULTS`].
pub const CALL_PAUSE: Duration = Duration::from_secs(5);

/// Bytes of a webhook's answer. Of a longer one only the status counts.
pub const CALL_ANSWER_BYTES: usize = 256 * 1024;

/// How long a webhook waits for its place, at most. There is one for each call under way.
pub const WEBHOOK_CALL_MOST: Duration = Duration::from_secs(300);

/// Lookups under way at once; further ones wait.
pub const LOOKUPS: usize = 256;

/// Answers to lookups that are remembered; the oldest go first.
pub const LOOKUP_ANSWERS: usize = 100_000;

/// Bytes of these.
pub const LOOKUP_BYTES: usize = 64 * 1024 * 1024;

/// How often a client is told, at most, how far the backup has come that it has asked for.
pub const BACKUP_PROGRESS: Duration = Duration::from_secs(1);

/// Upper ends of the buckets into which times are counted, nanoseconds: from a read in a pipeline to a disk that hangs. Three for
/// each power of ten tell a percentile to within its half.
pub const DURATION_BUCKETS_NS: &[u64] = &[
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Upper ends of the buckets into which commits of a group are counted; [`GROUP_CHANGES`] is the most there are of usual ones.
pub const COUNT_BUCKETS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// How long the store may take to finish its queue when the server stops: a few group commits on a slow disk.
pub const STORE_FINISH_WAIT: Duration = Duration::from_secs(10);

/// Events kept for a receiver of [`RuleEventStream`](crate::RuleEventStream) that falls behind. Older ones it only learns the
/// number of.
pub const RULE_EVENTS: usize = 1024;
