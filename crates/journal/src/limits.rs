//! Every bound and size of the journals, with its reason.

/// Rows removed per append while the rows of a cleared or dropped bucket are swept away. About a millisecond of work:
/// an append stays as quick as its sync, and a bucket of a million rows is gone after a thousand appends.
pub const SWEEP_ROWS_PER_APPEND: usize = 1_000;

/// Block cache, bytes. The state is served from memory; blocks are only read by recovery (each once) and by
/// compaction, so a large cache would hold what nobody asks for twice.
pub const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Size at which the rows in memory are written out as a table, bytes. They are a second copy of recent writes, so it
/// is a quarter of fjall's 64 MiB; smaller tables would mean more compaction per write. It is a ceiling: an idle, empty
/// journal holds nothing.
pub const ROWS_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The same for definitions and counters, bytes: a few small keys written again and again.
pub const META_MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;

/// Most bytes of write-ahead log before old parts are retired by writing tables out; the least fjall allows, because a
/// start replays all of it.
pub const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// Background threads of the engine: one may compact while the other writes tables out, so that writers do not wait
/// for compaction. More would only compete for the disk.
pub const WORKER_THREADS: usize = 2;

/// Open table files. Tables are 64 MiB, so this covers 8 GiB before files are opened and closed again.
pub const OPEN_FILES: usize = 128;

/// Longest part of a damaged value that an error repeats, in characters.
pub const SHOWN_CHARS: usize = 60;

/// Free space that must be there before a journal goes back into service after a failed write, bytes: enough to write
/// the largest table in memory out and to go on logging. With less it would fail again at once.
pub const SPACE_FOR_SERVICE_BYTES: u64 = 2 * ROWS_MEMTABLE_BYTES;

/// Full tables in memory that may wait for the background threads before an append waits with them. The engine itself
/// waits from four on, and without end if its threads died meanwhile; so we wait first, and look whether they live.
pub const WAITING_TABLES: usize = 3;

/// Tables that may wait for compaction before an append waits with them; the engine itself waits from 30 on.
pub const UNCOMPACTED_TABLES: usize = 25;

/// How often an append that waits looks again, milliseconds: far less than writing a table out takes.
pub const WAIT_STEP_MS: u64 = 2;

/// How much of that space is taken at a time when it is tried out, bytes; it lies on the stack.
pub const SPACE_PROBE_CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of a block's payload; a longer one is written in parts. So much is read, checked and mended at once, and a reader
/// believes no length beyond it.
pub const PART_BYTES: usize = 1024 * 1024;

/// Bytes of a file that are read at once: large enough for the disk, small beside the data.
pub const READ_BYTES: usize = 1024 * 1024;

/// Bytes of an image that are made in one step: a few milliseconds of encoding and writing, after which writers of the log
/// have their turn, and no more than a block holds.
pub const IMAGE_STEP_BYTES: usize = 1024 * 1024;

/// Bytes of an image that are written before it is synced. Short of that a sync at the end would have all of it to write at
/// once, and the log's syncs would wait behind it; each sync more costs a turn of the disk.
pub const IMAGE_SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// How often a directory is looked at while a server keeps replacing its files. Each replacement takes it a whole new image, so
/// that one more look is nearly always enough.
pub const INSPECT_ATTEMPTS: u32 = 5;
