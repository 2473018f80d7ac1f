//! All live queries of a store: made, made anew, closed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::history::{History, HistoryLimits};
use super::matching::{Filed, Matching};
use super::readers::Readers;
use super::view::Kept;
use super::{Delta, LiveQuery, Preparation, Prepared, ViewId};
use crate::{BucketId, Snapshot, StoreError};

/// The live queries of a store at one position of history: one view for each distinct query, taken along from commit to commit.
///
/// ```
/// use dunlin_store::{
///     Context, HistoryLimits, IdSource, Intent, Joined, LiveQuery, Query, Snapshot, ViewLimits, Views,
/// };
/// use serde_json::json;
///
/// # struct Ids;
/// # impl IdSource for Ids { fn next(&mut self) -> u128 { 0 } }
/// let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
/// let mut state = Snapshot::new("epoch-1");
/// let mut write = |state: &mut Snapshot, intent| state.execute(intent, &mut Context::new(1, &mut Ids));
/// let config = object(json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}}));
/// write(&mut state, Intent::DefineBucket { name: "points".into(), config })?;
///
/// let history = HistoryLimits { commits: 1_000, bytes: 1 << 20 };
/// let limits = ViewLimits { history, unindexed_tests: 100, bytes: 1 << 20, reserve: 64 };
/// let mut views = Views::new(state.clone(), limits);
/// let sum = json!({"bucket": "points", "aggregate": {"function": "sum", "field": "n"}});
/// let query = Query::parse("sum", &object(sum))?.bind(&json!({}))?;
/// let prepared = views.prepare(LiveQuery::Declarative(query)).run();
/// let Joined::View(view) = views.open(prepared)? else { panic!("nothing has happened meanwhile") };
/// assert_eq!(views.result(view)?.as_deref(), Some("0"));
///
/// let data = object(json!({"id": "a", "n": 2.5}));
/// let commit = write(&mut state, Intent::Insert { bucket: "points".into(), data })?.commit;
/// let step = views.advance(&commit, state.clone());
/// assert_eq!(step.changed, [view]);
/// assert_eq!(views.result(view)?.as_deref(), Some("2.5"));
/// assert_eq!(views.patch(view)?, r#"{"op":"replace","path":"","value":2.5}"#);
/// # Ok::<(), dunlin_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Views {
    pub(super) snapshot: Snapshot,
    pub(super) history: History,
    pub(super) limits: ViewLimits,
    pub(super) all: HashMap<ViewId, View>,
    pub(super) by_query: HashMap<LiveQuery, ViewId>,
    /// What is watched of each bucket.
    pub(super) buckets: HashMap<BucketId, Watched>,
    /// Which views depend on what the bucket of a name is.
    pub(super) dependents: BTreeMap<Arc<str>, BTreeSet<ViewId>>,
    pub(super) last: u64,
    /// Steps so far, and the position that the views showed before the last of them.
    pub(super) steps: u64,
    pub(super) shown: u64,
    /// Views that no index can tell, and bytes that all hold.
    pub(super) unindexed: usize,
    pub(super) bytes: usize,
    /// Position of the first state: what closures gave before, others may have given.
    pub(super) started_at: u64,
}

/// Bounds of [`Views`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewLimits {
    /// How much of the past is kept for those who come back.
    pub history: HistoryLimits,
    /// Tests in the filters of those views of one bucket that no index can tell: every write to the bucket makes them all.
    pub unindexed_tests: usize,
    /// Bytes that all views hold, about: records or groups held, and results as text. Beyond that no further view is opened;
    /// those that there are may still grow.
    pub bytes: usize,
    /// Records that a view with a limit holds beyond those that it shows, at least; and as many as it shows if these are
    /// more. So many may leave before the next are looked for.
    pub reserve: usize,
}

#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) matching: Matching,
    pub(super) readers: Readers,
    /// Tests of the views that no index can tell.
    pub(super) unindexed_tests: usize,
}

/// A result as JSON text; `None` if it is undefined.
pub(super) type Encoded = Option<Arc<str>>;

#[derive(Debug)]
pub(super) struct View {
    pub(super) query: LiveQuery,
    pub(super) kept: Kept,
    /// How it is found; nothing is while it waits to be made anew.
    pub(super) filed: Option<Filed>,
    /// The names of the buckets that it depends on.
    pub(super) buckets: Vec<Arc<str>>,
    /// What the last step that concerned it has done.
    pub(super) delta: Delta,
    /// The result as JSON text, once somebody has asked for it.
    pub(super) encoded: Option<Encoded>,
    /// Position of the step that changed the result last, or at which the view was made.
    pub(super) changed_at: u64,
    /// Position of the state that a stale result was worked out from; of all others that is the newest.
    pub(super) made_at: u64,
    /// It waits to be made anew.
    pub(super) stale: bool,
    /// The step for which `delta` stands, and whether that has concerned it so far.
    pub(super) step: u64,
    pub(super) touched: bool,
    /// Bytes of the result when it was written last.
    pub(super) length: usize,
    /// Bytes that it holds, as far as they are counted already.
    pub(super) bytes: usize,
    pub(super) evaluations: u64,
    pub(super) encodings: u64,
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

impl Views {
    /// No views, of a state.
    pub fn new(snapshot: Snapshot, limits: ViewLimits) -> Self {
        Self {
            history: History::new(limits.history, snapshot.position()),
            started_at: snapshot.position(),
            snapshot,
            limits,
            all: HashMap::new(),
            by_query: HashMap::new(),
            buckets: HashMap::new(),
            dependents: BTreeMap::new(),
            last: 0,
            steps: 0,
            shown: 0,
            unindexed: 0,
            bytes: 0,
        }
    }

