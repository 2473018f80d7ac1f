//! Looks inside nested values: a dotted name such as `address.city` or `tags.0`.
//!
//! Values are walked where they stand, as JSON text; none is built.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::members::member;
use crate::{FieldValue, Member};

/// A dotted member name, resolved against a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPath {
    /// The whole name: a member of exactly this name comes first.
    pub(crate) whole: Arc<str>,
    /// The member that the first part names.
    pub(crate) base: Member,
    /// Where the second part begins in `whole`.
    rest: usize,
}

impl MemberPath {
    /// `None` if the name has no dot. `resolve` finds the member that the first part names.
    pub(crate) fn of(name: &str, resolve: impl FnOnce(&str) -> Member) -> Option<Self> {
        let (first, _) = name.split_once('.')?;
        Some(Self { whole: name.into(), base: resolve(first), rest: first.len() + 1 })
    }

    /// Follows the parts behind the first from its value.
    pub(crate) fn follow<'a>(&self, base: FieldValue<'a>) -> FieldValue<'a> {
        let parts = self.whole.get(self.rest..).unwrap_or_default();
        let mut value = base;
        for part in parts.split('.') {
            value = match value {
                FieldValue::Json(json) => inner(json, part).map_or(FieldValue::Absent, FieldValue::of_json),
                _ => return FieldValue::Absent,
            };
        }
        value
    }
}

/// The JSON text of a member of an object, or of the element at a position of an array.
fn inner<'a>(json: &'a str, part: &str) -> Option<&'a str> {
    if !json.starts_with('[') {
        return member(json, part);
    }
    let canonical = part == "0" || !part.starts_with(['0', '+']);
    let place: usize = part.parse().ok().filter(|_| canonical)?;
    let mut found = None;
    each_element(json, |i, raw| {
        if i == place {
            found = Some(raw);
        }
        i < place
    });
    found
}

/// Calls `each` with the position and the JSON text of the elements of the array `json`, until it answers `false`.
pub(crate) fn each_element<'a>(json: &'a str, each: impl FnMut(usize, &'a str) -> bool) {
    // Nested values were checked when the record was made, so they always walk to their end.
    let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Walk(each));
}

struct Walk<F>(F);

impl<'de, F: FnMut(usize, &'de str) -> bool> Visitor<'de> for Walk<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        for i in 0.. {
            let Some(raw) = elements.next_element::<&'de RawValue>()? else { return Ok(()) };
            if !(self.0)(i, raw.get()) {
                break;
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(json: &'static str, name: &str) -> FieldValue<'static> {
        let path = MemberPath::of(name, |first| Member::Extra(first.into())).unwrap();
        path.follow(FieldValue::of_json(json))
    }

    #[test]
    fn members_and_positions() {
        let json = r#"{"b":{"c":[10,{"d":"x"},null],"0":true},"":{"":5}}"#;
        assert_eq!(follow(json, "a.b.c.1.d").as_str(), Some("x"));
        assert_eq!(follow(json, "a.b.c.0").as_number(), Some(10_i64.into()));
        assert_eq!(follow(json, "a.b.c.2"), FieldValue::Null);
        assert_eq!(follow(json, "a.b.0"), FieldValue::Bool(true));
        assert_eq!(follow(json, "a..").as_number(), Some(5_i64.into()));
        for absent in
            ["a.x", "a.b.c.3", "a.b.c.-1", "a.b.c.00", "a.b.c.+1", "a.b.c.0.d", "a.b.c.length", "a."]
        {
            let absent = follow(json, absent);
            assert!(matches!(absent, FieldValue::Absent | FieldValue::Json(_)), "{absent:?}");
        }
        assert!(MemberPath::of("a", |first| Member::Extra(first.into())).is_none());
    }

    #[test]
    fn elements_until_enough() {
        let mut seen = Vec::new();
        each_element("[1,[2],\"]\" ,4]", |i, raw| {
            seen.push(raw);
            i < 2
        });
        assert_eq!(seen, ["1", "[2]", "\"]\""]);
    }
}
