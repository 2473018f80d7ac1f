//! The durable journal on any [`Disk`]: a log, and images of the state that make the log short.
//!
//! It has no thread and no clock of its own: [`tend`](DiskJournal::tend) does the background work in bounded steps, and whoever
//! owns the journal calls it. What the files are and why a crash loses nothing is told in `docs/durability.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_store::Snapshot;

use crate::block::Mending;
use crate::code::{Encoder, Volatile};
use crate::disk::Disk;
use crate::image::ImageWriter;
use crate::limits::KEPT_BUFFER_BYTES;
use crate::log::{self, LogFile, Title};
use crate::names::{self, FORMAT_FILE, UNFINISHED};
use crate::options::{Durability, Options, Sizes};
use crate::recent::Past;
use crate::recovery::{self, Recovered, Tail};
use crate::synced::SyncedFile;
use crate::{Batch, Description, Figures, Journal, JournalError};

/// The durable journal on any disk. See the module's documentation; [`FileJournal`](crate::FileJournal) is this one on a directory
/// of the operating system, with a thread that tends it.
///
/// ```
/// use std::sync::Arc;
/// use dunlin_journal::disk::LocalDisk;
/// use dunlin_journal::{DiskJournal, Durability, Journal, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let disk = Arc::new(LocalDisk::new(dir.path()));
/// let journal = DiskJournal::open(disk, &Options::new(Durability::Group, "epoch-1"))?;
/// assert_eq!(journal.recover()?.position(), 0);
/// assert!(!journal.tend()?, "there is nothing to do");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DiskJournal {
    disk: Arc<dyn Disk>,
    durability: Durability,
    sizes: Sizes,
    state: Mutex<State>,
    /// The image in the making. Apart, so that nobody who appends waits for it.
    making: Mutex<Option<Making>>,
    /// Whom to tell of a failed sync.
    tell: Mutex<Option<Tell>>,
}

type Tell = Box<dyn Fn() + Send + Sync>;

struct State {
    /// What is acknowledged.
    newest: Snapshot,
    /// Where batches go. What stands behind its end is not known while the journal is out of service.
    log: LogFile,
    in_service: bool,
    /// The newest position that is known to be on disk.
    synced: u64,
    synced_file: SyncedFile,
    volatile: Volatile,
    /// The next batch goes into a new file.
    roll: bool,
    /// What log files there are, by their first position; the last one is written to.
    logs: BTreeSet<u64>,
    images: BTreeSet<u64>,
    image_bytes: u64,
    /// Bytes of log behind the newest image.
    log_bytes: u64,
    /// Images written, and not written, since it was opened.
    images_made: u64,
    image_failures: u64,
    past: Option<Past>,
    /// Where batches are encoded.
    buffer: Vec<u8>,
}

struct Making {
    writer: ImageWriter,
    position: u64,
    /// Bytes of log that it makes superfluous.
    log_bytes: u64,
}

/// Files that an image makes superfluous.
struct Replaced {
    /// Log files, by their first position.
    logs: Vec<u64>,
    images: Vec<u64>,
}

impl DiskJournal {
    /// Opens the journal on a disk, or begins a history if there is none.
    ///
    /// # Errors
    /// The disk cannot be read or written, or holds what is damaged, of a newer format or not ours.
    pub fn open(disk: Arc<dyn Disk>, options: &Options) -> Result<Self, JournalError> {
        let state = match recovery::read(&*disk, options.recent)? {
            Some(recovered) => State::resume(&*disk, recovered, &options.sizes),
            None => State::begin(&*disk, &options.new_epoch, &options.sizes),
        };
        let state = state.map_err(|error| JournalError::from_io("open", disk.dir(), error))?;
        Ok(Self {
            disk,
            durability: options.durability,
            sizes: options.sizes,
            state: Mutex::new(state),
            making: Mutex::new(None),
            tell: Mutex::new(None),
        })
    }

    /// Whether [`tend`](Self::tend) has something to do.
    pub fn is_due(&self) -> bool {
        let state = self.state();
        state.in_service && state.is_long(&self.sizes)
    }

    /// Does some background work: writes a part of an image, or what follows when it is whole. `true` if there is more to do.
    ///
    /// # Errors
    /// The image could not be written; it is given up, and begun anew with the next call. Writing the log is not concerned.
    pub fn tend(&self) -> Result<bool, JournalError> {
        let done = self.work_on_image();
        if done.is_err() {
            self.state().image_failures += 1;
        }
        done
    }

