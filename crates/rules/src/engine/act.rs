//! Actions, carried out by a machine whose whole state is the firing: its blocks, and how far each has come.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cause::{Kind, Occasion, Origin};
use super::dirty::Dirty;
use super::firing::{Block, Firing};
use super::run::{Context, Failure, Run, Task};
use super::value::{self, fault, measure, type_name};
use super::view::View;
use crate::action::{Action, Schedule, StoreWrite, TimerTemplate};
use crate::condition::{Condition, Operand, Steps, Template, all_hold, equal};
use crate::effect::LogLevel;
use crate::fault::{ActionFault, EvalFault};
use crate::limits::{MAX_LOGS, STORE_STEPS};
use crate::rule::{FactChanges, Rule, Trigger};
use crate::timers::{NewTimer, OnExpire, Timer};
use crate::{Effect, Event, Fact, Object, ReportKind, Source, StoreChange, StoreOperation, StoreRequest};

/// What becomes of a firing after one step.
pub(super) enum Step {
    /// There is more to do.
    On,
    /// It has been put aside and waits for an answer from outside.
    Waits,
    /// It is done.
    Done,
}

impl Run<'_> {
    /// Carries a rule's actions out until it is done, waits, or has triggered something that comes first.
    pub(super) fn carry_on(&mut self, mut firing: Box<Firing>) {
        let below = self.stack.len();
        let rule = Arc::clone(&firing.rule);
        loop {
            match self.step(&rule, &mut firing) {
                Ok(Step::On) if self.stack.len() == below => {}
                Ok(Step::On) => return self.stack.insert(below, Task::Firing(firing)),
                Ok(Step::Waits | Step::Done) => return,
                Err(()) => return self.out_of_steps(&rule, firing.occasion.link),
            }
        }
    }

    /// One action, or the end of a block. The error is that there are no steps left.
    fn step(&mut self, rule: &Rule, firing: &mut Firing) -> Result<Step, ()> {
        let Some(block) = Firing::block(rule, &firing.frames) else { return Ok(Step::Done) };
        let Some(frame) = firing.frames.last_mut() else { return Ok(Step::Done) };
        let Some(action) = block.get(frame.at) else {
            return self.leave(rule, firing);
        };
        frame.at += 1;
        self.steps.take(1).map_err(|_| ())?;
        match self.act(action, firing) {
            Ok(step) => Ok(step),
            Err(Failure::Action(fault)) => {
                self.fail(firing, &fault);
                Ok(Step::On)
            }
            Err(Failure::OutOfSteps) => Err(()),
        }
    }

    /// The end of a block: the next turn of a loop, `finally` behind `try`, or what is behind the block.
    fn leave(&mut self, rule: &Rule, firing: &mut Firing) -> Result<Step, ()> {
        let owner = Firing::owner(rule, &firing.frames);
        let Some(mut frame) = firing.frames.pop() else { return Ok(Step::Done) };
        match (owner, &mut frame.block) {
            (Some(Action::ForEach { name, .. }), Block::Each { items, turn, outer }) => {
                *turn += 1;
                if let Some(item) = items.get(*turn) {
                    self.steps.take(1).map_err(|_| ())?;
                    bind_turn(firing, name, item, *turn);
                    frame.at = 0;
                    firing.frames.push(frame);
                } else {
                    let [item, index] = std::mem::take(outer);
                    firing.restore(name, item);
                    firing.restore(&index_name(name), index);
                }
            }
            (Some(Action::TryCatch { finally, .. }), Block::Try) => enter(firing, Block::Finally, finally),
            (Some(Action::TryCatch { catch_as, finally, .. }), Block::Catch { outer }) => {
                if let Some(name) = catch_as {
                    firing.restore(name, std::mem::take(outer));
                }
                enter(firing, Block::Finally, finally);
            }
            _ => {}
        }
        Ok(if firing.frames.is_empty() { Step::Done } else { Step::On })
    }

    /// An action has failed: directly inside of `try` that ends the block, elsewhere it is reported.
    pub(super) fn fail(&mut self, firing: &mut Firing, fault: &ActionFault) {
        let rule = Arc::clone(&firing.rule);
        if firing.frames.last().is_some_and(|frame| frame.block == Block::Try)
            && let Some(Action::TryCatch { catch_as, catch, finally, .. }) =
                Firing::owner(&rule, &firing.frames)
        {
            firing.frames.pop();
            if catch.is_empty() {
                self.failed(firing, fault);
                return enter(firing, Block::Finally, finally);
            }
            let seen = json!({"message": fault.message, "code": fault.code});
            let outer = catch_as.as_ref().map(|name| firing.bind(name, Some(Arc::new(seen))));
            return firing.enter(Block::Catch { outer: outer.unwrap_or_default() });
        }
        self.failed(firing, fault);
    }

    fn failed(&mut self, firing: &Firing, fault: &ActionFault) {
        self.engine.counts.failed_actions += 1;
        let message = format!("{} ({})", fault.message, fault.code);
        self.report(ReportKind::ActionFailed, Some(&firing.rule), firing.occasion.link, message);
    }

    fn act(&mut self, action: &Action, firing: &mut Firing) -> Result<Step, Failure> {
        match action {
            Action::SetFact { key, value, silent } => {
                let key = value::key("key of a fact", &self.render(key, firing)?)?;
                let value = Arc::new(self.resolve(value, firing)?);
                self.charge(measure(&value)?)?;
                let context = (!silent).then(|| context(firing));
                self.set_fact(&key, value, Source::Rule, context)?;
            }
            Action::DeleteFact { key, silent } => {
                let key = self.render(key, firing)?;
                let context = (!silent).then(|| context(firing));
                self.delete_fact(&key, context);
            }
            Action::EmitEvent { topic, data } => {
                let topic = value::topic(&self.render(topic, firing)?)?;
                let data = self.object("an event", data, firing)?;
                if self.may_emit(&topic, context(firing).origin) {
                    self.emit(topic, Arc::new(data), Source::Rule, context(firing));
                }
            }
            Action::SetTimer(template) => {
                let new = self.new_timer(template, firing)?;
                self.set_timer(new)?;
            }
            Action::CancelTimer { name } => {
                let name = self.render(name, firing)?;
                self.engine.timers.cancel(&name);
            }
            Action::CallService { .. } | Action::Webhook { .. } => return self.call(action, firing),
            Action::Log { level, message } => self.log(*level, message, firing)?,
            Action::Store { operations, as_name, list } => {
                self.store(operations, as_name.as_ref(), *list, firing)?;
            }
            Action::Conditional { conditions, then, otherwise } => {
                let met = self.met(conditions, firing)?;
                let (block, actions) = if met { (Block::Then, then) } else { (Block::Else, otherwise) };
                enter(firing, block, actions);
            }
            Action::ForEach { collection, name, max_iterations, .. } => {
                let items = self.items(collection, *max_iterations, firing)?;
                if let Some(item) = items.first() {
                    let outer = bind_turn(firing, name, item, 0);
                    firing.enter(Block::Each { items, turn: 0, outer });
                }
            }
            Action::TryCatch { .. } => firing.enter(Block::Try),
        }
        Ok(Step::On)
    }

    /// Works something out of what a firing can see.
    pub(super) fn see<T>(
        &mut self,
        firing: &Firing,
        look: impl FnOnce(&View, &mut Steps) -> Result<T, EvalFault>,
    ) -> Result<T, Failure> {
        let (facts, left) = (&self.engine.facts, self.steps.left());
        let view = View::new(facts, &firing.occasion, &firing.variables, &firing.lookups, left);
        let seen = look(&view, &mut self.steps);
        self.steps.take(view.looked())?;
        Ok(seen?)
    }

    pub(super) fn render(&mut self, template: &Template, firing: &Firing) -> Result<String, Failure> {
        self.see(firing, |view, steps| template.render(view, steps).map(Cow::into_owned))
    }

    pub(super) fn resolve(&mut self, operand: &Operand, firing: &Firing) -> Result<Value, Failure> {
        self.see(firing, |view, steps| operand.resolve(view, steps))
    }

    fn met(&mut self, conditions: &[Condition], firing: &Firing) -> Result<bool, Failure> {
        self.see(firing, |view, steps| all_hold(conditions, view, steps))
    }

    /// Headers.
    pub(super) fn members(
        &mut self,
        members: &[(Arc<str>, Operand)],
        firing: &Firing,
    ) -> Result<Object, Failure> {
        let mut data = Object::new();
        let mut bytes = 0;
        for (name, operand) in members {
            let value = self.resolve(operand, firing)?;
            bytes += name.len() + measure(&value)?;
            data.insert(name.to_string(), value);
        }
        self.charge(bytes)?;
        if bytes > crate::limits::MAX_VALUE_BYTES {
            return Err(value::too_long().into());
        }
        Ok(data)
    }

    /// The elements that a loop goes through.
    fn items(
        &mut self,
        collection: &Operand,
        most: usize,
        firing: &Firing,
    ) -> Result<Vec<Arc<Value>>, Failure> {
        let items = self.see(firing, |view, steps| {
            let found = collection.find(view, steps)?;
            let Some(Value::Array(items)) = found.as_deref() else {
                return Ok(Err(type_name(found.as_deref())));
            };
            items
                .iter()
                .take(most)
                .map(|item| {
                    steps.value(item)?;
                    Ok(Arc::new(item.clone()))
                })
                .collect::<Result<Vec<_>, EvalFault>>()
                .map(Ok)
        })?;
        items.map_err(|found| {
            fault("NOT_AN_ARRAY", format!("for_each: collection must be an array, got {found}")).into()
        })
    }

    fn log(&mut self, level: LogLevel, message: &Template, firing: &Firing) -> Result<(), Failure> {
        let message = self.render(message, firing)?;
        if self.logged >= MAX_LOGS {
            let message = format!("One input may log {MAX_LOGS} lines; log less");
            return Err(fault("TOO_MANY_LINES", message).into());
        }
        self.logged += 1;
        self.charge(message.len())?;
        self.effects.push(Effect::Log { rule: Arc::clone(&firing.rule.id), level, message });
        Ok(())
    }

    fn store(
        &mut self,
        operations: &[StoreWrite],
        as_name: Option<&Arc<str>>,
        list: bool,
        firing: &mut Firing,
    ) -> Result<(), Failure> {
        let mut resolved = Vec::with_capacity(operations.len());
        for operation in operations {
            self.steps.take(STORE_STEPS)?;
            resolved.push(self.operation(operation, firing)?);
        }
        let request = StoreRequest {
            rule: Arc::clone(&firing.rule.id),
            run_as: firing.rule.run_as.clone(),
            operations: resolved,
            watched: Arc::clone(self.engine.watched()),
        };
        let mut written = self.world.write(&request)?;
        // A few letters may be the change of a large record.
        for result in &written.results {
            self.steps.value(result)?;
        }
        if let Some(name) = as_name {
            let result = if list { Some(Value::Array(written.results)) } else { written.results.pop() };
            firing.bind(name, Some(Arc::new(result.unwrap_or_default())));
        }
        // The last one that is pushed comes first.
        for change in written.changes.iter().rev() {
            self.stored(change, context(firing));
        }
        Ok(())
    }

    fn operation(&mut self, operation: &StoreWrite, firing: &Firing) -> Result<StoreOperation, Failure> {
        Ok(match operation {
            StoreWrite::Insert { bucket, data } => {
                let bucket = self.render(bucket, firing)?;
                StoreOperation::Insert { bucket, data: self.object("a record", data, firing)? }
            }
            StoreWrite::Update { bucket, key, data } => {
                let (bucket, key) = (self.render(bucket, firing)?, self.resolve(key, firing)?);
                StoreOperation::Update { bucket, key, data: self.object("a record", data, firing)? }
            }
            StoreWrite::Upsert { bucket, data } => {
                let bucket = self.render(bucket, firing)?;
                StoreOperation::Upsert { bucket, data: self.object("a record", data, firing)? }
            }
            StoreWrite::Delete { bucket, key } => {
                let (bucket, key) = (self.render(bucket, firing)?, self.resolve(key, firing)?);
                StoreOperation::Delete { bucket, key }
            }
        })
    }

    fn object(&mut self, what: &str, data: &Operand, firing: &Firing) -> Result<Object, Failure> {
        let data = self.resolve(data, firing)?;
        self.charge(measure(&data)?)?;
        match data {
            Value::Object(data) => Ok(data),
            other => {
                let found = type_name(Some(&other));
                let message = format!("The data of {what} must be an object, got {found}");
                Err(fault("NOT_AN_OBJECT", message).into())
            }
        }
    }

    fn new_timer(&mut self, template: &TimerTemplate, firing: &Firing) -> Result<NewTimer, Failure> {
        let TimerTemplate { name, schedule, topic, data } = template;
        let name = value::key("name of a timer", &self.render(name, firing)?)?;
        let topic = value::topic(&self.render(topic, firing)?)?;
        let data = Arc::new(self.object("a timer", data, firing)?);
        Ok(NewTimer {
            id: self.id(),
            name,
            schedule: Schedule::clone(schedule),
            on_expire: OnExpire { topic, data },
            correlation_id: firing.occasion.correlation.clone(),
        })
    }

    /// Sets a timer, if there is room for it.
    pub(super) fn set_timer(&mut self, new: NewTimer) -> Result<Arc<Timer>, ActionFault> {
        let limit = self.engine.limits.timers;
        if self.engine.timers.len() >= limit && self.engine.timers.get(&new.name).is_none() {
            let message = format!("There are {limit} timers already (rules.maxTimers); cancel some");
            return Err(fault("TOO_MANY_TIMERS", message));
        }
        self.engine.timers.set(new, self.now).map_err(|message| fault("INVALID_TIMER", message))
    }

    /// Sets a fact, if there is room for it, and triggers rules unless there is no context.
    pub(super) fn set_fact(
        &mut self,
        key: &Arc<str>,
        value: Arc<Value>,
        source: Source,
        context: Option<Context>,
    ) -> Result<Arc<Fact>, ActionFault> {
        let engine = &mut *self.engine;
        let new = engine.facts.get(key).is_none();
        if new {
            let limit = engine.limits.facts;
            if engine.facts.len() >= limit {
                let message = format!("There are {limit} facts already (rules.maxFacts); delete some");
                return Err(fault("TOO_MANY_FACTS", message));
            }
            engine.meta.fact += 1;
            self.dirty.insert(Dirty::Meta);
        }
        let (fact, previous) = engine.facts.set(key, value, source, self.now, engine.meta.fact);
        self.dirty.insert(Dirty::Fact(Arc::clone(&fact.key)));
        if let Some(context) = context {
            let changed = previous.as_ref().is_none_or(|previous| !equal(&previous.value, &fact.value));
            let happened = FactChanges { set: true, changed, deleted: false };
            self.fact_happened(&fact, previous.as_ref(), happened, context);
        }
        Ok(fact)
    }

    pub(super) fn delete_fact(&mut self, key: &str, context: Option<Context>) -> bool {
        let Some(fact) = self.engine.facts.delete(key) else { return false };
        self.dirty.insert(Dirty::Fact(Arc::clone(&fact.key)));
        if let Some(context) = context {
            let happened = FactChanges { set: false, changed: false, deleted: true };
            self.fact_happened(&fact, None, happened, context);
        }
        true
    }

    fn fact_happened(
        &mut self,
        fact: &Arc<Fact>,
        previous: Option<&Arc<Fact>>,
        happened: FactChanges,
        context: Context,
    ) {
        if !self.engine.reach.has_facts() {
            return;
        }
        let mut data = Object::new();
        data.insert("fact".into(), shown(fact));
        if let Some(previous) = previous {
            data.insert("previous".into(), shown(previous));
        }
        let data = Value::Object(data);
        let mut found = self.engine.reach.fact(&fact.key, &data);
        found.retain(|order| {
            let rule = self.engine.book.at(*order);
            matches!(rule.map(|rule| &rule.trigger), Some(Trigger::Fact { on, .. }) if on.hears(happened))
        });
        if found.is_empty() {
            return;
        }
        let Context { correlation, cause, depth, origin } = context;
        let link = self.causes.add(Kind::Fact, &fact.key, None, origin);
        self.trigger(found, link, || Occasion {
            kind: Kind::Fact,
            name: Arc::clone(&fact.key),
            id: None,
            data: Arc::new(data),
            variables: Vec::new(),
            correlation,
            cause,
            depth,
            link,
        });
    }

    /// A record was changed: rules and patterns whose topics begin with `bucket.` hear of it.
    pub(super) fn stored(&mut self, change: &StoreChange, context: Context) {
        if !self.engine.watched().wants(&change.bucket, change.kind) {
            return;
        }
        let Context { correlation, cause, depth, origin } = context;
        let data = change.data();
        let event = Arc::new(Event {
            id: self.id(),
            topic: change.topic(),
            data: Arc::new(data.clone()),
            timestamp: self.now,
            source: Source::Store,
            correlation_id: correlation,
            causation_id: cause,
        });
        self.engine.counts.changes += 1;
        self.engine.traces.event(&event);
        let link = self.causes.add(Kind::Change, &event.topic, Some(&event.id), origin);
        if self.engine.reach.has_patterns() {
            self.stack.push(Task::Patterns { event: Arc::clone(&event), depth, link });
        }
        let data = Value::Object(data);
        let found = self.engine.reach.change(change, &data);
        self.trigger(found, link, || Occasion::of_event(Kind::Change, &event, data, depth));
    }
}

