//! Looks at a data directory or a backup without changing anything.

mod scan;
mod text;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dunlin_store::Snapshot;
use serde::Serialize;

use crate::block::Mending;
use crate::disk::{Disk, DiskFile, LocalDisk};
use crate::image::{self, Fault};
use crate::limits::INSPECT_ATTEMPTS;
use crate::names::{self, FORMAT_FILE, LOCK_FILE, Named, SYNCED_FILE};
use crate::{JournalError, directory, recovery, synced};

/// What is in a data directory or a backup. Its `Display` is for people; as JSON the members have the names of the fields, in
/// camelCase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Inspection {
    /// What was looked at.
    pub path: PathBuf,
    /// A directory or a file.
    pub kind: Inspected,
    /// The format of the data; `None` if that cannot be read.
    pub format: Option<u32>,
    /// The history that the data are of.
    pub epoch: Option<String>,
    /// The newest commit that can be read, everything before it included; `None` if there is nothing that can.
    pub position: Option<u64>,
    /// The newest commit that the directory says is on disk.
    pub synced: Option<u64>,
    /// Bytes of all files together.
    pub bytes: u64,
    /// The files, by name.
    pub files: Vec<FileReport>,
    /// The buckets at that position.
    pub buckets: Vec<BucketReport>,
    /// How many queries are defined.
    pub queries: usize,
    /// How many entries the server keeps for itself: rules, timers, calls to be made.
    pub entries: usize,
    /// What keeps the data from being used as they are; `None` if nothing does.
    pub problem: Option<String>,
    /// A file was removed while it was to be read.
    #[serde(skip)]
    vanished: bool,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Inspected {
    /// A data directory.
    Directory,
    /// A backup.
    Backup,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its length.
    pub bytes: u64,
    /// How much of that is in use; space may have been taken ahead.
    pub used: u64,
    /// The first commit in it (log), or the commit that it is the state of (image).
    pub first: Option<u64>,
    /// The last commit in it.
    pub last: Option<u64>,
    /// Where a batch begins that was never finished, and is cut off at the next start. This is no damage: nobody was told that it
    /// is there. Beside a running server it may be finished a moment later.
    pub unfinished: Option<u64>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FileKind {
    /// Commits.
    Log,
    /// The state at one position.
    Image,
    /// A file of the directory that holds no data: `FORMAT`, `lock`, `synced`.
    Support,
    /// None that counts: an image in the making, or a file of somebody else.
    Other,
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Damage {
    /// Where in the file.
    pub byte: u64,
    /// What is wrong there.
    pub reason: String,
    /// It is one byte, and it is known what it should be; a start mends it. Otherwise what follows in this file cannot be read.
    pub mendable: bool,
}

/// One bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BucketReport {
    /// Its name.
    pub name: String,
    /// How many records it has on disk: none if it is defined with `persistent: false`.
    pub records: usize,
}

/// Looks at a data directory or a backup, also while a server uses it: nothing is changed, nothing locked. It reads all
/// files, and holds the data in memory meanwhile.
///
/// ```
/// use dunlin_journal::{backup, inspect};
/// use dunlin_store::Snapshot;
///
/// # let dir = tempfile::tempdir()?;
/// let file = dir.path().join("backup-0");
/// backup::write(&Snapshot::new("epoch-1"), &file, &mut |_| {})?;
/// let inspection = inspect(&file)?;
/// assert_eq!((inspection.position, inspection.problem), (Some(0), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The path cannot be read, or is a directory without any file of dunlin. Damage is no error: it is told in the inspection.
pub fn inspect(path: &Path) -> Result<Inspection, JournalError> {
    let failed = |error| JournalError::from_io("read", path, error);
    let is_dir = fs::metadata(path).map_err(failed)?.is_dir();
    if is_dir { of_directory(path) } else { of_backup(path).map_err(failed) }
}

/// Reads the newest state of a data directory, also while a server uses it: nothing is changed, nothing locked.
///
/// # Errors
/// What keeps it from being read whole; [`JournalError::NotOurs`] if there are no data.
pub fn read(dir: &Path) -> Result<Snapshot, JournalError> {
    let disk = LocalDisk::read_only(dir);
    let found = steadily(&disk, || recovery::read(&disk, 0), Result::is_ok)?;
    let found = found.map(|found| found.state);
    found.ok_or_else(|| JournalError::NotOurs { dir: dir.to_owned(), found: "no history".to_owned() })
}

/// Reads something, and again if it did not come out clean and a server has changed the directory meanwhile: it may have removed a
/// file that was to be read, or written what was read in halves.
fn steadily<T>(disk: &dyn Disk, mut read: impl FnMut() -> T, is_clean: impl Fn(&T) -> bool) -> T {
    let mark = || {
        let mut names = disk.names().unwrap_or_default();
        names.sort();
        let sizes = |name: &String| disk.open(name).and_then(|file| file.size()).ok();
        let sizes: Vec<_> = names.iter().map(sizes).collect();
        (names, sizes, synced::read(disk).ok())
    };
    let mut attempt = 1;
    loop {
        let before = mark();
        let result = read();
        if is_clean(&result) || attempt == INSPECT_ATTEMPTS || mark() == before {
            return result;
        }
        attempt += 1;
    }
}

impl Inspection {
    fn new(path: &Path, kind: Inspected) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            format: None,
            epoch: None,
            position: None,
            synced: None,
            bytes: 0,
            files: Vec::new(),
            buckets: Vec::new(),
            queries: 0,
            entries: 0,
            problem: None,
            vanished: false,
        }
    }

    /// The first problem is the one that is told.
    fn trouble(&mut self, problem: impl FnOnce() -> String) {
        self.problem.get_or_insert_with(problem);
    }

    /// What the newest state that could be read holds.
    fn describe(&mut self, state: &Snapshot) {
        self.epoch = Some(state.epoch().to_owned());
        self.position = Some(state.position());
        let buckets = state.buckets();
        self.buckets = buckets
            .map(|bucket| BucketReport { name: bucket.name().to_string(), records: bucket.len() })
            .collect();
        self.queries = state.queries().count();
        self.entries = state.entries("").count();
    }

    /// Takes in what is wrong with a file that is needed.
    fn judge(&mut self, report: &FileReport) {
        if let Some(damage) = report.damage.iter().find(|damage| !damage.mendable) {
            let Damage { byte, reason, .. } = damage;
            self.trouble(|| format!("{}, byte {byte}: {reason}", report.name));
        }
    }
}

