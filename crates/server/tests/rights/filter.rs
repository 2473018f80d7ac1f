//! Filters, as `docs/protocol.md` describes them: looked at record by record, with no index and no plan.

use std::cmp::Ordering;

use serde_json::Value;

/// The member that a name leads to.
pub(crate) fn member<'r>(record: &'r Value, name: &str) -> Option<&'r Value> {
    if let Some(found) = record.get(name) {
        return Some(found);
    }
    name.split('.').try_fold(record, |value, part| match value {
        Value::Array(elements) => elements.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// Whether a record is one of those that a filter asks for.
pub(crate) fn matches(filter: &Value, record: &Value) -> bool {
    filter.as_object().unwrap().iter().all(|(name, wanted)| match name.as_str() {
        "$or" => wanted.as_array().unwrap().iter().any(|branch| matches(branch, record)),
        "$and" => wanted.as_array().unwrap().iter().all(|branch| matches(branch, record)),
        "$not" => !matches(wanted, record),
        _ => holds(wanted, member(record, name)),
    })
}

fn holds(wanted: &Value, value: Option<&Value>) -> bool {
    let Value::Object(operators) = wanted else { return equal(value, wanted) };
    operators.iter().all(|(operator, operand)| {
        let within = || operand.as_array().unwrap().iter().any(|one| equal(value, one));
        let ordered = || value.and_then(|value| order(value, operand));
        match operator.as_str() {
            "$eq" => equal(value, operand),
            "$neq" => !equal(value, operand),
            "$in" => within(),
            "$nin" => !within(),
            "$gt" => ordered() == Some(Ordering::Greater),
            "$gte" => matches!(ordered(), Some(Ordering::Greater | Ordering::Equal)),
            "$lt" => ordered() == Some(Ordering::Less),
            "$lte" => matches!(ordered(), Some(Ordering::Less | Ordering::Equal)),
            "$exists" => value.is_some_and(|value| !value.is_null()) == operand.as_bool().unwrap(),
            "$startsWith" => {
                value.and_then(Value::as_str).is_some_and(|text| text.starts_with(operand.as_str().unwrap()))
            }
            "$not" => !holds(operand, value),
            other => panic!("nobody asks for {other}"),
        }
    })
}

/// Equality of plain values; an object or an array equals nothing.
fn equal(value: Option<&Value>, wanted: &Value) -> bool {
    match (value, wanted) {
        (Some(Value::Number(one)), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (None | Some(Value::Object(_) | Value::Array(_)), _) => false,
        (Some(value), wanted) => value == wanted,
    }
}

/// How numbers relate to numbers, and strings to strings. All strings of these worlds are ASCII.
pub(crate) fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// The members that a filter looks at.
pub(crate) fn names(filter: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for (name, wanted) in filter.as_object().into_iter().flatten() {
        match name.as_str() {
            "$or" | "$and" => found.extend(wanted.as_array().into_iter().flatten().flat_map(names)),
            "$not" => found.extend(names(wanted)),
            _ => found.push(name.as_str()),
        }
    }
    found
}
