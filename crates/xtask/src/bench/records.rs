//! The records of the load and the requests about them, as bytes ready to send.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::connection::{Connection, TYPE_BYTES};
use crate::failure::{Failure, Outcome};
use crate::wire;

pub(crate) const BUCKET: &str = "people";

/// Records that `store.get` chooses from: more than fit into a core's second-level cache.
pub(crate) const PEOPLE: usize = 10_000;

/// Digits of a record's number: room for every insert of the longest run on every connection.
const DIGITS: usize = 10;

/// Insert numbers of one connection; 100 connections times this still fits the digits.
const NUMBERS_PER_CONNECTION: u64 = 100_000_000;

/// Requests sent at once while loading; their answers fit the socket buffers.
const LOAD_BATCH: usize = 250;

/// First request id, so that all ids of a run have the same length.
const FIRST_ID: usize = 1_000_000;

/// Loading takes well under a second when it works.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn define_bucket() -> Value {
    json!({"id": 1, "type": "store.defineBucket", "name": BUCKET, "config": {"key": "id", "schema": {
        "id": {"type": "string", "required": true},
        "name": {"type": "string", "required": true},
        "email": {"type": "string"},
        "city": {"type": "string"},
        "age": {"type": "number"},
        "active": {"type": "boolean"},
    }}})
}

pub(crate) fn key(number: u64) -> String {
    format!("r{number:0DIGITS$}")
}

/// About 110 bytes as sent, about 180 with the members a server adds (version and times).
fn insert(id: usize, number: u64) -> String {
    let key = key(number);
    format!(
        r#"{{"id":{id},"type":"store.insert","bucket":"{BUCKET}","data":{{"id":"{key}","name":"Person {number:05}","email":"person.{number:05}@example.org","city":"Rotterdam","age":41,"active":true}}}}"#
    )
}

/// The same with an idempotency key, as long as a UUID; its digits are those of the record's key.
fn keyed_insert(id: usize, number: u64) -> String {
    let (mut request, key) = (insert(id, number), key(number));
    request.pop();
    request + &format!(r#","idempotencyKey":"5b1e0c7a-8603-4f0e-9d21-0{key}"}}"#)
}

/// Inserts records 0 to `count` over a connection of their own.
pub(crate) async fn load(address: SocketAddr, count: usize) -> Outcome {
    load_as(None, address, count).await
}

/// The same, by somebody who logs in first.
pub(crate) async fn load_as(login: Option<&Value>, address: SocketAddr, count: usize) -> Outcome {
    load_all_as(login, address, (0..count).map(|number| insert(FIRST_ID + number, number as u64))).await
}

/// Sends prepared requests in batches over a connection of their own; every one must succeed.
pub(crate) async fn load_all(address: SocketAddr, requests: impl Iterator<Item = String>) -> Outcome {
    load_all_as(None, address, requests).await
}

/// The same, by somebody who logs in first.
pub(crate) async fn load_all_as(
    login: Option<&Value>,
    address: SocketAddr,
    requests: impl Iterator<Item = String>,
) -> Outcome {
    timeout(LOAD_LIMIT, load_batches(login, address, requests))
        .await
        .map_err(|_| Failure::new(format!("the records were not loaded within {LOAD_LIMIT:?}")))?
}

async fn load_batches(
    login: Option<&Value>,
    address: SocketAddr,
    mut requests: impl Iterator<Item = String>,
) -> Outcome {
    let mut connection = Connection::logged_in(address, TYPE_BYTES, login).await?;
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let mut missing = 0;
        for request in requests.by_ref().take(LOAD_BATCH) {
            wire::put_client_text(&mut frames, request.as_bytes());
            missing += 1;
        }
        if missing == 0 {
            return Ok(());
        }
        connection.exchange(&frames, missing).await?;
    }
}

/// `store.get` of every record, framed, all of one length.
pub(crate) struct Gets {
    frames: Vec<u8>,
    each: usize,
}