impl FileReport {
    fn new(name: &str, kind: FileKind, bytes: u64) -> Self {
        let name = name.to_owned();
        Self { name, kind, bytes, used: bytes, first: None, last: None, unfinished: None, damage: Vec::new() }
    }

    fn lost(&mut self, byte: u64, reason: impl Into<String>) {
        self.damage.push(Damage { byte, reason: reason.into(), mendable: false });
    }

    /// Adds what can be mended, with the byte that is wrong.
    fn mendable(&mut self, file: &dyn DiskFile, mended: &[Mending]) -> io::Result<()> {
        for mending in mended {
            let mut found = vec![0; mending.bytes.len()];
            file.read_at(mending.offset, &mut found)?;
            let place = found.iter().zip(&mending.bytes).position(|(found, right)| found != right);
            let byte = mending.offset + place.unwrap_or(0) as u64;
            self.damage.push(Damage { byte, reason: "this byte is wrong".to_owned(), mendable: true });
        }
        self.damage.sort_by_key(|damage| damage.byte);
        Ok(())
    }
}

fn of_backup(path: &Path) -> io::Result<Inspection> {
    let state = &mut None;
    let mut inspection = Inspection::new(path, Inspected::Backup);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let disk = LocalDisk::read_only(directory::parent(path).unwrap_or(path));
    let report = image_report(&disk, &name, &mut inspection, state)?;
    inspection.judge(&report);
    inspection.bytes = report.bytes;
    inspection.files.push(report);
    if let Some(state) = state {
        inspection.describe(state);
    }
    Ok(inspection)
}

