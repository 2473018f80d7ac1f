use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::backup;
use crate::block::{self, Label};
use crate::code::{Encoder, Volatile};
use crate::log::Title;
use crate::testing::{Writer, define, insert};

/// A data directory in the making.
struct World {
    dir: TempDir,
    writer: Writer,
    log: Vec<u8>,
    first: u64,
}

impl World {
    fn new() -> Self {
        let writer = Writer::new(Snapshot::new("epoch-1"));
        let mut world = Self { dir: TempDir::new().unwrap(), writer, log: Vec::new(), first: 1 };
        fs::write(world.path().join("FORMAT"), names::format_line()).unwrap();
        world.begin();
        world
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Begins another log file.
    fn begin(&mut self) {
        self.first = self.writer.state.position() + 1;
        self.log = self.title().block(self.first - 1).unwrap();
        self.save();
    }

    fn title(&self) -> Title {
        Title::new("epoch-1", self.first)
    }

    fn save(&self) {
        fs::write(self.path().join(names::log(self.first)), &self.log).unwrap();
    }

    /// One batch; where it begins.
    fn batch(&mut self, intents: Vec<dunlin_store::Intent>) -> u64 {
        let synced = self.writer.state.position();
        let mut encoder = Encoder::default();
        for intent in intents {
            let commit = self.writer.commit(intent).unwrap();
            encoder.commit(&commit, &mut Volatile::default()).unwrap();
        }
        let begin = self.log.len() as u64;
        let label = Label { position: synced + 1, synced, file: self.title().number() };
        block::write(&mut self.log, label, &encoder.bytes);
        self.save();
        begin
    }

    fn image(&self) {
        let name = self.path().join(names::image(self.writer.state.position()));
        backup::write(&self.writer.state, &name, &mut |_| {}).unwrap();
    }

    fn note_synced(&self) {
        let disk = LocalDisk::new(self.path());
        synced::SyncedFile::open(&disk).unwrap().note(self.writer.state.position()).unwrap();
    }

    /// Changes the newest log file behind the server's back.
    fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.log.clone();
        change(&mut bytes);
        fs::write(self.path().join(names::log(self.first)), bytes).unwrap();
    }

    fn inspect(&self) -> Inspection {
        let found = inspect(self.path()).unwrap();
        // It says that a start would succeed exactly if it would.
        let started = read(self.path());
        assert_eq!(found.problem.is_none(), started.is_ok(), "{found}\n{started:?}");
        found
    }

    fn file(&self, name: &str) -> FileReport {
        self.inspect().files.into_iter().find(|report| report.name == name).unwrap()
    }
}

/// A log file of three batches, an image in the middle of it, and another log file.
fn world() -> World {
    let mut world = World::new();
    world.batch(vec![define("a"), insert("a", "x", 1)]);
    world.image();
    world.batch(vec![insert("a", "y", 2)]);
    world.begin();
    world.batch(vec![define("b"), insert("b", "x", 1), insert("b", "y", 1)]);
    world.batch(vec![insert("b", "z", 1)]);
    world.note_synced();
    world
}

#[test]
fn a_sound_directory_is_told_whole() {
    let world = world();
    let found = world.inspect();
    assert_eq!(
        (found.kind, found.format, found.epoch.as_deref()),
        (Inspected::Directory, Some(2), Some("epoch-1"))
    );
    assert_eq!((found.position, found.synced, found.problem.as_deref()), (Some(7), Some(7), None));
    let buckets: Vec<_> = found.buckets.iter().map(|bucket| (bucket.name.as_str(), bucket.records)).collect();
    assert_eq!(buckets, [("a", 2), ("b", 3)]);
    let files: Vec<_> =
        found.files.iter().map(|file| (file.name.as_str(), file.kind, file.first, file.last)).collect();
    let (log, next, image) = (names::log(1), names::log(4), names::image(2));
    let expected = [
        ("FORMAT", FileKind::Support, None, None),
        (&image, FileKind::Image, Some(2), Some(2)),
        (&log, FileKind::Log, Some(1), Some(3)),
        (&next, FileKind::Log, Some(4), Some(7)),
        ("synced", FileKind::Support, None, None),
    ];
    assert_eq!(files, expected);
    assert_eq!(read(world.path()).unwrap().position(), 7);
    let total: u64 = found.files.iter().map(|file| file.bytes).sum();
    assert_eq!(found.bytes, total);
}

