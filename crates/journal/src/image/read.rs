//! Reads an image back. Whatever does not fit is named and refused: a state with holes would look whole.

use std::sync::Arc;

use dunlin_store::{Change, Restore, RestoreError, Snapshot};

use super::{BRACE, Fault, Header, Summary, Totals};
use crate::block::{Block, Found, Mending, Reader};
use crate::code::{Decoder, Entry};
use crate::disk::DiskFile;

/// What was read.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) snapshot: Snapshot,
    pub(crate) summary: Summary,
    /// What was damaged, as it should be.
    pub(crate) mended: Vec<Mending>,
}

/// Reads the image in a file; `name` is what faults call it.
pub(crate) fn read(file: &dyn DiskFile, name: &str) -> Result<Image, Fault> {
    read_as(file, name, None)
}

/// The same, as a state of another history if one is named.
pub(crate) fn read_as(file: &dyn DiskFile, name: &str, epoch: Option<&str>) -> Result<Image, Fault> {
    let mut blocks = Blocks::new(file, name)?;
    let header = blocks.header.clone();
    let mut restore = Restore::new(epoch.unwrap_or(&header.epoch));
    restore.next_bucket(header.next_bucket);
    while let Some(block) = blocks.next()? {
        let mut changes = Decoder::new(&block.payload);
        while !changes.is_empty() {
            let refuse = |reason| Fault::damaged(name, block.offset, reason);
            blocks.take(changes.entry().map_err(refuse)?, &mut restore).map_err(refuse)?;
        }
    }
    let (summary, mended) = blocks.finish()?;
    let refuse = |error: RestoreError| Fault::damaged(name, 0, error.to_string());
    let snapshot = restore.finish(header.position).map_err(refuse)?;
    Ok(Image { snapshot, summary, mended })
}

/// The blocks of an image between the first and the last one.
struct Blocks<'f> {
    reader: Reader<'f>,
    name: &'f str,
    header: Header,
    /// The number that all blocks have.
    number: u32,
    /// What came so far.
    found: Totals,
}

impl<'f> Blocks<'f> {
    fn new(file: &'f dyn DiskFile, name: &'f str) -> Result<Self, Fault> {
        let mut reader = Reader::new(file)?;
        let first = block(&mut reader, name)?;
        let header = Header::read(name, &first.payload)?;
        let found = Totals { blocks: 1, ..Totals::default() };
        let blocks = Self { reader, name, header, number: first.label.file, found };
        if first.label.position != 0 {
            return Err(blocks.refuse(0, "it does not begin with the first block"));
        }
        Ok(blocks)
    }

    /// The next one; `None` at the last one, which was there and is right.
    fn next(&mut self) -> Result<Option<Block>, Fault> {
        let block = block(&mut self.reader, self.name)?;
        if block.label.file != self.number {
            return Err(self.refuse(block.offset, "the block belongs to another file"));
        }
        if block.label.position != self.found.blocks {
            let (here, expected) = (block.label.position, self.found.blocks);
            return Err(
                self.refuse(block.offset, format!("block {here} stands where block {expected} should be"))
            );
        }
        if block.payload.first() != Some(&BRACE) {
            self.found.blocks += 1;
            return Ok(Some(block));
        }
        let said: Totals = serde_json::from_slice(&block.payload)
            .map_err(|error| self.refuse(block.offset, format!("the last block cannot be read: {error}")))?;
        if said != self.found {
            let reason = format!("the last block says {said:?}, but there are {:?}", self.found);
            return Err(self.refuse(block.offset, reason));
        }
        Ok(None)
    }

    /// Adds what a change says to the state, and counts it.
    fn take(&mut self, entry: Entry<'_>, restore: &mut Restore) -> Result<(), String> {
        let told = |error: RestoreError| error.to_string();
        match entry {
            Entry::Put { bucket, row, json } => {
                self.found.records += 1;
                restore.put(bucket, row, json).map_err(told)
            }
            Entry::Change(Change::DefineBucket { bucket, name, config }) => {
                self.found.buckets += 1;
                restore.define_bucket(bucket, &name, &config).map_err(told)
            }
            Entry::Change(Change::Counters { bucket, counters }) => {
                restore.counters(bucket, counters).map_err(told)
            }
            Entry::Change(Change::DefineQuery { name, config }) => {
                self.found.queries += 1;
                restore.define_query(&name, &config);
                Ok(())
            }
            Entry::Change(Change::Answer(answer)) => {
                self.found.answers += 1;
                restore.answer(Arc::unwrap_or_clone(answer)).map_err(told)
            }
            Entry::Change(Change::Entry { key, value: Some(value) }) => {
                self.found.entries += 1;
                restore.entry(key, value).map_err(told)
            }
            Entry::Answer { answer, .. } => Err(format!("the answer to key {:?} has no text", answer.key)),
            Entry::Change(other) => Err(format!("{other:?} has no place in an image")),
        }
    }

    /// After the last block: nothing may follow.
    fn finish(self) -> Result<(Summary, Vec<Mending>), Fault> {
        let end = self.reader.offset();
        let size = self.reader.size();
        if end != size {
            return Err(self.refuse(end, format!("{} bytes follow the last block", size - end)));
        }
        let mended = self.reader.mended;
        let summary = Summary::new(&self.header.epoch, self.header.position, self.found, end);
        Ok((Summary { mended: mended.len() as u64, ..summary }, mended))
    }

    fn refuse(&self, offset: u64, reason: impl Into<String>) -> Fault {
        Fault::damaged(self.name, offset, reason)
    }
}

/// The next block, which must be there.
fn block(reader: &mut Reader<'_>, name: &str) -> Result<Block, Fault> {
    let offset = reader.offset();
    match reader.next()? {
        Found::Block(block) => Ok(block),
        Found::Broken { offset, reason } => Err(Fault::damaged(name, offset, reason)),
        Found::End => Err(Fault::damaged(name, offset, "it ends before its last block")),
    }
}
