//! Random writes: what a store does to a journal, in small; in some worlds with rules beside it.

use dunlin_server::bench::Task;
use dunlin_store::{AnswerLimits, Commit, Context, IdSource, Intent, Object, Snapshot, Step};
use serde_json::{Map, Value, json};

use super::rules::{self, Rules};
use crate::chance::Chance;

/// Records of the last one are not kept.
const BUCKETS: [&str; 4] = ["people", "tasks", "numbers", "cache"];
/// Its records come by writes that have a key each, and none of them ever goes.
const ONCE: &str = "once";
/// Whose keys those are. Those of somebody else are remembered for a moment only.
const FOREVER: &str = "user:ada";
const SHORTLY: (&str, u64) = ("user:bob", 200);
const QUERIES: [&str; 3] = ["q0", "q1", "q2"];
const KEYS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Ids in sequence; none comes twice, whatever is lost.
#[derive(Debug, Clone)]
struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// A writer with its state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) state: Snapshot,
    ids: Ids,
    now: u64,
    /// Keys that were sent so far, whatever has become of them.
    sent: usize,
    /// The rules, in a world that has some: then everything goes over the bench that they are at.
    rules: Option<Rules>,
}

impl Writer {
    pub(super) fn new(with_rules: bool) -> Self {
        let state = Snapshot::new("nothing yet");
        let rules = with_rules.then(|| Rules::new(&state));
        Self { state, ids: Ids(0), now: 1_700_000_000_000, sent: 0, rules }
    }

    pub(super) fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// A process begins with this state.
    pub(super) fn begin(&mut self, state: &Snapshot) {
        self.state = state.clone();
        if let Some(rules) = &mut self.rules {
            rules.begin(state);
        }
    }

