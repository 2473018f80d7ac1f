//! Temporal patterns worked out from their definitions: the whole history is kept and gone through again each time, nothing is
//! remembered about groups but which windows without an event were looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_rules::rule::{Comparison, EventMatcher, Function, TemporalKind, TemporalPattern, Window};
use dunlin_rules::{Event, Object, Source};
use serde_json::Value;

/// What is compared of a match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) rule: String,
    pub(crate) group: Option<String>,
    pub(crate) events: Vec<String>,
    pub(crate) data: Vec<Value>,
    pub(crate) value: Option<f64>,
    pub(crate) started_at: u64,
    pub(crate) fired_at: u64,
    pub(crate) variables: Vec<(String, Value)>,
    pub(crate) correlation: Option<String>,
    pub(crate) absence: bool,
}

/// Something of the history: an event, or that somebody looked what was due.
#[derive(Clone)]
struct Past {
    at: u64,
    event: Option<Arc<Event>>,
    /// Somebody looked at this group alone.
    only: Option<String>,
}

impl Past {
    fn data(&self) -> &Object {
        &self.event.as_ref().unwrap().data
    }
}

/// One rule.
#[derive(Clone)]
pub(crate) struct Naive {
    name: String,
    pattern: TemporalPattern,
    history: Vec<Past>,
    groups: BTreeMap<String, Remembered>,
}

#[derive(Clone, Default)]
struct Remembered {
    /// The end of the window to be looked at next, and how many without an event there were in a row, it included.
    window: Option<(u64, u32)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Open,
    /// By the event with this index.
    Ended(usize),
    Completed(usize),
}

impl Naive {
    pub(crate) fn new(name: &str, pattern: &TemporalPattern) -> Self {
        Self { name: name.into(), pattern: pattern.clone(), history: Vec::new(), groups: BTreeMap::new() }
    }

    pub(crate) fn event(&mut self, event: &Arc<Event>, now: u64) -> Vec<Found> {
        let Some(group) = self.group(event) else { return Vec::new() };
        let past = Past { at: now, event: Some(Arc::clone(event)), only: None };
        match self.pattern.kind.clone() {
            TemporalKind::Sequence { events, within, strict } => {
                let named = events.iter().any(|step| topic(step, event));
                if event.source == Source::Store && !named {
                    return Vec::new();
                }
                self.history.push(past);
                self.sequence(&group, &events, within, strict)
            }
            TemporalKind::Absence { after, expected, .. } => {
                if !meant(&after, event) && !meant(&expected, event) {
                    return Vec::new();
                }
                self.history.push(past);
                self.over(&group).into_iter().map(|(_, found)| found).collect()
            }
            TemporalKind::Count { event: matcher, window, .. }
            | TemporalKind::Aggregate { event: matcher, window, .. } => {
                if !meant(&matcher, event) {
                    return Vec::new();
                }
                let mut found = Vec::new();
                if !window.sliding {
                    found.extend(self.ended(&group, window, now).into_iter().map(|(_, found)| found));
                }
                self.history.push(past);
                if window.sliding {
                    found.extend(self.sliding(&group, window));
                } else {
                    let end = (now / window.length + 1) * window.length;
                    self.groups.entry(group).or_default().window = Some((end, 0));
                }
                found
            }
            _ => unreachable!(),
        }
    }

