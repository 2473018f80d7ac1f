use std::fs;
use std::os::unix::fs::PermissionsExt;

use dunlin_store::Intent;
use serde_json::json;
use tempfile::TempDir;

use super::{open, told};
use crate::testing::{Writer, define, insert, picture};
use crate::{Batch, Durability, FileJournal, Journal, JournalError, Options};

/// A journal with bucket 0 `a`, row 0 `x` and query `q`, and its writer.
fn filled(dir: &TempDir) -> (FileJournal, Writer) {
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

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(&dir));
    let format = dir.path().join("data/FORMAT");
    fs::write(&format, "dunlin data, format 3\n").unwrap();
    let error = open(&dir).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_FORMAT");
    assert_eq!(
        told(&dir, &error),
        "the data in T/data have format 3, this dunlin reads 2; use the version that wrote them"
    );
    fs::write(&format, "dunlin data, format 2\r").unwrap();
    open(&dir).unwrap();
    assert_eq!(fs::read_to_string(&format).unwrap(), "dunlin data, format 2\n", "one byte is mended");
    fs::write(&format, "what").unwrap();
    let told_of = told(&dir, &open(&dir).unwrap_err());
    assert!(told_of.starts_with("the data in T/data are damaged at FORMAT: it says \"what\""), "{told_of}");

    let old = dir.path().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("version"), b"FJL\x03").unwrap();
    let error = FileJournal::open(&old, &Options::new(Durability::None, "e")).unwrap_err();
    assert_eq!(
        told(&dir, &error),
        "the data in T/old have format 1 (of a development version), this dunlin reads 2; use the version that wrote \
         them"
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
        FileJournal::open(dir.path().join("file/data"), &Options::new(Durability::None, "e")).unwrap_err();
    assert_eq!(below.code(), "JOURNAL_IO");
    assert_eq!(
        told(&dir, &below),
        "cannot create T/file/data: Not a directory (os error 20); check the disk and its mount"
    );

    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        return; // The superuser may write anywhere; `engine` tests the text from the error itself.
    }
    let error = FileJournal::open(locked.join("data"), &Options::new(Durability::None, "e")).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_PERMISSION");
    assert_eq!(
        told(&dir, &error),
        "no permission to create T/locked/data (Permission denied (os error 13)); make it writable for the user of \
         this process"
    );
}

#[test]
fn a_torn_write_is_forgotten_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = filled(&dir);
    let before = picture(&writer.state);
    drop(journal);
    let file = dir.path().join("data").join(crate::names::log(1));
    drop(open(&dir).unwrap());
    let good = fs::metadata(&file).unwrap().len();
    let journal = open(&dir).unwrap();
    writer.write(&journal, [insert("a", "y", 2), insert("a", "z", 3)]).unwrap();
    drop(journal);
    // With it the torn write would be known to have been acknowledged.
    fs::remove_file(dir.path().join("data/synced")).unwrap();
    let whole = fs::read(&file).unwrap();
    let written = usize::try_from(good).unwrap();
    assert!(whole.len() > written, "the log grew");
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for length in written..end {
        fs::write(&file, &whole[..length]).unwrap();
        let recovered = open(&dir).unwrap().recover().unwrap();
        assert_eq!(picture(&recovered), before, "torn after {length} of {end} bytes");
        fs::remove_file(dir.path().join("data/synced")).unwrap();
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