    /// What was prepared is about to be appended.
    pub(super) fn appending(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.appending();
        }
    }

    /// What was prepared is durable.
    pub(super) fn kept(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.kept();
        }
    }

    /// What was prepared is not to be: back to this state.
    pub(super) fn take_back(&mut self, state: &Snapshot) {
        self.state = state.clone();
        if let Some(rules) = &mut self.rules {
            rules.take_back();
        }
    }

    /// The journal is in order again, in the same process, at this state.
    pub(super) fn recovered(&mut self, state: &Snapshot) {
        self.state = state.clone();
        if let Some(rules) = &mut self.rules {
            rules.recovered();
        }
    }

    /// Some commits that follow its state.
    pub(super) fn batch(&mut self, chance: &mut Chance, count: usize) -> Vec<Commit> {
        let mut commits = Vec::with_capacity(count);
        // Not every write changes something, or is right.
        for _ in 0..count * 4 {
            if commits.len() == count {
                break;
            }
            self.now += chance.within(0, 30) as u64;
            commits.extend(self.any(chance));
        }
        commits
    }

    fn any(&mut self, chance: &mut Chance) -> Vec<Commit> {
        if let Some(rules) = &mut self.rules
            && !chance.once_in(3)
        {
            // Now and then nothing happens for long.
            self.now += if chance.once_in(60) { 4_000 } else { 0 };
            let task = rules.task(chance, self.now);
            let commits = rules.carry_out(task, self.now, AnswerLimits::default());
            self.state = rules.state().clone();
            return commits;
        }
        let intent = self.intent(chance);
        self.execute(intent)
    }

    /// Repeats every write that has a key, as somebody does who has got no answer. Then each has had its effect.
    pub(super) fn repeat(&mut self) -> Vec<Commit> {
        let define = self.state.bucket(ONCE).is_err().then(once);
        let all = define.into_iter().chain((0..self.sent).map(keyed));
        let mut commits: Vec<Commit> =
            all.collect::<Vec<_>>().into_iter().flat_map(|intent| self.execute(intent)).collect();
        if let Some(rules) = &mut self.rules {
            commits = rules.repeat(self.now);
            self.state = rules.state().clone();
        }
        commits
    }

    /// Some of what rules still have to do. `None`: nothing.
    pub(super) fn drain(&mut self, turn: usize) -> Option<Vec<Commit>> {
        let rules = self.rules.as_mut()?;
        let commits = rules.drain(&mut self.now, turn)?;
        self.state = rules.state().clone();
        Some(commits)
    }

    /// Whether rules have done each thing once, with nothing to come any more. `surely`: nothing that was told was lost. `again`: and
    /// whether they do the same once more.
    ///
    /// # Errors
    /// What they have not.
    pub(super) fn rules_once(&mut self, surely: bool, again: bool) -> Result<(), String> {
        let Some(rules) = &mut self.rules else { return Ok(()) };
        rules.check(surely)?;
        if again { rules.again() } else { Ok(()) }
    }

    /// Whether each of those writes has had exactly one effect.
    ///
    /// # Errors
    /// The key of one that has not.
    pub(super) fn all_once(&self) -> Result<(), String> {
        let records: Vec<&str> = self
            .state
            .bucket(ONCE)
            .map_or(Vec::new(), |bucket| bucket.rows().map(|(_, record)| record.json()).collect());
        (0..self.sent).try_for_each(|number| {
            let text = format!(r#""write":{number},"#);
            let effects = records.iter().filter(|record| record.contains(&text)).count();
            if effects == 1 { Ok(()) } else { Err(format!("key {number} has had {effects} effects")) }
        })
    }

    fn execute(&mut self, intent: Intent) -> Vec<Commit> {
        let shortly =
            matches!(&intent, Intent::Idempotent { idempotency, .. } if &*idempotency.scope == SHORTLY.0);
        let mut answers = AnswerLimits::default();
        if shortly {
            answers.ttl_ms = SHORTLY.1;
        }
        if let Some(rules) = &mut self.rules {
            let commits = rules.carry_out(Task::Store(rules::kept(intent)), self.now, answers);
            self.state = rules.state().clone();
            return commits;
        }
        let mut context = Context::new(self.now, &mut self.ids).with_answers(answers);
        let executed = self.state.execute(intent, &mut context);
        executed.ok().and_then(|executed| executed.commit).into_iter().collect()
    }

    /// A record longer than a part of a block.
    pub(super) fn long(&mut self, chance: &mut Chance) -> Vec<Commit> {
        let text = "a long text ".repeat(chance.within(90_000, 200_000));
        let data = object(json!({"id": *chance.pick(&KEYS), "s": text}));
        self.execute(Intent::Upsert { bucket: "people".into(), data })
    }

    fn intent(&mut self, chance: &mut Chance) -> Intent {
        if chance.once_in(8) {
            return match chance.below(8) {
                _ if self.state.bucket(ONCE).is_err() => once(),
                0..3 => {
                    self.sent += 1;
                    keyed(self.sent - 1)
                }
                3..5 if self.sent > 0 => keyed(chance.below(self.sent)),
                5 => Intent::ForgetAnswers,
                _ => write(chance).idempotent(SHORTLY.0, *chance.pick(&KEYS)),
            };
        }
        if self.state.buckets().count() < 2 || chance.once_in(24) {
            return definition(chance);
        }
        if chance.once_in(3)
            && let Some((bucket, row)) = self.state.due(self.now).next()
        {
            return Intent::Expire { bucket, row };
        }
        if chance.once_in(8) {
            let operations = (0..chance.within(1, 6)).map(|_| Step::Write(write(chance))).collect();
            return Intent::Transaction { operations };
        }
        write(chance)
    }
}

/// The bucket of writes that have a key.
fn once() -> Intent {
    let config = json!({"key": "id", "schema": {"id": {"type": "number", "generated": "autoincrement"},
        "write": {"type": "number"}, "end": {"type": "boolean"}}});
    Intent::DefineBucket { name: ONCE.into(), config: object(config) }
}

/// A write that has a key: nothing but that keeps it from being done twice.
fn keyed(number: usize) -> Intent {
    let data = object(json!({"write": number, "end": true}));
    Intent::Insert { bucket: ONCE.into(), data }.idempotent(FOREVER, format!("write {number}"))
}

