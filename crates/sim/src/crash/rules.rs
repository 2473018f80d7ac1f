//! A writer with rules: what the store and the engine are asked to do, on the bench that the server's writer has, and the memory of
//! all that came back.
//!
//! At the end everything that is there is carried out once more, in one life, by an engine that was never made anew: that must lead
//! to the same state, to the byte, and to the same events.

use std::collections::BTreeSet;

use dunlin_rules::{Effect, Input};
use dunlin_server::bench::{Bench, Step, Task, Told};
use dunlin_store::{AnswerLimits, Commit, Idempotency, Intent, Outcome, Snapshot};
use serde_json::{Value, json};

use super::Tally;
use super::line;
use super::outside::{self, Outside};
use super::ruleset::{self, AUDIT};
use crate::chance::Chance;
use crate::note;

/// Whose keys of inputs those are.
const SCOPE: &str = "rules:ada";
/// Batches until rules have nothing to do any more, at most.
const DRAIN: usize = 2_000;

/// Steps of a batch that is durable.
#[derive(Debug)]
struct Kept {
    /// The position behind it.
    position: u64,
    steps: Vec<Step>,
    /// What it has led to. `None`: its writer ended before it could tell.
    told: Option<String>,
}

#[derive(Debug)]
pub(super) struct Rules {
    bench: Bench,
    pub(super) outside: Outside,
    pub(super) tally: Tally,
    /// Steps of the batch that is being prepared.
    steps: Vec<Step>,
    /// The batch that was given to the journal, whatever has become of it.
    flying: Option<(u64, Vec<Step>)>,
    kept: Vec<Kept>,
    /// Numbers that were given to events and timers.
    numbers: usize,
    /// Inputs with a key that were sent so far, whatever has become of them.
    keyed: usize,
    chances: u64,
    /// The rules that there should be.
    wanted: Vec<Value>,
}

impl Rules {
    pub(super) fn new(state: &Snapshot) -> Self {
        Self {
            bench: bench(state),
            outside: Outside::default(),
            tally: Tally::default(),
            steps: Vec::new(),
            flying: None,
            kept: Vec::new(),
            numbers: 0,
            keyed: 0,
            chances: 0,
            wanted: ruleset::rules(),
        }
    }

    pub(super) fn state(&self) -> &Snapshot {
        self.bench.state()
    }

    pub(super) fn commits(&self) -> &[Commit] {
        self.bench.commits()
    }

    /// Carries a task out, behind the others of the batch. What is new in it.
    pub(super) fn carry_out(&mut self, task: Task, now: u64, answers: AnswerLimits) -> Vec<Commit> {
        self.chances += 1;
        let before = self.bench.commits().len();
        let step = Step { task, now, chance: self.chances, answers };
        self.steps.push(step.clone());
        note(|| format!("step {} at {now}: {:?}", step.chance, step.task));
        match self.bench.carry_out(step) {
            Ok(Outcome::Repeated(_)) => self.tally.count("keyed write or input repeated"),
            Ok(_) => {}
            Err(refusal) => note(|| format!("refused: {refusal}")),
        }
        self.bench.commits()[before..].to_vec()
    }

    /// The batch is about to be appended.
    pub(super) fn appending(&mut self) {
        self.flying = Some((self.state().position(), std::mem::take(&mut self.steps)));
    }

    /// It is durable, or nothing in it had to be.
    pub(super) fn kept(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let (position, steps) = self.flying.take().unwrap_or_else(|| (self.state().position(), steps));
        let Told { events, effects, reports, firings } = self.bench.keep().unwrap();
        let events: Vec<_> =
            events.iter().map(|(event, at)| (at, serde_json::to_string(event).unwrap())).collect();
        let told = format!("{firings} {events:?} {effects:?} {reports:?}");
        note(|| format!("told: {told}"));
        for (what, times) in
            [("firing", firings), ("event told", events.len() as u64), ("report", reports.len() as u64)]
        {
            self.tally.count_all(what, times);
        }
        let state = self.bench.state();
        let waits = |firing: &str| state.entry(&format!("k/{firing}")).is_some();
        self.outside.kept(effects, position, waits, &mut self.tally);
        self.kept.push(Kept { position, steps, told: Some(told) });
    }

