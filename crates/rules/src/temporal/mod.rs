//! Patterns over several events: sequences, absences, counts and aggregates, each for itself in every group.
//!
//! An event reaches the patterns that can match its topic, and in each the one group that it belongs to. What it changes there is
//! small: an event of a window is one entry more, and one less for each that has left. Deadlines are compared when an event comes, so
//! it makes no difference whether somebody looked in time: what was over is over. What happens although nothing comes (a wait is
//! over, a window has ended) is told by [`Temporal::next_deadline`] and done by [`Temporal::due`].
//!
//! State is pure data. Entries name moments and groups only, so an engine that was loaded from them goes on as the one that wrote
//! them, to the letter. An open group of a sequence or absence takes about 1 KB, most of it its event.

mod compiled;
mod counting;
mod entry;
mod found;
mod routes;
mod sequence;
mod state;
mod sum;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use found::Match;
pub(crate) use routes::topic_matches;

use self::entry::parse_key;
use self::routes::Routes;
use self::state::{Group, Out, State};
use crate::fault::RuleFault;
use crate::limits::{MAX_FORGOTTEN_AT_ONCE, MAX_PATTERN_BYTES};
use crate::rule::{TemporalKind, TemporalPattern};
use crate::{Change, Event, Limits};

/// What came of a deadline.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Due {
    /// A pattern is complete.
    Match(Box<Match>),
    /// Something was done that no rule hears of, or forgotten because its time is over. There may be more that is due.
    Quiet,
}

/// A pattern has forgotten something, because it would have held too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// How many groups it has forgotten.
    pub groups: u64,
    /// How many events of a group, or sequences that have begun.
    pub events: u64,
}

/// The temporal patterns of an engine, and how far each has come in each group.
#[derive(Debug)]
pub struct Temporal {
    groups_per_pattern: usize,
    events_per_group: usize,
    /// Never earlier than an event before.
    clock: u64,
    states: Vec<Option<State>>,
    free: Vec<usize>,
    by_rule: HashMap<Arc<str>, usize>,
    routes: Routes,
    /// When each state has something to do next, by time and the order of the rules.
    ends: BTreeSet<(u64, u64, usize)>,
    changes: BTreeMap<Arc<str>, Option<Arc<str>>>,
    truncated: BTreeMap<Arc<str>, Truncated>,
    /// What the last event took.
    steps: u64,
    /// Bytes that the event may still write into open sequences.
    room: usize,
    found: Vec<Match>,
    /// Kept for its memory.
    reached: Vec<usize>,
}

impl Temporal {
    /// No patterns.
    pub fn new(limits: &Limits) -> Self {
        Self {
            groups_per_pattern: limits.groups_per_pattern,
            events_per_group: limits.events_per_group,
            clock: 0,
            states: Vec::new(),
            free: Vec::new(),
            by_rule: HashMap::new(),
            routes: Routes::default(),
            ends: BTreeSet::new(),
            changes: BTreeMap::new(),
            truncated: BTreeMap::new(),
            steps: 0,
            room: MAX_PATTERN_BYTES,
            found: Vec::new(),
            reached: Vec::new(),
        }
    }

    /// Adds the pattern of a rule, or replaces it; what is known of its groups stays. `order`: rules with a lower one are found
    /// first. Changes nothing that is written down: also for rules that are loaded.
    pub fn add(&mut self, rule: &Arc<str>, order: u64, pattern: &Arc<TemporalPattern>) {
        self.suspend(rule);
        let slot = self.slot(rule);
        self.routes.add(slot, pattern.topics(), pattern.is_strict());
        self.change(slot, |state, _| {
            state.order = order;
            state.pattern = Some(Arc::clone(pattern));
        });
    }

    /// Takes the pattern of a rule away and keeps what is known of its groups: for a rule that is loaded as gone or not enabled.
    pub fn suspend(&mut self, rule: &str) {
        let Some(slot) = self.by_rule.get(rule).copied() else { return };
        let pattern = self.change(slot, |state, _| state.pattern.take());
        if let Some(pattern) = pattern.flatten() {
            self.routes.remove(slot, pattern.topics());
        }
        self.drop_if_empty(slot);
    }

    /// Forgets the pattern of a rule and all that is known of its groups: the rule is gone, not enabled any more, or has another
    /// pattern.
    pub fn remove(&mut self, rule: &str) {
        if let Some(slot) = self.by_rule.get(rule).copied() {
            self.change(slot, |state, out| {
                let groups: Vec<_> = state.groups.keys().cloned().collect();
                for group in groups {
                    state.forget(&group, out);
                }
            });
        }
        self.suspend(rule);
    }

    /// An event has happened. What it makes complete is put behind `found`: rules by their order, and of one rule what began
    /// first. Only patterns are touched that can match its topic. The change of a record is an event of the source `store`.
    pub fn event(&mut self, event: &Arc<Event>, now: u64, found: &mut Vec<Match>) {
        let now = now.max(self.clock);
        self.clock = now;
        self.room = MAX_PATTERN_BYTES;
        let mut reached = std::mem::take(&mut self.reached);
        self.routes.find(event, &mut reached);
        reached.sort_unstable_by_key(|slot| {
            let state = self.states.get(*slot).and_then(Option::as_ref);
            (state.map(|state| state.order), *slot)
        });
        reached.dedup();
        self.steps = reached.len() as u64;
        for slot in reached.drain(..) {
            self.change(slot, |state, out| state.event(event, now, out));
        }
        self.reached = reached;
        found.append(&mut self.found);
    }

