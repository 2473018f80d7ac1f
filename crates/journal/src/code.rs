//! Commits and states as bytes: the payloads of blocks.
//!
//! Numbers are LEB128 (seven bits a byte, lowest first), texts are UTF-8 behind their length. A commit is its position, its
//! time, and its changes behind their number; a change is a byte for its kind and its fields in the order of
//! [`Change`](dunlin_store::Change). A record is its JSON text; what else it consists of is worked out again from that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dunlin_store::{
    Answer, Body, BucketId, Cause, Change, Commit, Counters, Definition, Record, RowId, Snapshot,
};

const DEFINE_BUCKET: u8 = 0;
const UPDATE_BUCKET: u8 = 1;
const DROP_BUCKET: u8 = 2;
const DEFINE_QUERY: u8 = 3;
const UNDEFINE_QUERY: u8 = 4;
const PUT: u8 = 5;
const REMOVE: u8 = 6;
const CLEAR: u8 = 7;
const COUNTERS: u8 = 8;
const ANSWER: u8 = 9;
const FORGET: u8 = 10;
const SET_ENTRY: u8 = 11;
const REMOVE_ENTRY: u8 = 12;

/// How the body of an answer stands there.
const AS_TEXT: u64 = 0;
/// From this number on: as the record of the change with this number, counted from here.
const AS_RECORD: u64 = 1;

/// Causes of a removal, by their number.
const CAUSES: [Cause; 4] = [Cause::Deleted, Cause::Cascaded, Cause::Expired, Cause::Evicted];

/// Buckets whose records are not kept (`persistent: false`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Volatile(BTreeSet<BucketId>);

impl Volatile {
    /// Those of a state.
    pub(crate) fn of(state: &Snapshot) -> Self {
        let volatile = state.buckets().filter(|bucket| !bucket.definition().is_persistent());
        Self(volatile.map(dunlin_store::Bucket::id).collect())
    }

    pub(crate) fn contains(&self, bucket: BucketId) -> bool {
        self.0.contains(&bucket)
    }

    /// Takes a change of definitions in.
    fn note(&mut self, change: &Change) {
        match change {
            Change::DefineBucket { bucket, name, config } => {
                // Definitions come from the store, which has read them.
                let kept = definition(name, config).is_ok_and(|definition| definition.is_persistent());
                if !kept {
                    self.0.insert(*bucket);
                }
            }
            Change::DropBucket { bucket } => drop(self.0.remove(bucket)),
            _ => {}
        }
    }
}

fn definition(name: &str, config: &str) -> Result<Definition, String> {
    let config = serde_json::from_str(config).map_err(|error| error.to_string())?;
    Definition::parse(name, &config).map_err(|error| error.to_string())
}

