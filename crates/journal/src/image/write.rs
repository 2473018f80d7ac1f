//! Writes an image step by step.

use std::io;
use std::mem;
use std::sync::Arc;

use dunlin_store::{BucketId, Change, RowId, Snapshot};
use serde::Serialize;

use super::{Header, KIND, Summary, Totals};
use crate::block::{self, Label};
use crate::checksum;
use crate::code::{Encoder, Volatile};
use crate::disk::{Disk, DiskFile};
use crate::limits::{IMAGE_STEP_BYTES, IMAGE_SYNC_BYTES};
use crate::names::FORMAT;

/// Writes the image of a state, a portion with each step, so that others have their turn in between. The state is a
/// snapshot: what is written meanwhile does not show.
///
/// After an error the file is of no use. It is whole when a step has said so, and known by its name when its caller has renamed
/// it and synced the directory.
#[derive(Debug)]
pub(crate) struct ImageWriter {
    file: Box<dyn DiskFile>,
    state: Snapshot,
    volatile: Volatile,
    next: Next,
    step_bytes: usize,
    /// A number that all blocks have.
    number: u32,
    totals: Totals,
    /// How much of the file is written, and how much of that is synced.
    written: u64,
    synced: u64,
    /// Payload and block in the making; kept, so that each step finds its room.
    encoder: Encoder,
    block: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Clone)]
enum Next {
    /// The definition of the first bucket from this id on.
    Bucket(BucketId),
    /// The rows of a bucket from this one on.
    Rows(BucketId, RowId),
    /// The queries, after so many of them.
    Queries(usize),
    /// The answers, after so many of them.
    Answers(usize),
    /// The entries from this key on.
    Entries(Arc<str>),
    /// The last block.
    Totals,
}

impl ImageWriter {
    /// Makes the file, in the place of one of this name if there is one, and writes its first block.
    pub(crate) fn begin(disk: &dyn Disk, name: &str, state: Snapshot) -> io::Result<Self> {
        Self::with_steps(disk, name, state, IMAGE_STEP_BYTES)
    }

    /// The same with steps of another size.
    pub(crate) fn with_steps(
        disk: &dyn Disk,
        name: &str,
        state: Snapshot,
        step_bytes: usize,
    ) -> io::Result<Self> {
        let header = Header {
            kind: KIND.to_owned(),
            format: FORMAT,
            epoch: state.epoch().to_owned(),
            position: state.position(),
            next_bucket: state.next_bucket(),
        };
        let mut writer = Self {
            file: disk.create(name)?,
            volatile: Volatile::of(&state),
            next: Next::Bucket(BucketId(0)),
            step_bytes,
            number: file_number(&header),
            totals: Totals::default(),
            written: 0,
            synced: 0,
            encoder: Encoder::default(),
            block: Vec::new(),
            state,
        };
        writer.json(&header)?;
        Ok(writer)
    }

    /// Writes the next portion; the summary when that was the last one and all is on disk.
    pub(crate) fn step(&mut self) -> io::Result<Option<Summary>> {
        self.encoder.bytes.clear();
        while self.encoder.bytes.len() < self.step_bytes {
            match self.next.clone() {
                Next::Bucket(from) => self.define(from)?,
                Next::Rows(bucket, from) => self.rows(bucket, from),
                Next::Queries(done) => self.queries(done)?,
                Next::Answers(done) => self.answers(done),
                Next::Entries(from) => self.entries(&from),
                Next::Totals => break,
            }
        }
        if !self.encoder.bytes.is_empty() {
            let payload = mem::take(&mut self.encoder.bytes);
            self.append(&payload)?;
            self.encoder.bytes = payload;
            if self.written - self.synced >= IMAGE_SYNC_BYTES {
                self.sync()?;
            }
            return Ok(None);
        }
        let totals = self.totals;
        self.json(&totals)?;
        self.sync()?;
        Ok(Some(Summary::new(self.state.epoch(), self.state.position(), totals, self.written)))
    }

