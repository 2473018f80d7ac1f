//! A rule engine as plain as can be: no index, nothing compiled. All rules are looked at each time, conditions and values are worked
//! out from their JSON, what an action triggers is a call. Temporal patterns are [worked out from the whole history](super::naive).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_rules::rule::Trigger;
use dunlin_rules::{Event, Limits, Object, Rule, Source};
use serde_json::{Value, json};

use super::eval::key_matches;
use super::naive::{Found, Naive};

/// What is compared of an event. Ids are told by what they name: `e3` the third event, `t:x` the timer `x`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) topic: String,
    pub(crate) data: Value,
    pub(crate) source: Value,
    pub(crate) correlation: Option<String>,
    pub(crate) cause: Option<String>,
}

/// A fact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) source: Value,
    pub(crate) version: u64,
    pub(crate) timestamp: u64,
}

/// A timer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timer {
    pub(crate) name: String,
    pub(crate) expires_at: u64,
    pub(crate) topic: String,
    pub(crate) data: Value,
    pub(crate) correlation: Option<String>,
    pub(crate) interval: Option<u64>,
    pub(crate) max_count: Option<u64>,
    pub(crate) fired: u64,
}

/// What comes of one input.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Told>,
    pub(crate) firings: u64,
    /// Kind and rule of each report, but for chains that were too long.
    pub(crate) reports: Vec<(Value, Option<String>)>,
    /// A chain was too long for rules that would have run, or for any at all.
    pub(crate) too_deep: (bool, bool),
    pub(crate) emitted: usize,
}

struct Registered {
    order: u64,
    json: Value,
    pattern: Option<Naive>,
}

pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) limits: Limits,
    rules: BTreeMap<String, Registered>,
    groups: BTreeMap<String, bool>,
    pub(crate) facts: Vec<Known>,
    pub(crate) timers: Vec<Timer>,
    orders: u64,
    events: u64,
    pub(crate) outcome: Outcome,
    /// A value has grown so large that the engine may refuse it, as a fact that holds itself does: nothing is compared any more.
    pub(crate) outgrown: Cell<bool>,
}

/// What values may have that are compared, far below what the engine accepts.
pub(crate) const LARGE: usize = 1_000;

/// What rules see.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) data: Value,
    pub(crate) matched: Vec<Value>,
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) correlation: Option<String>,
    pub(crate) cause: Option<String>,
    pub(crate) depth: usize,
}

impl Model {
    pub(crate) fn new(limits: Limits, now: u64) -> Self {
        Self {
            now,
            limits,
            rules: BTreeMap::new(),
            groups: BTreeMap::new(),
            facts: Vec::new(),
            timers: Vec::new(),
            orders: 0,
            events: 0,
            outcome: Outcome::default(),
            outgrown: Cell::new(false),
        }
    }

    // What somebody asks for. Each gives whether it was accepted.

    pub(crate) fn register(&mut self, rule: &Value) -> bool {
        if self.rules.contains_key(text(&rule["id"])) || !self.group_exists(rule) {
            return false;
        }
        self.orders += 1;
        let registered = Registered { order: self.orders, json: rule.clone(), pattern: None };
        self.rules.insert(text(&rule["id"]).into(), registered);
        self.refresh(text(&rule["id"]), None);
        true
    }

    pub(crate) fn update(&mut self, id: &str, updates: &Value) -> bool {
        let Some(known) = self.rules.get(id) else { return false };
        let mut new = known.json.clone();
        for (name, value) in updates.as_object().unwrap().iter().filter(|(name, _)| *name != "id") {
            new[name] = value.clone();
        }
        if !self.group_exists(&new) {
            return false;
        }
        let old = std::mem::replace(&mut self.rules.get_mut(id).unwrap().json, new);
        self.refresh(id, Some(&old["trigger"]));
        true
    }

    pub(crate) fn unregister(&mut self, id: &str) -> bool {
        self.rules.remove(id).is_some()
    }

