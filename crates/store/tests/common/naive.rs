//! Random records and filters, and what a filter means, said as plainly as possible.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::object;

/// Values of few kinds, so that they often meet: neighbours, one number in two writings, strings longer than what an
/// index keeps that begin alike.
pub fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(2),
        json!(-1),
        json!(""),
        json!("1"),
        json!("a"),
        json!("b"),
        json!("B"),
        json!("\u{1F600}"),
        json!("\u{FFFD}"),
        json!("a long text that goes on"),
        json!("a long text that goes on and on"),
        json!("a long text th"),
        json!("a long text that ends"),
    ])
}

fn nested() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!({}),
        json!([1, "a"]),
        json!([[1]]),
        json!({"x": 1}),
        json!({"x": {"y": "a"}}),
        json!({"x": [null, "a\"]"]}),
    ])
}

fn typed(fits: fn(&Value) -> bool) -> impl Strategy<Value = Value> {
    scalar().prop_filter("fits its type", move |value| value.is_null() || fits(value))
}

/// A record for fields `id a b` (dates), `c` (boolean), `o` (object), `t` (array), and some outside the schema.
pub fn record() -> impl Strategy<Value = Value> {
    let date = || typed(|value| value.is_string() || value.is_number());
    let array = prop_oneof![Just(json!(null)), nested().prop_filter("array", Value::is_array)];
    let object = prop_oneof![Just(json!(null)), nested().prop_filter("object", Value::is_object)];
    (
        prop_oneof![
            (0_u32..40).prop_map(Value::from),
            (0_u32..40).prop_map(|n| Value::from(format!("a key that is long {n}"))),
        ],
        prop::option::weighted(0.8, date()),
        prop::option::weighted(0.8, date()),
        prop::option::of(typed(Value::is_boolean)),
        prop::option::of(object),
        prop::option::of(array),
        prop::option::of(prop_oneof![scalar(), nested()]),
        prop::option::weighted(0.1, scalar()),
    )
        .prop_map(|(id, a, b, c, o, t, extra, dotted)| {
            let mut record = Map::new();
            record.insert("id".into(), id);
            let members =
                [("a", a), ("extra", extra), ("b", b), ("c", c), ("o.x", dotted), ("o", o), ("t", t)];
            for (name, value) in members {
                if let Some(value) = value {
                    record.insert(name.into(), value);
                }
            }
            Value::Object(record)
        })
}

fn condition() -> impl Strategy<Value = Value> {
    let value = || prop_oneof![6 => scalar(), 1 => nested()];
    let comparable = || scalar().prop_filter("comparable", |v| v.is_string() || v.is_number());
    let text =
        || prop::sample::select(vec!["", "a", "b", "A LONG", "a long text that", "a long text that goes on"]);
    let set = prop_oneof![
        1 => (prop::sample::select(vec!["$eq", "$neq"]), value()).prop_map(|(op, v)| json!({op: v})),
        2 => (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), comparable()).prop_map(|(op, v)| json!({op: v})),
        1 => (comparable(), comparable()).prop_map(|(low, high)| json!({"$gte": low, "$lt": high})),
        2 => (prop::sample::select(vec!["$in", "$in", "$nin"]), prop::collection::vec(value(), 0..4))
            .prop_map(|(op, v)| json!({op: v})),
        2 => (prop::sample::select(vec!["$contains", "$startsWith", "$startsWith", "$endsWith"]), text())
            .prop_map(|(op, v)| json!({op: v})),
        1 => any::<bool>().prop_map(|exists| json!({"$exists": exists})),
        1 => scalar().prop_map(|v| json!({"$has": v})),
        1 => (comparable(), comparable())
            .prop_filter("one type", |(a, b)| a.is_string() == b.is_string())
            .prop_map(|(a, b)| json!({"$between": [a, b]})),
    ];
    let set = set.prop_recursive(2, 4, 1, |inner| inner.prop_map(|set| json!({"$not": set})));
    prop_oneof![2 => value(), 3 => set]
}

/// Any filter on the fields of [`record`].
pub fn filter() -> impl Strategy<Value = Value> {
    let names = vec![
        "id", "a", "a", "b", "b", "c", "o", "t", "extra", "o.x", "o.x.y", "t.0", "extra.x", "extra.1",
        "nowhere", "_version",
    ];
    let key = (0_u32..40).prop_map(|n| json!({"id": n}));
    let leaf = prop::collection::vec((prop::sample::select(names), condition()), 0..4)
        .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, c)| (name.to_owned(), c)).collect()));
    let leaf = prop_oneof![8 => leaf, 1 => key];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["$or", "$and"]),
                prop::collection::vec(inner.clone(), 0..3)
            )
                .prop_map(|(mut base, op, alternatives)| {
                    base[op] = alternatives.into();
                    base
                }),
            (inner.clone(), inner).prop_map(|(mut base, not)| {
                base["$not"] = not;
                base
            }),
        ]
    })
}

