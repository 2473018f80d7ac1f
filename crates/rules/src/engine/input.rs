//! What each input sets off.

use std::sync::Arc;

use serde_json::Value;

use super::cause::{Kind, Occasion};
use super::run::{Context, Run, Task};
use super::value::{self, measure};
use crate::fault::{ActionFault, Issue, RuleFault, Severity};
use crate::rule::read_timer;
use crate::temporal::{Due, Match};
use crate::timers::{Expired, NewTimer, OnExpire};
use crate::{Answer, Input, Object, Source};

impl Run<'_> {
    /// Carries an input out. An error has changed nothing.
    pub(super) fn input(&mut self, input: Input) -> Result<Answer, RuleFault> {
        match input {
            Input::Emit { topic, data, correlation_id, causation_id } => {
                let topic = value::topic(&topic).map_err(|fault| refused("topic", fault))?;
                let data = Value::Object(data);
                measure(&data).map_err(|fault| refused("data", fault))?;
                let Value::Object(data) = data else { return Ok(Answer::Done(false)) };
                for (field, id) in [("correlationId", &correlation_id), ("causationId", &causation_id)] {
                    value::id(id.as_deref()).map_err(|fault| refused(field, fault))?;
                }
                let context =
                    Context { correlation: correlation_id, cause: causation_id, ..Context::default() };
                let event = self.emit(topic, Arc::new(data), Source::Api, context);
                self.drain();
                Ok(Answer::Event(event))
            }
            Input::SetFact { key, value } => {
                let key = value::key("key of a fact", &key).map_err(|fault| refused("key", fault))?;
                measure(&value).map_err(|fault| refused("value", fault))?;
                let context = Some(Context::default());
                let fact = self.set_fact(&key, Arc::new(value), Source::Api, context);
                let fact = fact.map_err(|_| RuleFault::Full {
                    what: "facts",
                    limit: self.engine.limits.facts,
                    advice: "delete some, or raise rules.maxFacts",
                })?;
                self.drain();
                Ok(Answer::Fact(fact))
            }
            Input::DeleteFact { key } => {
                let deleted = self.delete_fact(&key, Some(Context::default()));
                self.drain();
                Ok(Answer::Done(deleted))
            }
            Input::Stored(change) => {
                self.stored(&change, Context::default());
                self.drain();
                Ok(Answer::Done(true))
            }
            Input::Tick => Ok(Answer::Done(self.tick())),
            Input::Register { rule } => self.register(&rule),
            Input::Update { id, updates } => self.update(&id, &updates),
            Input::Unregister { id } => self.unregister(&id),
            Input::SetEnabled { id, enabled } => self.set_enabled(&id, enabled),
            Input::Rollback { id, version } => self.rollback(&id, version),
            Input::CreateGroup { group } => self.create_group(&group),
            Input::UpdateGroup { id, updates } => self.update_group(&id, &updates),
            Input::DeleteGroup { id } => self.delete_group(&id),
            Input::SetTimer { timer } => self.timer(&timer),
            Input::CancelTimer { name } => Ok(Answer::Done(self.engine.timers.cancel(&name))),
            Input::LookedUp { firing, answers } => Ok(self.looked_up(&firing, answers)),
            Input::CallDone { id, result: _ } => Ok(self.call_done(&id)),
            Input::CallFailed { id, fault } => Ok(self.call_failed(&id, fault)),
            Input::Requeue { id } => self.requeue(&id),
            Input::Discard { id } => self.discard(&id),
        }
    }

    /// Whatever is due first. Of a timer and a pattern that are due at the same time, the timer.
    fn tick(&mut self) -> bool {
        let (timer, pattern) = (self.engine.timers.next_deadline(), self.engine.temporal.next_deadline());
        if timer.is_some_and(|timer| pattern.is_none_or(|pattern| timer <= pattern)) {
            let Some(expired) = self.engine.timers.due(self.now) else { return false };
            self.expired(&expired);
        } else {
            match self.engine.temporal.due(self.now) {
                None => return false,
                Some(Due::Match(found)) => self.due(*found),
                Some(_) => {}
            }
        }
        self.drain();
        true
    }

    /// A timer: rules on it, then its event.
    fn expired(&mut self, expired: &Expired) {
        let timer = &expired.timer;
        self.engine.counts.timers += 1;
        let link = self.causes.add(Kind::Timer, &timer.name, Some(&timer.id), None);
        let context = Context {
            correlation: timer.correlation_id.clone(),
            cause: Some(Arc::clone(&timer.id)),
            depth: 0,
            origin: None,
        };
        self.stack.push(Task::Expired {
            topic: Arc::clone(&timer.on_expire.topic),
            data: Arc::clone(&timer.on_expire.data),
            context: context.clone(),
        });
        let data = Value::Object(expired.trigger_data());
        let found = self.engine.reach.timer(&timer.name, &data);
        self.trigger(found, link, || Occasion {
            kind: Kind::Timer,
            name: Arc::clone(&timer.name),
            id: Some(Arc::clone(&timer.id)),
            data: Arc::new(data),
            variables: Vec::new(),
            correlation: context.correlation,
            cause: context.cause,
            depth: 0,
            link,
        });
    }

    /// A pattern that was complete when its time was over.
    fn due(&mut self, found: Match) {
        let known = self.engine.book.get(&found.rule).map(|(order, rule)| (order, Arc::clone(rule)));
        if let Some((order, rule)) = known {
            self.matched(order, &rule, found, 0, None);
        }
    }

    /// Somebody sets a timer, as a rule's action would.
    fn timer(&mut self, timer: &Value) -> Result<Answer, RuleFault> {
        let template = read_timer(timer, &self.engine.limits).map_err(invalid_timer)?;
        let plain = |field: &'static str, text: &str, check: fn(&str) -> Result<Arc<str>, ActionFault>| {
            check(text).map_err(|fault| refused(field, fault))
        };
        let name = plain("name", &template.name.text, |name| value::key("name of a timer", name))?;
        let topic = plain("onExpire.topic", &template.topic.text, value::topic)?;
        let data = timer.pointer("/onExpire/data").and_then(Value::as_object).cloned().unwrap_or_default();
        let data = Value::Object(data);
        measure(&data).map_err(|fault| refused("onExpire.data", fault))?;
        let data = if let Value::Object(data) = data { data } else { Object::new() };
        let new = NewTimer {
            id: self.id(),
            name,
            schedule: template.schedule,
            on_expire: OnExpire { topic, data: Arc::new(data) },
            correlation_id: None,
        };
        let timer = self.set_timer(new).map_err(|fault| refused("(root)", fault))?;
        Ok(Answer::Json(Value::from(timer.as_ref())))
    }
}

fn invalid_timer(issues: Vec<Issue>) -> RuleFault {
    RuleFault::Invalid { message: "Timer validation failed".into(), issues }
}

/// What an action would have failed with, as a fault of the input.
fn refused(path: &str, fault: ActionFault) -> RuleFault {
    let code = match fault.code.as_str() {
        "TOO_LONG" => "too_long",
        "TOO_DEEP" => "too_deep",
        "INVALID_TOPIC" | "INVALID_KEY" => "invalid_pattern",
        "TOO_MANY_TIMERS" => "too_many",
        _ => "invalid",
    };
    let message = fault.message.clone();
    let issue = Issue { path: path.into(), message: fault.message, severity: Severity::Error, code };
    RuleFault::Invalid { message, issues: vec![issue] }
}
