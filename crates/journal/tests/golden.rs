//! What an earlier dunlin has written is read as what it was: a small data directory and a backup that are checked in, and a text
//! that says what is in them.
//!
//! `tests/golden/format-2` was written by the first version of format 2 and is never written anew: a version that reads
//! it wrongly has to be mended. When there is a new format, its directory is made beside it by
//! `GOLDEN_OUT=<a directory that is not there> cargo test -p dunlin-journal --test golden`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dunlin_journal::disk::LocalDisk;
use dunlin_journal::{Batch, DiskJournal, Durability, FileJournal, Journal, Options, backup, inspect};
use dunlin_store::{Commit, Context, IdSource, Intent, Snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-2")
}

/// A copy of the checked-in data directory, as opening one changes it.
fn copy() -> TempDir {
    let dir = TempDir::new().unwrap();
    for entry in fs::read_dir(golden().join("data")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn expected(name: &str) -> String {
    fs::read_to_string(golden().join(name)).unwrap()
}

#[test]
fn a_data_directory_of_format_2_is_read_as_it_was_written() {
    let dir = copy();
    let names =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    for part in ["image-", "log-", "FORMAT", "synced"] {
        assert!(names.iter().any(|name| name.starts_with(part)), "{part} in {names:?}");
    }
    let inspected = inspect(dir.path()).unwrap();
    assert!(inspected.problem.is_none(), "{inspected}");
    // Twice: what the first start leaves behind is another directory.
    for _ in 0..2 {
        let journal = FileJournal::open(dir.path(), &Options::new(Durability::Group, "unused")).unwrap();
        assert_eq!(picture(&journal.recover().unwrap()), expected("data.txt"));
    }
}

#[test]
fn it_can_be_written_on() {
    let dir = copy();
    let open = || FileJournal::open(dir.path(), &Options::new(Durability::Group, "unused")).unwrap();
    let journal = open();
    let mut writer = Writer::new(journal.recover().unwrap());
    writer.write(&journal, [insert("people", json!({"id": "new", "n": 9}))]);
    drop(journal);
    let state = open().recover().unwrap();
    assert_eq!(picture(&state), picture(&writer.state));
    let record = state.bucket("people").unwrap().get(&json!("new")).unwrap().to_value();
    assert_eq!(record["no"], 5, "the counter goes on");
}

#[test]
fn a_backup_of_format_2_is_restored_as_it_was_written() {
    let dir = TempDir::new().unwrap();
    let (archive, data) = (golden().join("backup"), dir.path().join("data"));
    backup::verify(&archive).unwrap();
    backup::restore(&archive, &data, "restored").unwrap();
    let journal = FileJournal::open(&data, &Options::new(Durability::Group, "unused")).unwrap();
    assert_eq!(picture(&journal.recover().unwrap()), expected("backup.txt"));
}

/// What this version writes reads the same; and here is how the fixture was made.
#[test]
fn what_is_written_today_reads_like_the_golden_directory() {
    let dir = TempDir::new().unwrap();
    let out = match std::env::var_os("GOLDEN_OUT") {
        Some(out) => PathBuf::from(out),
        None => dir.path().join("golden"),
    };
    assert!(!out.exists(), "{} is there already, and nothing is replaced", out.display());
    make(&out);
    for name in ["data.txt", "backup.txt"] {
        let made = fs::read_to_string(out.join(name)).unwrap();
        if std::env::var_os("GOLDEN_OUT").is_none() {
            assert_eq!(made, expected(name));
        }
    }
}

/// Writes a data directory with an image and a log behind it, a backup, and what is in them.
fn make(out: &Path) {
    let (data, archive) = (out.join("data"), out.join("backup"));
    fs::create_dir_all(&data).unwrap();
    let mut options = Options::new(Durability::Group, "golden-epoch");
    // Small files, and an image as soon as it is asked for.
    options.sizes.reserve_bytes = 64;
    options.sizes.log_bytes = 0;
    let journal = DiskJournal::open(Arc::new(LocalDisk::new(&data)), &options).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    let object = |value: Value| value.as_object().cloned().unwrap();
    let bucket =
        |name: &str, config: Value| Intent::DefineBucket { name: name.into(), config: object(config) };
    let people = json!({"key": "id", "schema": {
        "id": {"type": "string"}, "n": {"type": "number"}, "no": {"type": "number", "generated": "autoincrement"},
        "boss": {"type": "string", "ref": "people", "onDelete": "set_null"},
    }, "indexes": ["n", ["n", "boss"]], "note": "kept though it means nothing"});
    let numbers =
        json!({"key": "n", "schema": {"n": {"type": "number"}}, "etsType": "ordered_set", "maxSize": 3});
    let volatile = json!({"key": "id", "schema": {"id": {"type": "string"}}, "persistent": false});
    let sessions = json!({"key": "id", "schema": {"id": {"type": "string"}}, "ttl": "1h"});
    writer.write(&journal, [bucket("people", people), bucket("Zahlen/ü", numbers)]);
    writer.write(&journal, [bucket("volatile", volatile.clone()), bucket("sessions", sessions)]);
    writer.write(&journal, [bucket("dropped", volatile), Intent::DropBucket { name: "dropped".into() }]);
    let query =
        json!({"bucket": "people", "filter": {"n": {"$gt": "{{ params.n }}"}}, "sort": {"n": "desc"}});
    writer.write(&journal, [Intent::DefineQuery { name: "above".into(), config: object(query) }]);
    let deep =
        json!({"id": "a", "n": 1, "text": "ü \"quoted\"\n\u{1F600}", "deep": {"x": [1, 2.5, null, true]}});
    writer.write(&journal, [insert("people", deep), insert("volatile", json!({"id": "gone"}))]);
    writer.write(&journal, [insert("people", json!({"id": "b", "n": -0.125, "boss": "a"}))]);
    let numbers = [0, i64::MAX, -7, 12].map(|n| insert("Zahlen/ü", json!({"n": n})));
    writer.write(&journal, numbers);
    writer.write(
        &journal,
        [
            insert("people", json!({"id": "c", "n": 3})).idempotent("user:ada", "key-1"),
            Intent::Delete { bucket: "people".into(), key: json!("nobody") }
                .idempotent("address:127.0.0.1", "key-1"),
        ],
    );
    while journal.tend().unwrap() {}
    // What follows is only in the log.
    writer.write(&journal, [insert("sessions", json!({"id": "s", "value": 1.0e300}))]);
    let update = |key: &str, changes: Value| Intent::Update {
        bucket: "people".into(),
        key: json!(key),
        changes: object(changes),
    };
    writer.write(&journal, [update("b", json!({"n": 2, "extra": [[]]})), update("c", json!({"n": null}))]);
    backup::write(&writer.state, &archive, &mut |_| {}).unwrap();
    fs::write(out.join("backup.txt"), picture(&persistent(&archive))).unwrap();
    writer.write(
        &journal,
        [
            Intent::Delete { bucket: "people".into(), key: json!("a") },
            insert("people", json!({"id": "d"})).idempotent("user:ada", "key-2"),
        ],
    );
    let another = json!({"bucket": "sessions", "aggregate": {"function": "count"}});
    writer.write(
        &journal,
        [
            Intent::UndefineQuery { name: "above".into() },
            Intent::DefineQuery { name: "how many".into(), config: object(another) },
            Intent::Clear { bucket: "Zahlen/ü".into() },
            insert("Zahlen/ü", json!({"n": 5})),
            insert("volatile", json!({"id": "also gone"})),
        ],
    );
    drop(journal);
    fs::write(out.join("data.txt"), picture(&read(&data))).unwrap();
}

/// What a data directory holds, without changing it.
fn read(dir: &Path) -> Snapshot {
    dunlin_journal::read(dir).unwrap()
}

/// What a backup holds.
fn persistent(archive: &Path) -> Snapshot {
    let dir = TempDir::new().unwrap();
    backup::restore(archive, &dir.path().join("data"), "restored").unwrap();
    read(&dir.path().join("data"))
}

fn insert(bucket: &str, data: Value) -> Intent {
    let Value::Object(data) = data else { panic!("{data} is no object") };
    Intent::Insert { bucket: bucket.into(), data }
}

/// A writer whose times and ids are the same each time.
struct Writer {
    state: Snapshot,
    ids: Ids,
    now: u64,
}

struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

impl Writer {
    fn new(state: Snapshot) -> Self {
        Self { state, ids: Ids(0), now: 1_800_000_000_000 }
    }

    /// One batch; everything in it is accepted and changes something.
    fn write(&mut self, journal: &dyn Journal, intents: impl IntoIterator<Item = Intent>) {
        let mut commits: Vec<Commit> = Vec::new();
        for intent in intents {
            self.now += 1;
            let done = self.state.execute(intent, &mut Context::new(self.now, &mut self.ids)).unwrap();
            commits.extend(done.commit);
        }
        journal.append(Batch { commits: &commits, next: &self.state }).unwrap();
    }
}

/// Everything a state holds, as text.
fn picture(state: &Snapshot) -> String {
    let mut text =
        format!("{} at {}, next bucket {}\n", state.epoch(), state.position(), state.next_bucket());
    for bucket in state.buckets() {
        let (name, config, counters) = (bucket.name(), bucket.config(), bucket.counters());
        writeln!(text, "bucket {} {name} {config}", bucket.id().0).unwrap();
        writeln!(text, "  next row {}, last number {}", counters.next_row, counters.autoincrement).unwrap();
        for (row, record) in bucket.rows() {
            writeln!(text, "  {} {}", row.0, record.json()).unwrap();
        }
    }
    for query in state.queries() {
        writeln!(text, "query {} {}", query.name(), query.config()).unwrap();
    }
    for answer in state.answers() {
        let (until, json) = (answer.expires_at, answer.body.json());
        let (scope, key, fingerprint, position) =
            (&answer.scope, &answer.key, &answer.fingerprint, answer.position);
        writeln!(text, "answer {scope} {key} {fingerprint} {position} {until} {json}").unwrap();
    }
    text
}
