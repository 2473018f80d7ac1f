//! Ways into a JSON value.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Names of members and indexes of elements, from the outside in, written with dots between them. Empty: the whole value.
///
/// A member of an object is found by its name, an element of an array by its index (`0`, `12`; not `01`), and arrays and texts have
/// a `length` (of a text in UTF-16 units, as JavaScript counts). Nothing else is found: a value has no inherited members.
///
/// ```
/// use dunlin_rules::condition::Path;
/// use serde_json::json;
///
/// let order = json!({"lines": [{"sku": "a"}, {"sku": "b"}]});
/// assert_eq!(*Path::new("lines.1.sku").find(&order).unwrap(), "b");
/// assert_eq!(*Path::new("lines.length").find(&order).unwrap(), 2);
/// assert!(Path::new("lines.2").find(&order).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path {
    /// In order.
    pub segments: Vec<Arc<str>>,
}

impl Path {
    /// Reads a path. Every text is one; an empty one is the whole value.
    pub fn new(text: &str) -> Self {
        let segments = if text.is_empty() { Vec::new() } else { text.split('.').map(Arc::from).collect() };
        Self { segments }
    }

    /// What is there; `None` if nothing is. A `null` is there, and nothing is in it.
    pub fn find<'a>(&self, value: &'a Value) -> Option<Cow<'a, Value>> {
        find(value, &self.segments)
    }

    /// The first name, and the path behind it.
    pub(crate) fn split_first(&self) -> Option<(&str, &[Arc<str>])> {
        self.segments.split_first().map(|(first, rest)| (first.as_ref(), rest))
    }
}

/// What is at a path's segments.
pub(crate) fn find<'a>(value: &'a Value, segments: &[Arc<str>]) -> Option<Cow<'a, Value>> {
    let mut at = value;
    for (depth, segment) in segments.iter().enumerate() {
        let next = match at {
            Value::Object(members) => members.get(segment.as_ref()),
            Value::Array(items) => index(segment).and_then(|index| items.get(index)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None if depth + 1 == segments.len() && segment.as_ref() == "length" => {
                return length(at).map(|length| Cow::Owned(length.into()));
            }
            None => return None,
        }
    }
    Some(Cow::Borrowed(at))
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::String(text) => Some(text.encode_utf16().count()),
        _ => None,
    }
}

/// An index as JavaScript writes it, so that each element has one name.
fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || segment.starts_with(|first: char| ('1'..='9').contains(&first));
    segment.parse().ok().filter(|_| plain)
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            write!(f, "{}{segment}", if i == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_elements_and_lengths_are_found_and_nothing_else() {
        let value = json!({"a": {"b": [10, {"c": null}], "length": "own"}, "t": "aé😀", "": {"": 1}, "n": 5});
        let table = [
            ("", Some(value.clone())),
            ("a.b.0", Some(json!(10))),
            ("a.b.1.c", Some(json!(null))),
            ("a.b.length", Some(json!(2))),
            ("a.length", Some(json!("own"))),
            ("t.length", Some(json!(4))),
            (".", Some(json!(1))),
            ("a.b.2", None),
            ("a.b.00", None),
            ("a.b.+1", None),
            ("a.b.-1", None),
            ("a.b.length.x", None),
            ("a.b.1.c.d", None),
            ("n.length", None),
            ("t.0", None),
            ("constructor", None),
            ("a.__proto__", None),
            ("a.b.99999999999999999999999", None),
        ];
        for (path, expected) in table {
            let read = Path::new(path);
            assert_eq!(read.find(&value).map(Cow::into_owned), expected, "{path}");
            assert_eq!(read.to_string(), path);
        }
    }
}
