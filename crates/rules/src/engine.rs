//! The engine: what runs when, and what it leaves behind.

use std::sync::Arc;

use serde_json::Value;

use crate::fault::RuleFault;
use crate::{Change, Effect, Input, Limits, Ran, Watched, World};

/// A rule engine with all its state.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    watched: Arc<Watched>,
}

impl Engine {
    /// An engine that knows nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, watched: Arc::new(Watched::default()) }
    }

    /// Takes a change over that another engine made: all that there are make an engine from nothing, in any order; those of a run
    /// that could not be made durable are undone by the values that were there before.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn load(&mut self, _change: &Change) -> Result<(), RuleFault> {
        Ok(())
    }

    /// Carries one input out, and everything that follows from it.
    pub fn run(&mut self, _input: Input, _world: &mut dyn World) -> Ran {
        let fault = RuleFault::NotFound { what: "Rule", name: String::new() };
        let (events, changes, effects, reports) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ran { answer: Err(fault), events, changes, effects, reports, firings: 0 }
    }

    /// When [`Input::Tick`] has something to do next, Unix milliseconds.
    pub fn next_wake(&self) -> Option<u64> {
        None
    }

    /// Which changes of records rules may be triggered by. Cheap; another value whenever that changes.
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// All calls and lookups that have been asked for and not answered: what is to be done again after a start.
    pub fn outstanding(&self) -> Vec<Effect> {
        Vec::new()
    }

    /// What is wrong with a rule, without registering it: `{valid, errors, warnings}`.
    pub fn validate(&self, _rule: &Value) -> Value {
        Value::Null
    }

    /// Why a rule fired for an event, or why not: its trigger, and each condition with its value.
    ///
    /// # Errors
    /// The rule is not known, or the event is not remembered any more.
    pub fn explain(&self, _rule: &str, _event: &str) -> Result<Value, RuleFault> {
        Ok(Value::Null)
    }

    /// Figures, as `rules.stats` shows them.
    pub fn stats(&self) -> Value {
        Value::from(self.limits.rules)
    }
}