    fn work_on_image(&self) -> Result<bool, JournalError> {
        let mut making = self.making();
        if making.is_none() {
            *making = self.begin_image()?;
        }
        let Some(image) = making.as_mut() else { return Ok(false) };
        let done = match image.writer.step() {
            Ok(None) => return Ok(true),
            Ok(Some(summary)) => self.finish_image(image, summary.bytes),
            Err(error) => Err(error),
        };
        let position = image.position;
        *making = None;
        drop(making);
        match done {
            Ok(()) => Ok(self.state().is_long(&self.sizes)),
            Err(error) => {
                // If that fails too, the next image of this position or the next start takes care of it.
                let _ = self.disk.remove(&unfinished(position));
                Err(self.failed("write an image to")(error))
            }
        }
    }

    /// Makes durable what was appended. Only [`Durability::Interval`] and [`Durability::None`] leave anything to do.
    ///
    /// # Errors
    /// As for [`append`](Journal::append): the journal is out of service then.
    pub fn sync(&self) -> Result<(), JournalError> {
        let mut state = self.state();
        let position = state.newest.position();
        if !state.in_service || state.synced >= position {
            return Ok(());
        }
        match state.log.sync() {
            Ok(()) => {
                state.note_synced(position);
                Ok(())
            }
            Err(error) => {
                let error = self.out_of_service(&mut state, error);
                drop(state);
                if let Some(tell) = &*self.tell.lock().unwrap_or_else(PoisonError::into_inner) {
                    tell();
                }
                Err(error)
            }
        }
    }

    /// Bytes of the newest image, and of the log behind it.
    pub fn sizes(&self) -> (u64, u64) {
        let state = self.state();
        (state.image_bytes, state.log_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A thread panicked in the middle of an append: what stands behind the end of the log is not known.
            let mut state = poisoned.into_inner();
            state.in_service = false;
            self.state.clear_poison();
            state
        })
    }

    fn making(&self) -> MutexGuard<'_, Option<Making>> {
        self.making.lock().unwrap_or_else(|poisoned| {
            let mut making = poisoned.into_inner();
            *making = None;
            self.making.clear_poison();
            making
        })
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> JournalError {
        move |error| JournalError::from_io(action, self.disk.dir(), error)
    }

    fn out_of_service(&self, state: &mut State, error: io::Error) -> JournalError {
        state.in_service = false;
        let error = self.failed("write to")(error);
        tracing::error!(code = error.code(), %error, "the journal is out of service");
        error
    }

    /// Begins an image of the newest state if the log has become long.
    fn begin_image(&self) -> Result<Option<Making>, JournalError> {
        let mut state = self.state();
        if !state.in_service || !state.is_long(&self.sizes) {
            return Ok(None);
        }
        if state.images.last() == Some(&state.newest.position()) {
            // A log file that the image replaces was still there at the start. The next image removes it.
            state.log_bytes = 0;
            return Ok(None);
        }
        // What comes from now on goes into a new file, so that those before can be removed whole.
        state.roll = true;
        let (snapshot, log_bytes) = (state.newest.clone(), state.log_bytes);
        drop(state);
        self.image_of(snapshot, log_bytes).map(Some).map_err(self.failed("write an image to"))
    }

    fn image_of(&self, state: Snapshot, log_bytes: u64) -> io::Result<Making> {
        let position = state.position();
        let writer =
            ImageWriter::with_steps(&*self.disk, &unfinished(position), state, self.sizes.step_bytes)?;
        Ok(Making { writer, position, log_bytes })
    }

    /// The image is whole and on disk: it gets its name, and what it replaces goes. The state is only held for moments, so that
    /// nobody who appends waits for the directory.
    fn finish_image(&self, image: &Making, bytes: u64) -> io::Result<()> {
        if self.state().images.last().is_some_and(|newest| *newest >= image.position) {
            return self.remove(&unfinished(image.position));
        }
        self.name_image(image.position)?;
        let mut state = self.state();
        state.image_made(image, bytes);
        let replaced = state.replaced_by(image.position);
        drop(state);
        self.remove_replaced(&replaced)?;
        self.state().forget(&replaced);
        Ok(())
    }

    fn name_image(&self, position: u64) -> io::Result<()> {
        self.disk.rename(&unfinished(position), &names::image(position))?;
        self.disk.sync_names()
    }

    fn remove_replaced(&self, replaced: &Replaced) -> io::Result<()> {
        let logs = replaced.logs.iter().map(|first| names::log(*first));
        let images = replaced.images.iter().map(|position| names::image(*position));
        logs.chain(images).try_for_each(|name| self.remove(&name))
    }

    /// Removes a file; one that an earlier attempt removed, though it failed, is gone as well.
    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Brings the journal back into service after a failure: what stands behind the last acknowledged byte is cut off, and the
    /// log goes on in a new file.
    fn repair(&self, state: &mut State) -> io::Result<()> {
        let position = state.newest.position();
        let title = Title::new(state.newest.epoch(), position + 1);
        if state.synced < position {
            // Some of what was acknowledged may have got lost with a sync that failed. All of it is in memory; when that is on
            // disk as an image, nothing of the log is needed.
            let mut image = self.image_of(state.newest.clone(), state.log_bytes)?;
            let summary = loop {
                if let Some(summary) = image.writer.step()? {
                    break summary;
                }
            };
            // It has its name before there is another log file: until then this one is the last, and what stands behind its end
            // is only the end of a log that was torn.
            self.name_image(position)?;
            state.image_made(&image, summary.bytes);
            // The log goes on behind the image, so that all its files so far can go.
            state.begin_log(&*self.disk, &title, &self.sizes)?;
            let replaced = state.replaced_by(position);
            match self.remove_replaced(&replaced) {
                Ok(()) => state.forget(&replaced),
                // Only space is lost by that, until the next image or the next start.
                Err(error) => tracing::debug!(%error, "what the image replaces could not be removed"),
            }
        } else {
            if state.log.first() <= position {
                log::cut(&*self.disk, &names::log(state.log.first()), state.log.end())?;
            }
            state.begin_log(&*self.disk, &title, &self.sizes)?;
        }
        state.volatile = Volatile::of(&state.newest);
        state.in_service = true;
        Ok(())
    }

    /// Writes a batch; how it went is told by the error, and whether it counts by the caller.
    fn write(&self, state: &mut State, batch: Batch<'_>, payload: &[u8]) -> io::Result<()> {
        let (Some(first), last) = (batch.commits.first(), batch.next.position()) else { return Ok(()) };
        if state.roll || state.log.end() >= self.sizes.file_bytes {
            state.roll(&*self.disk, &self.sizes)?;
        }
        let end = state.log.end();
        let written = state.log.write(first.position, state.synced, payload, self.sizes.reserve_bytes)?;
        if self.durability == Durability::Group {
            state.log.sync()?;
            state.note_synced(last);
        }
        state.log.keep(written);
        state.log_bytes += state.log.end() - end;
        Ok(())
    }
}