    /// Nothing of the batch is there.
    pub(super) fn take_back(&mut self) {
        self.steps.clear();
        self.outside.take_back();
        self.bench.take_back().unwrap();
    }

    /// The journal is in order again, in the same process.
    pub(super) fn recovered(&mut self) {
        if self.flying.take().is_some() {
            self.tally.count("batch with rules taken back");
        }
        self.take_back();
        self.like(&bench(self.bench.state()));
    }

    /// A process begins, on what came back.
    pub(super) fn begin(&mut self, state: &Snapshot) {
        let position = state.position();
        let newest = self.kept.last().map_or(0, |kept| kept.position);
        let whole = self.flying.take().filter(|(at, _)| *at == position && position > newest);
        let same = whole.is_none() && position == newest;
        if let Some((position, steps)) = whole {
            self.kept.push(Kept { position, steps, told: None });
        }
        self.kept.retain(|kept| kept.position <= position);
        self.steps.clear();
        self.bench = bench(state);
        let pending = [
            ("t/", "timer pending at a crash"),
            ("p/", "pattern pending at a crash"),
            ("k/", "firing that waits at a crash"),
            ("x/", "call pending at a crash"),
            ("d/", "dead letter at a crash"),
        ];
        for (prefix, what) in pending {
            self.tally.count_all(what, u64::from(state.entries(prefix).next().is_some()));
        }
        self.outside.begin(position, self.bench.outstanding(), same);
    }

    /// The engine in hand wants what one wants that was made anew from the same state.
    fn like(&self, other: &Bench) {
        assert_eq!(self.bench.next_wake(), other.next_wake(), "what is due next");
        assert_eq!(texts(&self.bench.outstanding()), texts(&other.outstanding()), "what is outstanding");
    }

    /// Something to do for rules. What is missing comes first.
    pub(super) fn task(&mut self, chance: &mut Chance, now: u64) -> Task {
        if let Some(task) = self.missing().filter(|_| !chance.once_in(3)) {
            return task;
        }
        if self.bench.next_wake().is_some_and(|at| at <= now) && chance.once_in(2) {
            return Task::Due;
        }
        if chance.once_in(3)
            && let Some(input) = self.outside.answer(chance, now, &mut self.tally)
        {
            return Task::Rules(input);
        }
        let number = self.number();
        match chance.below(32) {
            0..14 => Task::Rules(ruleset::emit(chance, number)),
            14..17 => self.keyed_input(chance),
            17..20 => Task::Rules(ruleset::fact(chance, number)),
            20..23 => Task::Rules(ruleset::timer(chance, number)),
            23..25 => Task::Rules(ruleset::administer(chance, &self.wanted)),
            25 => outside::dead_letter(self.bench.state(), chance).map_or(Task::Due, Task::Rules),
            _ => Task::Due,
        }
    }

    /// What a rule that everything depends on needs.
    fn missing(&self) -> Option<Task> {
        let state = self.state();
        if state.bucket(AUDIT).is_err() {
            return Some(Task::Store(ruleset::audit()));
        }
        let is_missing =
            |rule: &&Value| state.entry(&format!("r/{}", rule["id"].as_str().unwrap())).is_none();
        let rule = self.wanted.iter().find(is_missing)?.clone();
        Some(Task::Rules(Input::Register { rule }))
    }

    fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    fn keyed_input(&mut self, chance: &mut Chance) -> Task {
        if self.state().entry("r/keyed").is_none() {
            return Task::Due;
        }
        if self.keyed > 0 && chance.once_in(3) {
            return keyed(chance.below(self.keyed));
        }
        self.keyed += 1;
        keyed(self.keyed - 1)
    }

    /// Repeats every input that has a key, as somebody does who has got no answer.
    pub(super) fn repeat(&mut self, now: u64) -> Vec<Commit> {
        while let Some(task) = self.missing() {
            self.carry_out(task, now, AnswerLimits::default());
        }
        for number in 0..self.keyed {
            self.carry_out(keyed(number), now, AnswerLimits::default());
        }
        self.commits().to_vec()
    }

