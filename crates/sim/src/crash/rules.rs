//! Rules in a crashing world: events with a key each, a pattern that is half complete, timers that run, calls that are to be made.
//!
//! Each story begins with `open` and ends with `close`. A rule notes the beginning, sets a timer and makes a call; a pattern notes the
//! end; the timer notes that it has run. When every event was repeated and all time is over, each story must have each note once, and
//! its call must have been made at least once.

use std::collections::BTreeSet;
use std::sync::Arc;

use dunlin_rules::fault::ActionFault;
use dunlin_rules::{
    Answer, Change, Effect, Engine, Fact, Input, Limits, Object, OutgoingCall, StoreOperation, StoreRequest,
    Target, World, Written,
};
use dunlin_store::{
    Bucket, Commit, Context, FACTS, IdSource, Idempotency, Intent, Snapshot, SystemRecord, SystemWrite,
};
use serde_json::{Value, json};

use super::writer::Ids;
use crate::chance::Chance;

/// Where rules note what they did.
const NOTES: &str = "notes of rules";
/// Whose keys the events have.
const TELLER: &str = "user:eve";
/// What every story must have in the end.
const KINDS: [&str; 3] = ["opened", "closed", "expired"];

/// The engine, and what the world around it knows of its stories.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// `None` until it is needed, and whenever the state has become another one.
    engine: Option<Engine>,
    /// Stories that were begun, and of these the ones that were ended; whatever has become of that.
    opened: usize,
    closed: BTreeSet<usize>,
    /// Stories whose call has arrived.
    called: BTreeSet<u64>,
}

/// A state on which inputs are carried out.
pub(super) struct Ground<'a> {
    pub(super) state: &'a mut Snapshot,
    pub(super) ids: &'a mut Ids,
    pub(super) now: u64,
    pub(super) commits: Vec<Commit>,
}

impl Rules {
    /// The state is another one: the engine is what that one holds.
    pub(super) fn forget(&mut self) {
        self.engine = None;
    }

    /// Something happens. What is durable by then may be carried out; `durable` says what that is.
    pub(super) fn step(&mut self, ground: &mut Ground<'_>, durable: &Snapshot, chance: &mut Chance) {
        self.begin(ground);
        match chance.below(8) {
            0..3 => {
                self.opened += 1;
                self.open(self.opened - 1, ground);
            }
            3..5 if self.opened > 0 => {
                let story = chance.below(self.opened);
                self.closed.insert(story);
                self.close(story, ground);
            }
            5 if self.opened > 0 => self.open(chance.below(self.opened), ground),
            6 => self.answer_calls(ground, durable),
            _ => drop(self.run(Input::Tick, None, ground)),
        }
    }

    /// Repeats every event, lets all time pass and makes every call.
    pub(super) fn finish(&mut self, ground: &mut Ground<'_>) {
        self.begin(ground);
        for story in 0..self.opened {
            self.closed.insert(story);
            self.close(story, ground);
        }
        while let Some(at) = self.engine(ground.state).next_wake() {
            ground.now = ground.now.max(at);
            self.run(Input::Tick, None, ground);
        }
        let all = ground.state.clone();
        self.answer_calls(ground, &all);
    }

    /// Whether every story has everything, once.
    pub(super) fn all_once(&self, state: &Snapshot) -> Result<(), String> {
        let notes: Vec<Value> = state
            .bucket(NOTES)
            .map_or(Vec::new(), |bucket| bucket.iter().map(|note| note.to_value()["note"].clone()).collect());
        for (story, kind) in (0..self.opened).flat_map(|story| KINDS.map(|kind| (story, kind))) {
            let note = json!(format!("{kind} {story}"));
            let found = notes.iter().filter(|found| **found == note).count();
            if found != 1 {
                return Err(format!("story {story} is {kind} {found} times"));
            }
        }
        let uncalled = (0..self.opened as u64).find(|story| !self.called.contains(story));
        if let Some(story) = uncalled {
            return Err(format!("the call of story {story} never arrived"));
        }
        let left = ["x/", "t/", "d/"].map(|prefix| state.entries(prefix).count());
        if left != [0, 0, 0] {
            return Err(format!("calls, timers and dead letters are left: {left:?}"));
        }
        Ok(())
    }

    fn begin(&mut self, ground: &mut Ground<'_>) {
        if ground.state.bucket(NOTES).is_err() {
            let config = json!({"key": "id", "schema": {"id": {"type": "string", "generated": "uuid"}, "note": {"type": "string"}}});
            ground.execute(Intent::DefineBucket { name: NOTES.into(), config: object(config) });
        }
        for rule in rules() {
            let id = format!("r/{}", rule["id"].as_str().unwrap_or_default());
            if ground.state.entry(&id).is_none() {
                self.run(Input::Register { rule }, None, ground);
            }
        }
    }

    fn open(&mut self, story: usize, ground: &mut Ground<'_>) {
        self.tell("open", story, ground);
    }

    /// A story has a beginning before it has an end, also if the beginning was lost.
    fn close(&mut self, story: usize, ground: &mut Ground<'_>) {
        self.open(story, ground);
        self.tell("close", story, ground);
    }

