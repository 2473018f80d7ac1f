//! Blocks: what all files are made of. A header of fixed length that says how long the payload is, both with checksums.
//!
//! | bytes | little endian |
//! |---|---|
//! | 0..4 | `dnlB` |
//! | 4..8 | length of the payload |
//! | 8..16 | position: of the first commit in it (log), number of the block (image) |
//! | 16..24 | the newest position that was known to be on disk when it was written (log), 0 (image) |
//! | 24..28 | which part of a longer payload it is; the highest bit marks the last part |
//! | 28..32 | a number that all blocks of the file have |
//! | 32..40 | checksum of the payload |
//! | 40..48 | checksum of bytes 0..40 |

use std::io;

use crate::checksum::{self, Mended};
use crate::disk::DiskFile;
use crate::limits::{PART_BYTES, READ_BYTES};

/// Bytes of a header.
pub(crate) const HEADER: usize = 48;
const MAGIC: [u8; 4] = *b"dnlB";
const CHECKED: usize = 40;
const LAST: u32 = 1 << 31;

/// What a header says besides lengths and checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) position: u64,
    pub(crate) synced: u64,
    pub(crate) file: u32,
}

/// Appends a payload to `out` as one block, or several if it is long.
pub(crate) fn write(out: &mut Vec<u8>, label: Label, payload: &[u8]) {
    let parts = payload.len().div_ceil(PART_BYTES).max(1);
    out.reserve(payload.len() + parts * HEADER);
    for part in 0..parts {
        let from = part * PART_BYTES;
        let to = payload.len().min(from + PART_BYTES);
        let bytes = payload.get(from..to).unwrap_or_default();
        // A payload has fewer than 2³¹ parts of a megabyte: it stands in memory.
        let number = u32::try_from(part).unwrap_or(u32::MAX) | if part + 1 == parts { LAST } else { 0 };
        header(out, label, number, bytes);
        out.extend_from_slice(bytes);
    }
}

fn header(out: &mut Vec<u8>, label: Label, part: u32, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&label.position.to_le_bytes());
    out.extend_from_slice(&label.synced.to_le_bytes());
    out.extend_from_slice(&part.to_le_bytes());
    out.extend_from_slice(&label.file.to_le_bytes());
    out.extend_from_slice(&checksum::of(payload).to_le_bytes());
    let sum = checksum::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_le_bytes());
}

/// A header that was read.
#[derive(Debug, Clone, Copy)]
struct Header {
    length: usize,
    label: Label,
    part: u32,
    last: bool,
    checksum: u64,
}

impl Header {
    /// What stands there; `None` if it is no header. Mends it, if one byte is wrong.
    fn read(bytes: &mut [u8; HEADER]) -> Option<(Self, bool)> {
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let stored = u64::from_le_bytes(field(bytes, CHECKED));
        let (checked, sum) = bytes.split_at_mut(CHECKED);
        let mut mended = false;
        if checksum::of(checked) != stored {
            let what = checksum::mend(checked, stored)?;
            mended = true;
            if what == Mended::Checksum {
                sum.copy_from_slice(&checksum::of(checked).to_le_bytes());
            }
        }
        if field::<4>(bytes, 0) != MAGIC {
            return None;
        }
        let part = u32::from_le_bytes(field(bytes, 24));
        let header = Self {
            length: usize::try_from(u32::from_le_bytes(field(bytes, 4))).ok()?,
            label: Label {
                position: u64::from_le_bytes(field(bytes, 8)),
                synced: u64::from_le_bytes(field(bytes, 16)),
                file: u32::from_le_bytes(field(bytes, 28)),
            },
            part: part & !LAST,
            last: part & LAST != 0,
            checksum: u64::from_le_bytes(field(bytes, 32)),
        };
        (header.length <= PART_BYTES).then_some((header, mended))
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// A whole payload, of one block or of several.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) label: Label,
    pub(crate) payload: Vec<u8>,
    /// Where its first header begins in the file.
    pub(crate) offset: u64,
    /// Where it ends.
    pub(crate) end: u64,
}

/// What stands at a place of a file.
#[derive(Debug)]
pub(crate) enum Found {
    Block(Block),
    /// Nothing, and nothing stands behind it; or only zeros.
    End,
    /// Something that is no whole block.
    Broken {
        /// Where the part begins that cannot be read.
        offset: u64,
        reason: &'static str,
    },
}

/// Bytes that were mended, to be written back.
#[derive(Debug)]
pub(crate) struct Mending {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a file block by block, from its beginning.
pub(crate) struct Reader<'f> {
    file: &'f dyn DiskFile,
    size: u64,
    /// Where the next block begins.
    next: u64,
    /// A part of the file, and where it begins.
    window: Vec<u8>,
    window_at: u64,
    /// What was mended on the way.
    pub(crate) mended: Vec<Mending>,
}

impl<'f> Reader<'f> {
    pub(crate) fn new(file: &'f dyn DiskFile) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, size, next: 0, window: Vec::new(), window_at: 0, mended: Vec::new() })
    }

