//! A rule is tried out: an engine of its own, facts and events that somebody makes up, and nothing that leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::effect::LookupCall;
use crate::fault::{ActionFault, Issue, RuleFault};
use crate::limits::{MAX_TRIAL_CALLS, MAX_TRIAL_INPUTS};
use crate::{
    Answer, Effect, Engine, Input, Limits, Object, Ran, StoreOperation, StoreRequest, Target, World, Written,
};

/// Carries a `rules.test` out: `{rule, event? or fact?, facts?, events?, lookups?}`. `facts` are set and `events` emitted before, so
/// that patterns and rules on facts have a past; then the `event` is emitted or the `fact` set, and what that leads to is the answer:
/// `{fired, conditions, facts, events, writes, calls, reports}`. `facts` is a list of `{key, value}` or an object, `event` and each
/// of `events` is `{topic, data?}`; a `topic` `bucket.<name>.inserted` with data as a rule would see it stands for a record that
/// was changed. Writes are answered with their data and calls with `null`; lookups with what `lookups` says of their names.
///
/// # Errors
/// The rule is not valid, or what it is to be tried with.
///
/// ```
/// use dunlin_rules::{Limits, dry_run};
/// use serde_json::json;
///
/// let found = dry_run::test(&json!({
///     "rule": {"id": "vip", "name": "VIP", "trigger": {"type": "event", "topic": "order.created"},
///         "conditions": [{"source": {"type": "fact", "pattern": "min"}, "operator": "lte", "value": {"ref": "event.total"}}],
///         "actions": [{"type": "set_fact", "key": "vip:${event.id}", "value": true}]},
///     "facts": {"min": 100},
///     "event": {"topic": "order.created", "data": {"id": 7, "total": 120}},
/// }), &Limits::default())?;
/// assert_eq!((&found["fired"], &found["facts"][0]["key"]), (&json!(true), &json!("vip:7")));
/// # Ok::<(), dunlin_rules::RuleFault>(())
/// ```
pub fn test(trial: &Value, limits: &Limits) -> Result<Value, RuleFault> {
    let mut engine = Engine::new(Limits { traces: 100, ..limits.clone() });
    let mut world = Trial::new(trial.get("lookups"), limits.steps)?;
    let mut rule = trial.get("rule").cloned().unwrap_or_default();
    if let Some(members) = rule.as_object_mut() {
        // A trial is about one rule, also if it is switched off or belongs to a group.
        members.insert("enabled".into(), true.into());
        members.shift_remove("group");
    }
    let registered = engine.run(Input::Register { rule }, &mut world).answer?;
    let Answer::Rule(rule) = registered else { return Err(invalid("rule", "The rule could not be tried")) };
    for input in before(trial)? {
        run_all(&mut engine, &mut world, input)?;
    }
    world.writes.clear();
    world.calls.clear();
    let Some(input) = tried(trial)? else {
        return Err(invalid("event", "There must be an \"event\" or a \"fact\" to try the rule with"));
    };
    engine.watch_conditions(rule.get("id").and_then(Value::as_str).unwrap_or_default());
    let (topic, data) = seen(&input);
    let ran = run_all(&mut engine, &mut world, input)?;
    Ok(json!({
        "fired": ran.firings > 0,
        "conditions": engine.watched_conditions(&topic, &data),
        "facts": ran.facts,
        "events": ran.events,
        "writes": world.writes,
        "calls": world.calls,
        "reports": ran.reports,
    }))
}

