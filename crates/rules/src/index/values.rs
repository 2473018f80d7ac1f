//! Rules of one pattern, by a value that one of their conditions asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::condition::{Condition, ConditionSource, Exact, Operand, Operator, Path, Test};
use crate::limits::MAX_INDEXED_VALUES;

/// Rules that end at one place of the trie.
#[derive(Debug, Clone)]
pub(super) struct Values<T> {
    /// Those that ask for no value.
    all: BTreeSet<T>,
    /// The others, by the path of the value and then by the value.
    by_path: BTreeMap<Path, ByValue<T>>,
}

#[derive(Debug, Clone)]
struct ByValue<T> {
    texts: HashMap<Box<str>, BTreeSet<T>>,
    others: HashMap<Scalar, BTreeSet<T>>,
}

/// A value that is no text, in a form that is the same for equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Exact),
}

impl Scalar {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Some(Self::Number(Exact::of(number))),
            _ => None,
        }
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), by_path: BTreeMap::new() }
    }
}

impl<T> Default for ByValue<T> {
    fn default() -> Self {
        Self { texts: HashMap::new(), others: HashMap::new() }
    }
}

impl<T: Copy + Ord> Values<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_path.is_empty()
    }

    pub(super) fn insert(&mut self, conditions: &[Condition], rule: T) {
        let Some((path, values)) = asked(conditions) else {
            self.all.insert(rule);
            return;
        };
        let by_value = self.by_path.entry(path.clone()).or_default();
        for value in values {
            if let Value::String(text) = value {
                by_value.texts.entry(text.as_str().into()).or_default().insert(rule);
            } else if let Some(scalar) = Scalar::of(value) {
                by_value.others.entry(scalar).or_default().insert(rule);
            }
        }
    }

    pub(super) fn remove(&mut self, conditions: &[Condition], rule: T) {
        let Some((path, values)) = asked(conditions) else {
            self.all.remove(&rule);
            return;
        };
        let Some(by_value) = self.by_path.get_mut(path) else { return };
        for value in values {
            if let Value::String(text) = value {
                if let Some(rules) = by_value.texts.get_mut(text.as_str()) {
                    rules.remove(&rule);
                    if rules.is_empty() {
                        by_value.texts.remove(text.as_str());
                    }
                }
            } else if let Some(scalar) = Scalar::of(value)
                && let Some(rules) = by_value.others.get_mut(&scalar)
            {
                rules.remove(&rule);
                if rules.is_empty() {
                    by_value.others.remove(&scalar);
                }
            }
        }
        if by_value.texts.is_empty() && by_value.others.is_empty() {
            self.by_path.remove(path);
        }
    }

    pub(super) fn matching(&self, data: &Value, found: &mut Vec<T>) {
        found.extend(&self.all);
        for (path, by_value) in &self.by_path {
            let Some(value) = path.find(data) else { continue };
            let rules = match &*value {
                Value::String(text) => by_value.texts.get(text.as_str()),
                other => Scalar::of(other).and_then(|scalar| by_value.others.get(&scalar)),
            };
            found.extend(rules.into_iter().flatten());
        }
    }
}

/// The values one of which must be at a path for all conditions to hold: the first condition that asks for such, the one with the
/// fewest values if there are several.
fn asked(conditions: &[Condition]) -> Option<(&Path, &[Value])> {
    conditions
        .iter()
        .filter_map(|condition| match condition {
            Condition::Test(test) => asked_by(test),
            Condition::All(conditions) => asked(conditions),
            _ => None,
        })
        .min_by_key(|(_, values)| values.len())
}

fn asked_by(test: &Test) -> Option<(&Path, &[Value])> {
    let (ConditionSource::Event(path), Operand::Constant(value)) = (&test.source, &test.value) else {
        return None;
    };
    let values = match (test.operator, &**value) {
        (Operator::Eq, value) => std::slice::from_ref(value),
        (Operator::In, Value::Array(values)) if values.len() <= MAX_INDEXED_VALUES => values.as_slice(),
        _ => return None,
    };
    let scalar = |value: &Value| !value.is_array() && !value.is_object();
    // An empty list can never hold, but then the rule has to be found to say why.
    (!values.is_empty() && values.iter().all(scalar)).then_some((path, values))
}
