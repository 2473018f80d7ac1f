//! What belongs to the server: entries, and buckets that only it writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use dunlin_protocol::Code;
use dunlin_store::{
    Change, Context, FACTS, IdSource, Idempotency, Import, Intent, Migration, Outcome, Snapshot, StoreError,
    SystemRecord, SystemWrite,
};
use serde_json::{Map, Value, json};

struct Ids(u128);

impl IdSource for Ids {
    fn next(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value}") };
    object
}

fn run(state: &mut Snapshot, intent: Intent) -> Result<Outcome, StoreError> {
    let before = state.clone();
    let executed = state.execute(intent, &mut Context::new(1_000, &mut Ids(0)))?;
    // Whoever follows the commits comes to the same.
    let mut follower = before;
    if let Some(commit) = &executed.commit {
        follower.apply(commit).unwrap();
    }
    assert_eq!(picture(&follower), picture(state));
    Ok(executed.outcome)
}

fn picture(state: &Snapshot) -> String {
    let rows = state.buckets().flat_map(|bucket| bucket.iter().map(|record| record.json().to_owned()));
    format!("{} {:?} {:?}", state.position(), state.entries("").collect::<Vec<_>>(), rows.collect::<Vec<_>>())
}

fn entries(list: &[(&str, Option<&str>)]) -> Intent {
    let entries = list.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect();
    Intent::System(SystemWrite { entries, ..SystemWrite::default() })
}

fn fact(key: &str, value: Option<Value>) -> Intent {
    let data = value.map(|value| {
        object(json!({"key": key, "value": value, "source": "api", "timestamp": 5, "version": 1, "order": 0}))
    });
    let record = SystemRecord { bucket: FACTS, key: key.into(), data };
    Intent::System(SystemWrite { records: vec![record], ..SystemWrite::default() })
}

#[test]
fn entries_are_written_replaced_removed_and_listed_in_order() {
    let mut state = Snapshot::new("epoch");
    run(&mut state, entries(&[("t/b", Some("2")), ("t/a", Some("1")), ("u", Some("3"))])).unwrap();
    let earlier = state.clone();
    run(&mut state, entries(&[("t/a", None), ("t/b", Some("4"))])).unwrap();
    let listed = |state: &Snapshot| {
        state.entries("t/").map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        (listed(&earlier), listed(&state)),
        (vec!["t/a=1".into(), "t/b=2".into()], vec!["t/b=4".to_owned()])
    );
    let nothing = state.execute(entries(&[("gone", None)]), &mut Context::new(1, &mut Ids(0))).unwrap();
    assert!(nothing.commit.is_none(), "nothing has changed");
}

#[test]
fn a_refused_note_leaves_nothing_behind() {
    let mut state = Snapshot::new("epoch");
    run(&mut state, entries(&[("a", Some("1"))])).unwrap();
    let before = picture(&state);
    let too_deep = (0..200).fold(Value::Null, |inner, _| json!([inner]));
    let Intent::System(mut noted) = fact("k", Some(too_deep)) else { panic!() };
    noted.entries = vec![("a".into(), None), ("b".into(), Some("2".into()))];
    assert!(run(&mut state, Intent::System(noted)).is_err());
    assert_eq!(picture(&state), before);
    assert!(state.bucket(FACTS).is_err(), "nor the bucket that was made for it");
}

#[test]
fn facts_hold_any_value_and_make_their_bucket() {
    let mut state = Snapshot::new("epoch");
    run(&mut state, fact("none", None)).unwrap();
    assert!(state.bucket(FACTS).is_err());
    for (key, value) in
        [("a", json!(null)), ("b", json!(1.5)), ("c", json!({"deep": [1, "x"]})), ("a", json!("x"))]
    {
        run(&mut state, fact(key, Some(value.clone()))).unwrap();
        assert_eq!(state.bucket(FACTS).unwrap().get(&json!(key)).unwrap().to_value()["value"], value);
    }
    assert_eq!(state.bucket(FACTS).unwrap().len(), 3);
    run(&mut state, fact("b", None)).unwrap();
    assert!(state.bucket(FACTS).unwrap().get(&json!("b")).is_none());
    assert_eq!(state.stats().buckets.count, 0, "not among the buckets that are listed");
    assert!(state.stats().records.per_bucket.is_empty());
}

