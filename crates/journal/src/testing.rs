//! What the tests of both journals share: a small world that writes, and a picture of a state that can be compared.

use dunlin_store::{Commit, Context, IdSource, Intent, Snapshot};
use serde_json::{Map, Value, json};

use crate::{Batch, Journal, JournalError};

/// Ids in sequence.
struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// A writer with its state.
pub(crate) struct Writer {
    pub(crate) state: Snapshot,
    ids: Ids,
    now: u64,
}

impl Writer {
    pub(crate) fn new(state: Snapshot) -> Self {
        Self { state, ids: Ids(0), now: 1_000 }
    }

    /// Carries an intent out; `None` if the store refuses it or nothing changes.
    pub(crate) fn commit(&mut self, intent: Intent) -> Option<Commit> {
        self.now += 1;
        self.state.execute(intent, &mut Context::new(self.now, &mut self.ids)).ok()?.commit
    }

    /// All of the intents as one batch.
    pub(crate) fn write(
        &mut self,
        journal: &dyn Journal,
        intents: impl IntoIterator<Item = Intent>,
    ) -> Result<(), JournalError> {
        let commits: Vec<Commit> = intents.into_iter().filter_map(|intent| self.commit(intent)).collect();
        journal.append(Batch { commits: &commits, next: &self.state })
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

pub(crate) fn define(name: &str) -> Intent {
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"},
        "no": {"type": "number", "generated": "autoincrement"}}, "indexes": ["n"]});
    Intent::DefineBucket { name: name.into(), config: object(config) }
}

pub(crate) fn insert(bucket: &str, id: &str, n: i64) -> Intent {
    Intent::Insert { bucket: bucket.into(), data: object(json!({"id": id, "n": n})) }
}

/// Everything a state holds, as text.
pub(crate) fn picture(state: &Snapshot) -> String {
    let mut lines =
        vec![format!("{} at {}, next bucket {}", state.epoch(), state.position(), state.next_bucket())];
    for bucket in state.buckets() {
        lines.push(format!(
            "{:?} {} {} {:?}",
            bucket.id(),
            bucket.name(),
            bucket.config(),
            bucket.counters()
        ));
        lines.extend(bucket.rows().map(|(row, record)| format!("  {} {}", row.0, record.json())));
    }
    lines.extend(state.queries().map(|query| format!("query {} {}", query.name(), query.config())));
    lines.join("\n")
}
