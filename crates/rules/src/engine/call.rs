//! What waits for the outside: calls in the outbox, and firings that go on when an answer has come.

use std::sync::Arc;

use serde_json::Value;

use super::act::Step;
use super::book::is_active;
use super::cause::Occasion;
use super::dirty::Dirty;
use super::firing::{Awaits, Firing, Waiting};
use super::run::{Failure, Run, Task};
use super::trace::Outcome;
use super::value::{fault, measure};
use super::view::View;
use crate::action::{Action, Delivery};
use crate::effect::LookupCall;
use crate::fault::{ActionFault, CallFault, RuleFault};
use crate::limits::ATTEMPTS;
use crate::outbox::{DeadLetter, backoff};
use crate::rule::Rule;
use crate::{Answer, Effect, Link, OutgoingCall, ReportKind, Target};

/// The answer to a lookup, or why there is none.
type Looked = Result<Arc<Value>, String>;

impl Run<'_> {
    /// Puts a call into the outbox. Inside of `try` the rule waits for its end.
    pub(super) fn call(&mut self, action: &Action, firing: &mut Firing) -> Result<Step, Failure> {
        let (target, delivery) = self.target(action, firing)?;
        let waits = firing.tries();
        let limit = self.engine.limits.outbox;
        if self.engine.outbox.len() >= limit {
            let message = format!(
                "There are {limit} calls in the outbox already (rules.maxOutbox); wait until they are done"
            );
            return Err(fault("OUTBOX_FULL", message).into());
        }
        if waits && self.engine.waiting.len() >= self.engine.limits.waiting {
            return Err(waiting_full(self.engine.limits.waiting).into());
        }
        let Delivery { attempts, timeout_ms } = delivery;
        let id = self.id();
        let waiter = waits.then(|| self.id());
        let call = Arc::new(OutgoingCall {
            id: Arc::clone(&id),
            rule: Arc::clone(&firing.rule.id),
            target,
            failures: 0,
            attempts: attempts.unwrap_or(if waits { 1 } else { ATTEMPTS }),
            due: self.now,
            timeout_ms,
            firing: waiter.clone(),
            correlation_id: firing.occasion.correlation.clone(),
            created_at: self.now,
        });
        self.engine.counts.calls += 1;
        self.put_call(call);
        let Some(waiter) = waiter else { return Ok(Step::On) };
        self.put_aside(&waiter, firing, Awaits::Call(id));
        Ok(Step::Waits)
    }

    fn target(&mut self, action: &Action, firing: &Firing) -> Result<(Target, Delivery), Failure> {
        let mut bytes = 0;
        let made = match action {
            Action::CallService { service, method, args, delivery } => {
                let args = args.iter().map(|arg| {
                    let arg = self.resolve(arg, firing)?;
                    bytes += measure(&arg)?;
                    Ok(arg)
                });
                let args = args.collect::<Result<_, Failure>>()?;
                let (service, method) = (Arc::clone(service), Arc::clone(method));
                (Target::Service { service, method, args }, *delivery)
            }
            Action::Webhook { url, headers, body, delivery } => {
                let url = self.render(url, firing)?.into();
                let headers = self.members(headers, firing)?;
                let body = self.resolve(body, firing)?;
                bytes += measure(&body)?;
                (Target::Webhook { url, headers, body }, *delivery)
            }
            _ => return Err(fault("NOT_A_CALL", "This action calls nobody").into()),
        };
        self.charge(bytes)?;
        Ok(made)
    }

    /// Puts a call into the outbox, or changes it there; it is to be made when it is due.
    fn put_call(&mut self, call: Arc<OutgoingCall>) {
        self.dirty.insert(Dirty::Call(Arc::clone(&call.id)));
        self.effects.push(Effect::Call(Arc::clone(&call)));
        self.engine.outbox.put(&Arc::clone(&call.id), Some(call));
    }

    fn put_aside(&mut self, id: &Arc<str>, firing: &Firing, awaits: Awaits) {
        let waiting = Waiting {
            rule: Arc::clone(&firing.rule.id),
            version: firing.rule.version,
            occasion: Arc::clone(&firing.occasion),
            chain: self.causes.before(firing.occasion.link),
            variables: firing.variables.clone(),
            lookups: firing.lookups.clone(),
            frames: firing.frames.clone(),
            awaits,
            since: self.now,
        };
        self.dirty.insert(Dirty::Waiting(Arc::clone(id)));
        self.engine.waiting.insert(Arc::clone(id), Arc::new(waiting));
    }

    /// Asks a rule's lookups; if all answers are known it goes on at once.
    pub(super) fn ask(&mut self, rule: &Arc<Rule>, occasion: &Arc<Occasion>) {
        let calls = match self.lookup_calls(rule, occasion) {
            Ok(calls) => calls,
            Err(failure) => return self.give_up(failure, rule, occasion),
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for call in calls {
            self.engine.counts.lookups += 1;
            match self.world.known(&call) {
                Some(answer) => known.push((call.name, answer)),
                None => unknown.push(call),
            }
        }
        self.engine.counts.lookups_known += known.len() as u64;
        let mut firing = Firing::new(Arc::clone(rule), Arc::clone(occasion));
        if !self.learn(&mut firing, known) {
            return;
        }
        if unknown.is_empty() {
            return self.decide(Box::new(firing));
        }
        let limit = self.engine.limits.waiting;
        if self.engine.waiting.len() >= limit {
            self.engine.counts.failed_rules += 1;
            let message = waiting_full(limit).message;
            return self.report(ReportKind::FiringDropped, Some(rule), occasion.link, message);
        }
        let id = self.id();
        self.put_aside(&id, &firing, Awaits::Lookups(unknown.clone()));
        self.engine.traces.outcome(occasion, rule, Outcome::Waits);
        self.effects.push(Effect::Lookup { firing: id, rule: Arc::clone(&rule.id), calls: unknown });
    }

    fn lookup_calls(&mut self, rule: &Rule, occasion: &Occasion) -> Result<Vec<LookupCall>, Failure> {
        let left = self.steps.left();
        let view = View::new(&self.engine.facts, occasion, &occasion.variables, &[], left);
        let mut calls = Vec::with_capacity(rule.lookups.len());
        for lookup in rule.lookups.iter() {
            self.steps.take(1)?;
            let args = lookup.args.iter().map(|arg| {
                let arg = arg.resolve(&view, &mut self.steps)?;
                measure(&arg)?;
                Ok(arg)
            });
            calls.push(LookupCall {
                name: Arc::clone(&lookup.name),
                service: Arc::clone(&lookup.service),
                method: Arc::clone(&lookup.method),
                args: args.collect::<Result<_, Failure>>()?,
                cache_ms: lookup.cache_ms,
            });
        }
        self.steps.take(view.looked())?;
        Ok(calls)
    }

    /// Gives a firing the answers to its lookups; false if one has failed, and the rule with it.
    fn learn(&mut self, firing: &mut Firing, answers: Vec<(Arc<str>, Looked)>) -> bool {
        for (name, answer) in answers {
            match answer {
                Ok(value) => firing.lookups.push((name, value)),
                Err(message) => {
                    let fails = firing.rule.lookups.iter().any(|lookup| lookup.name == name && lookup.fails);
                    let kind = if fails { ReportKind::FiringDropped } else { ReportKind::RuleSkipped };
                    let count = if fails {
                        &mut self.engine.counts.failed_rules
                    } else {
                        &mut self.engine.counts.skipped_rules
                    };
                    *count += 1;
                    self.engine.traces.outcome(&firing.occasion, &firing.rule, Outcome::LookupFailed);
                    let message = format!("Lookup \"{name}\" failed: {message}");
                    self.report(kind, Some(&firing.rule), firing.occasion.link, message);
                    return false;
                }
            }
        }
        true
    }

    /// The conditions of a rule that knows all that it asked for.
    fn decide(&mut self, firing: Box<Firing>) {
        match self.holds(&firing.rule, &firing.occasion, &firing.lookups) {
            Ok(true) => self.start(firing),
            Ok(false) => {}
            Err(failure) => self.give_up(failure, &firing.rule, &firing.occasion),
        }
    }

    pub(super) fn looked_up(&mut self, id: &Arc<str>, answers: Vec<Looked>) -> Answer {
        let waits = self.engine.waiting.get(id).map(|waiting| &waiting.awaits);
        let Some(Awaits::Lookups(calls)) = waits else { return Answer::Done(false) };
        let names: Vec<_> = calls.iter().map(|call| Arc::clone(&call.name)).collect();
        if let Some(mut firing) = self.resume(id) {
            // Whoever answers less than was asked has failed to answer.
            let answers =
                answers.into_iter().chain(std::iter::repeat_with(|| Err("there was no answer".to_owned())));
            if self.learn(&mut firing, names.into_iter().zip(answers).collect()) {
                self.decide(firing);
                self.drain();
            }
        }
        Answer::Done(true)
    }

    pub(super) fn call_done(&mut self, id: &Arc<str>) -> Answer {
        let Some(call) = self.engine.outbox.call(id).cloned() else { return Answer::Done(false) };
        self.take_call(id);
        if let Some(firing) = call.firing.as_ref().and_then(|firing| self.resume(firing)) {
            self.stack.push(Task::Firing(firing));
            self.drain();
        }
        Answer::Done(true)
    }

    pub(super) fn call_failed(&mut self, id: &Arc<str>, failed: CallFault) -> Answer {
        let Some(call) = self.engine.outbox.call(id).cloned() else { return Answer::Done(false) };
        let failures = call.failures.saturating_add(1);
        if failed.again && failures < call.attempts {
            let due = self.now.saturating_add(backoff(failures, self.world.random()));
            self.engine.counts.retries += 1;
            self.put_call(Arc::new(OutgoingCall { failures, due, ..call.as_ref().clone() }));
            return Answer::Done(true);
        }
        self.take_call(id);
        self.engine.counts.failed_calls += 1;
        if let Some(mut firing) = call.firing.as_ref().and_then(|firing| self.resume(firing)) {
            self.fail(&mut firing, &fault("CALL_FAILED", failed.message));
            self.stack.push(Task::Firing(firing));
            self.drain();
        } else {
            self.bury(OutgoingCall { failures, firing: None, ..call.as_ref().clone() }, failed.message);
        }
        Answer::Done(true)
    }

    fn take_call(&mut self, id: &Arc<str>) {
        self.dirty.insert(Dirty::Call(Arc::clone(id)));
        self.engine.outbox.put(id, None);
    }

    /// A call that failed for good, and nobody waits for it.
    fn bury(&mut self, call: OutgoingCall, error: String) {
        let (id, rule) = (Arc::clone(&call.id), Arc::clone(&call.rule));
        let message = format!("The call {id} has failed for good after {} attempts: {error}", call.failures);
        self.report_chain(ReportKind::DeadLetter, Some(&rule), link_of(&call), message);
        let letter = DeadLetter { call: Arc::new(call), error, failed_at: self.now };
        self.put_dead(&id, Some(letter));
        let limit = self.engine.limits.dead_letters;
        while self.engine.outbox.dead_len() > limit {
            let Some(oldest) = self.engine.outbox.oldest_dead().cloned() else { break };
            let message = format!(
                "The dead letter {} was thrown away: {limit} are kept (rules.maxDeadLetters)",
                oldest.call.id
            );
            self.put_dead(&oldest.call.id, None);
            let chain = link_of(&oldest.call);
            self.report_chain(ReportKind::DeadLetter, Some(&oldest.call.rule), chain, message);
        }
    }

    fn put_dead(&mut self, id: &Arc<str>, letter: Option<DeadLetter>) {
        self.dirty.insert(Dirty::Dead(Arc::clone(id)));
        self.engine.outbox.put_dead(id, letter.map(Arc::new));
    }

    pub(super) fn requeue(&mut self, id: &Arc<str>) -> Result<Answer, RuleFault> {
        let Some(letter) = self.engine.outbox.dead(id).cloned() else { return Err(no_letter(id)) };
        let limit = self.engine.limits.outbox;
        if self.engine.outbox.len() >= limit {
            let advice = "wait until calls are done (rules.maxOutbox)";
            return Err(RuleFault::Full { what: "calls", limit, advice });
        }
        self.put_dead(id, None);
        let call = letter.call.as_ref().clone();
        self.put_call(Arc::new(OutgoingCall { failures: 0, due: self.now, ..call }));
        Ok(Answer::Done(true))
    }

    pub(super) fn discard(&mut self, id: &Arc<str>) -> Result<Answer, RuleFault> {
        if self.engine.outbox.dead(id).is_none() {
            return Err(no_letter(id));
        }
        self.put_dead(id, None);
        Ok(Answer::Done(true))
    }

    /// Takes a firing up that waited, if its rule is still what it was.
    fn resume(&mut self, id: &Arc<str>) -> Option<Box<Firing>> {
        let waiting = self.engine.waiting.remove(id)?;
        self.dirty.insert(Dirty::Waiting(Arc::clone(id)));
        let rule = self.engine.book.get(&waiting.rule).map(|(_, rule)| Arc::clone(rule));
        let rule =
            rule.filter(|rule| rule.version == waiting.version && is_active(rule, &self.engine.groups));
        let Some(rule) = rule else {
            self.dropped(&waiting);
            return None;
        };
        let occasion = &waiting.occasion;
        let link = self.causes.add_behind(
            waiting.chain.clone(),
            occasion.kind,
            &occasion.name,
            occasion.id.as_ref(),
            None,
        );
        Some(Box::new(Firing {
            rule,
            occasion: Arc::new(Occasion { link, ..occasion.as_ref().clone() }),
            variables: waiting.variables.clone(),
            lookups: waiting.lookups.clone(),
            frames: waiting.frames.clone(),
        }))
    }

    /// Gives up what waits for answers in the name of a rule that is not what it was.
    pub(super) fn drop_waiting(&mut self, rule: &str) {
        let ids: Vec<_> = self
            .engine
            .waiting
            .iter()
            .filter(|(_, waiting)| *waiting.rule == *rule)
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in ids {
            if let Some(waiting) = self.engine.waiting.remove(&id) {
                self.dirty.insert(Dirty::Waiting(id));
                self.dropped(&waiting);
            }
        }
    }

    fn dropped(&mut self, waiting: &Waiting) {
        self.engine.counts.dropped_firings += 1;
        let message =
            "The rule was changed, disabled or removed while it waited for an answer; it did not go on";
        let chain = waiting.chain.clone();
        self.report_chain(ReportKind::FiringDropped, Some(&waiting.rule), chain, message.into());
    }
}

fn waiting_full(limit: usize) -> ActionFault {
    let message = format!("{limit} rules wait for answers already (rules.maxWaiting); answer them first");
    fault("TOO_MANY_WAITING", message)
}

fn no_letter(id: &str) -> RuleFault {
    RuleFault::NotFound { what: "Dead letter", name: id.to_owned() }
}

/// Where a call came from: all that is known of it by now.
fn link_of(call: &OutgoingCall) -> Vec<Link> {
    let trigger = match &call.target {
        Target::Service { service, method, .. } => format!("call {service}.{method}"),
        Target::Webhook { url, .. } => format!("call {url}"),
    };
    vec![Link { trigger, id: Some(Arc::clone(&call.id)), rule: Some(Arc::clone(&call.rule)) }]
}
