//! A place in an order as text: what a client hands back to get the next page.
//!
//! The text is Base64 (RFC 4648, for URLs, no padding) of a JSON array: version, bucket id, sort, the values of the sort
//! in the last record of the page, its row. So it needs no memory here, and holds whatever becomes of the record. A client
//! can make one up; all it gets is a page that begins elsewhere.

use serde_json::{Value, json};

use super::Bucket;
use crate::plan::{Order, Position, Row};
use crate::{BucketId, Direction, FieldValue, Number, RowId, StoreError};

/// Goes up when the text means something else.
const VERSION: u64 = 1;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cursor behind a record.
pub(super) fn write(
    bucket: BucketId,
    sort: &[(String, Direction)],
    order: &Order,
    (row, record): &Row<'_>,
) -> String {
    let values = order.0.iter().map(|(member, _)| match record.get(member) {
        // All objects and arrays have one place.
        FieldValue::Json(_) => json!([]),
        value => value.to_value(),
    });
    let values: Vec<Value> = values.collect();
    encode(json!([VERSION, bucket.0, names(sort), values, row.0]).to_string().as_bytes())
}

/// The place that a cursor means.
pub(super) fn read(
    bucket: &Bucket,
    sort: &[(String, Direction)],
    cursor: &str,
) -> Result<Position, StoreError> {
    let refuse = |reason| StoreError::InvalidCursor { bucket: (&**bucket.name()).into(), reason };
    let damaged = "it is none that a page gave";
    let parts: Option<Vec<Value>> = decode(cursor).and_then(|json| serde_json::from_slice(&json).ok());
    let parts = parts.ok_or_else(|| refuse(damaged))?;
    if parts.first() != Some(&VERSION.into()) {
        return Err(refuse("it is of another version of the server"));
    }
    let [_, id, given, Value::Array(values), row] = parts.as_slice() else { return Err(refuse(damaged)) };
    if *id != bucket.id().0 {
        return Err(refuse("it belongs to another bucket"));
    }
    if *given != names(sort) || values.len() != sort.len() {
        return Err(refuse("it belongs to another sort"));
    }
    let row = row.as_u64().ok_or_else(|| refuse(damaged))?;
    Ok(Position { values: values.iter().map(place).collect(), row: RowId(row) })
}

fn names(sort: &[(String, Direction)]) -> Value {
    sort.iter().map(|(name, direction)| json!([name, direction.as_str()])).collect()
}

fn place(value: &Value) -> FieldValue<'static> {
    match value {
        Value::Null => FieldValue::Null,
        Value::Bool(bool) => FieldValue::Bool(*bool),
        Value::Number(number) => FieldValue::Number(Number::of(number)),
        Value::String(text) => FieldValue::Str(text.clone().into()),
        Value::Array(_) | Value::Object(_) => FieldValue::Json("[]"),
    }
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..=chunk.len() {
            let place = bits >> (18 - 6 * i) & 0x3F;
            text.push(char::from(ALPHABET[place as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for i in 0..4 {
            let place = match chunk.get(i) {
                Some(byte) => ALPHABET.iter().position(|letter| letter == byte)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(place).ok()?;
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        // One letter alone is less than a byte.
        bytes.extend_from_slice(decoded.get(..chunk.len().checked_sub(1).filter(|len| *len > 0)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts() {
        assert_eq!(encode(b"foobar"), "Zm9vYmFy");
        assert_eq!(encode(b"fooba"), "Zm9vYmE");
        assert_eq!(encode(&[0xFB, 0xFF]), "-_8");
        for bad in ["A", "Zm9vY", "Zm9v=", "Zm 9"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
