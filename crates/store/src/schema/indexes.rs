//! Reads which indexes a bucket has.

use serde_json::{Map, Value};

use super::fault::Faults;
use super::{Field, FieldType, IndexSpec, Purpose};
use crate::limits::{MAX_INDEX_FIELDS, MAX_INDEXES};

/// Where the places of fields come from: the schema as given, and those of its fields that could be read.
pub(super) struct Names<'a> {
    pub(super) bucket: &'a str,
    pub(super) schema: Option<&'a Map<String, Value>>,
    pub(super) fields: &'a [Field],
}

/// All indexes: those of `indexes`, then unique fields in schema order, then those of `unique`, then those that the store
/// needs itself, each unless there is one over the same fields.
pub(super) fn indexes(
    config: &Map<String, Value>,
    names: &Names<'_>,
    ordered_key: Option<usize>,
    faults: &mut Faults,
) -> Vec<IndexSpec> {
    let mut found = Vec::new();
    for (i, index) in list(config, "indexes", "field names, and arrays of them", faults) {
        let path = format!("indexes[{i}]");
        let slots = match index {
            Value::String(name) => {
                let slot = names.slot(name, path.clone(), faults);
                slot.inspect(|slot| names.has_order(*slot, path, faults)).map(|slot| Box::from([slot]))
            }
            Value::Array(_) => names.slots(index, &path, faults),
            _ => {
                faults.add(path, "type", "Expected a field name, or an array of field names");
                continue;
            }
        };
        found.extend(slots.map(|slots| (slots, Purpose::Declared, false)));
    }
    let unique = names.fields.iter().enumerate().filter(|(_, field)| field.unique);
    found.extend(unique.map(|(slot, _)| (Box::from([slot]), Purpose::Declared, true)));
    for (i, fields) in list(config, "unique", "arrays of field names", faults) {
        let slots = names.slots(fields, &format!("unique[{i}]"), faults);
        found.extend(slots.map(|slots| (slots, Purpose::Declared, true)));
    }
    let references = names.fields.iter().enumerate().filter(|(_, field)| field.reference.is_some());
    found.extend(references.map(|(slot, _)| (Box::from([slot]), Purpose::Reference, false)));
    found.extend(ordered_key.map(|slot| (Box::from([slot]), Purpose::KeyOrder, false)));

    let mut specs: Vec<IndexSpec> = Vec::with_capacity(found.len().min(MAX_INDEXES));
    for (slots, purpose, unique) in found {
        match specs.iter_mut().find(|spec| spec.slots == slots) {
            Some(spec) => spec.unique |= unique,
            None => specs.push(IndexSpec { slots, unique, purpose }),
        }
        if specs.len() > MAX_INDEXES {
            let message = format!(
                "At most {MAX_INDEXES} indexes are possible; unique fields, references and an ordered key have one each"
            );
            faults.add("indexes", "limit", message);
            break;
        }
    }
    specs
}

/// The elements of a list in the config, with their places.
fn list<'a>(
    config: &'a Map<String, Value>,
    option: &str,
    of: &str,
    faults: &mut Faults,
) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    let elements = match config.get(option) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(elements)) => elements.as_slice(),
        Some(_) => {
            faults.add(option, "type", format!("Expected an array of {of}"));
            &[]
        }
    };
    elements.iter().enumerate()
}

impl Names<'_> {
    /// The place of a field; `None` also if the field could not be read, which is told elsewhere.
    fn slot(&self, name: &str, path: String, faults: &mut Faults) -> Option<usize> {
        if !self.schema.is_some_and(|schema| schema.contains_key(name)) {
            let message =
                format!("Index field \"{name}\" does not exist in schema for bucket \"{}\"", self.bucket);
            faults.add(path, "unknown", message);
        }
        self.fields.iter().position(|field| field.name() == name)
    }

    /// Values of a field of type `any` have no order that an index could keep.
    fn has_order(&self, slot: usize, path: String, faults: &mut Faults) {
        if self.fields.get(slot).map(Field::kind) == Some(FieldType::Any) {
            faults.add(path, "conflict", "A field of type any cannot be indexed; give it another type");
        }
    }

    /// The places of fields that are indexed together.
    fn slots(&self, names: &Value, path: &str, faults: &mut Faults) -> Option<Box<[usize]>> {
        let names = match names {
            Value::Array(names) if (2..=MAX_INDEX_FIELDS).contains(&names.len()) => names,
            _ => {
                let message = format!(
                    "Expected an array of 2 to {MAX_INDEX_FIELDS} field names; a single field is named without an \
                     array in \"indexes\", and has \"unique\" in its own definition"
                );
                faults.add(path, "type", message);
                return None;
            }
        };
        let mut slots = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            let path = format!("{path}[{i}]");
            let Some(text) = name.as_str() else {
                faults.add(path, "type", "Expected a field name");
                continue;
            };
            if names.iter().take(i).any(|other| other == name) {
                faults.add(path, "conflict", format!("Field \"{text}\" is named twice"));
                continue;
            }
            let Some(slot) = self.slot(text, path.clone(), faults) else { continue };
            let kind = self.fields.get(slot).map(Field::kind);
            self.has_order(slot, path.clone(), faults);
            if matches!(kind, Some(FieldType::Object | FieldType::Array)) {
                let message = "Objects and arrays cannot be part of an index over several fields";
                faults.add(path, "conflict", message);
            }
            slots.push(slot);
        }
        (slots.len() == names.len()).then(|| slots.into())
    }
}
