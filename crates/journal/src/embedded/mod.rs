//! The durable journal: an embedded fjall database in one directory.
//!
//! The database holds the state, not a log of it: an append writes the rows and definitions the batch leaves behind,
//! together with the new position, as one atomic write of the engine, whose own write-ahead log is what gets synced.
//! So a recovery costs as much as there is data, however long the history was.

mod book;
mod engine;
mod layout;
mod reading;
mod space;
mod stage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use dunlin_store::Snapshot;
use fjall::PersistMode;

use self::book::Book;
use self::engine::Engine;
use self::layout::{EPOCH_KEY, FORMAT, FORMAT_KEY, NEXT_BUCKET_KEY, POSITION_KEY, RowKey};
use self::reading::Meta;
use self::stage::Stage;
use crate::limits::SWEEP_ROWS_PER_APPEND;
use crate::{Batch, Description, Journal, JournalError};

/// What an appended batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: the batch is synced to disk before [`Journal::append`] returns.
    #[default]
    Group,
    /// The end of the process, also by `kill -9`: the operating system has the batch. A power cut or a crash of the
    /// system loses what it had not written yet, some newest commits whole; never a part of one.
    None,
}

/// How to open a [`FjallJournal`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What an appended batch survives.
    pub durability: Durability,
    /// Name of the history if the directory is new; an existing one keeps its own.
    pub new_epoch: String,
}

impl Options {
    /// Both of them.
    pub fn new(durability: Durability, new_epoch: impl Into<String>) -> Self {
        Self { durability, new_epoch: new_epoch.into() }
    }
}

/// The durable journal. See the [crate documentation](crate) for an example.
///
/// One process at a time has a directory open; dropping the journal frees it.
pub struct FjallJournal {
    dir: PathBuf,
    durability: Durability,
    state: Mutex<State>,
}

struct State {
    /// `None` between a failure and the next recovery that succeeds.
    engine: Option<Engine>,
    /// A write failed: what the disk holds is unknown until it is read again.
    in_doubt: bool,
    epoch: String,
    position: u64,
    book: Book,
    /// Where the running sweep goes on. Without it, each chunk would start by skipping all that are already removed.
    swept_to: Option<RowKey>,
}

impl State {
    /// What was just read from an engine in good order.
    fn read(engine: Engine, meta: Meta) -> Self {
        Self {
            engine: Some(engine),
            in_doubt: false,
            epoch: meta.epoch,
            position: meta.position,
            book: meta.book,
            swept_to: None,
        }
    }
}

impl FjallJournal {
    /// Opens the journal in a directory. A missing one is made, an empty one is filled; one that holds anything else is
    /// refused. Rows that a cleared or dropped bucket left behind are removed bit by bit with the following appends.
    ///
    /// # Errors
    /// The directory is in use, not accessible, not ours, damaged, or of a newer format.
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self, JournalError> {
        let dir = dir.as_ref();
        let engine = Engine::open(dir)?;
        let meta = match Meta::read(&engine)? {
            Some(meta) => meta,
            None => found_history(&engine, &options.new_epoch)?,
        };
        tracing::debug!(dir = %dir.display(), position = meta.position, epoch = meta.epoch, "journal opened");
        let state = State::read(engine, meta);
        Ok(Self { dir: dir.to_owned(), durability: options.durability, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A thread panicked within the engine: what it left behind must be read again before it is relied on.
            let mut state = poisoned.into_inner();
            state.in_doubt = true;
            self.state.clear_poison();
            state
        })
    }

    fn persist_mode(&self) -> PersistMode {
        match self.durability {
            // The log file is made long beforehand, and what fdatasync leaves out (times) is not needed to read it.
            Durability::Group => PersistMode::SyncData,
            Durability::None => PersistMode::Buffer,
        }
    }
}

