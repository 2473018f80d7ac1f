//! How far the pattern of one rule has come in each of its groups.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::Truncated;
use super::entry::{self, Entry, Part, Stamp};
use super::found::Match;
use super::window::{Item, Window};
use crate::Event;
use crate::condition::steps::TEXT;
use crate::limits::PATTERN_STEPS;
use crate::rule::TemporalPattern;

/// One group of a pattern.
#[derive(Debug)]
pub(super) enum Group {
    /// Sequences that have begun, in the order in which they did. One that began earlier has never come less far: where several
    /// wait for the same event, it moves all of them.
    Sequence(VecDeque<Begun>),
    /// A wait for what must not come; one at most.
    Absence(VecDeque<Begun>),
    /// The window of a count or an aggregate.
    Window(Box<Window>),
}

/// A sequence or absence that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) stamp: Stamp,
    /// The last millisecond at which it can go on.
    pub(super) until: u64,
    pub(super) events: Vec<Arc<Event>>,
}

/// A pattern and its groups.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rule: Arc<str>,
    pub(super) order: u64,
    /// None as long as only its entries are loaded.
    pub(super) pattern: Option<Arc<TemporalPattern>>,
    pub(super) groups: HashMap<Arc<str>, Group>,
    /// When each group has something to do next.
    ends: BTreeSet<(u64, Arc<str>)>,
    prefix: String,
}

/// What comes out of patterns, and how much they may hold.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub(super) changes: &'a mut BTreeMap<Arc<str>, Option<Arc<str>>>,
    pub(super) truncated: &'a mut BTreeMap<Arc<str>, Truncated>,
    pub(super) steps: &'a mut u64,
    /// Bytes that the event may still write into open sequences.
    pub(super) room: &'a mut usize,
    pub(super) found: &'a mut Vec<Match>,
    pub(super) groups_per_pattern: usize,
    pub(super) events_per_group: usize,
}

impl Group {
    /// When something is to be done, though nothing happens.
    fn end(&self) -> Option<u64> {
        match self {
            Self::Sequence(begun) => begun.front().map(|first| first.until.saturating_add(1)),
            Self::Absence(begun) => begun.front().map(|first| first.until),
            Self::Window(window) if window.sliding => {
                window.items.back().map(|last| last.until.saturating_add(1))
            }
            Self::Window(window) => Some(window.until),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Sequence(begun) | Self::Absence(begun) => begun.is_empty(),
            Self::Window(window) => window.items.is_empty() && !window.fired && window.empty == 0,
        }
    }

    fn parts(&self) -> Vec<Part> {
        match self {
            Self::Sequence(begun) | Self::Absence(begun) => {
                begun.iter().map(|begun| Part::Item(begun.stamp)).collect()
            }
            Self::Window(window) => {
                let header = window.fired || window.empty > 0;
                let items = window.items.iter().map(|item| Part::Item(item.stamp));
                items.chain(header.then_some(Part::Header)).collect()
            }
        }
    }
}

impl State {
    pub(super) fn new(rule: &Arc<str>) -> Self {
        Self {
            rule: Arc::clone(rule),
            order: 0,
            pattern: None,
            groups: HashMap::new(),
            ends: BTreeSet::new(),
            prefix: entry::rule_prefix(rule),
        }
    }

