//! Sequences and absences: what has begun, goes on, and comes to its end or not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::compiled::{matches, variables};
use super::entry::{Entry, Part, Stamp};
use super::found::Match;
use super::routes::topic_matches;
use super::state::{Begun, Group, Out, State};
use crate::Event;
use crate::event::Source;
use crate::rule::{EventMatcher, TemporalPattern};

impl State {
    /// An event for a sequence. What is over time is forgotten first; then the event moves what waits for it, the oldest first; then
    /// it may begin a sequence itself.
    pub(super) fn sequence(
        &mut self,
        pattern: &TemporalPattern,
        within: u64,
        group: &str,
        event: &Arc<Event>,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let steps = pattern.own_matchers();
        // Changes of records matter only to who names them, and break nothing else.
        if event.source == Source::Store && !steps.iter().any(|step| topic_matches(&step.topic, event)) {
            return;
        }
        let starts = steps.first().is_some_and(|first| matches(first, event));
        let taken = self.take(group);
        if taken.is_none() && !starts {
            return;
        }
        let (name, mut begun) = match taken {
            Some((name, Group::Sequence(begun))) => (name, begun),
            Some((name, other)) => {
                // Of another pattern that the rule had.
                self.put(name, other);
                self.forget(group, out);
                (group.into(), VecDeque::with_capacity(1))
            }
            None => (group.into(), VecDeque::with_capacity(1)),
        };
        self.expire(&name, &mut begun, now, out);
        self.advance(pattern, &name, &mut begun, event, now, out);
        if starts && (pattern.group_by.is_none() || begun.is_empty()) {
            if begun.len() >= out.events_per_group.max(1)
                && let Some(oldest) = begun.pop_front()
            {
                self.erase(&name, Part::Item(oldest.stamp), out);
                out.truncated(&self.rule).events += 1;
            }
            self.make_room(out);
            let stamp = Stamp::after(begun.back().map(|last| last.stamp), now);
            let one = Begun { stamp, until: now.saturating_add(within), events: vec![Arc::clone(event)] };
            self.write_sequence(&name, &one, out);
            begun.push_back(one);
        }
        self.put(name, Group::Sequence(begun));
    }

    /// Moves the sequences that wait for an event. Those that have come as far stand next to each other, the farthest first.
    fn advance(
        &self,
        pattern: &TemporalPattern,
        group: &Arc<str>,
        begun: &mut VecDeque<Begun>,
        event: &Arc<Event>,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let steps = pattern.own_matchers();
        let mut first = 0;
        while let Some(come) = begun.get(first).map(|begun| begun.events.len()) {
            let end = begun.partition_point(|begun| begun.events.len() >= come);
            let moved = steps.get(come).is_some_and(|next| matches(next, event));
            if moved && come + 1 < steps.len() {
                // The newest first: if there is no room for all, the oldest are forgotten.
                let mut kept = end;
                for one in begun.range_mut(first..end).rev() {
                    if *out.room == 0 {
                        break;
                    }
                    kept -= 1;
                    one.events.push(Arc::clone(event));
                    let bytes = self.write_sequence(group, one, out);
                    *out.room = out.room.saturating_sub(bytes);
                }
                for lost in begun.drain(first..kept) {
                    self.erase(group, Part::Item(lost.stamp), out);
                    out.truncated(&self.rule).events += 1;
                }
                first += end - kept;
            } else if moved || pattern.is_strict() {
                for mut one in begun.drain(first..end) {
                    self.erase(group, Part::Item(one.stamp), out);
                    if moved {
                        one.events.push(Arc::clone(event));
                        out.found.push(self.completed(pattern, group, one.stamp.at, one.events, now));
                    }
                }
            } else {
                first = end;
            }
        }
    }

    /// Forgets the sequences that cannot go on any more. The oldest come first, and all may take as long.
    fn expire(&self, group: &str, begun: &mut VecDeque<Begun>, now: u64, out: &mut Out<'_>) {
        while begun.front().is_some_and(|begun| begun.until < now) {
            if let Some(over) = begun.pop_front() {
                self.erase(group, Part::Item(over.stamp), out);
            }
        }
    }

    /// Forgets the sequences of a group that cannot go on any more.
    pub(super) fn expire_group(&mut self, name: &str, now: u64, out: &mut Out<'_>) {
        if let Some((name, mut group)) = self.take(name) {
            if let Group::Sequence(begun) = &mut group {
                self.expire(&name, begun, now, out);
            }
            self.put(name, group);
        }
    }

    /// An event for an absence: it may end the wait of its group, and begin one. A wait that was over before the event came is a
    /// match, although nobody has looked yet.
    pub(super) fn absence(
        &mut self,
        pattern: &TemporalPattern,
        (after, expected, within): (&EventMatcher, &EventMatcher, u64),
        group: &str,
        event: &Arc<Event>,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let (ends, begins) = (matches(expected, event), matches(after, event));
        if !ends && !begins {
            return;
        }
        let waits = |state: &Self| match state.groups.get(group) {
            Some(Group::Absence(begun)) => begun.front().map(|wait| wait.until),
            _ => None,
        };
        if waits(self).is_some_and(|until| until < now) {
            self.complete_absence(pattern, group, now, out);
        }
        if ends {
            self.forget(group, out);
        }
        if begins && waits(self).is_none() {
            self.forget(group, out);
            self.make_room(out);
            let stamp = Stamp { at: now, nth: 0 };
            let until = now.saturating_add(within);
            let entry = Entry::Absence { until, event: Arc::clone(event) };
            self.write(group, Part::Item(stamp), &entry, out);
            let wait = Begun { stamp, until, events: vec![Arc::clone(event)] };
            self.put(group.into(), Group::Absence([wait].into()));
        }
    }

    /// The wait of a group is over, and nothing came.
    pub(super) fn complete_absence(
        &mut self,
        pattern: &TemporalPattern,
        name: &str,
        now: u64,
        out: &mut Out<'_>,
    ) {
        let Some((name, Group::Absence(begun))) = self.take(name) else { return };
        for wait in begun {
            self.erase(&name, Part::Item(wait.stamp), out);
            let after = wait.events.first().cloned();
            let found = self.completed(pattern, &name, wait.stamp.at, wait.events, now);
            out.found.push(Match { after, ..found });
        }
    }

    fn completed(
        &self,
        pattern: &TemporalPattern,
        group: &Arc<str>,
        started_at: u64,
        events: Vec<Arc<Event>>,
        fired_at: u64,
    ) -> Match {
        let last = events.last();
        Match {
            rule: Arc::clone(&self.rule),
            group: pattern.group_by.is_some().then(|| Arc::clone(group)),
            count: events.len() as u64,
            value: None,
            started_at,
            fired_at,
            after: None,
            variables: variables(pattern.own_matchers().iter().zip(&events)),
            correlation_id: last.and_then(|last| last.correlation_id.clone()),
            causation_id: last.map(|last| Arc::clone(&last.id)),
            events,
        }
    }

    fn write_sequence(&self, group: &str, begun: &Begun, out: &mut Out<'_>) -> usize {
        let entry = Entry::Sequence { until: begun.until, events: begun.events.clone() };
        self.write(group, Part::Item(begun.stamp), &entry, out)
    }
}
