//! `definitions.json`, and the names of the files beside it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The newest format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;
pub(super) const FILE: &str = "definitions.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definitions {
    pub(super) format: u32,
    pub(super) buckets: Vec<Bucket>,
    pub(super) queries: Vec<Query>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) config: Map<String, Value>,
    pub(super) records: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) name: String,
    pub(super) config: Map<String, Value>,
}

/// The file of a bucket. Every character that some file system may not like, or that could lead out of the directory, is
/// written as its bytes, `%` and two digits each; so different buckets never share a file.
pub(super) fn file_of(bucket: &str) -> String {
    let mut name = String::with_capacity(bucket.len() + 6);
    for byte in bucket.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-') {
            name.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name.push_str(".jsonl");
    name
}

#[cfg(test)]
mod tests {
    use super::file_of;

    #[test]
    fn different_buckets_have_different_files_on_every_file_system() {
        let files = ["a:b", "a/b", "a_b", "a.b", "../b", "A_b", "a%5Fb", "ü"].map(file_of);
        for (i, file) in files.iter().enumerate() {
            let stem = file.strip_suffix(".jsonl").unwrap();
            assert!(stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-%".contains(&b)), "{file}");
            let lower = file.to_lowercase();
            assert!(files.iter().skip(i + 1).all(|other| other.to_lowercase() != lower), "{file}");
        }
        assert_eq!(file_of("users"), "users.jsonl");
    }
}
