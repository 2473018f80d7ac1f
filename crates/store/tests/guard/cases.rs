//! Rules one by one: what they may say, when two are the same, and what a refusal tells.

use dunlin_protocol::Code;
use dunlin_store::{
    BoundQuery, ClosureQuery, Context, Filter, Guard, HistoryLimits, Intent, Issue, Joined, LiveQuery,
    Migration, Outcome, Query, RowRule, RuleTemplate, Snapshot, Step, StoreError, Validators, ViewLimits,
    Views,
};
use serde_json::{Value, json};

use crate::common::{World, object};

fn rule(rule: Value) -> RuleTemplate {
    RuleTemplate::parse(&object(rule)).unwrap()
}

fn ada() -> Value {
    json!({"userId": "ada", "roles": ["x", "y"], "metadata": {"team": "red", "limits": {"n": 2}, "none": null}})
}

fn guard(rules: &[Value]) -> Guard {
    Guard::new(rules.iter().map(|one| {
        let template = rule(one.clone());
        (template.bucket().clone(), template.bind(&ada()))
    }))
}

fn shop() -> World {
    let people = json!({"key": "id", "schema": {
        "id": {"type": "string"}, "team": {"type": "string"}, "email": {"type": "string", "unique": true},
    }});
    let mut world = World::with_bucket("people", people);
    let orders = json!({
        "key": "id",
        "schema": {
            "id": {"type": "string"},
            "owner": {"type": "string"},
            "status": {"type": "string", "default": "open"},
            "tenant": {"type": "string", "default": "t1"},
            "number": {"type": "number"},
            "cost": {"type": "number"},
            "by": {"type": "string", "ref": "people"},
        },
        "unique": [["tenant", "number"]],
    });
    world.define("orders", orders).unwrap();
    for (id, team) in [("p1", "red"), ("p2", "blue")] {
        world.insert("people", json!({"id": id, "team": team, "email": format!("{id}@x")})).unwrap();
    }
    for (id, owner, number) in [("a", "ada", 1), ("b", "bob", 2), ("c", "ada", 3)] {
        world.insert("orders", json!({"id": id, "owner": owner, "number": number, "cost": 9})).unwrap();
    }
    world
}

fn own() -> Value {
    json!({"bucket": "orders", "read": {"owner": "{{ session.userId }}"}, "write": {"status": "open"}, "hide": ["cost"]})
}

fn update(key: &str, changes: Value) -> Intent {
    Intent::Update { bucket: "orders".into(), key: key.into(), changes: object(changes) }
}

#[test]
fn every_fault_of_a_rule_is_told_with_its_path() {
    let wrong = json!({
        "bucket": 5,
        "read": {"a": "{{ session.userid }}", "b": {"$in": "{{ session.userId }}"}, "c": "x {{ session.userId }}"},
        "write": {"d": "{{ session.roles }}", "$or": [{"e": {"$like": 1}}, {"f": [1]}]},
        "hide": ["ok", "", "_version", "lines.0.price", 7],
        "reed": {},
    });
    let error = RuleTemplate::parse(&object(wrong)).unwrap_err();
    assert_eq!(error.code(), Code::ValidationError);
    let details = error.details().unwrap();
    let fields: Vec<&str> =
        details.as_array().unwrap().iter().map(|i| i["field"].as_str().unwrap()).collect();
    let expected = [
        "reed",
        "bucket",
        "read.a",
        "read.b.$in",
        "read.c",
        "write.d",
        "write.$or[0].e.$like",
        "write.$or[1].f",
        "hide[1]",
        "hide[2]",
        "hide[3]",
        "hide[4]",
    ];
    assert_eq!(fields, expected);
    let long = json!({"bucket": "b", "read": {"a": "x".repeat(20_000)}});
    assert!(RuleTemplate::parse(&object(long)).unwrap_err().to_string().contains("At most 16384 bytes"));
}

#[test]
fn who_lacks_a_value_sees_nothing_by_the_rule() {
    let sees = |read: Value| {
        let rule = rule(json!({"bucket": "orders", "read": read})).bind(&ada());
        shop().state.bucket("orders").unwrap().through(Some(&rule)).all().len()
    };
    assert_eq!(sees(json!({"owner": "{{session.userId}}"})), 2);
    assert_eq!(sees(json!({"number": {"$gte": "{{ session.metadata.limits.n }}"}})), 2);
    assert_eq!(sees(json!({"owner": {"$nin": "{{ session.roles }}"}})), 3);
    assert_eq!(sees(json!(false)), 0);
    for missing in [
        json!({"owner": {"$neq": "{{ session.metadata.nobody }}"}}),
        json!({"owner": {"$neq": "{{ session.metadata.limits }}"}}),
        json!({"owner": {"$neq": "{{ session.metadata.none }}"}}),
        json!({"owner": {"$nin": "{{ session.metadata.team }}"}}),
        json!({"number": {"$not": {"$startsWith": "{{ session.metadata.limits.n }}"}}}),
    ] {
        assert_eq!(sees(missing.clone()), 0, "{missing}");
    }
}

