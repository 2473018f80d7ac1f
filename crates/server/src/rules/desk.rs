//! The engine as the `StoreActor` has it: made from the state, taken back with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_rules::fault::RuleFault;
use dunlin_rules::{Change, ChangeKind, Effect, Engine, Event, Report, Watched};
use dunlin_store::{Snapshot, SystemRecord, SystemWrite};

use super::facts;
use super::lookups::Lookups;
use super::options::RuleOptions;
use crate::limits;

/// Why an engine could not be made from the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the rules have left in the data cannot be read: {0}")]
pub(crate) struct Unreadable(String);

impl From<RuleFault> for Unreadable {
    fn from(fault: RuleFault) -> Self {
        Self(fault.to_string())
    }
}

/// The engine, and what it needs.
pub(crate) struct Desk {
    pub(super) engine: Engine,
    pub(super) options: Arc<RuleOptions>,
    pub(super) lookups: Arc<Lookups>,
    heard: Heard,
    /// So many inputs must be short, one after the other, until inputs are trusted to be short again.
    doubts: u32,
}

/// What the inputs of a group have led to, beside what is in its commits.
#[derive(Default)]
pub(crate) struct Aftermath {
    /// Events in order, each with its position.
    pub(crate) events: Vec<(Arc<Event>, u64)>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) reports: Vec<Report>,
    pub(crate) firings: u64,
    pub(crate) inputs: u64,
    /// Inputs that were taken back because the engine panicked.
    pub(crate) failures: u64,
    /// What is different in the engine.
    touched: Vec<Touched>,
}

/// Something that an engine holds.
enum Touched {
    Fact(Arc<str>),
    Entry(Arc<str>),
}

/// Which changes of which buckets are heard, asked once for each bucket.
#[derive(Default)]
struct Heard {
    of: Arc<Watched>,
    known: HashMap<Arc<str>, [bool; 3]>,
}

const KINDS: [ChangeKind; 3] = [ChangeKind::Inserted, ChangeKind::Updated, ChangeKind::Deleted];

impl Desk {
    /// The engine that this state holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn new(
        options: Arc<RuleOptions>,
        lookups: Arc<Lookups>,
        state: &Snapshot,
    ) -> Result<Self, Unreadable> {
        let engine = engine(&options, state)?;
        Ok(Self { engine, options, lookups, heard: Heard::default(), doubts: 0 })
    }

    /// Begins anew from this state: what the engine had done since is not known.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn rebuild(&mut self, state: &Snapshot) -> Result<(), Unreadable> {
        self.engine = engine(&self.options, state)?;
        Ok(())
    }

    /// Takes back what the engine has done since this state.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn undo(&mut self, aftermath: &Aftermath, state: &Snapshot) -> Result<(), Unreadable> {
        aftermath.touched.iter().try_for_each(|touched| self.restore(touched, state))
    }

    /// The same for the changes of one input.
    pub(super) fn undo_changes(&mut self, changes: &[Change], state: &Snapshot) -> Result<(), Unreadable> {
        changes.iter().map(Touched::of).try_for_each(|touched| self.restore(&touched, state))
    }

    fn restore(&mut self, touched: &Touched, state: &Snapshot) -> Result<(), Unreadable> {
        let change = match touched {
            Touched::Entry(key) => Change::Entry { key: Arc::clone(key), value: state.entry(key).cloned() },
            Touched::Fact(key) => {
                let record = facts::bucket(state).and_then(|bucket| bucket.get(&(&**key).into()));
                let fact = record.map(facts::fact).transpose();
                let fact = fact.map_err(|reason| Unreadable(format!("the fact \"{key}\": {reason}")))?;
                Change::Fact { key: Arc::clone(key), fact }
            }
        };
        Ok(self.engine.load([change])?)
    }

    /// Whether a change of this kind in this bucket may set rules off.
    pub(super) fn hears(&mut self, bucket: &Arc<str>, kind: ChangeKind) -> bool {
        let watched = self.engine.watched();
        if !Arc::ptr_eq(watched, &self.heard.of) {
            self.heard = Heard { of: Arc::clone(watched), known: HashMap::new() };
        }
        let of = &self.heard.of;
        let known = self.heard.known.entry(Arc::clone(bucket));
        let heard = known.or_insert_with(|| KINDS.map(|kind| of.wants(bucket, kind)));
        KINDS.iter().zip(heard).any(|(known, heard)| *known == kind && *heard)
    }

    /// Whether changes of records may set rules off at all.
    pub(crate) fn listens(&self) -> bool {
        !self.engine.watched().is_empty()
    }

    /// An input has taken so long, and rules have fired or none has.
    pub(super) fn took(&mut self, time: Duration, fired: bool) {
        if fired {
            self.engine.took(time);
        }
        self.doubts = if time > limits::INLINE_RULES_TIME {
            limits::RULE_DOUBTS
        } else {
            self.doubts.saturating_sub(1)
        };
    }

    /// Whether this many inputs may take so long that they must not hold up the connections which share this worker thread.
    pub(crate) fn is_long(&self, inputs: usize) -> bool {
        inputs > 0 && (self.doubts > 0 || inputs > limits::INLINE_RULES)
    }

    /// Calls and lookups that have been asked for and not answered.
    pub(crate) fn outstanding(&self) -> Vec<Effect> {
        self.engine.outstanding()
    }

    /// When it wants to be woken, Unix milliseconds.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        self.engine.next_wake()
    }
}

impl Touched {
    fn of(change: &Change) -> Self {
        match change {
            Change::Fact { key, .. } => Self::Fact(Arc::clone(key)),
            Change::Entry { key, .. } => Self::Entry(Arc::clone(key)),
        }
    }
}

impl Aftermath {
    /// Notes what has changed in the engine.
    pub(super) fn touch(&mut self, changes: &[Change]) {
        self.touched.extend(changes.iter().map(Touched::of));
    }
}

/// What the store notes of these changes.
pub(super) fn noted(changes: &[Change]) -> SystemWrite {
    let mut noted = SystemWrite::default();
    for change in changes {
        match change {
            Change::Entry { key, value } => noted.entries.push((Arc::clone(key), value.clone())),
            Change::Fact { key, fact } => noted.records.push(SystemRecord {
                bucket: dunlin_store::FACTS,
                key: (&**key).into(),
                data: fact.as_deref().map(facts::record),
            }),
        }
    }
    noted
}

fn engine(options: &RuleOptions, state: &Snapshot) -> Result<Engine, Unreadable> {
    let mut engine = Engine::new(options.limits.clone());
    let entries = state
        .entries("")
        .map(|(key, value)| Change::Entry { key: Arc::clone(key), value: Some(Arc::clone(value)) });
    engine.load(entries)?;
    for record in facts::bucket(state).into_iter().flat_map(dunlin_store::Bucket::iter) {
        let fact = facts::fact(record);
        let fact = fact.map_err(|reason| Unreadable(format!("the fact {}: {reason}", record.json())))?;
        engine.load([Change::Fact { key: Arc::clone(&fact.key), fact: Some(fact) }])?;
    }
    Ok(engine)
}