impl State {
    /// Begins a history on an empty disk.
    fn begin(disk: &dyn Disk, epoch: &str, sizes: &Sizes) -> io::Result<Self> {
        let draft = format!("{FORMAT_FILE}{UNFINISHED}");
        let format = disk.create(&draft)?;
        format.write_at(0, names::format_line().as_bytes())?;
        format.sync()?;
        disk.rename(&draft, FORMAT_FILE)?;
        // Before anything else is there, which would be taken for data of somebody else without it.
        disk.sync_names()?;
        let synced_file = SyncedFile::open(disk)?;
        let log = LogFile::create(disk, &Title::new(epoch, 1), 0, sizes.reserve_bytes)?;
        Ok(Self::new(Snapshot::new(epoch), log, synced_file))
    }

    /// Goes on with what was read, when everything that has to be done about it is done and on disk.
    fn resume(disk: &dyn Disk, recovered: Recovered, sizes: &Sizes) -> io::Result<Self> {
        for (name, Mending { offset, bytes }) in &recovered.mended {
            tracing::warn!(file = name, byte = offset, "a damaged byte was mended");
            let file = disk.open(name)?;
            file.write_at(*offset, bytes)?;
            file.sync()?;
        }
        if !recovered.useless.is_empty() {
            // What replaces it may have got its name a moment before the process was killed, and nobody has synced that.
            disk.sync_names()?;
        }
        for name in &recovered.useless {
            disk.remove(name)?;
        }
        let position = recovered.state.position();
        let log = if let Some(Tail { title, end, size, unproven, .. }) = recovered.tail {
            let file = disk.open(&names::log(title.position))?;
            if size > end {
                file.cut(end)?;
            }
            // It may have been written and not synced when the process was killed; now it is going to be seen. Written once
            // more, as an earlier process may have tried to sync it in vain: systems do not try that again.
            log::rewrite(&*file, unproven, end)?;
            file.sync()?;
            disk.sync_names()?;
            LogFile::resume(file, &title, end)
        } else {
            let title = Title::new(recovered.state.epoch(), position + 1);
            LogFile::create(disk, &title, position, sizes.reserve_bytes)?
        };
        let mut state = Self::new(recovered.state, log, SyncedFile::open(disk)?);
        state.logs.extend(recovered.logs);
        state.images.extend(recovered.image);
        state.image_bytes = recovered.image_bytes;
        state.log_bytes = recovered.log_bytes;
        state.past = recovered.past;
        state.note_synced(position);
        Ok(state)
    }

