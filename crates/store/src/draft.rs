//! A write in the making: what it has changed so far, how to undo it, and the checks that hold when it is complete.
//!
//! A write works on the state in place, so it sees its own effects and pays for nothing that it does not touch. The draft
//! remembers what every touched row held before. If the write is refused, the rows get that back; if it succeeds, the
//! difference is the commit: one change for each row, however often the write touched it. What must hold of the data as
//! a whole (unique values, references) is checked once, on the state as the write leaves it; so two records may swap a
//! unique value, and a parent may be inserted behind its child.

use std::collections::HashMap;
use std::sync::Arc;

use crate::answers::Place;
use crate::bucket::Marks;
use crate::{
    Answer, Bucket, BucketId, Cause, Change, Changed, Commit, Counters, Guard, Record, RowId, RowRule,
    Snapshot, StoreError,
};

/// See the module.
pub(crate) struct Draft<'s> {
    state: &'s mut Snapshot,
    /// What whoever writes sees and may write.
    guard: Guard,
    rows: Vec<Touched>,
    /// How often rows were changed, each time counted.
    changes: usize,
    /// Where a row stands in `rows`; kept from the time there are many of them.
    places: HashMap<(BucketId, RowId), usize>,
    /// What the counters of touched buckets were, and what had left them.
    marks: Vec<(BucketId, Marks)>,
    /// The state before the first change of a definition; with it comes everything back.
    saved: Option<Saved>,
    definitions: Vec<Change>,
    /// What entries held before they were written.
    entries: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// What is to be remembered of it; part of the state when the write is complete, so there is nothing to undo.
    answer: Option<(Arc<Answer>, Place)>,
    /// Place of the operation that is being carried out.
    operation: Option<usize>,
}

/// Everything as it was, and how many rows had been touched until then.
struct Saved {
    state: Box<Snapshot>,
    rows: usize,
}

/// A row that the write has changed.
pub(crate) struct Touched {
    pub(crate) bucket: BucketId,
    pub(crate) row: RowId,
    pub(crate) before: Option<Record>,
    /// Why it was removed, if it was.
    cause: Cause,
    /// The last operation that changed it.
    pub(crate) operation: Option<usize>,
}

/// Up to so many rows are looked for one by one: quicker than hashing.
const FEW: usize = 8;

impl<'s> Draft<'s> {
    pub(crate) fn new(state: &'s mut Snapshot) -> Self {
        Self {
            state,
            guard: Guard::default(),
            rows: Vec::new(),
            changes: 0,
            places: HashMap::new(),
            marks: Vec::new(),
            saved: None,
            definitions: Vec::new(),
            entries: Vec::new(),
            answer: None,
            operation: None,
        }
    }

    /// The same for somebody under a guard.
    pub(crate) fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// The rule that the writer is under in a bucket.
    pub(crate) fn rule(&self, bucket: &Bucket) -> Option<&RowRule> {
        self.guard.rule(bucket.name())
    }