    /// All that is due, with when it was and in which group.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<((u64, String), Found)> {
        let events = self.history.iter().filter_map(|past| past.event.as_ref());
        let mut all: Vec<String> = events.filter_map(|event| self.group(event)).collect();
        all.sort();
        all.dedup();
        self.history.push(Past { at: now, event: None, only: None });
        self.due(all, now)
    }

    /// What is due in one group.
    #[allow(dead_code, reason = "the oracle of the whole engine asks")]
    pub(crate) fn tick_group(&mut self, now: u64, group: &str) -> Vec<((u64, String), Found)> {
        self.history.push(Past { at: now, event: None, only: Some(group.into()) });
        self.due(vec![group.into()], now)
    }

    fn due(&mut self, groups: Vec<String>, now: u64) -> Vec<((u64, String), Found)> {
        let mut due = Vec::new();
        for group in groups {
            let found = match self.pattern.kind.clone() {
                TemporalKind::Sequence { .. } => Vec::new(),
                TemporalKind::Absence { .. } => self.over(&group),
                TemporalKind::Count { window, .. } | TemporalKind::Aggregate { window, .. } => {
                    if window.sliding { Vec::new() } else { self.ended(&group, window, now) }
                }
                _ => unreachable!(),
            };
            due.extend(found.into_iter().map(|(at, found)| ((at, group.clone()), found)));
        }
        due
    }

    fn group(&self, event: &Event) -> Option<String> {
        let Some(path) = &self.pattern.group_by else { return Some(String::new()) };
        match event.data.get(&*path.to_string())? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.as_f64().unwrap().fract() == 0.0 => {
                Some(format!("{:.0}", number.as_f64().unwrap()))
            }
            other => Some(other.to_string()),
        }
    }

    fn of_group(&self, group: &str) -> Vec<Past> {
        let of_group =
            |past: &&Past| past.event.as_ref().and_then(|event| self.group(event)).as_deref() == Some(group);
        self.history.iter().filter(of_group).cloned().collect()
    }

    fn sequence(&self, group: &str, steps: &[EventMatcher], within: u64, strict: bool) -> Vec<Found> {
        let past = self.of_group(group);
        let last = past.len() - 1;
        let mut found = Vec::new();
        let mut open_since: Option<usize> = None;
        for start in (0..past.len()).filter(|start| meant(&steps[0], past[*start].event.as_ref().unwrap())) {
            if self.pattern.group_by.is_some()
                && open_since
                    .is_some_and(|other| fate(&past[..=start], other, steps, within, strict).0 == Fate::Open)
            {
                continue;
            }
            open_since = Some(start);
            let (fate, events) = fate(&past, start, steps, within, strict);
            if fate == Fate::Completed(last) {
                let names = steps.iter().map(|step| step.alias.clone());
                found.push(self.found(group, &events, names.collect(), past[start].at, past[last].at));
            }
        }
        found
    }

    /// What the last thing that happened tells of waits in a group: they began, ended, or were told of.
    fn over(&self, group: &str) -> Vec<(u64, Found)> {
        let TemporalKind::Absence { after, expected, within } = &self.pattern.kind else { unreachable!() };
        let mut open: Option<&Past> = None;
        let mut told = None;
        for past in &self.history {
            let other = past.event.as_ref().map_or(past.only.clone(), |event| self.group(event));
            if other.is_some_and(|other| other != group) {
                continue;
            }
            let over = |wait: &&Past| match past.event {
                None => past.at >= wait.at + within,
                Some(_) => past.at > wait.at + within,
            };
            told = open.filter(over).map(|wait| (wait, past.at));
            if told.is_some() || past.event.as_ref().is_some_and(|event| meant(expected, event)) {
                open = None;
            }
            if open.is_none() && past.event.as_ref().is_some_and(|event| meant(after, event)) {
                open = Some(past);
            }
        }
        let Some((wait, at)) = told else { return Vec::new() };
        let found = self.found(group, std::slice::from_ref(wait), vec![after.alias.clone()], wait.at, at);
        vec![(wait.at + within, Found { absence: true, ..found })]
    }

    /// Windows of a group that have ended: the one with events, and of those without the last one.
    fn ended(&mut self, group: &str, window: Window, now: u64) -> Vec<(u64, Found)> {
        let mut found = Vec::new();
        while let Some((end, nth)) = self.groups.get(group).and_then(|known| known.window) {
            if now < end {
                break;
            }
            let start = end - window.length;
            let mut events = self.of_group(group);
            events.retain(|past| (start..end).contains(&past.at));
            if let Some(value) = self.holds(&events) {
                let mut one = self.window_found(group, &events, value, now);
                one.started_at = start;
                found.push((end, one));
            }
            let known = self.groups.entry(group.into()).or_default();
            if !window.empty_windows || nth >= 1000 {
                known.window = None;
                continue;
            }
            let mut next = end + window.length;
            let mut empty = nth + 1;
            while next + window.length <= now {
                next += window.length;
                empty = (empty + 1).min(1000);
            }
            known.window = Some((next, empty));
        }
        found
    }

    fn sliding(&self, group: &str, window: Window) -> Option<Found> {
        let past = self.of_group(group);
        let last = past.len() - 1;
        let visible = |upto: usize, at: u64| -> Vec<Past> {
            past[..=upto].iter().filter(|past| past.at + window.length >= at).cloned().collect()
        };
        let now = past[last].at;
        let events = visible(last, now);
        let value = self.holds(&events)?;
        if self.pattern.once {
            // It held already at the event before, which then was a match or stood behind one, and at each moment since.
            let held = last.checked_sub(1).is_some_and(|before| {
                self.holds(&visible(before, past[before].at)).is_some()
                    && past.iter().map(|gone| gone.at + window.length + 1).all(|at| {
                        if !(past[before].at + 1..=now).contains(&at) {
                            return true;
                        }
                        let events = visible(before, at);
                        !events.is_empty() && self.holds(&events).is_some()
                    })
            });
            if held {
                return None;
            }
        }
        Some(self.window_found(group, &events, value, now))
    }

    fn holds(&self, events: &[Past]) -> Option<f64> {
        let count = events.len() as f64;
        let (value, comparison, threshold) = match &self.pattern.kind {
            TemporalKind::Count { comparison, threshold, .. } => (Some(count), comparison, threshold),
            TemporalKind::Aggregate { field, function, comparison, threshold, .. } => {
                let field = field.to_string();
                let numbers: Vec<f64> =
                    events.iter().filter_map(|past| past.data().get(&*field)?.as_f64()).collect();
                let value = match function {
                    Function::Count => Some(count),
                    Function::Sum if events.is_empty() => Some(0.0),
                    _ if numbers.is_empty() => None,
                    Function::Sum => Some(numbers.iter().sum()),
                    Function::Avg => Some(numbers.iter().sum::<f64>() / numbers.len() as f64),
                    Function::Min => numbers.iter().copied().reduce(f64::min),
                    Function::Max => numbers.iter().copied().reduce(f64::max),
                };
                (value, comparison, threshold)
            }
            _ => unreachable!(),
        };
        value.filter(|value| match comparison {
            Comparison::Gte => value >= threshold,
            Comparison::Lte => value <= threshold,
            Comparison::Eq => value == threshold,
        })
    }

    fn window_found(&self, group: &str, events: &[Past], value: f64, now: u64) -> Found {
        let (TemporalKind::Count { event, .. } | TemporalKind::Aggregate { event, .. }) = &self.pattern.kind
        else {
            unreachable!()
        };
        let names = events.iter().enumerate();
        let names = names.map(|(i, _)| event.alias.clone().filter(|_| i + 1 == events.len())).collect();
        let started = events.first().map_or(now, |first| first.at);
        Found { value: Some(value), ..self.found(group, events, names, started, now) }
    }

    fn found(
        &self,
        group: &str,
        events: &[Past],
        names: Vec<Option<Arc<str>>>,
        started_at: u64,
        fired_at: u64,
    ) -> Found {
        let variables = names
            .into_iter()
            .zip(events)
            .filter_map(|(name, past)| Some((name?.to_string(), Value::Object(past.data().clone()))));
        Found {
            rule: self.name.clone(),
            group: self.pattern.group_by.is_some().then(|| group.into()),
            events: events.iter().map(|past| past.event.as_ref().unwrap().id.to_string()).collect(),
            data: events.iter().map(|past| Value::Object(past.data().clone())).collect(),
            value: None,
            started_at,
            fired_at,
            variables: variables.collect(),
            correlation: events
                .last()
                .and_then(|past| past.event.as_ref()?.correlation_id.as_deref().map(Into::into)),
            absence: false,
        }
    }
}

