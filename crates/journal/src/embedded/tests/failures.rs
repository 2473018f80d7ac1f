use std::fs;
use std::os::unix::fs::PermissionsExt;

use dunlin_store::{BucketId, Cause, Change, Commit, Intent, RowId};
use serde_json::json;
use tempfile::TempDir;

use super::{open, told};
use crate::embedded::layout::{RowKey, sweep_key};
use crate::testing::{Writer, define, insert, picture};
use crate::{Batch, Durability, FjallJournal, Journal, JournalError, Options};

/// A journal with bucket 0 `a`, row 0 `x` and query `q`, and its writer.
fn filled(dir: &TempDir) -> (FjallJournal, Writer) {
    let journal = open(dir).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    let config = json!({"bucket": "a"}).as_object().cloned().unwrap();
    let query = Intent::DefineQuery { name: "q".into(), config };
    writer.write(&journal, [define("a"), insert("a", "x", 1), query]).unwrap();
    (journal, writer)
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = filled(&dir);
    let error = open(&dir).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_LOCKED");
    assert_eq!(
        told(&dir, &error),
        "the data directory T/data is in use by another dunlin; stop that one or choose another --data-dir"
    );
    drop(journal);
    open(&dir).unwrap();
}

/// Keyspace, key, its new value (`None` removes it), and what the error must name.
type Tampering<'a> = (&'a str, &'a [u8], Option<&'a [u8]>, &'a str);

#[test]
fn damage_is_named() {
    let row = |row| RowKey { bucket: 0, generation: 0, row }.bytes();
    let stray = RowKey { bucket: 0, generation: 1, row: 4 }.bytes();
    let record = br#"{"id":"x","_version":1,"_createdAt":5,"_updatedAt":5}"#;
    let cases: [Tampering; 16] = [
        ("rows", &row(0), Some(b"{\"id\":"), "keyspace rows, key 0/0/0 (bucket/generation/row): "),
        (
            "rows",
            &row(0),
            Some(b"\xff"),
            "keyspace rows, key 0/0/0 (bucket/generation/row): the record is not text: \\xff",
        ),
        ("rows", &row(3), Some(record), "keyspace rows, key 0/0/3 (bucket/generation/row): "),
        (
            "rows",
            &stray,
            Some(record),
            "keyspace rows, key 0/1/4 (bucket/generation/row): the row belongs to no bucket",
        ),
        ("rows", b"short", Some(b""), "keyspace rows, key short: the key has a wrong length"),
        ("meta", b"bucket/0000000000", None, "keyspace meta, key bucket/0000000000: it is missing"),
        (
            "meta",
            b"bucket/0000000000",
            Some(b"{}"),
            "keyspace meta, key bucket/0000000000: unexpected value {}",
        ),
        (
            "meta",
            b"bucket/0000000000",
            Some(br#"{"name":"a","config":"{}"}"#),
            "keyspace meta, key bucket/0000000000: ",
        ),
        (
            "meta",
            b"bucket/0000000009",
            Some(br#"{"name":"b","config":"{}"}"#),
            "keyspace meta, key generation/0000000009: it is missing",
        ),
        ("meta", b"generation/0000000000", None, "keyspace meta, key generation/0000000000: it is missing"),
        (
            "meta",
            b"counters/0000000000",
            Some(b"7"),
            "keyspace meta, key counters/0000000000: unexpected value 7",
        ),
        (
            "meta",
            b"query/00000000000000000000",
            Some(br#"{"name":"q","config":"[]"}"#),
            "keyspace meta, key query/00000000000000000000: ",
        ),
        ("meta", b"position", None, "keyspace meta, key position: it is missing"),
        ("meta", b"epoch", None, "keyspace meta, key epoch: it is missing"),
        ("meta", b"format", None, "keyspace meta, key format: it is missing"),
        ("meta", b"stranger", Some(b""), "keyspace meta, key stranger: there is no such key"),
    ];
    for (keyspace, key, value, place) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = filled(&dir);
        journal.tamper(keyspace, key, value);
        let running = journal.recover().expect_err(place);
        drop(journal);
        let error = match open(&dir) {
            Ok(journal) => journal.recover().expect_err(place),
            Err(error) => error,
        };
        for error in [running, error] {
            assert_eq!(error.code(), "JOURNAL_DAMAGED", "{place}");
            let text = told(&dir, &error);
            assert!(
                text.starts_with(&format!("the data in T/data are damaged at {place}")),
                "{text}\n{place}"
            );
            assert!(text.ends_with("; restore a backup, or copy the directory and ask for help"), "{text}");
        }
    }
}

#[test]
fn garbage_that_is_announced_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, writer) = filled(&dir);
    journal.tamper("meta", sweep_key(0, 7).as_bytes(), Some(b""));
    journal.tamper("rows", &RowKey { bucket: 0, generation: 7, row: 4 }.bytes(), Some(b"garbage"));
    assert_eq!(picture(&journal.recover().unwrap()), picture(&writer.state));
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = filled(&dir);
    journal.tamper("meta", b"format", Some(b"2"));
    journal.tamper("meta", b"of the future", Some(b""));
    drop(journal);
    let error = open(&dir).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_FORMAT");
    assert_eq!(
        told(&dir, &error),
        "the data in T/data have format 2, this dunlin reads 1; use the version that wrote them"
    );
    fs::write(dir.path().join("data/version"), b"FJL\x09").unwrap();
    assert_eq!(
        told(&dir, &open(&dir).unwrap_err()),
        "the data in T/data have format unknown, this dunlin reads fjall 3; use the version that wrote them"
    );
}

