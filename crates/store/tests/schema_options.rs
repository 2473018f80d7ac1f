//! Indexes, references and the options of a bucket, as far as its definition says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, object};
use dunlin_store::{Definition, OnDelete, StoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(config: Value) -> Result<Definition, StoreError> {
    Definition::parse("b", &object(config))
}

/// A definition with some fields of every kind, and `options`.
fn with(options: Value) -> Value {
    let mut config = json!({"key": "id", "schema": {
        "id": {"type": "string"},
        "a": {"type": "string"},
        "b": {"type": "number"},
        "c": {"type": "date"},
        "d": {"type": "boolean"},
        "e": {"type": "string"},
        "o": {"type": "object"},
        "u": {"type": "string", "unique": true},
    }});
    config.as_object_mut().unwrap().extend(object(options));
    config
}

fn faults(config: Value) -> Vec<String> {
    match parse(config) {
        Ok(_) => Vec::new(),
        Err(StoreError::InvalidDefinition { issues, .. }) => {
            issues.iter().map(|issue| format!("{}: {}", issue.field, issue.code)).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

/// How many indexes the bucket says it has: those that the definition asks for.
fn declared(config: Value) -> usize {
    World::with_bucket("b", config).state.bucket("b").unwrap().index_count()
}

#[test]
fn what_is_declared_is_counted_once() {
    assert_eq!(declared(with(json!({}))), 1, "the unique field");
    assert_eq!(declared(with(json!({"indexes": ["a", "a", "u"], "unique": []}))), 2);
    assert_eq!(declared(with(json!({"indexes": ["a", ["a", "b"], ["b", "a"], ["a", "b"]]}))), 4);
    assert_eq!(
        declared(with(json!({"indexes": [["a", "b"]], "unique": [["a", "b"], ["a", "b", "c", "d"]]}))),
        3
    );
    assert_eq!(declared(with(json!({"etsType": "ordered_set", "indexes": ["id"]}))), 2);
    let mut config = with(json!({"etsType": "ordered_set"}));
    config["schema"]["a"]["ref"] = "b".into();
    assert_eq!(declared(config), 1, "indexes for references and key order are the store's own");
}

#[test]
fn every_fault_of_indexes() {
    let table = [
        (json!({"indexes": "a"}), vec!["indexes: type"]),
        (json!({"indexes": [5]}), vec!["indexes[0]: type"]),
        (json!({"indexes": ["x"]}), vec!["indexes[0]: unknown"]),
        (json!({"indexes": [[]]}), vec!["indexes[0]: type"]),
        (json!({"indexes": [["a"]]}), vec!["indexes[0]: type"]),
        (json!({"indexes": [["a", "b", "c", "d", "e"]]}), vec!["indexes[0]: type"]),
        (json!({"indexes": [["a", "a"]]}), vec!["indexes[0][1]: conflict"]),
        (json!({"indexes": [["a", "x"], ["b", 5]]}), vec!["indexes[0][1]: unknown", "indexes[1][1]: type"]),
        (json!({"indexes": [["a", "o"]]}), vec!["indexes[0][1]: conflict"]),
        (
            json!({"unique": [["a", "o"], "a", ["b"]]}),
            vec!["unique[0][1]: conflict", "unique[1]: type", "unique[2]: type"],
        ),
        (json!({"unique": true}), vec!["unique: type"]),
    ];
    for (options, expected) in table {
        assert_eq!(faults(with(options.clone())), expected, "{options}");
    }
    let error = parse(with(json!({"indexes": ["x"]}))).unwrap_err();
    assert!(
        error.to_string().contains("Index field \"x\" does not exist in schema for bucket \"b\""),
        "{error}"
    );
    let letters = ["a", "b", "c", "d", "e"];
    let pairs =
        letters.iter().flat_map(|a| letters.iter().filter(move |b| a != *b).map(move |b| json!([a, b])));
    let threes = pairs.clone().map(|pair| json!([pair[0], pair[1], "u"]));
    let many: Vec<Value> = pairs.chain(threes).collect();
    assert_eq!(faults(with(json!({"indexes": many}))), ["indexes: limit"]);
    let mut references = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    for i in 0..33 {
        references["schema"][format!("f{i}")] = json!({"type": "string", "ref": "b"});
    }
    assert_eq!(faults(references), ["indexes: limit"]);
}

#[test]
fn references() {
    let field = |field: Value| {
        let mut config = with(json!({}));
        config["schema"]["a"] = field;
        config
    };
    let definition = parse(field(json!({"type": "string", "ref": "users"}))).unwrap();
    let reference = definition.fields()[1].reference().unwrap();
    assert_eq!((&*reference.bucket, reference.on_delete), ("users", OnDelete::Restrict));
    for action in [OnDelete::Restrict, OnDelete::Cascade, OnDelete::SetNull] {
        for kind in ["string", "number", "date"] {
            let config = field(json!({"type": kind, "ref": "users", "onDelete": action.as_str()}));
            assert_eq!(parse(config).unwrap().fields()[1].reference().unwrap().on_delete, action);
        }
    }
    let table = [
        (json!({"type": "string", "onDelete": "cascade"}), vec!["onDelete: conflict"]),
        (json!({"type": "string", "ref": "u", "onDelete": "CASCADE"}), vec!["onDelete: enum"]),
        (json!({"type": "string", "ref": "u", "onDelete": 5}), vec!["onDelete: enum"]),
        (json!({"type": "string", "ref": ""}), vec!["ref: type"]),
        (json!({"type": "string", "ref": ["u"]}), vec!["ref: type"]),
        (json!({"type": "boolean", "ref": "u"}), vec!["ref: conflict"]),
        (json!({"type": "object", "ref": "u"}), vec!["ref: conflict"]),
        (json!({"type": "array", "ref": "u"}), vec!["ref: conflict"]),
        (
            json!({"type": "string", "required": true, "ref": "u", "onDelete": "set_null"}),
            vec!["onDelete: conflict"],
        ),
        (
            json!({"type": "string", "generated": "uuid", "ref": "u", "onDelete": "set_null"}),
            vec!["onDelete: conflict"],
        ),
    ];
    for (options, expected) in table {
        let expected: Vec<String> = expected.into_iter().map(|fault| format!("schema.a.{fault}")).collect();
        assert_eq!(faults(field(options.clone())), expected, "{options}");
    }
    let mut config = with(json!({}));
    config["schema"]["id"] = json!({"type": "string", "ref": "u", "onDelete": "set_null"});
    assert_eq!(faults(config.clone()), ["schema.id.onDelete: conflict"]);
    config["schema"]["id"]["onDelete"] = "cascade".into();
    assert_eq!(faults(config), [""; 0], "a key may refer to another key");
}

#[test]
fn options_of_a_bucket() {
    let definition = parse(with(json!({}))).unwrap();
    assert_eq!((definition.ttl(), definition.max_size()), (None, None));
    assert_eq!((definition.is_persistent(), definition.is_ordered()), (true, false));
    let options = json!({"ttl": "1.5h", "maxSize": 10.0, "persistent": false, "etsType": "ordered_set"});
    let definition = parse(with(options)).unwrap();
    assert_eq!((definition.ttl(), definition.max_size()), (Some(5_400_000), Some(10)));
    assert_eq!((definition.is_persistent(), definition.is_ordered()), (false, true));
    for kind in ["set", "bag", "duplicate_bag"] {
        assert!(!parse(with(json!({"etsType": kind}))).unwrap().is_ordered());
    }
    let absent = json!({"ttl": null, "maxSize": null, "persistent": null, "etsType": null, "indexes": null, "unique": null,
        "validate": null});
    assert_eq!(faults(with(absent)), [""; 0]);
    let table = [
        (json!({"ttl": -1}), "ttl: min"),
        (json!({"ttl": "0s"}), "ttl: min"),
        (json!({"ttl": "1w"}), "ttl: format"),
        (json!({"ttl": [1]}), "ttl: type"),
        (json!({"ttl": 1e300}), "ttl: limit"),
        (json!({"maxSize": 0}), "maxSize: type"),
        (json!({"maxSize": 1.5}), "maxSize: type"),
        (json!({"maxSize": "5"}), "maxSize: type"),
        (json!({"persistent": "no"}), "persistent: type"),
        (json!({"etsType": "orderedSet"}), "etsType: enum"),
        (json!({"etsType": 1}), "etsType: enum"),
        (json!({"validate": true}), "validate: unsupported"),
    ];
    for (options, expected) in table {
        assert_eq!(faults(with(options.clone())), [expected], "{options}");
    }
    let error = parse(with(json!({"ttl": "soon"}))).unwrap_err();
    let expected =
        "Invalid TTL format \"soon\". Expected a number (ms) or string like \"30s\", \"5m\", \"1h\", \"7d\".";
    assert!(error.to_string().contains(expected), "{error}");
}

/// Members of definitions, right and wrong ones.
fn member() -> impl Strategy<Value = (String, Value)> {
    let options = [
        json!({"required": true}),
        json!({"min": 0.1, "max": 1e20}),
        json!({"pattern": "^[a-z/]+$", "maxLength": 5}),
        json!({"format": "email"}),
        json!({"unique": true}),
        json!({"default": "x\u{2028}"}),
        json!({"generated": "cuid"}),
        json!({"ref": "b", "onDelete": "cascade"}),
        json!({"onDelete": "set_null"}),
        json!({"properties": {"p": {"type": "array", "items": {"type": "string", "format": "url"}}}}),
        json!({"enum": ["a", 1]}),
        json!({"note": [1.0, 1e3]}),
    ];
    let kinds = ["string", "number", "boolean", "object", "array", "date"];
    let chosen = prop::collection::vec(prop::sample::select(options.to_vec()), 0..3);
    ("[a-d]|id", prop::sample::select(kinds.to_vec()), chosen).prop_map(|(name, kind, chosen)| {
        let mut field = json!({"type": kind});
        for options in chosen {
            field.as_object_mut().unwrap().extend(object(options));
        }
        (name, field)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_was_accepted_once_is_read_back_the_same(
        members in prop::collection::vec(member(), 1..4),
        ttl in prop::option::of(prop_oneof![Just(json!("1.1s")), (0..3).prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n))]),
        indexes in prop::collection::vec(
            prop_oneof![
                "[a-d]".prop_map(Value::from),
                prop::collection::vec("[a-d]", 1..4).prop_map(Value::from),
            ], 0..3,
        ),
        kind in prop::sample::select(vec!["set", "ordered_set", "bag", "tree"]),
    ) {
        let mut schema = object(json!({"id": {"type": "string"}}));
        schema.extend(members);
        let config = json!({"key": "id", "schema": schema, "indexes": indexes, "ttl": ttl, "etsType": kind});
        if let Ok(definition) = parse(config) {
            let stored: Value = serde_json::from_str(definition.config()).unwrap();
            let again = parse(stored).unwrap();
            prop_assert_eq!(definition.config(), again.config());
            prop_assert_eq!(definition.fields(), again.fields());
            prop_assert_eq!((definition.ttl(), definition.is_ordered()), (again.ttl(), again.is_ordered()));
        }
    }
}