    /// How many records are written.
    pub(crate) fn records(&self) -> u64 {
        self.totals.records
    }

    /// How many there will be.
    pub(crate) fn records_in_all(&self) -> u64 {
        let kept = self.state.buckets().filter(|bucket| !self.volatile.contains(bucket.id()));
        kept.map(|bucket| bucket.len() as u64).sum()
    }

    /// How many bytes are written.
    pub(crate) fn bytes(&self) -> u64 {
        self.written
    }

    fn define(&mut self, from: BucketId) -> io::Result<()> {
        let Some(bucket) = self.state.bucket_from(from) else {
            self.next = Next::Queries(0);
            return Ok(());
        };
        let (id, name, config) = (bucket.id(), bucket.name().clone(), bucket.config().clone());
        let counters = bucket.counters();
        self.totals.buckets += 1;
        self.change(&Change::DefineBucket { bucket: id, name, config })?;
        self.next = if self.volatile.contains(id) {
            Next::Bucket(after(id))
        } else {
            self.change(&Change::Counters { bucket: id, counters })?;
            Next::Rows(id, RowId(0))
        };
        Ok(())
    }

    fn rows(&mut self, bucket: BucketId, from: RowId) {
        let rows = self.state.bucket_by_id(bucket).into_iter().flat_map(|bucket| bucket.records_from(from));
        for (row, record) in rows {
            if self.encoder.bytes.len() >= self.step_bytes {
                self.next = Next::Rows(bucket, row);
                return;
            }
            self.encoder.put(bucket, row, record);
            self.totals.records += 1;
        }
        self.next = Next::Bucket(after(bucket));
    }

    fn queries(&mut self, done: usize) -> io::Result<()> {
        for (number, query) in self.state.queries().enumerate().skip(done) {
            if self.encoder.bytes.len() >= self.step_bytes {
                self.next = Next::Queries(number);
                return Ok(());
            }
            let change = Change::DefineQuery { name: query.name().clone(), config: query.config().clone() };
            self.encoder.change(&change).map_err(io::Error::other)?;
            self.totals.queries += 1;
        }
        self.next = Next::Answers(0);
        Ok(())
    }

    fn answers(&mut self, done: usize) {
        for (number, answer) in self.state.answers().enumerate().skip(done) {
            if self.encoder.bytes.len() >= self.step_bytes {
                self.next = Next::Answers(number);
                return;
            }
            self.encoder.answer(answer, None);
            self.totals.answers += 1;
        }
        self.next = Next::Entries("".into());
    }

    fn entries(&mut self, from: &str) {
        for (key, value) in self.state.entries_from(from) {
            if self.encoder.bytes.len() >= self.step_bytes {
                self.next = Next::Entries(Arc::clone(key));
                return;
            }
            self.encoder.set_entry(key, value);
            self.totals.entries += 1;
        }
        self.next = Next::Totals;
    }

    fn change(&mut self, change: &Change) -> io::Result<()> {
        self.encoder.change(change).map_err(io::Error::other)
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.append(&serde_json::to_vec(value)?)
    }

    fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        self.block.clear();
        let label = Label { position: self.totals.blocks, synced: 0, file: self.number };
        block::write(&mut self.block, label, payload);
        self.file.write_at(self.written, &self.block)?;
        self.written += self.block.len() as u64;
        self.totals.blocks += 1;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced = self.written;
        Ok(())
    }
}

/// The id that follows. The store gives none that has no next one.
fn after(bucket: BucketId) -> BucketId {
    BucketId(bucket.0.saturating_add(1))
}

/// A number that blocks of other files hardly have.
fn file_number(header: &Header) -> u32 {
    let mut text = header.epoch.as_bytes().to_vec();
    text.extend_from_slice(&header.position.to_le_bytes());
    let [a, b, c, d, ..] = checksum::of(&text).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
