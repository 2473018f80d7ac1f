//! Where the `StoreActor` prepares a group commit: on a state that nobody else sees yet.

use std::sync::Arc;

use dunlin_store::{
    AnswerLimits, Bucket, Changed, Commit, Context, IdSource, Intent, Outcome, Snapshot, Step, StoreError,
    Validators,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::events::Watched;
use crate::limits;
use crate::programmatic::Programmatic;
use crate::rules::{Aftermath, Desk, Work};
use crate::store_actor::{Done, WriteError, Written};

/// Where times come from, in Unix milliseconds.
pub(crate) type TimeSource = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Times of commits: those of the source, but never backwards.
#[derive(Clone)]
pub(crate) struct Clock {
    source: TimeSource,
    last: u64,
}

impl Clock {
    pub(crate) fn new(source: TimeSource) -> Self {
        Self { source, last: 0 }
    }

    pub(crate) fn now(&mut self) -> u64 {
        self.last = self.last.max((self.source)());
        self.last
    }
}

/// Random bits seeded by the operating system.
pub(crate) struct RandomIds(StdRng);

impl RandomIds {
    pub(crate) fn new() -> Result<Self, rand::rngs::SysError> {
        Ok(Self(StdRng::try_from_rng(&mut rand::rngs::SysRng)?))
    }

    /// The same bits for the same seed: for [`Bench`](crate::bench::Bench).
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Another source, of other bits, for another thread.
    pub(crate) fn fork(&mut self) -> Self {
        Self(StdRng::from_rng(&mut self.0))
    }
}

impl IdSource for RandomIds {
    fn next(&mut self) -> u128 {
        (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64())
    }
}

/// See the module.
pub(crate) struct Workbench {
    /// The published state.
    pub(crate) base: Snapshot,
    /// The same with everything that was carried out so far.
    pub(crate) next: Snapshot,
    pub(crate) watched: Watched,
    pub(crate) commits: Vec<Commit>,
    pub(crate) clock: Clock,
    /// How many changes that is; a refused intent counts as one.
    pub(crate) changes: usize,
    pub(crate) validators: Arc<Validators>,
    pub(crate) programmatic: Arc<Programmatic>,
    pub(crate) answers: AnswerLimits,
    /// The rule engine, if there is one.
    pub(crate) rules: Option<Box<Desk>>,
    pub(crate) aftermath: Aftermath,
    /// Why the state or the engine cannot be trusted any more.
    pub(crate) broken: Option<String>,
}

impl Workbench {
    /// Carries a group out, in order. What is refused changes nothing.
    pub(crate) fn carry_out(&mut self, works: Vec<Work>, ids: &mut RandomIds) -> Vec<Written> {
        works.into_iter().map(|work| self.work(work, ids)).collect()
    }

    /// Carries an intent out. If `notice` says so, it is told which records that has changed.
    pub(crate) fn write(
        &mut self,
        intent: Intent,
        notice: bool,
        ids: &mut RandomIds,
    ) -> Result<(Done, Vec<Changed>), WriteError> {
        self.changes += 1;
        match &intent {
            Intent::DefineQuery { name, .. } if self.programmatic.contains(name) => {
                return Err(StoreError::QueryExists { query: name.as_str().into() }.into());
            }
            Intent::UndefineQuery { name } if self.programmatic.contains(name) => {
                return Err(WriteError::PartOfProgram { query: name.clone() });
            }
            _ => {}
        }
        let mut context = Context::new(self.clock.now(), ids)
            .with_validators(&self.validators)
            .with_answers(self.answers)
            .noticing(notice);
        let executed = self.next.execute(intent, &mut context)?;
        if let Some(commit) = executed.commit {
            self.watched.saw(&self.next);
            self.changes += commit.changes.len().saturating_sub(1);
            self.commits.push(commit);
        }
        let position = match &executed.outcome {
            Outcome::Repeated(answer) => answer.position,
            _ => self.next.position(),
        };
        Ok((Done { outcome: executed.outcome, position }, executed.changed))
    }

    /// Whether a group may take so long that it must not hold up the connections which share this worker thread.
    pub(crate) fn is_long(&self, works: &[Work]) -> bool {
        let rows = works.iter().map(|work| match work {
            Work::Store(intent) => rows(&self.next, intent),
            Work::Rules(_) | Work::Look(_) => 1,
        });
        if rows.fold(0, usize::saturating_add) > limits::INLINE_WRITES {
            return true;
        }
        let Some(desk) = &self.rules else { return false };
        let listens = desk.listens();
        desk.is_long(works.iter().filter(|work| listens || !matches!(work, Work::Store(_))).count())
    }
}

/// How many records an intent looks at or changes, at most. What can take long for another reason counts as very many.
fn rows(state: &Snapshot, intent: &Intent) -> usize {
    match intent {
        Intent::Insert { .. }
        | Intent::Update { .. }
        | Intent::Upsert { .. }
        | Intent::UndefineQuery { .. }
        // About a thousand answers, a microsecond each.
        | Intent::ForgetAnswers => 1,
        Intent::IfVersion { write, .. }
        | Intent::Idempotent { write, .. }
        | Intent::Guarded { write, .. } => rows(state, write),
        Intent::InsertMany { data, .. } => data.len(),
        Intent::UpdateMany { bucket, .. } => size(state, bucket),
        Intent::Delete { bucket, .. } => state.dependents(bucket).saturating_add(1),
        Intent::DeleteMany { bucket, .. } | Intent::Clear { bucket } => {
            state.dependents(bucket).saturating_add(size(state, bucket))
        }
        Intent::Expire { bucket, .. } => {
            let name = state.bucket_by_id(*bucket).map(Bucket::name);
            name.map_or(0, |name| state.dependents(name)).saturating_add(1)
        }
        Intent::Transaction { operations } => {
            operations.iter().map(|step| step_rows(state, step)).fold(0, usize::saturating_add)
        }
        // A definition may compile patterns or change every record, a migration may do anything.
        _ => usize::MAX,
    }
}

fn step_rows(state: &Snapshot, step: &Step) -> usize {
    match step {
        Step::Write(intent) => rows(state, intent),
        Step::Get { .. } => 1,
        Step::Where { bucket, .. }
        | Step::FindOne { bucket, .. }
        | Step::Count { bucket, .. }
        | Step::GroupBy { bucket, .. } => size(state, bucket),
        _ => usize::MAX,
    }
}

fn size(state: &Snapshot, bucket: &str) -> usize {
    state.bucket(bucket).map_or(1, Bucket::len)
}
