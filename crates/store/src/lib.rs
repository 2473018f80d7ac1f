//! The pure reactive store of dunlin: schema, records, indexes, filters and declarative queries.
//!
//! A [`Snapshot`] is an immutable picture of everything. A write goes one way: [`Snapshot::prepare`] works an
//! [`Intent`] out against the newest state into a [`Commit`], somebody makes the commit durable, and
//! [`Snapshot::apply`] changes a clone of the state. No clock, no randomness, no I/O: the same commits give the
//! same state everywhere.
//!
//! ```
//! use dunlin_store::{Context, IdSource, Intent, Outcome, Snapshot};
//! use serde_json::json;
//!
//! struct Ids(u128);
//! impl IdSource for Ids {
//!     fn next(&mut self) -> u128 {
//!         self.0 += 1;
//!         self.0
//!     }
//! }
//!
//! let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
//! let mut ids = Ids(0);
//! let mut state = Snapshot::new("epoch-1");
//! let config = object(json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}}));
//! for intent in [
//!     Intent::DefineBucket { name: "points".into(), config },
//!     Intent::Insert { bucket: "points".into(), data: object(json!({"id": "a", "n": 1})) },
//! ] {
//!     let prepared = state.prepare(intent, &mut Context { now: 1_000, ids: &mut ids })?;
//!     if let Some(commit) = &prepared.commit {
//!         state.apply(commit)?; // after the commit is durable
//!     }
//! }
//! let record = state.bucket("points")?.get(&json!("a")).map(|record| record.json().to_owned());
//! assert_eq!(record.as_deref(), Some(r#"{"id":"a","n":1,"_version":1,"_createdAt":1000,"_updatedAt":1000}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod apply;
mod bucket;
mod commit;
mod encode;
mod error;
mod filter;
mod generate;
mod index;
mod intent;
mod key;
mod keys;
pub mod limits;
mod members;
mod number;
mod order_key;
mod packed;
mod prepare;
mod query;
mod record;
mod restore;
mod rows;
mod schema;
mod snapshot;
mod validate;
mod value;

pub use aggregate::Aggregate;
pub use bucket::{Bucket, Page, Records, Scan};
pub use commit::{BucketId, Change, Commit, Counters, RowId};
pub use error::{ApplyError, Issue, RestoreError, StoreError};
pub use filter::{Filter, Matcher};
pub use intent::{Context, IdSource, Intent, Outcome, Prepared};
pub use key::Key;
pub use number::Number;
pub use query::{BoundQuery, Query};
pub use record::Record;
pub use restore::Restore;
pub use schema::{Definition, Field, FieldType, Generator, Member};
pub use snapshot::{BucketStats, CountStats, QueryStats, Snapshot, Stats};
pub use value::FieldValue;
