//! Starts after a power cut, or the end of a process, at moments that leave the files in unusual order.

use std::io;
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, DiskFile};
use crate::testing::{MemoryDisk, Writer, define, insert, picture};
use crate::{DiskJournal, Durability, Journal, Options, names};

/// A disk that notes what is done to its names, and on which some of it fails.
#[derive(Debug, Clone, Default)]
struct Fickle {
    disk: MemoryDisk,
    done: Arc<Mutex<Vec<String>>>,
    failing: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Debug)]
struct FickleFile(Box<dyn DiskFile>, Fickle);

impl Fickle {
    fn fail(&self, failing: &[&'static str]) {
        *self.failing.lock().unwrap() = failing.to_vec();
    }

    fn step(&self, step: &str) -> io::Result<()> {
        self.done.lock().unwrap().push(step.to_owned());
        let fails = self.failing.lock().unwrap().iter().any(|failing| step.starts_with(failing));
        if fails { Err(io::Error::other("as the test wants it")) } else { Ok(()) }
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FickleFile(file, self.clone()))
    }
}

impl Disk for Fickle {
    fn names(&self) -> io::Result<Vec<String>> {
        Disk::names(&self.disk)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.step(&format!("create {name}"))?;
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(&format!("rename {from}"))?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(&format!("remove {name}"))?;
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step("sync_names")
    }
}

impl DiskFile for FickleFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    /// If it fails, half of it is written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let step = self.1.step("write");
        let length = if step.is_ok() { data.len() } else { data.len() / 2 };
        self.0.write_at(offset, &data[..length])?;
        step
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        self.0.reserve(size)
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        self.0.cut(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

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

#[test]
fn a_repair_that_is_given_up_leaves_what_can_be_started() {
    for failing in ["rename", "create log", "remove log", "sync_names", "create image"] {
        let disk = Fickle::default();
        let (journal, mut writer) = filled(&disk);
        let acknowledged = picture(&writer.state);
        disk.fail(&["write"]);
        writer.write(&journal, [insert("a", "y", 1)]).unwrap_err();
        disk.fail(&[failing]);
        // Where nothing of it is needed it may go well; else it is tried again each second.
        let _ = (journal.recover(), journal.recover());
        drop(journal);
        disk.fail(&[]);
        let journal = open(&disk);
        let state = journal.recover().unwrap();
        assert_eq!(picture(&state), acknowledged, "without {failing}");
        let mut writer = Writer::new(state);
        writer.write(&journal, [insert("a", "z", 1)]).unwrap();
        drop(journal);
        assert_eq!(picture(&open(&disk).recover().unwrap()), picture(&writer.state), "without {failing}");
    }
}

#[test]
fn what_was_seen_at_the_start_is_on_disk_before_anything_is_removed() {
    let disk = Fickle::default();
    let (journal, mut writer) = filled(&disk);
    while journal.tend().unwrap() {}
    let more = (0..50).map(|id| insert("a", &format!("y{id}"), 1));
    writer.write(&journal, more).unwrap();
    // The process ends between the rename and the sync of the names behind it.
    disk.fail(&["sync_names"]);
    while journal.tend().is_ok_and(|more| more) {}
    drop(journal);
    disk.fail(&[]);
    disk.done.lock().unwrap().clear();
    assert_eq!(picture(&open(&disk).recover().unwrap()), picture(&writer.state));
    let done = disk.done.lock().unwrap();
    let removed = done.iter().position(|step| step.starts_with("remove image"));
    let synced = done.iter().position(|step| step == "sync_names");
    assert!(removed.is_some() && synced < removed, "{done:?}");
}

#[test]
fn what_cannot_be_removed_does_not_keep_the_journal_out_of_service() {
    let disk = Fickle::default();
    let (journal, mut writer) = filled(&disk);
    disk.fail(&["write"]);
    writer.write(&journal, [insert("a", "y", 1)]).unwrap_err();
    disk.fail(&["remove"]);
    let mut writer = Writer::new(journal.recover().or_else(|_| journal.recover()).unwrap());
    writer.write(&journal, [insert("a", "z", 1)]).unwrap();
    assert_eq!(picture(&journal.recover().unwrap()), picture(&writer.state));
}

#[test]
fn figures_tell_of_images_and_of_what_is_on_disk() {
    let disk = Fickle::default();
    let (journal, mut writer) = filled(&disk);
    let before = journal.figures();
    assert_eq!((before.images, before.image_failures, before.image_bytes), (0, 0, 0));
    disk.fail(&["create image"]);
    journal.tend().unwrap_err();
    assert_eq!((journal.figures().images, journal.figures().image_failures), (0, 1));
    disk.fail(&[]);
    while journal.tend().unwrap() {}
    let after = journal.figures();
    assert_eq!((after.images, after.image_failures), (1, 1));
    assert!(after.image_bytes > 0 && after.log_bytes < before.log_bytes, "{before:?}, then {after:?}");
    writer.write(&journal, [insert("a", "y", 1)]).unwrap();
    assert!(journal.figures().log_bytes > after.log_bytes);
}
