//! The file that batches are appended to.

use std::io;

use serde::{Deserialize, Serialize};

use crate::block::{self, Label};
use crate::checksum;
use crate::disk::{Disk, DiskFile};
use crate::limits::{KEPT_BUFFER_BYTES, READ_BYTES};
use crate::names::{self, FORMAT};

/// What the first block of a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Title {
    pub(crate) kind: String,
    pub(crate) format: u32,
    pub(crate) epoch: String,
    /// Of the first commit that it is for.
    pub(crate) position: u64,
}

/// What it says of its kind.
const KIND: &str = "log";

impl Title {
    pub(crate) fn new(epoch: &str, position: u64) -> Self {
        Self { kind: KIND.to_owned(), format: FORMAT, epoch: epoch.to_owned(), position }
    }

    /// Whether it is that of a log which begins with this commit.
    pub(crate) fn is_for(&self, position: u64) -> bool {
        self.kind == KIND && self.position == position
    }

    /// The number that all blocks of the file have, so that a block which got into another file is noticed.
    pub(crate) fn number(&self) -> u32 {
        let text = format!("{} {} {}", self.kind, self.position, self.epoch);
        let [a, b, c, d, ..] = checksum::of(text.as_bytes()).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The first block of the file.
    pub(crate) fn block(&self, synced: u64) -> io::Result<Vec<u8>> {
        let mut block = Vec::new();
        let label = Label { position: self.position, synced, file: self.number() };
        block::write(&mut block, label, &serde_json::to_vec(self)?);
        Ok(block)
    }
}

/// A log file that is written to. What it holds up to `end` is acknowledged; what may stand behind that is not.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: Box<dyn DiskFile>,
    /// Position that its name says.
    first: u64,
    number: u32,
    end: u64,
    /// Space that was taken.
    reserved: u64,
    /// Where blocks are made. Kept, because giving back what is as large as a batch makes the allocator tidy up each time.
    blocks: Vec<u8>,
}

impl LogFile {
    /// Makes a file for the commits from `title.position` on. It is on disk, with its name, before anything goes into it.
    pub(crate) fn create(disk: &dyn Disk, title: &Title, synced: u64, reserve: u64) -> io::Result<Self> {
        let file = disk.create(&names::log(title.position))?;
        let block = title.block(synced)?;
        file.reserve(reserve)?;
        file.write_at(0, &block)?;
        file.sync()?;
        disk.sync_names()?;
        let end = block.len() as u64;
        Ok(Self {
            file,
            first: title.position,
            number: title.number(),
            end,
            reserved: reserve.max(end),
            blocks: Vec::new(),
        })
    }

    /// Goes on with a file that ends here.
    pub(crate) fn resume(file: Box<dyn DiskFile>, title: &Title, end: u64) -> Self {
        Self { file, first: title.position, number: title.number(), end, reserved: end, blocks: Vec::new() }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of what is acknowledged.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes a batch behind what is there. It counts when [`keep`](Self::keep) is called.
    ///
    /// # Errors
    /// Then it is not known what stands behind the end, and nothing may be written to this file any more.
    pub(crate) fn write(
        &mut self,
        position: u64,
        synced: u64,
        payload: &[u8],
        reserve: u64,
    ) -> io::Result<Written> {
        let blocks = &mut self.blocks;
        blocks.clear();
        blocks.shrink_to(KEPT_BUFFER_BYTES);
        block::write(blocks, Label { position, synced, file: self.number }, payload);
        let end = self.end + blocks.len() as u64;
        if end > self.reserved {
            let size = end + reserve;
            self.file.reserve(size)?;
            self.reserved = size;
        }
        self.file.write_at(self.end, blocks)?;
        Ok(Written { end })
    }

    /// Gives back space that was taken and is not used.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.reserved = self.end;
        self.file.cut(self.end)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// What was written is acknowledged.
    pub(crate) fn keep(&mut self, Written { end }: Written) {
        self.end = end;
    }
}

/// A batch that was written and does not count yet.
#[derive(Debug)]
pub(crate) struct Written {
    end: u64,
}

/// Writes what stands in a part of a file once more.
pub(crate) fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut at = from;
    while at < to {
        buffer.resize(usize::try_from(to - at).unwrap_or(usize::MAX).min(READ_BYTES), 0);
        let read = file.read_at(at, &mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(at, buffer.get(..read).unwrap_or_default())?;
        at += read as u64;
    }
    Ok(())
}

/// Cuts a file back to what is acknowledged of it.
pub(crate) fn cut(disk: &dyn Disk, name: &str, end: u64) -> io::Result<()> {
    let file = disk.open(name)?;
    file.cut(end)?;
    file.sync()
}
