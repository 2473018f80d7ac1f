//! Starts after a power cut, or the end of a process, at moments that leave the files in unusual order.

use std::sync::Arc;

use crate::disk::Disk;
use crate::testing::{MemoryDisk, Writer, define, insert, picture};
use crate::{DiskJournal, Durability, Journal, Options, names};

/// Images are due at once, and nothing is synced but with them.
fn open(disk: &(impl Disk + Clone)) -> DiskJournal {
    let mut options = Options::new(Durability::None, "first");
    (options.sizes.log_bytes, options.sizes.reserve_bytes) = (1, 4096);
    DiskJournal::open(Arc::new(disk.clone()), &options).unwrap()
}

fn filled(disk: &(impl Disk + Clone)) -> (DiskJournal, Writer) {
    let journal = open(disk);
    let mut writer = Writer::new(journal.recover().unwrap());
    writer.write(&journal, [define("a")]).unwrap();
    writer.write(&journal, [insert("a", "x", 1)]).unwrap();
    (journal, writer)
}

#[test]
fn the_log_goes_on_behind_an_image_that_reaches_further() {
    let disk = MemoryDisk::default();
    let (journal, mut writer) = filled(&disk);
    let log = disk.bytes(&names::log(1));
    writer.write(&journal, [insert("a", "y", 1)]).unwrap();
    while journal.tend().unwrap() {}
    drop(journal);
    // The image was synced and the log was not, so a power cut has taken the end of it.
    disk.create(&names::log(1)).unwrap().write_at(0, &log).unwrap();
    for id in ["p", "q", "r"] {
        let journal = open(&disk);
        assert_eq!(picture(&journal.recover().unwrap()), picture(&writer.state), "before {id}");
        writer.write(&journal, [insert("a", id, 1)]).unwrap();
    }
    assert_eq!(picture(&open(&disk).recover().unwrap()), picture(&writer.state));
}
