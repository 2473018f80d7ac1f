//! The engine: what runs when, and what it leaves behind.
//!
//! [`Engine`] is the state; a [`Run`](run::Run) is what is made of one input: a stack of tasks (rules that are still to be
//! looked at, rules that run), worked off until it is empty. Nothing here calls itself: however long a chain of causes may be, it
//! grows that stack, not the thread's.

mod act;
mod book;
mod budget;
mod call;
mod cause;
mod dirty;
mod explain;
mod firing;
mod input;
mod load;
mod manage;
mod reach;
mod run;
mod stats;
mod trace;
mod value;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::Facts;
use crate::groups::Groups;
use crate::outbox::Outbox;
use crate::temporal::Temporal;
use crate::timers::Timers;
use crate::versions::Versions;
use crate::{Effect, Input, Limits, Ran, Watched, World, rule};

/// A rule engine with all its state.
///
/// ```
/// use dunlin_rules::{Engine, Input, Limits, StoreRequest, World, Written, fault::ActionFault};
/// use serde_json::json;
///
/// struct Here(u128);
/// impl World for Here {
///     fn now(&self) -> u64 {
///         1_700_000_000_000
///     }
///     fn random(&mut self) -> u128 {
///         self.0 += 1;
///         self.0
///     }
///     fn write(&mut self, _: &StoreRequest) -> Result<Written, ActionFault> {
///         Ok(Written::default())
///     }
/// }
///
/// let (mut engine, mut world) = (Engine::new(Limits::default()), Here(0));
/// let rule = json!({
///     "id": "welcome", "name": "Welcome", "trigger": {"type": "event", "topic": "user.new"},
///     "actions": [{"type": "set_fact", "key": "greeted:${event.id}", "value": true}],
/// });
/// assert!(engine.run(Input::Register { rule }, &mut world).answer.is_ok());
///
/// let data = json!({"id": 7}).as_object().cloned().unwrap_or_default();
/// let emit = Input::Emit { topic: "user.new".into(), data, correlation_id: None, causation_id: None };
/// let ran = engine.run(emit, &mut world);
/// assert_eq!((ran.events.len(), ran.firings), (1, 1));
///
/// // What has changed is all that another engine needs to go on.
/// let mut other = Engine::new(Limits::default());
/// other.load(ran.changes)?;
/// # Ok::<(), dunlin_rules::RuleFault>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    meta: Meta,
    book: book::Book,
    reach: reach::Reach,
    /// Rules that can be reached: those that can fire.
    reached: BTreeSet<u64>,
    groups: Groups,
    versions: Versions,
    facts: Facts,
    timers: Timers,
    temporal: Temporal,
    outbox: Outbox,
    waiting: BTreeMap<Arc<str>, Arc<firing::Waiting>>,
    traces: trace::Traces,
    counts: stats::Counts,
}

/// Counters that are never given twice: the last number of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    /// `version` of rules.
    version: u64,
    /// Places of rules, groups and facts.
    rule: u64,
    group: u64,
    fact: u64,
}

impl Engine {
    /// An engine that knows nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            temporal: Temporal::new(&limits),
            traces: trace::Traces::new(limits.traces),
            limits,
            meta: Meta::default(),
            book: book::Book::default(),
            reach: reach::Reach::default(),
            reached: BTreeSet::new(),
            groups: Groups::new(),
            versions: Versions::default(),
            facts: Facts::default(),
            timers: Timers::new(),
            outbox: Outbox::default(),
            waiting: BTreeMap::new(),
            counts: stats::Counts::default(),
        }
    }

    /// Carries one input out, and everything that follows from it.
    pub fn run(&mut self, input: Input, world: &mut dyn World) -> Ran {
        let mut run = run::Run::new(self, world);
        let answer = run.input(input);
        run.finish(answer)
    }

    /// As [`run`](Self::run), when all inputs together may take so many steps, and not each. None if there are none left.
    pub(crate) fn run_within(&mut self, steps: u64, input: Input, world: &mut dyn World) -> Option<Ran> {
        self.limits.steps = steps.checked_sub(self.counts.steps).filter(|left| *left > 0)?;
        Some(self.run(input, world))
    }

    /// When [`Input::Tick`] has something to do next, Unix milliseconds.
    pub fn next_wake(&self) -> Option<u64> {
        [self.timers.next_deadline(), self.temporal.next_deadline()].into_iter().flatten().min()
    }

    /// Which changes of records rules may be triggered by. Cheap; another value whenever that changes.
    pub fn watched(&self) -> &Arc<Watched> {
        self.reach.watched()
    }

    /// All calls and lookups that have been asked for and not answered: what is to be done again after a start.
    pub fn outstanding(&self) -> Vec<Effect> {
        let calls = self.outbox.calls().map(|call| Effect::Call(Arc::clone(call)));
        let lookups = self.waiting.iter().filter_map(|(id, waiting)| match &waiting.awaits {
            firing::Awaits::Lookups(calls) => Some(Effect::Lookup {
                firing: Arc::clone(id),
                rule: Arc::clone(&waiting.rule),
                calls: calls.clone(),
            }),
            firing::Awaits::Call(_) => None,
        });
        calls.chain(lookups).collect()
    }

    /// What is wrong with a rule, without registering it: `{valid, errors, warnings}`.
    pub fn validate(&self, rule: &Value) -> Value {
        let (errors, warnings) = rule::check(rule, &self.limits);
        serde_json::json!({"valid": errors.is_empty(), "errors": errors, "warnings": warnings})
    }
}