#[test]
fn rules_of_the_same_effect_are_the_same() {
    let bind = |value: Value, session: &Value| rule(value).bind(session);
    let (own, team) = (own(), json!({"bucket": "orders", "read": {"team": "{{ session.metadata.team }}"}}));
    let other = json!({"userId": "ada", "roles": [], "metadata": {"team": "blue"}});
    assert_eq!(bind(own.clone(), &ada()), bind(own.clone(), &other), "it depends on the user alone");
    assert_ne!(bind(team.clone(), &ada()), bind(team.clone(), &other));
    let (one, two) = (bind(own.clone(), &ada()), bind(team.clone(), &ada()));
    let both = RowRule::any([&one, &two]);
    assert_eq!(both, RowRule::any([&two, &RowRule::any([&one, &two]), &one]));
    assert_ne!(both.key(), one.key());
    // What may be written is nothing to readers.
    let read_only =
        bind(json!({"bucket": "orders", "read": own["read"], "write": false, "hide": ["cost"]}), &ada());
    assert!(read_only != one && read_only.view_key() == one.view_key());
    // One that lets all through covers those that let some, not what they hide.
    let all = bind(json!({"bucket": "orders"}), &ada());
    assert_eq!(RowRule::any([&all, &two]).view_key(), all.view_key());
    assert!(RowRule::any([&all, &two]).is_open() && !RowRule::any([&all, &one]).is_open());
    assert!(Guard::new([("orders", all)]).is_empty());
}

#[test]
fn what_is_seen_and_may_not_be_written_is_forbidden() {
    let (mut world, guard) = (shop(), guard(&[own()]));
    let mut run = |intent: Intent| world.run(intent.guarded(&guard));
    assert_eq!(run(update("b", json!({"number": 9}))).unwrap_err().code(), Code::NotFound);
    assert_eq!(run(update("a", json!({"owner": "bob"}))).unwrap_err().code(), Code::Forbidden);
    let Outcome::Record(record) = run(update("a", json!({"number": 7}))).unwrap() else { panic!() };
    assert!(!record.json().contains("cost") && record.json().contains("\"number\":7"), "{record:?}");
    let hidden = run(update("b", json!({"cost": 1}))).unwrap_err();
    assert_eq!(hidden.details(), Some(json!({"bucket": "orders", "field": "cost"})));
    assert_eq!(run(update("a", json!({"status": "sent"}))).unwrap_err().code(), Code::Forbidden);
    let many = |filter: Value| Intent::DeleteMany { bucket: "orders".into(), filter: object(filter) };
    assert_eq!(run(many(json!({"cost": 9}))).unwrap_err().code(), Code::Forbidden);
    let delete = |key: &str| Intent::Delete { bucket: "orders".into(), key: key.into() };
    assert!(matches!(run(delete("b")), Ok(Outcome::Deleted { existed: false })));
    let missing = run(delete("b").if_version(1)).unwrap_err();
    assert_eq!(missing.details().unwrap()["version"], 0);
    assert!(matches!(run(many(json!({}))), Ok(Outcome::Count(2))));
    assert_eq!(run(Intent::Clear { bucket: "orders".into() }).unwrap_err().code(), Code::Forbidden);
    assert_eq!(world.state.bucket("orders").unwrap().len(), 1);
    world.update("orders", "b".into(), json!({"owner": "ada", "status": "sent"})).unwrap();
    let sent = world.run(delete("b").guarded(&guard)).unwrap_err();
    assert_eq!(
        (sent.code(), sent.details()),
        (Code::Forbidden, Some(json!({"bucket": "orders", "key": "b"})))
    );
}

