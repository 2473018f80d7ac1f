//! Directories of the operating system: whether one holds anything, and making one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The name of something that a directory holds; `None` if it is empty or not there. What a fresh file system or a version
/// control system puts into an empty directory is no content.
pub(crate) fn content(dir: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != OsStr::new("lost+found") && !name.as_encoded_bytes().starts_with(b".") {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// Makes a directory and those above it, durably: a new directory is only safe once its parent is synced.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = parent(dir) else { return Ok(()) };
    make(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// The directory that something is in; `None` for the root.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    }
}
