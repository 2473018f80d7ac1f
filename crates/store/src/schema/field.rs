//! Reads one field of a schema.

use serde_json::Value;

use super::rules::{Reading, RulesReader};
use super::{Field, FieldType, Generator, OnDelete, Reference, is_metadata};
use crate::limits::{MAX_FIELD_NAME_BYTES, MAX_NAME_BYTES, MAX_VALUE_DEPTH};
use crate::validate::{Checked, check_value, deeper_than};

/// One field; `None` if it is so wrong that nothing else can be said about it.
pub(super) fn field(name: &str, options: &Value, is_key: bool, reading: &mut Reading<'_>) -> Option<Field> {
    let path = format!("schema.{name}");
    if name.is_empty() || name.len() > MAX_FIELD_NAME_BYTES {
        let message = format!("A field name has 1 to {MAX_FIELD_NAME_BYTES} bytes");
        reading.faults.add(path, "limit", message);
        return None;
    }
    if is_metadata(name) {
        reading.faults.add(path, "reserved", "The store writes this member itself; choose another name");
        return None;
    }
    let Some(options) = options.as_object() else {
        reading.faults.add(path, "type", "Expected an object such as {\"type\":\"string\"}");
        return None;
    };
    let mut reader = RulesReader { path: &path, options, reading };
    let rules = reader.rules(0)?;
    let kind = rules.kind;
    let generated = reader.generated(kind);
    let mut unique = reader.flag("unique");
    if unique && matches!(kind, FieldType::Object | FieldType::Array | FieldType::Any) {
        let message = if kind == FieldType::Any {
            "A field of type any cannot be unique; give it another type"
        } else {
            "Objects and arrays cannot be unique; make a string or number field unique"
        };
        reader.fault("unique", "conflict", message);
        unique = false;
    }
    let reference = reader.reference(kind);
    if reference.as_ref().is_some_and(|reference| reference.on_delete == OnDelete::SetNull) {
        let obstacle =
            [(rules.required, "required"), (is_key, "the key"), (generated.is_some(), "generated")];
        if let Some((_, obstacle)) = obstacle.iter().find(|(holds, _)| *holds) {
            let message = format!(
                "Field \"{name}\" has onDelete \"set_null\" but is {obstacle}, so it can never be null; choose \
                 \"restrict\" or \"cascade\""
            );
            reader.fault("onDelete", "conflict", message);
        }
    }
    let default = options.get("default").cloned();
    let field = Field { name: name.into(), rules, generated, unique, default, reference };
    check_default(&field, &path, reading);
    Some(field)
}

/// A default is held to its own field's rules.
fn check_default(field: &Field, path: &str, reading: &mut Reading<'_>) {
    let Some(default) = &field.default else { return };
    if deeper_than(default, MAX_VALUE_DEPTH - 1) {
        let message = format!("Nested deeper than {MAX_VALUE_DEPTH} levels");
        reading.faults.add(format!("{path}.default"), "limit", message);
        return;
    }
    let mut issues = Vec::new();
    check_value(field, &Checked::New(default), &mut issues);
    for issue in issues {
        let inside = issue.field.strip_prefix(field.name()).unwrap_or_default();
        reading.faults.add(format!("{path}.default{inside}"), issue.code, issue.message);
    }
}

impl RulesReader<'_, '_> {
    fn generated(&mut self, kind: FieldType) -> Option<Generator> {
        let given = self.given("generated")?.as_str();
        let generators = [Generator::Uuid, Generator::Cuid, Generator::Autoincrement, Generator::Timestamp];
        let Some(generator) = generators.into_iter().find(|generator| Some(generator.as_str()) == given)
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

    fn reference(&mut self, kind: FieldType) -> Option<Reference> {
        let Some(target) = self.given("ref") else {
            if self.given("onDelete").is_some() {
                self.fault(
                    "onDelete",
                    "conflict",
                    "Means nothing without \"ref\"; name the bucket referred to",
                );
            }
            return None;
        };
        let target = target.as_str().filter(|name| !name.is_empty() && name.len() <= MAX_NAME_BYTES);
        let bucket = target.map(std::sync::Arc::from);
        if bucket.is_none() {
            self.fault("ref", "type", "Expected the name of the bucket referred to");
        }
        if !matches!(kind, FieldType::String | FieldType::Number | FieldType::Date) {
            let message = format!(
                "Refers to a key, which is a string or a number; this field is of type {}",
                kind.as_str()
            );
            self.fault("ref", "conflict", message);
        }
        let actions = [OnDelete::Restrict, OnDelete::Cascade, OnDelete::SetNull];
        let on_delete = match self.given("onDelete") {
            None => Some(OnDelete::Restrict),
            Some(name) => actions.into_iter().find(|action| Some(action.as_str()) == name.as_str()),
        };
        if on_delete.is_none() {
            self.fault("onDelete", "enum", "Expected one of: restrict, cascade, set_null");
        }
        Some(Reference { bucket: bucket?, on_delete: on_delete? })
    }
}
