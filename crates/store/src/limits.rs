//! Every bound of the store, with its unit and its reason. Nothing here may be exceeded by any write, so that no
//! definition, filter or record can make the process slow or large beyond what its sender paid for.

pub use dunlin_pattern::limits::{
    MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_PATTERN_SIZE, MAX_PATTERN_TEXT_BYTES,
};

/// Buckets of one store. Each costs a few hundred bytes, and listings name them all.
pub const MAX_BUCKETS: usize = 10_000;
/// Declarative queries of one store. Listings name them all.
pub const MAX_QUERIES: usize = 10_000;
/// Bytes (UTF-8) of a bucket's or query's name. Names are repeated in messages, keys of the journal and logs.
pub const MAX_NAME_BYTES: usize = 128;
/// Fields of one schema. Every record holds 10 bytes for each.
pub const MAX_FIELDS: usize = 256;
/// Bytes (UTF-8) of a field's name.
pub const MAX_FIELD_NAME_BYTES: usize = 128;
/// Indexes of one bucket: those of `indexes` and `unique`, of references, and of an `ordered_set`'s key. Every write
/// touches each of them.
pub const MAX_INDEXES: usize = 32;
/// Values of one `enum`. Every write compares with each of them.
pub const MAX_ENUM_VALUES: usize = 1_000;
/// Fields that one index covers. Its entries hold all their values.
pub const MAX_INDEX_FIELDS: usize = 4;
/// Levels of `properties` and `items` below a field. Checking a record recurses once for each.
pub const MAX_SCHEMA_DEPTH: usize = 10;
/// Patterns of one bucket, nested ones included. Each holds up to [`MAX_PATTERN_SIZE`] bytes.
pub const MAX_PATTERNS: usize = 100;
/// Largest `ttl`, milliseconds: what a JavaScript date can hold. A record with a later deadline would never go.
pub const MAX_TTL_MS: u64 = 8_640_000_000_000_000;
/// Bytes of a bucket definition or query config as JSON text. It is kept, logged and listed whole.
pub const MAX_CONFIG_BYTES: usize = 256 * 1024;
/// Bytes of one record's JSON text. Positions inside it are 32-bit numbers, and a push repeats it.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;
/// Levels of objects and arrays in a record or a default, the record itself being the first. Readers of the JSON
/// text recurse (`serde_json` stops at 128).
pub const MAX_VALUE_DEPTH: usize = 100;
/// Levels of `$or`, `$and` and `$not` in a filter. Evaluation recurses once for each.
pub const MAX_FILTER_DEPTH: usize = 16;
/// Tests in a filter, every element of `$in` and `$nin` counting as one. A scan makes all of them on every record.
pub const MAX_FILTER_TESTS: usize = 10_000;
/// The part of a bucket, one in so many, that is gathered from indexes before all records are tried instead: to go
/// from row to row through memory costs several times what to walk along them costs.
pub const INDEX_SHARE: usize = 4;
/// Rows that are always gathered from indexes, however small the bucket.
pub const INDEX_ROWS_FLOOR: usize = 64;
/// Records that `findOne` tries from the start before it gathers rows from indexes: cheaper than to sort those.
pub const FIND_ONE_TRIES: usize = 128;
/// Rows that are rather gathered and sorted than found along an index that has the order.
pub const NARROW_ROWS: usize = 1_000;
/// Fields in `sort`, in `fields` and in `groupBy` of a query.
pub const MAX_QUERY_FIELDS: usize = 256;
/// Members of `include` of a query. Each is a look-up for every row of the result, and adds a record to it.
pub const MAX_INCLUDES: usize = 8;
/// Bytes of a query's result with included records: a large record that many refer to is written out for each of them.
pub const MAX_INCLUDED_BYTES: usize = 64 * 1024 * 1024;
/// Removed keys of a bucket whose places are remembered, so that a page can be asked for behind one. A client that has
/// the last record of its page deleted before it asks for the next is seldom further behind.
pub const MAX_DEPARTED: u64 = 256;
/// Operations of one transaction. The store does nothing else while it carries them out.
pub const MAX_OPERATIONS: usize = 10_000;
/// Records that all reads of one transaction return, a group of `groupBy` counting as one. They are answered together, so
/// that the answer is held whole; this is some 20 MiB of usual records.
pub const MAX_RECORDS_READ: usize = 100_000;
/// Records that one write changes, what it takes with it by reference included: `updateMany`, `deleteMany`, a cascade; of a
/// transaction all operations together, a record that several of them change counted for each.
/// Nobody else can write meanwhile; this is about half a second.
pub const MAX_RECORDS_WRITTEN: usize = 100_000;
/// Records that an insert into a full bucket looks at to find one that may be removed.
pub const MAX_EVICTION_SKIPS: usize = 1_000;
/// Faults told at once about one definition, filter or record; the rest is cut off, so that an answer stays small.
pub const MAX_FAULTS: usize = 100;
/// Largest value that `autoincrement` hands out: the largest integer that JavaScript clients keep exactly
/// (2^53 - 1). Larger given values do not move the counter.
pub const MAX_AUTOINCREMENT: u64 = 9_007_199_254_740_991;
/// Bytes (UTF-8) of an idempotency key. It is kept beside the answer; a UUID has 36.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = dunlin_protocol::limits::MAX_IDEMPOTENCY_KEY_BYTES;
/// Bytes (UTF-8) of the scope of idempotency keys. It is kept beside each answer; it is a user's id or an address.
pub const MAX_SCOPE_BYTES: usize = 1024;
/// Default of how long an answer is remembered, milliseconds: 24 hours, so that a phone which was off over night can repeat.
pub const ANSWER_TTL_MS: u64 = 24 * 60 * 60 * 1000;
/// Default of the answers remembered for one user or address: more than one a second for a day.
pub const MAX_ANSWERS_PER_SCOPE: usize = 100_000;
/// Default of the answers remembered altogether. Each takes some 300 bytes beside its text.
pub const MAX_ANSWERS: usize = 1_000_000;
/// Bytes of the answers remembered for one user or address; at 100,000 of them 670 each.
pub const MAX_ANSWER_BYTES_PER_SCOPE: usize = 64 * 1024 * 1024;
/// Bytes of the answers remembered altogether. Like the records they are held in memory; those that are single records
/// mostly share it with these.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024 * 1024;
/// Answers that one commit forgets, about: those of the same millisecond go together. A millisecond of work.
pub const FORGOTTEN_AT_ONCE: usize = 1_000;
/// Bytes of a row rule as JSON text. Its filter is held by every view under it, and is tried on every record that such a
/// view or read looks at.
pub const MAX_RULE_BYTES: usize = 16 * 1024;
/// Different row rules that are joined for one session and bucket: each is one branch more to be tried on a record.
pub const MAX_ROW_RULES: usize = 100;
/// Members that one row rule hides. Each is compared with every member of a record that is written out.
pub const MAX_HIDDEN_MEMBERS: usize = 100;
/// Bytes (UTF-8) of the name of a hidden member, its dots included.
pub const MAX_HIDDEN_NAME_BYTES: usize = 1024;
/// Combinations of members by which the live views of one bucket are found. A changed record is looked up in each, some
/// 50 ns; applications have a few dozen kinds of queries.
pub const MAX_VIEW_TEMPLATES: usize = 64;
/// Members outside the schema by which the live views of one bucket are found. Each is looked for in the JSON text of
/// every changed record.
pub const MAX_VIEW_FOREIGN_MEMBERS: usize = 32;
/// Places under which one live view is filed, for the elements of `$in` and the branches of `$or`; about 70 bytes each.
pub const MAX_VIEW_ANCHORS: usize = 1_000;
/// Places under which the elements of several `$in` are filed, each with each: these are more than the filter is long.
pub const MAX_VIEW_COMBINATIONS: usize = 64;
/// Changes of single groups that a step of a live query tells beyond the number of its groups: with more of them the whole
/// result is shorter.
pub const GROUP_EDITS_FLOOR: usize = 16;
