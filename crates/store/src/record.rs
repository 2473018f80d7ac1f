//! A record: its JSON text, made once, and its schema fields located inside that text.
//!
//! A record is one allocation: a shared text of three parts. It begins with a head of packed words (see [`packed`]), ten
//! ASCII bytes each: how long the JSON text is, version and times, and one word for every schema field, which holds the
//! field's number or says where its string or nested value stands. The JSON text follows, and behind it the unescaped
//! texts of those strings that have escapes. Because all of it is one valid UTF-8 text, every part of it is borrowed
//! without a check or a copy; and because it is one allocation, reading a field of a cold record waits for memory once.
//!
//! [`packed`]: crate::packed

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::encode::Layout;
use crate::members::{each_member, member};
use crate::packed::{WORD, pack, unpack};
use crate::schema::{CREATED_AT, Definition, EXPIRES_AT, Member, UPDATED_AT, VERSION, is_metadata};
use crate::{FieldValue, MemberPath, Number};

/// A stored record. Immutable and cheap to clone (one reference count).
///
/// Its JSON text is made once, when the record is prepared, and is what the journal, every answer and every push
/// carry. Members stand in this order: as given, then generated, then defaulted, then `_version`, `_createdAt`,
/// `_updatedAt` and, where there is one, `_expiresAt`.
#[derive(Clone)]
pub struct Record(Arc<str>);

/// Words of the head before those of the fields: the lengths, version, created, updated, expires.
const FIXED_WORDS: usize = 5;
const VERSION_WORD: usize = 1;
const CREATED_WORD: usize = 2;
const UPDATED_WORD: usize = 3;
const EXPIRES_WORD: usize = 4;

/// The first word's value is the length of the JSON text and, from this bit on, the number of fields; its tag says
/// whether there are members outside the schema the record was made for.
const FIELDS_SHIFT: u32 = 32;

/// The head of a record in the making: bytes of packed words.
pub(crate) struct Head(Vec<u8>);

/// Where a schema field's value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Slot {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A string: its unescaped characters stand behind the head.
    Str(Part),
    /// An object or array: its JSON text stands behind the head.
    Json(Part),
}

/// A part of the text behind the head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What the store itself writes into a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Metadata {
    pub(crate) version: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) expires: Expiry,
}

