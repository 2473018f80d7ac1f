use dunlin_store::Intent;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::open;
use crate::testing::{Writer, define, entry, fact, insert, object, picture};
use crate::{Batch, Durability, FileJournal, Journal, Options};

#[test]
fn every_kind_of_change_survives_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let query =
        |name: &str| Intent::DefineQuery { name: name.into(), config: object(json!({"bucket": "a"})) };
    let update = Intent::UpdateBucket {
        name: "a".into(),
        updates: object(json!({"addFields": {"extra": {"type": "string"}}, "addIndexes": ["extra"]})),
    };
    let change = Intent::Update {
        bucket: "a".into(),
        key: json!("y"),
        changes: object(json!({"n": 7, "extra": "ü\u{0}\"", "more": [1.5, null]})),
    };
    let steps: Vec<(&str, Intent)> = vec![
        ("define", define("a")),
        ("another", define("b")),
        ("insert", insert("a", "x", 1)),
        ("insert", insert("a", "y", 2)),
        ("insert", insert("b", "x", 3)),
        ("query", query("zz")),
        ("query", query("aa")),
        ("update bucket", update),
        ("update", change),
        ("delete", Intent::Delete { bucket: "a".into(), key: json!("x") }),
        ("clear", Intent::Clear { bucket: "a".into() }),
        ("insert after clear", insert("a", "z", 4)),
        ("drop", Intent::DropBucket { name: "b".into() }),
        ("undefine", Intent::UndefineQuery { name: "zz".into() }),
        ("query again", query("zz")),
        ("entries", entry("t/a", Some("{\"n\":1}"))),
        ("another entry", entry("r/ü", Some(""))),
        ("entry replaced", entry("t/a", Some("2"))),
        ("entry removed", entry("t/a", None)),
        ("fact", fact("k", Some(json!(null)))),
        ("fact set again", fact("k", Some(json!({"deep": [1.5, "x"]})))),
        ("fact removed", fact("k", None)),
        ("drop the last", Intent::DropBucket { name: "a".into() }),
    ];
    let mut writer = Writer::new(open(&dir).unwrap().recover().unwrap());
    for (step, intent) in steps {
        let journal = open(&dir).unwrap();
        let before = writer.state.position();
        writer.write(&journal, [intent]).unwrap();
        assert_eq!(writer.state.position(), before + 1, "{step} changes something");
        drop(journal);
        assert_eq!(picture(&open(&dir).unwrap().recover().unwrap()), picture(&writer.state), "after {step}");
    }
}

#[test]
fn a_bucket_defined_again_under_its_name_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    let again = || [Intent::DropBucket { name: "a".into() }, define("a")];
    writer.write(&journal, [define("a"), insert("a", "x", 1)]).unwrap();
    writer.write(&journal, again()).unwrap();
    drop(journal);
    let journal = open(&dir).unwrap();
    let recovered = journal.recover().unwrap();
    assert_eq!(recovered.bucket("a").unwrap().len(), 0);
    assert_eq!(picture(&recovered), picture(&writer.state));
    // Within one batch, and cleared in it too.
    let clear = Intent::Clear { bucket: "a".into() };
    writer
        .write(&journal, [insert("a", "y", 1), clear, insert("a", "z", 1)].into_iter().chain(again()))
        .unwrap();
    for _ in 0..4 {
        writer.write(&journal, [define("b"), Intent::DropBucket { name: "b".into() }]).unwrap();
    }
    drop(journal);
    assert_eq!(picture(&open(&dir).unwrap().recover().unwrap()), picture(&writer.state));
}

#[test]
fn a_new_directory_is_made_and_the_epoch_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("not/there/yet");
    let journal = FileJournal::open(&deep, &Options::new(Durability::Group, "first")).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    writer.write(&journal, [define("a")]).unwrap();
    assert_eq!(
        journal.describe().to_string(),
        format!("disk in {}, a write is synced to disk before it is answered", deep.display())
    );
    assert!(journal.blocks());
    drop(journal);
    let journal = FileJournal::open(&deep, &Options::new(Durability::Group, "second")).unwrap();
    assert_eq!(journal.recover().unwrap().epoch(), "first");

    let empty = dir.path().join("empty");
    std::fs::create_dir_all(empty.join("lost+found")).unwrap();
    std::fs::write(empty.join(".gitkeep"), "").unwrap();
    let journal = FileJournal::open(&empty, &Options::new(Durability::None, "second")).unwrap();
    assert_eq!((journal.recover().unwrap().position(), journal.recover().unwrap().epoch()), (0, "second"));
}