/// What was there before.
fn before(trial: &Value) -> Result<Vec<Input>, RuleFault> {
    let mut inputs = Vec::new();
    match trial.get("facts") {
        None | Some(Value::Null) => {}
        Some(Value::Object(facts)) => {
            for (key, value) in facts {
                inputs.push(Input::SetFact { key: key.as_str().into(), value: value.clone() });
            }
        }
        Some(Value::Array(facts)) => {
            for (at, fact) in facts.iter().enumerate() {
                inputs.push(set_fact(fact, &format!("facts[{at}]"))?);
            }
        }
        Some(_) => return Err(invalid("facts", "\"facts\" must be an object or an array of {key, value}")),
    }
    match trial.get("events") {
        None | Some(Value::Null) => {}
        Some(Value::Array(events)) => {
            for (at, event) in events.iter().enumerate() {
                inputs.push(emit(event, &format!("events[{at}]"))?);
            }
        }
        Some(_) => return Err(invalid("events", "\"events\" must be an array of {topic, data}")),
    }
    if inputs.len() > MAX_TRIAL_INPUTS {
        let message = format!("A trial may have {MAX_TRIAL_INPUTS} facts and events before; leave some out");
        return Err(invalid("events", &message));
    }
    Ok(inputs)
}

fn tried(trial: &Value) -> Result<Option<Input>, RuleFault> {
    let given = |name: &str| trial.get(name).filter(|value| !value.is_null());
    match (given("event"), given("fact")) {
        (Some(_), Some(_)) => Err(invalid("fact", "A rule is tried with an \"event\" or with a \"fact\"")),
        (Some(event), None) => emit(event, "event").map(Some),
        (None, Some(fact)) => set_fact(fact, "fact").map(Some),
        (None, None) => Ok(None),
    }
}

/// What a rule's trigger would have of an input, if it reached the rule.
fn seen(input: &Input) -> (Arc<str>, Object) {
    match input {
        Input::Emit { topic, data, .. } => (Arc::clone(topic), data.clone()),
        Input::SetFact { key, value } => {
            let data = json!({"fact": {"key": key, "value": value}});
            (Arc::clone(key), data.as_object().cloned().unwrap_or_default())
        }
        Input::Stored(change) => (Arc::clone(&change.bucket), change.data()),
        _ => ("".into(), Object::new()),
    }
}

fn set_fact(fact: &Value, path: &str) -> Result<Input, RuleFault> {
    let key = fact.get("key").and_then(Value::as_str);
    let key = key.ok_or_else(|| invalid(path, "A fact must have a \"key\" and a \"value\""))?;
    Ok(Input::SetFact { key: key.into(), value: fact.get("value").cloned().unwrap_or_default() })
}

fn emit(event: &Value, path: &str) -> Result<Input, RuleFault> {
    let topic = event.get("topic").and_then(Value::as_str);
    let topic = topic.ok_or_else(|| invalid(path, "An event must have a \"topic\""))?;
    let data = match event.get("data") {
        None | Some(Value::Null) => Object::new(),
        Some(Value::Object(data)) => data.clone(),
        Some(_) => return Err(invalid(path, "The data of an event must be an object")),
    };
    if let Some(change) = crate::world::StoreChange::parse(topic, &data) {
        return Ok(Input::Stored(change));
    }
    Ok(Input::Emit { topic: topic.into(), data, correlation_id: None, causation_id: None })
}

fn invalid(path: &str, message: &str) -> RuleFault {
    let issues = vec![Issue::error(path, "invalid", message)];
    RuleFault::Invalid { message: message.to_owned(), issues }
}

/// What an input led to, with all that waited for an answer.
#[derive(Default)]
struct Led {
    firings: u64,
    facts: Vec<Value>,
    events: Vec<Value>,
    reports: Vec<Value>,
}

