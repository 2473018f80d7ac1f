//! One run: a stack of tasks, worked off until it is empty, within the input's budgets.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::cause::{Causes, Kind, Occasion, Origin};
use super::dirty::Dirty;
use super::explain::observed_all;
use super::firing::{Block, Firing};
use super::trace::Outcome;
use super::view::View;
use crate::condition::{Steps, all_hold, steps};
use crate::event::hex;
use crate::fault::{ActionFault, EvalFault, RuleFault};
use crate::limits::MAX_REPORTS;
use crate::rule::Rule;
use crate::temporal::Match;
use crate::{Answer, Effect, Event, Object, Ran, Report, ReportKind, Source, World};

/// What is made of one input.
pub(super) struct Run<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) world: &'a mut dyn World,
    pub(super) now: u64,
    pub(super) stack: Vec<Task>,
    pub(super) causes: Causes,
    pub(super) steps: Steps,
    pub(super) dirty: BTreeSet<Dirty>,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) effects: Vec<Effect>,
    reports: Vec<Report>,
    /// Overruns that were reported: once for each input.
    reported: Vec<ReportKind>,
    firings: usize,
    /// Lines that were logged.
    pub(super) logged: usize,
    /// Events that rules and timers have emitted.
    emitted: usize,
}

/// What is still to be done. The last one comes next.
pub(super) enum Task {
    /// Rules that match, in order; those that are left.
    Rules { occasion: Arc<Occasion>, rules: std::vec::IntoIter<Arc<Rule>> },
    /// An event goes to temporal patterns, when rules on events have had it.
    Patterns { event: Arc<Event>, depth: usize, link: usize },
    /// A timer's event, when rules on timers have had it.
    Expired { topic: Arc<str>, data: Arc<Object>, context: Context },
    /// A rule that runs.
    Firing(Box<Firing>),
}

/// What is handed down from a cause to what follows from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    pub(super) correlation: Option<Arc<str>>,
    pub(super) cause: Option<Arc<str>>,
    pub(super) depth: usize,
    pub(super) origin: Origin,
}

/// Why an action did not do what it should.
pub(super) enum Failure {
    /// Its rule goes on, or catches that.
    Action(ActionFault),
    /// There are no steps left: nothing goes on.
    OutOfSteps,
}

impl From<EvalFault> for Failure {
    fn from(fault: EvalFault) -> Self {
        match fault {
            EvalFault::OutOfSteps => Self::OutOfSteps,
            fault @ EvalFault::TooLong { .. } => Self::Action(fault.into()),
        }
    }
}

