//! What a step did to a result, and the JSON Patch (RFC 6902) that tells it.

use std::collections::BTreeMap;

use crate::{Record, RowId};

/// What changed in a result since it was last told, in order. Kept as references to records, and written out as a patch only
/// if somebody wants one.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    edits: Vec<Edit>,
    whole: bool,
    /// Rows whose included record has changed while they were not shown, though they may have been before.
    unseen: Vec<RowId>,
}

/// One change of an array. Places count from 0 and are those at the time of the change, as in a patch.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Something new stands at this place; what stood there and behind it has moved back.
    Add(usize, Item),
    /// What stood at this place is gone; what stood behind it has moved up. A record is named, so that it can be seen when it
    /// comes back.
    Remove(usize, Option<(RowId, Record)>),
    /// What stood at the first place was taken out and put in at the second.
    Move(usize, usize),
    /// The record at this place was replaced by another version of it.
    Record { at: usize, row: RowId, before: Record, after: Record },
    /// What the `include` of this number refers to, from this record at this place, has changed.
    Included { at: usize, row: RowId, record: Record, include: usize },
    /// A member of the object at this place has changed; its new value is JSON text.
    Member { at: usize, name: &'static str, value: String },
}

/// An element of a result.
#[derive(Debug)]
pub(crate) enum Item {
    Record(RowId, Record),
    /// JSON text.
    Text(String),
}

impl Delta {
    /// Adds a change. Behind more than `most` of them the result is told whole instead, as that is shorter.
    pub(crate) fn push(&mut self, edit: Edit, most: usize) {
        if self.edits.len() >= most {
            self.replace_whole();
        }
        if !self.whole {
            self.edits.push(edit);
        }
    }

    /// The result is another one altogether.
    pub(crate) fn replace_whole(&mut self) {
        self.whole = true;
        self.edits.clear();
    }

    /// What a row refers to has changed while the row is not shown. If it comes back, it is not what it was.
    pub(crate) fn included_unseen(&mut self, row: RowId) {
        // A row that was shown before this step has left by an edit.
        if !self.edits.is_empty() {
            self.unseen.push(row);
        }
    }

    /// The changes one by one; `None` if the result is another one altogether.
    pub(crate) fn edits(&self) -> Option<&[Edit]> {
        (!self.whole).then_some(&self.edits)
    }

    /// Whether nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty() && !self.whole
    }

    /// Forgets everything if the changes undo one another: records that leave a window are often back at the end of the step.
    /// Records stand in an order that they alone decide, so the result is the same if the same records are shown, or such as look
    /// `alike`.
    pub(crate) fn cancel(&mut self, alike: impl Fn(&Record, &Record) -> bool) {
        if self.edits.len() < 2 {
            return;
        }
        let mut rows: BTreeMap<RowId, Shown<'_>> = BTreeMap::new();
        for edit in &self.edits {
            match edit {
                Edit::Add(_, Item::Record(row, record)) => {
                    rows.entry(*row).or_default().after = Some(record);
                }
                Edit::Remove(_, Some((row, record))) => {
                    rows.entry(*row).or_insert(Shown { before: Some(record), ..Shown::default() }).after =
                        None;
                }
                Edit::Record { row, before, after, .. } => {
                    rows.entry(*row).or_insert(Shown { before: Some(before), ..Shown::default() }).after =
                        Some(after);
                }
                Edit::Included { row, record, .. } => {
                    let known = Shown { before: Some(record), after: Some(record), included: false };
                    rows.entry(*row).or_insert(known).included = true;
                }
                // Only a record that is another one now has moved.
                Edit::Move(..)
                | Edit::Add(_, Item::Text(_))
                | Edit::Remove(_, None)
                | Edit::Member { .. } => {
                    return;
                }
            }
        }
        for row in &self.unseen {
            if let Some(shown) = rows.get_mut(row) {
                shown.included = true;
            }
        }
        let same = |shown: &Shown<'_>| match (shown.before, shown.after) {
            (Some(before), Some(after)) => !shown.included && alike(before, after),
            (before, after) => before.is_none() && after.is_none(),
        };
        if rows.values().all(same) {
            self.edits.clear();
        }
    }
}

/// A row as the result showed it before and after a step.
#[derive(Default)]
struct Shown<'d> {
    before: Option<&'d Record>,
    after: Option<&'d Record>,
    /// What it refers to has changed.
    included: bool,
}
