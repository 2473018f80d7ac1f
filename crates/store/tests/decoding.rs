//! The decoders on random JSON that looks like what they expect; the fuzz targets in `fuzz/` run the same checks on bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod decoders;

use proptest::prelude::*;
use serde_json::{Value, json};

/// Names and texts that mean something to one decoder or another, and some that mean nothing.
const WORDS: [&str; 58] = [
    "key",
    "schema",
    "indexes",
    "unique",
    "ttl",
    "maxSize",
    "persistent",
    "etsType",
    "id",
    "s",
    "n",
    "o",
    "a",
    "x",
    "o.a.b",
    "a.0",
    "type",
    "string",
    "number",
    "boolean",
    "object",
    "array",
    "date",
    "required",
    "default",
    "generated",
    "uuid",
    "autoincrement",
    "enum",
    "min",
    "max",
    "minLength",
    "pattern",
    "^a+$",
    "format",
    "email",
    "ref",
    "onDelete",
    "properties",
    "items",
    "bucket",
    "filter",
    "sort",
    "asc",
    "desc",
    "offset",
    "limit",
    "fields",
    "aggregate",
    "function",
    "sum",
    "field",
    "groupBy",
    "include",
    "{{ params.a }}",
    "{{ params.c }}",
    "5m",
    "ordered_set",
];
const OPERATORS: [&str; 20] = [
    "$eq",
    "$neq",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$contains",
    "$startsWith",
    "$endsWith",
    "$exists",
    "$between",
    "$or",
    "$and",
    "$not",
    "$has",
    "$regex",
    "$",
    "$where",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => prop::sample::select(WORDS.to_vec()).prop_map(Value::from),
        2 => prop::sample::select(vec![json!(0), json!(1), json!(-1), json!(2.5), json!(1e300), json!(null), json!(true)]),
        1 => ".{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        2 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
        2 => prop::sample::select(OPERATORS.to_vec()).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A definition or query that is nearly right: random parts in the places where they belong.
fn nearly(names: &'static [&'static str], base: Value) -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(names.to_vec()), json()), 0..4).prop_map(move |members| {
        let mut value = base.clone();
        for (name, part) in members {
            value[name] = part;
        }
        value
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters(value in json()) {
        decoders::filter(value.to_string().as_bytes());
    }

    #[test]
    fn queries(
        value in prop_oneof![json(), nearly(&["filter", "sort", "offset", "limit", "fields", "aggregate", "include"], json!({}))],
    ) {
        decoders::query(value.to_string().as_bytes());
    }

    #[test]
    fn definitions(
        value in prop_oneof![
            json(),
            nearly(
                &["schema", "key", "indexes", "unique", "ttl", "maxSize", "persistent", "etsType", "validate"],
                json!({"key": "id", "schema": {"id": {"type": "string"}, "s": {"type": "string"}, "n": {"type": "number"}}}),
            ),
        ],
        field in json(),
    ) {
        decoders::schema(value.to_string().as_bytes());
        let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "f": field}});
        decoders::schema(config.to_string().as_bytes());
    }
}
