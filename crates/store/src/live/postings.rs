//! The views that stand in one place of an index.

use std::collections::BTreeSet;

use super::ViewId;

/// One view or more. Most places have one, which then takes no memory of its own.
#[derive(Debug)]
pub(super) enum Postings {
    One(ViewId),
    /// At least two.
    #[expect(clippy::box_collection, reason = "there are many places, and few have several views")]
    Many(Box<BTreeSet<ViewId>>),
}

impl Postings {
    /// Adds a view; `false` if it is there already.
    pub(super) fn insert(&mut self, view: ViewId) -> bool {
        match self {
            Self::One(first) if *first == view => false,
            Self::One(first) => {
                *self = Self::Many(Box::new(BTreeSet::from([*first, view])));
                true
            }
            Self::Many(views) => views.insert(view),
        }
    }

    /// Takes a view out; `true` if it is the last one. Then nothing changes here, and the place has to go.
    pub(super) fn remove(&mut self, view: ViewId) -> bool {
        match self {
            Self::One(last) => *last == view,
            Self::Many(views) => {
                views.remove(&view);
                if let (1, Some(last)) = (views.len(), views.first()) {
                    *self = Self::One(*last);
                }
                false
            }
        }
    }

    /// Adds all of them to `found`.
    pub(super) fn copy_to(&self, found: &mut Vec<ViewId>) {
        match self {
            Self::One(view) => found.push(*view),
            Self::Many(views) => found.extend(views.iter()),
        }
    }
}
