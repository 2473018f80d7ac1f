//! The store in process: `cargo bench --bench store`. One bucket of 180-byte records with one secondary index; while writing,
//! a snapshot is held every 64 writes, as readers and subscribers hold them. Every measurement leaves the bucket as large as
//! it was.

#![allow(
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark: what must not happen ends it"
)]

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use dunlin::store::{AnswerLimits, Context, Filter, IdSource, Intent, Snapshot, Step};
use serde_json::{Map, Value, json};

/// Records in the bucket.
const SIZES: [usize; 2] = [10_000, 1_000_000];

/// Turns that are made ready together: just before they are timed, so that they are in the cache, as a request that came in is.
const BATCH: usize = 64;
const AT_HAND: BatchSize = BatchSize::NumIterations(BATCH as u64);

/// Records that share one value of the indexed field.
const SHARED: usize = 10;

/// Writes between two snapshots that are held.
const HELD_EVERY: usize = 64;

/// Answers that are remembered at any time, and for how many milliseconds each: every third write has a key, and a write takes one.
const ANSWERS: usize = 100_000;
const REMEMBERED: u64 = 3 * ANSWERS as u64;

struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// The writer's side of a server: prepares and applies, without a journal.
struct Writer {
    state: Snapshot,
    held: Snapshot,
    writes: usize,
    /// Virtual time: a millisecond for each write.
    now: u64,
    ids: Ids,
}

impl Writer {
    fn with(records: usize) -> Self {
        let state = Snapshot::new("bench");
        let mut writer = Self { held: state.clone(), state, writes: 0, now: 1_700_000_000_000, ids: Ids(0) };
        let text = json!({"type": "string"});
        let schema = json!({
            "id": text, "name": text, "email": text, "city": text, "age": {"type": "number"},
        });
        let config = object(json!({"key": "id", "schema": schema, "indexes": ["city"]}));
        writer.write(Intent::DefineBucket { name: "users".into(), config });
        for n in 0..records {
            writer.write(insert(n, records.max(SHARED)));
        }
        writer
    }

