//! The file `synced`: the newest position that is known to be on disk. It is written after each sync and not synced itself, so
//! it is a lower bound: exact if the process was killed, perhaps old or torn after a power cut.

use std::io;

use crate::checksum;
use crate::disk::{Disk, DiskFile};
use crate::names::SYNCED_FILE;

const MAGIC: [u8; 8] = *b"dnlSync\n";
const CHECKED: usize = 16;
const SIZE: usize = 24;

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct SyncedFile(Box<dyn DiskFile>);

impl SyncedFile {
    /// Opens it, or makes it.
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<Self> {
        match disk.open(SYNCED_FILE) {
            Ok(file) => Ok(Self(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(disk.create(SYNCED_FILE)?)),
            Err(error) => Err(error),
        }
    }

    /// Notes a position.
    pub(crate) fn note(&self, position: u64) -> io::Result<()> {
        let mut bytes = [0; SIZE];
        let (checked, sum) = bytes.split_at_mut(CHECKED);
        let (magic, number) = checked.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        number.copy_from_slice(&position.to_le_bytes());
        sum.copy_from_slice(&checksum::of(checked).to_le_bytes());
        self.0.write_at(0, &bytes)
    }
}

/// The position that it names; 0 if it is not there or cannot be read.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<u64> {
    let file = match disk.open(SYNCED_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; SIZE];
    if file.read_at(0, &mut bytes)? < SIZE {
        return Ok(0);
    }
    let (checked, sum) = bytes.split_at_mut(CHECKED);
    let sum = u64::from_le_bytes(sum.try_into().unwrap_or_default());
    if checksum::of(checked) != sum && checksum::mend(checked, sum).is_none() {
        return Ok(0);
    }
    match checked.split_at(MAGIC.len()) {
        (magic, number) if magic == MAGIC => Ok(u64::from_le_bytes(number.try_into().unwrap_or_default())),
        _ => Ok(0),
    }
}