#[test]
fn nobody_else_writes_or_defines_a_system_bucket() {
    let mut state = Snapshot::new("epoch");
    run(&mut state, fact("k", Some(json!(1)))).unwrap();
    let name = || FACTS.to_owned();
    let data = || object(json!({"key": "x", "value": 1}));
    let insert = || Intent::Insert { bucket: name(), data: data() };
    let intents = [
        insert(),
        insert().idempotent("s", "k"),
        Intent::InsertMany { bucket: name(), data: vec![data()] },
        Intent::Update { bucket: name(), key: json!("k"), changes: data() },
        Intent::UpdateMany { bucket: name(), filter: Map::new(), changes: data() },
        Intent::Upsert { bucket: name(), data: data() },
        Intent::Delete { bucket: name(), key: json!("k") },
        Intent::Delete { bucket: name(), key: json!("k") }.if_version(1),
        Intent::DeleteMany { bucket: name(), filter: Map::new() },
        Intent::Clear { bucket: name() },
        Intent::DefineBucket {
            name: name(),
            config: object(json!({"key": "k", "schema": {"k": {"type": "string"}}})),
        },
        Intent::UpdateBucket { name: name(), updates: object(json!({"indexes": ["source"]})) },
        Intent::DropBucket { name: name() },
        Intent::Transaction { operations: vec![dunlin_store::Step::Write(insert())] },
    ];
    let before = picture(&state);
    for intent in intents {
        let error = run(&mut state, intent.clone()).unwrap_err();
        assert_eq!(error.code(), Code::Forbidden, "{intent:?}");
        assert!(error.to_string().contains("rules.setFact"), "{error}");
    }
    let migration = Migration::new(1, "meddle", |with| with.bucket(FACTS)?.transform_all(|_| ()));
    let meddled = run(&mut state, Intent::Migrate { migrations: vec![migration], dry_run: false });
    assert_eq!(meddled.unwrap_err().code(), Code::Forbidden);
    let mut none = std::iter::empty();
    let import = Import { bucket: FACTS, replace: true, records: &mut none };
    let imported = state.import(&mut [import], &mut Context::new(1, &mut Ids(0)));
    assert_eq!(imported.unwrap_err().code(), Code::Forbidden);
    assert_eq!(picture(&state), before);
}

#[test]
fn nothing_refers_to_a_system_bucket() {
    let mut state = Snapshot::new("epoch");
    let config = object(
        json!({"key": "id", "schema": {"id": {"type": "string"}, "of": {"type": "string", "ref": FACTS}}}),
    );
    let error = run(&mut state, Intent::DefineBucket { name: "b".into(), config }).unwrap_err();
    assert_eq!(error.details().unwrap()[0]["field"], "schema.of.ref");
    let config = object(json!({"key": "id", "schema": {"id": {"type": "string"}}}));
    run(&mut state, Intent::DefineBucket { name: "b".into(), config }).unwrap();
    let updates = object(json!({"schema": {"of": {"type": "string", "ref": FACTS}}}));
    assert!(run(&mut state, Intent::UpdateBucket { name: "b".into(), updates }).is_err());
}

#[test]
fn a_note_happens_once_for_its_key() {
    let mut state = Snapshot::new("epoch");
    let idempotency = Idempotency { scope: "s".into(), key: "k".into(), fingerprint: 7 };
    assert!(idempotency.repeated(&state, 1).unwrap().is_none());
    let noted = |answer: &str| {
        let entries = vec![("n".into(), Some(answer.into()))];
        let write = SystemWrite { entries, answer: Some(answer.into()), ..SystemWrite::default() };
        Intent::Idempotent { idempotency: idempotency.clone(), write: Box::new(Intent::System(write)) }
    };
    assert_eq!(run(&mut state, noted("1")).unwrap().to_json(), "1");
    assert_eq!(run(&mut state, noted("2")).unwrap().to_json(), "1");
    assert_eq!(state.entry("n").map(|text| &**text), Some("1"));
    assert_eq!(idempotency.repeated(&state, 1_001).unwrap().unwrap().body.json(), "1");
    let other = Idempotency { fingerprint: 8, ..idempotency };
    assert_eq!(other.repeated(&state, 1_001).unwrap_err().code(), Code::Conflict);
}