/// Any write on one of three buckets and two queries; many are refused by the store.
fn intent() -> impl Strategy<Value = Intent> {
    let bucket = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let query = || prop::sample::select(vec!["p", "q"]).prop_map(str::to_owned);
    let key = || (0u8..6).prop_map(|i| i.to_string());
    prop_oneof![
        3 => bucket().prop_map(|name| define(&name)),
        1 => bucket().prop_map(|name| Intent::DropBucket { name }),
        2 => bucket().prop_map(|bucket| Intent::Clear { bucket }),
        1 => (bucket(), 0u8..4).prop_map(|(name, i)| {
            let field = format!("f{i}");
            Intent::UpdateBucket { name, updates: object(json!({"addFields": {field: {"type": "string"}}})) }
        }),
        12 => (bucket(), key(), -5i64..5).prop_map(|(bucket, key, n)| insert(&bucket, &key, n)),
        6 => (bucket(), key(), ".{0,8}").prop_map(|(bucket, key, text)| Intent::Update {
            bucket,
            key: json!(key),
            changes: object(json!({"f0": text})),
        }),
        6 => (bucket(), key()).prop_map(|(bucket, key)| Intent::Delete { bucket, key: json!(key) }),
        1 => (query(), bucket()).prop_map(|(name, bucket)| Intent::DefineQuery {
            name,
            config: object(json!({"bucket": bucket})),
        }),
        1 => query().prop_map(|name| Intent::UndefineQuery { name }),
    ]
}

fn check(dir: &TempDir, batches: &[(Vec<Intent>, u8)]) -> Result<(), TestCaseError> {
    let mut journal = open(dir).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    for (intents, then) in batches {
        let before = picture(&writer.state);
        let mut commits = Vec::new();
        for intent in intents {
            commits.extend(writer.commit(intent.clone()));
        }
        if *then == 0 {
            // Not appended: as if the process had ended just before.
            drop(journal);
            journal = open(dir).unwrap();
            let recovered = journal.recover().unwrap();
            prop_assert_eq!(picture(&recovered), before);
            writer.state = recovered;
            continue;
        }
        journal.append(Batch { commits: &commits, next: &writer.state }).unwrap();
        if *then < 4 {
            drop(journal);
            journal = open(dir).unwrap();
        }
        if *then < 6 {
            let recovered = journal.recover().unwrap();
            prop_assert_eq!(picture(&recovered), picture(&writer.state));
            writer.state = recovered;
        }
    }
    drop(journal);
    prop_assert_eq!(picture(&open(dir).unwrap().recover().unwrap()), picture(&writer.state));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_recovered_state_equals_the_live_one(
        batches in prop::collection::vec((prop::collection::vec(intent(), 1..12), 0u8..10), 1..12),
    ) {
        check(&tempfile::tempdir().unwrap(), &batches)?;
    }
}

#[test]
fn of_a_bucket_that_is_not_persistent_only_the_definition_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir).unwrap();
    let mut writer = Writer::new(journal.recover().unwrap());
    let config = json!({"key": "id", "schema": {"id": {"type": "string"},
        "no": {"type": "number", "generated": "autoincrement"}}, "persistent": false});
    let volatile = Intent::DefineBucket { name: "volatile".into(), config: object(config) };
    let update = Intent::UpdateBucket {
        name: "volatile".into(),
        updates: object(json!({"addFields": {"extra": {"type": "string"}}})),
    };
    writer.write(&journal, [volatile, define("kept")]).unwrap();
    writer.write(&journal, [insert("volatile", "x", 1), insert("kept", "x", 1), update]).unwrap();
    let delete = Intent::Delete { bucket: "volatile".into(), key: json!("x") };
    writer.write(&journal, [delete, insert("volatile", "y", 1), insert("volatile", "z", 1)]).unwrap();
    writer
        .write(&journal, [Intent::Clear { bucket: "volatile".into() }, insert("volatile", "u", 1)])
        .unwrap();
    let log = std::fs::read(dir.path().join("data").join(crate::names::log(1))).unwrap();
    assert!(!String::from_utf8_lossy(&log).contains(r#""id":"z""#), "nothing of it is written");
    drop(journal);

    let journal = open(&dir).unwrap();
    let recovered = journal.recover().unwrap();
    assert_eq!((recovered.position(), recovered.bucket("kept").unwrap().len()), (writer.state.position(), 1));
    let volatile = recovered.bucket("volatile").unwrap();
    assert_eq!((volatile.len(), volatile.config()), (0, writer.state.bucket("volatile").unwrap().config()));
    // It goes on from nothing, and can be dropped like any other.
    let mut writer = Writer::new(recovered);
    writer.write(&journal, [insert("volatile", "x", 1)]).unwrap();
    let first = writer.state.bucket("volatile").unwrap().get(&json!("x")).unwrap().to_value();
    assert_eq!(first["no"], json!(1));
    writer.write(&journal, [Intent::DropBucket { name: "volatile".into() }]).unwrap();
    drop(journal);
    assert!(open(&dir).unwrap().recover().unwrap().bucket("volatile").is_err());
}
