//! Records: those that match, in an order, or a window of them.
//!
//! Of a result that is cut off by a limit the view holds some records more than it shows, as a reserve: when one that is
//! shown leaves, the next is there. Only when the reserve is used up are the records looked for again.

use std::collections::{BTreeMap, HashMap};

use super::history::RowChange;
use super::ranked::Ranked;
use super::{Delta, Edit, Item};
use crate::filter::Matcher;
use crate::guard::Hidden;
use crate::plan::{Order, window};
use crate::query::Inclusion;
use crate::value::Constant;
use crate::{BoundQuery, Bucket, BucketId, Member, Record, RowId, RowRule, Snapshot};

/// Changes of a short result that are told one by one before it is told whole.
const PATIENCE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct RowsView {
    order: Order,
    /// The records that are held before the first that is shown.
    offset: usize,
    /// The place behind the last that is shown.
    end: usize,
    /// Most records that are held.
    most: usize,
    held: Ranked<Held>,
    /// Everything that matches is held.
    complete: bool,
    /// The members that are shown; all if there are none.
    fields: Vec<Member>,
    /// What is not shown of them.
    hidden: Hidden,
    references: Option<Box<References>>,
}

#[derive(Debug)]
struct Held {
    row: RowId,
    record: Record,
}

/// Which held records refer to which others, for `include`.
#[derive(Debug)]
struct References {
    includes: Vec<Reference>,
    /// By the number of the include and the key that is referred to.
    rows: HashMap<(usize, Constant), BTreeMap<RowId, Record>>,
    interests: Vec<Interest>,
}

#[derive(Debug)]
struct Reference {
    field: Member,
    /// `None` if there is no such bucket, or nothing of it is for those who watch.
    target: Option<BucketId>,
    /// What of it is for them; everything if there is no rule.
    rule: Option<RowRule>,
}

impl Reference {
    /// Whether those who watch can notice a change of a record that is included.
    fn notices(&self, bucket: &Bucket, change: &RowChange) -> bool {
        let Some(rule) = &self.rule else { return true };
        let sees = |record: &&Record| rule.sees(bucket, record);
        match (change.before.as_ref().filter(sees), change.after.as_ref().filter(sees)) {
            (None, None) => false,
            (Some(before), Some(after)) => {
                bucket.key_of(before) != bucket.key_of(after) || !rule.hidden().alike(before, after)
            }
            _ => true,
        }
    }
}

/// A key of another bucket has become of interest, or is not any more.
#[derive(Debug)]
pub(crate) struct Interest {
    pub(crate) bucket: BucketId,
    pub(crate) key: Constant,
    pub(crate) wanted: bool,
}

impl RowsView {
    /// What a record that is held takes.
    pub(crate) const BYTES_EACH: usize = size_of::<Held>();

    /// Looks the records up.
    pub(crate) fn build(
        snapshot: &Snapshot,
        bucket: &Bucket,
        query: &BoundQuery,
        matcher: &Matcher<'_>,
        reserve: usize,
    ) -> Self {
        let (definition, shape, sight) = (bucket.definition(), query.shape(), query.sight());
        let order = Order::new(definition, &shape.sort);
        let end = shape.offset.saturating_add(shape.limit.unwrap_or(usize::MAX));
        let most = end.saturating_add(reserve.max(end));
        let mut rows = window(bucket, matcher, &order, None, most.saturating_add(1));
        let complete = rows.len() <= most;
        rows.truncate(most);
        let held = rows.into_iter().map(|(row, record)| Held { row, record: record.clone() });
        let held = Ranked::from_sorted(held.collect());
        let mut references = (!shape.includes.is_empty()).then(|| {
            let reference = |include: &crate::query::Include| {
                let (slot, name) = include.resolve(bucket)?;
                let field = bucket.definition().fields().get(slot)?;
                let target = snapshot.bucket(name).ok().map(Bucket::id);
                let (target, rule) = match sight.inclusion(name) {
                    Inclusion::All => (target, None),
                    Inclusion::Seen(rule) => (target, Some(rule)),
                    Inclusion::Nothing => (None, None),
                };
                Some(Reference { field: definition.member(field.name()), target, rule })
            };
            let none = || Reference { field: Member::Version, target: None, rule: None };
            let includes = shape.includes.iter().map(|include| reference(include).unwrap_or_else(none));
            Box::new(References { includes: includes.collect(), rows: HashMap::new(), interests: Vec::new() })
        });
        if let Some(references) = &mut references {
            held.iter().for_each(|held| references.note(held.row, &held.record, true));
        }
        let fields = shape.fields.iter().map(|name| definition.member(name)).collect();
        let hidden = sight.hidden().cloned().unwrap_or_default();
        Self { order, offset: shape.offset, end, most, held, complete, fields, hidden, references }
    }

