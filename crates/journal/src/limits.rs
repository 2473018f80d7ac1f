//! Every bound and size of the journals, with its reason.

use std::time::Duration;

/// Bytes of log that there must be before an image is made, so that small data are not written again and again. Reading so
/// much back takes a fraction of a second.
pub const LOG_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of a log file after which another one is begun, so that a log of a large state can be removed in parts.
pub const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes by which space for the log is taken ahead. Within it a sync has no length of the file to write; taking it costs about
/// a sync more, once in some ten thousand small writes.
pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Newest commits that a start gives back as the recent past, so that subscribers of before it can resume. As many as
/// a server keeps of it by default.
pub const RECENT_COMMITS: usize = 10_000;

/// Bytes of a block's payload; a longer one is written in parts. So much is read, checked and mended at once, and a reader
/// believes no length beyond it.
pub const PART_BYTES: usize = 1024 * 1024;

/// Bytes of a file that are read at once: large enough for the disk, small beside the data.
pub const READ_BYTES: usize = 1024 * 1024;

/// Bytes of an image that are made in one step: about a millisecond of encoding and writing, after which writers of the log
/// have their turn, and no more than a block holds.
pub const IMAGE_STEP_BYTES: usize = 256 * 1024;

/// Bytes of an image that are written before it is synced. File systems write out what others have written when the log is
/// synced, so this is how much a writer may have to wait for; each sync more costs a turn of the disk.
pub const IMAGE_SYNC_BYTES: u64 = 256 * 1024;

/// How long the keeper of a journal waits between two steps of an image: it takes the disk 64 MiB a second at most, and leaves
/// the rest to the log. Measured on a disk of 250 MB a second, log syncs of 0.8 ms at the 99th percentile: beside an image
/// without pauses 4.7 ms, with pauses 2.2 ms.
pub const IMAGE_PAUSE: Duration = Duration::from_millis(4);

/// How long the keeper of a journal waits until it tries to make an image again that could not be made: a full disk does not
/// become empty within less.
pub const IMAGE_RETRY: Duration = Duration::from_secs(10);

/// Capacity of the buffer in which a batch is encoded that is kept for the next one, bytes. A larger one, for an import say, is
/// given back.
pub const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// How often a directory is read that a server changes meanwhile, at most, until it comes out clean. What was read in halves takes a
/// coincidence, and to replace a file the server has to write a whole new image, so that one more look is nearly always enough.
pub const INSPECT_ATTEMPTS: u32 = 5;