    fn write(&mut self, intent: Intent) {
        // A steady state: as many keys are forgotten as come, and none is one too many.
        let answers = AnswerLimits { ttl_ms: REMEMBERED, per_scope: usize::MAX, ..AnswerLimits::default() };
        self.now += 1;
        let mut context = Context::new(self.now, &mut self.ids).with_answers(answers);
        black_box(self.state.execute(intent, &mut context).expect("sound input"));
        self.writes += 1;
        if self.writes.is_multiple_of(HELD_EVERY) {
            self.held = self.state.clone();
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn record(n: usize, records: usize) -> Map<String, Value> {
    object(json!({
        "id": format!("user-{n}"), "name": format!("Name of {n}"), "email": format!("person{n}@example.com"),
        "city": city(n, records), "age": n % 90,
    }))
}

fn city(n: usize, records: usize) -> String {
    format!("city-{}", n % (records / SHARED))
}

fn key(n: usize) -> Value {
    json!(format!("user-{n}"))
}

fn insert(n: usize, records: usize) -> Intent {
    Intent::Insert { bucket: "users".into(), data: record(n, records) }
}

fn update(n: usize, changes: Value) -> Intent {
    Intent::Update { bucket: "users".into(), key: key(n), changes: object(changes) }
}

fn delete(n: usize) -> Intent {
    Intent::Delete { bucket: "users".into(), key: key(n) }
}

/// A permutation of the keys, so that neighbours in time are none in memory.
fn scattered(step: usize, records: usize) -> usize {
    step.wrapping_mul(7_919) % records
}

/// What is timed, and what is done before it, untimed, to keep the bucket as large as it is.
struct Turn {
    before: Vec<Intent>,
    timed: Intent,
}

impl From<Intent> for Turn {
    fn from(timed: Intent) -> Self {
        Self { before: Vec::new(), timed }
    }
}

fn store(criterion: &mut Criterion) {
    for records in SIZES {
        let writer = RefCell::new(Writer::with(records));
        reads(criterion, &writer.borrow().state, records);
        let mut step = 0;
        let mut measure = |name: &str, turn: &dyn Fn(usize) -> Turn| {
            criterion.bench_function(&format!("{name}/{records}"), |bencher| {
                bencher.iter_batched(
                    || {
                        step += 1;
                        let Turn { before, timed } = turn(step);
                        for intent in before {
                            writer.borrow_mut().write(intent);
                        }
                        timed
                    },
                    |intent| writer.borrow_mut().write(intent),
                    AT_HAND,
                );
            });
        };
        measure("update", &|step| update(scattered(step, records), json!({"age": step % 90})).into());
        measure("update of the indexed field", &|step| {
            update(scattered(step, records), json!({"city": city(step, records)})).into()
        });
        // Each turn removes what one was inserted a batch ago.
        measure("insert", &|step| Turn {
            before: vec![delete(records + step.saturating_sub(BATCH))],
            timed: insert(records + step, records),
        });
        // As many answers as there are all the time, before any is timed.
        for step in 0..ANSWERS {
            let key = format!("key-{step}-from-before");
            writer.borrow_mut().write(delete(step + 16 * records).idempotent("user:ada", key));
        }
        measure("insert with an idempotency key", &|step| Turn {
            before: vec![delete(4 * records + step.saturating_sub(BATCH)), Intent::ForgetAnswers],
            timed: insert(4 * records + step, records)
                .idempotent("user:ada", format!("key-{step}-of-a-client")),
        });
        // One or two of them.
        measure("forgetting answers", &|step| Turn {
            before: vec![
                delete(16 * records).idempotent("user:ada", format!("key-{step}-to-be-forgotten")),
                update(scattered(step, records), json!({"age": step % 90})),
            ],
            timed: Intent::ForgetAnswers,
        });
        measure("transaction of insert, update, delete", &|step| {
            let new = 2 * records + step;
            let operations = [
                insert(new, records),
                update(scattered(step, records), json!({"age": step % 90})),
                delete(new),
            ];
            Intent::Transaction { operations: operations.map(Step::Write).into() }.into()
        });
        measure("transaction of 3 updates", &|step| {
            let one =
                |i: usize| Step::Write(update(scattered(3 * step + i, records), json!({"age": step % 90})));
            Intent::Transaction { operations: vec![one(0), one(1), one(2)] }.into()
        });
    }
    refused(criterion);
}

fn reads(criterion: &mut Criterion, state: &Snapshot, records: usize) {
    let bucket = state.bucket("users").expect("sound input");
    let mut step = 0;
    criterion.bench_with_input(BenchmarkId::new("get", records), bucket, |bencher, bucket| {
        bencher.iter_batched(
            || {
                step += 1;
                key(scattered(step, records))
            },
            |key| bucket.get(&key).map(|record| record.json().len()),
            AT_HAND,
        );
    });
    criterion.bench_with_input(
        BenchmarkId::new("where, indexed, 10 hits", records),
        bucket,
        |bencher, bucket| {
            bencher.iter_batched(
                || {
                    step += 1;
                    object(json!({"city": city(scattered(step, records), records)}))
                },
                |filter| {
                    let filter = Filter::parse(&filter).expect("sound input");
                    bucket.scan(&filter).map(|record| record.json().len()).sum::<usize>()
                },
                AT_HAND,
            );
        },
    );
}

/// Inserts of a key that is taken: validation and encoding, one look-up, and nothing else.
fn refused(criterion: &mut Criterion) {
    let mut writer = Writer::with(16);
    criterion.bench_function("validation and encoding of a record", |bencher| {
        bencher.iter_batched(
            || insert(3, 100),
            |intent| {
                let mut context = Context::new(1_700_000_000_000, &mut writer.ids);
                black_box(writer.state.execute(intent, &mut context).is_err())
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
