//! The few things a journal asks of a file system, so that a simulation can stand in its place and crash at every one of them.
//!
//! What is assumed of a disk, and nothing more: what was [synced](DiskFile::sync) is there after a crash, in a file whose
//! name was made durable by [`Disk::sync_names`]; a rename happens whole or not at all. What was not synced may be there
//! after a crash in part, in any order, or not at all.

mod local;

use std::fmt;
use std::io;
use std::path::Path;

pub use local::LocalDisk;

/// One directory of files.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// What it is called when something is wrong with it.
    fn dir(&self) -> &Path {
        Path::new("the disk")
    }

    /// The names of all files in it, in no order.
    ///
    /// # Errors
    /// What the operating system says; here and below.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in the place of one of this name if there is one.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, for reading and, unless the disk was opened to be looked at only, writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name; one that has it already is gone with that.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names there are: every file made, renamed or removed until now.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug + 'static {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads into the whole buffer, or up to the end of the file; how many bytes.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data`, over what is there or behind it.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Takes space for the file to be `size` bytes long; what is new reads as zeros. A file system that cannot do that may
    /// do nothing: it is only a matter of speed, and of learning about a full disk early.
    fn reserve(&self, size: u64) -> io::Result<()>;

    /// Cuts the file to this length.
    fn cut(&self, size: u64) -> io::Result<()>;

    /// Makes durable what was written, the length of the file included.
    fn sync(&self) -> io::Result<()>;
}
