//! All live queries of a store, and the steps that take them along.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::history::{Changes, History, HistoryLimits, RowChange};
use super::matching::{Filed, Matching};
use super::readers::Readers;
use super::view::{Kept, keys_of};
use super::{Delta, LiveQuery, Preparation, Prepared, Replay, ViewId, patch};
use crate::query::Read;
use crate::value::Constant;
use crate::{BucketId, Commit, Snapshot, StoreError};

/// See the [module](super).
#[derive(Debug)]
pub struct Views {
    snapshot: Snapshot,
    history: History,
    limits: ViewLimits,
    views: HashMap<ViewId, View>,
    by_query: HashMap<LiveQuery, ViewId>,
    /// What is watched of each bucket.
    buckets: HashMap<BucketId, Watched>,
    /// Which views depend on what the bucket of a name is.
    dependents: BTreeMap<Arc<str>, BTreeSet<ViewId>>,
    last: u64,
    /// Steps so far, and the position that the views showed before the last of them.
    steps: u64,
    shown: u64,
    /// Position of the first state: what closures gave before, others may have given.
    started_at: u64,
}

/// Bounds of [`Views`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewLimits {
    /// How much of the past is kept for those who come back.
    pub history: HistoryLimits,
    /// Views of one bucket whose filter no index can tell: every write to the bucket tries each of them.
    pub unindexed: usize,
    /// Records that a view with a limit holds beyond those that it shows, at least; and as many as it shows if these are
    /// more. So many may leave before the next are looked for.
    pub reserve: usize,
}

#[derive(Debug, Default)]
struct Watched {
    matching: Matching,
    readers: Readers,
}

#[derive(Debug)]
struct View {
    query: LiveQuery,
    kept: Kept,
    /// How it is found; nothing is while it waits to be made anew.
    filed: Option<Filed>,
    /// The names of the buckets that it depends on.
    buckets: Vec<Arc<str>>,
    /// What the last step that concerned it has done.
    delta: Delta,
    /// The result as JSON text, once somebody has asked for it.
    encoded: Option<Option<Arc<str>>>,
    /// Position of the step that changed the result last, or at which the view was made.
    changed_at: u64,
    /// Position of the state that a stale result was worked out from; of all others that is the newest.
    made_at: u64,
    /// It waits to be made anew.
    stale: bool,
    /// The step for which `delta` stands, and whether that has concerned it so far.
    step: u64,
    touched: bool,
    /// Bytes of the result when it was written last.
    length: usize,
    evaluations: u64,
    encodings: u64,
}

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

/// What came of a view that was made beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// It stands among the others now.
    View(ViewId),
    /// Too much has happened since it was begun: make it again.
    Outdated,
}

/// What came of a view that was made anew.
#[derive(Debug, Clone, PartialEq)]
pub enum Renewed {
    /// Its result is another one, the whole of which has to be told.
    Changed,
    /// Its result is the same.
    Same,
    /// Too much has happened since it was begun: make it again.
    Outdated,
    /// It can have no result any more; it is closed.
    Ended(StoreError),
    /// Nobody wants it any more.
    Closed,
}

/// What somebody who has seen an earlier result can be told.
#[derive(Debug)]
pub enum Resume {
    /// Nothing has changed since.
    Unchanged,
    /// What has changed is to be worked out.
    Replay(Box<Replay>),
    /// Nobody knows any more; he must begin anew.
    Lost,
}

/// How a live query is found and kept, and what it has cost so far.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveExplain {
    /// How a changed record finds it.
    pub matching: serde_json::Value,
    /// What is kept of it: `rows` (all that match), `window` (those shown and a reserve), `totals`, `groups`; of a closure
    /// `run` (it is run again when what it has read changes).
    pub maintenance: &'static str,
    /// Records or groups held.
    pub held: usize,
    /// How often it was told of a change, or run.
    pub evaluations: u64,
    /// How often its result or what changed of it was written as JSON.
    pub encodings: u64,
    /// Position at which its result changed last.
    pub position: u64,
}

impl Views {
    /// No views, of a state.
    pub fn new(snapshot: Snapshot, limits: ViewLimits) -> Self {
        Self {
            history: History::new(limits.history, snapshot.position()),
            started_at: snapshot.position(),
            snapshot,
            limits,
            views: HashMap::new(),
            by_query: HashMap::new(),
            buckets: HashMap::new(),
            dependents: BTreeMap::new(),
            last: 0,
            steps: 0,
            shown: 0,
        }
    }

