//! What an engine is fed, and what comes of it.

use std::sync::Arc;

use serde_json::Value;

use crate::fault::{CallFault, RuleFault};
use crate::{Change, Effect, Event, Fact, Object, Report, StoreChange};

/// One thing that happens to the engine.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields carry the names of the protocol's fields")]
pub enum Input {
    /// An event. Answer: [`Answer::Event`].
    Emit { topic: Arc<str>, data: Object, correlation_id: Option<Arc<str>>, causation_id: Option<Arc<str>> },
    /// A fact is set. Answer: [`Answer::Fact`].
    SetFact { key: Arc<str>, value: Value },
    /// A fact is deleted. Answer: [`Answer::Done`], whether it was there.
    DeleteFact { key: Arc<str> },
    /// A record was changed by somebody else than a rule. Answer: [`Answer::Done`].
    Stored(StoreChange),
    /// Whatever is due at [`World::now`](crate::World::now), one thing: the earliest. Answer: [`Answer::Done`], whether there was
    /// something.
    Tick,
    /// A new rule, as JSON. Answer: [`Answer::Rule`].
    Register { rule: Value },
    /// Members of a rule are replaced; `null` removes an optional one. Answer: [`Answer::Rule`].
    Update { id: Arc<str>, updates: Object },
    /// Answer: [`Answer::Done`].
    Unregister { id: Arc<str> },
    /// Answer: [`Answer::Rule`].
    SetEnabled { id: Arc<str>, enabled: bool },
    /// The rule becomes what it was in an entry of its history, or comes back. Answer: [`Answer::Rule`].
    Rollback { id: Arc<str>, version: u64 },
    /// Answer: [`Answer::Json`], the group.
    CreateGroup { group: Value },
    /// Answer: [`Answer::Json`], the group.
    UpdateGroup { id: Arc<str>, updates: Object },
    /// Answer: [`Answer::Done`].
    DeleteGroup { id: Arc<str> },
    /// As the `set_timer` action's `timer`. Answer: [`Answer::Json`], the timer.
    SetTimer { timer: Value },
    /// Answer: [`Answer::Done`], whether it was there.
    CancelTimer { name: Arc<str> },
    /// Answers to [`Effect::Lookup`], one for each call, in order. Answer: [`Answer::Done`], whether anybody waited.
    LookedUp { firing: Arc<str>, answers: Vec<Result<Arc<Value>, String>> },
    /// A call was made. Answer: [`Answer::Done`], whether it was known.
    CallDone { id: Arc<str>, result: Value },
    /// A call was tried and failed. Answer: [`Answer::Done`], whether it was known.
    CallFailed { id: Arc<str>, fault: CallFault },
    /// A dead letter is tried again, from its first attempt. Answer: [`Answer::Done`].
    Requeue { id: Arc<str> },
    /// A dead letter is thrown away. Answer: [`Answer::Done`].
    Discard { id: Arc<str> },
}

/// What comes of one input.
#[derive(Debug)]
pub struct Ran {
    /// What to tell whoever asked, once the changes are durable. An error has changed nothing.
    pub answer: Result<Answer, RuleFault>,
    /// Events for subscribers, in the order in which they happened. Changes of records are not among them.
    pub events: Vec<Arc<Event>>,
    /// What has changed in the engine. Each key at most once.
    pub changes: Vec<Change>,
    /// What to do when that is durable.
    pub effects: Vec<Effect>,
    /// What went wrong, and what ran into a bound.
    pub reports: Vec<Report>,
    /// Rules whose actions were carried out.
    pub firings: u64,
}

/// What to tell whoever fed an input.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// The event.
    Event(Arc<Event>),
    /// The fact.
    Fact(Arc<Fact>),
    /// The complete rule as it is now, JSON text as in its [entry](crate::change::prefix::RULE)'s `rule`.
    Rule(Arc<Object>),
    /// Something else that was made or changed.
    Json(Value),
    /// Whether there was something to do.
    Done(bool),
}