    /// One batch of all that is due or was asked for outside; time goes on to what is due next. `None`: there is nothing more to come.
    pub(super) fn drain(&mut self, now: &mut u64, turn: usize) -> Option<Vec<Commit>> {
        assert!(turn < DRAIN, "rules never come to an end: {:?}", self.bench.outstanding());
        let answers = self.outside.answers(*now, &mut self.tally);
        let wake = self.bench.next_wake();
        let idle = answers.is_empty();
        for input in answers {
            self.carry_out(Task::Rules(input), *now, AnswerLimits::default());
        }
        let next = wake.into_iter().chain(self.outside.next_due()).min();
        if idle {
            *now = (*now).max(next?);
        }
        self.carry_out(Task::Due, *now, AnswerLimits::default());
        Some(self.commits().to_vec())
    }

    /// Nothing is to come any more: each thing has happened exactly once.
    ///
    /// # Errors
    /// What has not. `surely`: nothing that was once told has been lost.
    pub(super) fn check(&self, surely: bool) -> Result<(), String> {
        let audit = ruleset::Audit::of(self.state());
        (0..self.keyed).try_for_each(|number| audit.once("keyed", number))?;
        let mut is_there = BTreeSet::new();
        for step in self.kept.iter().flat_map(|kept| &kept.steps) {
            let Task::Rules(input) = &step.task else { continue };
            if let Input::Register { rule } = input {
                is_there.insert(rule["id"].as_str().unwrap_or_default());
            }
            ruleset::consequence(input, &is_there)
                .into_iter()
                .try_for_each(|(rule, number)| audit.once(rule, number))?;
            if let Some(number) = ruleset::called(input).filter(|_| is_there.contains("call")) {
                self.outside.called(number, surely)?;
            }
        }
        audit.timers(self.kept.iter().flat_map(|kept| &kept.steps).filter_map(|step| match &step.task {
            Task::Rules(input) => Some(input),
            _ => None,
        }))
    }

    /// Carries everything that is there out once more, in one life.
    ///
    /// # Errors
    /// What is different.
    pub(super) fn again(&mut self) -> Result<(), String> {
        let mut bench = bench(&Snapshot::new(self.state().epoch()));
        for kept in &self.kept {
            for step in &kept.steps {
                // Refused then, refused now: that is held against the state.
                let _ = bench.carry_out(step.clone());
            }
            if bench.state().position() != kept.position {
                return Err(format!("it is at {}, {} was there", bench.state().position(), kept.position));
            }
            let Told { events, effects, reports, firings } =
                bench.keep().map_err(|error| error.to_string())?;
            let events: Vec<_> =
                events.iter().map(|(event, at)| (at, serde_json::to_string(event).unwrap())).collect();
            let told = format!("{firings} {events:?} {effects:?} {reports:?}");
            if kept.told.as_ref().is_some_and(|known| *known != told) {
                return Err(format!("at {} it leads to {told}, it was {:?}", kept.position, kept.told));
            }
        }
        line::differs(bench.state(), self.state())
            .map_err(|why| format!("carried out in one life: {why}"))?;
        self.like(&bench);
        self.tally.count("carried out once more in one life");
        Ok(())
    }
}

fn bench(state: &Snapshot) -> Bench {
    Bench::new(state).unwrap_or_else(|error| panic!("no engine can be made of what is there: {error}"))
}

/// An input that has a key: nothing but that keeps it from being taken twice.
fn keyed(number: usize) -> Task {
    let input = ruleset::event("keyed", json!({"n": number}));
    let key = format!("input {number}").into();
    Task::Once(input, Idempotency { scope: SCOPE.into(), key, fingerprint: number as u64 })
}

fn texts(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}")).collect()
}

/// In rules' worlds all records are kept: what rules see of one must not depend on when a process began.
pub(super) fn kept(mut intent: Intent) -> Intent {
    if let Intent::DefineBucket { config, .. } = &mut intent
        && config.get("persistent") == Some(&Value::Bool(false))
    {
        config.remove("persistent");
    }
    intent
}