    /// Where the next block begins.
    pub(crate) fn offset(&self) -> u64 {
        self.next
    }

    /// Length of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next payload. After anything else than a block there is no use in asking again.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        let offset = self.next;
        let mut at = offset;
        let mut payload = Vec::new();
        let mut first: Option<Label> = None;
        for part in 0.. {
            let Some(bytes) = self.bytes(at, HEADER)? else {
                let rest = usize::try_from(self.size - at).unwrap_or(HEADER);
                let empty = self.bytes(at, rest)?.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
                return Ok(if empty && first.is_none() {
                    Found::End
                } else {
                    broken(at, "it ends within a header")
                });
            };
            let mut header = [0; HEADER];
            header.copy_from_slice(bytes);
            if first.is_none() && header == [0; HEADER] {
                return Ok(Found::End);
            }
            let Some((found, mended)) = Header::read(&mut header) else {
                return Ok(broken(at, "the checksum of a header does not fit"));
            };
            if found.part != part || first.is_some_and(|first| first != found.label) {
                return Ok(broken(at, "a part does not belong to the one before it"));
            }
            first = Some(found.label);
            if mended {
                self.mended.push(Mending { offset: at, bytes: header.to_vec() });
            }
            let begin = at + HEADER as u64;
            let Some(bytes) = self.bytes(begin, found.length)? else {
                return Ok(broken(at, "it ends within a payload"));
            };
            if checksum::of(bytes) == found.checksum {
                payload.extend_from_slice(bytes);
            } else {
                let mut bytes = bytes.to_vec();
                // The checksum is in the header, which is in order: the damage is in the payload.
                match checksum::mend(&mut bytes, found.checksum) {
                    Some(Mended::Byte(_)) => {}
                    _ => return Ok(broken(at, "the checksum of a payload does not fit")),
                }
                payload.extend_from_slice(&bytes);
                self.mended.push(Mending { offset: begin, bytes });
            }
            at = begin + found.length as u64;
            if found.last {
                self.next = at;
                return Ok(Found::Block(Block { label: found.label, payload, offset, end: at }));
            }
        }
        Ok(broken(at, "it has too many parts"))
    }

    /// Looks for a header behind `from`, wherever it may begin, that a test holds for. Where blocks are broken, this tells
    /// whether there is more behind them.
    pub(crate) fn find(&mut self, from: u64, test: impl Fn(&Label) -> bool) -> io::Result<Option<u64>> {
        let mut at = from;
        while let Some(bytes) = self.bytes(at, HEADER)? {
            let magic = bytes.iter().position(|byte| *byte == MAGIC[0]);
            let Some(skip) = magic else {
                at += HEADER as u64;
                continue;
            };
            at += skip as u64;
            let Some(bytes) = self.bytes(at, HEADER)? else { break };
            if bytes.starts_with(&MAGIC) {
                let mut header = [0; HEADER];
                header.copy_from_slice(bytes);
                if Header::read(&mut header).is_some_and(|(header, mended)| !mended && test(&header.label)) {
                    return Ok(Some(at));
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// `length` bytes at a place; `None` if the file ends before.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let end = at.saturating_add(length as u64);
        if end > self.size {
            return Ok(None);
        }
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let rest = usize::try_from(self.size - at).unwrap_or(usize::MAX);
            self.window.resize(length.max(READ_BYTES).min(rest), 0);
            let read = self.file.read_at(at, &mut self.window)?;
            self.window.truncate(read);
            self.window_at = at;
            if read < length {
                self.size = at + read as u64;
                return Ok(None);
            }
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.get(start..start + length))
    }
}

fn broken(offset: u64, reason: &'static str) -> Found {
    Found::Broken { offset, reason }
}
