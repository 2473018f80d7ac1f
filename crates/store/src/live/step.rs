//! From one state to a later one: which views that concerns, and what it does to them.

use std::collections::BTreeSet;

use super::ViewId;
use super::history::{Changes, History, RowChange};
use super::view::{Kept, keys_of};
use super::views::Views;
use crate::value::Constant;
use crate::{Commit, Snapshot, StoreError};

/// What a step has done.
#[derive(Debug, Default)]
pub struct Step {
    /// Views whose result is another one now.
    pub changed: Vec<ViewId>,
    /// Views that must be made anew: [`Views::prepare`], then [`Views::renew`].
    pub stale: Vec<ViewId>,
    /// Views that can have no result any more, and why. They are closed.
    pub ended: Vec<(ViewId, StoreError)>,
    /// How many views were told of changes.
    pub evaluated: usize,
}

impl Views {
    /// Takes the views to the state `next`, which these commits lead to. If they do not follow the state that the views
    /// show, all views have to be made anew.
    pub fn advance<'c, I>(&mut self, commits: I, next: Snapshot) -> Step
    where
        I: IntoIterator<Item = &'c Commit>,
        I::IntoIter: Clone,
    {
        let commits = commits.into_iter();
        let mut expected = self.snapshot.position();
        let follows = commits.clone().all(|commit| {
            expected += 1;
            commit.position == expected
        });
        if !follows || expected != next.position() || *next.epoch() != *self.snapshot.epoch() {
            return self.restart(next);
        }
        self.shown = self.snapshot.position();
        let changes = self.history.note(&self.snapshot, commits);
        let mut step = Step::default();
        self.redefined(&changes, &next, &mut step);
        self.snapshot = next;
        self.steps += 1;
        let mut touched = Vec::new();
        for change in &changes.rows {
            self.changed_row(change, &mut touched, &mut step);
        }
        step.evaluated = touched.len();
        for id in touched {
            self.settle(id, &mut step);
        }
        step
    }

    /// Takes the views to a state of which nobody knows how it came to be.
    pub fn restart(&mut self, next: Snapshot) -> Step {
        self.shown = self.snapshot.position();
        let mut step = Step::default();
        let ids: Vec<ViewId> = self.all.keys().copied().collect();
        for id in ids {
            self.remember(id);
            self.mark_stale(id, &mut step);
        }
        self.history = History::new(self.limits.history, next.position());
        self.snapshot = next;
        step.stale.sort_unstable();
        step
    }

    /// Buckets were defined, updated, cleared or dropped.
    pub(super) fn redefined(&mut self, changes: &Changes, next: &Snapshot, step: &mut Step) {
        let mut concerned = BTreeSet::new();
        for (_, name) in &changes.buckets {
            concerned.extend(self.dependents.get(name).into_iter().flatten().copied());
        }
        for id in concerned {
            let lost = self.all.get(&id).and_then(|view| view.lost(next));
            if let Some(error) = lost {
                self.close(id);
                step.ended.push((id, error));
            } else {
                self.remember(id);
                self.mark_stale(id, step);
            }
        }
    }

    /// Has the result at hand, so that it can be seen afterwards whether it is another one.
    fn remember(&mut self, id: ViewId) {
        if let Some(view) = self.all.get_mut(&id).filter(|view| !view.stale) {
            // One that cannot be written is not the same as any other.
            let _ = view.encode(&self.snapshot);
        }
    }

    /// A view will be made anew; until then it is not told of changes.
    fn mark_stale(&mut self, id: ViewId, step: &mut Step) {
        let position = self.shown;
        if let Some(view) = self.all.get_mut(&id).filter(|view| !view.stale) {
            (view.stale, view.made_at) = (true, position);
            self.unfile(id);
            step.stale.push(id);
        }
    }

    /// Tells the views that a changed row can concern.
    fn changed_row(&mut self, change: &RowChange, touched: &mut Vec<ViewId>, step: &mut Step) {
        let Some(watched) = self.buckets.get(&change.bucket) else { return };
        let mut candidates = Vec::new();
        for record in change.before.iter().chain(&change.after) {
            watched.matching.candidates(record, &mut candidates);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let mut rerun: Vec<ViewId> = Vec::new();
        let mut looking: Vec<(ViewId, Constant)> = Vec::new();
        if !watched.readers.is_empty() {
            rerun.extend(watched.readers.whole().chain(watched.readers.of_row(change.row)));
            let keys = if watched.readers.want_keys() { keys_of(change, &self.snapshot) } else { Vec::new() };
            for key in keys {
                looking.extend(watched.readers.of_key(&key).map(|view| (view, key.clone())));
            }
        }
        for id in candidates {
            let Some(view) = self.all.get_mut(&id) else { continue };
            view.begin(self.steps);
            let Kept::Maintained(maintained) = &mut view.kept else { continue };
            if maintained.change(change, &mut view.delta) {
                view.touch(id, touched);
            }
        }
        for (id, key) in looking {
            let Some(view) = self.all.get_mut(&id) else { continue };
            view.begin(self.steps);
            match &mut view.kept {
                Kept::Maintained(maintained) => {
                    if maintained.included(change, &key, &self.snapshot, &mut view.delta) {
                        view.touch(id, touched);
                    }
                }
                Kept::Run { .. } => rerun.push(id),
            }
        }
        for id in rerun {
            self.mark_stale(id, step);
        }
    }

    /// Closes a step for a view that was concerned.
    pub(super) fn settle(&mut self, id: ViewId, step: &mut Step) {
        let Some(view) = self.all.get_mut(&id) else { return };
        view.touched = false;
        if view.stale {
            return;
        }
        let Kept::Maintained(maintained) = &mut view.kept else { return };
        maintained.settle(&self.snapshot, &mut view.delta);
        let interests = maintained.interests();
        let short = maintained.is_short();
        // Different records may look alike where only some of their members are shown.
        let before = view.encoded.as_ref().filter(|_| maintained.shows_parts()).cloned();
        if !short && !view.delta.is_empty() {
            view.encoded = None;
            // One that cannot be written is told as another one, and fails then.
            let same = before.is_some_and(|before| view.encode(&self.snapshot).ok() == Some(before));
            if !same {
                view.changed_at = self.snapshot.position();
                step.changed.push(id);
            }
        }
        for interest in interests {
            if interest.wanted {
                self.buckets.entry(interest.bucket).or_default().readers.read_key(interest.key, id);
            } else if let Some(watched) = self.buckets.get_mut(&interest.bucket) {
                watched.readers.forget_key(&interest.key, id);
                self.drop_if_unwatched(interest.bucket);
            }
        }
        if short {
            self.mark_stale(id, step);
        }
        self.weigh(id);
    }
}
