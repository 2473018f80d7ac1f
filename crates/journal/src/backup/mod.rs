//! Backups: one file that holds everything up to one position, complete with definitions, counters and checksums.
//!
//! A backup is an image, as `docs/durability.md` describes it. [`write()`] makes one of a state, [`restore`] makes a data
//! directory of one, [`verify`] reads one to its end.
//!
//! ```
//! use dunlin_journal::{backup, inspect};
//! use dunlin_store::Snapshot;
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//!
//! let (file, data) = (dir.join("backup-0"), dir.join("data"));
//! let written = backup::write(&Snapshot::new("epoch-1"), &file, &mut |progress| {
//!     println!("{} of {} records", progress.records, progress.total);
//! })?;
//! assert_eq!(backup::verify(&file)?, written);
//!
//! let restored = backup::restore(&file, &data, "epoch-2")?;
//! assert_eq!(restored.position, 0);
//! assert_eq!(inspect(&data)?.epoch.as_deref(), Some("epoch-2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod restore;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::Path;

use dunlin_store::Snapshot;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::directory;
use crate::disk::{Disk, LocalDisk};
use crate::image::{self, Fault, Image, ImageWriter};
use crate::names::UNFINISHED;
use crate::{JournalError, Summary};

pub use restore::restore;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Records written.
    pub records: u64,
    /// Records there will be.
    pub total: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Writes a backup of a state. `progress` is called about every megabyte, and at the end. The file gets its name when it is
/// whole and on disk; until then it is called the same with `.new` behind. Records of buckets with `persistent: false` are
/// left out, as they are from the journal.
///
/// # Errors
/// [`JournalError::Exists`] if there is a file of this name; what the operating system says. Nothing is left behind then.
pub fn write(
    state: &Snapshot,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, JournalError> {
    let failed = |error| JournalError::from_io("write", out, error);
    if fs::exists(out).map_err(failed)? {
        return Err(JournalError::Exists { file: out.to_owned() });
    }
    let (disk, name) = place(out).map_err(failed)?;
    if name.to_ascii_lowercase().ends_with(UNFINISHED) {
        let reason = "names that end in .new are those of unfinished backups";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let unfinished = format!("{name}{UNFINISHED}");
    let written = fill(&disk, &unfinished, state, progress).map_err(failed);
    let written = written.and_then(|summary| {
        match name_it(&disk.dir().join(&unfinished), out) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(JournalError::Exists { file: out.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        }
        disk.sync_names().map_err(failed)?;
        Ok(summary)
    });
    if written.is_err() {
        // The first error is the one to tell. If it was renamed there is nothing left to remove.
        let _ = disk.remove(&unfinished);
    }
    written
}

/// Makes a directory for backups, and those above it, durably; nothing happens if it is there.
///
/// # Errors
/// What the operating system says.
pub fn make_directory(dir: &Path) -> Result<(), JournalError> {
    directory::make(dir).map_err(|error| JournalError::from_io("create", dir, error))
}

/// The directory that a file is in, and the file's name in it.
fn place(file: &Path) -> io::Result<(LocalDisk, &str)> {
    let name = file.file_name().and_then(|name| name.to_str());
    match (directory::parent(file), name) {
        (Some(parent), Some(name)) => Ok((LocalDisk::new(parent), name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no name of a file")),
    }
}

/// Writes the whole image of a state.
fn fill(
    disk: &dyn Disk,
    name: &str,
    state: &Snapshot,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<Summary> {
    let mut writer = ImageWriter::begin(disk, name, state.clone())?;
    let total = writer.records_in_all();
    loop {
        let summary = writer.step()?;
        progress(Progress { records: writer.records(), total, bytes: writer.bytes() });
        if let Some(summary) = summary {
            return Ok(summary);
        }
    }
}

/// Renames a file to a name that no file has.
fn name_it(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do both in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if fs::exists(to)? => Err(Errno::EXIST.into()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to),
        other => Ok(other?),
    }
}

/// Reads a backup to its end and checks all of it, as [`restore`] does.
///
/// # Errors
/// [`JournalError::BackupDamaged`] with the place, [`JournalError::Format`] if a newer version wrote it, and what the operating
/// system says.
pub fn verify(archive: &Path) -> Result<Summary, JournalError> {
    read(archive, None).map(|image| image.summary)
}

/// Reads a backup, as a state of another history if one is named.
fn read(archive: &Path, epoch: Option<&str>) -> Result<Image, JournalError> {
    let failed = |error| JournalError::from_io("read", archive, error);
    let (disk, name) = place(archive).map_err(failed)?;
    let disk = LocalDisk::read_only(disk.dir());
    let file = disk.open(name).map_err(failed)?;
    image::read_as(&*file, name, epoch).map_err(|fault| match fault {
        Fault::Damaged { reason, offset, .. } => {
            JournalError::BackupDamaged { place: format!("{}, byte {offset}", archive.display()), reason }
        }
        fault => fault.into_error(archive),
    })
}
