//! Who answers calls and lookups of rules: as the server's `RulesActor` does it, at least once and by what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dunlin_rules::effect::LookupCall;
use dunlin_rules::fault::CallFault;
use dunlin_rules::{Effect, Input, OutgoingCall, Target};
use dunlin_store::Snapshot;
use serde_json::{Value, json};

use super::Tally;
use crate::chance::Chance;

#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Calls to be made, and lookups to be asked: what is durable and not answered.
    calls: BTreeMap<Arc<str>, Arc<OutgoingCall>>,
    lookups: BTreeMap<Arc<str>, Vec<LookupCall>>,
    /// Answers that were got and are not durable yet: each is fed until it is.
    got: BTreeMap<Arc<str>, Input>,
    /// Those that are fed by the batch that is being prepared.
    fed: BTreeSet<Arc<str>>,
    /// How often each attempt was made.
    made: BTreeMap<(Arc<str>, u32), u32>,
    /// Calls that have ended, with the position at which that is durable.
    ended: BTreeMap<Arc<str>, u64>,
    /// Ids by the first argument of the call.
    ids: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl Outside {
    /// A batch is durable that has fed what it has fed, and leads to this.
    /// `waits`: whether somebody waits for the lookups of a firing.
    pub(super) fn kept(
        &mut self,
        effects: Vec<Effect>,
        position: u64,
        waits: impl Fn(&str) -> bool,
        tally: &mut Tally,
    ) {
        for id in std::mem::take(&mut self.fed) {
            self.got.remove(&id);
            if self.lookups.remove(&id).is_some() {
                tally.count("lookup answered");
            } else if self.calls.remove(&id).is_some() {
                self.ended.insert(id, position);
            }
        }
        for effect in effects {
            self.asked(effect, tally);
        }
        // With its rule a firing goes, too: then its lookups are answered to nobody.
        self.lookups.retain(|firing, _| waits(firing));
    }

    fn asked(&mut self, effect: Effect, tally: &mut Tally) {
        match effect {
            Effect::Call(call) => {
                // It was tried and is tried again, or somebody has requeued it.
                self.ended.remove(&call.id);
                tally.count(if call.failures > 0 { "call to be made again" } else { "call to be made" });
                self.calls.insert(Arc::clone(&call.id), call);
            }
            Effect::Lookup { firing, calls, .. } => {
                self.lookups.insert(firing, calls);
            }
            _ => {}
        }
    }

    pub(super) fn take_back(&mut self) {
        self.fed.clear();
    }

    /// A process begins: what was got and is not durable is forgotten. `same`: nothing else can have changed.
    pub(super) fn begin(&mut self, position: u64, outstanding: Vec<Effect>, same: bool) {
        self.fed.clear();
        self.got.clear();
        self.ended.retain(|_, at| *at <= position);
        let known = (std::mem::take(&mut self.calls), std::mem::take(&mut self.lookups));
        for effect in outstanding {
            if let Effect::Call(call) = &effect {
                assert!(!self.ended.contains_key(&call.id), "it has ended: {call:?}");
            }
            self.asked(effect, &mut Tally::default());
        }
        if same {
            assert_eq!(known, (self.calls.clone(), self.lookups.clone()), "what is outstanding");
        }
    }

    /// The answer to something that is due, made now or still to be fed.
    pub(super) fn answer(&mut self, chance: &mut Chance, now: u64, tally: &mut Tally) -> Option<Input> {
        let waiting: Vec<_> = self.waiting(now).collect();
        if waiting.is_empty() {
            return None;
        }
        let id = Arc::clone(chance.pick(&waiting));
        let outcome = chance.below(8);
        Some(self.make(&id, outcome, tally))
    }

    /// Answers to all that is due; each succeeds.
    pub(super) fn answers(&mut self, now: u64, tally: &mut Tally) -> Vec<Input> {
        let waiting: Vec<_> = self.waiting(now).collect();
        waiting.iter().map(|id| self.make(id, 0, tally)).collect()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.calls.values().map(|call| call.due).chain((!self.lookups.is_empty()).then_some(0)).min()
    }

    fn waiting(&self, now: u64) -> impl Iterator<Item = Arc<str>> {
        let calls = self.calls.values().filter(move |call| call.due <= now).map(|call| &call.id);
        calls.chain(self.lookups.keys()).filter(|id| !self.fed.contains(*id)).map(Arc::clone)
    }

    fn make(&mut self, id: &Arc<str>, outcome: usize, tally: &mut Tally) -> Input {
        self.fed.insert(Arc::clone(id));
        if let Some(input) = self.got.get(id) {
            tally.count("answer fed again");
            return input.clone();
        }
        let input = if let Some(call) = self.calls.get(id) {
            let times = self.made.entry((Arc::clone(id), call.failures)).or_default();
            *times += 1;
            tally.count(if *times > 1 { "call made again after a crash" } else { "call made" });
            if let Target::Service { args, .. } = &call.target {
                self.ids.entry(args[0].to_string()).or_default().insert(Arc::clone(id));
            }
            let id = Arc::clone(id);
            let fault = |again| CallFault { message: "it does not want to".into(), again };
            match outcome {
                0..5 => Input::CallDone { id, result: json!("done") },
                5 => Input::CallFailed { id, fault: fault(false) },
                _ => Input::CallFailed { id, fault: fault(true) },
            }
        } else {
            let answer = |call: &LookupCall| {
                if outcome == 7 { Err("it does not know".into()) } else { Ok(Arc::new(json!(call.args))) }
            };
            let answers = self.lookups[id].iter().map(answer).collect();
            Input::LookedUp { firing: Arc::clone(id), answers }
        };
        self.got.insert(Arc::clone(id), input.clone());
        input
    }

    /// Whether the call of this number was made. `surely`: and by one id only.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn called(&self, number: usize, surely: bool) -> Result<(), String> {
        let ids = self.ids.get(&Value::from(number).to_string());
        match ids.map_or(0, BTreeSet::len) {
            0 => Err(format!("call {number} was never made")),
            1 => Ok(()),
            _ if !surely => Ok(()),
            _ => Err(format!("call {number} was made by several ids: {ids:?}")),
        }
    }
}

/// A dead letter is requeued or thrown away.
pub(super) fn dead_letter(state: &Snapshot, chance: &mut Chance) -> Option<Input> {
    let (key, _) = state.entries("d/").next()?;
    let id: Arc<str> = key.strip_prefix("d/")?.into();
    Some(if chance.once_in(3) { Input::Discard { id } } else { Input::Requeue { id } })
}