#[test]
fn a_refusal_tells_nothing_of_what_is_not_seen() {
    let mut world = shop();
    world.update("orders", "b".into(), json!({"by": "p1"})).unwrap();
    let people =
        json!({"bucket": "people", "read": {"team": "{{ session.metadata.team }}"}, "hide": ["email"]});
    let orders = json!({"bucket": "orders", "read": {"owner": "{{ session.userId }}"}, "hide": ["tenant"]});
    let guard = guard(&[people, orders]);
    let mut refused = |intent: Intent| world.run(intent.guarded(&guard)).unwrap_err();
    // By an order of somebody else.
    let error = refused(Intent::Delete { bucket: "people".into(), key: "p1".into() });
    assert_eq!(
        (error.clone(), error.code(), error.details()),
        (StoreError::ReferencedUnseen, Code::Conflict, None)
    );
    // The one is hers, and there; the other is not hers, and there for others.
    assert!(matches!(refused(update("a", json!({"by": "p2"}))), StoreError::ReferenceMissing { .. }));
    // Unique together with a tenant that she does not know.
    let error = refused(update("a", json!({"number": 2})));
    assert_eq!((error.code(), error.details()), (Code::AlreadyExists, Some(json!({"bucket": "orders"}))));
    let insert = Intent::Insert { bucket: "orders".into(), data: object(json!({"id": "b", "owner": "ada"})) };
    let error = refused(insert.clone().if_version(0));
    assert_eq!(error.details(), Some(json!({"bucket": "orders", "key": "b"})));
    let upsert = Intent::Upsert { bucket: "orders".into(), data: object(json!({"id": "b", "owner": "ada"})) };
    assert_eq!(refused(upsert).code(), Code::AlreadyExists);
    let steps = vec![Step::Write(insert)];
    assert_eq!(refused(Intent::Transaction { operations: steps }).code(), Code::Conflict);
    world.update("orders", "a".into(), json!({"by": "p1"})).unwrap();
    world.update("orders", "b".into(), json!({"by": null})).unwrap();
    let delete = Intent::Delete { bucket: "people".into(), key: "p1".into() };
    let error = world.run(delete.guarded(&guard)).unwrap_err();
    assert!(matches!(error, StoreError::Referenced(_)), "an order of hers may be named: {error}");
}

#[test]
fn what_code_says_of_a_hidden_member_is_not_told() {
    let mut world = shop();
    let validators = Validators::default().bucket("orders", |record| {
        let cost = record.to_value()["cost"].as_f64().unwrap_or_default();
        if cost > 5.0 { vec![Issue::custom("cost", format!("{cost} is too much"))] } else { Vec::new() }
    });
    let guard = guard(&[own()]);
    let mut context = Context::new(5_000, &mut world.ids).with_validators(&validators);
    let error =
        world.state.execute(update("a", json!({"number": 8})).guarded(&guard), &mut context).unwrap_err();
    assert!(!error.to_string().contains("too much") && !error.to_string().contains("cost"), "{error}");
}

#[test]
fn a_repeat_gets_the_first_answer_whatever_the_guard() {
    let (mut world, guard) = (shop(), guard(&[own()]));
    let write = update("a", json!({"number": 7}));
    let first = world.run(write.clone().idempotent("user:ada", "k").guarded(&guard)).unwrap();
    assert!(!first.to_json().contains("cost"));
    for repeat in [
        write.clone().guarded(&guard).idempotent("user:ada", "k"),
        write.clone().idempotent("user:ada", "k").guarded(&guard),
        write.idempotent("user:ada", "k"),
    ] {
        let again = world.run(repeat).unwrap();
        assert!(matches!(again, Outcome::Repeated(_)));
        assert_eq!(again.to_json(), first.to_json());
    }
    let versioned = update("c", json!({"number": 8})).guarded(&guard).if_version(1);
    assert!(world.run(versioned).is_ok());
    let hidden = update("b", json!({"number": 8})).guarded(&guard).if_version(1);
    assert!(matches!(world.run(hidden), Err(StoreError::VersionConflict { version: 0, .. })));
}

