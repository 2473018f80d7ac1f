//! Which views look single records of a bucket up, or all of it: `include` and closures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ViewId;
use crate::RowId;
use crate::value::Constant;

/// The readers of one bucket.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    whole: BTreeSet<ViewId>,
    rows: HashMap<RowId, BTreeSet<ViewId>>,
    /// How often each view wants a key: two members of `include` may refer to the same record.
    keys: HashMap<Constant, BTreeMap<ViewId, usize>>,
}

impl Readers {
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.rows.is_empty() && self.keys.is_empty()
    }

    /// Whether somebody wants to know the keys of records that change.
    pub(crate) fn want_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn whole(&self) -> impl Iterator<Item = ViewId> {
        self.whole.iter().copied()
    }

    pub(crate) fn of_row(&self, row: RowId) -> impl Iterator<Item = ViewId> {
        self.rows.get(&row).into_iter().flatten().copied()
    }

    pub(crate) fn of_key(&self, key: &Constant) -> impl Iterator<Item = ViewId> {
        self.keys.get(key).into_iter().flat_map(BTreeMap::keys).copied()
    }

    pub(crate) fn read_whole(&mut self, view: ViewId) {
        self.whole.insert(view);
    }

    pub(crate) fn read_row(&mut self, row: RowId, view: ViewId) {
        self.rows.entry(row).or_default().insert(view);
    }

    pub(crate) fn read_key(&mut self, key: Constant, view: ViewId) {
        *self.keys.entry(key).or_default().entry(view).or_insert(0) += 1;
    }

    pub(crate) fn forget_whole(&mut self, view: ViewId) {
        self.whole.remove(&view);
    }

    pub(crate) fn forget_row(&mut self, row: RowId, view: ViewId) {
        if let Some(views) = self.rows.get_mut(&row) {
            views.remove(&view);
            if views.is_empty() {
                self.rows.remove(&row);
            }
        }
    }

    pub(crate) fn forget_key(&mut self, key: &Constant, view: ViewId) {
        let Some(views) = self.keys.get_mut(key) else { return };
        if let Some(count) = views.get_mut(&view) {
            *count -= 1;
            if *count == 0 {
                views.remove(&view);
            }
        }
        if views.is_empty() {
            self.keys.remove(key);
        }
    }
}
