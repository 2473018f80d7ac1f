//! Declarative queries: definition, parameters, results.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]

mod common;

use common::{World, image, object, restored};
use dunlin_protocol::Code;
use dunlin_store::{Intent, Query};
use serde_json::{Value, json};

fn world() -> World {
    let mut world = World::with_bucket(
        "r",
        json!({"key": "id", "schema": {"id": {"type": "number"}, "g": {"type": "string"}}, "indexes": ["g"]}),
    );
    let records = [
        json!({"id": 1, "g": "a", "n": 3}),
        json!({"id": 2, "g": "b", "n": 1}),
        json!({"id": 3, "g": "a", "n": null}),
        json!({"id": 4, "g": "b", "n": 2}),
        json!({"id": 5, "g": "a", "n": 2}),
        json!({"id": 6, "g": "c", "n": "z"}),
        json!({"id": 7, "g": "c"}),
    ];
    for record in records {
        world.insert("r", record).unwrap();
    }
    world
}

fn ids(result: &Value) -> String {
    result.as_array().unwrap().iter().map(|record| record["id"].to_string()).collect()
}

fn ask(world: &mut World, config: Value, params: Value) -> Value {
    world.define_query("q", config).unwrap();
    let result = world.query("q", params).unwrap();
    world.run(Intent::UndefineQuery { name: "q".into() }).unwrap();
    result
}

