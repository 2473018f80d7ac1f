//! What a request asks for, as a number: two requests that ask for the same have the same one.

use serde_json::{Number, Value};

use crate::Object;

/// A 64-bit hash of an operation and its fields. It is the same in every process and every version, because it is stored,
/// and the same for every order of fields and of the members of objects, because clients may write them in any.
///
/// Numbers are what they say: `1`, `1.0` and `1e0` are one.
///
/// ```
/// use dunlin_protocol::Fingerprint;
/// use serde_json::json;
///
/// let insert = |data| Fingerprint::of("store.insert").text("bucket", "points").value("data", &data).get();
/// assert_eq!(insert(json!({"x": 1, "y": [2]})), insert(json!({"y": [2], "x": 1.0})));
/// assert_ne!(insert(json!({"x": 1, "y": [2]})), insert(json!({"x": [2], "y": 1})));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// What a hash is of, so that `1`, `"1"` and `[1]` differ: where each begins.
mod seed {
    pub(super) const OPERATION: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const MEMBER: u64 = 3;
    pub(super) const SCALAR: u64 = 4;
    pub(super) const INTEGER: u64 = 5;
    pub(super) const FLOAT: u64 = 6;
    pub(super) const TEXT: u64 = 7;
    pub(super) const ARRAY: u64 = 8;
    pub(super) const OBJECT: u64 = 9;
}

impl Fingerprint {
    /// The operation of this name, without fields.
    pub fn of(operation: &str) -> Self {
        Self(hash(operation.as_bytes(), seed::OPERATION))
    }

    /// The same with a field that is a string.
    #[must_use]
    pub fn text(self, field: &str, text: &str) -> Self {
        self.with(field, hash_text(text))
    }

    /// The same with a field that is any JSON value.
    #[must_use]
    pub fn value(self, field: &str, value: &Value) -> Self {
        self.with(field, hash_value(value))
    }

    /// The same with a field that is a JSON object.
    #[must_use]
    pub fn object(self, field: &str, object: &Object) -> Self {
        self.with(field, hash_object(object))
    }

    /// The same with a field that holds several of what has a fingerprint, in order.
    #[must_use]
    pub fn list(self, field: &str, items: impl IntoIterator<Item = u64>) -> Self {
        self.with(field, hash_list(items))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Fields are added up, so that their order does not count.
    fn with(self, field: &str, hashed: u64) -> Self {
        Self(self.0.wrapping_add(hash_member(field, hashed)))
    }
}

fn hash_value(value: &Value) -> u64 {
    match value {
        Value::Null => hash(b"null", seed::SCALAR),
        Value::Bool(true) => hash(b"true", seed::SCALAR),
        Value::Bool(false) => hash(b"false", seed::SCALAR),
        Value::Number(number) => hash_number(number),
        Value::String(text) => hash_text(text),
        Value::Array(items) => hash_list(items.iter().map(hash_value)),
        Value::Object(object) => hash_object(object),
    }
}

fn hash_number(number: &Number) -> u64 {
    /// 2^53: up to here a double that is whole is exactly that integer.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if let Some(integer) = number.as_i128() {
        return hash(&integer.to_le_bytes(), seed::INTEGER);
    }
    let float = number.as_f64().unwrap_or_default();
    if float.fract() == 0.0 && float.abs() <= WHOLE {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and far below what an i128 holds")]
        let integer = float as i128;
        return hash(&integer.to_le_bytes(), seed::INTEGER);
    }
    hash(&float.to_bits().to_le_bytes(), seed::FLOAT)
}

fn hash_text(text: &str) -> u64 {
    hash(text.as_bytes(), seed::TEXT)
}

fn hash_list(items: impl IntoIterator<Item = u64>) -> u64 {
    items.into_iter().fold(hash(&[], seed::ARRAY), |list, item| hash(&item.to_le_bytes(), list))
}

fn hash_object(object: &Object) -> u64 {
    let members = object.iter().map(|(name, value)| hash_member(name, hash_value(value)));
    hash(&members.fold(0, u64::wrapping_add).to_le_bytes(), seed::OBJECT)
}

fn hash_member(name: &str, value: u64) -> u64 {
    hash(&value.to_le_bytes(), hash(name.as_bytes(), seed::NAME) ^ seed::MEMBER)
}

/// `MurmurHash64A`: well known, quick on short texts, and nobody gains anything by two requests of his own that collide.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut h = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = (h ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        h = (h ^ tail(bytes, rest)).wrapping_mul(M);
    }
    h ^= h >> R;
    h = h.wrapping_mul(M);
    h ^ (h >> R)
}

/// The bytes behind the last whole word, as the lowest of a number; read in one go where there is a word to read.
fn tail(bytes: &[u8], rest: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
        None => rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// Worked out by another implementation. They are stored: a change of these numbers would turn every repeat over an update of the program into a conflict.
    #[test]
    fn is_the_same_in_every_version() {
        let data =
            json!({"id": "a", "n": 1, "f": 0.5, "list": [true, null, {"deep": "ž"}], "large": u64::MAX});
        let fingerprint = Fingerprint::of("store.insert").text("bucket", "b").value("data", &data).get();
        assert_eq!(fingerprint, 0xc728_a540_fd9b_4c5d);
        let list = Fingerprint::of("store.transaction").list("operations", [1, 2]).get();
        assert_eq!(list, 0x209c_5e33_110d_174d);
    }

    #[test]
    fn what_differs_has_another_one() {
        let values = [
            json!(null),
            json!(false),
            json!(true),
            json!(0),
            json!(1),
            json!(-1),
            json!(0.5),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(""),
            json!("1"),
            json!("null"),
            json!("12345678"),
            json!("123456781"),
            json!("123456781\u{0}"),
            json!([]),
            json!([1]),
            json!([[1]]),
            json!([1, 2]),
            json!([2, 1]),
            json!([1, 1]),
            json!({}),
            json!({"a": 1}),
            json!({"a": 1, "b": 1}),
            json!({"b": 1}),
            json!({"a": {"b": 1}}),
            json!({"a": "b"}),
            json!({"b": "a"}),
            json!({"a": [], "b": {}}),
            json!({"a": {}, "b": []}),
        ];
        let mut seen: BTreeMap<u64, &Value> = BTreeMap::new();
        for value in &values {
            let other = seen.insert(hash_value(value), value);
            assert_eq!(other, None, "{value}");
        }
        let of = |kind: &str, field: &str| Fingerprint::of(kind).text(field, "x").get();
        assert_ne!(of("store.update", "key"), of("store.delete", "key"));
        assert_ne!(of("store.update", "key"), of("store.update", "bucket"));
        assert_ne!(of("store.update", "key"), Fingerprint::of("store.update").get());
    }

    #[test]
    fn the_same_said_otherwise_has_the_same_one() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| hash_value(&serde_json::from_str(text).unwrap()));
            a == b
        };
        assert!(same(
            r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#,
            r#"{ "b":{"d":"\u0078","c":[1.0,2e0]}, "a":10e-1 }"#
        ));
        assert!(same("0", "-0") && same("0", "-0.0") && same("9007199254740992", "9007199254740992.0"));
        assert!(!same("9007199254740993", "9007199254740992"), "integers are exact");
        let fields = Fingerprint::of("x").text("a", "1").text("b", "2");
        assert_eq!(fields, Fingerprint::of("x").text("b", "2").text("a", "1"));
    }
}