    /// When the first group has something to do; none without a pattern.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.pattern.as_ref()?;
        self.ends.first().map(|(at, _)| *at)
    }

    /// The first group that has something to do.
    pub(super) fn next_group(&self) -> Option<&Arc<str>> {
        self.ends.first().map(|(_, group)| group)
    }

    /// Takes a group out to change it.
    pub(super) fn take(&mut self, name: &str) -> Option<(Arc<str>, Group)> {
        let (name, group) = self.groups.remove_entry(name)?;
        match group.end() {
            // Few sets are as cheap to search as to take apart and put together again.
            Some(end) => {
                let key = (end, name);
                self.ends.remove(&key);
                Some((key.1, group))
            }
            None => Some((name, group)),
        }
    }

    /// Puts a group back, if there is anything in it.
    pub(super) fn put(&mut self, name: Arc<str>, group: Group) {
        if group.is_empty() {
            return;
        }
        if let Some(end) = group.end() {
            self.ends.insert((end, Arc::clone(&name)));
        }
        self.groups.insert(name, group);
    }

    /// Makes room for one more group: the one whose time is over first is forgotten.
    pub(super) fn make_room(&mut self, out: &mut Out<'_>) {
        while self.groups.len() >= out.groups_per_pattern.max(1) {
            let Some(oldest) = self.next_group().cloned() else { break };
            self.forget(&oldest, out);
            out.truncated(&self.rule).groups += 1;
        }
    }

    pub(super) fn forget(&mut self, name: &str, out: &mut Out<'_>) {
        if let Some((name, group)) = self.take(name) {
            for part in group.parts() {
                self.erase(&name, part, out);
            }
        }
    }

    /// Writes that there is an entry; gives how many bytes it has.
    pub(super) fn write(&self, group: &str, part: Part, entry: &Entry, out: &mut Out<'_>) -> usize {
        // What is made of texts, numbers and events can be written.
        let value = serde_json::to_string(entry).ok();
        let bytes = value.as_ref().map_or(0, String::len);
        *out.steps += PATTERN_STEPS + (bytes / TEXT) as u64;
        out.changes.insert(entry::key(&self.prefix, group, part), value.map(Into::into));
        bytes
    }

    /// Writes that there is an entry no more.
    pub(super) fn erase(&self, group: &str, part: Part, out: &mut Out<'_>) {
        *out.steps += PATTERN_STEPS;
        out.changes.insert(entry::key(&self.prefix, group, part), None);
    }

    /// Takes an entry over that is there or not.
    pub(super) fn load(&mut self, group: &str, part: Part, entry: Option<Entry>) {
        let (name, mut state) = match self.take(group) {
            Some((name, state)) => (name, Some(state)),
            None => (group.into(), None),
        };
        match entry {
            None => state.iter_mut().for_each(|state| state.unload(part)),
            Some(entry) => state = Some(loaded(state, part, entry)),
        }
        if let Some(state) = state {
            self.put(name, state);
        }
    }
}

impl Out<'_> {
    pub(super) fn truncated(&mut self, rule: &Arc<str>) -> &mut Truncated {
        let none = || Truncated { rule: Arc::clone(rule), groups: 0, events: 0 };
        self.truncated.entry(Arc::clone(rule)).or_insert_with(none)
    }
}

impl Group {
    fn unload(&mut self, part: Part) {
        match (self, part) {
            (Self::Sequence(begun) | Self::Absence(begun), Part::Item(stamp)) => {
                begun.retain(|begun| begun.stamp != stamp);
            }
            (Self::Window(window), Part::Item(stamp)) => {
                window.items.retain(|item| item.stamp != stamp);
                window.totals = None;
            }
            (Self::Window(window), Part::Header) => {
                window.fired = false;
                window.empty = 0;
            }
            (_, Part::Header) => {}
        }
    }
}

/// A group with one more entry. An entry of another kind than the group's begins it anew: its rule had another pattern.
fn loaded(group: Option<Group>, part: Part, entry: Entry) -> Group {
    let stamp = match part {
        Part::Item(stamp) => stamp,
        Part::Header => Stamp { at: 0, nth: 0 },
    };
    match entry {
        Entry::Sequence { until, events } => {
            let mut all = match group {
                Some(Group::Sequence(all)) => all,
                _ => VecDeque::with_capacity(1),
            };
            insert(&mut all, Begun { stamp, until, events }, |begun| begun.stamp);
            Group::Sequence(all)
        }
        Entry::Absence { until, event } => {
            Group::Absence([Begun { stamp, until, events: vec![event] }].into())
        }
        Entry::Event { until, sliding, value, event } => {
            let mut window = window_of(group, sliding);
            window.until = until;
            window.totals = None;
            insert(&mut window.items, Item { stamp, until, value, event }, |item| item.stamp);
            Group::Window(Box::new(window))
        }
        Entry::Fired => {
            let mut window = window_of(group, true);
            window.fired = true;
            Group::Window(Box::new(window))
        }
        Entry::Empty { until, nth } => {
            let mut window = window_of(group, false);
            (window.until, window.empty) = (until, nth);
            Group::Window(Box::new(window))
        }
    }
}

fn window_of(group: Option<Group>, sliding: bool) -> Window {
    match group {
        Some(Group::Window(window)) if window.sliding == sliding => *window,
        _ => Window::new(sliding),
    }
}

/// Puts something where it belongs by its stamp, in the place of what has the same one.
fn insert<T>(all: &mut VecDeque<T>, one: T, stamp: impl Fn(&T) -> Stamp) {
    match all.binary_search_by_key(&stamp(&one), stamp) {
        Ok(index) => all[index] = one,
        Err(index) => all.insert(index, one),
    }
}
