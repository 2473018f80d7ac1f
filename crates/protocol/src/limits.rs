//! Every bound that the wire itself sets, with its unit and its reason. What a bucket or a record may hold is for the store
//! to bound.

/// Levels of objects and arrays in a frame, the frame itself being the first. `serde_json` reads the values of its fields, each
/// for itself, to 127 levels.
pub const MAX_DEPTH: usize = 128;

/// Operations of one transaction. The store does nothing else while it carries them out.
pub const MAX_OPERATIONS: usize = 10_000;

/// Bytes of an `idempotencyKey`. It is kept beside the answer; a UUID has 36.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 128;

/// Records of one `insertMany`. As many as the store lets one write change.
pub const MAX_INSERTED: usize = 100_000;

/// Names in the `extensions` of one `hello`. There are far fewer to ask for.
pub const MAX_EXTENSIONS: usize = 256;

/// Bytes of the `client` of one `hello`: a name and a version, for the log.
pub const MAX_CLIENT_BYTES: usize = 256;

/// Fields of one `groupBy`. The values of all of them are read for each record.
pub const MAX_GROUP_FIELDS: usize = 256;

/// Characters in the name of a backup: a date, a time and a word fit; with what is put behind it, every file system has room for
/// it.
pub const MAX_BACKUP_NAME: usize = 64;

/// Facts of one `rules.test`. It is carried out while others wait.
pub const MAX_TEST_FACTS: usize = 1_000;

/// Events of one `rules.test` before the one that is tested; each is carried out.
pub const MAX_TEST_EVENTS: usize = 1_000;

/// Bytes (UTF-8) of topics, keys of facts, names of timers, and of patterns over them. They are keys of the log and of indexes.
pub const MAX_NAME_BYTES: usize = 512;

/// Segments of a topic or key, or of a pattern. Matching takes one step for each.
pub const MAX_SEGMENTS: usize = 32;
