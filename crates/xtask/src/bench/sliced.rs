//! Records in slices of five, and the query for one slice: what most live queries of an application look like.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::connection::Connection;
use super::records;
use crate::failure::Outcome;

const BUCKET: &str = "tasks";
const QUERY: &str = "slice";

/// Records of one slice.
pub(crate) const EACH: usize = 5;

/// Request ids of one length, so that a request's length says nothing about when it was sent.
const FIRST_ID: u64 = 1_000_000;

/// Makes the bucket with `slices` slices and the query; `setup` keeps whole payloads.
pub(crate) async fn prepare(address: SocketAddr, setup: &mut Connection, slices: usize) -> Outcome {
    setup.call(&define_bucket()).await?;
    setup.call(&define_query()).await?;
    records::load_all(address, (0..slices * EACH).map(|number| insert(number).to_string())).await
}

fn define_bucket() -> Value {
    json!({"id": 1, "type": "store.defineBucket", "name": BUCKET, "config": {"key": "id", "schema": {
        "id": {"type": "string", "required": true},
        "slice": {"type": "string", "required": true},
        "title": {"type": "string"},
        "note": {"type": "string"},
    }, "indexes": ["slice"]}})
}

fn define_query() -> Value {
    json!({"id": 2, "type": "store.defineQuery", "name": QUERY,
        "config": {"bucket": BUCKET, "filter": {"slice": "{{ params.slice }}"}}})
}

fn insert(number: usize) -> Value {
    json!({"id": FIRST_ID + number as u64, "type": "store.insert", "bucket": BUCKET, "data": {
        "id": key(number / EACH, number % EACH), "slice": name(number / EACH),
        "title": format!("Task {number}"), "note": "new",
    }})
}

/// Changes a record of one slice; the note should be one it does not have.
pub(crate) fn update(id: u64, slice: usize, record: usize, note: &str) -> Value {
    json!({"id": FIRST_ID + id, "type": "store.update", "bucket": BUCKET, "key": key(slice, record),
        "data": {"note": note}})
}

/// Subscribes to one slice in plain 1.0.0.
pub(crate) fn subscribe(slice: usize) -> Value {
    json!({"id": 1, "type": "store.subscribe", "query": QUERY, "params": {"slice": name(slice)}})
}

fn name(slice: usize) -> String {
    format!("s{slice:06}")
}

fn key(slice: usize, record: usize) -> String {
    format!("t{slice:06}-{record}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_its_records_and_nobody_elses() {
        let of = |slice| (0..20 * EACH).map(insert).filter(move |one| one["data"]["slice"] == name(slice));
        assert_eq!(of(7).count(), EACH);
        let keys: Vec<_> = of(7).map(|one| one["data"]["id"].clone()).collect();
        assert!((0..EACH).all(|record| keys.contains(&update(1, 7, record, "x")["key"])), "{keys:?}");
        assert_eq!(subscribe(7)["params"]["slice"], name(7));
    }
}