impl Gets {
    pub(crate) fn prepare() -> Self {
        let mut frames = Vec::new();
        for number in 0..PEOPLE {
            let (id, key) = (FIRST_ID + number, key(number as u64));
            let text = format!(r#"{{"id":{id},"type":"store.get","bucket":"{BUCKET}","key":"{key}"}}"#);
            wire::put_client_text(&mut frames, text.as_bytes());
        }
        let each = frames.len() / PEOPLE;
        Self { frames, each }
    }
}

/// An endless supply of requests for one connection.
pub(crate) enum Requests {
    Get {
        gets: Arc<Gets>,
        random: u64,
    },
    /// The digits of the number stand in one place or several.
    Insert {
        frame: Vec<u8>,
        digits: Vec<Range<usize>>,
        next: u64,
    },
}

impl Requests {
    pub(crate) fn gets(gets: &Arc<Gets>, connection: usize) -> Self {
        // Any odd start other than zero makes a sequence of its own.
        Self::Get {
            gets: Arc::clone(gets),
            random: (connection as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    pub(crate) fn inserts(connection: usize) -> Outcome<Self> {
        Self::numbered(connection, &insert(FIRST_ID, 0))
    }

    pub(crate) fn keyed_inserts(connection: usize) -> Outcome<Self> {
        Self::numbered(connection, &keyed_insert(FIRST_ID, 0))
    }

    /// From the request of record 0.
    fn numbered(connection: usize, request: &str) -> Outcome<Self> {
        let next = connection as u64 * NUMBERS_PER_CONNECTION;
        let mut frame = Vec::new();
        wire::put_client_text(&mut frame, request.as_bytes());
        let start = key(0);
        let start = start.as_bytes();
        let places = frame.windows(start.len()).enumerate().filter(|(_, window)| *window == start);
        let digits: Vec<_> = places.map(|(at, _)| at + 1..at + 1 + DIGITS).collect();
        if digits.is_empty() {
            return Err(Failure::new("the insert request has no key"));
        }
        Ok(Self::Insert { frame, digits, next })
    }

    /// Appends the next request.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Get { gets, random } => {
                // xorshift64: cheap, and its low bits are good enough to choose a record.
                *random ^= *random << 13;
                *random ^= *random >> 7;
                *random ^= *random << 17;
                let number = usize::try_from(*random % PEOPLE as u64).unwrap_or(0);
                let at = number * gets.each;
                out.extend_from_slice(&gets.frames[at..at + gets.each]);
            }
            Self::Insert { frame, digits, next } => {
                for place in digits {
                    let mut rest = *next;
                    for digit in frame[place.clone()].iter_mut().rev() {
                        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                        rest /= 10;
                    }
                }
                *next += 1;
                out.extend_from_slice(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn texts(mut requests: Requests, count: usize) -> Vec<Value> {
        let mut out = Vec::new();
        for _ in 0..count {
            requests.put(&mut out);
        }
        let mut buffer = BytesMut::from(&out[..]);
        let mut texts = Vec::new();
        while let Some(text) = wire::take_client_frame(&mut buffer).unwrap() {
            texts.push(serde_json::from_slice(&text).unwrap());
        }
        texts
    }

    #[test]
    fn gets_name_existing_records_and_vary() {
        let seen = texts(Requests::gets(&Arc::new(Gets::prepare()), 3), 1000);
        let keys: std::collections::HashSet<_> = seen.iter().map(|get| get["key"].to_string()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(keys.len() > 900, "{}", keys.len());
        assert!(keys.iter().all(|key| key.trim_matches('"') < super::key(PEOPLE as u64).as_str()));
    }

    #[test]
    fn inserts_never_repeat_a_key() {
        let seen = texts(Requests::inserts(49).unwrap(), 12);
        assert_eq!(seen[0]["data"]["id"], "r4900000000");
        assert_eq!(seen[11]["data"]["id"], "r4900000011");
        assert_eq!(seen[11]["type"], "store.insert");
    }

    #[test]
    fn keys_of_inserts_never_repeat_either() {
        let seen = texts(Requests::keyed_inserts(7).unwrap(), 12);
        assert_eq!(seen[11]["data"]["id"], "r0700000011");
        let keys: std::collections::HashSet<_> =
            seen.iter().map(|insert| insert["idempotencyKey"].as_str().unwrap().to_owned()).collect();
        assert_eq!((keys.len(), keys.iter().all(|key| key.len() == 36)), (12, true));
    }
}
