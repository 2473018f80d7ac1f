//! A small writer around a snapshot, as the server has one: prepare, apply, keep the log.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part of it")]

pub mod naive;
pub mod narrowed;

use std::fmt::Write;

use dunlin_store::{
    Answer, AnswerLimits, Body, Commit, Context, IdSource, Intent, Outcome, Record, Restore, Snapshot,
    StoreError,
};
use serde_json::{Map, Value};

pub struct Ids(pub u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub struct World {
    pub state: Snapshot,
    pub log: Vec<Commit>,
    pub now: u64,
    pub ids: Ids,
    pub answers: AnswerLimits,
}

impl World {
    pub fn new() -> Self {
        Self {
            state: Snapshot::new("test"),
            log: Vec::new(),
            now: 1_000,
            ids: Ids(0),
            answers: AnswerLimits::default(),
        }
    }

    pub fn with_bucket(name: &str, config: Value) -> Self {
        let mut world = Self::new();
        world.define(name, config).unwrap();
        world
    }

    pub fn run(&mut self, intent: Intent) -> Result<Outcome, StoreError> {
        self.now += 1;
        let mut context = Context::new(self.now, &mut self.ids).with_answers(self.answers);
        let executed = self.state.execute(intent, &mut context)?;
        self.log.extend(executed.commit);
        Ok(executed.outcome)
    }

    pub fn define(&mut self, name: &str, config: Value) -> Result<Outcome, StoreError> {
        self.run(Intent::DefineBucket { name: name.into(), config: object(config) })
    }

    pub fn alter(&mut self, name: &str, updates: Value) -> Result<Outcome, StoreError> {
        self.run(Intent::UpdateBucket { name: name.into(), updates: object(updates) })
    }

    pub fn define_query(&mut self, name: &str, config: Value) -> Result<Outcome, StoreError> {
        self.run(Intent::DefineQuery { name: name.into(), config: object(config) })
    }

    pub fn insert(&mut self, bucket: &str, data: Value) -> Result<Record, StoreError> {
        self.run(Intent::Insert { bucket: bucket.into(), data: object(data) }).map(record)
    }

    pub fn update(&mut self, bucket: &str, key: Value, changes: Value) -> Result<Record, StoreError> {
        self.run(Intent::Update { bucket: bucket.into(), key, changes: object(changes) }).map(record)
    }

    pub fn delete(&mut self, bucket: &str, key: Value) -> bool {
        match self.run(Intent::Delete { bucket: bucket.into(), key }).unwrap() {
            Outcome::Deleted { existed } => existed,
            other => panic!("{other:?}"),
        }
    }

    /// Removes what is due and can go, and forgets answers, as the server does it.
    pub fn expire(&mut self) {
        let mut context = Context::new(self.now, &mut self.ids);
        let forgotten = self.state.execute(Intent::ForgetAnswers, &mut context).unwrap();
        self.log.extend(forgotten.commit);
        loop {
            let due: Vec<_> = self.state.due(self.now).collect();
            let mut went = 0;
            for (bucket, row) in due {
                let mut context = Context::new(self.now, &mut self.ids);
                if let Ok(executed) = self.state.execute(Intent::Expire { bucket, row }, &mut context) {
                    went += usize::from(executed.commit.is_some());
                    self.log.extend(executed.commit);
                }
            }
            if went == 0 {
                return;
            }
        }
    }

    pub fn clear(&mut self, bucket: &str) -> usize {
        match self.run(Intent::Clear { bucket: bucket.into() }).unwrap() {
            Outcome::Cleared { removed } => removed,
            other => panic!("{other:?}"),
        }
    }

    pub fn query(&self, name: &str, params: Value) -> Result<Value, StoreError> {
        let json = self.state.query(name)?.bind(&params)?.evaluate(&self.state)?;
        Ok(json.map_or(Value::from("(undefined)"), |json| serde_json::from_str(&json).unwrap()))
    }
}

fn record(outcome: Outcome) -> Record {
    match outcome {
        Outcome::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Everything observable about a state, as text.
pub fn image(state: &Snapshot) -> String {
    let mut image = format!("{} {} {}\n", state.epoch(), state.position(), state.next_bucket());
    for bucket in state.buckets() {
        let (id, name, config) = (bucket.id(), bucket.name(), bucket.config());
        writeln!(image, "{id:?} {name} {config} {:?}", bucket.counters()).unwrap();
        for (row, record) in bucket.rows() {
            writeln!(image, "{} {}", row.0, record.json()).unwrap();
            let key = bucket.key_of(record).unwrap();
            assert_eq!(bucket.find(key).unwrap().0, row, "the key index finds its row");
        }
    }
    for query in state.queries() {
        writeln!(image, "{} {}", query.name(), query.config()).unwrap();
    }
    for answer in state.answers() {
        let Answer { scope, key, fingerprint, position, expires_at, body } = &**answer;
        writeln!(image, "{scope} {key} {fingerprint} {position} {expires_at} {}", body.json()).unwrap();
    }
    image
}

/// The state as another writer has it who follows the log.
pub fn replayed(world: &World) -> Snapshot {
    let mut state = Snapshot::new(world.state.epoch());
    for commit in &world.log {
        state.apply(commit).unwrap();
    }
    state
}

/// The state stored and restored, as a journal does it; rows arrive backwards.
pub fn restored(state: &Snapshot) -> Snapshot {
    let mut restore = Restore::new(state.epoch());
    for bucket in state.buckets() {
        restore.define_bucket(bucket.id(), bucket.name(), bucket.config()).unwrap();
        restore.counters(bucket.id(), bucket.counters()).unwrap();
        let rows: Vec<_> = bucket.rows().collect();
        for (row, record) in rows.into_iter().rev() {
            restore.put(bucket.id(), row, record.json()).unwrap();
        }
    }
    for query in state.queries() {
        restore.define_query(query.name(), query.config());
    }
    for answer in state.answers() {
        restore
            .answer(Answer { body: Body::Text(answer.body.json().into()), ..Answer::clone(answer) })
            .unwrap();
    }
    restore.next_bucket(state.next_bucket());
    restore.finish(state.position()).unwrap()
}
