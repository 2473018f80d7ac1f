//! Rules of values: patterns, formats, what is nested in objects and arrays.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, object};
use dunlin_store::limits::{MAX_PATTERN_TEXT_BYTES, MAX_PATTERNS, MAX_SCHEMA_DEPTH};
use dunlin_store::{Definition, StoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn world(schema: Value) -> World {
    let mut config = json!({"key": "id", "schema": {"id": {"type": "string", "generated": "uuid"}}});
    config["schema"].as_object_mut().unwrap().extend(object(schema));
    World::with_bucket("b", config)
}

/// `field: code` of everything wrong with a record.
fn issues(world: &mut World, record: Value) -> Vec<String> {
    match world.insert("b", record) {
        Ok(_) => Vec::new(),
        Err(StoreError::Validation { issues, .. }) => {
            issues.iter().map(|issue| format!("{}: {}", issue.field, issue.code)).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

fn faults(field: Value) -> Vec<String> {
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "f": field}});
    match Definition::parse("b", &object(config)) {
        Ok(_) => Vec::new(),
        Err(StoreError::InvalidDefinition { issues, .. }) => {
            issues.iter().map(|issue| format!("{}: {}", issue.field, issue.code)).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn all_issues_in_their_order() {
    let mut world = world(json!({
        "n": {"type": "number", "min": 0},
        "s": {"type": "string", "minLength": 2, "pattern": "^a", "format": "email", "enum": ["aaa"]},
        "o": {"type": "object"},
        "b": {"type": "boolean", "required": true},
    }));
    let error = world.insert("b", json!({"n": -1, "s": "b", "o": []})).unwrap_err();
    let expected = json!([
        {"field": "n", "message": "Minimum value is 0", "code": "min"},
        {"field": "s", "message": "Value must be one of: aaa", "code": "enum"},
        {"field": "s", "message": "Minimum length is 2", "code": "minLength"},
        {"field": "s", "message": "Value must match pattern \"^a\"", "code": "pattern"},
        {"field": "s", "message": "Invalid email format", "code": "format"},
        {"field": "o", "message": "Expected type \"object\", got array", "code": "type"},
        {"field": "b", "message": "Field is required", "code": "required"},
    ]);
    assert_eq!(error.details(), Some(expected));
}

#[test]
fn patterns_and_formats_hold_for_strings_only() {
    let mut world = world(json!({
        "d": {"type": "date", "format": "iso-date", "pattern": "^2"},
        "u": {"type": "string", "format": "url"},
    }));
    for good in [json!({"d": 5}), json!({"d": null, "u": null}), json!({"d": "2024-02-29", "u": "a:b"})] {
        assert_eq!(issues(&mut world, good), [""; 0]);
    }
    assert_eq!(
        issues(&mut world, json!({"d": "1900-02-29", "u": "//x"})),
        ["d: pattern", "d: format", "u: format"]
    );
    let long = "2".repeat(MAX_PATTERN_TEXT_BYTES + 1);
    assert_eq!(issues(&mut world, json!({"d": long})), ["d: limit", "d: format"]);
}

#[test]
fn nested_values_are_checked_depth_first_in_schema_order() {
    let mut world = world(json!({
        "addr": {"type": "object", "required": true, "properties": {
            "city": {"type": "string", "required": true, "minLength": 2},
            "geo": {"type": "object", "properties": {"lat": {"type": "number", "min": -90, "max": 90, "required": true}}},
            "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
        }},
        "tags": {"type": "array", "items": {"type": "string", "required": true, "enum": ["a", "b"]}},
        "m": {"type": "array", "items": {"type": "array", "items": {"type": "object", "properties": {
            "n": {"type": "number"}, "at": {"type": "date", "format": "iso-date"},
        }}}},
        "last": {"type": "number", "required": true},
    }));
    let good = json!({
        "addr": {"city": "Brno", "geo": {"lat": 49.2}, "zip": "60200", "more": [1]},
        "tags": ["a", null, "b"],
        "m": [null, [null, {"n": 1, "at": "2024-01-01"}, {}]],
        "last": 1,
    });
    assert_eq!(issues(&mut world, good.clone()), [""; 0]);
    assert_eq!(issues(&mut world, json!({"addr": {"city": "Brno"}, "tags": [], "last": 1})), [""; 0]);
    let bad = json!({
        "addr": {"zip": "x", "geo": {"lat": 91}, "city": "B"},
        "tags": ["a", 5, "c"],
        "m": [[{"n": 1}, {"n": "x", "at": "2023-02-29"}], 7, [[]]],
    });
    let expected = [
        "addr.city: minLength",
        "addr.geo.lat: max",
        "addr.zip: pattern",
        "tags[1]: type",
        "tags[2]: enum",
        "m[0][1].n: type",
        "m[0][1].at: format",
        "m[1]: type",
        "m[2][0]: type",
        "last: required",
    ];
    assert_eq!(issues(&mut world, bad), expected);
    let missing = json!({"addr": {"geo": {}, "city": null}, "last": 1});
    assert_eq!(issues(&mut world, missing), ["addr.city: required", "addr.geo.lat: required"]);
    assert_eq!(issues(&mut world, json!({"addr": [], "last": 1})), ["addr: type"]);
    assert_eq!(
        issues(&mut world, json!({"last": 1})),
        ["addr: required"],
        "what is absent has no members to miss"
    );

    let mut with_key = good;
    with_key["id"] = "k".into();
    world.insert("b", with_key).unwrap();
    let error = world.update("b", json!("k"), json!({"addr": {"zip": "60200"}})).unwrap_err();
    assert!(error.to_string().contains("addr.city: Field is required"), "replaced whole: {error}");
    world.update("b", json!("k"), json!({"last": 2})).unwrap();
}

#[test]
fn many_nested_issues_are_cut_off() {
    let mut world = world(json!({"tags": {"type": "array", "items": {"type": "string"}}}));
    let numbers: Vec<i32> = (0..10_000).collect();
    assert_eq!(issues(&mut world, json!({"tags": numbers})).len(), 100);
}

/// `levels` levels of objects inside a field, the innermost value a number.
fn nested(levels: usize, innermost: Value) -> Value {
    (0..levels).fold(innermost, |inner, _| json!({"type": "object", "properties": {"x": inner}}))
}

#[test]
fn every_level_that_can_be_defined_is_checked() {
    let deepest = nested(MAX_SCHEMA_DEPTH, json!({"type": "number"}));
    let mut world = world(json!({"f": deepest}));
    let value = (0..MAX_SCHEMA_DEPTH).fold(json!("no number"), |inner, _| json!({"x": inner}));
    assert_eq!(
        issues(&mut world, json!({"f": value})),
        [format!("f{}: type", ".x".repeat(MAX_SCHEMA_DEPTH))]
    );
    let path = ".properties.x".repeat(MAX_SCHEMA_DEPTH);
    assert_eq!(
        faults(nested(MAX_SCHEMA_DEPTH + 1, json!({"type": "number"}))),
        [format!("schema.f{path}.properties: limit")]
    );
    let items =
        (0..=MAX_SCHEMA_DEPTH).fold(json!({"type": "number"}), |i, _| json!({"type": "array", "items": i}));
    assert_eq!(faults(items), [format!("schema.f{}.items: limit", ".items".repeat(MAX_SCHEMA_DEPTH))]);
}

#[test]
fn every_fault_of_a_nested_definition_with_its_path() {
    let table = [
        (json!({"type": "string", "properties": {}}), vec!["properties: conflict"]),
        (json!({"type": "object", "items": {"type": "string"}}), vec!["items: conflict"]),
        (json!({"type": "object", "properties": []}), vec!["properties: type"]),
        (json!({"type": "object", "properties": {"": {"type": "string"}}}), vec!["properties.: limit"]),
        (json!({"type": "object", "properties": {"a": 5}}), vec!["properties.a: type"]),
        (json!({"type": "object", "properties": {"a": {}}}), vec!["properties.a.type: type"]),
        (json!({"type": "array", "items": "string"}), vec!["items: type"]),
        (json!({"type": "array", "items": {}}), vec!["items.type: type"]),
        (
            json!({"type": "object", "properties": {"city": {
                "type": "string", "default": "x", "generated": "uuid", "unique": true, "ref": "b", "onDelete": "cascade",
                "validate": true, "min": 1, "minLength": 2, "maxLength": 1, "pattern": "(", "format": "phone",
            }}}),
            vec![
                "properties.city.default: unsupported",
                "properties.city.generated: unsupported",
                "properties.city.unique: unsupported",
                "properties.city.ref: unsupported",
                "properties.city.onDelete: unsupported",
                "properties.city.validate: unsupported",
                "properties.city.min: conflict",
                "properties.city.pattern: pattern",
                "properties.city.format: enum",
                "properties.city.minLength: conflict",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "array", "items": {"type": "number", "min": 2, "max": 1}}}),
            vec!["items.items.min: conflict"],
        ),
        (
            json!({"type": "number", "pattern": "a", "format": "url"}),
            vec!["pattern: conflict", "format: conflict"],
        ),
        (json!({"type": "string", "pattern": 5}), vec!["pattern: type"]),
        (json!({"type": "string", "pattern": "(?=a)"}), vec!["pattern: pattern"]),
        (json!({"type": "string", "validate": "code"}), vec!["validate: unsupported"]),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}},
                "default": {"a": [1, "x"]}}),
            vec!["default.a[1]: type"],
        ),
    ];
    for (field, expected) in table {
        let expected: Vec<String> = expected.into_iter().map(|fault| format!("schema.f.{fault}")).collect();
        assert_eq!(faults(field.clone()), expected, "{field}");
    }
    let harmless =
        json!({"type": "object", "properties": {"a": {"type": "string", "unique": false, "default": null}}});
    assert_eq!(faults(harmless), [""; 0]);
    let many: Value =
        (0..=MAX_PATTERNS).map(|i| (format!("p{i}"), json!({"type": "string", "pattern": "a"}))).collect();
    let expected = format!("schema.f.properties.p{MAX_PATTERNS}.pattern: limit");
    assert_eq!(faults(json!({"type": "object", "properties": many})), [expected]);
}

