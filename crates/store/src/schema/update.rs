//! Adds fields and indexes to a definition.

use serde_json::{Map, Value};

use super::Definition;
use super::parse::Faults;
use crate::StoreError;

impl Definition {
    /// This definition with `updates` (`{addFields?, addIndexes?}`) merged: old fields first, names already indexed
    /// ignored. Nothing is said about the records; see [`Snapshot::prepare`](crate::Snapshot::prepare).
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`] with every fault and its path (`addFields.age.min`).
    pub fn updated(&self, bucket: &str, updates: &Map<String, Value>) -> Result<Self, StoreError> {
        let mut faults = Faults(Vec::new());
        let mut config: Map<String, Value> = serde_json::from_str(&self.config).unwrap_or_default();
        for (name, value) in updates {
            match name.as_str() {
                "addFields" => self.add_fields(bucket, value, &mut config, &mut faults),
                "addIndexes" | "ttl" => {}
                _ => faults.add(name, "unknown", "Expected only addFields and addIndexes"),
            }
        }
        if updates.get("ttl").is_some_and(|ttl| !ttl.is_null()) {
            faults.add("ttl", "unsupported", "This version does not support \"ttl\" yet; leave it out");
        }
        if let Some(value) = updates.get("addIndexes") {
            add_indexes(bucket, value, &mut config, &mut faults);
        }
        match Self::parse(bucket, &config) {
            Ok(definition) if faults.0.is_empty() => Ok(definition),
            Ok(_) => Err(faults.refuse(bucket)),
            Err(StoreError::InvalidDefinition { issues, .. }) => {
                for issue in issues {
                    // The old part was checked when it was defined, so what is wrong is in the new part.
                    let path = match issue.field.strip_prefix("schema.") {
                        Some(rest) => format!("addFields.{rest}"),
                        None => issue.field,
                    };
                    faults.add(path, issue.code, issue.message);
                }
                Err(faults.refuse(bucket))
            }
            Err(other) => Err(other),
        }
    }

    fn add_fields(&self, bucket: &str, added: &Value, config: &mut Map<String, Value>, faults: &mut Faults) {
        let added = match added {
            Value::Null => return,
            Value::Object(added) => added,
            _ => return faults.add("addFields", "type", "Expected an object of field definitions"),
        };
        let Some(schema) = config.get_mut("schema").and_then(Value::as_object_mut) else { return };
        for (name, options) in added {
            if self.slot(name).is_some() {
                let message = format!("Field \"{name}\" already exists in bucket \"{bucket}\"");
                faults.add(format!("addFields.{name}"), "conflict", message);
            } else {
                schema.insert(name.clone(), options.clone());
            }
        }
    }
}

fn add_indexes(bucket: &str, added: &Value, config: &mut Map<String, Value>, faults: &mut Faults) {
    let added = match added {
        Value::Null => return,
        Value::Array(added) => added,
        _ => return faults.add("addIndexes", "type", "Expected an array of field names"),
    };
    let mut names: Vec<Value> = config.get("indexes").and_then(Value::as_array).cloned().unwrap_or_default();
    for (i, name) in added.iter().enumerate() {
        let known = |name: &str| {
            config.get("schema").and_then(Value::as_object).is_some_and(|schema| schema.contains_key(name))
        };
        match name.as_str() {
            None => faults.add(format!("addIndexes[{i}]"), "type", "Expected a field name"),
            Some(text) if !known(text) => {
                let message =
                    format!("Index field \"{text}\" does not exist in schema for bucket \"{bucket}\"");
                faults.add(format!("addIndexes[{i}]"), "unknown", message);
            }
            Some(_) if names.contains(name) => {}
            Some(_) => names.push(name.clone()),
        }
    }
    if !names.is_empty() {
        config.insert("indexes".into(), Value::Array(names));
    }
}