/// Whether a record matches a filter.
pub fn matches(record: &Value, filter: &Value) -> bool {
    object(filter.clone()).iter().all(|(name, condition)| match name.as_str() {
        "$or" => condition.as_array().unwrap().iter().any(|filter| matches(record, filter)),
        "$and" => condition.as_array().unwrap().iter().all(|filter| matches(record, filter)),
        "$not" => !matches(record, condition),
        name => holds(member(record, name), condition),
    })
}

/// The member of this name, or what the name leads to.
pub fn member<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    record.get(name).or_else(|| {
        name.contains('.').then(|| {
            name.split('.').try_fold(record, |value, part| match value {
                Value::Array(elements) => elements.get(part.parse::<usize>().ok()?),
                value => value.get(part),
            })
        })?
    })
}

fn holds(value: Option<&Value>, condition: &Value) -> bool {
    let operators =
        condition.as_object().filter(|set| !set.is_empty() && set.keys().all(|k| k.starts_with('$')));
    let Some(operators) = operators else { return equal(value, condition) };
    operators.iter().all(|(operator, operand)| {
        let related = |test: fn(Ordering) -> bool| value.and_then(|v| order(v, operand)).is_some_and(test);
        let text = |test: &dyn Fn(&str, &str) -> bool| {
            value.and_then(Value::as_str).is_some_and(|text| test(text, operand.as_str().unwrap()))
        };
        match operator.as_str() {
            "$eq" => equal(value, operand),
            "$neq" => !equal(value, operand),
            "$gt" => related(Ordering::is_gt),
            "$gte" => related(Ordering::is_ge),
            "$lt" => related(Ordering::is_lt),
            "$lte" => related(Ordering::is_le),
            "$in" => operand.as_array().unwrap().iter().any(|element| equal(value, element)),
            "$nin" => !operand.as_array().unwrap().iter().any(|element| equal(value, element)),
            "$has" => {
                value.and_then(Value::as_array).is_some_and(|v| v.iter().any(|e| equal(Some(e), operand)))
            }
            "$not" => !holds(value, operand),
            "$contains" => text(&|text, part| text.to_lowercase().contains(&part.to_lowercase())),
            "$startsWith" => text(&|text, part| text.starts_with(part)),
            "$endsWith" => text(&|text, part| text.ends_with(part)),
            "$exists" => value.is_some_and(|v| !v.is_null()) == operand.as_bool().unwrap(),
            "$between" => {
                let bound = |i: usize| value.and_then(|v| order(v, &operand[i]));
                bound(0).is_some_and(Ordering::is_ge) && bound(1).is_some_and(Ordering::is_le)
            }
            other => panic!("{other}"),
        }
    })
}

/// A number as an integer, if it is one, and as a double.
#[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
pub fn number(value: &Value) -> Option<(Option<i128>, f64)> {
    let number = value.as_number()?;
    let float = number.as_f64()?;
    let int = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    let whole = (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128);
    Some((int.or(whole), float))
}

/// The order of numbers, exact also between integers beyond 2^53 and doubles.
pub fn number_order(a: &Value, b: &Value) -> Option<Ordering> {
    match (number(a)?, number(b)?) {
        ((Some(a), _), (Some(b), _)) => Some(a.cmp(&b)),
        // One of them has a fraction or is huge; doubles beyond 2^53 are whole, so rounding the other is harmless.
        ((_, a), (_, b)) => a.partial_cmp(&b),
    }
}

/// Equality of scalars by type and value; objects and arrays equal nothing.
pub fn equal(a: Option<&Value>, b: &Value) -> bool {
    match (a, b) {
        (Some(Value::Number(_)), Value::Number(_)) => {
            a.is_some_and(|a| number_order(a, b) == Some(Ordering::Equal))
        }
        (Some(Value::Object(_) | Value::Array(_)) | None, _) => false,
        (Some(a), b) => a == b,
    }
}

/// How two numbers or two strings stand to each other.
pub fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
        _ => number_order(a, b),
    }
}

/// The order of a query's sort by one member: nullish last both ways, types in a fixed order.
pub fn sort_order(a: Option<&Value>, b: Option<&Value>, descending: bool) -> Ordering {
    let nullish = |v: Option<&Value>| v.is_none_or(Value::is_null);
    let rank = |v: &Value| match v {
        Value::Bool(_) => 0,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        _ => 3,
    };
    match (a, b) {
        _ if nullish(a) || nullish(b) => nullish(a).cmp(&nullish(b)),
        (Some(Value::Bool(a)), Some(Value::Bool(b))) if descending => b.cmp(a),
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (Some(a), Some(b)) => {
            let order = order(a, b).unwrap_or_else(|| rank(a).cmp(&rank(b)));
            if descending { order.reverse() } else { order }
        }
        _ => Ordering::Equal,
    }
}