    /// When [`due`](Self::due) has something to do next, Unix milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.ends.first().map(|(at, _, _)| *at)
    }

    /// Does what is due by now, up to the first match, the earliest first: of several that are due at the same time that of the rule
    /// with the lower order, and of one rule that of the group whose key comes first. None if nothing is due.
    pub fn due(&mut self, now: u64) -> Option<Due> {
        let now = now.max(self.clock);
        self.clock = now;
        let mut done = None;
        for _ in 0..MAX_FORGOTTEN_AT_ONCE {
            let Some(slot) = self.ends.first().filter(|(at, _, _)| *at <= now).map(|(_, _, slot)| *slot)
            else {
                break;
            };
            self.change(slot, |state, out| state.due(now, out));
            if let Some(found) = self.found.pop() {
                return Some(Due::Match(Box::new(found)));
            }
            done = Some(Due::Quiet);
        }
        done
    }

    /// What has changed since this was asked the last time.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changes = std::mem::take(&mut self.changes);
        changes.into_iter().map(|(key, value)| Change::Entry { key, value }).collect()
    }

    /// What was forgotten since this was asked the last time, one for each rule.
    pub fn take_truncated(&mut self) -> Vec<Truncated> {
        std::mem::take(&mut self.truncated).into_values().collect()
    }

    /// How many steps of an input the last event took.
    pub fn take_steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    /// Takes over what [`take_changes`](Self::take_changes) gave: an entry whose key begins with
    /// [`prefix::PATTERN`](crate::change::prefix::PATTERN). In any order, also before its rule is added.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn load(&mut self, key: &str, value: Option<&str>) -> Result<(), RuleFault> {
        let (rule, group, part) =
            parse_key(key).ok_or_else(|| RuleFault::unreadable(key, "its key has another form"))?;
        let entry = value.map(serde_json::from_str).transpose();
        let entry = entry.map_err(|fault| RuleFault::unreadable(key, &fault.to_string()))?;
        if entry.is_none() && !self.by_rule.contains_key(rule.as_str()) {
            return Ok(());
        }
        let slot = self.slot(&rule.into());
        self.change(slot, |state, _| state.load(&group, part, entry));
        self.drop_if_empty(slot);
        Ok(())
    }

    /// How many groups of a rule's pattern are open.
    pub fn open_groups(&self, rule: &str) -> usize {
        let slot = self.by_rule.get(rule).and_then(|slot| self.states.get(*slot));
        slot.and_then(Option::as_ref).map_or(0, |state| state.groups.len())
    }

    /// How many patterns there are, and how many groups of all of them are open.
    pub fn sizes(&self) -> (usize, usize) {
        let states = self.states.iter().flatten();
        let patterns = states.clone().filter(|state| state.pattern.is_some()).count();
        (patterns, states.map(|state| state.groups.len()).sum())
    }

    /// The place of a rule's state; made if there is none.
    fn slot(&mut self, rule: &Arc<str>) -> usize {
        if let Some(slot) = self.by_rule.get(rule) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.states.push(None);
            self.states.len() - 1
        });
        self.states[slot] = Some(State::new(rule));
        self.by_rule.insert(Arc::clone(rule), slot);
        slot
    }

    fn drop_if_empty(&mut self, slot: usize) {
        let unused = |state: &mut State| state.pattern.is_none() && state.groups.is_empty();
        if let Some(state) = self.states.get_mut(slot).and_then(|state| state.take_if(unused)) {
            self.by_rule.remove(&state.rule);
            self.free.push(slot);
        }
    }

    /// Changes a state, and notes when it has something to do next.
    fn change<T>(&mut self, slot: usize, change: impl FnOnce(&mut State, &mut Out<'_>) -> T) -> Option<T> {
        let state = self.states.get_mut(slot)?.as_mut()?;
        let mut out = Out {
            changes: &mut self.changes,
            truncated: &mut self.truncated,
            steps: &mut self.steps,
            room: &mut self.room,
            found: &mut self.found,
            groups_per_pattern: self.groups_per_pattern,
            events_per_group: self.events_per_group,
        };
        let before = state.next_end().map(|at| (at, state.order, slot));
        let result = change(state, &mut out);
        let after = state.next_end().map(|at| (at, state.order, slot));
        if before != after {
            if let Some(before) = before {
                self.ends.remove(&before);
            }
            self.ends.extend(after);
        }
        Some(result)
    }
}

impl State {
    fn event(&mut self, event: &Arc<Event>, now: u64, out: &mut Out<'_>) {
        let Some(pattern) = self.pattern.clone() else { return };
        let Some(group) = pattern.group_of(event) else { return };
        match &pattern.kind {
            TemporalKind::Sequence { within, .. } => {
                self.sequence(&pattern, *within, &group, event, now, out);
            }
            TemporalKind::Absence { after, expected, within } => {
                self.absence(&pattern, (after, expected, *within), &group, event, now, out);
            }
            TemporalKind::Count { .. } | TemporalKind::Aggregate { .. } => {
                if let Some(window) = pattern.window() {
                    self.counted(&pattern, window, &group, event, now, out);
                }
            }
        }
    }

    /// Does what the first group is there for, now that its time has come.
    fn due(&mut self, now: u64, out: &mut Out<'_>) {
        let Some(pattern) = self.pattern.clone() else { return };
        let Some(name) = self.next_group().cloned() else { return };
        match (self.groups.get(&name), pattern.window()) {
            (Some(Group::Sequence(_)), None) => self.expire_group(&name, now, out),
            (Some(Group::Absence(_)), None) => self.complete_absence(&pattern, &name, now, out),
            (Some(Group::Window(events)), Some(window)) if !events.sliding && !window.sliding => {
                self.close(&pattern, window, &name, now, out);
            }
            // All events have left the window; or it is of another pattern that the rule had.
            _ => self.forget(&name, out),
        }
    }
}