    pub(crate) fn group(&mut self, id: &str, enabled: Option<bool>) {
        if let Some(enabled) = enabled {
            self.groups.insert(id.into(), enabled);
        } else {
            self.groups.remove(id);
            for rule in self.rules.values_mut() {
                rule.json.as_object_mut().unwrap().shift_remove("group");
            }
        }
        for id in self.rules.keys().cloned().collect::<Vec<_>>() {
            let trigger = self.rules[&id].json["trigger"].clone();
            self.refresh(&id, Some(&trigger));
        }
    }

    pub(crate) fn emit_input(&mut self, topic: &str, data: &Value) {
        self.emit(topic, data, "api", (Some("story".into()), None), 0);
    }

    pub(crate) fn set_fact(&mut self, key: &str, value: &Value) {
        self.put_fact(key, value.clone(), "api", Some(Seen::none()), 0);
    }

    pub(crate) fn delete_fact(&mut self, key: &str) {
        self.drop_fact(key, Some(Seen::none()), 0);
    }

    pub(crate) fn set_timer(&mut self, timer: &Value) {
        self.put_timer(text(&timer["name"]), timer, timer["onExpire"]["data"].clone(), None);
    }

    pub(crate) fn cancel_timer(&mut self, name: &str) {
        self.timers.retain(|timer| timer.name != name);
    }

    /// One thing that is due: of those that are due at the same time a timer, then a pattern. Nobody is ever late.
    pub(crate) fn tick(&mut self) {
        let due = self.timers.iter().filter(|timer| timer.expires_at <= self.now);
        if let Some(timer) = due.min_by_key(|timer| (timer.expires_at, timer.name.clone())).cloned() {
            return self.expire(&timer);
        }
        let now = self.now;
        let mut due: Vec<(u64, u64, String, String)> = Vec::new();
        for (id, rule) in &self.rules {
            let told = rule.pattern.as_ref().map(|pattern| pattern.clone().tick(now)).unwrap_or_default();
            due.extend(told.into_iter().map(|((at, group), _)| (at, rule.order, group, id.clone())));
        }
        due.sort();
        match due.first().cloned() {
            Some((_, _, group, id)) => {
                let pattern = self.rules.get_mut(&id).unwrap().pattern.as_mut().unwrap();
                for (_, found) in pattern.tick_group(now, &group) {
                    self.complete(&id, found, 0);
                }
            }
            // Windows that have ended without a match.
            None => {
                for rule in self.rules.values_mut() {
                    let told = rule.pattern.as_mut().map(|pattern| pattern.tick(now));
                    assert!(told.is_none_or(|told| told.is_empty()));
                }
            }
        }
    }

    fn group_exists(&self, rule: &Value) -> bool {
        rule["group"].is_null() || self.groups.contains_key(text(&rule["group"]))
    }

    /// Begins the pattern of a rule anew, unless it was and is active with the same one.
    fn refresh(&mut self, id: &str, old_trigger: Option<&Value>) {
        let rule = &self.rules[id];
        let active = self.active(rule);
        let same = old_trigger == Some(&rule.json["trigger"]) && rule.pattern.is_some();
        let json = rule.json.clone();
        let slot = &mut self.rules.get_mut(id).unwrap().pattern;
        if !active {
            *slot = None;
        } else if !same {
            let (rule, _) = Rule::parse(&json, &self.limits).unwrap();
            *slot = match &rule.trigger {
                Trigger::Temporal(pattern) => Some(Naive::new(id, pattern)),
                _ => None,
            };
        }
    }

    fn active(&self, rule: &Registered) -> bool {
        let group = rule.json["group"].as_str().and_then(|group| self.groups.get(group));
        rule.json["enabled"] != json!(false) && group != Some(&false)
    }

    // What happens.

