//! How the state lies on disk: names and values in the two keyspaces.
//!
//! `meta`: text keys.
//!
//! | key | value |
//! |---|---|
//! | `format` | [`FORMAT`] as decimal text |
//! | `epoch` | the history's name |
//! | `position` | position of the newest commit, u64 |
//! | `nextBucket` | the next bucket id, u32 |
//! | `bucket/<id>` | `{"name": …, "config": "<definition, JSON text as given>"}` |
//! | `generation/<id>` | the bucket's generation, u32 |
//! | `counters/<id>` | next row u64, autoincrement u64 |
//! | `query/<order>` | `{"name": …, "config": "<definition, JSON text as given>"}` |
//! | `sweep/<id>/<generation>` | empty: rows of this generation are garbage |
//!
//! `rows`: key = bucket u32, generation u32, row u64; value = the record's JSON text. Numbers are big-endian; those in
//! text keys are decimal with leading zeros, so both sort by number. Clearing a bucket raises its generation, which
//! makes all its rows unreachable with one small write.

use dunlin_store::Counters;
use serde::{Deserialize, Serialize};

/// The newest format this version writes and reads.
pub(super) const FORMAT: u32 = 1;

pub(super) const FORMAT_KEY: &str = "format";
pub(super) const EPOCH_KEY: &str = "epoch";
pub(super) const POSITION_KEY: &str = "position";
pub(super) const NEXT_BUCKET_KEY: &str = "nextBucket";

/// A bucket's or query's definition.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) config: String,
}

/// A key of `meta`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetaKey {
    Format,
    Epoch,
    Position,
    NextBucket,
    Bucket(u32),
    Generation(u32),
    Counters(u32),
    Query(u64),
    Sweep(u32, u32),
}

pub(super) fn bucket_key(bucket: u32) -> String {
    format!("bucket/{bucket:010}")
}

pub(super) fn generation_key(bucket: u32) -> String {
    format!("generation/{bucket:010}")
}

pub(super) fn counters_key(bucket: u32) -> String {
    format!("counters/{bucket:010}")
}

pub(super) fn query_key(order: u64) -> String {
    format!("query/{order:020}")
}

pub(super) fn sweep_key(bucket: u32, generation: u32) -> String {
    format!("sweep/{bucket:010}/{generation:010}")
}

impl MetaKey {
    /// Reads a key; `None` for one that this format does not have.
    pub(super) fn read(key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let mut parts = key.split('/');
        let read = match (parts.next()?, parts.next(), parts.next()) {
            (FORMAT_KEY, None, _) => Self::Format,
            (EPOCH_KEY, None, _) => Self::Epoch,
            (POSITION_KEY, None, _) => Self::Position,
            (NEXT_BUCKET_KEY, None, _) => Self::NextBucket,
            ("bucket", Some(id), None) => Self::Bucket(id.parse().ok()?),
            ("generation", Some(id), None) => Self::Generation(id.parse().ok()?),
            ("counters", Some(id), None) => Self::Counters(id.parse().ok()?),
            ("query", Some(order), None) => Self::Query(order.parse().ok()?),
            ("sweep", Some(id), Some(generation)) => Self::Sweep(id.parse().ok()?, generation.parse().ok()?),
            _ => return None,
        };
        parts.next().is_none().then_some(read)
    }
}

/// A key of `rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) bucket: u32,
    pub(super) generation: u32,
    pub(super) row: u64,
}

impl RowKey {
    pub(super) fn bytes(self) -> [u8; 16] {
        let whole = u128::from(self.bucket) << 96 | u128::from(self.generation) << 64 | u128::from(self.row);
        whole.to_be_bytes()
    }

    /// Reads a key; `None` if it has another length.
    pub(super) fn read(key: &[u8]) -> Option<Self> {
        let (bucket, rest) = key.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        Some(Self {
            bucket: u32::from_be_bytes(*bucket),
            generation: u32::from_be_bytes(*generation),
            row: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

pub(super) fn counters_value(counters: Counters) -> Vec<u8> {
    [counters.next_row.to_be_bytes(), counters.autoincrement.to_be_bytes()].concat()
}

pub(super) fn read_counters(value: &[u8]) -> Option<Counters> {
    let (next_row, rest) = value.split_first_chunk()?;
    Some(Counters {
        next_row: u64::from_be_bytes(*next_row),
        autoincrement: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_sort_by_number() {
        for (text, key) in [
            (bucket_key(7), MetaKey::Bucket(7)),
            (generation_key(u32::MAX), MetaKey::Generation(u32::MAX)),
            (counters_key(0), MetaKey::Counters(0)),
            (query_key(u64::MAX), MetaKey::Query(u64::MAX)),
            (sweep_key(3, 4), MetaKey::Sweep(3, 4)),
            ("nextBucket".to_owned(), MetaKey::NextBucket),
        ] {
            assert_eq!(MetaKey::read(text.as_bytes()), Some(key));
        }
        for wrong in
            ["", "bucket", "bucket/", "bucket/x", "bucket/1/2", "sweep/1", "sweep/1/2/3", "format/1", "?"]
        {
            assert_eq!(MetaKey::read(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(query_key(9) < query_key(10));
        let key = RowKey { bucket: 1, generation: 2, row: u64::MAX };
        assert_eq!(RowKey::read(&key.bytes()), Some(key));
        assert!(key.bytes() < RowKey { bucket: 1, generation: 3, row: 0 }.bytes());
        assert_eq!(RowKey::read(&key.bytes()[..15]), None);
        assert_eq!(RowKey::read(&[0; 17]), None);
    }

    #[test]
    fn counters_read_back() {
        let counters = Counters { next_row: 1, autoincrement: u64::MAX };
        assert_eq!(read_counters(&counters_value(counters)), Some(counters));
        assert_eq!(read_counters(&[0; 15]), None);
    }
}
