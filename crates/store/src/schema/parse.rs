//! Reads and checks a whole bucket definition, and tells every fault with its path.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::fault::Faults;
use super::field::field;
use super::indexes::{Names, indexes};
use super::options::Options;
use super::rules::Reading;
use super::{Definition, Field, FieldType};
use crate::StoreError;
use crate::limits::{MAX_CONFIG_BYTES, MAX_FIELDS, MAX_VALUE_DEPTH};
use crate::validate::deeper_than;

impl Definition {
    /// Reads the definition of the bucket `bucket`.
    ///
    /// Members of a field definition that mean nothing to the store are kept and have no effect.
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`] with every fault and its path (`schema.age.min`).
    pub fn parse(bucket: &str, config: &Map<String, Value>) -> Result<Self, StoreError> {
        let mut faults = Faults::default();
        let whole = Value::Object(config.clone());
        // Before anything that recurses.
        if deeper_than(&whole, MAX_VALUE_DEPTH) {
            faults.add("config", "limit", format!("Nested deeper than {MAX_VALUE_DEPTH} levels"));
            return Err(faults.refuse(bucket));
        }
        let text = whole.to_string();
        if text.len() > MAX_CONFIG_BYTES {
            faults.add("config", "limit", format!("At most {MAX_CONFIG_BYTES} bytes are possible"));
            return Err(faults.refuse(bucket));
        }
        let options = Options::read(config, &mut faults);
        let fields = schema(config, &mut faults);
        let schema = config.get("schema").and_then(Value::as_object);
        let key = key(config, schema, &fields, &mut faults);
        let names = Names { bucket, schema, fields: &fields };
        let indexes = indexes(config, &names, key.filter(|_| options.ordered), &mut faults);
        match key {
            Some(key) if faults.is_empty() => {
                let slots: HashMap<Arc<str>, usize> =
                    fields.iter().enumerate().map(|(slot, field)| (field.name.clone(), slot)).collect();
                let Options { ttl, max_size, persistent, ordered } = options;
                let config = text.into();
                Ok(Self { config, key, fields, slots, indexes, ttl, max_size, persistent, ordered })
            }
            _ => Err(faults.refuse(bucket)),
        }
    }
}

fn schema(config: &Map<String, Value>, faults: &mut Faults) -> Vec<Field> {
    let Some(Value::Object(schema)) = config.get("schema") else {
        faults.add("schema", "type", "Expected an object of field definitions");
        return Vec::new();
    };
    if schema.len() > MAX_FIELDS {
        faults.add("schema", "limit", format!("At most {MAX_FIELDS} fields are possible"));
        return Vec::new();
    }
    let key = config.get("key").and_then(Value::as_str);
    let mut reading = Reading { faults, patterns: 0 };
    let fields = schema.iter();
    fields.filter_map(|(name, options)| field(name, options, key == Some(name), &mut reading)).collect()
}

/// The key field's place, if it is usable as a key.
fn key(
    config: &Map<String, Value>,
    schema: Option<&Map<String, Value>>,
    fields: &[Field],
    faults: &mut Faults,
) -> Option<usize> {
    let Some(name) = config.get("key").and_then(Value::as_str) else {
        faults.add("key", "type", "Expected the name of the primary-key field");
        return None;
    };
    if !schema.is_some_and(|schema| schema.contains_key(name)) {
        faults.add("key", "unknown", format!("Key field \"{name}\" does not exist in schema"));
        return None;
    }
    let slot = fields.iter().position(|field| &*field.name == name)?;
    let kind = fields.get(slot)?.kind();
    if !matches!(kind, FieldType::String | FieldType::Number | FieldType::Date) {
        let message = format!("A key is a string or a number; field \"{name}\" is of type {}", kind.as_str());
        faults.add("key", "type", message);
    }
    Some(slot)
}
