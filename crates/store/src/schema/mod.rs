//! What a bucket's records look like: its checked definition.

mod fault;
mod field;
mod indexes;
mod options;
mod parse;
mod rules;
mod update;

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_pattern::Pattern;
use serde_json::Value;

use crate::Number;
use crate::format::Format;
use crate::path::MemberPath;
use crate::value::Constant;

pub(crate) const VERSION: &str = "_version";
pub(crate) const CREATED_AT: &str = "_createdAt";
pub(crate) const UPDATED_AT: &str = "_updatedAt";
pub(crate) const EXPIRES_AT: &str = "_expiresAt";

/// A bucket's definition, checked whole: `{key, schema, indexes?, unique?, ttl?, maxSize?, persistent?, etsType?}`.
///
/// - `schema`: field name to `{type, required?, default?, generated?, enum?, min?, max?, minLength?, maxLength?, pattern?,
///   format?, unique?, ref?, onDelete?, properties?, items?}`. `properties` holds the definitions of an object's members,
///   `items` that of an array's elements, to [`MAX_SCHEMA_DEPTH`](crate::limits::MAX_SCHEMA_DEPTH) levels.
/// - `indexes`: field names, and arrays of 2 to 4 of them. `unique`: such arrays; no two records may have the same values.
/// - `ttl`: milliseconds, or a text such as `"30s"`, `"1.5h"`, `"7d"`. `maxSize`: how many records there are at most.
/// - `etsType`: `ordered_set` keeps `first`, `last` and `paginate` in key order; `set` is what a bucket is anyway, and
///   `bag` and `duplicate_bag` mean the same.
///
/// ```
/// use dunlin_store::Definition;
/// use serde_json::json;
///
/// let config = json!({
///     "key": "id",
///     "schema": {"id": {"type": "string", "generated": "uuid"}, "age": {"type": "number", "min": 0}},
///     "indexes": ["age"],
/// });
/// let definition = Definition::parse("people", config.as_object().unwrap())?;
/// assert_eq!(definition.key().name(), "id");
///
/// let config = json!({"key": "id", "schema": {"age": {"type": "numbre"}}});
/// let error = Definition::parse("people", config.as_object().unwrap()).unwrap_err();
/// let faults = error.details().unwrap();
/// assert_eq!(faults[0]["field"], "schema.age.type");
/// assert_eq!(faults[1]["field"], "key");
/// # Ok::<(), dunlin_store::StoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Definition {
    config: Arc<str>,
    key: usize,
    fields: Vec<Field>,
    slots: HashMap<Arc<str>, usize>,
    indexes: Vec<IndexSpec>,
    /// Milliseconds that a record lives.
    ttl: Option<u64>,
    max_size: Option<usize>,
    persistent: bool,
    ordered: bool,
}

/// One index of a bucket, as its definition asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexSpec {
    /// The fields' places in the schema; at least one.
    pub(crate) slots: Box<[usize]>,
    /// No two records may have the same values, none of them absent or `null`.
    pub(crate) unique: bool,
    pub(crate) purpose: Purpose,
}

/// Why there is an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The definition names it, in `indexes` or by `unique`.
    Declared,
    /// Finds the records that refer to another one.
    Reference,
    /// Keeps the keys of an `ordered_set` in order.
    KeyOrder,
}

/// One field of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    name: Arc<str>,
    pub(crate) rules: Rules,
    generated: Option<Generator>,
    pub(crate) unique: bool,
    pub(crate) default: Option<Value>,
    reference: Option<Reference>,
}

/// What a value must be like: of a field, of a member of an object, of an element of an array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    pub(crate) kind: FieldType,
    pub(crate) required: bool,
    pub(crate) options: Option<Vec<Constant>>,
    pub(crate) min: Option<Number>,
    pub(crate) max: Option<Number>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) format: Option<Format>,
    pub(crate) inner: Inner,
}

/// The definitions of an object's members, by name.
pub(crate) type Members = Box<[(Box<str>, Rules)]>;

/// What the members of an object or the elements of an array must be like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Inner {
    /// Anything.
    Free,
    /// The members of these names, in this order; others are free.
    Members(Members),
    /// Every element.
    Elements(Box<Rules>),
}

/// A field that holds the primary key of a record of another bucket, or of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The bucket referred to. It may be defined later.
    pub bucket: Arc<str>,
    /// What becomes of the referring record when the other one is removed.
    pub on_delete: OnDelete,
}

/// What becomes of a record when the one that it refers to is removed, for whatever reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// The removal is refused.
    Restrict,
    /// It is removed too.
    Cascade,
    /// Its field becomes `null`.
    SetNull,
}

impl OnDelete {
    /// The name in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::Cascade => "cascade",
            Self::SetNull => "set_null",
        }
    }
}

