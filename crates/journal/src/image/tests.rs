use dunlin_store::{Intent, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::block::{self, Found, Label, Reader};
use crate::disk::Disk;
use crate::testing::{MemoryDisk, MemoryFile, Writer, define, entry, fact, insert, object, picture};

/// Writes the image of a state in steps of so many bytes.
fn image_of(state: &Snapshot, step_bytes: usize) -> (Vec<u8>, Summary) {
    let disk = MemoryDisk::default();
    let mut writer = ImageWriter::with_steps(&disk, "image", state.clone(), step_bytes).unwrap();
    loop {
        if let Some(summary) = writer.step().unwrap() {
            assert_eq!(writer.records(), writer.records_in_all());
            assert_eq!(writer.bytes(), summary.bytes);
            return (disk.bytes("image"), summary);
        }
    }
}

fn read_bytes(bytes: &[u8]) -> Result<Image, Fault> {
    read(&MemoryFile::of(bytes.to_vec()), "image")
}

fn reason(bytes: &[u8]) -> String {
    match read_bytes(bytes).unwrap_err() {
        Fault::Damaged { name, offset, reason } => format!("{name}, byte {offset}: {reason}"),
        other => panic!("{other:?}"),
    }
}

/// Two buckets with records, one without, one whose records are not kept, one that is gone, and a query.
fn world() -> Writer {
    let mut writer = Writer::new(Snapshot::new("epoch-1"));
    let volatile = json!({"key": "id", "schema": {"id": {"type": "string"}}, "persistent": false});
    let query = json!({"bucket": "b", "filter": {"n": 1}});
    let intents = [
        define("a"),
        define("gone"),
        define("b"),
        define("empty"),
        Intent::DefineBucket { name: "volatile".into(), config: object(volatile) },
        Intent::DefineQuery { name: "ones".into(), config: object(query) },
        insert("a", "x", 1),
        insert("a", "grün \"and\" \n", 2),
        insert("b", "x", 1),
        Intent::Insert { bucket: "volatile".into(), data: object(json!({"id": "forgotten"})) },
        Intent::DropBucket { name: "gone".into() },
        entry("r/big", Some(&"x".repeat(300))),
        entry("t/a", Some("1")),
        entry("t/b", Some("2")),
        entry("t/a", None),
        fact("k", Some(json!([null]))),
    ];
    for intent in intents {
        writer.commit(intent).unwrap();
    }
    writer
}

/// A picture of a state without the records and counters of buckets that are not kept.
fn kept(state: &Snapshot) -> String {
    let text = picture(state);
    let lines = text.lines().filter(|line| !line.contains("forgotten"));
    let lines = lines.map(|line| {
        if line.contains("\"persistent\":false") { line.split(" Counters").next() } else { Some(line) }
    });
    lines.flatten().collect::<Vec<_>>().join("\n")
}

/// The blocks of a file: where each begins and ends.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let file = MemoryFile::of(bytes.to_vec());
    let mut reader = Reader::new(&file).unwrap();
    let mut blocks = Vec::new();
    while let Found::Block(block) = reader.next().unwrap() {
        blocks.push((usize::try_from(block.offset).unwrap(), usize::try_from(block.end).unwrap()));
    }
    blocks
}

#[test]
fn a_state_comes_back_from_its_image() {
    let state = world().state;
    for step_bytes in [1, 100, 1_000_000] {
        let (bytes, summary) = image_of(&state, step_bytes);
        let image = read_bytes(&bytes).unwrap();
        assert_eq!(image.summary, summary);
        assert_eq!((summary.buckets, summary.queries, summary.records), (5, 1, 4));
        assert_eq!(summary.bytes, bytes.len() as u64);
        assert!(image.mended.is_empty());
        assert_eq!(kept(&image.snapshot), kept(&state));
    }
}

#[test]
fn a_state_can_be_read_as_another_history() {
    let state = world().state;
    let (bytes, summary) = image_of(&state, 100);
    let image = read_as(&MemoryFile::of(bytes), "image", Some("epoch-2")).unwrap();
    assert_eq!((image.snapshot.epoch(), image.snapshot.position()), ("epoch-2", state.position()));
    assert_eq!(image.summary, summary, "which says what is in the file");
}

#[test]
fn the_empty_state_has_an_image() {
    let (bytes, summary) = image_of(&Snapshot::new("epoch-1"), 100);
    assert_eq!(picture(&read_bytes(&bytes).unwrap().snapshot), picture(&Snapshot::new("epoch-1")));
    assert_eq!((summary.records, summary.position), (0, 0));
}

#[test]
fn one_damaged_byte_is_mended_wherever_it_is() {
    let state = world().state;
    let (whole, _) = image_of(&state, 200);
    let expected = picture(&read_bytes(&whole).unwrap().snapshot);
    for place in 0..whole.len() {
        for damage in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= damage;
            let image = read_bytes(&bytes).unwrap_or_else(|fault| panic!("byte {place}: {fault:?}"));
            assert_eq!(picture(&image.snapshot), expected);
            for mending in image.mended {
                let start = usize::try_from(mending.offset).unwrap();
                bytes[start..start + mending.bytes.len()].copy_from_slice(&mending.bytes);
            }
            assert_eq!(bytes, whole, "byte {place}");
        }
    }
}

