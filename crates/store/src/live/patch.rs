//! Writes what a step did to a result as a JSON Patch (RFC 6902).

use std::borrow::Cow;

use super::{Delta, Edit, Item};
use crate::encode::write_string;
use crate::members::each_member;
use crate::query::RowWriter;
use crate::{FieldValue, Record};

/// The operations of a patch without the brackets around them, so that patches that follow one another are joined by commas.
/// `rows` writes the rows of the result; only a result that has none can do without.
///
/// `None` if the delta says that the result is another one altogether.
pub(crate) fn operations(delta: &Delta, rows: Option<&RowWriter<'_>>) -> Option<String> {
    let mut patch = Patch { json: String::new(), rows };
    for edit in delta.edits()? {
        patch.edit(edit);
    }
    Some(patch.json)
}

/// The operation that puts a whole result (JSON text) in the place of the one before; `null` is an undefined one.
pub fn whole(result: Option<&str>) -> String {
    ["{\"op\":\"replace\",\"path\":\"\",\"value\":", result.unwrap_or("null"), "}"].concat()
}

struct Patch<'w> {
    json: String,
    rows: Option<&'w RowWriter<'w>>,
}

impl Patch<'_> {
    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Add(at, item) => {
                self.begin("add", *at, None);
                self.json.push_str(VALUE);
                self.item(item);
                self.json.push('}');
            }
            Edit::Remove(at, _) => {
                self.begin("remove", *at, None);
                self.json.push('}');
            }
            Edit::Move(from, to) => {
                self.separate();
                let (from, to) = (from.to_string(), to.to_string());
                self.json.extend(["{\"op\":\"move\",\"from\":\"/", &from, "\",\"path\":\"/", &to, "\"}"]);
            }
            Edit::Record { at, before, after, .. } => self.record(*at, before, after),
            Edit::Included { at, record, include, .. } => self.included(*at, record, *include),
            Edit::Member { at, name, value } => self.set("replace", *at, name, value),
        }
    }

    fn item(&mut self, item: &Item) {
        match (item, self.rows) {
            (Item::Text(text), _) => self.json.push_str(text),
            (Item::Record(_, record), Some(rows)) => rows.write(&mut self.json, record),
            (Item::Record(_, record), None) => self.json.push_str(record.json()),
        }
    }

    /// Tells what differs between two versions of a record, or the whole newer one where that is shorter.
    fn record(&mut self, at: usize, before: &Record, after: &Record) {
        let start = self.json.len();
        match self.rows {
            Some(rows) if !rows.fields.is_empty() => {
                for (name, member) in &rows.fields {
                    let (old, new) = (before.get(member), after.get(member));
                    self.member(at, name, old.to_json().as_deref(), new.to_json().as_deref());
                }
            }
            _ => self.members(at, before, after),
        }
        let includes = self.rows.map_or(&[][..], |rows| &rows.includes);
        for (number, include) in includes.iter().enumerate() {
            if include.reference(before) != include.reference(after) {
                self.included(at, after, number);
            }
        }
        let told = self.json.len() - start;
        if told > after.json().len() {
            let parts = self.json.split_off(start);
            self.begin("replace", at, None);
            self.json.push_str(VALUE);
            match self.rows {
                Some(rows) => rows.write(&mut self.json, after),
                None => self.json.push_str(after.json()),
            }
            self.json.push('}');
            if self.json.len() - start > told {
                self.json.truncate(start);
                self.json.push_str(&parts);
            }
        }
    }

    /// Compares two whole records, member by member.
    fn members(&mut self, at: usize, before: &Record, after: &Record) {
        let rows = self.rows;
        let replaced =
            |name: &str| rows.is_some_and(|rows| rows.includes.iter().any(|include| include.name == name));
        let shown = |record| rows.map_or(Cow::Borrowed(Record::json(record)), |rows| rows.shown(record));
        let (before, after) = (shown(before), shown(after));
        let mut old: Vec<(Cow<'_, str>, Option<&str>)> = Vec::new();
        // A record's text was made or checked by this crate, so it always walks to its end; here and below.
        let _ = each_member(&before, |name, raw| old.push((name, Some(raw))));
        let mut next = 0;
        let _ = each_member(&after, |name, raw| {
            // Mostly the members stand in the same order.
            let place = match old.get(next) {
                Some((same, _)) if *same == name => Some(next),
                _ => old.iter().position(|(known, _)| *known == name),
            };
            next = place.map_or(next, |place| place + 1);
            let known = place.and_then(|place| old.get_mut(place)).and_then(|(_, raw)| raw.take());
            if !replaced(&name) {
                self.member(at, &name, known, Some(raw));
            }
        });
        for (name, left) in &old {
            if left.is_some() && !replaced(name) {
                self.member(at, name, *left, None);
            }
        }
    }

    fn member(&mut self, at: usize, name: &str, old: Option<&str>, new: Option<&str>) {
        match (old, new) {
            (Some(old), Some(new)) if old != new => self.set("replace", at, name, new),
            (None, Some(new)) => self.set("add", at, name, new),
            (Some(_), None) => {
                self.begin("remove", at, Some(name));
                self.json.push('}');
            }
            _ => {}
        }
    }

    fn included(&mut self, at: usize, record: &Record, number: usize) {
        if let Some(include) = self.rows.and_then(|rows| rows.includes.get(number)) {
            let mut value = String::new();
            include.write(&mut value, record);
            self.set("replace", at, include.name, &value);
        }
    }

    fn set(&mut self, operation: &str, at: usize, name: &str, value: &str) {
        self.begin(operation, at, Some(name));
        self.json.push_str(VALUE);
        self.json.push_str(value);
        self.json.push('}');
    }

    /// Begins an operation on an element, or on a member of it.
    fn begin(&mut self, operation: &str, at: usize, member: Option<&str>) {
        self.separate();
        self.json.extend(["{\"op\":\"", operation, "\",\"path\":"]);
        let mut path = format!("/{at}");
        if let Some(name) = member {
            path.push('/');
            path.push_str(&escaped(name));
        }
        write_string(&mut self.json, &path);
    }

    fn separate(&mut self) {
        if !self.json.is_empty() {
            self.json.push(',');
        }
    }
}

const VALUE: &str = ",\"value\":";

/// A member name as a part of a JSON Pointer (RFC 6901).
fn escaped(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

impl crate::query::Included<'_> {
    /// What the record refers to.
    fn reference<'r>(&self, record: &'r Record) -> FieldValue<'r> {
        self.source().map_or(FieldValue::Absent, |(slot, name)| record.field(slot, name))
    }
}
