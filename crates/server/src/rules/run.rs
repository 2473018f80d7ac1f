//! Inputs of the engine on the `StoreActor`'s bench: each is carried out whole, right behind what has set it off, or taken back
//! whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use dunlin_rules::effect::LookupCall;
use dunlin_rules::fault::ActionFault;
use dunlin_rules::{
    Answer, ChangeKind, Input, Ran, StoreChange, StoreOperation, StoreRequest, World, Written as Wrote,
};
use dunlin_store::{
    Bucket, Changed, IdSource, Idempotency, Intent, Key, Outcome, Snapshot, Step, StoreError, SystemWrite,
};
use serde_json::{Value, json};

use super::desk::{Desk, noted};
use super::lookups::Lookups;
use super::options::RuleOptions;
use super::work::{Look, RuleWork, Work};
use crate::limits;
use crate::store_actor::{Done, WriteError, Written};
use crate::workbench::{RandomIds, Workbench};

/// What a repeat is known by, and what it will be answered.
type Remember = (Idempotency, fn(&Answer) -> String);

impl Workbench {
    /// Carries one piece of work out.
    pub(crate) fn work(&mut self, work: Work, ids: &mut RandomIds) -> Written {
        match work {
            Work::Store(intent) => self.store(intent, ids),
            Work::Rules(work) => self.with_desk(|bench, desk| bench.asked(desk, *work, ids))?,
            Work::Look(Look(look)) => self.with_desk(|bench, desk| {
                let read = catch_unwind(AssertUnwindSafe(|| look(&desk.engine, &bench.next)));
                let told = read.map_err(|panic| panicked(&*panic))??;
                Ok(Done { outcome: Outcome::Told(told.into()), position: bench.next.position() })
            })?,
        }
    }

    /// A write of the store, and behind it what rules make of it.
    fn store(&mut self, intent: Intent, ids: &mut RandomIds) -> Written {
        if is_system(&intent) {
            return Err(StoreError::SystemBucket { bucket: dunlin_store::FACTS.into() }.into());
        }
        let listens = self.rules.as_ref().is_some_and(|desk| desk.listens());
        let (done, changed) = self.write(intent, listens, ids)?;
        if !changed.is_empty() {
            self.with_desk(|bench, desk| bench.stored(desk, changed, ids))?;
        }
        Ok(done)
    }

    /// Tells the engine of changes that somebody else has made. What comes of it is not his who made them.
    fn stored(&mut self, desk: &mut Desk, changed: Vec<Changed>, ids: &mut RandomIds) {
        for changed in changed {
            if let Some(change) = heard(&self.next, changed, |bucket, kind| desk.hears(bucket, kind))
                && let Err(error) = self.run(desk, Input::Stored(change), None, ids)
            {
                tracing::error!(%error, "rules could not follow the change of a record");
            }
        }
    }

    /// Lets the engine do what is due, up to a bound.
    pub(crate) fn ticks(&mut self, ids: &mut RandomIds) -> Result<(), WriteError> {
        self.with_desk(|bench, desk| {
            for _ in 0..limits::RULE_TICKS {
                let now = bench.clock.now();
                if desk.next_wake().is_none_or(|at| at > now) {
                    return Ok(());
                }
                bench.run(desk, Input::Tick, None, ids)?;
            }
            Ok(())
        })?
    }

    fn with_desk<T>(&mut self, run: impl FnOnce(&mut Self, &mut Desk) -> T) -> Result<T, WriteError> {
        let mut desk = self.rules.take().ok_or(WriteError::NoRules)?;
        let result = run(self, &mut desk);
        self.rules = Some(desk);
        Ok(result)
    }

    /// An input that somebody waits for.
    fn asked(&mut self, desk: &mut Desk, work: RuleWork, ids: &mut RandomIds) -> Written {
        let RuleWork { input, once, tell } = work;
        let now = self.clock.now();
        if let Some(once) = &once
            && let Some(answer) = once.repeated(&self.next, now)?
        {
            self.changes += 1;
            let position = answer.position;
            return Ok(Done { outcome: Outcome::Repeated(answer), position });
        }
        let remember = once.map(|once| (once, tell));
        let answer = self.run(desk, input, remember, ids)?;
        Ok(Done { outcome: Outcome::Told(tell(&answer).into()), position: self.next.position() })
    }

    /// Carries an input out. If it is refused, fails or panics, neither the engine nor the state has changed.
    fn run(
        &mut self,
        desk: &mut Desk,
        input: Input,
        remember: Option<Remember>,
        ids: &mut RandomIds,
    ) -> Result<Answer, WriteError> {
        self.changes += 1;
        let before = self.commits.len();
        let started = Instant::now();
        let mut world = BenchWorld {
            now: self.clock.now(),
            bench: self,
            ids,
            options: Arc::clone(&desk.options),
            lookups: Arc::clone(&desk.lookups),
        };
        let ran = catch_unwind(AssertUnwindSafe(|| desk.engine.run(input, &mut world)));
        let fired = ran.as_ref().is_ok_and(|ran| ran.firings > 0);
        desk.took(started.elapsed(), fired);
        let ran = match ran {
            Ok(ran) => ran,
            Err(panic) => {
                let error = panicked(&*panic);
                self.aftermath.failures += 1;
                // Whatever it was doing: nobody knows how far it came.
                self.take_back(before);
                let rebuilt = desk.rebuild(&self.next);
                self.broken_unless(rebuilt);
                return Err(error);
            }
        };
        let Ran { answer, events, changes, effects, reports, firings } = ran;
        let answer = answer?;
        let mut note = noted(&changes);
        note.answer = remember.as_ref().map(|(_, tell)| tell(&answer).into());
        if let Some(intent) = noting(note, remember.map(|(once, _)| once))
            && let Err(error) = self.write(intent, false, ids)
        {
            // It has undone itself; what the actions of rules have written stands still.
            if self.commits.len() > before {
                self.take_back(before);
            }
            let undone = desk.undo_changes(&changes, &self.next);
            self.broken_unless(undone);
            return Err(error);
        }
        let position = self.next.position();
        let after = &mut self.aftermath;
        after.touch(&changes);
        after.events.extend(events.into_iter().map(|event| (event, position)));
        after.effects.extend(effects);
        after.reports.extend(reports);
        after.firings += firings;
        after.inputs += 1;
        Ok(answer)
    }