impl Journal for FjallJournal {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        let mut state = self.state();
        // A background thread may have failed since the last append.
        state.in_doubt |= state.engine.as_ref().is_none_or(|engine| !engine.is_healthy());
        if state.in_doubt {
            // The old engine must be gone before the directory can be opened again.
            state.engine = None;
            space::check(&self.dir)?;
        }
        let engine = match state.engine.take() {
            Some(engine) => engine,
            None => Engine::open(&self.dir)?,
        };
        let meta = Meta::read(&engine)?.ok_or_else(|| {
            engine.damaged("keyspace meta", "all data are gone since the journal was opened")
        })?;
        if meta.epoch != state.epoch || meta.position < state.position {
            let reason = format!(
                "it holds position {} of {}, but position {} of {} was stored",
                meta.position, meta.epoch, state.position, state.epoch
            );
            return Err(engine.damaged("keyspace meta", reason));
        }
        let snapshot = meta.restore(&engine)?;
        if state.in_doubt {
            tracing::warn!(dir = %self.dir.display(), position = meta.position, "journal is back in service");
        }
        *state = State::read(engine, meta);
        Ok(snapshot)
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(engine) = state.engine.as_ref().filter(|_| !state.in_doubt) else {
            return Err(JournalError::Poisoned { dir: self.dir.clone() });
        };
        batch.check(&state.epoch, state.position)?;
        let Some(last) = batch.commits.last() else { return Ok(()) };
        let mut writes = Stage::of(batch.commits, &state.book)?;
        let swept_to = sweep(engine, &state.book, state.swept_to, &mut writes).inspect_err(|error| {
            // Nothing was written, but a database that cannot be read is none to write to.
            tracing::error!(code = error.code(), %error, "append failed, the journal is out of service");
            state.in_doubt = true;
        })?;
        let mut engine_batch = engine.batch();
        writes.fill(engine, &mut engine_batch);
        match engine.commit(engine_batch, self.persist_mode()) {
            Ok(()) => {
                let book = writes.into_changed_book();
                state.position = last.position;
                state.swept_to = swept_to;
                if let Some(book) = book {
                    state.book = book;
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(code = error.code(), %error, "append failed, the journal is out of service");
                state.in_doubt = true;
                Err(error)
            }
        }
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        Description {
            kind: "fjall",
            dir: Some(self.dir.clone()),
            durability: match self.durability {
                Durability::Group => "a write is synced to disk before it is answered",
                Durability::None => {
                    "a write is answered before it is synced, a power cut may lose the newest ones"
                }
            },
        }
    }
}

impl fmt::Debug for FjallJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallJournal")
            .field("dir", &self.dir)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// Writes the first keys of a new history. Always synced: whoever learns the epoch must meet it again.
fn found_history(engine: &Engine, epoch: &str) -> Result<Meta, JournalError> {
    let mut batch = engine.batch();
    batch.insert(&engine.meta, FORMAT_KEY, FORMAT.to_string());
    batch.insert(&engine.meta, EPOCH_KEY, epoch);
    batch.insert(&engine.meta, POSITION_KEY, 0_u64.to_be_bytes());
    batch.insert(&engine.meta, NEXT_BUCKET_KEY, 0_u32.to_be_bytes());
    engine.commit(batch, PersistMode::SyncAll)?;
    Meta::read(engine)?.ok_or_else(|| engine.damaged("keyspace meta", "what was just written is not there"))
}

/// Removes some of the rows that earlier batches made unreachable, with the batch that is being staged. Gives back
/// where to go on.
fn sweep(
    engine: &Engine,
    book: &Book,
    from: Option<RowKey>,
    stage: &mut Stage<'_>,
) -> Result<Option<RowKey>, JournalError> {
    let Some(&(bucket, generation)) = book.sweeps.first() else { return Ok(None) };
    let first = RowKey { bucket, generation, row: 0 };
    let start = from.filter(|key| (key.bucket, key.generation) == (bucket, generation)).unwrap_or(first);
    let end = RowKey { row: u64::MAX, ..first };
    let mut next = None;
    for (removed, entry) in engine.rows.range(start.bytes()..=end.bytes()).enumerate() {
        let key = entry.key().map_err(|error| engine.unreadable("keyspace rows", error))?;
        let key =
            RowKey::read(&key).ok_or_else(|| engine.damaged("keyspace rows", "a key has a wrong length"))?;
        if removed == SWEEP_ROWS_PER_APPEND {
            next = Some(key);
            break;
        }
        stage.sweep_row(key);
    }
    if next.is_none() {
        stage.swept(bucket, generation);
    }
    Ok(next)
}