/// What an action hands down to what follows from it.
pub(super) fn context(firing: &Firing) -> Context {
    let occasion = &firing.occasion;
    let origin: Origin = Some((occasion.link, Arc::clone(&firing.rule.id)));
    Context {
        correlation: occasion.correlation.clone(),
        cause: occasion.cause.clone(),
        depth: occasion.depth + 1,
        origin,
    }
}

fn enter(firing: &mut Firing, block: Block, actions: &[Action]) {
    if !actions.is_empty() {
        firing.enter(block);
    }
}

fn bind_turn(firing: &mut Firing, name: &Arc<str>, item: &Arc<Value>, turn: usize) -> [Vec<Arc<Value>>; 2] {
    let item = firing.bind(name, Some(Arc::clone(item)));
    [item, firing.bind(&index_name(name), Some(Arc::new(Value::from(turn))))]
}

fn index_name(name: &str) -> Arc<str> {
    format!("{name}_index").into()
}

fn shown(fact: &Fact) -> Value {
    let mut members = Object::new();
    members.insert("key".into(), Value::from(&*fact.key));
    members.insert("value".into(), fact.value.as_ref().clone());
    members.insert("timestamp".into(), fact.timestamp.into());
    members.insert("source".into(), json!(fact.source));
    members.insert("version".into(), fact.version.into());
    Value::Object(members)
}
