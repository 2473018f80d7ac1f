//! The rule engine in process: `cargo bench -p dunlin-rules --bench engine`. One engine on one core, without a store or a log: what an input costs
//! with so many rules beside the one that it reaches. Every measurement leaves the engine as large as it was.

#![allow(
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark: what must not happen ends it"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dunlin_rules::fault::ActionFault;
use dunlin_rules::{Engine, Input, Limits, Object, StoreRequest, World, Written};
use serde_json::{Value, json};

/// Rules in the engine; one of them is reached.
const RULES: [usize; 3] = [100, 1_000, 10_000];

/// Facts that are set again and again.
const FACTS: usize = 10_000;

struct Here {
    now: u64,
    chance: u128,
}

impl World for Here {
    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> u128 {
        self.chance += 1;
        self.chance
    }

    fn write(&mut self, _: &StoreRequest) -> Result<Written, ActionFault> {
        Ok(Written::default())
    }
}

/// An engine and its world.
struct Host {
    engine: Engine,
    world: Here,
}

impl Host {
    fn with(rules: impl IntoIterator<Item = Value>) -> Self {
        let world = Here { now: 1_700_000_000_000, chance: 0 };
        let mut host = Self { engine: Engine::new(Limits::default()), world };
        for rule in rules {
            host.run(Input::Register { rule });
        }
        host
    }

    fn run(&mut self, input: Input) -> u64 {
        self.world.now += 1;
        let ran = self.engine.run(input, &mut self.world);
        black_box(ran.answer.expect("a valid input"));
        ran.firings
    }
}

fn rule(n: usize, trigger: &Value, conditions: &Value) -> Value {
    json!({
        "id": format!("rule-{n}"), "name": "A rule", "trigger": trigger, "conditions": conditions,
        "actions": [{"type": "emit_event", "topic": "alert", "data": {"order": {"ref": "event.id"}}}],
    })
}

fn order(n: usize) -> Object {
    let order = json!({"id": n, "customer": "customer-17", "kind": "kind-0", "total": 120, "paid": true});
    order.as_object().cloned().expect("an object")
}

fn emit(topic: &str, data: Object) -> Input {
    Input::Emit { topic: topic.into(), data, correlation_id: None, causation_id: None }
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    let total = json!([{"source": {"type": "event", "field": "total"}, "operator": "gte", "value": 100}]);
    let kind = |n: usize| {
        json!([{"source": {"type": "event", "field": "kind"}, "operator": "eq", "value": format!("kind-{n}")},
            {"source": {"type": "event", "field": "total"}, "operator": "gte", "value": 100}])
    };
    for rules in RULES {
        // Each rule has a topic of its own; one is that of the event.
        let topics =
            (0..rules).map(|n| rule(n, &json!({"type": "event", "topic": format!("order-{n}.*")}), &total));
        let mut host = Host::with(topics);
        let mut n = 0;
        group.bench_function(BenchmarkId::new("by topic", rules), |b| {
            b.iter(|| {
                n += 1;
                assert_eq!(host.run(emit("order-0.created", order(n))), 1);
            });
        });
        // All rules have one topic and ask for different values.
        let on = json!({"type": "event", "topic": "order.created"});
        let mut host = Host::with((0..rules).map(|n| rule(n, &on, &kind(n))));
        group.bench_function(BenchmarkId::new("by value", rules), |b| {
            b.iter(|| {
                n += 1;
                assert_eq!(host.run(emit("order.created", order(n))), 1);
            });
        });
    }
    group.finish();
}

fn facts(c: &mut Criterion) {
    let mut group = c.benchmark_group("fact");
    group.throughput(Throughput::Elements(1));
    for rules in RULES {
        let conditions =
            json!([{"source": {"type": "event", "field": "fact.value"}, "operator": "lt", "value": 0}]);
        let on = |n: usize| json!({"type": "fact", "pattern": format!("account-{n}:*:balance")});
        let mut host = Host::with((0..rules).map(|n| rule(n, &on(n), &conditions)));
        let mut n = 0;
        group.bench_function(BenchmarkId::new("set", rules), |b| {
            b.iter(|| {
                n += 1;
                let key = format!("account-0:{}:balance", n % FACTS).into();
                assert_eq!(host.run(Input::SetFact { key, value: json!(-1) }), 1);
            });
        });
    }
    group.finish();
}

fn chains(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain");
    let next = |n: usize| {
        json!({
            "id": format!("rule-{n}"), "name": "A rule", "trigger": {"type": "event", "topic": format!("step-{n}")},
            "actions": [{"type": "emit_event", "topic": format!("step-{}", n + 1), "data": {"n": {"ref": "event.n"}}}],
        })
    };
    let mut host = Host::with((0..10).map(next));
    group.throughput(Throughput::Elements(10));
    let data = json!({"n": 1}).as_object().cloned().expect("an object");
    group.bench_function("10 rules one after the other", |b| {
        b.iter(|| assert_eq!(host.run(emit("step-0", data.clone())), 10));
    });
    group.finish();
}

criterion_group!(benches, events, facts, chains);
criterion_main!(benches);