    pub(super) fn emit(
        &mut self,
        topic: &str,
        data: &Value,
        source: &str,
        (correlation, cause): (Option<String>, Option<String>),
        depth: usize,
    ) {
        self.events += 1;
        let id = format!("e{}", self.events);
        self.outcome.events.push(Told {
            topic: topic.into(),
            data: data.clone(),
            source: json!(source),
            correlation: correlation.clone(),
            cause,
        });
        let heard = self
            .matching(|trigger| trigger["type"] == "event" && topic_matches(text(&trigger["topic"]), topic));
        let seen = Seen {
            data: data.clone(),
            matched: vec![data.clone()],
            variables: BTreeMap::new(),
            correlation: correlation.clone(),
            cause: Some(id.clone()),
            depth,
        };
        self.trigger(&heard, &seen);
        let event = Arc::new(Event {
            id: id.into(),
            topic: topic.into(),
            data: Arc::new(data.as_object().unwrap().clone()),
            timestamp: self.now,
            source: Source::Api,
            correlation_id: correlation.map(Into::into),
            causation_id: None,
        });
        let now = self.now;
        let mut all: Vec<(String, Found)> = Vec::new();
        for id in self.in_order(|_| true) {
            let pattern = self.rules.get_mut(&id).unwrap().pattern.as_mut();
            let found = pattern.map(|pattern| pattern.event(&event, now)).unwrap_or_default();
            all.extend(found.into_iter().map(|found| (id.clone(), found)));
        }
        all.sort_by(|(a, _), (b, _)| self.rank(a).partial_cmp(&self.rank(b)).unwrap());
        for (id, found) in all {
            self.complete(&id, found, depth);
        }
    }

    fn complete(&mut self, rule: &str, found: Found, depth: usize) {
        let mut data = json!({
            "groupKey": found.group, "count": found.events.len(), "value": number(found.value),
            "events": found.data, "startedAt": found.started_at, "firedAt": found.fired_at,
        });
        if found.absence {
            data["after"] = found.data[0].clone();
        }
        let mut variables = BTreeMap::new();
        for (name, value) in found.variables {
            // Of two of the same name the first.
            variables.entry(name).or_insert(value);
        }
        let seen = Seen {
            data,
            matched: found.data,
            variables,
            correlation: found.correlation,
            cause: found.events.last().cloned(),
            depth,
        };
        self.trigger(&[rule.into()], &seen);
    }

    fn expire(&mut self, timer: &Timer) {
        let place = self.timers.iter().position(|other| other.name == timer.name).unwrap();
        let fired = timer.fired + 1;
        let again = timer.interval.filter(|_| timer.max_count.is_none_or(|most| fired < most));
        match again {
            Some(interval) => {
                self.timers[place].expires_at += interval;
                self.timers[place].fired = fired;
            }
            None => drop(self.timers.remove(place)),
        }
        let id = format!("t:{}", timer.name);
        let mut data = Object::new();
        data.insert("timerId".into(), json!("?"));
        data.insert("timerName".into(), json!(timer.name));
        data.insert("expiresAt".into(), json!(timer.expires_at));
        if let Some(correlation) = &timer.correlation {
            data.insert("correlationId".into(), json!(correlation));
        }
        data.extend(timer.data.as_object().unwrap().clone());
        let name = &timer.name;
        let heard =
            self.matching(|trigger| trigger["type"] == "timer" && key_matches(text(&trigger["name"]), name));
        let (correlation, cause) = (timer.correlation.clone(), Some(id));
        let seen = Seen {
            data: Value::Object(data),
            correlation: correlation.clone(),
            cause: cause.clone(),
            ..Seen::none()
        };
        self.trigger(&heard, &seen);
        if self.may_emit() {
            self.emit(&timer.topic, &timer.data, "timer", (correlation, cause), 0);
        }
    }

    pub(super) fn put_fact(&mut self, key: &str, value: Value, source: &str, by: Option<Seen>, depth: usize) {
        let previous = self.facts.iter().find(|fact| fact.key == key).cloned();
        let fact = Known {
            key: key.into(),
            value,
            source: json!(source),
            version: previous.as_ref().map_or(1, |previous| previous.version + 1),
            timestamp: self.now,
        };
        match self.facts.iter_mut().find(|fact| fact.key == key) {
            Some(old) => *old = fact.clone(),
            None => self.facts.push(fact.clone()),
        }
        let Some(by) = by else { return };
        let changed = previous.as_ref().is_none_or(|previous| previous.value != fact.value);
        let happened: &[&str] = if changed { &["set", "changed"] } else { &["set"] };
        self.fact_happened(&fact, previous.as_ref(), happened, &by, depth);
    }

