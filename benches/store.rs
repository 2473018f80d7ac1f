//! The store in process: `cargo bench --bench store`. One bucket of 180-byte records with one secondary index; while writing,
//! a snapshot is held every 64 writes, as readers and subscribers hold them. Every measurement leaves the bucket as large as
//! it was.

#![allow(
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark: what must not happen ends it"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use dunlin::store::{Context, Filter, IdSource, Intent, Snapshot, Step};
use serde_json::{Map, Value, json};

/// Records in the bucket.
const SIZES: [usize; 2] = [10_000, 1_000_000];

/// Records that share one value of the indexed field.
const SHARED: usize = 10;

/// Writes between two snapshots that are held.
const HELD_EVERY: usize = 64;

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
    ids: Ids,
}

impl Writer {
    fn with(records: usize) -> Self {
        let state = Snapshot::new("bench");
        let mut writer = Self { held: state.clone(), state, writes: 0, ids: Ids(0) };
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
        let mut context = Context::new(1_700_000_000_000, &mut self.ids);
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

fn store(criterion: &mut Criterion) {
    for records in SIZES {
        let mut step = 0;
        let mut writer = Writer::with(records);
        reads(criterion, &writer.state, records);
        let mut next = records;
        let mut measure = |name: &str, mut write: Box<dyn FnMut(usize) -> Vec<Intent>>| {
            criterion.bench_function(&format!("{name}/{records}"), |bencher| {
                bencher.iter_batched(
                    || {
                        step += 1;
                        write(step)
                    },
                    |intents| intents.into_iter().for_each(|intent| writer.write(intent)),
                    BatchSize::SmallInput,
                );
            });
        };
        measure(
            "update",
            Box::new(move |step| vec![update(scattered(step, records), json!({"age": step % 90}))]),
        );
        measure(
            "update of the indexed field",
            Box::new(move |step| {
                vec![update(scattered(step, records), json!({"city": city(step, records)}))]
            }),
        );
        measure(
            "insert and delete",
            Box::new(move |_| {
                next += 1;
                vec![insert(next, records), delete(next)]
            }),
        );
        measure(
            "transaction of insert, update, delete",
            Box::new(move |step| {
                let new = 2 * records + step;
                let operations = [
                    insert(new, records),
                    update(scattered(step, records), json!({"age": step % 90})),
                    delete(new),
                ];
                vec![Intent::Transaction { operations: operations.map(Step::Write).into() }]
            }),
        );
        measure(
            "transaction of 3 updates",
            Box::new(move |step| {
                let one = |i: usize| {
                    Step::Write(update(scattered(3 * step + i, records), json!({"age": step % 90})))
                };
                vec![Intent::Transaction { operations: vec![one(0), one(1), one(2)] }]
            }),
        );
    }
    refused(criterion);
}

fn reads(criterion: &mut Criterion, state: &Snapshot, records: usize) {
    let bucket = state.bucket("users").expect("sound input");
    let mut step = 0;
    // Keys and filters are made just before their turn, so that they are in the cache, as a request that came in is.
    let at_hand = BatchSize::NumIterations(64);
    criterion.bench_with_input(BenchmarkId::new("get", records), bucket, |bencher, bucket| {
        bencher.iter_batched(
            || {
                step += 1;
                key(scattered(step, records))
            },
            |key| bucket.get(&key).map(|record| record.json().len()),
            at_hand,
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
                at_hand,
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