#[test]
fn sort_window_and_projection() {
    let mut world = world();
    let mut ask = |config: Value| ask(&mut world, config, Value::Null);
    assert_eq!(ids(&ask(json!({"bucket": "r"}))), "1234567");
    assert_eq!(ids(&ask(json!({"bucket": "r", "sort": {"n": "asc"}}))), "2451637");
    assert_eq!(ids(&ask(json!({"bucket": "r", "sort": {"n": "desc"}}))), "6145237");
    assert_eq!(ids(&ask(json!({"bucket": "r", "sort": {"g": "desc", "n": "desc"}}))), "6742153");
    let filter = json!({"id": {"$in": [1, 5, 6]}});
    assert_eq!(
        ids(&ask(json!({"bucket": "r", "filter": filter, "sort": {"n": "asc", "id": "desc"}}))),
        "516"
    );
    assert_eq!(ids(&ask(json!({"bucket": "r", "sort": {"id": "desc"}, "offset": 2, "limit": 3}))), "543");
    assert_eq!(ids(&ask(json!({"bucket": "r", "limit": 0}))), "");
    assert_eq!(ids(&ask(json!({"bucket": "r", "offset": 9}))), "");
    assert_eq!(ids(&ask(json!({"bucket": "r", "filter": null, "offset": 5.0}))), "67");
    let projected =
        ask(json!({"bucket": "r", "filter": {"id": 3}, "fields": ["n", "nope", "g", "_version", "n"]}));
    assert_eq!(projected.to_string(), r#"[{"n":null,"g":"a","_version":1}]"#);
}

#[test]
fn aggregates_and_groups() {
    let mut world = world();
    let mut ask = |config: Value| ask(&mut world, config, Value::Null);
    let fold = |aggregate: Value| json!({"bucket": "r", "aggregate": aggregate});
    assert_eq!(ask(fold(json!({"function": "count"}))), 7);
    assert_eq!(ask(fold(json!({"function": "sum", "field": "n"}))), 8);
    assert_eq!(ask(fold(json!({"function": "avg", "field": "n"}))), 2);
    assert_eq!(ask(fold(json!({"function": "min", "field": "n"}))), 1);
    assert_eq!(ask(fold(json!({"function": "max", "field": "g"}))), "(undefined)");
    assert_eq!(
        ask(fold(json!({"function": "sum", "field": "n", "groupBy": "g"}))).to_string(),
        r#"[{"key":{"g":"a"},"value":5},{"key":{"g":"b"},"value":3},{"key":{"g":"c"},"value":0}]"#
    );
    assert_eq!(
        ask(fold(json!({"function": "count", "groupBy": ["n"]}))).to_string(),
        r#"[{"key":{"n":3},"value":1},{"key":{"n":1},"value":1},{"key":{"n":null},"value":2},{"key":{"n":2},"value":2},{"key":{"n":"z"},"value":1}]"#
    );
    assert_eq!(
        ask(fold(json!({"function": "count", "groupBy": []}))).to_string(),
        r#"[{"key":{},"value":7}]"#
    );
    let nothing =
        json!({"bucket": "r", "filter": {"id": 0}, "aggregate": {"function": "count", "groupBy": []}});
    assert_eq!(ask(nothing), json!([]));
}

#[test]
fn groups_are_told_apart_by_type() {
    let mut world = World::with_bucket("r", json!({"key": "id", "schema": {"id": {"type": "number"}}}));
    for (id, v) in [json!(1), json!("1"), json!(1.0), json!(true), json!("true"), json!("null"), json!(null)]
        .into_iter()
        .enumerate()
    {
        world.insert("r", json!({"id": id, "v": v})).unwrap();
    }
    world.insert("r", json!({"id": 99})).unwrap();
    let config = json!({"bucket": "r", "aggregate": {"function": "count", "groupBy": "v"}});
    let counts: Vec<u64> = ask(&mut world, config, Value::Null)
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["value"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [2, 1, 1, 1, 1, 2]);
}

#[test]
fn parameters_keep_their_type_and_cannot_become_operators() {
    let mut world = world();
    let filter = json!({
        "g": "{{ params.g }}",
        "$or": [{"n": {"$in": "{{params.ns}}"}}, {"n": {"$in": ["{{params.n}}", 2]}}],
    });
    let config = json!({"bucket": "r", "filter": filter, "aggregate": {"function": "count"}});
    world.define_query("q", config).unwrap();
    let run = |params: Value| world.query("q", params);
    assert_eq!(run(json!({"g": "a", "ns": [3], "n": null})).unwrap(), 3);
    assert_eq!(run(json!({"g": "a", "ns": [], "n": "{{params.g}}"})).unwrap(), 1);
    let bad = [
        (json!(null), vec!["params.g", "params.ns", "params.n"]),
        (json!({"g": "a", "n": 1}), vec!["params.ns"]),
        (json!({"g": {"$exists": true}, "ns": [], "n": 1}), vec!["params.g"]),
        (json!({"g": ["a"], "ns": [], "n": 1}), vec!["params.g"]),
        (json!({"g": "a", "ns": [{"$gt": 1}], "n": [1]}), vec!["params.ns", "params.n"]),
        (json!({"g": "a", "ns": 3, "n": 1}), vec!["filter"]),
        (json!(["a"]), vec!["params"]),
    ];
    for (params, paths) in bad {
        let error = run(params.clone()).unwrap_err();
        assert_eq!(error.code(), Code::ValidationError);
        let details = error.details().unwrap();
        let found: Vec<&str> =
            details.as_array().unwrap().iter().map(|i| i["field"].as_str().unwrap()).collect();
        if paths == ["filter"] {
            assert_eq!(found, ["$or[0].n.$in"], "{params}");
        } else {
            assert_eq!(found, paths, "{params}");
        }
    }
}

#[test]
fn equal_questions_are_one() {
    let mut world = world();
    let filter = json!({"g": "{{ params.g }}", "n": {"$between": ["{{params.lo}}", 9]}});
    world.define_query("q", json!({"bucket": "r", "filter": filter})).unwrap();
    let bind = |params: Value| world.state.query("q").unwrap().bind(&params).unwrap();
    let a = bind(json!({"g": "a", "lo": 1}));
    assert_eq!(a, bind(json!({"lo": 1.0, "unused": [], "g": "a"})));
    assert_ne!(a, bind(json!({"g": "a", "lo": 2})));
    assert_ne!(bind(json!({"g": "1", "lo": 2})), bind(json!({"g": 1, "lo": 2})));
    assert_eq!(a.key(), bind(json!({"g": "a", "lo": 1})).key());
}

#[test]
fn every_fault_at_definition() {
    let mut world = world();
    let error = world
        .define_query(
            "q",
            json!({
                "bucket": "r", "filter": {"n": {"$foo": 1}, "$or": "{{params.x}}", "m": {"$gt": "{{params.ok}}"}},
                "sort": {"a": "up", "b": "asc"}, "offset": -1, "limit": "5", "fields": ["a", 1],
                "aggregate": {"function": "median", "groupBy": 3, "having": 1}, "joins": [],
            }),
        )
        .unwrap_err();
    let details = error.details().unwrap();
    let found: Vec<&str> = details.as_array().unwrap().iter().map(|i| i["field"].as_str().unwrap()).collect();
    let expected = [
        "joins",
        "filter.n.$foo",
        "filter.$or",
        "sort.a",
        "offset",
        "limit",
        "fields[1]",
        "aggregate.having",
        "aggregate.function",
        "aggregate.field",
        "aggregate.groupBy",
    ];
    assert_eq!(found, expected);
    assert_eq!(error.code(), Code::ValidationError);
    for aggregate in [json!(null), json!({"function": "sum"}), json!({"function": "sum", "field": 1})] {
        assert!(world.define_query("q", json!({"bucket": "r", "aggregate": aggregate})).is_err());
    }
    assert!(world.define_query("q", json!({"bucket": "r", "sort": null})).is_err());
    assert!(world.define_query("", json!({"bucket": "r"})).is_err());
    assert!(world.define_query("q", json!({})).is_err());
}

#[test]
fn a_query_outlives_its_bucket() {
    let mut world = world();
    let error = world.define_query("q", json!({"bucket": "nonexistent", "limit": -1})).unwrap_err();
    assert_eq!(error.to_string(), "Bucket \"nonexistent\" is not defined");
    world.define_query("q", json!({"bucket": "r"})).unwrap();
    let error = world.define_query("q", json!({"bucket": "r"})).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::AlreadyExists, "Query \"q\" is already defined".into())
    );
    world.run(Intent::DropBucket { name: "r".into() }).unwrap();
    assert_eq!(world.query("q", Value::Null).unwrap_err().code(), Code::BucketNotDefined);
    assert_eq!(image(&restored(&world.state)), image(&world.state));
    world.define("r", json!({"key": "id", "schema": {"id": {"type": "number"}}})).unwrap();
    assert_eq!(world.query("q", Value::Null).unwrap(), json!([]));
    world.run(Intent::UndefineQuery { name: "q".into() }).unwrap();
    let error = world.run(Intent::UndefineQuery { name: "q".into() }).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::QueryNotDefined, "Query \"q\" is not defined".into())
    );
}

