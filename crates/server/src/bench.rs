//! The writer without its actor, for simulations that hold the journal, time and chance themselves.
//!
//! A batch is prepared where the `StoreActor` prepares it: on the same workbench, with the same desk, behind the same inputs.
//! Whoever has a [`Bench`] appends the batch and says what has become of it.
//!
//! ```
//! use dunlin_server::bench::{Bench, Step, Task};
//! use dunlin_store::{AnswerLimits, Snapshot};
//! use serde_json::json;
//!
//! let mut bench = Bench::new(&Snapshot::new("epoch"))?;
//! let input = dunlin_rules::Input::SetFact { key: "answer".into(), value: json!(42) };
//! let step = Step { task: Task::Rules(input), now: 1_000, chance: 7, answers: AnswerLimits::default() };
//! bench.carry_out(step)?;
//! assert_eq!(bench.commits().len(), 1);
//! // It could not be made durable: nothing has happened.
//! bench.take_back()?;
//! assert_eq!(bench.state().position(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dunlin_rules::{Answer, Effect, Event, Input, Limits, Report};
use dunlin_store::{AnswerLimits, Commit, Idempotency, Intent, Outcome, Snapshot, Validators};

use crate::auth::PolicyRights;
use crate::events::EventBus;
use crate::metrics::Metrics;
use crate::programmatic::Programmatic;
use crate::rules::{Aftermath, Desk, EventAt, Lookups, RuleListener, RuleOptions, RuleWork, Services, Work};
use crate::store_actor::WriteError;
use crate::workbench::{Clock, RandomIds, Workbench};

/// Nobody reads them, and a simulation begins often.
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new()));

/// Something to carry out.
#[derive(Debug, Clone)]
pub enum Task {
    /// A write of the store.
    Store(Intent),
    /// An input of the rule engine.
    Rules(Input),
    /// The same; a repeat gets the first answer.
    Once(Input, Idempotency),
    /// Whatever is due for rules.
    Due,
}

/// A task, and everything on which it depends beside the state.
#[derive(Debug, Clone)]
pub struct Step {
    /// What to do.
    pub task: Task,
    /// The time, Unix milliseconds; never earlier than that of the step before.
    pub now: u64,
    /// Ids and waits of the step are made of this.
    pub chance: u64,
    /// How many answers are remembered, and how long.
    pub answers: AnswerLimits,
}

/// What a batch has led to beside its commits.
#[derive(Debug, Default)]
pub struct Told {
    /// Events in order, each with the position at which it is durable.
    pub events: Vec<(Arc<Event>, u64)>,
    /// What is to be done outside.
    pub effects: Vec<Effect>,
    /// What went wrong.
    pub reports: Vec<Report>,
    /// Rules whose actions were carried out.
    pub firings: u64,
}

/// See the module.
pub struct Bench {
    published: Snapshot,
    now: Arc<AtomicU64>,
    /// `None` only within a step.
    work: Option<Workbench>,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("position", &self.published.position()).finish_non_exhaustive()
    }
}

impl Bench {
    /// A writer that begins on this state, as one does after a start.
    ///
    /// # Errors
    /// What the rules have left in the state cannot be read.
    pub fn new(state: &Snapshot) -> Result<Self, WriteError> {
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let clock = Clock::new(Arc::new(move || clock.load(Ordering::Relaxed)));
        let services = Arc::new(Services::default());
        let metrics = Arc::clone(&METRICS);
        // Nobody is asked from here: lookups are effects.
        let lookups = Lookups::new(Arc::clone(&services), Duration::ZERO, Arc::new(|| 0), metrics);
        let options = RuleOptions {
            limits: Limits::default(),
            rights: Arc::new(PolicyRights::new(None)),
            listener: Arc::new(Nobody),
            services,
        };
        let desk =
            Desk::new(Arc::new(options), Arc::new(lookups), state).map_err(|_| WriteError::RulesFailed)?;
        let work = bench(state, clock, Some(Box::new(desk)));
        Ok(Self { published: state.clone(), now, work: Some(work) })
    }

