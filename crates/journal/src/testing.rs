//! What the tests of both journals share: a small world that writes, and a picture of a state that can be compared.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_store::{Commit, Context, FACTS, IdSource, Intent, Snapshot, SystemRecord, SystemWrite};
use serde_json::{Map, Value, json};

use crate::disk::{Disk, DiskFile};
use crate::{Batch, Journal, JournalError};

/// Ids in sequence.
struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// A writer with its state.
pub(crate) struct Writer {
    pub(crate) state: Snapshot,
    ids: Ids,
    now: u64,
}

impl Writer {
    pub(crate) fn new(state: Snapshot) -> Self {
        Self { state, ids: Ids(0), now: 1_000 }
    }

    /// Carries an intent out; `None` if the store refuses it or nothing changes.
    pub(crate) fn commit(&mut self, intent: Intent) -> Option<Commit> {
        self.now += 1;
        self.state.execute(intent, &mut Context::new(self.now, &mut self.ids)).ok()?.commit
    }

    /// All of the intents as one batch.
    pub(crate) fn write(
        &mut self,
        journal: &dyn Journal,
        intents: impl IntoIterator<Item = Intent>,
    ) -> Result<(), JournalError> {
        let commits: Vec<Commit> = intents.into_iter().filter_map(|intent| self.commit(intent)).collect();
        journal.append(Batch { commits: &commits, next: &self.state })
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

pub(crate) fn define(name: &str) -> Intent {
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"},
        "no": {"type": "number", "generated": "autoincrement"}}, "indexes": ["n"]});
    Intent::DefineBucket { name: name.into(), config: object(config) }
}

pub(crate) fn insert(bucket: &str, id: &str, n: i64) -> Intent {
    Intent::Insert { bucket: bucket.into(), data: object(json!({"id": id, "n": n})) }
}

/// Writes an entry, or removes it.
pub(crate) fn entry(key: &str, value: Option<&str>) -> Intent {
    let entries = vec![(key.into(), value.map(Into::into))];
    Intent::System(SystemWrite { entries, ..SystemWrite::default() })
}

/// Sets a fact, or removes it.
pub(crate) fn fact(key: &str, value: Option<Value>) -> Intent {
    let data = value.map(|value| object(json!({"key": key, "value": value})));
    let records = vec![SystemRecord { bucket: FACTS, key: key.into(), data }];
    Intent::System(SystemWrite { records, ..SystemWrite::default() })
}

/// Everything a state holds, as text.
pub(crate) fn picture(state: &Snapshot) -> String {
    let mut lines =
        vec![format!("{} at {}, next bucket {}", state.epoch(), state.position(), state.next_bucket())];
    for bucket in state.buckets() {
        lines.push(format!(
            "{:?} {} {} {:?}",
            bucket.id(),
            bucket.name(),
            bucket.config(),
            bucket.counters()
        ));
        lines.extend(bucket.rows().map(|(row, record)| format!("  {} {}", row.0, record.json())));
    }
    lines.extend(state.queries().map(|query| format!("query {} {}", query.name(), query.config())));
    lines.extend(state.answers().map(|answer| {
        let (until, json) = (answer.expires_at, answer.body.json());
        format!(
            "answer {} {} {} {} {until} {json}",
            answer.scope, answer.key, answer.fingerprint, answer.position
        )
    }));
    lines.extend(state.entries("").map(|(key, value)| format!("entry {key} {value}")));
    lines.join("\n")
}

/// A directory in memory, where everything goes well.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<BTreeMap<String, MemoryFile>>>);

/// A file in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryDisk {
    fn names<T>(&self, with: impl FnOnce(&mut BTreeMap<String, MemoryFile>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a file holds.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.names(|files| files[name].with(|bytes| bytes.clone()))
    }
}

impl MemoryFile {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    fn with<T>(&self, with: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Disk for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names(|files| files.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = MemoryFile::default();
        self.names(|files| files.insert(name.to_owned(), file.clone()));
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.names(|files| files.get(name).cloned());
        file.map(|file| Box::new(file) as _).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.names(|files| files.remove(from)).ok_or(io::ErrorKind::NotFound)?;
        self.names(|files| files.insert(to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.names(|files| files.remove(name)).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|bytes| {
            let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (start, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset).unwrap() + data.len());
        self.with(|bytes| {
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        });
        Ok(())
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        self.with(|bytes| bytes.resize(bytes.len().max(size), 0));
        Ok(())
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        self.with(|bytes| bytes.truncate(usize::try_from(size).unwrap()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
