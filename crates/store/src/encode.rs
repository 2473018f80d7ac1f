//! Writes records: their JSON text, and where the schema's fields stand in it.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::record::{Head, Metadata, Part, Slot};
use crate::schema::{CREATED_AT, EXPIRES_AT, UPDATED_AT, VERSION};
use crate::{FieldValue, Record};

/// Writes a record's JSON text member by member and notes where its fields are.
pub(crate) struct Encoder {
    json: String,
    layout: Layout,
}

impl Encoder {
    /// An empty record for a schema of `fields` fields.
    pub(crate) fn new(fields: usize, capacity: usize) -> Self {
        let mut json = String::with_capacity(capacity);
        json.push('{');
        Self { json, layout: Layout::new(fields, capacity) }
    }

    /// Writes one member. `slot` says which schema field it is; `None` if it is outside the schema.
    pub(crate) fn push(&mut self, name: &str, slot: Option<usize>, value: &Value) {
        let start = self.name(name);
        write_json(&mut self.json, value);
        self.placed(slot, start);
    }

    /// Writes one member whose JSON text is known.
    pub(crate) fn push_raw(&mut self, name: &str, slot: Option<usize>, raw: &str) {
        let start = self.name(name);
        self.json.push_str(raw);
        self.placed(slot, start);
    }

    /// Length of the JSON text so far, bytes.
    pub(crate) fn len(&self) -> usize {
        self.json.len()
    }

    /// Writes the metadata and closes the record.
    pub(crate) fn finish(mut self, metadata: Metadata) -> Record {
        for (name, value) in
            [(VERSION, metadata.version), (CREATED_AT, metadata.created), (UPDATED_AT, metadata.updated)]
        {
            self.name(name);
            write_integer(&mut self.json, value);
        }
        if let Some(expires) = metadata.expires.as_field().to_json() {
            self.name(EXPIRES_AT);
            self.json.push_str(&expires);
        }
        self.json.push('}');
        self.layout.finish(&self.json, metadata)
    }

    fn name(&mut self, name: &str) -> usize {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        write_string(&mut self.json, name);
        self.json.push(':');
        self.json.len()
    }

    fn placed(&mut self, slot: Option<usize>, start: usize) {
        let raw = self.json.get(start..).unwrap_or_default();
        self.layout.place(slot, raw, start);
    }
}

/// Notes where the fields of a record in the making are.
pub(crate) struct Layout {
    head: Head,
    /// Unescaped strings, and the fields that point into them as if they started at 0.
    unescaped: String,
    moved: Vec<(usize, Part)>,
    extras: bool,
}

impl Layout {
    /// For a schema of `fields` fields and a text of about `capacity` bytes.
    pub(crate) fn new(fields: usize, capacity: usize) -> Self {
        Self { head: Head::new(fields, capacity), unescaped: String::new(), moved: Vec::new(), extras: false }
    }

    /// Notes the member whose JSON text is `raw`, found at `start`. Of two of the same name the last counts.
    pub(crate) fn place(&mut self, slot: Option<usize>, raw: &str, start: usize) {
        let Some(slot) = slot else {
            self.extras = true;
            return;
        };
        self.moved.retain(|(other, _)| *other != slot);
        let value = match FieldValue::of_json(raw) {
            FieldValue::Absent => Slot::Absent,
            FieldValue::Null => Slot::Null,
            FieldValue::Bool(bool) => Slot::Bool(bool),
            FieldValue::Number(number) => number.into(),
            FieldValue::Json(_) => Slot::Json(part(start, raw)),
            FieldValue::Str(Cow::Borrowed(text)) => Slot::Str(part(start + 1, text)),
            FieldValue::Str(Cow::Owned(text)) => {
                self.moved.push((slot, part(self.unescaped.len(), &text)));
                self.unescaped.push_str(&text);
                return;
            }
        };
        self.extras |= !self.head.set(slot, value);
    }

    /// The record with this JSON text.
    pub(crate) fn finish(mut self, json: &str, metadata: Metadata) -> Record {
        for (slot, Part { start, len }) in self.moved {
            let moved = Slot::Str(Part { start: start.saturating_add(short(json.len())), len });
            self.extras |= !self.head.set(slot, moved);
        }
        self.head.finish(json, &self.unescaped, self.extras, metadata)
    }
}

fn part(start: usize, text: &str) -> Part {
    Part { start: short(start), len: short(text.len()) }
}

/// A position in a record's text. The text is bounded (`MAX_RECORD_BYTES`, and the check in [`Record::parse`]).
fn short(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Appends a value's JSON text.
pub(crate) fn write_json(json: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_string(json, text),
        Value::Bool(true) => json.push_str("true"),
        Value::Bool(false) => json.push_str("false"),
        Value::Null => json.push_str("null"),
        other => json.push_str(&other.to_string()),
    }
}

/// Appends a string's JSON text.
pub(crate) fn write_string(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        json.push_str(&Value::from(text).to_string());
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

fn write_integer(json: &mut String, value: u64) {
    use fmt::Write;
    // Writing into a string cannot fail.
    let _ = write!(json, "{value}");
}