    /// Carries a step out, behind the steps before it.
    ///
    /// # Errors
    /// It is refused and has changed nothing.
    pub fn carry_out(&mut self, step: Step) -> Result<Outcome, WriteError> {
        let Step { task, now, chance, answers } = step;
        self.now.store(now, Ordering::Relaxed);
        let mut ids = RandomIds::seeded(chance);
        let work = self.work()?;
        work.answers = answers;
        let asked = |input, once| Work::Rules(Box::new(RuleWork { input, once, tell }));
        let done = match task {
            Task::Store(intent) => work.work(Work::Store(intent), &mut ids)?.outcome,
            Task::Rules(input) => work.work(asked(input, None), &mut ids)?.outcome,
            Task::Once(input, once) => work.work(asked(input, Some(once)), &mut ids)?.outcome,
            Task::Due => work.ticks(&mut ids).map(|()| Outcome::Told("{}".into()))?,
        };
        Ok(done)
    }

    /// The state behind all steps.
    pub fn state(&self) -> &Snapshot {
        self.work.as_ref().map_or(&self.published, |work| &work.next)
    }

    /// The commits of the batch that is being prepared.
    pub fn commits(&self) -> &[Commit] {
        self.work.as_ref().map_or(&[], |work| &work.commits)
    }

    /// When rules have something to do by themselves, Unix milliseconds.
    pub fn next_wake(&self) -> Option<u64> {
        self.desk().and_then(Desk::next_wake)
    }

    /// Calls and lookups that have been asked for and not answered.
    pub fn outstanding(&self) -> Vec<Effect> {
        self.desk().map_or_else(Vec::new, Desk::outstanding)
    }

    /// The batch is durable, or there was nothing to be made durable.
    ///
    /// # Errors
    /// The engine was lost in it.
    pub fn keep(&mut self) -> Result<Told, WriteError> {
        let Workbench { next, clock, rules, aftermath, broken, .. } = self.take()?;
        if broken.is_some() {
            return Err(WriteError::RulesFailed);
        }
        self.published = next;
        self.work = Some(bench(&self.published, clock, rules));
        let Aftermath { events, effects, reports, firings, .. } = aftermath;
        Ok(Told { events, effects, reports, firings })
    }

    /// Nothing of the batch is durable: all of it is taken back.
    ///
    /// # Errors
    /// What the rules have left in the state cannot be read.
    pub fn take_back(&mut self) -> Result<(), WriteError> {
        let Workbench { clock, mut rules, aftermath, .. } = self.take()?;
        if let Some(desk) = &mut rules {
            desk.undo(&aftermath, &self.published).map_err(|_| WriteError::RulesFailed)?;
        }
        self.work = Some(bench(&self.published, clock, rules));
        Ok(())
    }

    fn desk(&self) -> Option<&Desk> {
        self.work.as_ref()?.rules.as_deref()
    }

    fn work(&mut self) -> Result<&mut Workbench, WriteError> {
        self.work.as_mut().ok_or(WriteError::RulesFailed)
    }

    fn take(&mut self) -> Result<Workbench, WriteError> {
        self.work.take().ok_or(WriteError::RulesFailed)
    }
}

fn bench(state: &Snapshot, clock: Clock, rules: Option<Box<Desk>>) -> Workbench {
    Workbench {
        base: state.clone(),
        next: state.clone(),
        watched: EventBus::default().watch(state),
        commits: Vec::new(),
        clock,
        changes: 0,
        validators: Arc::new(Validators::default()),
        programmatic: Arc::new(Programmatic::default()),
        answers: AnswerLimits::default(),
        rules,
        aftermath: Aftermath::default(),
        broken: None,
    }
}

fn tell(answer: &Answer) -> String {
    match answer {
        Answer::Event(event) => serde_json::json!({"id": event.id}).to_string(),
        _ => "{}".to_owned(),
    }
}

/// Nobody listens: events are told with the batch.
struct Nobody;

impl RuleListener for Nobody {
    fn number(&self, _events: usize) -> u64 {
        0
    }

    fn tell(&self, _events: &[EventAt]) {}

    fn gap(&self) {}
}