    /// Takes back all commits behind the first so many of the group, and whatever was half done.
    fn take_back(&mut self, commits: usize) {
        self.commits.truncate(commits);
        self.watched.back_to(commits);
        // Worked out anew, so that nobody has to keep a state for each input: what copies share costs every write a copy.
        let mut state = self.base.clone();
        let applied = self.commits.iter().try_for_each(|commit| state.apply(commit));
        self.next = state;
        self.broken_unless(applied);
    }

    /// The state or the engine cannot be put right: the `StoreActor` has to begin anew.
    fn broken_unless<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.broken.get_or_insert_with(|| error.to_string());
        }
    }
}

/// The world around one input: the state on the bench.
struct BenchWorld<'a> {
    now: u64,
    bench: &'a mut Workbench,
    ids: &'a mut RandomIds,
    options: Arc<RuleOptions>,
    lookups: Arc<Lookups>,
}

impl World for BenchWorld<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> u128 {
        self.ids.next()
    }

    fn write(&mut self, request: &StoreRequest) -> Result<Wrote, ActionFault> {
        let guard = self.options.rights.judge(request)?;
        let intent = match request.operations.as_slice() {
            [operation] => intent(operation),
            several => Intent::Transaction {
                operations: several.iter().map(|operation| Step::Write(intent(operation))).collect(),
            },
        };
        let listens = !request.watched.is_empty();
        let (done, changed) =
            self.bench.write(intent.guarded(&guard), listens, self.ids).map_err(|error| refused(&error))?;
        let results = match &done.outcome {
            Outcome::Transaction(outcomes) => outcomes.iter().map(told).collect(),
            outcome => vec![told(outcome)],
        };
        let watched = |bucket: &Arc<str>, kind| request.watched.wants(bucket, kind);
        let told = changed.into_iter().filter_map(|changed| heard(&self.bench.next, changed, watched));
        Ok(Wrote { results, changes: told.collect() })
    }

    fn known(&mut self, call: &LookupCall) -> Option<Result<Arc<Value>, String>> {
        self.lookups.known(call, self.now).map(Ok)
    }
}

/// What is noted of an input; `None` if there is nothing to note.
fn noting(note: SystemWrite, once: Option<Idempotency>) -> Option<Intent> {
    let is_empty = note.entries.is_empty() && note.records.is_empty();
    match once {
        Some(idempotency) => Some(Intent::Idempotent { idempotency, write: Box::new(Intent::System(note)) }),
        None if is_empty => None,
        None => Some(Intent::System(note)),
    }
}

/// Whether somebody asks for what only the server itself may write.
fn is_system(intent: &Intent) -> bool {
    match intent {
        Intent::System(_) => true,
        Intent::Idempotent { write, .. } | Intent::Guarded { write, .. } => is_system(write),
        _ => false,
    }
}

/// What rules hear of a change, if they hear of it.
fn heard(
    state: &Snapshot,
    changed: Changed,
    mut hears: impl FnMut(&Arc<str>, ChangeKind) -> bool,
) -> Option<StoreChange> {
    let Changed { bucket, before, after } = changed;
    let bucket: &Bucket = state.bucket_by_id(bucket)?;
    let (kind, record) = match (&before, &after) {
        (None, Some(after)) => (ChangeKind::Inserted, after),
        (Some(_), Some(after)) => (ChangeKind::Updated, after),
        (Some(before), None) => (ChangeKind::Deleted, before),
        (None, None) => return None,
    };
    if !hears(bucket.name(), kind) {
        return None;
    }
    let key = bucket.key_of(record).map_or(Value::Null, Key::to_value);
    let value = |record: dunlin_store::Record| Arc::new(record.to_value());
    let (before, after) = (before.map(value), after.map(value));
    Some(StoreChange { bucket: Arc::clone(bucket.name()), key, kind, before, after })
}

fn intent(operation: &StoreOperation) -> Intent {
    match operation.clone() {
        StoreOperation::Insert { bucket, data } => Intent::Insert { bucket, data },
        StoreOperation::Update { bucket, key, data } => Intent::Update { bucket, key, changes: data },
        StoreOperation::Upsert { bucket, data } => Intent::Upsert { bucket, data },
        StoreOperation::Delete { bucket, key } => Intent::Delete { bucket, key },
    }
}

/// What an action is told of its write.
fn told(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Record(record) => record.to_value(),
        Outcome::Deleted { existed } => json!({"deleted": existed}),
        _ => Value::Null,
    }
}

fn refused(error: &WriteError) -> ActionFault {
    let code = match error {
        WriteError::Refused(refusal) => refusal.code(),
        _ => dunlin_protocol::Code::InternalError,
    };
    ActionFault { code: code.as_str().to_owned(), message: error.to_string() }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> WriteError {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = said.unwrap_or("without a word"),
        "the rule engine failed; what it was doing is taken back"
    );
    WriteError::RulesFailed
}