    pub(super) fn drop_fact(&mut self, key: &str, by: Option<Seen>, depth: usize) {
        let Some(place) = self.facts.iter().position(|fact| fact.key == key) else { return };
        let fact = self.facts.remove(place);
        if let Some(by) = by {
            self.fact_happened(&fact, None, &["deleted"], &by, depth);
        }
    }

    fn fact_happened(
        &mut self,
        fact: &Known,
        previous: Option<&Known>,
        happened: &[&str],
        by: &Seen,
        depth: usize,
    ) {
        let heard = self.matching(|trigger| {
            let on = match &trigger["on"] {
                Value::Null => vec!["set"],
                Value::String(one) => vec![one.as_str()],
                list => list.as_array().unwrap().iter().map(text).collect(),
            };
            trigger["type"] == "fact"
                && key_matches(text(&trigger["pattern"]), &fact.key)
                && on.iter().any(|on| happened.contains(on))
        });
        let mut data = json!({"fact": fact.shown()});
        if let Some(previous) = previous {
            data["previous"] = previous.shown();
        }
        let (correlation, cause) = (by.correlation.clone(), by.cause.clone());
        self.trigger(&heard, &Seen { data, correlation, cause, depth, ..Seen::none() });
    }

    // Rules.

    /// Ids of active rules, in the order of their registration.
    fn in_order(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let active = self.rules.iter().filter(|(_, rule)| self.active(rule) && wanted(&rule.json["trigger"]));
        let mut ids: Vec<_> = active.map(|(id, rule)| (rule.order, id.clone())).collect();
        ids.sort();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    fn matching(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut ids = self.in_order(wanted);
        ids.sort_by(|a, b| self.rank(a).partial_cmp(&self.rank(b)).unwrap());
        ids
    }

    fn rank(&self, id: &str) -> (f64, u64) {
        let rule = &self.rules[id];
        (-rule.json["priority"].as_f64().unwrap_or(0.0), rule.order)
    }

    fn trigger(&mut self, rules: &[String], seen: &Seen) {
        if seen.depth >= self.limits.depth {
            let pattern = |id: &String| self.rules[id].pattern.is_some();
            let runs = |id: &String| self.all_hold(&self.rules[id].json["conditions"], seen) || pattern(id);
            self.outcome.too_deep.0 |= rules.iter().any(runs);
            self.outcome.too_deep.1 |= !rules.is_empty();
            return;
        }
        for id in rules {
            let rule = self.rules[id].json.clone();
            if !self.all_hold(&rule["conditions"], seen) {
                continue;
            }
            if self.outcome.firings >= self.limits.firings as u64 {
                self.report_once("firings_exceeded", Some(id));
                continue;
            }
            self.outcome.firings += 1;
            self.actions(&rule["actions"], &mut seen.clone(), id);
        }
    }
}

impl Known {
    fn shown(&self) -> Value {
        json!({
            "key": self.key, "value": self.value, "timestamp": self.timestamp, "source": self.source,
            "version": self.version,
        })
    }
}

impl Seen {
    fn none() -> Self {
        Self {
            data: Value::Null,
            matched: Vec::new(),
            variables: BTreeMap::new(),
            correlation: None,
            cause: None,
            depth: 0,
        }
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Whole numbers have no fraction.
fn number(value: Option<f64>) -> Value {
    match value {
        Some(whole) if whole.fract() == 0.0 => json!(whole as i64),
        other => json!(other),
    }
}

fn topic_matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), topic.split('.').collect());
    if pattern == ["*"] {
        return true;
    }
    let rest = pattern.last() == Some(&"*");
    let enough = if rest { topic.len() >= pattern.len() } else { topic.len() == pattern.len() };
    enough && pattern.iter().zip(&topic).all(|(wanted, given)| *wanted == "*" || wanted == given)
}