    fn tell(&mut self, topic: &str, story: usize, ground: &mut Ground<'_>) {
        let (topic, data) = (topic.into(), object(json!({"story": story})));
        let input = Input::Emit { topic, data, correlation_id: None, causation_id: None };
        let key = format!("{input:?}").into();
        let once = Idempotency { scope: TELLER.into(), key, fingerprint: 0 };
        self.run(input, Some(once), ground);
    }

    /// Makes the calls of a state that is durable. The answers come later than a crash, or do not come.
    fn answer_calls(&mut self, ground: &mut Ground<'_>, durable: &Snapshot) {
        let calls: Vec<Arc<OutgoingCall>> = engine_of(durable)
            .outstanding()
            .into_iter()
            .filter_map(|effect| if let Effect::Call(call) = effect { Some(call) } else { None })
            .collect();
        for call in calls {
            let Target::Service { args, .. } = &call.target else { continue };
            self.called.extend(args.first().and_then(Value::as_u64));
            let done = Input::CallDone { id: Arc::clone(&call.id), result: Value::Null };
            self.run(done, None, ground);
        }
    }

    fn engine(&mut self, state: &Snapshot) -> &mut Engine {
        self.engine.get_or_insert_with(|| engine_of(state))
    }

    /// Carries an input out as the server's writer does: what it changes is noted behind what it has written.
    fn run(&mut self, input: Input, once: Option<Idempotency>, ground: &mut Ground<'_>) -> Option<Answer> {
        let repeated = once.as_ref().and_then(|once| once.repeated(ground.state, ground.now).unwrap());
        if repeated.is_some() {
            return None;
        }
        let ran = self.engine(ground.state).run(input, ground);
        let answer = ran.answer.unwrap_or_else(|fault| panic!("a rule is refused: {fault}"));
        assert!(ran.reports.is_empty(), "{:?}", ran.reports);
        let mut noted = SystemWrite::default();
        for change in ran.changes {
            match change {
                Change::Entry { key, value } => noted.entries.push((key, value)),
                Change::Fact { key, fact } => {
                    let data = fact.map(|fact| record(&fact));
                    noted.records.push(SystemRecord { bucket: FACTS, key: (&*key).into(), data });
                }
            }
        }
        let intent = Intent::System(noted);
        ground.execute(match once {
            Some(idempotency) => Intent::Idempotent { idempotency, write: Box::new(intent) },
            None => intent,
        });
        Some(answer)
    }
}

impl Ground<'_> {
    fn execute(&mut self, intent: Intent) {
        let executed = self.state.execute(intent, &mut Context::new(self.now, self.ids)).unwrap();
        self.commits.extend(executed.commit);
    }
}

impl World for Ground<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> u128 {
        self.ids.next()
    }

    fn write(&mut self, request: &StoreRequest) -> Result<Written, ActionFault> {
        for operation in &request.operations {
            let StoreOperation::Insert { bucket, data } = operation else { panic!("{operation:?}") };
            self.execute(Intent::Insert { bucket: bucket.clone(), data: data.clone() });
        }
        Ok(Written { results: vec![Value::Null; request.operations.len()], changes: Vec::new() })
    }
}

fn rules() -> [Value; 3] {
    let note = |kind: &str| json!({"type": "store_insert", "bucket": NOTES, "data": {"note": format!("{kind} ${{event.story}}")}});
    let late = json!({"topic": "late", "data": {"story": {"ref": "event.story"}}});
    [
        json!({"id": "open", "name": "open", "trigger": {"type": "event", "topic": "open"}, "actions": [
            note("opened"),
            {"type": "set_fact", "key": "story:${event.story}", "value": {"ref": "event"}},
            {"type": "set_timer", "timer": {"name": "t:${event.story}", "duration": 500, "onExpire": late}},
            {"type": "call_service", "service": "s", "method": "m", "args": [{"ref": "event.story"}]},
        ]}),
        json!({"id": "story", "name": "story", "trigger": {"type": "temporal", "pattern": {
            "type": "sequence", "events": [{"topic": "open", "as": "a"}, {"topic": "close", "as": "b"}],
            "within": "300d", "groupBy": "story",
        }}, "actions": [{"type": "store_insert", "bucket": NOTES, "data": {"note": "closed ${event.groupKey}"}}]}),
        json!({"id": "late", "name": "late", "trigger": {"type": "event", "topic": "late"}, "actions": [
            note("expired"), {"type": "delete_fact", "key": "story:${event.story}"},
        ]}),
    ]
}

/// The engine that a state holds.
fn engine_of(state: &Snapshot) -> Engine {
    let mut engine = Engine::new(Limits::default());
    let entries = state.entries("");
    let entries =
        entries.map(|(key, value)| Change::Entry { key: Arc::clone(key), value: Some(Arc::clone(value)) });
    let facts = state.bucket(FACTS).ok().into_iter().flat_map(Bucket::iter).map(|record| {
        let fact: Arc<Fact> = Arc::new(serde_json::from_str(record.json()).unwrap());
        Change::Fact { key: Arc::clone(&fact.key), fact: Some(fact) }
    });
    engine
        .load(entries.chain(facts))
        .unwrap_or_else(|fault| panic!("the engine cannot be made again: {fault}"));
    engine
}

fn record(fact: &Fact) -> Object {
    let mut record = object(serde_json::to_value(fact).unwrap());
    record.insert("order".into(), fact.order.into());
    record
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}