#[test]
fn queries_in_code_read_through_the_guard() {
    let (world, guard) = (shop(), guard(&[own()]));
    let run = |query: &ClosureQuery, params: Value| query.run_guarded(&world.state, &params, &guard).0;
    let all = ClosureQuery::new("all", |ctx, params| {
        let orders = ctx.bucket("orders")?;
        let filter = Filter::parse(params.as_object().unwrap())?;
        let page: Vec<Value> =
            orders.paginate(None, 5)?.records.iter().map(|record| record.to_value()["id"].clone()).collect();
        Ok(json!({
            "b": orders.get(&json!("b")).map(|record| record.to_value()),
            "cost": orders.get(&json!("a")).map(|record| record.to_value()["cost"].clone()),
            "all": orders.all().count(),
            "matching": orders.matching(&filter).len(),
            "page": page,
        }))
    });
    let expected = json!({"b": null, "cost": null, "all": 2, "matching": 2, "page": ["a", "c"]});
    assert_eq!(run(&all, json!({})), Ok(expected));
    // Also where the code does not notice.
    assert!(matches!(run(&all, json!({"cost": 9})), Err(StoreError::HiddenMember { .. })));
    let live = |guard: &Guard| {
        let query = LiveQuery::Programmatic {
            query: all.clone(),
            params: Value::Null.into(),
            guard: Guard::default(),
        };
        query.guarded(guard, &Snapshot::new("test")).unwrap()
    };
    assert_ne!(live(&guard), live(&Guard::default()));
    assert_eq!(live(&guard), live(&guard));
}

#[test]
fn a_live_query_tells_of_an_included_record_only_while_it_is_seen() {
    let mut world = shop();
    world.update("orders", "a".into(), json!({"by": "p1"})).unwrap();
    let people =
        json!({"bucket": "people", "read": {"team": "{{ session.metadata.team }}"}, "hide": ["email"]});
    let limits = ViewLimits {
        history: HistoryLimits { commits: 40, bytes: 64 * 1024 },
        unindexed_tests: usize::MAX,
        bytes: usize::MAX,
        reserve: 4,
    };
    let mut views = Views::new(world.state.clone(), limits);
    let config = object(json!({"bucket": "orders", "include": {"person": {"ref": "by"}}}));
    let query = Query::parse("orders", &config).unwrap().bind(&Value::Null).unwrap();
    let query = query.guarded(&guard(&[people, own()]), &world.state).unwrap();
    let prepared = views.prepare(LiveQuery::Declarative(query)).run();
    let Joined::View(view) = views.open(prepared).unwrap() else { panic!("outdated") };

    let mut step = |team: &str| {
        let seen = world.log.len();
        world.update("people", "p1".into(), json!({"team": team})).unwrap();
        let step = views.advance(&world.log[seen..], world.state.clone());
        let result = views.result(view).unwrap().unwrap();
        assert!(!result.contains("cost") && !result.contains("p1@x"), "{result}");
        let result: Value = serde_json::from_str(&result).unwrap();
        let patch: Value = serde_json::from_str(&format!("[{}]", views.patch(view).unwrap())).unwrap();
        (
            step.changed == [view],
            step.evaluated,
            result[0]["person"]["team"].clone(),
            patch[0]["value"].clone(),
        )
    };
    let (told, _, team, patch) = step("red");
    assert!(told && team == "red" && patch["team"] == "red" && patch.get("email").is_none(), "{patch}");
    // It leaves, and is not there any more.
    let (told, _, team, patch) = step("blue");
    assert!(told && team.is_null() && patch.is_null());
    assert_eq!(step("green"), (false, 0, Value::Null, Value::Null), "nobody is told, nor counts it");
    // It is back.
    let (told, _, team, patch) = step("red");
    assert!(told && team == "red" && patch["team"] == "red", "{patch}");
}

#[test]
fn a_change_of_a_hidden_member_alone_is_no_change() {
    let mut world = shop();
    let limits = ViewLimits {
        history: HistoryLimits { commits: 40, bytes: 64 * 1024 },
        unindexed_tests: usize::MAX,
        bytes: usize::MAX,
        reserve: 4,
    };
    let mut views = Views::new(world.state.clone(), limits);
    let query =
        Query::parse("all", &object(json!({"bucket": "orders"}))).unwrap().bind(&Value::Null).unwrap();
    let mut open = |query: BoundQuery| {
        let prepared = views.prepare(LiveQuery::Declarative(query)).run();
        let Joined::View(view) = views.open(prepared).unwrap() else { panic!("outdated") };
        view
    };
    let _hers = open(query.guarded(&guard(&[own()]), &world.state).unwrap());
    let everybody = open(query);
    // A migration leaves the version as it is.
    let migration = Migration::new(1, "dearer", |m| {
        m.bucket("orders")?.transform_all(|order| drop(order.insert("cost".into(), 10.into())))
    });
    let seen = world.log.len();
    world.run(Intent::Migrate { migrations: vec![migration], dry_run: false }).unwrap();
    let step = views.advance(&world.log[seen..], world.state.clone());
    assert_eq!((step.changed, step.stale.len()), (vec![everybody], 0));
}