impl From<ActionFault> for Failure {
    fn from(fault: ActionFault) -> Self {
        Self::Action(fault)
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(engine: &'a mut Engine, world: &'a mut dyn World) -> Self {
        let (now, steps) = (world.now(), Steps::new(engine.limits.steps));
        Self {
            engine,
            world,
            now,
            stack: Vec::new(),
            causes: Causes::default(),
            steps,
            dirty: BTreeSet::new(),
            events: Vec::new(),
            effects: Vec::new(),
            reports: Vec::new(),
            reported: Vec::new(),
            firings: 0,
            logged: 0,
            emitted: 0,
        }
    }

    pub(super) fn finish(self, answer: Result<Answer, RuleFault>) -> Ran {
        let changes = self.engine.changes(&self.dirty);
        Ran {
            answer,
            events: self.events,
            changes,
            effects: self.effects,
            reports: self.reports,
            firings: self.firings as u64,
        }
    }

    pub(super) fn id(&mut self) -> Arc<str> {
        hex(self.world.random())
    }

    /// Works everything off.
    pub(super) fn drain(&mut self) {
        while let Some(task) = self.stack.pop() {
            match task {
                Task::Rules { occasion, mut rules } => {
                    let Some(rule) = rules.next() else { continue };
                    if rules.len() > 0 {
                        self.stack.push(Task::Rules { occasion: Arc::clone(&occasion), rules });
                    }
                    self.consider(rule, occasion);
                }
                Task::Patterns { event, depth, link } => self.patterns(&event, depth, link),
                Task::Expired { topic, data, context } => {
                    if self.may_emit(&topic, context.origin.clone()) {
                        self.emit(topic, data, Source::Timer, context);
                    }
                }
                Task::Firing(firing) => self.carry_on(firing),
            }
        }
    }

    /// Whether the input may emit one more event; if not, that is reported.
    pub(super) fn may_emit(&mut self, topic: &Arc<str>, origin: Origin) -> bool {
        self.emitted += 1;
        let limit = self.engine.limits.events;
        if self.emitted <= limit {
            return true;
        }
        self.engine.counts.dropped_events += 1;
        let link = self.causes.add(Kind::Event, topic, None, origin);
        self.overrun(ReportKind::EventsExceeded, None, link, || {
            format!("one input may emit {limit} events (rules.maxEvents); the rest was not emitted")
        });
        false
    }

    /// An event happens: whoever listens hears of it, then rules, then patterns.
    pub(super) fn emit(
        &mut self,
        topic: Arc<str>,
        data: Arc<Object>,
        source: Source,
        context: Context,
    ) -> Arc<Event> {
        let Context { correlation, cause, depth, origin } = context;
        let event = Arc::new(Event {
            id: self.id(),
            topic,
            data,
            timestamp: self.now,
            source,
            correlation_id: correlation,
            causation_id: cause,
        });
        self.engine.counts.events += 1;
        self.engine.traces.event(&event);
        self.events.push(Arc::clone(&event));
        let link = self.causes.add(Kind::Event, &event.topic, Some(&event.id), origin);
        if self.engine.reach.has_patterns() {
            self.stack.push(Task::Patterns { event: Arc::clone(&event), depth, link });
        }
        if self.engine.reach.has_events() {
            let data = Value::Object(event.data.as_ref().clone());
            let found = self.engine.reach.event(&event.topic, &data);
            self.trigger(found, link, || Occasion::of_event(Kind::Event, &event, data, depth));
        }
        event
    }

    /// Lets the rules at these places see an occasion, if its chain is not too long.
    pub(super) fn trigger(&mut self, found: Vec<u64>, link: usize, occasion: impl FnOnce() -> Occasion) {
        if found.is_empty() {
            return;
        }
        let mut rules: Vec<_> = found
            .into_iter()
            .filter_map(|order| Some((order, Arc::clone(self.engine.book.at(order)?))))
            .collect();
        rules.sort_by(|(order, rule), (other_order, other)| {
            other.priority.total_cmp(&rule.priority).then(order.cmp(other_order))
        });
        let (occasion, limit) = (occasion(), self.engine.limits.depth);
        if occasion.depth >= limit {
            self.engine.counts.dropped_triggers += 1;
            self.overrun(ReportKind::DepthExceeded, None, link, || {
                format!("a chain of causes may have {limit} steps (rules.maxDepth); rules on the last were not run")
            });
            return;
        }
        let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
        let occasion = Arc::new(Occasion { link, ..occasion });
        self.stack.push(Task::Rules { occasion, rules: rules.into_iter() });
    }

    /// An event goes to temporal patterns; those that it completes are triggers like itself.
    fn patterns(&mut self, event: &Arc<Event>, depth: usize, link: usize) {
        let mut found = Vec::new();
        self.engine.temporal.event(event, self.now, &mut found);
        self.forgotten(link);
        let mut found: Vec<_> = found
            .into_iter()
            .filter_map(|found| {
                let (order, rule) = self.engine.book.get(&found.rule)?;
                Some((order, Arc::clone(rule), found))
            })
            .collect();
        found.sort_by(|(order, rule, _), (other_order, other, _)| {
            other.priority.total_cmp(&rule.priority).then(order.cmp(other_order))
        });
        // The last one that is pushed comes first.
        for (order, rule, found) in found.into_iter().rev() {
            self.matched(order, &rule, found, depth, Some((link, Arc::clone(&rule.id))));
        }
    }

    /// A pattern is complete.
    pub(super) fn matched(
        &mut self,
        order: u64,
        rule: &Arc<Rule>,
        found: Match,
        depth: usize,
        origin: Origin,
    ) {
        let origin = origin.map(|(link, _)| (link, Arc::clone(&rule.id)));
        let link = self.causes.add(Kind::Pattern, &rule.id, None, origin);
        self.trigger(vec![order], link, || Occasion::of_match(found, depth));
    }

    /// What patterns had to forget, reported once for each input.
    pub(super) fn forgotten(&mut self, link: usize) {
        let truncated = self.engine.temporal.take_truncated();
        let Some(first) = truncated.first() else { return };
        self.overrun(ReportKind::PatternTruncated, Some(&first.rule), link, || {
            "a temporal pattern has more open groups or events than it may; the oldest were forgotten"
                .to_owned()
        });
    }

    /// A rule that matches: its lookups and conditions, and then it runs.
    fn consider(&mut self, rule: Arc<Rule>, occasion: Arc<Occasion>) {
        if !rule.lookups.is_empty() {
            return self.ask(&rule, &occasion);
        }
        match self.holds(&rule, &occasion, &[]) {
            Ok(true) => self.start(Box::new(Firing::new(rule, occasion))),
            Ok(false) => {}
            Err(failure) => self.give_up(failure, &rule, &occasion),
        }
    }

    /// Whether a rule's conditions hold.
    pub(super) fn holds(
        &mut self,
        rule: &Rule,
        occasion: &Occasion,
        lookups: &[(Arc<str>, Arc<Value>)],
    ) -> Result<bool, Failure> {
        let view = View::new(&self.engine.facts, occasion, &occasion.variables, lookups, self.steps.left());
        if self.engine.traces.watching.as_ref() == Some(&rule.id) {
            self.engine.traces.seen = Some(observed_all(&rule.conditions, &view));
        }
        let holds = all_hold(&rule.conditions, &view, &mut self.steps);
        self.steps.take(view.looked())?;
        let holds = holds?;
        if !holds {
            self.engine.counts.conditions_not_met += 1;
            self.engine.traces.outcome(occasion, rule, Outcome::NotMet);
        }
        Ok(holds)
    }

    /// A rule whose conditions could not be worked out does not run.
    pub(super) fn give_up(&mut self, failure: Failure, rule: &Arc<Rule>, occasion: &Occasion) {
        match failure {
            Failure::OutOfSteps => self.out_of_steps(rule, occasion.link),
            Failure::Action(fault) => {
                self.engine.counts.failed_rules += 1;
                self.engine.traces.outcome(occasion, rule, Outcome::Failed);
                self.report(ReportKind::RuleSkipped, Some(rule), occasion.link, fault.message);
            }
        }
    }

    /// The actions of a rule whose conditions hold.
    pub(super) fn start(&mut self, mut firing: Box<Firing>) {
        let limit = self.engine.limits.firings;
        if self.firings >= limit {
            self.engine.counts.dropped_firings += 1;
            let rule = Arc::clone(&firing.rule.id);
            self.overrun(ReportKind::FiringsExceeded, Some(&rule), firing.occasion.link, || {
                format!("one input may fire {limit} rules (rules.maxFirings); the rest did not fire")
            });
            return;
        }
        self.firings += 1;
        self.engine.counts.firings += 1;
        self.engine.traces.outcome(&firing.occasion, &firing.rule, Outcome::Fired);
        firing.enter(Block::Rule);
        self.stack.push(Task::Firing(firing));
    }

    /// Nothing goes on any more.
    pub(super) fn out_of_steps(&mut self, rule: &Arc<Rule>, link: usize) {
        self.stack.clear();
        let limit = self.engine.limits.steps;
        self.overrun(ReportKind::StepsExceeded, Some(&rule.id), link, || {
            format!("one input may take {limit} steps (rules.maxSteps); this rule and what was behind it were ended")
        });
    }

    /// Reports an overrun, the first of its kind in this input.
    pub(super) fn overrun(
        &mut self,
        kind: ReportKind,
        rule: Option<&Arc<str>>,
        link: usize,
        message: impl FnOnce() -> String,
    ) {
        if !self.reported.contains(&kind) {
            self.reported.push(kind);
            let report = Report {
                kind,
                rule: rule.cloned(),
                message: message(),
                chain: self.causes.chain(link, rule),
                at: self.now,
            };
            self.reports.push(report);
        }
    }

    /// Reports something that may happen more than once, up to a bound.
    pub(super) fn report(
        &mut self,
        kind: ReportKind,
        rule: Option<&Arc<Rule>>,
        link: usize,
        message: String,
    ) {
        let rule = rule.map(|rule| &rule.id);
        let chain = self.causes.chain(link, rule);
        self.report_chain(kind, rule, chain, message);
    }

    pub(super) fn report_chain(
        &mut self,
        kind: ReportKind,
        rule: Option<&Arc<str>>,
        chain: Vec<crate::Link>,
        message: String,
    ) {
        if self.reports.len() < MAX_REPORTS {
            self.reports.push(Report { kind, rule: rule.cloned(), message, chain, at: self.now });
        } else {
            self.engine.counts.unreported += 1;
        }
    }

    /// Steps of a text or value that was made.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Failure> {
        Ok(self.steps.take((bytes / steps::TEXT) as u64)?)
    }
}