/// Bytes in the making.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    /// Appends a commit, without the records of buckets that are not kept.
    ///
    /// # Errors
    /// A sentence, if there is a change that this version cannot store.
    pub(crate) fn commit(&mut self, commit: &Commit, volatile: &mut Volatile) -> Result<(), String> {
        commit.changes.iter().for_each(|change| volatile.note(change));
        let kept = |change: &&Change| match change {
            Change::Put { bucket, .. }
            | Change::Remove { bucket, .. }
            | Change::Clear { bucket }
            | Change::Counters { bucket, .. } => !volatile.contains(*bucket),
            _ => true,
        };
        self.number(commit.position);
        self.number(commit.at);
        self.number(commit.changes.iter().filter(kept).count() as u64);
        for change in commit.changes.iter().filter(kept) {
            match change {
                Change::Answer(answer) => {
                    // The answer to a write of one record is that record: no need to store it twice.
                    let shared =
                        commit.changes.iter().filter(kept).position(|change| answers(change, answer));
                    self.answer(answer, shared);
                }
                change => self.change(change)?,
            }
        }
        Ok(())
    }

    /// Appends a change.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub(crate) fn change(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::DefineBucket { bucket, name, config } => {
                self.head(DEFINE_BUCKET, *bucket);
                self.text(name);
                self.text(config);
            }
            Change::UpdateBucket { bucket, config } => {
                self.head(UPDATE_BUCKET, *bucket);
                self.text(config);
            }
            Change::DropBucket { bucket } => self.head(DROP_BUCKET, *bucket),
            Change::DefineQuery { name, config } => {
                self.bytes.push(DEFINE_QUERY);
                self.text(name);
                self.text(config);
            }
            Change::UndefineQuery { name } => {
                self.bytes.push(UNDEFINE_QUERY);
                self.text(name);
            }
            Change::Put { bucket, row, record } => self.put(*bucket, *row, record),
            Change::Remove { bucket, row, cause } => {
                self.head(REMOVE, *bucket);
                self.number(row.0);
                let number = CAUSES.iter().position(|known| known == cause);
                let number =
                    number.ok_or_else(|| format!("this version cannot store the cause {cause:?}"))?;
                self.number(number as u64);
            }
            Change::Clear { bucket } => self.head(CLEAR, *bucket),
            Change::Counters { bucket, counters } => {
                self.head(COUNTERS, *bucket);
                self.number(counters.next_row);
                self.number(counters.autoincrement);
            }
            Change::Answer(answer) => self.answer(answer, None),
            Change::Forget { until } => {
                self.bytes.push(FORGET);
                self.number(*until);
            }
            Change::Entry { key, value: Some(value) } => self.set_entry(key, value),
            Change::Entry { key, value: None } => {
                self.bytes.push(REMOVE_ENTRY);
                self.text(key);
            }
            other => return Err(format!("this version cannot store {other:?}")),
        }
        Ok(())
    }

    /// Appends a [`Change::Put`].
    pub(crate) fn put(&mut self, bucket: BucketId, row: RowId, record: &Record) {
        self.head(PUT, bucket);
        self.number(row.0);
        self.text(record.json());
    }

    /// Appends a [`Change::Entry`] that writes one.
    pub(crate) fn set_entry(&mut self, key: &str, value: &str) {
        self.bytes.push(SET_ENTRY);
        self.text(key);
        self.text(value);
    }

    /// Appends an answer; its body as the record of the change with this number, if there is one.
    pub(crate) fn answer(&mut self, answer: &Answer, shared: Option<usize>) {
        let Answer { scope, key, fingerprint, position, expires_at, body } = answer;
        self.bytes.push(ANSWER);
        self.text(scope);
        self.text(key);
        self.bytes.extend_from_slice(&fingerprint.to_le_bytes());
        self.number(*position);
        self.number(*expires_at);
        if let Some(index) = shared {
            self.number(AS_RECORD + index as u64);
        } else {
            self.number(AS_TEXT);
            self.text(body.json());
        }
    }

    fn head(&mut self, kind: u8, bucket: BucketId) {
        self.bytes.push(kind);
        self.number(u64::from(bucket.0));
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The seven lowest bits; here and below.
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push((number & 0x7f) as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// Whether a change puts the very record that is the answer.
fn answers(change: &Change, answer: &Answer) -> bool {
    match (change, &answer.body) {
        (Change::Put { record, .. }, Body::Record(body)) => std::ptr::eq(record.json(), body.json()),
        _ => false,
    }
}

/// Takes a payload apart. Whatever does not fit is an error, a sentence.
pub(crate) struct Decoder<'b> {
    rest: &'b [u8],
    /// Definitions that the commit makes itself.
    defined: BTreeMap<BucketId, (Arc<str>, Definition)>,
}

impl<'b> Decoder<'b> {
    pub(crate) fn new(payload: &'b [u8]) -> Self {
        Self { rest: payload, defined: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next commit, which follows `state`.
    pub(crate) fn commit(&mut self, state: &Snapshot) -> Result<Commit, String> {
        self.defined.clear();
        let (position, at, count) = (self.number()?, self.number()?, self.number()?);
        // The count is checked by what is there, not believed.
        let mut changes = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(self.rest.len()));
        for _ in 0..count {
            let change = self.change(state, &changes)?;
            changes.push(change);
        }
        Ok(Commit { position, at, changes })
    }

    /// Passes the next commit by; its position.
    pub(crate) fn skip_commit(&mut self) -> Result<u64, String> {
        let (position, _, count) = (self.number()?, self.number()?, self.number()?);
        for _ in 0..count {
            self.entry()?;
        }
        Ok(position)
    }

    fn change(&mut self, state: &Snapshot, before: &[Change]) -> Result<Change, String> {
        Ok(match self.entry()? {
            Entry::Answer { mut answer, record } => {
                let Some(Change::Put { record, .. }) = before.get(record) else {
                    return Err(format!("an answer is the record of change {record}, which has none"));
                };
                answer.body = Body::Record(record.clone());
                Change::Answer(Arc::new(answer))
            }
            Entry::Put { bucket, row, json } => {
                let defined = self.defined.get(&bucket).map(|(_, definition)| definition);
                let known = || state.bucket_by_id(bucket).map(|bucket| &**bucket.definition());
                let definition =
                    defined.or_else(known).ok_or_else(|| format!("bucket {} does not exist", bucket.0))?;
                Change::Put { bucket, row, record: Record::parse(json, definition)? }
            }
            Entry::Change(change) => {
                match &change {
                    Change::DefineBucket { bucket, name, config } => {
                        self.defined.insert(*bucket, (name.clone(), definition(name, config)?));
                    }
                    Change::UpdateBucket { bucket, config } => {
                        let known = || state.bucket_by_id(*bucket).map(|bucket| bucket.name().clone());
                        let name = self.defined.get(bucket).map(|(name, _)| name.clone()).or_else(known);
                        let name = name.ok_or_else(|| format!("bucket {} does not exist", bucket.0))?;
                        let definition = definition(&name, config)?;
                        self.defined.insert(*bucket, (name, definition));
                    }
                    _ => {}
                }
                change
            }
        })
    }

    /// The next change; a record is left as text.
    pub(crate) fn entry(&mut self) -> Result<Entry<'b>, String> {
        Ok(Entry::Change(match self.byte()? {
            DEFINE_BUCKET => Change::DefineBucket {
                bucket: self.bucket()?,
                name: self.text()?.into(),
                config: self.text()?.into(),
            },
            UPDATE_BUCKET => Change::UpdateBucket { bucket: self.bucket()?, config: self.text()?.into() },
            DROP_BUCKET => Change::DropBucket { bucket: self.bucket()? },
            DEFINE_QUERY => Change::DefineQuery { name: self.text()?.into(), config: self.text()?.into() },
            UNDEFINE_QUERY => Change::UndefineQuery { name: self.text()?.into() },
            PUT => {
                let (bucket, row, json) = (self.bucket()?, RowId(self.number()?), self.text()?);
                return Ok(Entry::Put { bucket, row, json });
            }
            REMOVE => {
                let (bucket, row, cause) = (self.bucket()?, RowId(self.number()?), self.number()?);
                let known = usize::try_from(cause).ok().and_then(|number| CAUSES.get(number));
                let cause = *known.ok_or_else(|| format!("there is no cause {cause}"))?;
                Change::Remove { bucket, row, cause }
            }
            CLEAR => Change::Clear { bucket: self.bucket()? },
            COUNTERS => {
                let (bucket, next_row, autoincrement) = (self.bucket()?, self.number()?, self.number()?);
                Change::Counters { bucket, counters: Counters { next_row, autoincrement } }
            }
            ANSWER => {
                let mut answer = Answer {
                    scope: self.text()?.into(),
                    key: self.text()?.into(),
                    fingerprint: u64::from_le_bytes(self.array()?),
                    position: self.number()?,
                    expires_at: self.number()?,
                    body: Body::Text(Arc::from("")),
                };
                match self.number()? {
                    AS_TEXT => answer.body = Body::Text(self.text()?.into()),
                    shared => {
                        let record = usize::try_from(shared - AS_RECORD).unwrap_or(usize::MAX);
                        return Ok(Entry::Answer { answer, record });
                    }
                }
                Change::Answer(Arc::new(answer))
            }
            FORGET => Change::Forget { until: self.number()? },
            SET_ENTRY => Change::Entry { key: self.text()?.into(), value: Some(self.text()?.into()) },
            REMOVE_ENTRY => Change::Entry { key: self.text()?.into(), value: None },
            kind => return Err(format!("there is no change of kind {kind}")),
        }))
    }

    fn bucket(&mut self) -> Result<BucketId, String> {
        let id = self.number()?;
        u32::try_from(id).map(BucketId).map_err(|_| format!("{id} is no bucket id"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (array, rest) = self.rest.split_first_chunk().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too large".into())
    }

    fn text(&mut self) -> Result<&'b str, String> {
        let length = usize::try_from(self.number()?).map_err(|error| error.to_string())?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or("a text ends too early")?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|error| error.to_string())
    }
}

/// A change as it was read.
pub(crate) enum Entry<'b> {
    /// [`Change::Put`], its record not looked at yet.
    Put { bucket: BucketId, row: RowId, json: &'b str },
    /// [`Change::Answer`], its body the record of an earlier change of the same commit.
    Answer { answer: Answer, record: usize },
    /// Any other.
    Change(Change),
}
