//! What the conditions and actions of one rule can see.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::Value;

use super::cause::{Kind, Occasion};
use crate::condition::Scope;
use crate::facts::Facts;

/// The world of one rule at one moment.
pub(super) struct View<'a> {
    facts: &'a Facts,
    occasion: &'a Occasion,
    variables: &'a [(Arc<str>, Arc<Value>)],
    lookups: &'a [(Arc<str>, Arc<Value>)],
    /// Facts that may still be looked at in search of one, and those that were.
    most: u64,
    looked: Cell<u64>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        occasion: &'a Occasion,
        variables: &'a [(Arc<str>, Arc<Value>)],
        lookups: &'a [(Arc<str>, Arc<Value>)],
        most: u64,
    ) -> Self {
        Self { facts, occasion, variables, lookups, most, looked: Cell::new(0) }
    }

    /// At how many facts it had to look: steps that are still to be counted.
    pub(super) fn looked(&self) -> u64 {
        self.looked.get()
    }
}

impl Scope for View<'_> {
    fn trigger(&self) -> &Value {
        &self.occasion.data
    }

    fn fact(&self, key: &str) -> Option<&Value> {
        self.facts.get(key).map(|fact| &*fact.value)
    }

    fn first_fact(&self, pattern: &str) -> Option<&Value> {
        let (fact, looked) = self.facts.first(pattern, self.most.saturating_sub(self.looked.get()));
        self.looked.set(self.looked.get() + looked);
        fact.map(|fact| &*fact.value)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        bound(self.variables, name)
    }

    fn matched(&self, index: usize) -> Option<&Value> {
        match self.occasion.kind {
            Kind::Event | Kind::Change => (index == 0).then_some(&*self.occasion.data),
            Kind::Pattern => self.occasion.data.get("events")?.get(index),
            Kind::Fact | Kind::Timer => None,
        }
    }

    fn lookup(&self, name: &str) -> Option<&Value> {
        bound(self.lookups, name)
    }
}

fn bound<'a>(bindings: &'a [(Arc<str>, Arc<Value>)], name: &str) -> Option<&'a Value> {
    bindings.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
}
