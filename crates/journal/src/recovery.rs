//! Reading a data directory: the newest image and the commits behind it. Nothing is changed here; what has to be (torn ends to
//! be cut, mended bytes to be written back, files to be removed) is told to the caller.

use std::collections::BTreeSet;
use std::io;

use dunlin_store::Snapshot;

use crate::block::{Block, Found, Mending, Reader};
use crate::code::Decoder;
use crate::disk::Disk;
use crate::image;
use crate::log::Title;
use crate::names::{self, FORMAT, FORMAT_FILE, Named, OLDEST_FORMAT, UNFINISHED};
use crate::recent::{Past, Recent};
use crate::{JournalError, synced};

/// What was found, and what is to be done about it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) state: Snapshot,
    pub(crate) past: Option<Past>,
    pub(crate) image: Option<u64>,
    /// Log files that are of use.
    pub(crate) logs: BTreeSet<u64>,
    /// Bytes of the image that it was read from.
    pub(crate) image_bytes: u64,
    /// Bytes of the log behind it.
    pub(crate) log_bytes: u64,
    /// The newest log file, its end, and how long the file is.
    pub(crate) tail: Option<Tail>,
    pub(crate) mended: Vec<(String, Mending)>,
    /// Files that are of no use any more.
    pub(crate) useless: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) title: Title,
    pub(crate) end: u64,
    pub(crate) size: u64,
    /// From here on it may not be on disk.
    pub(crate) unproven: u64,
    /// The commit that comes next in it.
    next: u64,
}

/// Which files there are.
struct Files {
    logs: BTreeSet<u64>,
    images: BTreeSet<u64>,
    unfinished: Vec<String>,
}

impl Files {
    fn list(disk: &dyn Disk) -> io::Result<Self> {
        let mut files = Self { logs: BTreeSet::new(), images: BTreeSet::new(), unfinished: Vec::new() };
        for name in disk.names()? {
            match names::read(&name) {
                Some(Named::Log(first)) => drop(files.logs.insert(first)),
                Some(Named::Image(position)) => drop(files.images.insert(position)),
                None if name.ends_with(UNFINISHED) => files.unfinished.push(name),
                None => {}
            }
        }
        Ok(files)
    }
}

/// Reads the directory; `None` if it holds no history yet.
pub(crate) fn read(disk: &dyn Disk, recent: usize) -> Result<Option<Recovered>, JournalError> {
    let reading = Reading { disk };
    let format = reading.format()?;
    let is_new = format == FormatLine::Missing;
    // Before the log: while a server writes, the log may only get longer.
    let synced = synced::read(disk).map_err(reading.failed())?;
    let files = Files::list(disk).map_err(reading.failed())?;
    let synced = known_on_disk(synced, files.logs.iter().copied());
    if is_new {
        let strangers = !files.logs.is_empty() || !files.images.is_empty();
        let missing = || reading.damaged(FORMAT_FILE, "it is missing");
        return if strangers { Err(missing()) } else { Ok(None) };
    }
    let found = reading.history(&files, synced, recent)?;
    Ok(found.map(|mut found| {
        if format == FormatLine::Damaged {
            let mending = Mending { offset: 0, bytes: names::format_line().into_bytes() };
            found.mended.push((FORMAT_FILE.to_owned(), mending));
        }
        found
    }))
}

/// The newest position that must be on disk, by the file `synced` and by the log files: each gets its name when all that comes before
/// it is on disk.
pub(crate) fn known_on_disk(synced: u64, logs: impl Iterator<Item = u64>) -> u64 {
    logs.max().map_or(synced, |first| synced.max(first.saturating_sub(1)))
}

/// What the file `FORMAT` is like, if it is of a format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormatLine {
    Missing,
    Right,
    /// One byte is wrong.
    Damaged,
}

struct Reading<'d> {
    disk: &'d dyn Disk,
}