/// `_expiresAt` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Expiry {
    /// No such member.
    #[default]
    Absent,
    /// `null`: never.
    Never,
    /// Unix milliseconds.
    At(Number),
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
        let mut layout = Layout::new(definition.fields().len(), json.len());
        let (mut version, mut created, mut updated) = (None, None, None);
        let mut expires = Some(Expiry::Absent);
        each_member(json, |name, raw| match &*name {
            VERSION => version = raw.parse().ok(),
            CREATED_AT => created = raw.parse().ok(),
            UPDATED_AT => updated = raw.parse().ok(),
            EXPIRES_AT => expires = Expiry::of(&FieldValue::of_json(raw)),
            name => layout.place(definition.slot(name), raw, offset_in(json, raw)),
        })
        .map_err(|error| format!("not a JSON object: {error}"))?;
        let (Some(version), Some(created), Some(updated)) = (version, created, updated) else {
            return Err(format!("{VERSION}, {CREATED_AT} or {UPDATED_AT} is missing or no whole number"));
        };
        let expires = expires.ok_or_else(|| format!("{EXPIRES_AT} is neither a number nor null"))?;
        Ok(layout.finish(json, Metadata { version, created, updated, expires }))
    }

    /// The whole record as JSON text: one object.
    pub fn json(&self) -> &str {
        let (len, fields, _) = self.shape();
        self.part(fields, Part { start: 0, len })
    }

    /// How often the record was written: 1 after the insert.
    pub fn version(&self) -> u64 {
        self.word(VERSION_WORD).0
    }

    /// When it was inserted, Unix milliseconds.
    pub fn created_at(&self) -> u64 {
        self.word(CREATED_WORD).0
    }

    /// When it was last written, Unix milliseconds.
    pub fn updated_at(&self) -> u64 {
        self.word(UPDATED_WORD).0
    }

    /// When it is due to be removed, Unix milliseconds; `None` if never. Only in buckets with a `ttl` does it count.
    pub fn expires_at(&self) -> Option<u64> {
        match self.expires() {
            Expiry::At(time) => Some(time.ceil_u64()),
            Expiry::Absent | Expiry::Never => None,
        }
    }

    /// `_expiresAt` as it stands in the record.
    pub(crate) fn expires(&self) -> Expiry {
        Expiry::of_slot(Slot::read(self.word(EXPIRES_WORD)))
    }

    /// The value of one member; see [`Definition::member`]. A schema field or metadata costs nothing; a member
    /// outside the schema is looked up in the JSON text.
    pub fn get(&self, member: &Member) -> FieldValue<'_> {
        match member {
            Member::Field(slot, name) => self.field(*slot, name),
            Member::Version => FieldValue::Number(self.word(VERSION_WORD).0.into()),
            Member::CreatedAt => FieldValue::Number(self.word(CREATED_WORD).0.into()),
            Member::UpdatedAt => FieldValue::Number(self.word(UPDATED_WORD).0.into()),
            Member::ExpiresAt => self.expires().as_field(),
            Member::Extra(name) if self.shape().2 => self.extra(name),
            Member::Extra(_) => FieldValue::Absent,
            Member::Path(path) => self.path(path),
        }
    }

    /// What a dotted name leads to. Kept out of the way of scans that look at fields.
    #[inline(never)]
    fn path(&self, path: &MemberPath) -> FieldValue<'_> {
        let literal = if self.shape().2 { self.extra(&path.whole) } else { FieldValue::Absent };
        if literal == FieldValue::Absent { path.follow(self.get(&path.base)) } else { literal }
    }

    /// The value of the schema field `name` at place `slot`.
    pub(crate) fn field(&self, slot: usize, name: &str) -> FieldValue<'_> {
        let (_, fields, extras) = self.shape();
        if slot >= fields {
            // Made before the field was added to the schema: then it may be among the extras.
            return if extras { self.extra(name) } else { FieldValue::Absent };
        }
        match Slot::read(self.word(FIXED_WORDS + slot)) {
            Slot::Absent => FieldValue::Absent,
            Slot::Null => FieldValue::Null,
            Slot::Bool(bool) => FieldValue::Bool(bool),
            Slot::Int(int) => FieldValue::Number(int.into()),
            Slot::Uint(int) => FieldValue::Number(int.into()),
            Slot::Float(float) => FieldValue::Number(float.into()),
            Slot::Str(part) => FieldValue::Str(Cow::Borrowed(self.part(fields, part))),
            Slot::Json(part) => FieldValue::Json(self.part(fields, part)),
        }
    }

    /// Whether there is a member of this name outside the schema.
    pub(crate) fn has_extra(&self, name: &str) -> bool {
        self.shape().2 && member(self.json(), name).is_some()
    }

    /// The same record for a bucket with another definition, whose fields stand in other places.
    pub(crate) fn laid_out(&self, definition: &Definition) -> Self {
        // A record's text was made or checked by this crate, so it always reads.
        Self::parse(self.json(), definition).unwrap_or_else(|_| self.clone())
    }

    /// The same record with another JSON text, that of an object with some of its members; its metadata stays.
    pub(crate) fn showing(&self, json: &str, definition: &Definition) -> Self {
        let mut layout = Layout::new(definition.fields().len(), json.len());
        // The text was made by this crate, so it always walks to its end.
        let _ = each_member(json, |name, raw| {
            if !is_metadata(&name) {
                layout.place(definition.slot(&name), raw, offset_in(json, raw));
            }
        });
        let (version, created, updated) = (self.version(), self.created_at(), self.updated_at());
        layout.finish(json, Metadata { version, created, updated, expires: self.expires() })
    }

    /// All members as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(self.json()).unwrap_or_default()
    }

    /// Whether the two are the same instance, not only equal.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Length of the JSON text, number of fields, and whether there are members outside the schema.
    fn shape(&self) -> (u32, usize, bool) {
        let (value, extras) = self.word(0);
        (low(value), low(value >> FIELDS_SHIFT) as usize, extras != 0)
    }

    fn word(&self, number: usize) -> (u64, u8) {
        let word = self.0.as_bytes().get(number * WORD..).and_then(|bytes| bytes.first_chunk());
        word.map_or((0, 0), unpack)
    }

    /// A part of the text behind a head for this many fields.
    fn part(&self, fields: usize, part: Part) -> &str {
        let start = (FIXED_WORDS + fields) * WORD + part.start as usize;
        self.0.get(start..start + part.len as usize).unwrap_or_default()
    }

    fn extra(&self, name: &str) -> FieldValue<'_> {
        member(self.json(), name).map_or(FieldValue::Absent, FieldValue::of_json)
    }
}