#[test]
fn it_is_told_in_words_and_as_json() {
    let world = world();
    let text = world.inspect().to_string();
    for line in [
        "  format    2\n  history   epoch-1\n  position  7\n  synced    7\n",
        "in use, commits 4 to 7\n",
        "bytes, state at 2\n",
        "Buckets, 2; queries, 0\n  a  2 records\n  b  3 records\n",
        "It can be read whole.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let json = serde_json::to_value(world.inspect()).unwrap();
    assert_eq!(json["kind"], "directory");
    assert_eq!(json["position"], 7);
    assert_eq!(json["files"][1]["kind"], "image");
    assert_eq!(json["buckets"][0], json!({"name": "a", "records": 2}));
    assert_eq!(json["problem"], json!(null));
    assert!(json.get("vanished").is_none());
}

#[test]
fn nothing_is_changed() {
    let world = world();
    world.damage(|bytes| bytes[200] ^= 1);
    let picture = || {
        let mut files: Vec<_> = fs::read_dir(world.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.clone(), fs::read(path).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let before = picture();
    world.inspect();
    assert_eq!(picture(), before);
}

#[test]
fn one_wrong_byte_is_told_with_its_place() {
    let world = world();
    for place in 0..world.log.len() {
        world.damage(|bytes| bytes[place] ^= 0x24);
        let found = world.inspect();
        let report = found.files.iter().find(|file| file.name == names::log(4)).unwrap();
        let expected = Damage { byte: place as u64, reason: "this byte is wrong".into(), mendable: true };
        assert_eq!(report.damage, [expected]);
        assert_eq!((found.problem, found.position), (None, Some(7)));
    }
    fs::write(world.path().join("FORMAT"), "dunlin data, fermat 2\n").unwrap();
    let expected = Damage { byte: 14, reason: "this byte is wrong".into(), mendable: true };
    assert_eq!(world.file("FORMAT").damage, [expected]);
}

#[test]
fn a_torn_end_is_no_damage_and_lost_commits_are() {
    let mut world = world();
    let begin = world.batch(vec![insert("b", "torn", 1)]);
    world.damage(|bytes| bytes.truncate(bytes.len() - 3));
    let found = world.inspect();
    assert_eq!((found.position, found.problem.clone()), (Some(7), None));
    let report = world.file(&names::log(4));
    assert_eq!((report.unfinished, report.used, report.damage.len()), (Some(begin), begin, 0));
    assert!(found.to_string().contains("not finished"));

    // `synced` says that it was there.
    world.note_synced();
    let found = world.inspect();
    assert_eq!(
        found.problem.as_deref(),
        Some(&*format!("{}, byte {begin}: it ends within a payload", names::log(4)))
    );
    assert_eq!(found.position, Some(7));
    assert!(read(world.path()).is_err());
}

#[test]
fn damage_before_what_was_written_later_is_told_as_such() {
    let mut world = world();
    let begin = world.batch(vec![insert("b", "one", 1)]);
    world.batch(vec![insert("b", "two", 1)]);
    world.batch(vec![insert("b", "three", 1)]);
    fs::remove_file(world.path().join("synced")).unwrap();
    let at = usize::try_from(begin).unwrap();
    world.damage(|bytes| bytes[at + 50..at + 60].fill(0xff));
    let found = world.inspect();
    let told = format!("{}, byte {begin}: the checksum of a payload does not fit", names::log(4));
    assert_eq!(found.problem.as_deref(), Some(&*told));
    assert_eq!(found.position, Some(7), "as far as it can be read");
    assert!(found.to_string().ends_with(&format!("It cannot be used as it is: {told}\n")));
}

#[test]
fn a_missing_file_is_noticed() {
    let world = world();
    fs::remove_file(world.path().join(names::log(4))).unwrap();
    let problem = world.inspect().problem.unwrap();
    assert!(problem.contains("byte"), "{problem}");

    let world = self::world();
    fs::remove_file(world.path().join(names::image(2))).unwrap();
    assert_eq!(world.inspect().problem, None, "the log has it all");
    fs::remove_file(world.path().join(names::log(1))).unwrap();
    assert!(world.inspect().problem.is_some());
}

#[test]
fn a_damaged_image_is_told_unless_an_older_one_does_as_well() {
    let mut world = world();
    let cut = |name: &str| {
        let path = world.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    };
    world.image();
    cut(&names::image(7));
    let found = world.inspect();
    assert!(!world.file(&names::image(7)).damage.is_empty());
    assert_eq!((found.position, found.problem), (Some(7), None));

    cut(&names::image(2));
    let found = world.inspect();
    let problem = found.problem.unwrap();
    assert!(problem.starts_with(&names::image(7)), "{problem}");
    assert_eq!(found.position, Some(7), "as far as it can be read");
    world.batch(vec![insert("b", "more", 1)]);
    assert_eq!(world.inspect().position, Some(8));
}

#[test]
fn damage_in_a_log_file_that_an_image_has_whole_is_no_problem() {
    let mut world = World::new();
    world.batch(vec![define("a")]);
    world.batch(vec![insert("a", "x", 1)]);
    world.image();
    world.damage(|bytes| bytes.iter_mut().rev().take(8).for_each(|byte| *byte ^= 0xff));
    world.begin();
    world.batch(vec![insert("a", "y", 1)]);
    let inspection = world.inspect();
    assert_eq!(read(world.path()).unwrap().position(), 3, "a start reads none of it");
    assert_eq!((inspection.position, inspection.problem), (Some(3), None));
    assert!(inspection.files.iter().any(|file| !file.damage.is_empty()), "it is told all the same");
}

#[test]
fn what_is_not_ours_is_refused_and_what_is_newer_is_told() {
    let world = world();
    fs::write(world.path().join("FORMAT"), "dunlin data, format 3\n").unwrap();
    let found = world.inspect();
    assert_eq!(found.problem.as_deref(), Some("the data have format 3, this version reads 2"));
    assert_eq!(read(world.path()).unwrap_err().code(), "JOURNAL_FORMAT");

    let empty = TempDir::new().unwrap();
    assert_eq!(inspect(empty.path()).unwrap_err().code(), "JOURNAL_NOT_OURS");
    assert_eq!(inspect(&empty.path().join("missing")).unwrap_err().code(), "JOURNAL_IO");
    fs::write(empty.path().join("text"), "no backup").unwrap();
    let found = inspect(&empty.path().join("text")).unwrap();
    assert_eq!(found.kind, Inspected::Backup);
    assert!(found.problem.unwrap().starts_with("text, byte 0: "));
}

#[test]
fn an_image_in_the_making_does_not_count() {
    let world = world();
    fs::write(world.path().join(format!("{}.new", names::image(9))), "half").unwrap();
    let found = world.inspect();
    assert_eq!((found.position, found.problem), (Some(7), None));
    assert!(found.files.iter().any(|file| file.kind == FileKind::Other));
}