    /// A row has changed; each side is given only if it matches.
    pub(crate) fn change(
        &mut self,
        row: RowId,
        before: Option<&Record>,
        after: Option<&Record>,
        delta: &mut Delta,
    ) {
        let from = before.and_then(|before| self.place(row, before).ok());
        match (before.zip(from), after) {
            (None, Some(after)) => self.insert(row, after, delta),
            (Some((_, from)), None) => drop(self.remove(from, delta)),
            (Some((before, from)), Some(after)) => self.replace(from, row, before, after, delta),
            (None, None) => {}
        }
    }

    /// The record that another bucket has under this key is another one, or was removed. Whether that can be noticed.
    pub(crate) fn included(
        &mut self,
        bucket: &Bucket,
        change: &RowChange,
        key: &Constant,
        delta: &mut Delta,
    ) -> bool {
        let Some(references) = &self.references else { return false };
        let (mut edits, mut noticed) = (Vec::new(), false);
        for (include, reference) in references.includes.iter().enumerate() {
            if reference.target != Some(bucket.id()) || !reference.notices(bucket, change) {
                continue;
            }
            noticed = true;
            for (row, record) in references.rows.get(&(include, key.clone())).into_iter().flatten() {
                match self.place(*row, record) {
                    Ok(at) if self.is_shown(at) => {
                        let (at, row, record) = (at - self.offset, *row, record.clone());
                        edits.push(Edit::Included { at, row, record, include });
                    }
                    _ => delta.included_unseen(*row),
                }
            }
        }
        let most = self.most_edits();
        for edit in edits {
            delta.push(edit, most);
        }
        noticed
    }

    /// Whether two versions of a record look alike to those who watch.
    pub(crate) fn alike(&self, before: &Record, after: &Record) -> bool {
        self.hidden.alike(before, after)
    }

    /// What has become of interest since this was asked last.
    pub(crate) fn interests(&mut self) -> Vec<Interest> {
        self.references
            .as_mut()
            .map(|references| std::mem::take(&mut references.interests))
            .unwrap_or_default()
    }

    /// All keys that are of interest.
    pub(crate) fn all_interests(&self) -> impl Iterator<Item = (BucketId, &Constant)> {
        self.references.iter().flat_map(|references| {
            references
                .rows
                .keys()
                .filter_map(|(include, key)| Some((references.includes.get(*include)?.target?, key)))
        })
    }

    /// Whether fewer records are held than are to be shown, though there may be more.
    pub(crate) fn is_short(&self) -> bool {
        !self.complete && self.held.len() < self.end
    }