/// What becomes of a sequence that begins with an event, and the events that make it up.
fn fate(past: &[Past], start: usize, steps: &[EventMatcher], within: u64, strict: bool) -> (Fate, Vec<Past>) {
    let mut events = vec![past[start].clone()];
    for (index, one) in past.iter().enumerate().skip(start + 1) {
        if one.at > past[start].at + within {
            return (Fate::Ended(index), events);
        }
        if meant(&steps[events.len()], one.event.as_ref().unwrap()) {
            events.push(one.clone());
            if events.len() == steps.len() {
                return (Fate::Completed(index), events);
            }
        } else if strict {
            return (Fate::Ended(index), events);
        }
    }
    (Fate::Open, events)
}

fn meant(matcher: &EventMatcher, event: &Event) -> bool {
    topic(matcher, event)
        && matcher.filter.iter().all(|(path, wanted)| event.data.get(&*path.to_string()) == Some(wanted))
}

fn topic(matcher: &EventMatcher, event: &Event) -> bool {
    let pattern = matcher.topic.as_str();
    if event.source == Source::Store && !pattern.starts_with("bucket.") {
        return false;
    }
    if pattern == "*" {
        return true;
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let topic: Vec<&str> = event.topic.split('.').collect();
    let fits = |(wanted, given): (&&str, &&str)| {
        wanted == given
            || wanted.split_once('*').is_some_and(|(a, b)| given.starts_with(a) && given.ends_with(b))
    };
    if pattern.last() == Some(&"*") {
        topic.len() >= pattern.len() && pattern[..pattern.len() - 1].iter().zip(&topic).all(fits)
    } else {
        topic.len() == pattern.len() && pattern.iter().zip(&topic).all(fits)
    }
}
