//! Members that are not shown.

use serde_json::Value;

use crate::encode::write_string;
use crate::members::each_member;
use crate::{Definition, Filter, Record};

/// The names of members that a rule hides, ascending, none inside another. A dotted name hides something inside a nested
/// value, also in each element of an array on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden(Box<[Box<str>]>);

/// What stands between two parts of a name, in the order of which names are sorted.
const DOT: char = '.';

impl Hidden {
    /// All of these, each once.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let inside = |name: &&str| !names.iter().any(|other| other != name && is_inside(name, other));
        Self(names.iter().copied().filter(inside).map(Box::from).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether a name, as it stands in a filter or a sort, looks at something hidden: at that itself, into it, or at what it
    /// is a part of.
    pub(crate) fn touches(&self, name: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let name = without_places(name);
        self.names().any(|hidden| is_inside(&name, hidden) || is_inside(hidden, &name))
    }

    /// The first of these names that looks at something hidden.
    pub(crate) fn touched_by<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        names.into_iter().find(|name| self.touches(name))
    }

    /// The first member that a filter looks at although it is hidden.
    pub(crate) fn touched_by_filter<'f>(&self, filter: &'f Filter) -> Option<&'f str> {
        if self.is_empty() { None } else { self.touched_by(filter.names()) }
    }

    /// Appends a record's JSON text without what is hidden.
    pub(crate) fn write(&self, json: &mut String, record: &Record) {
        if self.is_empty() {
            return json.push_str(record.json());
        }
        self.write_members(json, record, |_| false);
    }

    /// The same without members of which `left_out` says so.
    pub(crate) fn write_members(&self, json: &mut String, record: &Record, left_out: impl Fn(&str) -> bool) {
        json.push('{');
        let start = json.len();
        self.each_shown(record, |name, raw| {
            if left_out(name) {
                return;
            }
            if json.len() > start {
                json.push(',');
            }
            write_string(json, name);
            json.push(':');
            json.push_str(raw);
        });
        json.push('}');
    }

    /// Calls `each` with the name and the JSON text of every member that is shown, in order.
    pub(crate) fn each_shown(&self, record: &Record, mut each: impl FnMut(&str, &str)) {
        // A record's text was made or checked by this crate, so it always walks to its end.
        let _ = each_member(record.json(), |name, raw| {
            if self.is_empty() {
                return each(&name, raw);
            }
            let flat = without_places(&name);
            if self.names().any(|hidden| is_inside(&flat, hidden)) {
                return;
            }
            let mut inner = self.names().filter_map(|hidden| hidden.strip_prefix(&*name)?.strip_prefix(DOT));
            let first = inner.next().filter(|_| raw.starts_with(['{', '[']));
            let Some(first) = first else { return each(&name, raw) };
            let mut value: Value = serde_json::from_str(raw).unwrap_or_default();
            std::iter::once(first).chain(inner).for_each(|path| remove(&mut value, path));
            each(&name, &value.to_string());
        });
    }

    /// A record that shows no more than it may.
    pub(crate) fn shown(&self, record: &Record, definition: &Definition) -> Record {
        if self.is_empty() {
            return record.clone();
        }
        let mut json = String::with_capacity(record.json().len());
        self.write(&mut json, record);
        record.showing(&json, definition)
    }

    /// Whether two records look alike.
    pub(crate) fn alike(&self, one: &Record, other: &Record) -> bool {
        if self.is_empty() || one.same(other) {
            return one == other;
        }
        let text = |record: &Record| {
            let mut json = String::new();
            self.write(&mut json, record);
            json
        };
        text(one) == text(other)
    }
}

/// Whether a name is another one, or leads into it.
fn is_inside(name: &str, other: &str) -> bool {
    name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(DOT))
}

/// A name without the places of elements in it (`lines.0.cost`): what is hidden in one element is in all.
fn without_places(name: &str) -> std::borrow::Cow<'_, str> {
    if !name.contains(DOT) {
        return name.into();
    }
    let mut parts = name.split(DOT);
    let mut flat = parts.next().unwrap_or_default().to_owned();
    for part in parts.filter(|part| !is_place(part)) {
        flat.push(DOT);
        flat.push_str(part);
    }
    flat.into()
}

/// Whether a part of a name can be the place of an element.
pub(super) fn is_place(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Removes what a path leads to, in every element of an array on the way.
fn remove(value: &mut Value, path: &str) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| remove(element, path)),
        Value::Object(members) => match path.split_once(DOT) {
            None => drop(members.shift_remove(path)),
            Some((first, rest)) => {
                if let Some(inner) = members.get_mut(first) {
                    remove(inner, rest);
                }
            }
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_name_touches() {
        let hidden = Hidden::new(["cost", "address.city", "cost", "address.city.x", "lines.price"]);
        assert_eq!(hidden.names().collect::<Vec<_>>(), ["address.city", "cost", "lines.price"]);
        for name in [
            "cost",
            "cost.x",
            "cost.0",
            "address",
            "address.city",
            "address.city.0",
            "lines.3.price",
            "lines",
        ] {
            assert!(hidden.touches(name), "{name}");
        }
        for name in ["costs", "cos", "address.zip", "addresses", "lines.3.n", "", "city"] {
            assert!(!hidden.touches(name), "{name}");
        }
        assert!(!Hidden::default().touches("cost"));
    }

    #[test]
    fn what_is_shown() {
        let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "cost": {"type": "number"}}});
        let definition = Definition::parse("b", config.as_object().unwrap()).unwrap();
        let json = concat!(
            r#"{"id":"a","cost":5,"cost.x":1,"a":{"b":1,"c":[1.5,{"b":2}],"d":{"e":"\"é"}},"#,
            r#""lines":[{"n":1,"price":2},[{"price":3}],4],"a.b":7,"_version":1,"_createdAt":1,"_updatedAt":2}"#
        );
        let record = Record::parse(json, &definition).unwrap();
        let hidden = Hidden::new(["cost", "a.b", "a.d.e", "a.x", "lines.price", "nowhere"]);
        let shown = hidden.shown(&record, &definition);
        let expected = concat!(
            r#"{"id":"a","a":{"c":[1.5,{"b":2}],"d":{}},"lines":[{"n":1},[{}],4],"#,
            r#""_version":1,"_createdAt":1,"_updatedAt":2}"#
        );
        assert_eq!(shown.json(), expected);
        assert!(shown.get(&definition.member("cost")).is_nullish());
        assert_eq!(shown.get(&definition.member("id")).as_str(), Some("a"));
        assert_eq!((shown.version(), shown.updated_at()), (1, 2));
        let other = Record::parse(&json.replace("\"cost\":5", "\"cost\":6"), &definition).unwrap();
        assert!(hidden.alike(&record, &other) && !Hidden::default().alike(&record, &other));
    }
}
