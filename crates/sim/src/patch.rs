//! A JSON Patch applied as RFC 6902 says, and nothing more generous: what a client's library does.

use serde_json::Value;

/// Applies the operations of a patch.
pub(crate) fn apply(document: &mut Value, operations: &Value) {
    for operation in operations.as_array().expect("a patch is an array") {
        let path = operation["path"].as_str().unwrap();
        match operation["op"].as_str().unwrap() {
            "replace" if path.is_empty() => *document = operation["value"].clone(),
            "replace" => {
                let target = document.pointer_mut(path);
                *target.unwrap_or_else(|| panic!("{operation} replaces nothing")) =
                    operation["value"].clone();
            }
            "add" => add(document, path, operation["value"].clone()),
            "remove" => drop(remove(document, path)),
            "move" => {
                let value = remove(document, operation["from"].as_str().unwrap());
                add(document, path, value);
            }
            other => panic!("an operation that nobody promised: {other}"),
        }
    }
}

fn parent<'d>(document: &'d mut Value, path: &str) -> (&'d mut Value, String) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{path} has no parent"));
    (parent, last.replace("~1", "/").replace("~0", "~"))
}

fn add(document: &mut Value, path: &str, value: Value) {
    match parent(document, path) {
        (Value::Array(elements), at) => elements.insert(at.parse().unwrap(), value),
        (Value::Object(members), name) => drop(members.insert(name, value)),
        (other, _) => panic!("{path} adds to {other}"),
    }
}

fn remove(document: &mut Value, path: &str) -> Value {
    match parent(document, path) {
        (Value::Array(elements), at) => elements.remove(at.parse().unwrap()),
        (Value::Object(members), name) => {
            members.remove(&name).unwrap_or_else(|| panic!("{path} removes nothing"))
        }
        (other, _) => panic!("{path} removes from {other}"),
    }
}