impl Reading<'_> {
    fn failed(&self) -> impl Fn(io::Error) -> JournalError {
        |error| JournalError::from_io("read", self.disk.dir(), error)
    }

    fn damaged(&self, place: impl Into<String>, reason: impl Into<String>) -> JournalError {
        JournalError::Damaged { dir: self.disk.dir().to_owned(), place: place.into(), reason: reason.into() }
    }

    /// Checks the format.
    fn format(&self) -> Result<FormatLine, JournalError> {
        let file = match self.disk.open(FORMAT_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FormatLine::Missing),
            Err(error) => return Err(self.failed()(error)),
        };
        let mut bytes = [0; 64];
        let length = file.read_at(0, &mut bytes).map_err(self.failed())?;
        let bytes = bytes.get(..length).unwrap_or_default();
        let (text, right) = (String::from_utf8_lossy(bytes), names::format_line());
        match names::format_of(&text) {
            Some(format) => self.check_format(format).map(|()| FormatLine::Right),
            // The line is known, so that one wrong byte of it is as good as none.
            None if differs_in_one_byte(bytes, right.as_bytes()) => Ok(FormatLine::Damaged),
            None => Err(self.damaged(FORMAT_FILE, format!("it says {text:?}, not {right:?}"))),
        }
    }

    fn check_format(&self, format: u32) -> Result<(), JournalError> {
        if (OLDEST_FORMAT..=FORMAT).contains(&format) {
            return Ok(());
        }
        Err(JournalError::Format {
            dir: self.disk.dir().to_owned(),
            found: format.to_string(),
            supported: FORMAT.to_string(),
        })
    }

    /// The newest image that is whole, and what follows it.
    fn history(&self, files: &Files, synced: u64, recent: usize) -> Result<Option<Recovered>, JournalError> {
        let newest = files.images.last().copied();
        let mut fault = None;
        for position in files.images.iter().rev() {
            let name = names::image(*position);
            let file = self.disk.open(&name).map_err(self.failed())?;
            let read = image::read(&*file, &name);
            let image = match read.map_err(|fault| fault.into_error(self.disk.dir())) {
                Ok(image) if image.snapshot.position() == *position => image,
                Ok(_) => return Err(self.damaged(name, "it is the image of another position")),
                Err(error @ JournalError::Damaged { .. }) => {
                    // An older one may not have been removed yet, and the log behind it neither.
                    tracing::warn!(%error, "an image cannot be read");
                    fault = fault.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let begin = Begin {
                mended: image.mended.into_iter().map(|mending| (name.clone(), mending)).collect(),
                bytes: file.size().map_err(self.failed())?,
                state: image.snapshot,
            };
            return match (self.log(files, begin, synced, recent), fault) {
                (Ok(found), Some(fault)) if Some(found.state.position()) < newest => Err(fault),
                (Ok(found), _) => Ok(Some(found)),
                (Err(error), fault) => Err(fault.unwrap_or(error)),
            };
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        match files.logs.first() {
            None if synced > 0 => Err(self.damaged("the directory", "all log files and images are missing")),
            None => Ok(None),
            Some(first) => match self.title(*first)? {
                Some((title, _)) => {
                    let begin =
                        Begin { state: Snapshot::new(title.epoch.as_str()), bytes: 0, mended: Vec::new() };
                    self.log(files, begin, synced, recent).map(Some)
                }
                // A crash while the directory was made.
                None if synced == 0 && files.logs.len() == 1 => Ok(None),
                None => {
                    Err(self
                        .damaged(format!("{}, byte 0", names::log(*first)), "its first block cannot be read"))
                }
            },
        }
    }

    /// What the first block of a log file says, and where it ends; `None` if it cannot be read and nothing is behind it.
    fn title(&self, first: u64) -> Result<Option<(Title, u64)>, JournalError> {
        let name = names::log(first);
        let file = self.disk.open(&name).map_err(self.failed())?;
        let mut reader = Reader::new(&*file).map_err(self.failed())?;
        match reader.next().map_err(self.failed())? {
            Found::Block(block) => Ok(Some((self.read_title(&name, first, &block)?, block.end))),
            Found::End | Found::Broken { .. } => match reader.find(1, |_| true).map_err(self.failed())? {
                None => Ok(None),
                Some(_) => Err(self.damaged(format!("{name}, byte 0"), "its first block cannot be read")),
            },
        }
    }

    fn read_title(&self, name: &str, first: u64, block: &Block) -> Result<Title, JournalError> {
        let place = || format!("{name}, byte {}", block.offset);
        let title: Title = serde_json::from_slice(&block.payload)
            .map_err(|error| self.damaged(place(), format!("its first block cannot be read: {error}")))?;
        self.check_format(title.format)?;
        if !title.is_for(first) || block.label.file != title.number() {
            return Err(self.damaged(place(), "its first block belongs to another file"));
        }
        Ok(title)
    }

    /// Applies the commits behind a state.
    fn log(
        &self,
        files: &Files,
        begin: Begin,
        synced: u64,
        recent: usize,
    ) -> Result<Recovered, JournalError> {
        let image = begin.state.position();
        // The file that holds the first commit behind the image, or that is empty so far.
        let start = files.logs.range(..=image + 1).next_back().copied();
        let useful: Vec<u64> = files.logs.range(start.unwrap_or(0)..).copied().collect();
        let mut found = Recovered {
            past: None,
            image: (begin.bytes > 0).then_some(image),
            logs: useful.iter().copied().collect(),
            image_bytes: begin.bytes,
            log_bytes: 0,
            tail: None,
            mended: begin.mended,
            useless: files.unfinished.clone(),
            state: begin.state,
        };
        let mut recent = Recent::new(recent, synced);
        if let Some(first) = useful.first().filter(|first| **first > image + 1) {
            let reason = format!("commit {} before it is missing", image + 1);
            return Err(self.damaged(names::log(*first), reason));
        }
        for (index, first) in useful.iter().enumerate() {
            let last = index + 1 == useful.len();
            self.log_file(*first, last, synced, &mut found, &mut recent)?;
            let position = found.state.position();
            if let Some(next) = useful.get(index + 1).filter(|next| **next != position + 1) {
                let name = names::log(*next);
                return Err(self.damaged(name, format!("commit {} before it is missing", position + 1)));
            }
        }
        if found.state.position() < synced {
            let reason = format!(
                "commits {} to {synced} were acknowledged and are not there",
                found.state.position() + 1
            );
            let end = found.tail.as_ref().map_or_else(
                || "the directory".to_owned(),
                |tail| format!("{}, byte {}", names::log(tail.title.position), tail.end),
            );
            return Err(self.damaged(end, reason));
        }
        found.past = recent.finish();
        // The image is synced before it has its name, the log behind it may not be: a power cut takes the end of it. What
        // comes next cannot be written behind such a gap, and the image has all that is there.
        if found.tail.as_ref().is_some_and(|tail| tail.next <= found.state.position()) {
            (found.tail, found.log_bytes) = (None, 0);
            found.logs.clear();
        }
        let useless = files.logs.iter().filter(|first| !found.logs.contains(first));
        found.useless.extend(useless.map(|first| names::log(*first)));
        found.useless.extend(files.images.iter().filter(|at| **at != image).map(|at| names::image(*at)));
        Ok(found)
    }

    /// Applies the commits of one file.
    fn log_file(
        &self,
        first: u64,
        last: bool,
        synced: u64,
        found: &mut Recovered,
        recent: &mut Recent,
    ) -> Result<(), JournalError> {
        let name = names::log(first);
        let file = self.disk.open(&name).map_err(self.failed())?;
        let mut reader = Reader::new(&*file).map_err(self.failed())?;
        let size = file.size().map_err(self.failed())?;
        let mut expected = first;
        let mut title: Option<Title> = None;
        let mut unproven = 0;
        loop {
            let place = |offset| format!("{name}, byte {offset}");
            let (offset, reason) = match reader.next().map_err(self.failed())? {
                Found::Block(block) => {
                    match &title {
                        None => {
                            let read = self.read_title(&name, first, &block)?;
                            if read.epoch != found.state.epoch() {
                                let reason =
                                    format!("it is of history {}, not {}", read.epoch, found.state.epoch());
                                return Err(self.damaged(place(block.offset), reason));
                            }
                            title = Some(read);
                        }
                        Some(title) if block.label.file != title.number() => {
                            return Err(
                                self.damaged(place(block.offset), "the block belongs to another file")
                            );
                        }
                        Some(_) if block.label.position != expected => {
                            let reason =
                                format!("commit {} is here, {expected} is missing", block.label.position);
                            return Err(self.damaged(place(block.offset), reason));
                        }
                        Some(_) => {
                            Self::batch(&block, &mut expected, found, recent)
                                .map_err(|reason| self.damaged(place(block.offset), reason))?;
                            if expected <= synced + 1 {
                                unproven = block.end;
                            }
                        }
                    }
                    continue;
                }
                Found::End => (reader.offset(), "nothing can be read here"),
                Found::Broken { offset, reason } => (offset, reason),
            };
            let end = reader.offset();
            // Only behind the place where reading ended: a part of the batch that is broken proves nothing.
            let on_disk = |label: &crate::block::Label| {
                label.synced >= expected && title.as_ref().is_none_or(|title| label.file == title.number())
            };
            let proof = reader.find(end, on_disk).map_err(self.failed())?;
            if proof.is_some() || (!last && (title.is_none() || reason != "nothing can be read here")) {
                return Err(self.damaged(place(offset), reason));
            }
            found.mended.extend(reader.mended.drain(..).map(|mending| (name.clone(), mending)));
            match title {
                Some(title) => {
                    found.tail = Some(Tail { title, end, size, unproven, next: expected });
                    found.log_bytes += end;
                }
                // A crash while the file was made: nothing was in it yet.
                None if synced < first => drop(found.logs.remove(&first)),
                None => return Err(self.damaged(place(offset), reason)),
            }
            return Ok(());
        }
    }

    fn batch(
        block: &Block,
        expected: &mut u64,
        found: &mut Recovered,
        recent: &mut Recent,
    ) -> Result<(), String> {
        let mut decoder = Decoder::new(&block.payload);
        while !decoder.is_empty() {
            let position = if *expected <= found.state.position() {
                decoder.skip_commit()?
            } else {
                let commit = decoder.commit(&found.state)?;
                let position = commit.position;
                if position == *expected {
                    recent.before(&found.state);
                    found.state.apply(&commit).map_err(|error| error.to_string())?;
                    recent.after(commit);
                }
                position
            };
            if position != *expected {
                return Err(format!("commit {position} is here, {expected} is missing"));
            }
            *expected += 1;
        }
        Ok(())
    }
}

struct Begin {
    state: Snapshot,
    bytes: u64,
    mended: Vec<(String, Mending)>,
}

fn differs_in_one_byte(found: &[u8], wanted: &[u8]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).filter(|(a, b)| a != b).count() == 1
}
