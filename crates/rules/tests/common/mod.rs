//! A world of one's own: virtual time, numbered chance, services and a store that the test plays.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several tests, each of which needs a part"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_rules::effect::LookupCall;
use dunlin_rules::fault::{ActionFault, CallFault};
use dunlin_rules::{
    Answer, Change, Effect, Engine, Event, Fact, Input, Limits, Ran, Report, ReportKind, RuleFault,
    StoreRequest, World, Written,
};
use serde_json::{Value, json};

/// What a store answers.
pub type Write = fn(&StoreRequest) -> Result<Written, ActionFault>;

/// What the engine sees of the world.
#[derive(Debug, Default)]
pub struct Outside {
    pub now: u64,
    pub chance: u128,
    pub written: Vec<StoreRequest>,
    pub write: Option<Write>,
    pub known: BTreeMap<String, Result<Arc<Value>, String>>,
}

impl World for Outside {
    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> u128 {
        self.chance += 1;
        self.chance
    }

    fn write(&mut self, request: &StoreRequest) -> Result<Written, ActionFault> {
        self.written.push(request.clone());
        self.write.map_or_else(|| Ok(Written::default()), |write| write(request))
    }

    fn known(&mut self, call: &LookupCall) -> Option<Result<Arc<Value>, String>> {
        self.known.get(&key_of(call)).cloned()
    }
}

pub fn key_of(call: &LookupCall) -> String {
    format!("{}.{}{}", call.service, call.method, Value::from(call.args.clone()))
}

/// An engine, its world, and everything that came out of it.
pub struct Play {
    pub engine: Engine,
    pub world: Outside,
    pub limits: Limits,
    pub events: Vec<Arc<Event>>,
    pub reports: Vec<Report>,
    pub effects: Vec<Effect>,
    pub firings: u64,
    /// The newest change of each key.
    pub log: BTreeMap<String, Change>,
}

pub fn name(change: &Change) -> String {
    match change {
        Change::Fact { key, .. } => format!("f/{key}"),
        Change::Entry { key, .. } => key.to_string(),
    }
}

impl Play {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self {
            engine: Engine::new(limits.clone()),
            world: Outside { now: 1_000_000, ..Outside::default() },
            limits,
            events: Vec::new(),
            reports: Vec::new(),
            effects: Vec::new(),
            firings: 0,
            log: BTreeMap::new(),
        }
    }

    /// Runs an input and keeps what came of it.
    pub fn run(&mut self, input: Input) -> Result<Answer, RuleFault> {
        let ran = self.engine.run(input, &mut self.world);
        self.take(&ran);
        ran.answer
    }

    pub fn take(&mut self, ran: &Ran) {
        if ran.answer.is_err() {
            assert!(
                ran.changes.is_empty() && ran.effects.is_empty(),
                "what is refused changes nothing: {ran:?}"
            );
        }
        self.events.extend(ran.events.iter().cloned());
        self.reports.extend(ran.reports.iter().cloned());
        self.effects.extend(ran.effects.iter().cloned());
        self.firings += ran.firings;
        for change in &ran.changes {
            self.log.insert(name(change), change.clone());
        }
    }

    /// Another engine, made of all that this one has logged.
    pub fn restart(&mut self) {
        self.engine = Engine::new(self.limits.clone());
        self.engine.load(self.log.values().cloned()).unwrap();
    }

    pub fn rule(&mut self, rule: Value) {
        let mut rule = rule;
        if rule.get("name").is_none() {
            rule["name"] = rule["id"].clone();
        }
        self.run(Input::Register { rule }).unwrap();
    }

    pub fn emit(&mut self, topic: &str, data: Value) -> Arc<Event> {
        let data = data.as_object().cloned().unwrap();
        let input = Input::Emit { topic: topic.into(), data, correlation_id: None, causation_id: None };
        match self.run(input) {
            Ok(Answer::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    pub fn set(&mut self, key: &str, value: Value) -> Arc<Fact> {
        match self.run(Input::SetFact { key: key.into(), value }) {
            Ok(Answer::Fact(fact)) => fact,
            other => panic!("{other:?}"),
        }
    }

    /// The newest value of a fact.
    pub fn fact(&self, key: &str) -> Option<Value> {
        match self.log.get(&format!("f/{key}")) {
            Some(Change::Fact { fact: Some(fact), .. }) => Some(fact.value.as_ref().clone()),
            _ => None,
        }
    }

    /// The newest text of an entry.
    pub fn entry(&self, key: &str) -> Option<Value> {
        match self.log.get(key) {
            Some(Change::Entry { value: Some(value), .. }) => Some(serde_json::from_str(value).unwrap()),
            _ => None,
        }
    }

    pub fn entries(&self, prefix: &str) -> Vec<Value> {
        self.log.keys().filter(|key| key.starts_with(prefix)).filter_map(|key| self.entry(key)).collect()
    }

    /// Topics of all events so far.
    pub fn topics(&self) -> Vec<&str> {
        self.events.iter().map(|event| &*event.topic).collect()
    }

    pub fn reported(&self, kind: ReportKind) -> Vec<&Report> {
        self.reports.iter().filter(|report| report.kind == kind).collect()
    }

    /// Lets time pass and does everything that becomes due.
    pub fn wait(&mut self, ms: u64) {
        let end = self.world.now + ms;
        while let Some(at) = self.engine.next_wake().filter(|at| *at <= end) {
            self.world.now = self.world.now.max(at);
            self.run(Input::Tick).unwrap();
        }
        self.world.now = end;
    }

    /// Calls that are to be made, the newest of each id, in order.
    pub fn calls(&mut self) -> Vec<Arc<dunlin_rules::OutgoingCall>> {
        let effects = std::mem::take(&mut self.effects);
        let (calls, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Call(_)));
        self.effects = rest;
        calls
            .into_iter()
            .filter_map(|effect| if let Effect::Call(call) = effect { Some(call) } else { None })
            .collect()
    }

    /// Lookups that are to be asked.
    pub fn lookups(&mut self) -> Vec<(Arc<str>, Vec<LookupCall>)> {
        let effects = std::mem::take(&mut self.effects);
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Lookup { firing, calls, .. } => Some((firing, calls)),
                _ => None,
            })
            .collect()
    }

    pub fn done(&mut self, id: &Arc<str>) {
        let answer = self.run(Input::CallDone { id: Arc::clone(id), result: json!(null) });
        assert_eq!(answer, Ok(Answer::Done(true)));
    }

    pub fn failed(&mut self, id: &Arc<str>, message: &str, again: bool) {
        let fault = CallFault { message: message.into(), again };
        assert_eq!(self.run(Input::CallFailed { id: Arc::clone(id), fault }), Ok(Answer::Done(true)));
    }
}

pub fn object(value: Value) -> dunlin_rules::Object {
    value.as_object().cloned().unwrap()
}

pub fn on(topic: &str) -> Value {
    json!({"type": "event", "topic": topic})
}

pub fn set_fact(key: &str, value: Value) -> Value {
    json!({"type": "set_fact", "key": key, "value": value})
}

pub fn emit(topic: &str, data: Value) -> Value {
    json!({"type": "emit_event", "topic": topic, "data": data})
}