/// People, and posts that refer to them; a post with an escaped key, one of nobody.
fn posts() -> World {
    let text = json!({"type": "string"});
    let mut world = World::with_bucket("people", json!({"key": "name", "schema": {"name": text}}));
    for name in ["ada", "bo\"b"] {
        world.insert("people", json!({"name": name})).unwrap();
    }
    let schema = json!({"id": {"type": "number"}, "by": {"type": "string", "ref": "people"}, "title": text});
    world.define("posts", json!({"key": "id", "schema": schema})).unwrap();
    for (id, by) in [json!("ada"), json!("bo\"b"), json!(null)].into_iter().enumerate() {
        world.insert("posts", json!({"id": id, "by": by, "title": "t", "author": "nobody", "z": 1})).unwrap();
    }
    world.insert("posts", json!({"id": 3})).unwrap();
    world
}

#[test]
fn a_row_gains_the_record_that_it_refers_to() {
    let mut world = posts();
    let run = |world: &World, config: Value| -> Value {
        let query = Query::parse("q", &object(config)).unwrap();
        query.check_against(&world.state).unwrap();
        let bound = query.bind(&Value::Null).unwrap();
        assert_eq!(bound.buckets(&world.state), ["posts".into(), "people".into()]);
        serde_json::from_str(&bound.evaluate(&world.state).unwrap().unwrap()).unwrap()
    };
    let include = json!({"author": {"ref": "by"}});
    let whole = json!({"bucket": "posts", "include": include, "limit": 1});
    let text = Query::parse("q", &object(whole.clone())).unwrap().bind(&Value::Null).unwrap();
    assert_eq!(
        text.evaluate(&world.state).unwrap().unwrap(),
        r#"[{"id":0,"by":"ada","title":"t","z":1,"_version":1,"_createdAt":1005,"_updatedAt":1005,"author":{"name":"ada","_version":1,"_createdAt":1002,"_updatedAt":1002}}]"#
    );
    assert_eq!(run(&world, whole)[0]["author"]["name"], "ada");
    let fields = json!({"bucket": "posts", "include": include, "fields": ["id"], "sort": {"id": "desc"}});
    let names = |result: Value| -> Vec<Value> {
        result
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["author"].get("name").cloned().unwrap_or_default())
            .collect()
    };
    let rows = run(&world, fields.clone());
    assert_eq!(rows[0].to_string(), r#"{"id":3,"author":null}"#);
    assert_eq!(names(rows), [json!(null), json!(null), json!("bo\"b"), json!("ada")]);
    let nothing = run(&world, json!({"bucket": "posts", "include": include, "fields": ["nope"]}));
    assert_eq!(nothing[3].to_string(), r#"{"author":null}"#);
    // A query outlives the fields it refers to.
    world.define_query("q", fields).unwrap();
    world.run(Intent::DropBucket { name: "posts".into() }).unwrap();
    world.define("posts", json!({"key": "id", "schema": {"id": {"type": "number"}}})).unwrap();
    world.insert("posts", json!({"id": 1, "by": "ada"})).unwrap();
    assert_eq!(world.query("q", Value::Null).unwrap(), json!([{"id": 1, "author": null}]));
}

#[test]
fn every_fault_of_include() {
    let world = posts();
    let faults = |config: Value| -> Vec<String> {
        let parsed = Query::parse("q", &object(config));
        let error = parsed.and_then(|query| query.check_against(&world.state)).unwrap_err();
        let details = error.details().unwrap();
        details.as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap().to_owned()).collect()
    };
    let include = |include: Value| json!({"bucket": "posts", "include": include, "fields": ["a"]});
    assert_eq!(faults(include(json!([]))), ["include"]);
    assert_eq!(
        faults(include(json!({"a": {"ref": "by"}, "b": {"ref": 1, "as": 2}, "c": "by"}))),
        ["include.a", "include.b.as", "include.b.ref", "include.c.ref"]
    );
    assert_eq!(
        faults(include(json!({"title": {"ref": "by"}, "_version": {"ref": "nope"}, "c": {"ref": "title"}}))),
        ["include.title", "include._version", "include._version.ref", "include.c.ref"]
    );
    let many: serde_json::Map<String, Value> =
        (0..9).map(|n| (format!("m{n}"), json!({"ref": "by"}))).collect();
    assert_eq!(faults(include(many.into())), ["include"]);
    let both =
        json!({"bucket": "posts", "include": {"x": {"ref": "by"}}, "aggregate": {"function": "count"}});
    assert_eq!(faults(both), ["include"]);
    let missing = Query::parse("q", &object(json!({"bucket": "nowhere"}))).unwrap();
    assert_eq!(missing.check_against(&world.state).unwrap_err().code(), Code::BucketNotDefined);
}