    /// The state that the views show.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Views whose filter no index can tell, of all buckets.
    pub fn unindexed(&self) -> usize {
        self.buckets.values().map(|watched| watched.matching.unindexed()).sum()
    }

    /// Bytes of the past that are kept.
    pub fn history_bytes(&self) -> usize {
        self.history.bytes()
    }

    /// The view of a query, if there is one.
    pub fn find(&self, query: &LiveQuery) -> Option<ViewId> {
        self.by_query.get(query).copied()
    }

    /// Whether a view waits to be made anew.
    pub fn is_stale(&self, view: ViewId) -> bool {
        self.views.get(&view).is_some_and(|view| view.stale)
    }

    /// The work of making a view of a query, on the state that the views show.
    pub fn prepare(&self, query: LiveQuery) -> Preparation {
        Preparation { query, snapshot: self.snapshot.clone(), reserve: self.limits.reserve }
    }

    /// The work of making a view anew.
    pub fn prepare_again(&self, view: ViewId) -> Option<Preparation> {
        self.views.get(&view).map(|view| self.prepare(view.query.clone()))
    }

    /// Takes a view in that was made beside the others, and brings it up to date. If there is one of this query already, that
    /// one is meant.
    ///
    /// # Errors
    /// Why it could not be made; [`StoreError::UnindexedViews`] if no more views without an index are possible.
    pub fn open(&mut self, prepared: Prepared) -> Result<Joined, StoreError> {
        let Prepared { query, position, kept } = prepared;
        if let Some(known) = self.by_query.get(&query) {
            return Ok(Joined::View(*known));
        }
        let mut kept = kept.map_err(|(error, _)| error)?;
        let Some(fresh) = self.bring_up(&mut kept, position) else { return Ok(Joined::Outdated) };
        let id = ViewId(self.last + 1);
        let view = View {
            query: query.clone(),
            kept,
            filed: None,
            buckets: Vec::new(),
            delta: Delta::default(),
            encoded: None,
            changed_at: if fresh { self.snapshot.position() } else { position },
            made_at: position,
            stale: !fresh,
            step: 0,
            touched: false,
            length: 0,
            evaluations: 1,
            encodings: 0,
        };
        self.last = id.0;
        self.views.insert(id, view);
        if let Err(error) = self.file(id) {
            self.close(id);
            return Err(error);
        }
        self.by_query.insert(query, id);
        self.remember_parts(id);
        Ok(Joined::View(id))
    }

    /// A view that shows parts of records always has its result at hand: see [`Views::settle`].
    fn remember_parts(&mut self, id: ViewId) {
        if let Some(view) = self.views.get_mut(&id)
            && matches!(&view.kept, Kept::Maintained(maintained) if maintained.shows_parts())
        {
            let _ = view.encode(&self.snapshot);
        }
    }