    /// How many records are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether all that match are held.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The records that are shown, in order.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Record> {
        self.held.range(self.offset..self.end).map(|held| &held.record)
    }

    fn insert(&mut self, row: RowId, record: &Record, delta: &mut Delta) {
        let Err(at) = self.place(row, record) else { return };
        if at == self.held.len() && !self.complete {
            // Who knows what stands before it.
            return;
        }
        self.hold(at, row, record);
        if at < self.end && self.limit() > 0 {
            let (place, entering) = if at < self.offset {
                (0, self.held.get(self.offset))
            } else {
                (at - self.offset, self.held.get(at))
            };
            if let Some(entering) = entering {
                self.tell(Edit::Add(place, entering.item()), delta);
                if let Some(leaving) = self.held.get(self.end) {
                    self.tell(Edit::Remove(self.limit(), Some(leaving.named())), delta);
                }
            }
        }
        self.shed();
    }

    fn remove(&mut self, at: usize, delta: &mut Delta) -> Option<Held> {
        let full = self.held.len() > self.end;
        let shown = self.held.len() > self.offset && at < self.end && self.limit() > 0;
        // What stands at the front of the window moves out of it if it is one before it that goes.
        let leaving = self.held.get(at.max(self.offset)).map(Held::named);
        let removed = self.held.remove(at)?;
        if let Some(references) = &mut self.references {
            references.note(removed.row, &removed.record, false);
        }
        if shown {
            self.tell(Edit::Remove(at.saturating_sub(self.offset), leaving), delta);
            if full && let Some(entering) = self.held.get(self.end - 1) {
                self.tell(Edit::Add(self.limit() - 1, entering.item()), delta);
            }
        }
        Some(removed)
    }

    fn replace(&mut self, from: usize, row: RowId, before: &Record, after: &Record, delta: &mut Delta) {
        if self.order.compare(&(row, before), &(row, after)).is_eq() {
            self.swap(from, after);
            if self.is_shown(from) {
                self.tell_record(from, row, before, after, delta);
            }
            return;
        }
        // The place it would have if it stood here only once.
        let to = match self.place(row, after) {
            Ok(at) | Err(at) if at > from => at - 1,
            Ok(at) | Err(at) => at,
        };
        let known = self.complete || to + 1 < self.held.len();
        if !(known && self.is_shown(from) && self.is_shown(to)) {
            self.remove(from, delta);
            self.insert(row, after, delta);
            return;
        }
        self.swap(from, after);
        if from != to
            && let Some(held) = self.held.remove(from)
        {
            self.held.insert(to, held);
            self.tell(Edit::Move(from - self.offset, to - self.offset), delta);
        }
        self.tell_record(to, row, before, after, delta);
    }

    /// Takes a newer version of the record at a place.
    fn swap(&mut self, at: usize, after: &Record) {
        let Some(held) = self.held.get_mut(at) else { return };
        let before = std::mem::replace(&mut held.record, after.clone());
        if let Some(references) = &mut self.references {
            references.renew(held.row, &before, after);
        }
    }

    fn hold(&mut self, at: usize, row: RowId, record: &Record) {
        self.held.insert(at, Held { row, record: record.clone() });
        if let Some(references) = &mut self.references {
            references.note(row, record, true);
        }
    }

    /// Lets go what is held beyond the reserve.
    fn shed(&mut self) {
        while self.held.len() > self.most {
            if let (Some(last), Some(references)) = (self.held.pop(), &mut self.references) {
                references.note(last.row, &last.record, false);
            }
            self.complete = false;
        }
    }

    /// Where a record stands, or would.
    fn place(&self, row: RowId, record: &Record) -> Result<usize, usize> {
        self.held.search_by(|held| self.order.compare(&(held.row, &held.record), &(row, record)))
    }

    fn is_shown(&self, at: usize) -> bool {
        (self.offset..self.end).contains(&at)
    }

    fn limit(&self) -> usize {
        self.end - self.offset
    }

    fn tell_record(&self, at: usize, row: RowId, before: &Record, after: &Record, delta: &mut Delta) {
        let same = |member: &Member| before.get(member) == after.get(member);
        let included = self.references.iter().flat_map(|references| &references.includes);
        let alike = !self.fields.is_empty()
            && self.fields.iter().all(same)
            && included.map(|reference| &reference.field).all(same);
        if !alike && !self.alike(before, after) {
            let (before, after) = (before.clone(), after.clone());
            self.tell(Edit::Record { at: at - self.offset, row, before, after }, delta);
        }
    }

    fn tell(&self, edit: Edit, delta: &mut Delta) {
        delta.push(edit, self.most_edits());
    }

    /// Behind so many changes the whole result is shorter.
    fn most_edits(&self) -> usize {
        self.held.len().min(self.limit()) + PATIENCE
    }
}

impl Held {
    fn item(&self) -> Item {
        Item::Record(self.row, self.record.clone())
    }

    fn named(&self) -> (RowId, Record) {
        (self.row, self.record.clone())
    }
}

impl References {
    /// A record is held from now on, or is not any more.
    fn note(&mut self, row: RowId, record: &Record, held: bool) {
        for include in 0..self.includes.len() {
            if held {
                self.enter(include, row, record);
            } else {
                self.leave(include, row, record);
            }
        }
    }

    /// A record that is held was replaced by another version of it.
    fn renew(&mut self, row: RowId, before: &Record, after: &Record) {
        for include in 0..self.includes.len() {
            let same = self
                .includes
                .get(include)
                .is_some_and(|reference| before.get(&reference.field) == after.get(&reference.field));
            if !same {
                self.leave(include, row, before);
            }
            self.enter(include, row, after);
        }
    }

    fn enter(&mut self, include: usize, row: RowId, record: &Record) {
        let Some((bucket, key)) = self.target(include, record) else { return };
        let rows = self.rows.entry((include, key.clone())).or_default();
        if rows.is_empty() {
            self.interests.push(Interest { bucket, key, wanted: true });
        }
        rows.insert(row, record.clone());
    }

    fn leave(&mut self, include: usize, row: RowId, record: &Record) {
        let Some((bucket, key)) = self.target(include, record) else { return };
        let place = (include, key);
        if let Some(rows) = self.rows.get_mut(&place) {
            rows.remove(&row);
            if rows.is_empty() {
                self.rows.remove(&place);
                self.interests.push(Interest { bucket, key: place.1, wanted: false });
            }
        }
    }

    /// The bucket and the key that a record refers to.
    fn target(&self, include: usize, record: &Record) -> Option<(BucketId, Constant)> {
        let reference = self.includes.get(include)?;
        Some((reference.target?, Constant::of_field(&record.get(&reference.field))?))
    }
}
