//! A configuration file as text: JSON or TOML, read into one tree.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fault::{Fault, FaultKind, Origin};
use super::keys;
use super::kind::shown;
use super::limits::MAX_FILE_BYTES;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let unreadable = |reason: String| Fault {
        origin: Origin::File(path.to_owned()),
        key: String::new(),
        kind: FaultKind::Unreadable { reason },
    };
    let told = |error: std::io::Error| {
        unreadable(match error.kind() {
            ErrorKind::NotFound => "there is no such file; check --config and DUNLIN_CONFIG".to_owned(),
            ErrorKind::PermissionDenied => {
                "permission denied; let the user of this process read it".to_owned()
            }
            ErrorKind::IsADirectory => "it is a directory; name a .json or .toml file in it".to_owned(),
            _ => error.to_string(),
        })
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too long" from "just fits" without trusting the size of special files.
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(told)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(format!(
            "it is longer than {MAX_FILE_BYTES} bytes; is it a configuration file?"
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        unreadable(format!("it is not UTF-8 text (byte {}); save it as UTF-8", e.utf8_error().valid_up_to()))
    })
}

/// Parses a document: `.json` and `.toml` by their name, others by the first character that is not blank.
pub(super) fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, Fault> {
    // Editors on Windows put a byte order mark in front; neither format knows it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let is_json = match extension.as_deref() {
        Some("json") => true,
        Some("toml") => false,
        _ => text.trim_start().starts_with('{'),
    };
    let fault = |kind| Fault { origin: Origin::File(path.to_owned()), key: String::new(), kind };
    if is_json {
        match serde_json::from_str::<Tree>(text) {
            Ok(Tree(Value::Object(map))) => Ok(map),
            Ok(Tree(other)) => Err(fault(FaultKind::Value {
                expected: "one object that holds the keys".to_owned(),
                found: shown(&other),
            })),
            Err(error) => Err(fault(json_fault(&error))),
        }
    } else {
        toml::from_str::<toml::Table>(text)
            .map(|table| table.into_iter().map(|(key, value)| (key, from_toml(value))).collect())
            .map_err(|error| fault(toml_fault(text, &error)))
    }
}

fn json_fault(error: &serde_json::Error) -> FaultKind {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let reason = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
    FaultKind::Syntax { format: "JSON", line: line.max(1), column: column.max(1), reason: reason.to_owned() }
}

fn toml_fault(text: &str, error: &toml::de::Error) -> FaultKind {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    FaultKind::Syntax {
        format: "TOML",
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        reason: error.message().replace('\n', ", "),
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        // JSON has no infinity; as text it is found and named like any other wrong value.
        toml::Value::Float(number) => {
            Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number)
        }
        toml::Value::Boolean(switch) => Value::Bool(switch),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => list.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, from_toml(value))).collect(),
    }
}

/// A JSON value whose objects name each key once. Plain parsing keeps the last of two equal keys and drops the first
/// one silently; TOML refuses that by itself.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, switch: bool) -> Result<Value, E> {
        Ok(Value::Bool(switch))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Tree(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if map.contains_key(&key) {
                // Only a name of ours is repeated: any other may be a token.
                let which =
                    if keys::is_name_of_any(&key) { format!("the key {key}") } else { "a key".to_owned() };
                return Err(A::Error::custom(format!("{which} is given twice")));
            }
            let Tree(value) = object.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
