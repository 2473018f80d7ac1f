//! Who watches which view, and by which name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dunlin_protocol::Mode;
use dunlin_store::ViewId;

use super::{Judged, Watch};
use crate::connection::SubscriptionId;
use crate::registry::Entry;

/// See the module.
#[derive(Default)]
pub(super) struct Watchers {
    views: HashMap<ViewId, Audience>,
    by_subscription: HashMap<SubscriptionId, (ViewId, Arc<str>)>,
    by_name: HashMap<Arc<str>, BTreeSet<SubscriptionId>>,
}

/// Everybody who watches one view.
#[derive(Default)]
pub(super) struct Audience {
    pub(super) watchers: BTreeMap<SubscriptionId, Watcher>,
    /// How many of them want whole results.
    pub(super) full: usize,
    /// How often it was told of a change.
    pub(super) pushes: u64,
}

pub(super) struct Watcher {
    pub(super) mode: Mode,
    /// What cannot be undefined has none.
    defined: Option<Defined>,
    judged: Judged,
    pub(super) entry: Arc<Entry>,
}

/// A query that was defined, as its watcher found it. If it is undefined later the subscription ends.
struct Defined {
    /// It was so at this position.
    since: u64,
    config: Arc<str>,
}

impl Watchers {
    pub(super) fn join(&mut self, view: ViewId, watch: &Watch, position: u64) {
        let audience = self.views.entry(view).or_default();
        audience.full += usize::from(watch.mode == Mode::Full);
        let defined =
            watch.definition.as_ref().map(|config| Defined { since: position, config: Arc::clone(config) });
        let (judged, entry) = (watch.judged.clone(), Arc::clone(&watch.watcher));
        let watcher = Watcher { mode: watch.mode, defined, judged, entry };
        audience.watchers.insert(watch.id, watcher);
        self.by_subscription.insert(watch.id, (view, Arc::clone(&watch.query)));
        self.by_name.entry(Arc::clone(&watch.query)).or_default().insert(watch.id);
    }

    /// Forgets a subscription. The view, if nobody watches it any more.
    pub(super) fn leave(&mut self, id: SubscriptionId) -> Option<ViewId> {
        let (view, name) = self.by_subscription.remove(&id)?;
        if let Some(named) = self.by_name.get_mut(&name) {
            named.remove(&id);
            if named.is_empty() {
                self.by_name.remove(&name);
            }
        }
        let audience = self.views.get_mut(&view)?;
        if let Some(watcher) = audience.watchers.remove(&id) {
            audience.full -= usize::from(watcher.mode == Mode::Full);
        }
        if audience.watchers.is_empty() {
            self.views.remove(&view);
            return Some(view);
        }
        None
    }

    /// Forgets a view; who watched it.
    pub(super) fn dismiss(&mut self, view: ViewId) -> Vec<(SubscriptionId, Arc<Entry>)> {
        let watchers = self.views.get(&view).into_iter().flat_map(|audience| &audience.watchers);
        let watchers: Vec<_> = watchers.map(|(id, watcher)| (*id, Arc::clone(&watcher.entry))).collect();
        for (id, _) in &watchers {
            self.leave(*id);
        }
        watchers
    }

    pub(super) fn audience(&mut self, view: ViewId) -> Option<&mut Audience> {
        self.views.get_mut(&view)
    }

    /// Everybody who watches a view and was not judged for all of these buckets.
    pub(super) fn not_judged_for(
        &self,
        view: ViewId,
        buckets: &[Arc<str>],
    ) -> Vec<(SubscriptionId, Arc<Entry>)> {
        let watchers = self.views.get(&view).into_iter().flat_map(|audience| &audience.watchers);
        let others = watchers.filter(|(_, watcher)| !watcher.judged.covers(buckets));
        others.map(|(id, watcher)| (*id, Arc::clone(&watcher.entry))).collect()
    }

    pub(super) fn is_watched(&self, view: ViewId) -> bool {
        self.views.contains_key(&view)
    }

    /// The view of a subscription.
    pub(super) fn view_of(&self, id: SubscriptionId) -> Option<ViewId> {
        self.by_subscription.get(&id).map(|(view, _)| *view)
    }

    /// Subscriptions of the query of this name that was defined before a position.
    pub(super) fn of_query(&self, name: &str, before: u64) -> Vec<(SubscriptionId, Arc<Entry>)> {
        self.of_name(name, |defined| defined.since < before)
    }

    /// Subscriptions of the query of this name that was not defined so.
    pub(super) fn of_other(&self, name: &str, config: Option<&str>) -> Vec<(SubscriptionId, Arc<Entry>)> {
        self.of_name(name, |defined| config != Some(&*defined.config))
    }

    fn of_name(&self, name: &str, which: impl Fn(&Defined) -> bool) -> Vec<(SubscriptionId, Arc<Entry>)> {
        let named = self.by_name.get(name).into_iter().flatten();
        let watchers = named.filter_map(|id| {
            let watcher = self.views.get(&self.by_subscription.get(id)?.0)?.watchers.get(id)?;
            watcher.defined.as_ref().is_some_and(&which).then(|| (*id, Arc::clone(&watcher.entry)))
        });
        watchers.collect()
    }

    /// The names of all queries that are watched, and by how many.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.by_name.iter().map(|(name, ids)| (name, ids.len()))
    }
}