    /// Whether a record of a bucket, and these members of it, are for the writer to know.
    pub(crate) fn shows<'n>(
        &self,
        bucket: &Bucket,
        record: &Record,
        members: impl IntoIterator<Item = &'n str>,
    ) -> bool {
        self.rule(bucket)
            .is_none_or(|rule| rule.sees(bucket, record) && rule.hidden().touched_by(members).is_none())
    }

    /// The state with everything that the write has done so far.
    pub(crate) fn state(&self) -> &Snapshot {
        self.state
    }

    /// A bucket that is there.
    pub(crate) fn bucket(&self, id: BucketId) -> Result<&Bucket, StoreError> {
        // Ids come from the state itself, and nobody keeps one of a bucket that this write drops.
        self.state
            .bucket_by_id(id)
            .ok_or_else(|| StoreError::BucketNotDefined { bucket: id.0.to_string().into() })
    }

    /// What follows belongs to this operation of a transaction.
    pub(crate) fn begin_operation(&mut self, index: usize) {
        self.operation = Some(index);
    }

    /// The rows that were changed, in the order in which they were first.
    pub(crate) fn touched(&self) -> &[Touched] {
        &self.rows
    }

    /// How often the write has changed a row, each time counted: what it has cost so far.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Whether the write has changed this row.
    pub(crate) fn has_touched(&self, bucket: BucketId, row: RowId) -> bool {
        self.place(bucket, row).is_some()
    }

    /// The operation that changed this row last, if one did.
    pub(crate) fn operation_of(&self, bucket: BucketId, row: RowId) -> Option<usize> {
        self.rows.get(self.place(bucket, row)?)?.operation
    }

    /// Adds a row or replaces it. Its key must be free or its own.
    pub(crate) fn put(&mut self, bucket: BucketId, row: RowId, record: &Record) -> Result<(), StoreError> {
        let before = self.bucket(bucket)?.row(row).cloned();
        if self.place(bucket, row).is_none() {
            // The bucket counts a row when it is put, and remembers a key that a row loses.
            self.note_marks(bucket)?;
        }
        if !self.state.put(bucket, row, record.clone()) {
            let taken = self.bucket(bucket)?;
            let key = taken.key_of(record).map_or(serde_json::Value::Null, crate::Key::to_value);
            return Err(StoreError::KeyExists { bucket: (&**taken.name()).into(), key });
        }
        self.note(bucket, row, before, Cause::Deleted);
        Ok(())
    }

    /// Removes a row, if it is there.
    pub(crate) fn remove(&mut self, bucket: BucketId, row: RowId, cause: Cause) {
        let before = self.state.bucket_by_id(bucket).and_then(|bucket| bucket.row(row)).cloned();
        if before.is_some() && self.note_marks(bucket).is_ok() && self.state.remove(bucket, row) {
            self.note(bucket, row, before, cause);
        }
    }

    pub(crate) fn set_counters(&mut self, bucket: BucketId, counters: Counters) -> Result<(), StoreError> {
        self.note_marks(bucket)?;
        self.state.set_counters(bucket, counters);
        Ok(())
    }

    fn note_marks(&mut self, bucket: BucketId) -> Result<(), StoreError> {
        if !self.marks.iter().any(|(known, _)| *known == bucket) {
            self.marks.push((bucket, self.bucket(bucket)?.marks()));
        }
        Ok(())
    }

    /// Changes a definition, or clears a bucket at one blow.
    pub(crate) fn change(&mut self, change: Change) -> Result<(), StoreError> {
        if self.saved.is_none() {
            self.saved = Some(Saved { state: Box::new(self.state.clone()), rows: self.rows.len() });
        }
        let position = self.state.position();
        if let Err(error) = self.state.change(position, &change) {
            return Err(StoreError::Contradiction { reason: error.to_string() });
        }
        // Rows are put as they are in the end, so of one bucket the last definition counts, and being cleared once.
        self.definitions.retain(|old| match (old, &change) {
            (Change::UpdateBucket { bucket: old, .. }, Change::UpdateBucket { bucket, .. })
            | (Change::Clear { bucket: old }, Change::Clear { bucket }) => old != bucket,
            _ => true,
        });
        self.definitions.push(change);
        Ok(())
    }

    /// Whether the write has removed all records of a bucket at one blow, so that they do not count as touched.
    pub(crate) fn has_emptied_buckets(&self) -> bool {
        self.definitions
            .iter()
            .any(|change| matches!(change, Change::Clear { .. } | Change::DropBucket { .. }))
    }

    /// Writes an entry, or removes it.
    pub(crate) fn set_entry(&mut self, key: Arc<str>, value: Option<Arc<str>>) {
        self.entries.push((Arc::clone(&key), self.state.entry(&key).cloned()));
        self.state.set_entry(key, value);
    }

    /// The answer to the write is remembered with it.
    pub(crate) fn remember(&mut self, answer: Answer, place: Place) {
        self.answer = Some((Arc::new(answer), place));
    }

    /// Undoes everything.
    pub(crate) fn undo(mut self) {
        if let Some(saved) = self.saved {
            *self.state = *saved.state;
            // What was touched later is back; what was touched before is in the saved state as it was by then.
            self.rows.truncate(saved.rows);
        }
        for (key, before) in self.entries.into_iter().rev() {
            self.state.set_entry(key, before);
        }
        self.state.put_back(self.rows.iter().map(|row| (row.bucket, row.row, row.before.as_ref())));
        for (bucket, marks) in self.marks {
            self.state.set_marks(bucket, marks);
        }
    }

    /// The records that it has changed so far, those of cleared buckets first.
    pub(crate) fn changed(&self) -> Vec<Changed> {
        let mut found = Vec::new();
        for change in &self.definitions {
            let Change::Clear { bucket } = change else { continue };
            let before = self.saved.as_ref().and_then(|saved| saved.state.bucket_by_id(*bucket));
            for (row, record) in before.into_iter().flat_map(Bucket::rows) {
                // What was touched before, and what was touched after, is told below as it was at first.
                if self.place(*bucket, row).is_none() {
                    found.push(Changed { bucket: *bucket, before: Some(record.clone()), after: None });
                }
            }
        }
        for Touched { bucket, row, before, .. } in &self.rows {
            let Some(there) = self.state.bucket_by_id(*bucket) else { continue };
            let after = there.row(*row).cloned();
            if before.is_some() || after.is_some() {
                found.push(Changed { bucket: *bucket, before: before.clone(), after });
            }
        }
        found
    }

    /// The commit, if anything has changed; the state is then at its position.
    pub(crate) fn finish(self, at: u64) -> Option<Commit> {
        let mut changes = self.definitions;
        // What a bucket held before it was cleared went with that.
        let cleared: Vec<BucketId> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Clear { bucket } => Some(*bucket),
                _ => None,
            })
            .collect();
        for touched in self.rows {
            let Touched { bucket, row, before, cause, .. } = touched;
            match self.state.bucket_by_id(bucket).and_then(|bucket| bucket.row(row)) {
                Some(record) => changes.push(Change::Put { bucket, row, record: record.clone() }),
                // A bucket that is gone took its rows with it.
                None if before.is_some()
                    && self.state.bucket_by_id(bucket).is_some()
                    && !cleared.contains(&bucket) =>
                {
                    changes.push(Change::Remove { bucket, row, cause });
                }
                None => {}
            }
        }
        for (bucket, before) in self.marks {
            let after = self.state.bucket_by_id(bucket).map(Bucket::counters);
            if let Some(counters) = after.filter(|after| *after != before.counters()) {
                changes.push(Change::Counters { bucket, counters });
            }
        }
        for (key, before) in self.entries {
            let value = self.state.entry(&key).cloned();
            if value != before {
                changes.push(Change::Entry { key, value });
            }
        }
        if let Some((answer, place)) = self.answer {
            Arc::make_mut(&mut self.state.answers).remember(Arc::clone(&answer), place);
            changes.push(Change::Answer(answer));
        }
        if changes.is_empty() {
            return None;
        }
        self.state.position += 1;
        Some(Commit { position: self.state.position, at, changes })
    }

    fn note(&mut self, bucket: BucketId, row: RowId, before: Option<Record>, cause: Cause) {
        self.changes += 1;
        if let Some(place) = self.place(bucket, row) {
            if let Some(touched) = self.rows.get_mut(place) {
                touched.cause = cause;
                touched.operation = self.operation;
            }
            return;
        }
        if self.rows.len() == FEW {
            self.places = self.rows.iter().enumerate().map(|(i, row)| ((row.bucket, row.row), i)).collect();
        }
        if self.rows.len() >= FEW {
            self.places.insert((bucket, row), self.rows.len());
        }
        self.rows.push(Touched { bucket, row, before, cause, operation: self.operation });
    }

    fn place(&self, bucket: BucketId, row: RowId) -> Option<usize> {
        if self.rows.len() <= FEW {
            return self.rows.iter().position(|touched| touched.bucket == bucket && touched.row == row);
        }
        self.places.get(&(bucket, row)).copied()
    }
}