    /// The state that the views show.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Views whose filter no index can tell, of all buckets.
    pub fn unindexed(&self) -> usize {
        self.unindexed
    }

    /// Bytes that the views hold, about: see [`ViewLimits::bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes
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
        self.all.get(&view).is_some_and(|view| view.stale)
    }

    /// The work of making a view of a query, on the state that the views show.
    pub fn prepare(&self, query: LiveQuery) -> Preparation {
        Preparation { query, snapshot: self.snapshot.clone(), reserve: self.limits.reserve }
    }

    /// The work of making a view anew.
    pub fn prepare_again(&self, view: ViewId) -> Option<Preparation> {
        self.all.get(&view).map(|view| self.prepare(view.query.clone()))
    }

    /// Takes a view in that was made beside the others, and brings it up to date. If there is one of this query already, that
    /// one is meant.
    ///
    /// # Errors
    /// Why it could not be made; [`StoreError::UnindexedViews`] or [`StoreError::ViewsTooLarge`] if no more of its kind are
    /// possible.
    pub fn open(&mut self, prepared: Prepared) -> Result<Joined, StoreError> {
        let Prepared { query, position, kept } = prepared;
        if let Some(known) = self.by_query.get(&query) {
            return Ok(Joined::View(*known));
        }
        let mut kept = kept.map_err(|failed| failed.0)?;
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
            bytes: 0,
            evaluations: 1,
            encodings: 0,
        };
        self.last = id.0;
        self.all.insert(id, view);
        self.weigh(id);
        let filed = self.file(id);
        let limit = self.limits.bytes;
        let fits = if self.bytes > limit { Err(StoreError::ViewsTooLarge { limit }) } else { Ok(()) };
        if let Err(error) = filed.and(fits) {
            self.close(id);
            return Err(error);
        }
        self.by_query.insert(query, id);
        self.remember_parts(id);
        Ok(Joined::View(id))
    }

    /// Counts anew what a view holds.
    pub(super) fn weigh(&mut self, id: ViewId) {
        if let Some(view) = self.all.get_mut(&id) {
            let bytes = view.kept.bytes() + view.length;
            self.bytes = self.bytes - view.bytes + bytes;
            view.bytes = bytes;
        }
    }

    /// A view that shows parts of records always has its result at hand: see [`Views::settle`].
    fn remember_parts(&mut self, id: ViewId) {
        if let Some(view) = self.all.get_mut(&id)
            && matches!(&view.kept, Kept::Maintained(maintained) if maintained.shows_parts())
        {
            let _ = view.encode(&self.snapshot);
        }
    }

    /// Puts a view that was made anew in its place.
    pub fn renew(&mut self, id: ViewId, prepared: Prepared) -> Renewed {
        let Prepared { position, kept, .. } = prepared;
        match self.all.get(&id) {
            None => return Renewed::Closed,
            Some(view) if !view.stale => return Renewed::Same,
            Some(view) if position < view.made_at => return Renewed::Outdated,
            Some(_) => {}
        }
        let mut kept = match kept {
            Ok(kept) => kept,
            Err(failed) => {
                self.close(id);
                return Renewed::Ended(failed.0);
            }
        };
        let Some(fresh) = self.bring_up(&mut kept, position) else { return Renewed::Outdated };
        self.unfile(id);
        let result = kept.encode(&self.snapshot);
        let Some(view) = self.all.get_mut(&id) else { return Renewed::Closed };
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
        self.weigh(id);
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
    pub(super) fn ids(&self, names: &[Arc<str>]) -> Vec<BucketId> {
        names.iter().filter_map(|name| self.snapshot.bucket(name).ok().map(crate::Bucket::id)).collect()
    }

    /// Drops a view.
    pub fn close(&mut self, id: ViewId) {
        self.unfile(id);
        self.depend(id, Vec::new());
        if let Some(view) = self.all.remove(&id) {
            self.bytes -= view.bytes;
            self.by_query.remove(&view.query);
        }
    }
}

impl View {
    /// Prepares for a step, once.
    pub(super) fn begin(&mut self, step: u64) {
        if self.step != step {
            self.step = step;
            self.delta = Delta::default();
        }
    }

    /// The step concerns it.
    pub(super) fn touch(&mut self, id: ViewId, touched: &mut Vec<ViewId>) {
        if !std::mem::replace(&mut self.touched, true) {
            self.evaluations += 1;
            touched.push(id);
        }
    }

    pub(super) fn encode(&mut self, snapshot: &Snapshot) -> Result<Option<Arc<str>>, StoreError> {
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
    pub(super) fn lost(&self, next: &Snapshot) -> Option<StoreError> {
        let Kept::Maintained(maintained) = &self.kept else { return None };
        let gone = next.bucket_by_id(maintained.bucket).is_none();
        gone.then(|| StoreError::BucketNotDefined { bucket: maintained.query.bucket().into() })
    }
}