/// Equal if the JSON texts are.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || self.json() == other.json()
    }
}

impl Head {
    /// The head of a record for a schema of `fields` fields, all absent, with room for a text of `capacity` bytes.
    pub(crate) fn new(fields: usize, capacity: usize) -> Self {
        let len = (FIXED_WORDS + fields) * WORD;
        let mut head = Vec::with_capacity(len + capacity);
        // Absent is packed as zeros.
        head.resize(len, 0);
        Self(head)
    }

    /// Sets the field at place `slot`; `false` if the schema has no such place.
    pub(crate) fn set(&mut self, slot: usize, value: Slot) -> bool {
        let (value, tag) = value.word();
        self.write(FIXED_WORDS + slot, value, tag)
    }

    /// Puts the parts of a record together.
    pub(crate) fn finish(mut self, json: &str, unescaped: &str, extras: bool, meta: Metadata) -> Record {
        let fields = self.0.len() / WORD - FIXED_WORDS;
        self.write(0, (fields as u64) << FIELDS_SHIFT | json.len() as u64, extras.into());
        self.write(VERSION_WORD, meta.version, 0);
        self.write(CREATED_WORD, meta.created, 0);
        self.write(UPDATED_WORD, meta.updated, 0);
        let (expires, tag) = meta.expires.slot().word();
        self.write(EXPIRES_WORD, expires, tag);
        // Packed words are ASCII, so this never fails.
        let mut text = String::from_utf8(self.0).unwrap_or_default();
        text.push_str(json);
        text.push_str(unescaped);
        Record(text.into())
    }

    fn write(&mut self, number: usize, value: u64, tag: u8) -> bool {
        let word = self.0.get_mut(number * WORD..).and_then(|bytes| bytes.first_chunk_mut());
        word.map(|word| *word = pack(value, tag)).is_some()
    }
}

impl Expiry {
    /// The expiry that a member is; `None` if it can be none.
    pub(crate) fn of(value: &FieldValue<'_>) -> Option<Self> {
        match value {
            FieldValue::Absent => Some(Self::Absent),
            FieldValue::Null => Some(Self::Never),
            FieldValue::Number(time) => Some(Self::At(*time)),
            _ => None,
        }
    }

    /// The member's value.
    pub(crate) fn as_field(self) -> FieldValue<'static> {
        match self {
            Self::Absent => FieldValue::Absent,
            Self::Never => FieldValue::Null,
            Self::At(time) => FieldValue::Number(time),
        }
    }

    fn slot(self) -> Slot {
        match self {
            Self::Absent => Slot::Absent,
            Self::Never => Slot::Null,
            Self::At(time) => time.into(),
        }
    }

    fn of_slot(slot: Slot) -> Self {
        match slot {
            Slot::Null => Self::Never,
            Slot::Int(int) => Self::At(int.into()),
            Slot::Uint(int) => Self::At(int.into()),
            Slot::Float(float) => Self::At(float.into()),
            _ => Self::Absent,
        }
    }
}

impl Slot {
    /// The slot as a word's value and tag.
    fn word(self) -> (u64, u8) {
        match self {
            Self::Absent => (0, 0),
            Self::Null => (0, 1),
            Self::Bool(bool) => (bool.into(), 2),
            Self::Int(int) => (int.cast_unsigned(), 3),
            Self::Uint(int) => (int, 4),
            Self::Float(float) => (float.to_bits(), 5),
            Self::Str(part) => (part.bits(), 6),
            Self::Json(part) => (part.bits(), 7),
        }
    }

    fn read((value, tag): (u64, u8)) -> Self {
        match tag {
            1 => Self::Null,
            2 => Self::Bool(value != 0),
            3 => Self::Int(value.cast_signed()),
            4 => Self::Uint(value),
            5 => Self::Float(f64::from_bits(value)),
            6 => Self::Str(Part::of_bits(value)),
            7 => Self::Json(Part::of_bits(value)),
            _ => Self::Absent,
        }
    }
}

impl Part {
    fn bits(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.len)
    }

    fn of_bits(bits: u64) -> Self {
        Self { start: low(bits >> 32), len: low(bits) }
    }
}

/// The lower 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low(bits: u64) -> u32 {
    bits as u32
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

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json())
    }
}

/// Where `part`, a slice of `whole`, starts in it.
fn offset_in(whole: &str, part: &str) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}
