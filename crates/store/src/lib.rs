//! The pure reactive store of dunlin: schema, records, indexes, filters and declarative queries.
//!
//! A [`Snapshot`] is a picture of everything; clones of it share what is equal and never see one another's changes. A
//! write goes one way: [`Snapshot::execute`] carries an [`Intent`] out on the writer's own clone and gives a [`Commit`],
//! somebody makes the commit durable, and then the clone is shown to readers. [`Snapshot::apply`] follows the commits of
//! another writer. No clock, no randomness, no I/O: the same commits give the same state everywhere.
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
//!     let executed = state.execute(intent, &mut Context::new(1_000, &mut ids))?;
//!     assert_eq!(executed.commit.map(|commit| commit.position), Some(state.position()));
//! }
//! let record = state.bucket("points")?.get(&json!("a")).map(|record| record.json().to_owned());
//! assert_eq!(record.as_deref(), Some(r#"{"id":"a","n":1,"_version":1,"_createdAt":1000,"_updatedAt":1000}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod answers;
mod apply;
mod bucket;
mod commit;
mod draft;
mod encode;
mod error;
mod filter;
mod format;
mod generate;
mod guard;
mod idempotency;
mod index;
mod intent;
mod key;
mod keys;
pub mod limits;
mod live;
mod members;
mod migration;
mod number;
mod order_key;
mod outcome;
mod packed;
mod path;
mod plan;
mod query;
mod record;
mod restore;
mod rows;
mod schema;
mod snapshot;
mod system;
mod validate;
mod validators;
mod value;
mod work;

pub use answers::{Answer, Body};
pub use bucket::{Bucket, Page, PageRequest, Paged, Records, Scan};
pub use commit::{BucketId, Cause, Change, Commit, Counters, RowId};
pub use dunlin_protocol::Aggregate;
pub use error::{ApplyError, Issue, Referenced, RestoreError, StoreError};
pub use filter::{Filter, Matcher};
pub use guard::{Guard, RowRule, RuleTemplate, Seen};
pub use idempotency::{AnswerLimits, Idempotency};
pub use intent::{Changed, Context, Executed, IdSource, Intent, Object, Step};
pub use key::Key;
pub use live::{
    HistoryLimits, Joined, LiveExplain, LiveQuery, Preparation, Prepared, Renewed, Replay, Resume,
    Step as LiveStep, ViewId, ViewLimits, Views, whole_patch,
};
pub use migration::Migration;
pub use number::Number;
pub use outcome::Outcome;
pub use path::MemberPath;
pub use plan::{Direction, Explain, Plan};
pub use query::{BoundQuery, ClosureQuery, Query, ReadContext, Reader, Reads};
pub use record::Record;
pub use restore::Restore;
pub use schema::{Definition, Field, FieldType, Generator, Member, OnDelete, Reference};
pub use snapshot::{BucketStats, CountStats, QueryStats, Snapshot, Stats};
pub use system::{FACTS, SystemRecord, SystemWrite, is_system};
pub use validators::Validators;
pub use value::FieldValue;
pub use work::{Import, Migrating, MigratingBucket};
