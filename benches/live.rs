//! Live queries in process: `cargo bench --bench live`. One bucket of a million records in 100,000 slices of ten. An update
//! changes the score of one record, the views are taken along, and the new result of each that has changed is written once.
//! The state is shown to readers after every write, so every write copies what it changes.
//!
//! `same`: the updates go to the same 1,000 records, whose slices are watched, be there 100 views or 100,000. `all`: the
//! updates go to all records, and without views or with one for each slice.

#![allow(
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark: what must not happen ends it"
)]

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dunlin::store::{
    Context, HistoryLimits, IdSource, Intent, Joined, LiveQuery, LiveStep, Query, Snapshot, ViewLimits, Views,
};
use serde_json::{Map, Value, json};

const RECORDS: usize = 1_000_000;
const SLICES: usize = 100_000;
/// Slices that are watched when there are few.
const FEW: usize = 100;

/// Updates that are made ready together; see `benches/store.rs`.
const AT_HAND: BatchSize = BatchSize::NumIterations(64);

struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

struct World {
    state: Snapshot,
    views: Views,
    ids: Ids,
    step: usize,
}

impl World {
    fn new() -> Self {
        let state = Snapshot::new("bench");
        let mut world = Self { views: Views::new(state.clone(), limits()), state, ids: Ids(0), step: 0 };
        let text = json!({"type": "string"});
        let number = json!({"type": "number"});
        let schema = json!({"id": text, "slice": number, "score": number, "name": text, "email": text});
        let config = object(json!({"key": "id", "schema": schema, "indexes": ["slice"]}));
        world.execute(Intent::DefineBucket { name: "players".into(), config });
        for n in 0..RECORDS {
            let data = object(json!({
                "id": format!("player-{n}"), "slice": n % SLICES, "score": n % 1_000, "name": format!("Name of {n}"),
                "email": format!("person{n}@example.com"),
            }));
            world.execute(Intent::Insert { bucket: "players".into(), data });
        }
        world
    }

    fn execute(&mut self, intent: Intent) -> Option<dunlin::store::Commit> {
        let mut context = Context::new(1_700_000_000_000, &mut self.ids);
        self.state.execute(intent, &mut context).expect("sound input").commit
    }

    /// Watches so many slices with a query like this.
    fn watch(&mut self, slices: usize, config: &dyn Fn(usize) -> Value) {
        self.views = Views::new(self.state.clone(), limits());
        for slice in 0..slices {
            let query = Query::parse("bench", &object(config(slice))).expect("a sound query");
            let bound = query.bind(&Value::Null).expect("no parameters");
            let prepared = self.views.prepare(LiveQuery::Declarative(bound)).run();
            let Ok(Joined::View(view)) = self.views.open(prepared) else { panic!("a view") };
            self.views.result(view).expect("a result");
        }
    }

    /// The next update, of one of the first so many slices.
    fn update(&mut self, slices: usize) -> Intent {
        self.step += 1;
        let scattered = self.step.wrapping_mul(7_919);
        let player = (scattered / slices % (RECORDS / SLICES)) * SLICES + scattered % slices;
        let changes = object(json!({"score": self.step % 1_000}));
        Intent::Update { bucket: "players".into(), key: json!(format!("player-{player}")), changes }
    }

    /// What a server does with an update, but for making it durable and sending it.
    fn write(&mut self, intent: Intent) {
        let commit = self.execute(intent);
        let LiveStep { changed, .. } = self.views.advance(&commit, self.state.clone());
        for view in changed {
            black_box(self.views.result(view).expect("a result"));
        }
    }
}

fn limits() -> ViewLimits {
    ViewLimits {
        history: HistoryLimits { commits: 100_000, bytes: 64 * 1024 * 1024 },
        unindexed_tests: 0,
        bytes: usize::MAX,
        reserve: 256,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn live(criterion: &mut Criterion) {
    let world = RefCell::new(World::new());
    let measure = |criterion: &mut Criterion, name: &str, slices: usize| {
        criterion.bench_function(name, |bencher| {
            let setup = || world.borrow_mut().update(slices);
            bencher.iter_batched(setup, |update| world.borrow_mut().write(update), AT_HAND);
        });
    };
    measure(criterion, "same/none", FEW);
    measure(criterion, "all/none", SLICES);
    let slice = |slice: usize| json!({"bucket": "players", "filter": {"slice": slice}});
    let with = |slice: usize, more: Value| {
        let mut config = json!({"bucket": "players", "filter": {"slice": slice}});
        config.as_object_mut().expect("an object").extend(object(more));
        config
    };
    let kinds: [(&str, &dyn Fn(usize) -> Value); 6] = [
        ("slice", &slice),
        (
            "range",
            &|slice| json!({"bucket": "players", "filter": {"slice": {"$gte": slice, "$lt": slice + 1}}}),
        ),
        ("top5", &|slice| with(slice, json!({"sort": {"score": "desc"}, "limit": 5}))),
        ("count", &|slice| with(slice, json!({"aggregate": {"function": "count"}}))),
        ("sum", &|slice| with(slice, json!({"aggregate": {"function": "sum", "field": "score"}}))),
        ("max", &|slice| with(slice, json!({"aggregate": {"function": "max", "field": "score"}}))),
    ];
    for (name, config) in kinds {
        world.borrow_mut().watch(FEW, config);
        measure(criterion, &format!("same/{name}/{FEW}"), FEW);
        world.borrow_mut().watch(SLICES, config);
        measure(criterion, &format!("same/{name}/{SLICES}"), FEW);
        measure(criterion, &format!("all/{name}/{SLICES}"), SLICES);
    }
}

fn config() -> Criterion {
    Criterion::default().sample_size(20)
}

criterion_group! { name = benches; config = config(); targets = live }
criterion_main!(benches);