    fn new(newest: Snapshot, log: LogFile, synced_file: SyncedFile) -> Self {
        Self {
            volatile: Volatile::of(&newest),
            synced: newest.position(),
            newest,
            in_service: true,
            synced_file,
            roll: false,
            logs: BTreeSet::from([log.first()]),
            log,
            images: BTreeSet::new(),
            image_bytes: 0,
            log_bytes: 0,
            images_made: 0,
            image_failures: 0,
            past: None,
            buffer: Vec::new(),
        }
    }

    /// Goes on in a new file, when the one before is whole and on disk.
    fn roll(&mut self, disk: &dyn Disk, sizes: &Sizes) -> io::Result<()> {
        self.roll = false;
        let position = self.newest.position();
        if self.log.first() > position {
            return Ok(());
        }
        if self.synced < position {
            self.log.sync()?;
            self.note_synced(position);
        }
        // Space that was taken ahead; if it is not given back, zeros stand there.
        if let Err(error) = self.log.release() {
            tracing::debug!(%error, "space taken ahead could not be given back");
        }
        self.begin_log(disk, &Title::new(self.newest.epoch(), position + 1), sizes)
    }

    fn begin_log(&mut self, disk: &dyn Disk, title: &Title, sizes: &Sizes) -> io::Result<()> {
        self.log = LogFile::create(disk, title, self.synced, sizes.reserve_bytes)?;
        self.logs.insert(title.position);
        self.roll = false;
        Ok(())
    }

    /// There is an image, with its name.
    fn image_made(&mut self, image: &Making, bytes: u64) {
        self.images.insert(image.position);
        self.images_made += 1;
        self.image_bytes = bytes;
        self.log_bytes = self.log_bytes.saturating_sub(image.log_bytes);
    }

    /// What the image of a position makes superfluous.
    fn replaced_by(&self, image: u64) -> Replaced {
        // Log files whose successor begins with the image at the latest, so never the one that is written to.
        let pairs = self.logs.iter().zip(self.logs.iter().skip(1));
        Replaced {
            logs: pairs.filter(|(_, next)| **next <= image + 1).map(|(first, _)| *first).collect(),
            images: self.images.range(..image).copied().collect(),
        }
    }

    /// These files are gone.
    fn forget(&mut self, replaced: &Replaced) {
        self.logs.retain(|first| !replaced.logs.contains(first));
        self.images.retain(|position| !replaced.images.contains(position));
    }

    fn note_synced(&mut self, position: u64) {
        self.synced = position;
        // It is a lower bound; if it cannot be written, the one before holds.
        if let Err(error) = self.synced_file.note(position) {
            tracing::debug!(%error, "the synced position could not be noted");
        }
    }

    /// Whether it is time for an image.
    fn is_long(&self, sizes: &Sizes) -> bool {
        self.log_bytes > sizes.log_bytes.max(self.image_bytes / 2)
    }
}

impl Journal for DiskJournal {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        let mut state = self.state();
        if !state.in_service {
            self.repair(&mut state).map_err(self.failed("write to"))?;
            let position = state.newest.position();
            tracing::warn!(dir = %self.disk.dir().display(), position, "journal is back in service");
        }
        Ok(state.newest.clone())
    }

    fn take_past(&self) -> Option<Past> {
        self.state().past.take()
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.in_service {
            return Err(JournalError::Poisoned { dir: self.disk.dir().to_owned() });
        }
        batch.check(state.newest.epoch(), state.newest.position())?;
        let mut encoder = Encoder { bytes: std::mem::take(&mut state.buffer) };
        encoder.bytes.clear();
        for commit in batch.commits {
            if let Err(reason) = encoder.commit(commit, &mut state.volatile) {
                state.volatile = Volatile::of(&state.newest);
                return Err(JournalError::Contradiction { position: commit.position, reason });
            }
        }
        if let Err(error) = self.write(state, batch, &encoder.bytes) {
            return Err(self.out_of_service(state, error));
        }
        state.newest = batch.next.clone();
        if encoder.bytes.capacity() <= KEPT_BUFFER_BYTES {
            state.buffer = encoder.bytes;
        }
        Ok(())
    }

    fn when_failed(&self, tell: Tell) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    fn figures(&self) -> Figures {
        let state = self.state();
        Figures {
            image_bytes: state.image_bytes,
            log_bytes: state.log_bytes,
            images: state.images_made,
            image_failures: state.image_failures,
        }
    }

    fn blocks(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        Description {
            kind: "disk",
            dir: Some(self.disk.dir().to_owned()),
            durability: self.durability.in_words(),
        }
    }
}

impl fmt::Debug for DiskJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskJournal")
            .field("disk", &self.disk)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

fn unfinished(position: u64) -> String {
    names::image(position) + UNFINISHED
}
