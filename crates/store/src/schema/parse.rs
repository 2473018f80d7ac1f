//! Reads and checks a whole bucket definition, and tells every fault with its path.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    CREATED_AT, Definition, EXPIRES_AT, Field, FieldType, Generator, IndexSpec, OnDelete, Purpose, Reference,
    Rules, UPDATED_AT, VERSION,
};
use crate::limits::{
    MAX_CONFIG_BYTES, MAX_ENUM_VALUES, MAX_FAULTS, MAX_FIELD_NAME_BYTES, MAX_FIELDS, MAX_INDEXES,
    MAX_VALUE_DEPTH,
};
use crate::validate::{check_value, deeper_than};
use crate::value::{Constant, FieldValue};
use crate::{Issue, Number, StoreError};

/// Options of a field that protocol 1.0.0 knows and this version does not carry out yet. Accepting them would promise
/// what is not kept.
const UNSUPPORTED_FIELD_OPTIONS: [&str; 5] = ["pattern", "format", "properties", "items", "validate"];
/// The same for a bucket.
const UNSUPPORTED_BUCKET_OPTIONS: [&str; 3] = ["ttl", "maxSize", "validate"];

impl Definition {
    /// Reads the definition of the bucket `bucket`.
    ///
    /// Members of a field definition that mean nothing to the store are kept and have no effect.
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`] with every fault and its path (`schema.age.min`).
    pub fn parse(bucket: &str, config: &Map<String, Value>) -> Result<Self, StoreError> {
        let whole = Value::Object(config.clone());
        let text = whole.to_string();
        let mut faults = Faults(Vec::new());
        if text.len() > MAX_CONFIG_BYTES {
            faults.add("config", "limit", format!("At most {MAX_CONFIG_BYTES} bytes are possible"));
            return Err(faults.refuse(bucket));
        }
        if deeper_than(&whole, MAX_VALUE_DEPTH) {
            faults.add("config", "limit", format!("Nested deeper than {MAX_VALUE_DEPTH} levels"));
        }
        bucket_options(config, &mut faults);
        let fields = schema(config, &mut faults);
        let slots: HashMap<Arc<str>, usize> =
            fields.iter().enumerate().map(|(slot, field)| (field.name.clone(), slot)).collect();
        let schema_has = |name: &str| {
            config.get("schema").and_then(Value::as_object).is_some_and(|schema| schema.contains_key(name))
        };
        let key = key(config, &fields, schema_has, &mut faults).and_then(|name| slots.get(name).copied());
        let mut indexes = indexes(config, schema_has, &slots, &fields, &mut faults);
        for (slot, field) in fields.iter().enumerate() {
            if field.unique && !indexes.iter().any(|index| *index.slots == [slot]) {
                indexes.push(IndexSpec { slots: [slot].into(), unique: true, purpose: Purpose::Declared });
            }
        }
        for names in config.get("unique").and_then(Value::as_array).into_iter().flatten() {
            let names = names.as_array().into_iter().flatten();
            let places: Box<[usize]> = names.filter_map(|name| slots.get(name.as_str()?).copied()).collect();
            indexes.push(IndexSpec { slots: places, unique: true, purpose: Purpose::Declared });
        }
        for (slot, field) in fields.iter().enumerate() {
            if field.reference.is_some() && !indexes.iter().any(|index| *index.slots == [slot]) {
                indexes.push(IndexSpec { slots: [slot].into(), unique: false, purpose: Purpose::Reference });
            }
        }
        let ordered = config.get("etsType").and_then(Value::as_str) == Some("ordered_set");
        if let Some(slot) = key.filter(|_| ordered) {
            indexes.push(IndexSpec { slots: [slot].into(), unique: false, purpose: Purpose::KeyOrder });
        }
        if indexes.len() > MAX_INDEXES {
            let message = format!("At most {MAX_INDEXES} indexed and unique fields are possible");
            faults.add("indexes", "limit", message);
        }
        match key {
            Some(key) if faults.0.is_empty() => Ok(Self {
                config: text.into(),
                key,
                fields,
                slots,
                indexes,
                ttl: None,
                max_size: None,
                persistent: true,
                ordered,
            }),
            _ => Err(faults.refuse(bucket)),
        }
    }
}

/// The faults found so far.
pub(super) struct Faults(pub(super) Vec<Issue>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Issue::new(path, code, message));
        }
    }

    pub(super) fn refuse(self, bucket: &str) -> StoreError {
        StoreError::InvalidDefinition { bucket: bucket.into(), issues: self.0 }
    }
}

fn bucket_options(config: &Map<String, Value>, faults: &mut Faults) {
    for option in UNSUPPORTED_BUCKET_OPTIONS {
        if config.get(option).is_some_and(|value| !value.is_null()) {
            faults.add(
                option,
                "unsupported",
                format!("This version does not support \"{option}\" yet; leave it out"),
            );
        }
    }
    match config.get("persistent") {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            let message = "This version does not support buckets that are not persistent yet; leave it out";
            faults.add("persistent", "unsupported", message);
        }
        Some(_) => faults.add("persistent", "type", "Expected a boolean"),
    }
    match config.get("etsType") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind == "set" || kind == "ordered_set" => {}
        Some(_) => faults.add("etsType", "unsupported", "This version supports only \"set\"; leave it out"),
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
    schema.iter().filter_map(|(name, options)| field(name, options, faults)).collect()
}

/// The key field's name, if it is usable as a key.
fn key<'a>(
    config: &'a Map<String, Value>,
    fields: &[Field],
    schema_has: impl Fn(&str) -> bool,
    faults: &mut Faults,
) -> Option<&'a str> {
    let Some(name) = config.get("key").and_then(Value::as_str) else {
        faults.add("key", "type", "Expected the name of the primary-key field");
        return None;
    };
    if !schema_has(name) {
        faults.add("key", "unknown", format!("Key field \"{name}\" does not exist in schema"));
        return None;
    }
    let field = fields.iter().find(|field| &*field.name == name)?;
    if !matches!(field.kind(), FieldType::String | FieldType::Number | FieldType::Date) {
        let message =
            format!("A key is a string or a number; field \"{name}\" is of type {}", field.kind().as_str());
        faults.add("key", "type", message);
    }
    Some(name)
}

fn indexes(
    config: &Map<String, Value>,
    schema_has: impl Fn(&str) -> bool,
    slots: &HashMap<Arc<str>, usize>,
    fields: &[Field],
    faults: &mut Faults,
) -> Vec<IndexSpec> {
    let mut found = Vec::new();
    let names = match config.get("indexes") {
        None | Some(Value::Null) => return found,
        Some(Value::Array(names)) => names,
        Some(_) => {
            faults.add("indexes", "type", "Expected an array of field names");
            return found;
        }
    };
    for (i, name) in names.iter().enumerate() {
        let path = format!("indexes[{i}]");
        if let Some(names) = name.as_array() {
            let places = names.iter().filter_map(|name| slots.get(name.as_str()?).copied()).collect();
            found.push(IndexSpec { slots: places, unique: false, purpose: Purpose::Declared });
            continue;
        }
        match name.as_str() {
            None => faults.add(path, "type", "Expected a field name"),
            Some(name) if !schema_has(name) => {
                faults.add(path, "unknown", format!("Index field \"{name}\" does not exist in schema"));
            }
            Some(name) => {
                let Some(slot) = slots.get(name).copied() else { continue };
                if !found.iter().any(|index: &IndexSpec| *index.slots == [slot]) {
                    let unique = fields.get(slot).is_some_and(|field| field.unique);
                    found.push(IndexSpec { slots: [slot].into(), unique, purpose: Purpose::Declared });
                }
            }
        }
    }
    found
}

/// One field; `None` if it is so wrong that nothing else can be said about it.
fn field(name: &str, options: &Value, faults: &mut Faults) -> Option<Field> {
    let path = format!("schema.{name}");
    if name.is_empty() || name.len() > MAX_FIELD_NAME_BYTES {
        let message = format!("A field name has 1 to {MAX_FIELD_NAME_BYTES} bytes");
        faults.add(path, "limit", message);
        return None;
    }
    if matches!(name, VERSION | CREATED_AT | UPDATED_AT | EXPIRES_AT) {
        faults.add(path, "reserved", "The store writes this member itself; choose another name");
        return None;
    }
    let Some(options) = options.as_object() else {
        faults.add(path, "type", "Expected an object such as {\"type\":\"string\"}");
        return None;
    };
    let mut reader = FieldReader { path: &path, options, faults };
    reader.unsupported();
    let kind = reader.kind()?;
    let generated = reader.generated(kind);
    let rules = Rules {
        kind,
        required: reader.flag("required"),
        options: reader.enumerated(kind),
        min: reader.number("min", kind),
        max: reader.number("max", kind),
        min_length: reader.length("minLength", kind),
        max_length: reader.length("maxLength", kind),
    };
    let unique = reader.flag("unique");
    let default_value = options.get("default").cloned();
    let reference = options.get("ref").and_then(Value::as_str);
    let reference =
        reference.map(|bucket| Reference { bucket: bucket.into(), on_delete: OnDelete::Restrict });
    let mut field = Field { name: name.into(), rules, generated, unique, default: default_value, reference };
    let rules = &field.rules;
    if rules.min.zip(rules.max).is_some_and(|(min, max)| min > max) {
        faults.add(format!("{path}.min"), "conflict", "\"min\" is greater than \"max\": no value would fit");
    }
    if rules.min_length.zip(rules.max_length).is_some_and(|(min, max)| min > max) {
        let message = "\"minLength\" is greater than \"maxLength\": no value would fit";
        faults.add(format!("{path}.minLength"), "conflict", message);
    }
    if field.unique && matches!(kind, FieldType::Object | FieldType::Array) {
        let message = "Objects and arrays cannot be unique; make a string or number field unique";
        faults.add(format!("{path}.unique"), "conflict", message);
        field.unique = false;
    }
    default(&field, &path, faults);
    Some(field)
}

/// A default is held to its own field's rules.
fn default(field: &Field, path: &str, faults: &mut Faults) {
    let Some(default) = &field.default else { return };
    if deeper_than(default, MAX_VALUE_DEPTH - 1) {
        faults.add(
            format!("{path}.default"),
            "limit",
            format!("Nested deeper than {MAX_VALUE_DEPTH} levels"),
        );
        return;
    }
    let mut issues = Vec::new();
    check_value(field, &FieldValue::of_value(default), &mut issues);
    for issue in issues {
        faults.add(format!("{path}.default"), issue.code, issue.message);
    }
}

/// Reads the options of one field.
struct FieldReader<'a> {
    path: &'a str,
    options: &'a Map<String, Value>,
    faults: &'a mut Faults,
}

impl FieldReader<'_> {
    fn fault(&mut self, option: &str, code: &'static str, message: impl Into<String>) {
        self.faults.add(format!("{}.{option}", self.path), code, message);
    }

    fn unsupported(&mut self) {
        for option in UNSUPPORTED_FIELD_OPTIONS {
            if self.options.get(option).is_some_and(|value| !value.is_null()) {
                let message = format!("This version does not support \"{option}\" yet; leave it out");
                self.fault(option, "unsupported", message);
            }
        }
    }

    fn kind(&mut self) -> Option<FieldType> {
        let kinds = [
            FieldType::String,
            FieldType::Number,
            FieldType::Boolean,
            FieldType::Object,
            FieldType::Array,
            FieldType::Date,
        ];
        let name = self.options.get("type").and_then(Value::as_str);
        let kind = kinds.into_iter().find(|kind| Some(kind.as_str()) == name);
        if kind.is_none() {
            self.fault("type", "type", "Expected one of: string, number, boolean, object, array, date");
        }
        kind
    }

    fn generated(&mut self, kind: FieldType) -> Option<Generator> {
        let given = self.options.get("generated").filter(|value| !value.is_null())?;
        let generators = [Generator::Uuid, Generator::Cuid, Generator::Autoincrement, Generator::Timestamp];
        let Some(generator) =
            generators.into_iter().find(|generator| Some(generator.as_str()) == given.as_str())
        else {
            self.fault("generated", "enum", "Expected one of: uuid, cuid, autoincrement, timestamp");
            return None;
        };
        let fits = match generator {
            Generator::Uuid | Generator::Cuid => kind == FieldType::String,
            Generator::Autoincrement => kind == FieldType::Number,
            Generator::Timestamp => matches!(kind, FieldType::Number | FieldType::Date),
        };
        if !fits {
            let message = format!(
                "\"{}\" does not fit type {}: uuid and cuid make strings, autoincrement and timestamp numbers",
                generator.as_str(),
                kind.as_str()
            );
            self.fault("generated", "conflict", message);
        }
        Some(generator)
    }

    fn flag(&mut self, option: &str) -> bool {
        match self.options.get(option) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(option, "type", "Expected a boolean");
                false
            }
        }
    }

    fn enumerated(&mut self, kind: FieldType) -> Option<Vec<Constant>> {
        let values = match self.options.get("enum").filter(|value| !value.is_null())? {
            Value::Array(values) if !values.is_empty() && values.len() <= MAX_ENUM_VALUES => values,
            _ => {
                self.fault("enum", "type", format!("Expected an array of 1 to {MAX_ENUM_VALUES} values"));
                return None;
            }
        };
        let mut constants = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let seen = FieldValue::of_value(value);
            match Constant::of_value(value) {
                Some(constant) if seen.is_nullish() || kind.accepts(&seen) => constants.push(constant),
                _ => self.fault(
                    &format!("enum[{i}]"),
                    "type",
                    format!("No value of type {} can equal this one", kind.as_str()),
                ),
            }
        }
        Some(constants)
    }

    fn number(&mut self, option: &str, kind: FieldType) -> Option<Number> {
        let value = self.options.get(option).filter(|value| !value.is_null())?;
        if !matches!(kind, FieldType::Number | FieldType::Date) {
            self.fault(option, "conflict", "Applies to types number and date only");
        }
        let number = FieldValue::of_value(value).as_number();
        if number.is_none() {
            self.fault(option, "type", "Expected a number");
        }
        number
    }

    fn length(&mut self, option: &str, kind: FieldType) -> Option<u64> {
        let value = self.options.get(option).filter(|value| !value.is_null())?;
        if !matches!(kind, FieldType::String | FieldType::Date) {
            self.fault(option, "conflict", "Applies to types string and date only");
        }
        let length = FieldValue::of_value(value)
            .as_number()
            .and_then(Number::as_integer)
            .and_then(|n| u64::try_from(n).ok());
        if length.is_none() {
            self.fault(option, "type", "Expected a whole number of 0 or more (UTF-16 code units)");
        }
        length
    }
}