#[test]
fn entries_are_changes_like_others() {
    let mut state = Snapshot::new("epoch");
    let executed = state.execute(entries(&[("a", Some("1"))]), &mut Context::new(1, &mut Ids(0))).unwrap();
    let changes = executed.commit.unwrap().changes;
    let [Change::Entry { key, value }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((&**key, value.as_deref()), ("a", Some("1")));
    let _: &Arc<str> = key;
}

#[test]
fn a_field_of_any_type_takes_everything_and_cannot_be_indexed() {
    let mut state = Snapshot::new("epoch");
    let schema = json!({"id": {"type": "string"}, "v": {"type": "any", "required": true}});
    let define = |config: Value| Intent::DefineBucket { name: "b".into(), config: object(config) };
    let wrong = [
        json!({"key": "id", "schema": schema, "indexes": ["v"]}),
        json!({"key": "id", "schema": schema, "indexes": [["id", "v"]]}),
        json!({"key": "id", "schema": schema, "unique": [["id", "v"]]}),
        json!({"key": "v", "schema": schema}),
        json!({"key": "id", "schema": {"id": {"type": "string"}, "v": {"type": "any", "unique": true}}}),
        json!({"key": "id", "schema": {"id": {"type": "string"}, "v": {"type": "any", "ref": "b"}}}),
        json!({"key": "id", "schema": {"id": {"type": "string"}, "v": {"type": "any", "generated": "uuid"}}}),
    ];
    for config in wrong {
        let error = run(&mut state, define(config.clone())).unwrap_err();
        assert_eq!(error.code(), Code::ValidationError, "{config}");
    }
    run(&mut state, define(json!({"key": "id", "schema": schema}))).unwrap();
    for (n, value) in
        [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})].into_iter().enumerate()
    {
        let data = object(json!({"id": n.to_string(), "v": value}));
        let Outcome::Record(record) = run(&mut state, Intent::Insert { bucket: "b".into(), data }).unwrap()
        else {
            panic!()
        };
        assert_eq!(record.to_value()["v"], value);
    }
    let absent = Intent::Insert { bucket: "b".into(), data: object(json!({"id": "x"})) };
    assert_eq!(run(&mut state, absent).unwrap_err().details().unwrap()[0]["code"], "required");
}

#[test]
fn who_asks_is_told_which_records_were_changed() {
    let mut state = Snapshot::new("epoch");
    for name in ["a", "b"] {
        let config =
            object(json!({"key": "id", "schema": {"id": {"type": "string"}, "n": {"type": "number"}}}));
        run(&mut state, Intent::DefineBucket { name: name.into(), config }).unwrap();
    }
    let insert = |bucket: &str, id: &str| Intent::Insert {
        bucket: bucket.into(),
        data: object(json!({"id": id, "n": 0})),
    };
    let update = |bucket: &str, id: &str, n: i64| Intent::Update {
        bucket: bucket.into(),
        key: json!(id),
        changes: object(json!({"n": n})),
    };
    let delete = |bucket: &str, id: &str| Intent::Delete { bucket: bucket.into(), key: json!(id) };
    let mut changed = |intents: Vec<Intent>, notice: bool| {
        let operations = intents.into_iter().map(dunlin_store::Step::Write).collect();
        let mut ids = Ids(0);
        let mut ctx = Context::new(1_000, &mut ids).noticing(notice);
        let executed = state.execute(Intent::Transaction { operations }, &mut ctx).unwrap();
        let text = |record: &Option<dunlin_store::Record>| {
            record.as_ref().map_or("-".to_owned(), |record| {
                let value = record.to_value();
                format!("{}{}", value["id"].as_str().unwrap(), value["n"])
            })
        };
        let told = executed
            .changed
            .iter()
            .map(|it| format!("{}:{}>{}", it.bucket.0, text(&it.before), text(&it.after)));
        told.collect::<Vec<_>>()
    };
    assert!(changed(vec![insert("a", "w")], false).is_empty());
    assert_eq!(
        changed(vec![insert("a", "x"), insert("b", "y"), update("a", "x", 2)], true),
        ["0:->x2", "1:->y0"]
    );
    assert_eq!(changed(vec![update("a", "x", 3), insert("a", "z"), delete("a", "z")], true), ["0:x2>x3"]);
    let clear = Intent::Clear { bucket: "a".into() };
    let cleared = changed(
        vec![update("a", "x", 4), insert("a", "t"), delete("b", "y"), clear, insert("a", "new")],
        true,
    );
    assert_eq!(cleared, ["0:w0>-", "0:x3>-", "1:y0>-", "0:->new0"], "each as it was before the whole write");
}
