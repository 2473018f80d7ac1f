//! Walks the members of one JSON object text without building values.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `each` with the name and the JSON text of every member of the object `json`, in order.
///
/// # Errors
/// If the text is not exactly one JSON object.
pub(crate) fn each_member<'a>(
    json: &'a str,
    each: impl FnMut(Cow<'a, str>, &'a str),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Walk(each))?;
    deserializer.end()
}

/// The JSON text of the member `name` of the object `json`.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    // A record's text was made or checked by this crate, so it always walks to its end.
    let _ = each_member(json, |key, raw| {
        if key == name {
            found = Some(raw);
        }
    });
    found
}

struct Walk<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Walk<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let raw: &'de RawValue = map.next_value()?;
            (self.0)(name, raw.get());
        }
        Ok(())
    }
}

/// A member name, borrowed unless it has escapes (serde's own `Cow` always owns).
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_in_order() {
        let json = r#"{"a" : 1, "q\"": "x\n", "o":{"a":[2]} }"#;
        let mut seen = Vec::new();
        each_member(json, |name, raw| seen.push((name.into_owned(), raw))).unwrap();
        assert_eq!(seen, [("a".into(), "1"), ("q\"".into(), r#""x\n""#), ("o".into(), r#"{"a":[2]}"#)]);
        assert_eq!(member(json, "a"), Some("1"));
        assert_eq!(member(json, "b"), None);
    }

    #[test]
    fn anything_but_one_object_is_an_error() {
        for bad in ["", "[]", "1", "{", r#"{"a":}"#, "{} {}"] {
            assert!(each_member(bad, |_, _| ()).is_err(), "{bad}");
        }
    }
}