/// Runs an input and answers whatever is asked, at once.
fn run_all(engine: &mut Engine, world: &mut Trial, input: Input) -> Result<Led, RuleFault> {
    let own = match &input {
        Input::SetFact { key, .. } => Some(Arc::clone(key)),
        _ => None,
    };
    let emitted = usize::from(matches!(input, Input::Emit { .. }));
    let mut led = Led::default();
    let mut facts = BTreeMap::new();
    let mut next = vec![input];
    let mut asked = 0;
    while let Some(input) = next.pop() {
        let Some(ran) = engine.run_within(world.steps, input, world) else {
            let message = format!(
                "A trial may take {} steps (rules.maxSteps), and what was there before took them all; leave some out",
                world.steps
            );
            return Err(invalid("events", &message));
        };
        let Ran { answer, events, changes, effects, reports, firings } = ran;
        answer?;
        led.firings += firings;
        led.events.extend(events.iter().map(|event| json!(event)));
        led.reports.extend(reports.iter().map(|report| json!(report)));
        for change in changes {
            if let crate::Change::Fact { key, fact } = change {
                facts.insert(key, fact);
            }
        }
        for effect in effects {
            asked += 1;
            if asked > MAX_TRIAL_CALLS {
                break;
            }
            next.extend(world.answer(effect));
        }
    }
    // What somebody has set or emitted himself does not follow from it.
    led.events.drain(..emitted.min(led.events.len()));
    let set_again = |fact: &Option<Arc<crate::Fact>>| {
        fact.as_ref().is_some_and(|fact| fact.source == crate::Source::Rule)
    };
    for (key, fact) in facts {
        if own.as_ref() != Some(&key) || fact.is_none() || set_again(&fact) {
            led.facts.push(fact.map_or_else(|| json!({"key": key, "deleted": true}), |fact| json!(fact)));
        }
    }
    Ok(led)
}

/// A world in which nothing happens: what would have is written down.
struct Trial {
    ids: u128,
    /// What all inputs may take together: a trial costs no more than an event.
    steps: u64,
    lookups: Object,
    writes: Vec<Value>,
    calls: Vec<Value>,
}

impl Trial {
    fn new(lookups: Option<&Value>, steps: u64) -> Result<Self, RuleFault> {
        let lookups = match lookups {
            None | Some(Value::Null) => Object::new(),
            Some(Value::Object(lookups)) => lookups.clone(),
            Some(_) => return Err(invalid("lookups", "\"lookups\" must be an object of names and answers")),
        };
        Ok(Self { ids: 0, steps, lookups, writes: Vec::new(), calls: Vec::new() })
    }

    fn answer(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Call(call) => {
                self.calls.push(match &call.target {
                    Target::Service { service, method, args } => {
                        json!({"service": service, "method": method, "args": args})
                    }
                    Target::Webhook { url, headers, body } => {
                        json!({"url": url, "headers": headers, "body": body})
                    }
                });
                Some(Input::CallDone { id: Arc::clone(&call.id), result: Value::Null })
            }
            Effect::Lookup { .. } | Effect::Log { .. } => None,
        }
    }
}

impl World for Trial {
    fn now(&self) -> u64 {
        0
    }

    fn random(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    fn write(&mut self, request: &StoreRequest) -> Result<Written, ActionFault> {
        let mut written = Written::default();
        for operation in &request.operations {
            let (shown, result) = match operation {
                StoreOperation::Insert { bucket, data } => {
                    (json!({"type": "insert", "bucket": bucket, "data": data}), json!(data))
                }
                StoreOperation::Update { bucket, key, data } => {
                    (json!({"type": "update", "bucket": bucket, "key": key, "data": data}), json!(data))
                }
                StoreOperation::Upsert { bucket, data } => {
                    (json!({"type": "upsert", "bucket": bucket, "data": data}), json!(data))
                }
                StoreOperation::Delete { bucket, key } => {
                    (json!({"type": "delete", "bucket": bucket, "key": key}), json!({"deleted": true}))
                }
            };
            self.writes.push(shown);
            written.results.push(result);
        }
        Ok(written)
    }

    fn known(&mut self, call: &LookupCall) -> Option<Result<Arc<Value>, String>> {
        let known = self.lookups.get(&*call.name).cloned();
        Some(known.map(Arc::new).ok_or_else(|| "\"lookups\" has no answer of this name".to_owned()))
    }
}
