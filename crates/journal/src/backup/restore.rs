//! Makes a data directory of a backup.

use std::path::Path;

use super::{fill, read};
use crate::directory;
use crate::disk::{Disk, LocalDisk};
use crate::names::{self, FORMAT_FILE};
use crate::{JournalError, Summary};

/// What the files are called until they are whole. With a dot in front the directory still counts as empty.
const IMAGE: &str = ".image.new";
const FORMAT: &str = ".format.new";

/// Fills a directory, which is made or must be empty, with what a backup holds, as a history of another name: positions go
/// on, but clients that resume are told that they cannot. The summary is that of the backup.
///
/// If it is interrupted the directory still counts as empty or, in the last moment, is refused by whoever opens it, because
/// it has no `FORMAT` file; then remove it and begin again.
///
/// # Errors
/// [`JournalError::NotEmpty`], all that [`verify`](super::verify) says, and what the operating system says.
pub fn restore(archive: &Path, dir: &Path, new_epoch: &str) -> Result<Summary, JournalError> {
    let failed = |error| JournalError::from_io("restore into", dir, error);
    // First of all, because reading takes its time.
    if let Some(found) = directory::content(dir).map_err(failed)? {
        return Err(JournalError::NotEmpty { dir: dir.to_owned(), found });
    }
    let image = read(archive, Some(new_epoch))?;
    directory::make(dir).map_err(failed)?;
    let disk = LocalDisk::new(dir);
    fill(&disk, IMAGE, &image.snapshot, &mut |_| {}).map_err(failed)?;
    name_files(&disk, image.snapshot.position()).map_err(failed)?;
    Ok(image.summary)
}

/// Gives the image its name and says that it is one. In this order, each step on disk before the next: a directory whose
/// format is known is whole.
fn name_files(disk: &dyn Disk, position: u64) -> std::io::Result<()> {
    let format = disk.create(FORMAT)?;
    format.write_at(0, names::format_line().as_bytes())?;
    format.sync()?;
    disk.rename(IMAGE, &names::image(position))?;
    disk.sync_names()?;
    disk.rename(FORMAT, FORMAT_FILE)?;
    disk.sync_names()
}
