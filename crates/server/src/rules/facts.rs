//! Facts as records of their bucket, and back.

use std::sync::Arc;

use dunlin_rules::{Fact, Object};
use dunlin_store::{Bucket, FACTS, Record, Snapshot};
use serde_json::Value;

/// The record of a fact.
pub(crate) fn record(fact: &Fact) -> Object {
    let mut members = match serde_json::to_value(fact) {
        Ok(Value::Object(members)) => members,
        // It is made of JSON.
        _ => Object::new(),
    };
    members.insert("order".to_owned(), fact.order.into());
    members
}

/// The fact of a record.
///
/// # Errors
/// A sentence, if it is none.
pub(crate) fn fact(record: &Record) -> Result<Arc<Fact>, String> {
    serde_json::from_str(record.json()).map(Arc::new).map_err(|error| error.to_string())
}

/// The bucket of the facts, if there are or were any.
pub(crate) fn bucket(state: &Snapshot) -> Option<&Bucket> {
    state.bucket(FACTS).ok()
}

#[cfg(test)]
mod tests {
    use dunlin_rules::Source;
    use dunlin_store::{Context, IdSource, Intent, SystemRecord, SystemWrite};
    use serde_json::json;

    use super::*;

    struct Ids(u128);

    impl IdSource for Ids {
        fn next(&mut self) -> u128 {
            self.0 += 1;
            self.0
        }
    }

    #[test]
    fn a_fact_comes_back_from_its_record() {
        for value in [json!(null), json!("x"), json!({"deep": [1.5, {"a": false}]})] {
            let told = Fact {
                key: "user:1".into(),
                value: Arc::new(value),
                timestamp: 7,
                source: Source::Rule,
                version: 3,
                order: 11,
            };
            let records =
                vec![SystemRecord { bucket: FACTS, key: "user:1".into(), data: Some(record(&told)) }];
            let mut state = Snapshot::new("epoch");
            let noted = Intent::System(SystemWrite { records, ..SystemWrite::default() });
            state.execute(noted, &mut Context::new(9, &mut Ids(0))).unwrap();
            let stored = bucket(&state).unwrap().get(&json!("user:1")).unwrap();
            assert_eq!(*fact(stored).unwrap(), told);
        }
    }
}
