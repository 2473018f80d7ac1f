//! Reads actions that write to the store.

use std::sync::Arc;

use serde_json::Value;

use super::Reader;
use super::fields::join;
use crate::Object;
use crate::action::{Action, StoreWrite};
use crate::condition::{Operand, Template};

/// What can be done to a record.
const WRITES: [&str; 4] = ["insert", "update", "upsert", "delete"];

impl Reader<'_> {
    /// `store_insert` and so on; `name` is what stands behind `store_`.
    pub(super) fn store_action(&mut self, at: &str, name: &str, given: &Object) -> Option<Action> {
        let subject = format!("store_{name} action");
        let operations = if name == "transaction" {
            let operations = self.filled_list(at, given, "operations", &subject);
            self.known(at, given, &["type", "operations", "as"]);
            let read = |(index, operation)| self.operation(&format!("{at}.operations[{index}]"), operation);
            operations.map(|operations| operations.iter().enumerate().map(read).collect::<Vec<_>>())
        } else {
            self.known_of_write(at, given, name, "type");
            Some(vec![self.write(at, name, given, &subject)])
        };
        let as_name = match given.get("as") {
            None => Some(None),
            Some(Value::String(name)) => self.variable(&join(at, "as"), name).map(Some),
            Some(_) => self.none(join(at, "as"), "type", format!("{subject} as must be a string")),
        };
        let operations = operations?.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Action::Store { operations, as_name: as_name?, list: name == "transaction" })
    }

    fn operation(&mut self, at: &str, given: &Value) -> Option<StoreWrite> {
        if !self.part(at, 1) {
            return None;
        }
        let Some(given) = given.as_object() else {
            return self.none(at, "type", "Operation must be an object");
        };
        let op = self.string(at, given, "op", "Operation")?;
        if !WRITES.contains(&op) {
            let message = format!("Invalid operation: {op}. Valid operations: {}", WRITES.join(", "));
            return self.none(join(at, "op"), "enum", message);
        }
        self.known_of_write(at, given, op, "op");
        self.write(at, op, given, "Operation")
    }

    fn known_of_write(&mut self, at: &str, given: &Object, name: &str, kind: &str) {
        let as_name = if kind == "type" { "as" } else { kind };
        match name {
            "update" => self.known(at, given, &[kind, "bucket", "key", "data", as_name]),
            "delete" => self.known(at, given, &[kind, "bucket", "key", as_name]),
            _ => self.known(at, given, &[kind, "bucket", "data", as_name]),
        }
    }

    fn write(&mut self, at: &str, name: &str, given: &Object, subject: &str) -> Option<StoreWrite> {
        let bucket = self.bucket(at, given, subject);
        let key = |reader: &mut Self| {
            reader.member(at, given, "key", subject).map(|key| reader.operand(&join(at, "key"), key))
        };
        let data = |reader: &mut Self| {
            let data = reader.member(at, given, "data", subject)?;
            reader.event_data(&join(at, "data"), data, subject)
        };
        Some(match name {
            "update" => {
                let (key, data) = (key(self), data(self));
                StoreWrite::Update { bucket: bucket?, key: key?, data: data? }
            }
            "delete" => {
                let key = key(self);
                StoreWrite::Delete { bucket: bucket?, key: key? }
            }
            "upsert" => {
                let data = data(self);
                StoreWrite::Upsert { bucket: bucket?, data: data? }
            }
            _ => {
                let data = data(self);
                StoreWrite::Insert { bucket: bucket?, data: data? }
            }
        })
    }

    fn bucket(&mut self, at: &str, given: &Object, subject: &str) -> Option<Template> {
        let bucket = self.filled(at, given, "bucket", subject)?;
        let place = join(at, "bucket");
        if bucket.starts_with('_') {
            let message = format!("Cannot access system bucket \"{bucket}\" directly");
            return self.none(place, "reserved", message);
        }
        self.template(&place, bucket)
    }

    /// The name of a variable that an action sets.
    pub(super) fn variable(&mut self, at: &str, name: &str) -> Option<Arc<str>> {
        let name = self.identifier(at, name)?;
        self.uses.sets(&name);
        Some(name)
    }

    /// Data that must come out as an object.
    pub(super) fn event_data(&mut self, at: &str, given: &Value, subject: &str) -> Option<Operand> {
        let operand = self.operand(at, given);
        match given {
            Value::Object(_) => Some(operand),
            _ => self.none(at, "type", format!("{subject} data must be an object")),
        }
    }
}
