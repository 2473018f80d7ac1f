use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::testing::{Writer, define, insert, picture};
use crate::{BucketReport, inspect, read as read_dir};

fn state() -> Snapshot {
    let mut writer = Writer::new(Snapshot::new("epoch-1"));
    writer.commit(define("a")).unwrap();
    for n in 0..1_000 {
        writer.commit(insert("a", &format!("record {n} {}", "x".repeat(2_000)), n)).unwrap();
    }
    writer.state
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn places() -> (TempDir, PathBuf, PathBuf) {
    let dir = TempDir::new().unwrap();
    let (file, data) = (dir.path().join("backup"), dir.path().join("deep/data"));
    (dir, file, data)
}

#[test]
fn what_was_saved_is_restored_as_another_history() {
    let (dir, file, data) = places();
    let state = state();
    let mut told = Vec::new();
    let summary = write(&state, &file, &mut |progress| told.push(progress)).unwrap();
    assert_eq!(names(dir.path()), ["backup"], "nothing beside it");
    assert_eq!(summary.bytes, fs::metadata(&file).unwrap().len());
    assert!(told.len() > 2, "a progress for each megabyte: {told:?}");
    assert!(told.is_sorted_by_key(|progress| (progress.records, progress.bytes)));
    assert_eq!(told.last(), Some(&Progress { records: 1_000, total: 1_000, bytes: summary.bytes }));
    assert_eq!(verify(&file).unwrap(), summary);

    assert_eq!(restore(&file, &data, "epoch-2").unwrap(), summary);
    assert_eq!(names(&data), ["FORMAT", &crate::names::image(1_001)]);
    let restored = read_dir(&data).unwrap();
    assert_eq!(picture(&restored), picture(&state).replace("epoch-1", "epoch-2"));
    let inspection = inspect(&data).unwrap();
    assert_eq!(inspection.buckets, [BucketReport { name: "a".into(), records: 1_000 }]);
    assert_eq!(inspection.problem, None);
}

#[test]
fn no_file_is_overwritten() {
    let (dir, file, _) = places();
    fs::write(&file, "precious").unwrap();
    let error = write(&state(), &file, &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_EXISTS");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // One that comes while the backup is made is not, either.
    let late = dir.path().join("late");
    let error = write(&state(), &late, &mut |_| fs::write(&late, "precious").unwrap()).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_EXISTS");
    assert_eq!(fs::read_to_string(&late).unwrap(), "precious");
    assert_eq!(names(dir.path()), ["backup", "late"]);
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let (dir, _, _) = places();
    let error = write(&state(), &dir.path().join("missing/backup"), &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), "JOURNAL_IO");
    assert!(names(dir.path()).is_empty());

    // A write that fails on the way: the name is taken by a directory when the file is to be renamed.
    let out = dir.path().join("out");
    write(&state(), &out, &mut |_| drop(fs::create_dir(&out))).unwrap_err();
    assert_eq!(names(dir.path()), ["out"]);
    assert_eq!(write(&state(), Path::new("/"), &mut |_| {}).unwrap_err().code(), "JOURNAL_EXISTS");
}

#[test]
fn a_directory_with_content_is_left_alone() {
    let (_dir, file, data) = places();
    write(&state(), &file, &mut |_| {}).unwrap();
    fs::create_dir_all(data.join("lost+found")).unwrap();
    fs::write(data.join(".gitkeep"), "").unwrap();
    fs::write(data.join("notes"), "mine").unwrap();
    let error = restore(&file, &data, "epoch-2").unwrap_err();
    let expected = format!(
        "{} is not empty (notes); a backup is restored into an empty or a new directory",
        data.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(names(&data), [".gitkeep", "lost+found", "notes"]);

    fs::remove_file(data.join("notes")).unwrap();
    restore(&file, &data, "epoch-2").unwrap();
    let again = restore(&file, &data, "epoch-3").unwrap_err();
    assert_eq!(again.code(), "JOURNAL_NOT_EMPTY");
    assert_eq!(read_dir(&data).unwrap().epoch(), "epoch-2");
}

#[test]
fn a_damaged_backup_makes_no_directory() {
    let (_dir, file, data) = places();
    let summary = write(&state(), &file, &mut |_| {}).unwrap();
    let whole = fs::read(&file).unwrap();

    let mut bytes = whole.clone();
    bytes[1_000..1_100].fill(0);
    fs::write(&file, &bytes).unwrap();
    for error in [verify(&file).unwrap_err(), restore(&file, &data, "epoch-2").unwrap_err()] {
        assert_eq!(error.code(), "JOURNAL_BACKUP_DAMAGED");
        let told = error.to_string();
        let expected = format!("the backup is damaged at {}, byte ", file.display());
        assert!(told.starts_with(&expected) && told.ends_with("use another backup"), "{told}");
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(restore(&file, &data, "epoch-2").unwrap_err().code(), "JOURNAL_BACKUP_DAMAGED");
    assert!(!data.exists());

    // A single byte is mended, and the summary says so.
    let mut bytes = whole;
    bytes[1_000] ^= 0x10;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(restore(&file, &data, "epoch-2").unwrap(), Summary { mended: 1, ..summary });
    assert_eq!(fs::read(&file).unwrap(), bytes, "the backup is left as it is");
    assert_eq!(inspect(&data).unwrap().problem, None);
}

#[test]
fn a_restore_that_was_interrupted_can_be_repeated() {
    let (_dir, file, data) = places();
    write(&state(), &file, &mut |_| {}).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join(".image.new"), vec![7; 10_000_000]).unwrap();
    restore(&file, &data, "epoch-2").unwrap();
    assert_eq!(read_dir(&data).unwrap().position(), 1_001);

    // In the last moment: no directory of ours yet, and none that could be taken for an empty one.
    fs::remove_file(data.join("FORMAT")).unwrap();
    let problem = inspect(&data).unwrap().problem;
    assert_eq!(problem.as_deref(), Some("the file FORMAT is missing"));
    assert_eq!(restore(&file, &data, "epoch-2").unwrap_err().code(), "JOURNAL_NOT_EMPTY");
}
