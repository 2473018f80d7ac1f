//! A record: its JSON text, made once, and its schema fields located inside that text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::members::{each_member, member};
use crate::schema::{CREATED_AT, Definition, Member, UPDATED_AT, VERSION};
use crate::{FieldValue, Number};

/// A stored record. Immutable and cheap to clone (one reference count).
///
/// Its JSON text is made once, when the record is prepared, and is what the journal, every answer and every push
/// carry. Members stand in this order: as given, then generated, then defaulted, then `_version`, `_createdAt`,
/// `_updatedAt`.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    /// The JSON text, followed by the unescaped texts of those strings that have escapes.
    text: Box<str>,
    /// Length of the JSON text at the start of `text`.
    json_len: u32,
    /// Whether there are members outside the schema the record was made for.
    extras: bool,
    /// One for every field that the schema had when the record was made, in schema order.
    slots: Box<[Slot]>,
    version: u64,
    created: u64,
    updated: u64,
}

/// Where a schema field's value is. 16 bytes.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A string: its unescaped characters stand in the text.
    Str {
        start: u32,
        len: u32,
    },
    /// An object or array: its JSON text stands in the text.
    Json {
        start: u32,
        len: u32,
    },
}

const _: () = assert!(size_of::<Slot>() == 16, "a slot is meant to cost 16 bytes");

/// `_version`, `_createdAt` and `_updatedAt` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) version: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
}

impl Record {
    /// Reads a record back from the JSON text that [`Record::json`] gave, for a bucket with this definition. The
    /// text is kept as it is; the schema's rules are not checked again.
    ///
    /// # Errors
    /// A sentence, if the text is not one JSON object with the metadata `_version`, `_createdAt`, `_updatedAt`, or
    /// is longer than positions of 32 bits can say.
    pub fn parse(json: &str, definition: &Definition) -> Result<Self, String> {
        if u32::try_from(json.len().saturating_mul(2)).is_err() {
            return Err(format!("{} bytes are too long for a record", json.len()));
        }
        let mut layout = Layout::new(definition.fields().len());
        let (mut version, mut created, mut updated) = (None, None, None);
        each_member(json, |name, raw| match &*name {
            VERSION => version = raw.parse().ok(),
            CREATED_AT => created = raw.parse().ok(),
            UPDATED_AT => updated = raw.parse().ok(),
            name => layout.place(definition.slot(name), raw, offset_in(json, raw)),
        })
        .map_err(|error| format!("not a JSON object: {error}"))?;
        let (Some(version), Some(created), Some(updated)) = (version, created, updated) else {
            return Err(format!("{VERSION}, {CREATED_AT} or {UPDATED_AT} is missing or no whole number"));
        };
        Ok(layout.finish(json, Metadata { version, created, updated }))
    }

    /// The whole record as JSON text: one object.
    pub fn json(&self) -> &str {
        self.0.text.get(..self.0.json_len as usize).unwrap_or_default()
    }

    /// How often the record was written: 1 after the insert.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// When it was inserted, Unix milliseconds.
    pub fn created_at(&self) -> u64 {
        self.0.created
    }

    /// When it was last written, Unix milliseconds.
    pub fn updated_at(&self) -> u64 {
        self.0.updated
    }

