//! A rule that runs, as data: it can be put aside at any action and go on later, in another process if need be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cause::Occasion;
use crate::action::Action;
use crate::effect::LookupCall;
use crate::report::Link;
use crate::rule::Rule;

/// Names and values. A handful at most: looked up one by one.
pub(crate) type Bindings = Vec<(Arc<str>, Arc<Value>)>;

/// A rule that runs, and where it stands.
#[derive(Debug)]
pub(super) struct Firing {
    pub(super) rule: Arc<Rule>,
    pub(super) occasion: Arc<Occasion>,
    pub(super) variables: Bindings,
    pub(super) lookups: Bindings,
    /// Blocks of actions, the outermost first. None before the conditions were looked at.
    pub(super) frames: Vec<Frame>,
}

/// A block of actions that is being carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// The next action.
    pub(crate) at: usize,
    pub(crate) block: Block,
}

/// Which block of the action before it (that is the one before `at` in the frame around).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Block {
    /// The rule's own actions.
    Rule,
    Then,
    Else,
    /// One turn of a loop.
    Each {
        items: Vec<Arc<Value>>,
        turn: usize,
        /// What the loop's two variables were outside.
        outer: [Outer; 2],
    },
    Try,
    Catch {
        /// What its variable was outside.
        outer: Outer,
    },
    Finally,
}

/// A variable's value around a block: none or one. (`null` is a value.)
pub(crate) type Outer = Vec<Arc<Value>>;

/// A firing that waits for an answer from outside: [`prefix::WAITING`](crate::change::prefix::WAITING).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiting {
    pub(crate) rule: Arc<str>,
    /// The rule's `version`: what was put aside goes on in the same rule or not at all.
    pub(crate) version: u64,
    pub(crate) occasion: Arc<Occasion>,
    /// What led to it.
    pub(crate) chain: Vec<Link>,
    pub(crate) variables: Bindings,
    pub(crate) lookups: Bindings,
    pub(crate) frames: Vec<Frame>,
    pub(crate) awaits: Awaits,
    pub(crate) since: u64,
}

/// What a firing waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Awaits {
    /// Answers to these, before its conditions.
    Lookups(Vec<LookupCall>),
    /// The end of this call, in the middle of its actions.
    Call(Arc<str>),
}

impl Firing {
    pub(super) fn new(rule: Arc<Rule>, occasion: Arc<Occasion>) -> Self {
        let variables = occasion.variables.clone();
        Self { rule, occasion, variables, lookups: Vec::new(), frames: Vec::new() }
    }

    /// The actions of the innermost block. `None` if the rule has no such block.
    pub(super) fn block<'a>(rule: &'a Rule, frames: &[Frame]) -> Option<&'a [Action]> {
        let mut block: &[Action] = &rule.actions;
        for pair in frames.windows(2) {
            let [around, inner] = pair else { return None };
            let action = block.get(around.at.checked_sub(1)?)?;
            block = match (action, &inner.block) {
                (Action::Conditional { then, .. }, Block::Then) => then,
                (Action::Conditional { otherwise, .. }, Block::Else) => otherwise,
                (Action::ForEach { actions, .. }, Block::Each { .. }) => actions,
                (Action::TryCatch { attempt, .. }, Block::Try) => attempt,
                (Action::TryCatch { catch, .. }, Block::Catch { .. }) => catch,
                (Action::TryCatch { finally, .. }, Block::Finally) => finally,
                _ => return None,
            };
        }
        Some(block)
    }

    /// The action whose block the innermost frame is.
    pub(super) fn owner<'a>(rule: &'a Rule, frames: &[Frame]) -> Option<&'a Action> {
        let (_, around) = frames.split_last()?;
        Self::block(rule, around)?.get(around.last()?.at.checked_sub(1)?)
    }

    /// Whether it is inside of a `try`, however deep.
    pub(super) fn tries(&self) -> bool {
        self.frames.iter().any(|frame| frame.block == Block::Try)
    }

    pub(super) fn enter(&mut self, block: Block) {
        self.frames.push(Frame { at: 0, block });
    }

    /// Sets a variable, or removes it; gives what it was.
    pub(super) fn bind(&mut self, name: &Arc<str>, value: Option<Arc<Value>>) -> Outer {
        let at = self.variables.iter().position(|(known, _)| known == name);
        match (at.and_then(|at| self.variables.get_mut(at)), value) {
            (Some((_, old)), Some(value)) => vec![std::mem::replace(old, value)],
            (Some(_), None) => {
                at.map(|at| self.variables.remove(at)).into_iter().map(|(_, old)| old).collect()
            }
            (None, Some(value)) => {
                self.variables.push((Arc::clone(name), value));
                Outer::new()
            }
            (None, None) => Outer::new(),
        }
    }

    /// Sets a variable to what it was.
    pub(super) fn restore(&mut self, name: &Arc<str>, mut outer: Outer) {
        self.bind(name, outer.pop());
    }
}
