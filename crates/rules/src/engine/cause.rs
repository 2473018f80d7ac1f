//! Chains of causes: what led to what within one run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::MAX_CHAIN;
use crate::report::Link;
use crate::temporal::Match;
use crate::{Event, Object};

/// What kind of thing sets rules off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Event,
    Change,
    Fact,
    Timer,
    Pattern,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Change => "change",
            Self::Fact => "fact",
            Self::Timer => "timer",
            Self::Pattern => "pattern",
        }
    }
}

/// Something that happened and sets rules off, with all that they can see of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Occasion {
    pub(crate) kind: Kind,
    /// Topic, key, name of the timer, or id of the pattern's rule.
    pub(crate) name: Arc<str>,
    /// Id of the event or timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Arc<str>>,
    /// The trigger's data.
    pub(crate) data: Arc<Value>,
    /// Variables that are there from the start: the aliases of a pattern's events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) variables: Vec<(Arc<str>, Arc<Value>)>,
    /// Inherited by all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation: Option<Arc<str>>,
    /// The causation id of what its rules emit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Arc<str>>,
    pub(crate) depth: usize,
    /// Its place in the run's [`Causes`].
    #[serde(skip)]
    pub(crate) link: usize,
}

impl Occasion {
    /// An event, or the change of a record.
    pub(super) fn of_event(kind: Kind, event: &Event, data: Value, depth: usize) -> Self {
        Self {
            kind,
            name: Arc::clone(&event.topic),
            id: Some(Arc::clone(&event.id)),
            data: Arc::new(data),
            variables: Vec::new(),
            correlation: event.correlation_id.clone(),
            cause: Some(Arc::clone(&event.id)),
            depth,
            link: 0,
        }
    }

    /// An event that nobody has emitted.
    pub(super) fn made_up(topic: &str, data: &Object) -> Self {
        Self {
            kind: Kind::Event,
            name: topic.into(),
            id: None,
            data: Arc::new(Value::Object(data.clone())),
            variables: Vec::new(),
            correlation: None,
            cause: None,
            depth: 0,
            link: 0,
        }
    }

    /// A temporal pattern that is complete. It was caused by the last of its events.
    pub(super) fn of_match(found: Match, depth: usize) -> Self {
        Self {
            kind: Kind::Pattern,
            name: Arc::clone(&found.rule),
            id: None,
            data: Arc::new(Value::Object(found.trigger_data())),
            cause: found.causation_id.clone(),
            correlation: found.correlation_id,
            variables: found
                .variables
                .into_iter()
                .map(|(name, data)| (name, Arc::new(Value::Object(data.as_ref().clone()))))
                .collect(),
            depth,
            link: 0,
        }
    }
}

/// Where an occasion comes from: another one, and the rule that it made fire.
pub(super) type Origin = Option<(usize, Arc<str>)>;

/// All occasions of a run. Each knows the one before it, so a chain is put together only when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Causes {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    name: Arc<str>,
    id: Option<Arc<str>>,
    origin: Origin,
    /// What led to the first of a run that goes on with something that waited.
    before: Vec<Link>,
}

impl Causes {
    pub(super) fn add(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        id: Option<&Arc<str>>,
        origin: Origin,
    ) -> usize {
        self.add_behind(Vec::new(), kind, name, id, origin)
    }

    /// An occasion with a past in another run.
    pub(super) fn add_behind(
        &mut self,
        before: Vec<Link>,
        kind: Kind,
        name: &Arc<str>,
        id: Option<&Arc<str>>,
        origin: Origin,
    ) -> usize {
        self.nodes.push(Node { kind, name: Arc::clone(name), id: id.cloned(), origin, before });
        self.nodes.len() - 1
    }

    /// What led to an occasion, without itself: what a firing that is put aside takes with it.
    pub(super) fn before(&self, link: usize) -> Vec<Link> {
        let mut chain = self.chain(link, None);
        chain.pop();
        chain
    }

    /// The chain that led to an occasion, and from there to a rule; the input first. Of a very long one the middle is left out.
    pub(super) fn chain(&self, link: usize, rule: Option<&Arc<str>>) -> Vec<Link> {
        let (mut chain, mut at) = (Vec::new(), Some((link, rule)));
        let mut first = None;
        while let Some((node, rule)) = at.and_then(|(link, rule)| Some((self.nodes.get(link)?, rule))) {
            if chain.len() < MAX_CHAIN - 1 {
                chain.push(node.link(rule));
            } else {
                first = Some((node, rule));
            }
            at = node.origin.as_ref().map(|(link, rule)| (*link, Some(rule)));
            if at.is_none() {
                chain.extend(node.before.iter().rev().cloned());
            }
        }
        chain.extend(first.map(|(node, rule)| node.link(rule)));
        chain.reverse();
        if chain.len() > MAX_CHAIN {
            chain.drain(1..=chain.len() - MAX_CHAIN);
        }
        chain
    }
}

impl Node {
    fn link(&self, rule: Option<&Arc<str>>) -> Link {
        let trigger = format!("{} {}", self.kind.as_str(), self.name);
        Link { trigger, id: self.id.clone(), rule: rule.cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_comes_first() {
        let mut causes = Causes::default();
        let rule: Arc<str> = "r".into();
        let first = causes.add(Kind::Event, &"a".into(), Some(&"1".into()), None);
        let second = causes.add(Kind::Fact, &"k:1".into(), None, Some((first, Arc::clone(&rule))));
        let chain = causes.chain(second, None);
        let shown: Vec<_> = chain.iter().map(|link| (link.trigger.as_str(), link.rule.as_deref())).collect();
        assert_eq!(shown, [("event a", Some("r")), ("fact k:1", None)]);
        let later = causes.add_behind(chain, Kind::Timer, &"t".into(), None, None);
        let triggers: Vec<_> = causes.chain(later, None).into_iter().map(|link| link.trigger).collect();
        assert_eq!(triggers, ["event a", "fact k:1", "timer t"]);

        let mut last = later;
        for n in 0..1000 {
            last = causes.add(Kind::Event, &format!("n{n}").into(), None, Some((last, Arc::clone(&rule))));
        }
        let chain = causes.chain(last, None);
        assert_eq!((chain.len(), &*chain[99].trigger), (MAX_CHAIN, "event n999"));
    }
}