#[test]
fn paths_lead_into_nested_values_everywhere() {
    let mut world = World::with_bucket(
        "p",
        json!({"key": "id", "schema": {"id": {"type": "number"}, "at": {"type": "object"}, "tags": {"type": "array"}}}),
    );
    let places = [
        json!({"id": 1, "at": {"city": "Brno", "x": {"n": 3}}, "tags": ["b", 1]}),
        json!({"id": 2, "at": {"city": "Aš", "x": {"n": 1}}, "tags": []}),
        json!({"id": 3, "at": {"city": "Brno", "x": {"n": 2}}, "at.city": "Cheb"}),
        json!({"id": 4, "at": {"city": null}}),
        json!({"id": 5, "at": {"city": "Aš", "x": {"n": 5}}, "other": {"tags": ["c"]}}),
    ];
    for place in places {
        world.insert("p", place).unwrap();
    }
    let mut ask = |config: Value| ask(&mut world, config, Value::Null);
    assert_eq!(ids(&ask(json!({"bucket": "p", "sort": {"at.city": "asc", "at.x.n": "desc"}}))), "52134");
    assert_eq!(ids(&ask(json!({"bucket": "p", "filter": {"other.tags": {"$has": "c"}}}))), "5");
    assert_eq!(
        ask(json!({"bucket": "p", "filter": {"id": 1}, "fields": ["at.city", "tags.1", "tags.9", "at.x"]}))
            .to_string(),
        r#"[{"at.city":"Brno","tags.1":1,"at.x":{"n":3}}]"#
    );
    let fold = json!({"function": "sum", "field": "at.x.n", "groupBy": ["at.city"]});
    assert_eq!(
        ask(json!({"bucket": "p", "aggregate": fold})).to_string(),
        r#"[{"key":{"at.city":"Brno"},"value":3},{"key":{"at.city":"Aš"},"value":6},{"key":{"at.city":"Cheb"},"value":2},{"key":{"at.city":null},"value":0}]"#
    );
}
