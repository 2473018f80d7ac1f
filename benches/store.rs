//! The store in process: `cargo bench --bench store`. One bucket of 180-byte records with one secondary index; while writing,
//! a snapshot is held every 64 writes, as readers and subscribers hold them.

#![allow(
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark: what must not happen ends it"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dunlin::store::{Context, Filter, IdSource, Intent, Snapshot};
use serde_json::{Map, Value, json};

/// Records in the bucket.
const SIZES: [usize; 2] = [10_000, 100_000];

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
            writer.write(insert(n));
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

fn insert(n: usize) -> Intent {
    let data = json!({
        "id": format!("user-{n}"), "name": format!("Name of {n}"), "email": format!("person{n}@example.com"),
        "city": format!("city-{}", n % 1000), "age": n % 90,
    });
    Intent::Insert { bucket: "users".into(), data: object(data) }
}

/// A permutation of the keys, so that neighbours in time are none in memory.
fn scattered(step: usize, records: usize) -> usize {
    step.wrapping_mul(7_919) % records
}

fn store(criterion: &mut Criterion) {
    for records in SIZES {
        let mut step = 0;
        let mut writer = Writer::with(records);
        let bucket = writer.state.bucket("users").expect("sound input").clone();
        criterion.bench_with_input(BenchmarkId::new("get", records), &bucket, |bencher, bucket| {
            let keys: Vec<Value> = (0..records).map(|n| json!(format!("user-{n}"))).collect();
            bencher.iter(|| {
                step += 1;
                black_box(bucket.get(&keys[scattered(step, records)]).map(|record| record.json().len()))
            });
        });
        criterion.bench_with_input(
            BenchmarkId::new("where, indexed, 10 or 100 hits", records),
            &bucket,
            |bencher, bucket| {
                bencher.iter(|| {
                    step += 1;
                    let filter = object(json!({"city": format!("city-{}", step % 1000)}));
                    let filter = Filter::parse(&filter).expect("sound input");
                    black_box(bucket.scan(&filter).count())
                });
            },
        );
        // With its delete, so that the bucket keeps its size.
        let mut next = records;
        criterion.bench_function(&format!("insert and delete/{records}"), |bencher| {
            bencher.iter(|| {
                next += 1;
                writer.write(insert(next));
                let key = json!(format!("user-{next}"));
                writer.write(Intent::Delete { bucket: "users".into(), key });
            });
        });
        criterion.bench_function(&format!("update/{records}"), |bencher| {
            bencher.iter(|| {
                step += 1;
                let key = json!(format!("user-{}", scattered(step, records)));
                let changes = object(json!({"age": step % 90}));
                writer.write(Intent::Update { bucket: "users".into(), key, changes });
            });
        });
    }
}

criterion_group!(benches, store);
criterion_main!(benches);
