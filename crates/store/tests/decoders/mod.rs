//! What must hold of the decoders for any bytes: no panic, no overflow, and whatever is accepted can be worked with. Run
//! by `tests/decoding.rs` on random JSON and by the fuzz targets in `fuzz/` on anything.
#![allow(dead_code, unreachable_pub, reason = "every user of this file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken promise ends the run by panicking")]

use std::sync::LazyLock;

use dunlin_store::{Context, Definition, Filter, IdSource, Intent, Object, Query, Snapshot};
use serde_json::{Value, json};

struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// Two buckets of the same records: one where everything has an index, one where nothing has.
static STATE: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut state = Snapshot::new("fuzz");
    let kind = |kind: &str| json!({"type": kind});
    let schema = json!({"id": kind("string"), "s": kind("string"), "n": kind("number"), "o": kind("object"), "a": kind("array")});
    for (name, indexes) in [("indexed", json!(["s", "n"])), ("bare", json!([]))] {
        let config = json!({"key": "id", "schema": schema, "indexes": indexes});
        execute(&mut state, Intent::DefineBucket { name: name.into(), config: object(config) });
        for record in [
            json!({"id": "1", "s": "apple", "n": 5, "o": {"a": {"b": 1}}, "a": [1, "x", null]}),
            json!({"id": "2", "s": "Banana of more than fourteen bytes", "n": 10.5, "x": true}),
            json!({"id": "3", "s": null, "n": -1}),
            json!({"id": "4", "n": 18_446_744_073_709_551_615_u64, "x": "\u{1F600}"}),
        ] {
            execute(&mut state, Intent::Insert { bucket: name.into(), data: object(record) });
        }
    }
    state
});

fn execute(state: &mut Snapshot, intent: Intent) {
    state.execute(intent, &mut Context::new(1, &mut Ids(0))).unwrap();
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

/// A filter finds the same records with and without indexes.
pub fn filter(bytes: &[u8]) {
    let Ok(given) = serde_json::from_slice::<Object>(bytes) else { return };
    let Ok(filter) = Filter::parse(&given) else { return };
    let [indexed, bare] = ["indexed", "bare"].map(|name| -> Vec<&str> {
        STATE.bucket(name).unwrap().scan(&filter).map(dunlin_store::Record::json).collect()
    });
    assert_eq!(indexed, bare);
}

/// A query that is accepted can be bound, and evaluated on either bucket with the same result.
pub fn query(bytes: &[u8]) {
    let Ok(mut given) = serde_json::from_slice::<Object>(bytes) else { return };
    let [indexed, bare] = ["indexed", "bare"].map(|name| {
        given.insert("bucket".into(), name.into());
        let query = Query::parse("q", &given).ok()?;
        query.bind(&json!({"a": 1, "b": "apple", "c": [1, "x"]})).ok()?.evaluate(&STATE).ok()
    });
    assert_eq!(indexed, bare);
}

/// A definition that is accepted is accepted again as it is stored, and takes or refuses records.
pub fn schema(bytes: &[u8]) {
    let Ok(given) = serde_json::from_slice::<Object>(bytes) else { return };
    let Ok(definition) = Definition::parse("b", &given) else { return };
    let stored: Object = serde_json::from_str(definition.config()).unwrap();
    let again = Definition::parse("b", &stored).unwrap();
    assert_eq!(definition.config(), again.config());
    let mut state = Snapshot::new("fuzz");
    execute(&mut state, Intent::DefineBucket { name: "b".into(), config: stored });
    let mut data = Object::new();
    for (field, value) in definition
        .fields()
        .iter()
        .zip([json!("a"), json!(1), json!({}), json!([[]]), json!(true)].iter().cycle())
    {
        data.insert(field.name().to_owned(), value.clone());
    }
    for _ in 0..3 {
        // Refused or not: the state must stay sound.
        let _ = state.execute(
            Intent::Insert { bucket: "b".into(), data: data.clone() },
            &mut Context::new(1, &mut Ids(0)),
        );
        data.shift_remove(definition.key().name());
    }
    assert!(state.bucket("b").unwrap().iter().all(|record| record.to_value().is_object()));
}