#[test]
fn a_directory_with_other_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/letter.txt"), "dear").unwrap();
    assert_eq!(
        told(&dir, &open(&dir).unwrap_err()),
        "T/data is not empty (letter.txt) and holds no complete dunlin data; choose an empty or a new --data-dir"
    );
    assert_eq!(fs::read_dir(dir.path().join("data")).unwrap().count(), 1, "nothing was put beside it");
}

#[test]
fn a_directory_that_cannot_be_made_or_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let below =
        FjallJournal::open(dir.path().join("file/data"), &Options::new(Durability::None, "e")).unwrap_err();
    assert_eq!(below.code(), "JOURNAL_IO");
    assert_eq!(
        told(&dir, &below),
        "cannot open T/file/data: Not a directory (os error 20); check the disk and its mount"
    );

    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        return; // The superuser may write anywhere; `engine` tests the text from the error itself.
    }
    let error = FjallJournal::open(locked.join("data"), &Options::new(Durability::None, "e")).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_PERMISSION");
    assert_eq!(
        told(&dir, &error),
        "no permission to create T/locked/data (Permission denied (os error 13)); make it writable for the user of \
         this process"
    );
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = filled(&dir);
    let before = picture(&writer.state);
    let kept = writer.state.clone();
    let good = writer.commit(insert("a", "y", 2)).unwrap();
    let missing = BucketId(9);
    let bad = |change| Commit { position: good.position + 1, at: 1, changes: vec![change] };
    let named = || ("q".into(), r#"{"bucket":"a"}"#.into());
    let cases = [
        (Change::Remove { bucket: missing, row: RowId(0), cause: Cause::Deleted }, "bucket 9 does not exist"),
        (Change::Clear { bucket: missing }, "bucket 9 does not exist"),
        (Change::DropBucket { bucket: missing }, "bucket 9 does not exist"),
        (Change::UpdateBucket { bucket: missing, config: "{}".into() }, "bucket 9 does not exist"),
        (
            Change::Counters { bucket: missing, counters: dunlin_store::Counters::default() },
            "bucket 9 does not exist",
        ),
        (
            Change::DefineBucket { bucket: BucketId(0), name: "b".into(), config: "{}".into() },
            "bucket id 0 is used up",
        ),
        (Change::UndefineQuery { name: "none".into() }, "query \"none\" does not exist"),
        (Change::DefineQuery { name: named().0, config: named().1 }, "query \"q\" exists already"),
    ];
    for (change, reason) in cases {
        let commits = [good.clone(), bad(change)];
        // The state after a commit that contradicts it cannot be had; its position is all that is looked at.
        let mut next = kept.clone();
        next.apply(&good).unwrap();
        let empty = Commit { position: next.position() + 1, at: 1, changes: Vec::new() };
        next.apply(&empty).unwrap();
        let error = journal.append(Batch { commits: &commits, next: &next }).unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert_eq!(
            error.to_string(),
            format!("commit 5 cannot be stored: {reason}; recover the newest state before going on")
        );
        assert_eq!(picture(&journal.recover().unwrap()), before, "the good half was not kept either");
    }
    journal.append(Batch { commits: &[good], next: &writer.state }).unwrap();
    assert_eq!(picture(&journal.recover().unwrap()), picture(&writer.state));
}

#[test]
fn a_torn_write_is_forgotten_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = filled(&dir);
    let before = picture(&writer.state);
    let file = dir.path().join("data/0.jnl");
    let good = {
        drop(journal);
        // Opening cuts the space that the log keeps in reserve.
        drop(open(&dir).unwrap());
        fs::metadata(&file).unwrap().len()
    };
    let journal = open(&dir).unwrap();
    writer.write(&journal, [insert("a", "y", 2), insert("a", "z", 3)]).unwrap();
    drop(journal);
    let whole = fs::read(&file).unwrap();
    let written = usize::try_from(good).unwrap();
    assert!(whole.len() > written, "the log grew");
    for length in written..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        let recovered = open(&dir).unwrap().recover().unwrap();
        assert_eq!(picture(&recovered), before, "torn after {length} of {} bytes", whole.len());
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(picture(&open(&dir).unwrap().recover().unwrap()), picture(&writer.state));
}

#[test]
fn only_the_next_commit_of_this_history_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = filled(&dir);
    let skipped = writer.commit(insert("a", "y", 2)).unwrap();
    let after = writer.commit(insert("a", "z", 2)).unwrap();
    let error = journal.append(Batch { commits: &[after], next: &writer.state }).unwrap_err();
    assert!(matches!(error, JournalError::OutOfOrder { expected: 4, given: 5 }), "{error}");
    let mut other = Writer::new(dunlin_store::Snapshot::new("other"));
    let error = other.write(&journal, [define("a")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a commit of history other cannot be stored, this is history first; recover before going on"
    );
    let error = journal.append(Batch { commits: &[skipped], next: &writer.state }).unwrap_err();
    assert!(error.is_refusal(), "the state is not the one after the commit: {error}");
}

#[test]
fn after_a_failure_the_journal_refuses_until_it_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = filled(&dir);
    let before = writer.state.clone();
    std::thread::scope(|scope| {
        let died = scope.spawn(|| {
            let _held = journal.state();
            panic!("as if the engine had panicked within an append");
        });
        assert!(died.join().is_err());
    });
    let error = writer.write(&journal, [insert("a", "y", 2)]).unwrap_err();
    assert!(!error.is_refusal());
    assert_eq!(
        told(&dir, &error),
        "the journal in T/data is out of service since a write failed; recover it to go on"
    );
    writer.state = journal.recover().unwrap();
    assert_eq!(picture(&writer.state), picture(&before));
    writer.write(&journal, [insert("a", "y", 2)]).unwrap();
    drop(journal);
    assert_eq!(picture(&open(&dir).unwrap().recover().unwrap()), picture(&writer.state));
}