/// A nested definition, and a value that may keep it or not.
fn definition() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "number", "min": 0, "required": true})),
        Just(json!({"type": "string", "enum": ["a"]})),
        Just(json!({"type": "boolean"})),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            (inner.clone(), inner, any::<bool>()).prop_map(|(a, b, required)| {
                json!({"type": "object", "required": required, "properties": {"a": a, "b": b}})
            }),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), Just(json!("a")), Just(json!(true)), (-1..2).prop_map(|n| json!(n)),];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[abc]", inner), 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// What is wrong with a value, told the slow way.
fn expected(definition: &Value, value: Option<&Value>, path: &str, found: &mut Vec<String>) {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if definition["required"] == json!(true) {
            found.push(format!("{path}: required"));
        }
        return;
    };
    let fits = match definition["type"].as_str().unwrap() {
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        _ => value.is_array(),
    };
    if !fits {
        return found.push(format!("{path}: type"));
    }
    if definition["enum"].as_array().is_some_and(|options| !options.contains(value)) {
        found.push(format!("{path}: enum"));
    }
    if value.as_i64().is_some_and(|n| n < 0) {
        found.push(format!("{path}: min"));
    }
    for (name, inner) in definition["properties"].as_object().into_iter().flatten() {
        expected(inner, value.get(name), &format!("{path}.{name}"), found);
    }
    for (i, element) in value.as_array().into_iter().flatten().enumerate() {
        let mut items = definition["items"].clone();
        items["required"] = false.into();
        expected(&items, Some(element), &format!("{path}[{i}]"), found);
    }
}

proptest! {
    #[test]
    fn nested_issues_are_those_of_a_plain_walk(definition in definition(), value in value()) {
        let mut found = Vec::new();
        expected(&definition, Some(&value), "f", &mut found);
        let mut world = world(json!({"f": definition}));
        prop_assert_eq!(issues(&mut world, json!({"id": "k", "f": value})), found.clone());
        if found.is_empty() {
            // The same holds of a value that is stored already.
            let updated = world.update("b", json!("k"), json!({"extra": 1}));
            prop_assert!(updated.is_ok());
        }
    }
}
