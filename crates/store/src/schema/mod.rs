//! What a bucket's records look like: its checked definition.

mod parse;
mod update;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::Number;
use crate::value::Constant;

pub(crate) const VERSION: &str = "_version";
pub(crate) const CREATED_AT: &str = "_createdAt";
pub(crate) const UPDATED_AT: &str = "_updatedAt";
pub(crate) const EXPIRES_AT: &str = "_expiresAt";

/// A bucket's definition, checked whole: `{key, schema, indexes?}`.
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
    indexes: Vec<usize>,
}

/// One field of a schema.
#[derive(Debug, Clone)]
pub struct Field {
    name: Arc<str>,
    kind: FieldType,
    generated: Option<Generator>,
    pub(crate) required: bool,
    pub(crate) unique: bool,
    pub(crate) default: Option<Value>,
    pub(crate) options: Option<Vec<Constant>>,
    pub(crate) min: Option<Number>,
    pub(crate) max: Option<Number>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
}

impl Field {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, shared.
    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Its type.
    pub fn kind(&self) -> FieldType {
        self.kind
    }

    /// What fills it when an insert leaves it out.
    pub fn generated(&self) -> Option<Generator> {
        self.generated
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
    /// An object with any members.
    Object,
    /// An array with any elements.
    Array,
    /// A number (Unix milliseconds) or any string.
    Date,
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
    /// A member outside the schema.
    Extra(Arc<str>),
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

    /// The indexed fields: those of `indexes`, then the other `unique` ones in schema order.
    pub fn indexed(&self) -> impl Iterator<Item = &Field> {
        self.indexes.iter().map(|slot| &self.fields[*slot])
    }

    /// Resolves a member name. Any name resolves: fields, metadata, and names outside the schema.
    pub fn member(&self, name: &str) -> Member {
        match name {
            VERSION => Member::Version,
            CREATED_AT => Member::CreatedAt,
            UPDATED_AT => Member::UpdatedAt,
            name => match self.slots.get_key_value(name) {
                Some((name, slot)) => Member::Field(*slot, name.clone()),
                None => Member::Extra(name.into()),
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

    /// The indexed fields' places in the schema, in the order of [`Self::indexed`].
    pub(crate) fn index_slots(&self) -> &[usize] {
        &self.indexes
    }
}

/// Whether a member is one that the store writes itself.
pub(crate) fn is_metadata(name: &str) -> bool {
    matches!(name, VERSION | CREATED_AT | UPDATED_AT)
}