impl Field {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    pub fn kind(&self) -> FieldType {
        self.rules.kind
    }

    /// What fills it when an insert leaves it out.
    pub fn generated(&self) -> Option<Generator> {
        self.generated
    }

    /// What it refers to.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A string.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An object; `properties` says what its members are like.
    Object,
    /// An array; `items` says what its elements are like.
    Array,
    /// A number (Unix milliseconds) or any string; `format` narrows the strings.
    Date,
    /// Any JSON value, `null` too. It cannot be indexed.
    Any,
}

impl FieldType {
    /// The name in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
            Self::Date => "date",
            Self::Any => "any",
        }
    }
}

/// What makes the value of a field that an insert leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// A random UUID (version 4).
    Uuid,
    /// `c` and 32 hexadecimal digits.
    Cuid,
    /// The bucket's counter, from 1.
    Autoincrement,
    /// The time of the insert, Unix milliseconds.
    Timestamp,
}

impl Generator {
    /// The name in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Cuid => "cuid",
            Self::Autoincrement => "autoincrement",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A member name resolved against a definition, so that looking it up in a record is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Member {
    /// A schema field: its place in the schema, and its name.
    Field(usize, Arc<str>),
    /// `_version`.
    Version,
    /// `_createdAt`.
    CreatedAt,
    /// `_updatedAt`.
    UpdatedAt,
    /// `_expiresAt`.
    ExpiresAt,
    /// A member outside the schema.
    Extra(Arc<str>),
    /// A dotted name: something inside a nested value, unless a member has exactly this name.
    Path(Box<MemberPath>),
}

impl Definition {
    /// The definition as JSON text, as given and with later updates merged.
    pub fn config(&self) -> &Arc<str> {
        &self.config
    }

    /// The primary-key field.
    pub fn key(&self) -> &Field {
        &self.fields[self.key]
    }

    /// The fields, in schema order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How long a record lives after its insert, milliseconds.
    pub fn ttl(&self) -> Option<u64> {
        self.ttl
    }

    /// How many records the bucket holds at most; an insert beyond removes the oldest.
    pub fn max_size(&self) -> Option<usize> {
        self.max_size
    }

    /// Whether the records outlive the process.
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Whether `first`, `last` and `paginate` go by key (`etsType: "ordered_set"`) instead of table order.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Resolves a member name. Any name resolves: fields, metadata, and names outside the schema. A name with dots that
    /// is none of these goes into nested values: `address.city`, `tags.0`.
    pub fn member(&self, name: &str) -> Member {
        match name {
            VERSION => Member::Version,
            CREATED_AT => Member::CreatedAt,
            UPDATED_AT => Member::UpdatedAt,
            EXPIRES_AT => Member::ExpiresAt,
            name => match self.slots.get_key_value(name) {
                Some((name, slot)) => Member::Field(*slot, name.clone()),
                None => match MemberPath::of(name, |first| self.member(first)) {
                    Some(path) => Member::Path(Box::new(path)),
                    None => Member::Extra(name.into()),
                },
            },
        }
    }

    /// Place of a field in the schema.
    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        // Comparing with a few names is quicker than hashing one.
        if self.fields.len() <= 16 {
            return self.fields.iter().position(|field| field.name() == name);
        }
        self.slots.get(name).copied()
    }

    /// The primary key's place in the schema.
    pub(crate) fn key_slot(&self) -> usize {
        self.key
    }

    /// The fields, by place, that are new or whose rules are others than in `old`, whose places they share.
    pub(crate) fn stricter_than<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = (usize, &'a Field)> {
        let differs = |(slot, field): &(usize, &Field)| {
            old.fields.get(*slot).is_none_or(|before| before.rules != field.rules)
        };
        self.fields.iter().enumerate().filter(differs)
    }

    /// Whether `other` has all fields of this one in the same places.
    pub(crate) fn is_prefix_of(&self, other: &Self) -> bool {
        let same = |(one, other): (&Field, &Field)| one.name == other.name;
        self.fields.len() <= other.fields.len() && self.fields.iter().zip(&other.fields).all(same)
    }

    /// An index as a person names it: `field "a"`, `fields "a", "b"`.
    pub(crate) fn index_label(&self, spec: &IndexSpec) -> String {
        let name = |slot: &usize| format!("\"{}\"", self.fields.get(*slot).map_or("", Field::name));
        let names: Vec<String> = spec.slots.iter().map(name).collect();
        format!("field{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
    }

    /// All indexes: those of `indexes`, then the other unique ones, then those that the store needs itself.
    pub(crate) fn indexes(&self) -> &[IndexSpec] {
        &self.indexes
    }
}

/// Whether a member is one that the store writes itself.
pub(crate) fn is_metadata(name: &str) -> bool {
    matches!(name, VERSION | CREATED_AT | UPDATED_AT | EXPIRES_AT)
}