fn definition(chance: &mut Chance) -> Intent {
    let name = (*chance.pick(&BUCKETS)).to_owned();
    let query = (*chance.pick(&QUERIES)).to_owned();
    match chance.below(16) {
        0 => Intent::DropBucket { name },
        1..3 => Intent::Clear { bucket: name },
        3 => {
            let field = format!("z{}", chance.below(1000));
            let updates = match chance.below(4) {
                0 => json!({"addIndexes": ["n"]}),
                1 => json!({"dropIndexes": ["n"]}),
                2 => json!({"maxSize": chance.within(2, 12)}),
                _ => json!({"addFields": {field: {"type": "number", "default": 7}}}),
            };
            Intent::UpdateBucket { name, updates: object(updates) }
        }
        4 => Intent::UndefineQuery { name: query },
        5..7 => {
            let config = json!({"bucket": name, "filter": {"n": chance.below(4)}, "limit": chance.below(9)});
            Intent::DefineQuery { name: query, config: object(config) }
        }
        _ => Intent::DefineBucket { config: bucket(chance, &name), name },
    }
}

fn bucket(chance: &mut Chance, name: &str) -> Object {
    let mut config = json!({
        "key": "id",
        "schema": {
            "id": {"type": "string"},
            "n": {"type": "number"},
            "no": {"type": "number", "generated": "autoincrement"},
            "s": {"type": "string"},
            "p": {"type": "string", "ref": "people", "onDelete": *chance.pick(&["cascade", "set_null"])},
            "token": {"type": "string", "generated": "uuid"},
        },
    });
    match name {
        "numbers" => {
            config = json!({"key": "id", "schema": {"id": {"type": "number", "generated": "autoincrement"},
                "n": {"type": "number"}, "s": {"type": "string"}}});
        }
        "cache" => config["persistent"] = json!(false),
        _ => {}
    }
    if chance.once_in(2) {
        config["indexes"] = json!(["n"]);
    }
    if chance.once_in(4) {
        config["ttl"] = json!(chance.within(100, 3000));
    }
    if chance.once_in(4) {
        config["maxSize"] = json!(chance.within(2, 12));
    }
    object(config)
}

fn write(chance: &mut Chance) -> Intent {
    let bucket = (*chance.pick(&BUCKETS)).to_owned();
    let key = if bucket == "numbers" { json!(chance.within(1, 20)) } else { json!(*chance.pick(&KEYS)) };
    let changes = changes(chance, &bucket);
    let mut data = changes.clone();
    if bucket != "numbers" {
        data.insert("id".into(), key.clone());
    }
    match chance.below(16) {
        0..5 => Intent::Insert { bucket, data },
        5..9 => Intent::Update { bucket, key, changes },
        9..12 => Intent::Upsert { bucket, data },
        12..14 => Intent::Delete { bucket, key },
        14 => Intent::UpdateMany { bucket, filter: object(json!({"n": chance.below(4)})), changes },
        _ => Intent::DeleteMany { bucket, filter: object(json!({"n": chance.below(4)})) },
    }
}

fn changes(chance: &mut Chance, bucket: &str) -> Object {
    let mut changes = Map::new();
    changes.insert("n".into(), json!(chance.below(4)));
    if chance.once_in(2) {
        changes.insert("s".into(), text(chance));
    }
    if bucket != "numbers" && chance.once_in(8) {
        changes.insert("p".into(), json!(*chance.pick(&KEYS)));
    }
    changes
}

/// Mostly shorter than a sector, sometimes longer than some of them.
fn text(chance: &mut Chance) -> Value {
    match chance.below(12) {
        0 => json!("many sectors ".repeat(chance.within(30, 200))),
        1..3 => json!("somewhat longer ".repeat(chance.within(5, 30))),
        _ => json!(*chance.pick(&["", "a", "é", "a text", "\"\\"])),
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}
