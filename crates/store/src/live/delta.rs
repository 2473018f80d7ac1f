//! What a step did to a result, and the JSON Patch (RFC 6902) that tells it.

use crate::Record;

/// What changed in a result since it was last told, in order. Kept as references to records, and written out as a patch only
/// if somebody wants one.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    edits: Vec<Edit>,
    whole: bool,
}

/// One change of an array. Places count from 0 and are those at the time of the change, as in a patch.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Something new stands at this place; what stood there and behind it has moved back.
    Add(usize, Item),
    /// What stood at this place is gone; what stood behind it has moved up.
    Remove(usize),
    /// What stood at the first place was taken out and put in at the second.
    Move(usize, usize),
    /// The record at this place was replaced by another version of it.
    Record { at: usize, before: Record, after: Record },
    /// What the `include` of this number refers to, from this record at this place, has changed.
    Included { at: usize, record: Record, include: usize },
    /// A member of the object at this place has changed; its new value is JSON text.
    Member { at: usize, name: &'static str, value: String },
}

/// An element of a result.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Record),
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

    /// The changes in order; none if the result is told whole.
    pub(crate) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// Whether the result is told whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty() && !self.whole
    }
}