/// Reads an image; into `state`, if it can be read.
fn image_report(
    disk: &dyn Disk,
    name: &str,
    inspection: &mut Inspection,
    state: &mut Option<Snapshot>,
) -> io::Result<FileReport> {
    let file = disk.open(name)?;
    let mut report = FileReport::new(name, FileKind::Image, file.size()?);
    match image::read(&*file, name) {
        Ok(image) => {
            inspection.format.get_or_insert(names::FORMAT);
            report.first = Some(image.summary.position);
            report.last = report.first;
            report.mendable(&*file, &image.mended)?;
            *state = Some(image.snapshot);
        }
        Err(Fault::Io(error)) => return Err(error),
        Err(Fault::Format(format)) => {
            inspection.format = Some(format);
            report.lost(
                0,
                format!("format {format} is newer than this version reads, which is {}", names::FORMAT),
            );
        }
        Err(Fault::Damaged { offset, reason, .. }) => report.lost(offset, reason),
    }
    Ok(report)
}

fn of_directory(path: &Path) -> Result<Inspection, JournalError> {
    let is_clean = |found: &Result<Inspection, JournalError>| {
        let damaged = |found: &Inspection| found.files.iter().any(|report| !report.damage.is_empty());
        found.as_ref().is_ok_and(|found| !found.vanished && found.problem.is_none() && !damaged(found))
    };
    steadily(&LocalDisk::read_only(path), || look(path), is_clean)
}

fn look(path: &Path) -> Result<Inspection, JournalError> {
    let state = &mut None;
    let failed = |error| JournalError::from_io("read", path, error);
    let disk = LocalDisk::read_only(path);
    let mut inspection = Inspection::new(path, Inspected::Directory);
    // Before the log, which may only get longer while a server writes.
    let synced = synced::read(&disk).map_err(failed)?;
    let mut files = disk.names().map_err(failed)?;
    files.sort();
    inspection.synced =
        Some(recovery::known_on_disk(synced, log_firsts(&files))).filter(|position| *position > 0);
    let is_ours = files.iter().any(|name| name == FORMAT_FILE || names::read(name).is_some());
    if !is_ours {
        let found = directory::content(path).map_err(failed)?.unwrap_or_else(|| "nothing".to_owned());
        return Err(JournalError::NotOurs { dir: path.to_owned(), found });
    }
    format_of(&disk, &mut inspection).map_err(failed)?;
    if inspection.format.is_none_or(|format| format <= names::FORMAT) {
        states(&disk, &files, &mut inspection, state).map_err(failed)?;
    }
    for name in &files {
        if inspection.files.iter().all(|report| report.name != *name) {
            let kind = match name.as_str() {
                FORMAT_FILE | LOCK_FILE | SYNCED_FILE => FileKind::Support,
                name if names::read(name).is_some() => continue,
                _ => FileKind::Other,
            };
            if let Some(file) = gone(disk.open(name)).map_err(failed)? {
                inspection.files.push(FileReport::new(name, kind, file.size().map_err(failed)?));
            }
        }
    }
    inspection.files.sort_by(|a, b| a.name.cmp(&b.name));
    inspection.bytes = inspection.files.iter().map(|report| report.bytes).sum();
    Ok(inspection)
}

/// The first commits of the log files among these.
fn log_firsts(files: &[String]) -> impl Iterator<Item = u64> {
    files.iter().filter_map(|name| match names::read(name) {
        Some(Named::Log(first)) => Some(first),
        _ => None,
    })
}