    /// The value of one member; see [`Definition::member`]. A schema field or metadata costs nothing; a member
    /// outside the schema is looked up in the JSON text.
    pub fn get(&self, member: &Member) -> FieldValue<'_> {
        match member {
            Member::Field(slot, name) => self.field(*slot, name),
            Member::Version => FieldValue::Number(self.0.version.into()),
            Member::CreatedAt => FieldValue::Number(self.0.created.into()),
            Member::UpdatedAt => FieldValue::Number(self.0.updated.into()),
            Member::Extra(name) => self.extra(name),
        }
    }

    /// The value of the schema field `name` at place `slot`.
    pub(crate) fn field(&self, slot: usize, name: &str) -> FieldValue<'_> {
        match self.0.slots.get(slot) {
            Some(slot) => self.slot(*slot),
            // Made before the field was added to the schema: then it may be among the extras.
            None => self.extra(name),
        }
    }

    /// All members as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(self.json()).unwrap_or_default()
    }

    /// Whether the two are the same instance, not only equal.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn slot(&self, slot: Slot) -> FieldValue<'_> {
        match slot {
            Slot::Absent => FieldValue::Absent,
            Slot::Null => FieldValue::Null,
            Slot::Bool(bool) => FieldValue::Bool(bool),
            Slot::Int(int) => FieldValue::Number(int.into()),
            Slot::Uint(int) => FieldValue::Number(int.into()),
            Slot::Float(float) => FieldValue::Number(float.into()),
            Slot::Str { start, len } => FieldValue::Str(Cow::Borrowed(self.part(start, len))),
            Slot::Json { start, len } => FieldValue::Json(self.part(start, len)),
        }
    }

    fn part(&self, start: u32, len: u32) -> &str {
        let start = start as usize;
        self.0.text.get(start..start + len as usize).unwrap_or_default()
    }

    fn extra(&self, name: &str) -> FieldValue<'_> {
        if !self.0.extras {
            return FieldValue::Absent;
        }
        member(self.json(), name).map_or(FieldValue::Absent, FieldValue::of_json)
    }
}

/// Equal if the JSON texts are.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || self.json() == other.json()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json())
    }
}

/// Where `part`, a slice of `whole`, starts in it.
fn offset_in(whole: &str, part: &str) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}

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
        Self { json, layout: Layout::new(fields) }
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

/// The slots of a record in the making.
struct Layout {
    slots: Box<[Slot]>,
    /// Unescaped strings, and the slots that point into them as if they started at 0.
    unescaped: String,
    moved: Vec<usize>,
    extras: bool,
}

impl Layout {
    fn new(fields: usize) -> Self {
        let slots = vec![Slot::Absent; fields].into_boxed_slice();
        Self { slots, unescaped: String::new(), moved: Vec::new(), extras: false }
    }

    /// Notes the member whose JSON text is `raw`, found at `start`.
    fn place(&mut self, slot: Option<usize>, raw: &str, start: usize) {
        let Some((index, slot)) = slot.and_then(|slot| Some((slot, self.slots.get_mut(slot)?))) else {
            self.extras = true;
            return;
        };
        *slot = match FieldValue::of_json(raw) {
            FieldValue::Absent => Slot::Absent,
            FieldValue::Null => Slot::Null,
            FieldValue::Bool(bool) => Slot::Bool(bool),
            FieldValue::Number(number) => number.into(),
            FieldValue::Json(_) => Slot::Json { start: short(start), len: short(raw.len()) },
            FieldValue::Str(Cow::Borrowed(text)) => {
                Slot::Str { start: short(start + 1), len: short(text.len()) }
            }
            FieldValue::Str(Cow::Owned(text)) => {
                let start = short(self.unescaped.len());
                self.unescaped.push_str(&text);
                if !self.moved.contains(&index) {
                    self.moved.push(index);
                }
                Slot::Str { start, len: short(text.len()) }
            }
        };
    }

    fn finish(mut self, json: &str, metadata: Metadata) -> Record {
        for slot in self.moved {
            if let Some(Slot::Str { start, .. }) = self.slots.get_mut(slot) {
                *start += short(json.len());
            }
        }
        let text =
            if self.unescaped.is_empty() { json.into() } else { [json, &self.unescaped].concat().into() };
        Record(Arc::new(Inner {
            text,
            json_len: short(json.len()),
            extras: self.extras,
            slots: self.slots,
            version: metadata.version,
            created: metadata.created,
            updated: metadata.updated,
        }))
    }
}

impl From<Number> for Slot {
    fn from(number: Number) -> Self {
        match number.as_integer() {
            None => Self::Float(number.as_f64()),
            Some(int) => match i64::try_from(int) {
                Ok(int) => Self::Int(int),
                Err(_) => u64::try_from(int).map_or(Self::Absent, Self::Uint),
            },
        }
    }
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
