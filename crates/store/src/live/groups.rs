//! A number for each group of the records that match.

use std::collections::HashMap;

use super::ranked::Ranked;
use super::row_set::RowSet;
use super::{Delta, Edit, Item};
use crate::aggregate::Running;
use crate::limits::GROUP_EDITS_FLOOR;
use crate::query::{group_value, identity, project, write_group};
use crate::{Aggregate, Bucket, Filter, Member, Number, Record, RowId};

/// The result of an aggregate with `groupBy`, kept up to date record by record.
///
/// While a step is being told, the groups have what they were told with and, in `rows` and `running`, what they have come
/// to. Only those that were touched are looked at when it is closed.
#[derive(Debug)]
pub(crate) struct GroupsView {
    by: Vec<(String, Member)>,
    function: Aggregate,
    member: Member,
    /// By number. Some are not in use.
    groups: Vec<Group>,
    unused: Vec<usize>,
    /// The number of each group by its identity.
    numbers: HashMap<Box<str>, usize>,
    /// The groups as they were told: the first row of each, ascending, and its number.
    order: Ranked<(RowId, usize)>,
    /// Numbers and identities of the groups that the step has touched.
    touched: Vec<(usize, String)>,
}

#[derive(Debug)]
struct Group {
    rows: RowSet,
    running: Running,
    touched: bool,
    told: Option<Told>,
}

/// What was told of a group.
#[derive(Debug)]
struct Told {
    first: RowId,
    /// JSON text.
    key: Box<str>,
    value: Number,
}

impl GroupsView {
    /// What a group takes, about, with its names and its places in the lists.
    pub(crate) const BYTES_EACH: usize = 300;

    /// The view of a bucket as it is.
    pub(crate) fn build(
        bucket: &Bucket,
        by: &[String],
        function: Aggregate,
        field: &str,
        filter: &Filter,
    ) -> Self {
        let definition = bucket.definition();
        let mut view = Self {
            by: by.iter().map(|name| (name.clone(), definition.member(name))).collect(),
            function,
            member: definition.member(field),
            groups: Vec::new(),
            unused: Vec::new(),
            numbers: HashMap::new(),
            order: Ranked::new(),
            touched: Vec::new(),
        };
        for row in bucket.scan(filter).rows() {
            view.change(row, None, bucket.row(row));
        }
        view.settle(bucket, &mut Delta::default());
        view
    }

    /// A row has changed; each side is given only if it matches the filter.
    pub(crate) fn change(&mut self, row: RowId, before: Option<&Record>, after: Option<&Record>) {
        if let Some(before) = before {
            let number = self.touch(before);
            if let Some(group) = self.groups.get_mut(number) {
                group.rows.remove(row);
                group.running.subtract(before, &self.member);
            }
        }
        if let Some(after) = after {
            let number = self.touch(after);
            if let Some(group) = self.groups.get_mut(number) {
                group.rows.insert(row);
                group.running.add(after, &self.member);
            }
        }
    }

    /// The number of a record's group, a new one if there is none. It is marked as touched.
    fn touch(&mut self, record: &Record) -> usize {
        let identity = identity(record, &self.by);
        let known = self.numbers.get(identity.as_str()).copied();
        let number = known.unwrap_or_else(|| self.begin(identity.as_str().into()));
        if let Some(group) = self.groups.get_mut(number)
            && !group.touched
        {
            group.touched = true;
            self.touched.push((number, identity));
        }
        number
    }

    /// A group without rows; its number.
    fn begin(&mut self, identity: Box<str>) -> usize {
        let number = self.unused.pop().unwrap_or(self.groups.len());
        if number == self.groups.len() {
            self.groups.push(Group::new(self.function));
        }
        self.numbers.insert(identity, number);
        number
    }

    /// Closes a step: tells how the result has changed. `bucket` is the state after it.
    pub(crate) fn settle(&mut self, bucket: &Bucket, delta: &mut Delta) {
        let most = self.order.len() + GROUP_EDITS_FLOOR;
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_by_cached_key(|(number, _)| self.groups.get(*number).map(Group::turn));
        for (number, identity) in touched {
            let Some(group) = self.groups.get_mut(number) else { continue };
            group.touched = false;
            // All rows of a group are in the bucket.
            let now = group.rows.first().and_then(|first| {
                let mut key = String::new();
                project(&mut key, bucket.row(first)?, &self.by);
                let value = group_value(group.running.result());
                Some(Told { first, key: key.into(), value })
            });
            tell(&mut self.order, number, group.told.take(), now.as_ref(), |edit| delta.push(edit, most));
            if now.is_some() {
                group.told = now;
            } else {
                *group = Group::new(self.function);
                self.numbers.remove(identity.as_str());
                self.unused.push(number);
            }
        }
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The result as JSON text, as [`Bucket::group_by`] gives it.
    pub(crate) fn encode(&self) -> String {
        let mut json = String::from("[");
        for (_, number) in self.order.iter() {
            if let Some(told) = self.groups.get(*number).and_then(|group| group.told.as_ref()) {
                if json.len() > 1 {
                    json.push(',');
                }
                write_group(&mut json, &told.key, told.value);
            }
        }
        json.push(']');
        json
    }
}

impl Group {
    /// A group without rows.
    fn new(function: Aggregate) -> Self {
        Self { rows: RowSet::default(), running: Running::new(function), touched: false, told: None }
    }

    /// When a group is told, among those that were touched: so that no place changes twice, nor any at all if the groups
    /// have kept their order. What goes is told first; then what moves back, the last of it first, then what moves up or stays,
    /// the first of it first; then what is new.
    fn turn(&self) -> (u8, u64) {
        match (self.told.as_ref().map(|told| told.first), self.rows.first()) {
            (_, None) => (0, 0),
            (Some(before), Some(now)) if now > before => (1, u64::MAX - now.0),
            (Some(_), Some(now)) => (2, now.0),
            (None, Some(now)) => (3, now.0),
        }
    }
}

/// Brings the place of a group up to date, and tells how it has changed. Two groups can have the same first row until both
/// are up to date; their numbers keep them apart.
fn tell(
    order: &mut Ranked<(RowId, usize)>,
    number: usize,
    before: Option<Told>,
    now: Option<&Told>,
    mut edit: impl FnMut(Edit),
) {
    let place =
        |order: &Ranked<(RowId, usize)>, first: RowId| order.search_by(|other| other.cmp(&(first, number)));
    let Some(before) = before else {
        if let Some(now) = now
            && let Err(at) = place(order, now.first)
        {
            order.insert(at, (now.first, number));
            let mut json = String::new();
            write_group(&mut json, &now.key, now.value);
            edit(Edit::Add(at, Item::Text(json)));
        }
        return;
    };
    let Ok(mut at) = place(order, before.first) else { return };
    let Some(now) = now else {
        order.remove(at);
        edit(Edit::Remove(at, None));
        return;
    };
    if now.first != before.first {
        order.remove(at);
        if let Err(to) = place(order, now.first) {
            order.insert(to, (now.first, number));
            if to != at {
                edit(Edit::Move(at, to));
            }
            at = to;
        }
    }
    if now.key != before.key {
        edit(Edit::Member { at, name: "key", value: (*now.key).into() });
    }
    if now.value != before.value {
        edit(Edit::Member { at, name: "value", value: now.value.to_string() });
    }
}