/// What the file `FORMAT` says.
fn format_of(disk: &dyn Disk, inspection: &mut Inspection) -> io::Result<()> {
    let Some(file) = gone(disk.open(FORMAT_FILE))? else {
        inspection.trouble(|| format!("the file {FORMAT_FILE} is missing"));
        return Ok(());
    };
    let right = names::format_line();
    let mut report = FileReport::new(FORMAT_FILE, FileKind::Support, file.size()?);
    let mut line = vec![0; right.len() * 2];
    let length = file.read_at(0, &mut line)?;
    line.truncate(length);
    let wrong: Vec<usize> = (0..length).filter(|at| line.get(*at) != right.as_bytes().get(*at)).collect();
    let text = String::from_utf8_lossy(&line);
    match (names::format_of(&text), wrong.as_slice()) {
        (Some(names::FORMAT), _) => inspection.format = Some(names::FORMAT),
        (Some(other), _) => {
            inspection.format = Some(other);
            let supported = names::FORMAT;
            inspection.trouble(|| format!("the data have format {other}, this version reads {supported}"));
        }
        (None, [byte]) if length == right.len() => {
            inspection.format = Some(names::FORMAT);
            let reason = "this byte is wrong".to_owned();
            report.damage.push(Damage { byte: *byte as u64, reason, mendable: true });
        }
        (None, _) => {
            report.lost(0, format!("it says {text:?}, not {right:?}"));
            inspection.judge(&report);
        }
    }
    inspection.files.push(report);
    Ok(())
}

/// Reads images and log files, and how far they lead.
fn states(
    disk: &dyn Disk,
    files: &[String],
    inspection: &mut Inspection,
    state: &mut Option<Snapshot>,
) -> io::Result<()> {
    let mut faulty: Vec<FileReport> = Vec::new();
    let images = files.iter().filter(|name| matches!(names::read(name), Some(Named::Image(_))));
    for name in images.rev() {
        let mut read = None;
        let Some(report) = gone(image_report(disk, name, inspection, &mut read))? else {
            inspection.vanished = true;
            continue;
        };
        if read.is_none() {
            faulty.push(report.clone());
        }
        // The newest one counts. Holding another one as well would double what this needs.
        if state.is_none() {
            *state = read;
        }
        inspection.files.push(report);
    }
    // The image is what tells a start how far it must come, so without any that can be read there is none.
    if let (None, Some(newest)) = (&*state, faulty.first()) {
        inspection.judge(newest);
    }
    let logs: Vec<(&String, u64)> = files
        .iter()
        .filter_map(|name| match names::read(name) {
            Some(Named::Log(first)) => Some((name, first)),
            _ => None,
        })
        .collect();
    for (index, (name, first)) in logs.iter().enumerate() {
        let Some(file) = gone(disk.open(name))? else {
            inspection.vanished = true;
            continue;
        };
        let next = logs.get(index + 1).map(|(_, first)| *first);
        let before = state.as_ref().map(Snapshot::position);
        let report = scan::log(&*file, name, *first, next, inspection, state)?;
        // Damage in what an image has in it, too, keeps nobody from anything.
        let needed = next.is_none_or(|next| before.is_none_or(|before| next > before.saturating_add(1)));
        if needed {
            inspection.judge(&report);
        }
        inspection.files.push(report);
    }
    let reached = state.as_ref().map_or(0, Snapshot::position);
    // An older one and the whole log behind it do as well.
    for report in faulty.iter().filter(
        |report| matches!(names::read(&report.name), Some(Named::Image(position)) if position > reached),
    ) {
        inspection.judge(report);
    }
    if let Some(synced) = inspection.synced.filter(|synced| *synced > reached) {
        let first = reached + 1;
        inspection.trouble(|| format!("commits {first} to {synced} were acknowledged and cannot be read"));
    }
    match state {
        Some(state) => inspection.describe(state),
        None if logs.is_empty() => {
            inspection.trouble(|| "there is no image and no log that can be read".to_owned());
        }
        None => {}
    }
    Ok(())
}

/// A file may be removed by a server that runs meanwhile, because a newer image holds what was in it.
fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