#[test]
fn more_damage_is_refused_with_its_place() {
    let (whole, _) = image_of(&world().state, 200);
    for (start, end) in blocks(&whole) {
        let mut bytes = whole.clone();
        bytes[end - 2] ^= 0xff;
        bytes[end - 1] ^= 0xff;
        assert_eq!(reason(&bytes), format!("image, byte {start}: the checksum of a payload does not fit"));
    }
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let (whole, _) = image_of(&world().state, 200);
    for length in 0..whole.len() {
        reason(&whole[..length]);
        let mut zeros = whole.clone();
        zeros[length..].fill(0);
        // The very last byte alone is damage that can be mended.
        assert_eq!(read_bytes(&zeros).is_ok(), length + 1 == whole.len(), "zeros from {length} on");
    }
    let last = blocks(&whole).pop().unwrap().0;
    assert_eq!(reason(&whole[..last]), format!("image, byte {last}: it ends before its last block"));
}

#[test]
fn whatever_follows_the_last_block_is_refused() {
    let (whole, _) = image_of(&world().state, 200);
    let end = whole.len();
    let again = whole[blocks(&whole).pop().unwrap().0..].to_vec();
    for more in [vec![0], vec![0; 48], vec![7; 100], again] {
        let expected = format!("image, byte {end}: {} bytes follow the last block", more.len());
        assert_eq!(reason(&[whole.clone(), more].concat()), expected);
    }
}

#[test]
fn blocks_that_are_missing_or_elsewhere_are_refused() {
    let (whole, _) = image_of(&world().state, 100);
    let blocks = blocks(&whole);
    assert!(blocks.len() > 4);
    for (start, end) in &blocks {
        let without = [&whole[..*start], &whole[*end..]].concat();
        reason(&without);
        let twice = [&whole[..*end], &whole[*start..]].concat();
        reason(&twice);
    }
    let [_, (a, b), (_, c), ..] = blocks[..] else { unreachable!() };
    let swapped = [&whole[..a], &whole[b..c], &whole[a..b], &whole[c..]].concat();
    assert_eq!(reason(&swapped), format!("image, byte {a}: block 2 stands where block 1 should be"));

    let mut other = world();
    other.commit(insert("a", "later", 1)).unwrap();
    let (other, _) = image_of(&other.state, 100);
    let mixed = [&whole[..b], &other[b..]].concat();
    assert_eq!(reason(&mixed), format!("image, byte {b}: the block belongs to another file"));
}

/// An image of these payloads.
fn forged(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (position, payload) in (0..).zip(payloads) {
        block::write(&mut bytes, Label { position, synced: 0, file: 7 }, payload);
    }
    bytes
}

#[test]
fn a_newer_format_is_refused_before_anything_else() {
    let bytes = forged(&[br#"{"kind":"image","format":3,"layout":"unknown"}"#]);
    assert!(matches!(read_bytes(&bytes), Err(Fault::Format(3))));
}

#[test]
fn payloads_that_make_no_sense_are_refused() {
    let head: &[u8] = br#"{"kind":"image","format":2,"epoch":"e","position":1,"nextBucket":0}"#;
    let totals: &[u8] = br#"{"blocks":2,"buckets":0,"queries":0,"records":0,"answers":0}"#;
    let log: &[u8] = br#"{"kind":"log","format":2,"epoch":"e","position":1}"#;
    let cases: [(&[&[u8]], &str); 7] = [
        (&[log, totals], "byte 0: it is a file of kind \"log\", format 2"),
        (&[b"{}", totals], "byte 0: the first block is not that of an image: missing field `kind`"),
        (&[head, totals], "the last block says"),
        (&[head, b"{\"blocks\":1}"], "the last block cannot be read: missing field"),
        (&[head, b"\x7d", totals], "there is no change of kind 125"),
        (&[head, b"\x02\x00", totals], "DropBucket { bucket: BucketId(0) } has no place in an image"),
        (&[head, b"\x05\x00\x00\x02{}", totals], "stored data belong to bucket 0, which is not defined"),
    ];
    for (payloads, expected) in cases {
        let told = reason(&forged(payloads));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn what_is_missing_on_disk_is_told_as_such() {
    let error = MemoryDisk::default().open("image").unwrap_err();
    let told = Fault::from(error).into_error("/data".as_ref()).to_string();
    assert_eq!(told, "cannot read /data: entity not found; check the disk and its mount");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_state_comes_back(
        writes in vec((0_u8..5, 0_usize..3, 0_u8..12, any::<i64>(), ".{0,40}"), 0..80),
        step_bytes in 1_usize..2_000,
    ) {
        let mut writer = Writer::new(Snapshot::new("epoch-1"));
        for (kind, bucket, key, n, text) in writes {
            let bucket = ["a", "b", "c"][bucket];
            let id = format!("{key}{}", if key < 6 { text.as_str() } else { "" });
            // What the store refuses changes nothing.
            writer.commit(match kind {
                0 => define(bucket),
                1 if key == 0 => Intent::DropBucket { name: bucket.into() },
                1 if key == 1 => Intent::Clear { bucket: bucket.into() },
                1 => Intent::Delete { bucket: bucket.into(), key: id.into() },
                _ => insert(bucket, &id, n),
            });
        }
        let (bytes, summary) = image_of(&writer.state, step_bytes);
        let image = read_bytes(&bytes).unwrap();
        prop_assert_eq!(picture(&image.snapshot), picture(&writer.state));
        prop_assert_eq!(image.summary, summary);
    }
}