    /// Puts a view that was made anew in its place.
    pub fn renew(&mut self, id: ViewId, prepared: Prepared) -> Renewed {
        let Prepared { position, kept, .. } = prepared;
        match self.views.get(&id) {
            None => return Renewed::Closed,
            Some(view) if !view.stale => return Renewed::Same,
            Some(view) if position < view.made_at => return Renewed::Outdated,
            Some(_) => {}
        }
        let mut kept = match kept {
            Ok(kept) => kept,
            Err((error, _)) => {
                self.close(id);
                return Renewed::Ended(error);
            }
        };
        let Some(fresh) = self.bring_up(&mut kept, position) else { return Renewed::Outdated };
        self.unfile(id);
        let result = kept.encode(&self.snapshot);
        let Some(view) = self.views.get_mut(&id) else { return Renewed::Closed };
        view.kept = kept;
        (view.stale, view.made_at) = (!fresh, position);
        view.evaluations += 1;
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                self.close(id);
                return Renewed::Ended(error);
            }
        };
        view.encodings += 1;
        view.length = result.as_ref().map_or(0, |result| result.len());
        // What was told last is still at hand, if the result can be the same: it was written when the view became stale.
        let same = view.encoded.as_ref() == Some(&result);
        view.encoded = Some(result);
        if !same {
            view.delta = Delta::default();
            view.delta.replace_whole();
            view.changed_at = if fresh { self.snapshot.position() } else { position };
        }
        if let Err(error) = self.file(id) {
            self.close(id);
            return Renewed::Ended(error);
        }
        if same { Renewed::Same } else { Renewed::Changed }
    }

    /// Takes what was made on the state at `position` to that of today. `None` if that cannot be done; otherwise whether it
    /// has been: a closure stays what it was, and may have to be run again.
    fn bring_up(&self, kept: &mut Kept, position: u64) -> Option<bool> {
        if position == self.snapshot.position() {
            return Some(true);
        }
        match kept {
            Kept::Maintained(maintained) => {
                let names = maintained.query.buckets(&self.snapshot);
                if !names.iter().all(|name| self.history.reaches(position, name)) {
                    return None;
                }
                let changes = self.history.since(position, &self.snapshot, Some(&self.ids(&names)));
                maintained.catch_up(&changes, &self.snapshot, &mut Delta::default());
                maintained.interests();
                (!maintained.is_short()).then_some(true)
            }
            Kept::Run { reads, .. } => {
                let unchanged = self.history.reaches_all(position) && {
                    let wanted: Vec<BucketId> = reads.ids().collect();
                    let changes = self.history.since(position, &self.snapshot, Some(&wanted));
                    !changes
                        .iter()
                        .any(|change| reads.touched_by_row(change.bucket, change.row, change.after.as_ref()))
                };
                Some(unchanged)
            }
        }
    }

    /// The buckets that have these names today.
    fn ids(&self, names: &[Arc<str>]) -> Vec<BucketId> {
        names.iter().filter_map(|name| self.snapshot.bucket(name).ok().map(crate::Bucket::id)).collect()
    }

    /// Drops a view.
    pub fn close(&mut self, id: ViewId) {
        self.unfile(id);
        self.depend(id, Vec::new());
        if let Some(view) = self.views.remove(&id) {
            self.by_query.remove(&view.query);
        }
    }

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
        let ids: Vec<ViewId> = self.views.keys().copied().collect();
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
    fn redefined(&mut self, changes: &Changes, next: &Snapshot, step: &mut Step) {
        let mut concerned = BTreeSet::new();
        for (_, name) in &changes.buckets {
            concerned.extend(self.dependents.get(name).into_iter().flatten().copied());
        }
        for id in concerned {
            let lost = self.views.get(&id).and_then(|view| view.lost(next));
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
        if let Some(view) = self.views.get_mut(&id).filter(|view| !view.stale) {
            // One that cannot be written is not the same as any other.
            let _ = view.encode(&self.snapshot);
        }
    }

    /// A view will be made anew; until then it is not told of changes.
    fn mark_stale(&mut self, id: ViewId, step: &mut Step) {
        let position = self.shown;
        if let Some(view) = self.views.get_mut(&id).filter(|view| !view.stale) {
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
            let Some(view) = self.views.get_mut(&id) else { continue };
            view.begin(self.steps);
            let Kept::Maintained(maintained) = &mut view.kept else { continue };
            if maintained.change(change, &mut view.delta) {
                view.touch(id, touched);
            }
        }
        for (id, key) in looking {
            let Some(view) = self.views.get_mut(&id) else { continue };
            view.begin(self.steps);
            match &mut view.kept {
                Kept::Maintained(maintained) => {
                    maintained.included(change.bucket, &key, &mut view.delta);
                    view.touch(id, touched);
                }
                Kept::Run { .. } => rerun.push(id),
            }
        }
        for id in rerun {
            self.mark_stale(id, step);
        }
    }

    /// Closes a step for a view that was concerned.
    fn settle(&mut self, id: ViewId, step: &mut Step) {
        let Some(view) = self.views.get_mut(&id) else { return };
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
    }

    /// Enters a view where changes look for it.
    fn file(&mut self, id: ViewId) -> Result<(), StoreError> {
        let Some(view) = self.views.get(&id) else { return Ok(()) };
        let buckets = match &view.kept {
            Kept::Maintained(maintained) => maintained.query.buckets(&self.snapshot),
            Kept::Run { reads, .. } => reads.buckets().cloned().collect(),
        };
        self.depend(id, buckets);
        let Some(view) = self.views.get_mut(&id).filter(|view| !view.stale) else { return Ok(()) };
        match &mut view.kept {
            Kept::Maintained(maintained) => {
                // All of them are entered below.
                maintained.interests();
                let bucket = self.snapshot.bucket(maintained.query.bucket())?;
                let watched = self.buckets.entry(maintained.bucket).or_default();
                let filed = watched.matching.insert(bucket.definition(), id, maintained.query.filter());
                let unindexed = filed.is_unindexed() && watched.matching.unindexed() > self.limits.unindexed;
                view.filed = Some(filed);
                for (bucket, key) in maintained.all_interests() {
                    self.buckets.entry(bucket).or_default().readers.read_key(key, id);
                }
                if unindexed {
                    let (bucket, limit) = (bucket.name().as_ref().into(), self.limits.unindexed);
                    return Err(StoreError::UnindexedViews { bucket, limit });
                }
            }
            Kept::Run { reads, .. } => reads.each(|bucket, read| {
                let readers = &mut self.buckets.entry(bucket).or_default().readers;
                match read {
                    Read::Whole => readers.read_whole(id),
                    Read::Row(row) => readers.read_row(row, id),
                    Read::Key(key) => readers.read_key(key.clone(), id),
                }
            }),
        }
        Ok(())
    }

    /// Takes a view out from where changes look for it.
    fn unfile(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let mut emptied = Vec::new();
        match &view.kept {
            Kept::Maintained(maintained) => {
                if let (Some(filed), Some(watched)) =
                    (view.filed.take(), self.buckets.get_mut(&maintained.bucket))
                {
                    watched.matching.remove(id, &filed);
                    emptied.push(maintained.bucket);
                    for (bucket, key) in maintained.all_interests() {
                        if let Some(watched) = self.buckets.get_mut(&bucket) {
                            watched.readers.forget_key(&key, id);
                            emptied.push(bucket);
                        }
                    }
                }
            }
            Kept::Run { reads, .. } => reads.each(|bucket, read| {
                let Some(Watched { readers, .. }) = self.buckets.get_mut(&bucket) else { return };
                match read {
                    Read::Whole => readers.forget_whole(id),
                    Read::Row(row) => readers.forget_row(row, id),
                    Read::Key(key) => readers.forget_key(key, id),
                }
                emptied.push(bucket);
            }),
        }
        for bucket in emptied {
            self.drop_if_unwatched(bucket);
        }
    }

    fn drop_if_unwatched(&mut self, bucket: BucketId) {
        let empty = |watched: &Watched| watched.matching.is_empty() && watched.readers.is_empty();
        if self.buckets.get(&bucket).is_some_and(empty) {
            self.buckets.remove(&bucket);
        }
    }

    /// Notes on which buckets a view depends, whatever they may be.
    fn depend(&mut self, id: ViewId, buckets: Vec<Arc<str>>) {
        let Some(view) = self.views.get_mut(&id) else { return };
        if view.buckets == buckets {
            return;
        }
        for name in &view.buckets {
            if let Some(dependents) = self.dependents.get_mut(name) {
                dependents.remove(&id);
                if dependents.is_empty() {
                    self.dependents.remove(name);
                }
            }
        }
        for name in &buckets {
            self.dependents.entry(Arc::clone(name)).or_default().insert(id);
        }
        view.buckets = buckets;
    }

    /// A view's result as JSON text; `None` if it is undefined. Written once for each change.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if included records make it too long: the view should be closed then.
    pub fn result(&mut self, id: ViewId) -> Result<Option<Arc<str>>, StoreError> {
        self.views.get_mut(&id).map_or(Ok(None), |view| view.encode(&self.snapshot))
    }

    /// Bytes of a view's result when it was written last.
    pub fn length(&self, id: ViewId) -> usize {
        self.views.get(&id).map_or(0, |view| view.length)
    }

    /// The operations of a JSON Patch, joined by commas, for what the step has done by which the view's result changed last.
    ///
    /// # Errors
    /// As [`Views::result`].
    pub fn patch(&mut self, id: ViewId) -> Result<String, StoreError> {
        let Some(view) = self.views.get_mut(&id) else { return Ok(String::new()) };
        let told = match &view.kept {
            Kept::Maintained(maintained) => maintained.patch(&view.delta, &self.snapshot)?,
            Kept::Run { .. } => None,
        };
        view.encodings += 1;
        match told {
            Some(told) if told.len() <= view.length => Ok(told),
            told => {
                let whole = patch::whole(view.encode(&self.snapshot)?.as_deref());
                Ok(told.filter(|told| told.len() <= whole.len()).unwrap_or(whole))
            }
        }
    }

    /// The names of the buckets that a view depends on.
    pub fn buckets(&self, id: ViewId) -> Vec<Arc<str>> {
        self.views.get(&id).map(|view| view.buckets.clone()).unwrap_or_default()
    }

    /// Position of the step that changed a view's result last, or at which the view was made.
    pub fn changed_at(&self, id: ViewId) -> u64 {
        self.views.get(&id).map_or(0, |view| view.changed_at)
    }

    /// Position of the state that a view's result is true of; `None` if it has none at the moment.
    pub fn shows(&self, id: ViewId) -> Option<u64> {
        let view = self.views.get(&id)?;
        match &view.kept {
            _ if !view.stale => Some(self.snapshot.position()),
            Kept::Run { .. } => Some(view.made_at),
            Kept::Maintained(_) => None,
        }
    }

    /// What somebody can be told who has seen the result of a view, that is not stale, at an earlier position. `name` is the
    /// name by which he knows the query, if it has one.
    ///
    /// # Errors
    /// As [`Views::result`].
    pub fn resume(
        &mut self,
        id: ViewId,
        name: Option<&str>,
        epoch: &str,
        position: u64,
    ) -> Result<Resume, StoreError> {
        let (known, now) = (epoch == self.snapshot.epoch(), self.snapshot.position());
        if !known || position > now || name.is_some_and(|name| !self.history.same_query(position, name)) {
            return Ok(Resume::Lost);
        }
        let Some(view) = self.views.get(&id).filter(|view| !view.stale) else { return Ok(Resume::Lost) };
        let code = matches!(view.kept, Kept::Run { .. });
        if code && position <= self.started_at {
            return Ok(Resume::Lost);
        }
        if position >= view.changed_at {
            return Ok(Resume::Unchanged);
        }
        let reached = if code {
            self.history.reaches_all(position)
        } else {
            view.buckets.iter().all(|name| self.history.reaches(position, name))
        };
        if !reached {
            return Ok(Resume::Lost);
        }
        let wanted = if code { None } else { Some(self.ids(&view.buckets)) };
        let past = self.history.past(position, wanted, &self.snapshot);
        let Some(view) = self.views.get_mut(&id) else { return Ok(Resume::Lost) };
        let result = view.encode(&self.snapshot)?;
        let prepared = Preparation {
            query: view.query.clone(),
            snapshot: self.snapshot.clone(),
            reserve: self.limits.reserve,
        };
        Ok(Resume::Replay(Box::new(Replay { prepared, past, result })))
    }

    /// How a view is found and kept, and what it has cost so far.
    pub fn explain(&self, id: ViewId) -> Option<LiveExplain> {
        let view = self.views.get(&id)?;
        let (maintenance, held) = match &view.kept {
            Kept::Maintained(maintained) => (maintained.maintenance(), maintained.held()),
            Kept::Run { .. } => ("run", 0),
        };
        Some(LiveExplain {
            matching: view.filed.as_ref().map_or_else(|| "reads".into(), Filed::explain),
            maintenance,
            held,
            evaluations: view.evaluations,
            encodings: view.encodings,
            position: view.changed_at,
        })
    }
}

impl View {
    /// Prepares for a step, once.
    fn begin(&mut self, step: u64) {
        if self.step != step {
            self.step = step;
            self.delta = Delta::default();
        }
    }

    /// The step concerns it.
    fn touch(&mut self, id: ViewId, touched: &mut Vec<ViewId>) {
        if !std::mem::replace(&mut self.touched, true) {
            self.evaluations += 1;
            touched.push(id);
        }
    }

    fn encode(&mut self, snapshot: &Snapshot) -> Result<Option<Arc<str>>, StoreError> {
        if let Some(encoded) = &self.encoded {
            return Ok(encoded.clone());
        }
        let encoded = self.kept.encode(snapshot)?;
        self.encodings += 1;
        self.length = encoded.as_ref().map_or(0, |text| text.len());
        self.encoded = Some(encoded.clone());
        Ok(encoded)
    }

    /// Why it can have no result any more, if its bucket is gone. One of the same name is another.
    fn lost(&self, next: &Snapshot) -> Option<StoreError> {
        let Kept::Maintained(maintained) = &self.kept else { return None };
        let gone = next.bucket_by_id(maintained.bucket).is_none();
        gone.then(|| StoreError::BucketNotDefined { bucket: maintained.query.bucket().into() })
    }
}
