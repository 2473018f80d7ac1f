//! Temporal patterns over 100,000 open groups: `cargo bench -p dunlin-rules --bench temporal`. Each event goes to another group; what
//! has changed is taken as entries of the log, as after every input. Before the figures it prints what an open group takes.

#![allow(clippy::panic, missing_docs, reason = "a benchmark: what must not happen ends it")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dunlin_rules::condition::Path;
use dunlin_rules::rule::{Comparison, EventMatcher, Function, TemporalKind, TemporalPattern, Window};
use dunlin_rules::{Event, Limits, Object, Source, Temporal};
use serde_json::{Value, json};

const GROUPS: u64 = 100_000;
/// Longer than anything here takes.
const WITHIN: u64 = 1_000_000_000;

fn matcher(topic: &str) -> EventMatcher {
    EventMatcher { topic: topic.into(), filter: Vec::new(), alias: None }
}

fn sequence() -> TemporalKind {
    let events = vec![matcher("order.made"), matcher("order.paid"), matcher("order.sent")];
    TemporalKind::Sequence { events, within: WITHIN, strict: false }
}

fn sum(length: u64) -> TemporalKind {
    TemporalKind::Aggregate {
        event: matcher("order.made"),
        field: Path::new("total"),
        function: Function::Sum,
        comparison: Comparison::Gte,
        threshold: 1e12,
        window: Window { length, sliding: true, empty_windows: false },
    }
}

/// A pattern in whose groups something is open.
struct World {
    temporal: Temporal,
    step: u64,
}

impl World {
    fn new(kind: TemporalKind) -> Self {
        let mut temporal = Temporal::new(&Limits::default());
        let group_by = Some(Path::new("order"));
        temporal.add(&"r".into(), 1, &Arc::new(TemporalPattern { kind, group_by, once: false }));
        let mut world = Self { temporal, step: 0 };
        for _ in 0..GROUPS {
            world.event("order.made");
        }
        world
    }

    /// An event for the next group.
    fn event(&mut self, topic: &str) {
        self.step += 1;
        let group = self.step.wrapping_mul(48_271) % GROUPS;
        let mut data = Object::new();
        data.insert("order".into(), Value::from(format!("order-{group}")));
        data.insert("total".into(), json!(19.5));
        let event = Arc::new(Event {
            id: format!("{:032x}", self.step).into(),
            topic: topic.into(),
            data: Arc::new(data),
            timestamp: self.step,
            source: Source::Api,
            correlation_id: None,
            causation_id: None,
        });
        let mut found = Vec::new();
        self.temporal.event(&event, self.step, &mut found);
        black_box((found, self.temporal.take_changes()));
    }
}

/// Bytes of the process in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("temporal, 100000 open groups");
    // Kept, so that what is freed is not counted to the next.
    let mut kept = Vec::new();
    for (name, kind) in [("sequence", sequence()), ("sliding sum", sum(WITHIN))] {
        let before = resident();
        let mut world = World::new(kind);
        println!("{name}: {} bytes for each open group", resident().saturating_sub(before) / GROUPS);
        // Nothing waits for these.
        group.bench_function(format!("{name}, an event that moves nothing"), |bencher| {
            bencher.iter(|| world.event("order.sent"));
        });
        kept.push(world);
    }
    drop(kept);
    // As many begin as come to their end: made, paid, sent, for one group after the other.
    let mut world = World::new(sequence());
    let mut topics = ["order.paid", "order.sent", "order.made"].into_iter().cycle();
    let mut turn = 0;
    group.bench_function("sequence, an event that begins, moves or completes one", |bencher| {
        bencher.iter(|| {
            // The next topic when each group had this one.
            if turn % GROUPS == 0 {
                topics.next();
            }
            turn += 1;
            world.event(topics.clone().next().unwrap_or_default());
        });
    });
    // A window of ten events in each group: one comes, one leaves.
    let mut world = World::new(sum(10 * GROUPS));
    for _ in 0..10 * GROUPS {
        world.event("order.made");
    }
    group.bench_function("sliding sum, an event that comes as another leaves", |bencher| {
        bencher.iter(|| world.event("order.made"));
    });
    group.finish();
}

criterion_group!(benches, patterns);
criterion_main!(benches);
