//! `patch-bytes`: what a push of one changed field weighs on the wire, in a result of a thousand records.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::connection::{Connection, Kind, WHOLE, kind, refused};
use super::contest::{Canned, Contest, Role, Storage};
use super::hello::Extensions;
use super::limits::{DELIVERY_LIMIT, PATCHES};
use super::records::{self, BUCKET};
use super::report::{Report, count};
use crate::failure::{Failure, Outcome};
use crate::wire;

const RECORDS: usize = 1_000;

const QUERY: &str = "everybody";

const AIM: &str = "≤ 300";

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Full,
    Patch,
}

/// Bytes of the largest push in either mode.
pub(crate) struct Bytes {
    full: usize,
    patch: Result<usize, String>,
}

impl Bytes {
    pub(crate) fn put(&self, report: &mut Report) {
        let title = |mode| format!("bytes per push, one field in {} records, {mode} mode", count(RECORDS));
        report.aimed(&title("full"), count(self.full), "-");
        let patch = self.patch.clone().map_or_else(|skipped| skipped, count);
        report.aimed(&title("patch"), patch, AIM);
    }
}

/// The bytes do not depend on the machine, so one run is enough.
pub(crate) async fn run(contest: &Contest) -> Outcome<Bytes> {
    let missing = Extensions::of(contest).await?.missing(&["patch"]);
    let running = contest.start(Role::Dunlin, Storage::Memory, Canned::default()).await?;
    let measuring = async {
        let mut writer = Connection::open(running.address, WHOLE).await?;
        writer.call(&records::define_bucket()).await?;
        records::load(running.address, RECORDS).await?;
        let query =
            json!({"id": 2, "type": "store.defineQuery", "name": QUERY, "config": {"bucket": BUCKET}});
        writer.call(&query).await?;
        let full = largest(running.address, &mut writer, Mode::Full).await?;
        let patch = match missing {
            None => Ok(largest(running.address, &mut writer, Mode::Patch).await?),
            Some(skipped) => Err(skipped),
        };
        Ok(Bytes { full, patch })
    };
    let bytes = measuring.await.map_err(|why: Failure| running.server.failure(&why.to_string()))?;
    running.stop().await?;
    Ok(bytes)
}

/// Subscribes, changes one field of one record after another, and returns the bytes of the largest push.
async fn largest(address: SocketAddr, writer: &mut Connection, mode: Mode) -> Outcome<usize> {
    let mut subscriber = Connection::open(address, WHOLE).await?;
    let mut request = json!({"id": 1, "type": "store.subscribe", "query": QUERY});
    if mode == Mode::Patch {
        request["mode"] = "patch".into();
    }
    subscriber.call(&request).await?;
    let mut largest = 0;
    for number in 0..PATCHES {
        // Spread over the result, so that indexes of one, two and three digits occur.
        let key = records::key(number * number * 2 % RECORDS as u64);
        let age = 100 + number + if mode == Mode::Patch { PATCHES } else { 0 };
        writer
            .call(&json!({"id": 10 + number, "type": "store.update", "bucket": BUCKET, "key": key,
                "data": {"age": age}}))
            .await?;
        largest = largest.max(push(&mut subscriber, mode, age).await?);
    }
    Ok(largest)
}

/// Waits for a push, looks that it is what the mode promises and shows the change, and returns its bytes.
async fn push(subscriber: &mut Connection, mode: Mode, age: u64) -> Outcome<usize> {
    let mut seen = None;
    let waiting = async {
        while seen.is_none() {
            subscriber
                .receive(|payload, bytes| match kind(payload) {
                    Kind::Push => {
                        check(payload, mode, age)?;
                        seen = Some(wire::server_frame_bytes(bytes));
                        Ok(())
                    }
                    Kind::Failure => Err(refused(payload)),
                    Kind::Answer | Kind::Other => Ok(()),
                })
                .await?;
        }
        Ok(())
    };
    timeout(DELIVERY_LIMIT, waiting).await.map_err(|_| Failure::new("no push after an update"))??;
    seen.ok_or_else(|| Failure::new("no push after an update"))
}

fn check(payload: &[u8], mode: Mode, age: u64) -> Outcome {
    let shown = String::from_utf8_lossy(&payload[..payload.len().min(400)]);
    let push: Value = serde_json::from_slice(payload)
        .map_err(|why| Failure::new(format!("a push is not JSON ({why}): {shown}")))?;
    let good = match mode {
        Mode::Full => {
            push["data"].as_array().is_some_and(|records| records.iter().any(|record| record["age"] == age))
        }
        Mode::Patch => push["patch"].as_array().is_some_and(|operations| {
            operations.iter().any(|operation| {
                operation["value"] == age
                    && operation["path"].as_str().is_some_and(|path| path.ends_with("/age"))
            })
        }),
    };
    if good {
        Ok(())
    } else {
        Err(Failure::new(format!("a push does not show the change to {age}: {shown}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_must_be_of_its_mode_and_show_the_change() {
        let full =
            br#"{"type":"push","subscriptionId":"sub-1","data":[{"id":"a","age":7},{"id":"b","age":9}]}"#;
        let patch = br#"{"type":"push","position":4,"patch":[{"op":"replace","path":"/1/age","value":9}]}"#;
        assert!(check(full, Mode::Full, 9).is_ok() && check(patch, Mode::Patch, 9).is_ok());
        assert!(check(full, Mode::Full, 8).is_err() && check(patch, Mode::Patch, 8).is_err());
        assert!(check(full, Mode::Patch, 9).is_err() && check(patch, Mode::Full, 9).is_err());
        assert!(check(b"{", Mode::Full, 9).is_err());
    }
}
