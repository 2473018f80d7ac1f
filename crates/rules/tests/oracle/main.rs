//! The engine against a model of it without any index or shortcut: random rules of all kinds, random events, facts, timers and changes
//! of rules. After each input both have told the same events in the same order with the same causes, hold the same facts and timers,
//! fired as often, and reported the same. Now and then the engine is made again out of its log.
//!
//! `RULES_SEED` runs one history again, `RULES_CASES` says how many there are.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "small numbers"
)]
#![allow(unreachable_pub, dead_code, reason = "modules of several tests")]

mod actions;
#[path = "../common/mod.rs"]
mod common;
mod eval;
mod model;
#[path = "../temporal/naive.rs"]
mod naive;
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Outside, name, object};
use dunlin_rules::fault::ActionFault;
use dunlin_rules::{Change, Engine, Fact, Input, Limits, Ran};
use model::{Known, Model, Outcome, Told};
use random::Random;
use serde_json::{Value, json};

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.depth, limits.firings, limits.events) = (4, 12, 10);
    limits
}

/// The engine, its log, and the model beside it.
struct Pair {
    engine: Engine,
    world: Outside,
    log: BTreeMap<String, Change>,
    model: Model,
    /// What ids of events and timers stand for.
    ids: BTreeMap<Arc<str>, String>,
    events: u64,
    history: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        let refuse = |_: &_| Err(ActionFault { code: "NO".into(), message: "no".into() });
        let world = Outside { now: 1000, write: Some(refuse), ..Outside::default() };
        Self {
            engine: Engine::new(limits()),
            world,
            log: BTreeMap::new(),
            model: Model::new(limits(), 1000),
            ids: BTreeMap::new(),
            events: 0,
            history: Vec::new(),
        }
    }

    fn reload(&mut self) {
        self.engine = Engine::new(limits());
        self.engine.load(self.log.values().cloned()).unwrap();
    }

    /// Both carry an input out, the model in its own way.
    fn both(&mut self, input: Input, model: impl FnOnce(&mut Model) -> bool) {
        self.history.push(format!("at {}: {input:?}", self.world.now));
        let ran = self.engine.run(input, &mut self.world);
        let accepted = model(&mut self.model);
        if self.model.outgrown.get() {
            return;
        }
        assert_eq!(ran.answer.is_ok(), accepted, "{:?}", ran.answer);
        self.compare(&ran);
    }

    fn compare(&mut self, ran: &Ran) {
        let expected = std::mem::take(&mut self.model.outcome);
        for change in &ran.changes {
            if let Change::Entry { key, value: Some(value) } = change
                && let Some(name) = key.strip_prefix("t/")
            {
                let timer: Value = serde_json::from_str(value).unwrap();
                self.ids.insert(timer["id"].as_str().unwrap().into(), format!("t:{name}"));
            }
            self.log.insert(name(change), change.clone());
        }
        for event in &ran.events {
            self.events += 1;
            self.ids.insert(Arc::clone(&event.id), format!("e{}", self.events));
        }
        let told: Vec<Told> = ran
            .events
            .iter()
            .map(|event| Told {
                topic: event.topic.to_string(),
                data: Value::Object(event.data.as_ref().clone()),
                source: json!(event.source),
                correlation: event.correlation_id.as_deref().map(Into::into),
                cause: event.causation_id.as_ref().map(|id| self.ids[id].clone()),
            })
            .collect();
        assert_eq!(told, expected.events, "events");
        assert_eq!(ran.firings, expected.firings, "firings");
        compare_reports(ran, &expected);
        assert_eq!(self.facts(), self.model.facts, "facts");
        self.compare_timers();
    }

    fn facts(&self) -> Vec<Known> {
        let facts = self.log.values().filter_map(|change| match change {
            Change::Fact { fact, .. } => fact.clone(),
            Change::Entry { .. } => None,
        });
        let mut facts: Vec<Arc<Fact>> = facts.collect();
        facts.sort_by_key(|fact| fact.order);
        let known = |fact: &Arc<Fact>| Known {
            key: fact.key.to_string(),
            value: fact.value.as_ref().clone(),
            source: json!(fact.source),
            version: fact.version,
            timestamp: fact.timestamp,
        };
        facts.iter().map(known).collect()
    }

    fn compare_timers(&self) {
        let timers = self.log.iter().filter(|(key, _)| key.starts_with("t/"));
        let timers = timers.filter_map(|(_, change)| match change {
            Change::Entry { value: Some(value), .. } => Some(serde_json::from_str::<Value>(value).unwrap()),
            _ => None,
        });
        let found: Vec<_> =
            timers.map(|t| (t["name"].clone(), t["expiresAt"].clone(), t["fired"].clone())).collect();
        let mut expected: Vec<_> = self.model.timers.iter().collect();
        expected.sort_by_key(|timer| timer.name.clone());
        let expected = expected.into_iter().map(|t| (json!(t.name), json!(t.expires_at), json!(t.fired)));
        assert_eq!(found, expected.collect::<Vec<_>>(), "timers");
    }

    /// Lets time pass; whatever becomes due is done at its time.
    fn wait(&mut self, ms: u64) {
        let end = self.world.now + ms;
        while let Some(at) = self.engine.next_wake().filter(|at| *at <= end && !self.model.outgrown.get()) {
            self.world.now = self.world.now.max(at);
            self.model.now = self.world.now;
            self.both(Input::Tick, |model| {
                model.tick();
                true
            });
        }
        self.world.now = end;
        self.model.now = end;
    }

    fn step(&mut self, random: &mut Random) {
        let id = format!("r{}", random.below(6));
        match random.below(40) {
            0..=15 => {
                let (topic, data) = (random.topic(), random.event_data());
                let input = Input::Emit {
                    topic: topic.into(),
                    data: object(data.clone()),
                    correlation_id: Some("story".into()),
                    causation_id: None,
                };
                self.both(input, |model| {
                    model.emit_input(topic, &data);
                    true
                });
            }
            16..=20 => {
                let (key, value) = (random.key(), random.plain());
                self.both(Input::SetFact { key: key.into(), value: value.clone() }, |model| {
                    model.set_fact(key, &value);
                    true
                });
            }
            21 => {
                let key = random.key();
                self.both(Input::DeleteFact { key: key.into() }, |model| {
                    model.delete_fact(key);
                    true
                });
            }
            22..=31 => self.wait(random.below(12)),
            32 => {
                let rule = random.rule(&id);
                self.both(Input::Register { rule: rule.clone() }, |model| model.register(&rule));
            }
            33 => {
                let mut updates = random.rule(&id);
                if random.one_in(2) {
                    updates.as_object_mut().unwrap().shift_remove("trigger");
                }
                let input = Input::Update { id: id.as_str().into(), updates: object(updates.clone()) };
                self.both(input, |model| model.update(&id, &updates));
            }
            34 => self.both(Input::Unregister { id: id.as_str().into() }, |model| model.unregister(&id)),
            35 => {
                let enabled = random.one_in(2);
                let input = Input::SetEnabled { id: id.as_str().into(), enabled };
                self.both(input, |model| model.update(&id, &json!({ "enabled": enabled })));
            }
            36 => self.group(random),
            37 | 38 => {
                let timer = random.timer(true);
                self.both(Input::SetTimer { timer: timer.clone() }, |model| {
                    model.set_timer(&timer);
                    true
                });
            }
            _ => {
                let name = random.timer_name();
                self.both(Input::CancelTimer { name: name.into() }, |model| {
                    model.cancel_timer(name);
                    true
                });
            }
        }
    }

    /// The group is switched, or deleted and made again.
    fn group(&mut self, random: &mut Random) {
        if random.one_in(4) {
            self.both(Input::DeleteGroup { id: "g".into() }, |model| {
                model.group("g", None);
                true
            });
            let group = json!({"id": "g", "name": "g"});
            self.both(Input::CreateGroup { group }, |model| {
                model.group("g", Some(true));
                true
            });
        } else {
            let enabled = random.one_in(2);
            let updates = object(json!({ "enabled": enabled }));
            self.both(Input::UpdateGroup { id: "g".into(), updates }, |model| {
                model.group("g", Some(enabled));
                true
            });
        }
    }
}

