//! Counts and aggregates: what comes into a window and leaves it, and when that is a match.

use std::collections::VecDeque;
use std::sync::Arc;

use super::compiled::{matches, number_at, variables};
use super::entry::{Entry, Part, Stamp};
use super::found::Match;
use super::state::{Group, Out, State};
use super::window::{Item, Window as Events};
use crate::Event;
use crate::limits::{MAX_EMPTY_WINDOWS, MAX_SHOWN_EVENTS, MAX_VALUE_BYTES};
use crate::rule::{TemporalKind, TemporalPattern, Window};

impl TemporalPattern {
    /// The window of a count or an aggregate.
    pub(super) fn window(&self) -> Option<Window> {
        match &self.kind {
            TemporalKind::Count { window, .. } | TemporalKind::Aggregate { window, .. } => {
                Some(Window { length: window.length.max(1), ..*window })
            }
            _ => None,
        }
    }
}

impl State {
    /// An event for a count or an aggregate.
    pub(super) fn counted(
        &mut self,
        pattern: &TemporalPattern,
        window: Window,
        group: &str,
        event: &Arc<Event>,
        now: u64,
        out: &mut Out<'_>,
    ) {
        if !pattern.own_matchers().iter().all(|matcher| matches(matcher, event)) {
            return;
        }
        // A window that has ended is closed first, and perhaps an empty one behind it.
        while !window.sliding && self.ended(group, now) {
            self.close(pattern, window, group, now, out);
        }
        let (name, mut events) = match self.take(group) {
            Some((name, Group::Window(events))) if events.sliding == window.sliding => (name, events),
            other => {
                if let Some((name, other)) = other {
                    // Of another pattern that the rule had.
                    self.put(name, other);
                    self.forget(group, out);
                }
                self.make_room(out);
                (group.into(), Box::new(Events::new(window.sliding)))
            }
        };
        let had_fired = events.fired;
        if window.sliding {
            self.slide(pattern, &name, &mut events, now, out);
            events.until = now.saturating_add(window.length);
        } else {
            if events.empty > 0 {
                events.empty = 0;
                self.erase(&name, Part::Header, out);
            }
            events.until = (now - now % window.length).saturating_add(window.length);
        }
        self.put_event(pattern, &name, &mut events, event, now, out);
        if window.sliding {
            let holds = events.holds(&pattern.kind);
            if let Some(value) = holds.filter(|_| !(pattern.once && events.fired)) {
                out.found.push(self.of_window(pattern, &name, &events, value, now));
            }
            events.fired = pattern.once && holds.is_some();
            match (had_fired, events.fired) {
                (false, true) => {
                    self.write(&name, Part::Header, &Entry::Fired, out);
                }
                (true, false) => self.erase(&name, Part::Header, out),
                _ => {}
            }
        }
        self.put(name, Group::Window(events));
    }

    /// Adds an event; the oldest is forgotten if there are too many.
    fn put_event(
        &self,
        pattern: &TemporalPattern,
        group: &str,
        events: &mut Events,
        event: &Arc<Event>,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let value = match &pattern.kind {
            TemporalKind::Aggregate { field, .. } => number_at(event, field),
            _ => None,
        };
        let stamp = Stamp::after(events.items.back().map(|last| last.stamp), now);
        if events.items.len() >= out.events_per_group.max(1)
            && let Some(oldest) = events.pop()
        {
            self.erase(group, Part::Item(oldest.stamp), out);
            out.truncated(&self.rule).events += 1;
        }
        let (until, sliding) = (events.until, events.sliding);
        let entry = Entry::Event { until, sliding, value, event: Arc::clone(event) };
        self.write(group, Part::Item(stamp), &entry, out);
        events.push(Item { stamp, until, value, event: Arc::clone(event) });
    }

    /// Takes the events out that have left the window. One that fires once may fire again if its comparison did not hold at any
    /// moment between two of them.
    fn slide(
        &self,
        pattern: &TemporalPattern,
        group: &str,
        events: &mut Events,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let over = |item: &Item| item.until < now;
        while let Some(first) = events.items.front().filter(|first| over(first)) {
            let moment = first.until;
            while events.items.front().is_some_and(|item| item.until == moment) {
                if let Some(item) = events.pop() {
                    self.erase(group, Part::Item(item.stamp), out);
                }
            }
            if events.fired && (events.items.is_empty() || events.holds(&pattern.kind).is_none()) {
                events.fired = false;
            }
        }
    }

    fn ended(&self, group: &str, now: u64) -> bool {
        matches!(self.groups.get(group), Some(Group::Window(events)) if !events.sliding && events.until <= now)
    }

    /// Ends a window that does not slide, and begins the next one if empty ones count.
    pub(super) fn close(
        &mut self,
        pattern: &TemporalPattern,
        window: Window,
        group: &str,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let Some((name, Group::Window(mut events))) = self.take(group) else { return };
        if let Some(value) = events.holds(&pattern.kind) {
            let started_at = events.until.saturating_sub(window.length);
            out.found.push(Match { started_at, ..self.of_window(pattern, &name, &events, value, now) });
        }
        while let Some(item) = events.pop() {
            self.erase(&name, Part::Item(item.stamp), out);
        }
        let had_header = events.empty > 0;
        if window.empty_windows && events.empty < MAX_EMPTY_WINDOWS {
            // Of the windows that have ended meanwhile the last one stands for all.
            let current = now - now % window.length;
            let next = events.until.saturating_add(window.length);
            let end = next.max(current);
            let passed = end.saturating_sub(next) / window.length;
            let nth = u64::from(events.empty).saturating_add(1).saturating_add(passed);
            events.empty = u32::try_from(nth).unwrap_or(u32::MAX).min(MAX_EMPTY_WINDOWS);
            events.until = end;
            self.write(&name, Part::Header, &Entry::Empty { until: end, nth: events.empty }, out);
        } else {
            events.empty = 0;
            if had_header {
                self.erase(&name, Part::Header, out);
            }
        }
        self.put(name, Group::Window(events));
    }

    fn of_window(
        &self,
        pattern: &TemporalPattern,
        group: &Arc<str>,
        events: &Events,
        value: f64,
        now: u64,
    ) -> Match {
        let last = events.items.back().map(|last| &last.event);
        Match {
            rule: Arc::clone(&self.rule),
            group: pattern.group_by.is_some().then(|| Arc::clone(group)),
            events: shown(&events.items),
            count: events.items.len() as u64,
            value: Some(value),
            started_at: events.items.front().map_or(now, |first| first.stamp.at),
            fired_at: now,
            after: None,
            variables: variables(pattern.own_matchers().iter().zip(last)),
            correlation_id: last.and_then(|last| last.correlation_id.clone()),
            causation_id: last.map(|last| Arc::clone(&last.id)),
        }
    }
}

/// The newest events, as many of them as a rule gets to see: one at least, if there is one.
fn shown(items: &VecDeque<Item>) -> Vec<Arc<Event>> {
    let mut room = MAX_VALUE_BYTES;
    let fit = items.iter().rev().take(MAX_SHOWN_EVENTS).take_while(|item| {
        let left = room.checked_sub(item.event.bytes());
        room = left.unwrap_or(0);
        left.is_some()
    });
    let first = items.len() - fit.count().max(1).min(items.len());
    items.range(first..).map(|item| Arc::clone(&item.event)).collect()
}