/// The same kinds of the same rules. That a chain was too long is told where a rule would have run, and may be told where none would.
fn compare_reports(ran: &Ran, expected: &Outcome) {
    let all = ran.reports.iter().map(|report| (json!(report.kind), report.rule.as_deref().map(String::from)));
    let (deep, others): (Vec<_>, Vec<_>) = all.partition(|(kind, _)| kind == "depth_exceeded");
    let (must, may) = expected.too_deep;
    assert!(deep.len() <= 1 && (may || deep.is_empty()) && (!must || !deep.is_empty()), "too deep: {deep:?}");
    let bound = dunlin_rules::limits::MAX_REPORTS - 1;
    let reports: Vec<_> = expected.reports.iter().take(bound).cloned().collect();
    assert_eq!(others.into_iter().take(bound).collect::<Vec<_>>(), reports, "reports");
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut pair = Pair::new();
    let group = json!({"id": "g", "name": "g"});
    pair.both(Input::CreateGroup { group }, |model| {
        model.group("g", Some(true));
        true
    });
    for id in 0..=random.below(6) {
        let rule = random.rule(&format!("r{id}"));
        pair.both(Input::Register { rule: rule.clone() }, |model| model.register(&rule));
    }
    for _ in 0..40 {
        if pair.model.outgrown.get() {
            return;
        }
        if random.one_in(10) {
            pair.reload();
        }
        let history = pair.history.len();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.step(&mut random)));
        if let Err(panic) = result {
            println!("{:#?}", &pair.history[..history.min(12)]);
            println!("{:#?}", &pair.history[history..]);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_rules_over_random_histories() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("RULES_SEED") {
        return run(seed);
    }
    for seed in 0..number("RULES_CASES").unwrap_or(400) {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "run it again with RULES_SEED={seed}");
    }
}
