//! What rules do is as durable as what set them off: in one append with it, once, over failures and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod common;
#[path = "rules_durable/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, PATIENCE, address, eventually, metric};
use dunlin_server::{Access, Authentication, Login, Server, StartError, WriteError};
use dunlin_store::{Intent, Outcome, Step, SystemWrite};
use serde_json::{Value, json};
use world::{World, count, define_notes, fact, notes, on};

async fn emit(server: &Server, topic: &str, id: &str) -> Result<(), WriteError> {
    server.rules().emit(topic, json!({"id": id})).await.map(drop)
}

/// The same, repeated until it is answered: the writer may still be on its way back.
async fn insist(server: &Server, topic: &str, id: &str) {
    let rules = server.rules();
    eventually("it is answered", async || {
        rules.emit_once("test", id, topic, json!({"id": id})).await.is_ok()
    })
    .await;
}

fn fact_of(server: &Server, key: &str) -> Option<Value> {
    server.rules().get_fact(key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_sets_off_is_in_one_append_with_it() {
    let world = World::new();
    let server = world.start().await;
    define_notes(&server).await;
    let rules = server.rules();
    rules
        .register(on("a", "order.new", json!([fact("seen:${event.id}", json!(true)), count("notes")])))
        .await
        .unwrap();
    rules
        .register(on("b", "bucket.notes.inserted", json!([fact("noted", json!({"ref": "event.after.of"}))])))
        .await
        .unwrap();
    let before = world.faults.appends.lock().unwrap().len();
    let mut heard = rules.subscribe("*").unwrap();
    rules.emit("order.new", json!({"id": "o1"})).await.unwrap();
    let appends = world.faults.appends.lock().unwrap()[before..].to_vec();
    assert_eq!(appends, [2], "the rule's record, and behind it the facts, with one sync");
    assert_eq!(
        (fact_of(&server, "seen:o1"), fact_of(&server, "noted")),
        (Some(json!(true)), Some(json!("o1")))
    );
    let event = heard.next().await.unwrap().unwrap();
    assert_eq!((&*event.event.topic, event.position), ("order.new", server.store().snapshot().position()));
    // Nothing that changes nothing is appended.
    rules.emit("nobody.cares", json!({})).await.unwrap();
    assert_eq!(world.faults.appends.lock().unwrap().len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_a_record_changes_sets_rules_off() {
    let world = World::new();
    let server = world.start().await;
    let store = server.store();
    let schema = json!({"id": {"type": "string"}, "n": {"type": "number"}, "of": {"type": "string", "ref": "items", "onDelete": "cascade"}});
    store.define_bucket("items", json!({"key": "id", "schema": schema, "ttl": "1h"})).await.unwrap();
    define_notes(&server).await;
    let told = json!({"type": "store_insert", "bucket": "notes", "data": {"of": "${event.key} ${event.before.n} ${event.after.n}"}});
    server.rules().register(on("w", "bucket.items.*", json!([told]))).await.unwrap();
    let heard = || {
        let told = notes(&server);
        told.iter().map(|told| told.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    store.insert("items", json!({"id": "a", "n": 1})).await.unwrap();
    store.update("items", json!("a"), json!({"n": 2})).await.unwrap();
    store.upsert("items", json!({"id": "a", "n": 3})).await.unwrap();
    store.insert("items", json!({"id": "b", "n": 9, "of": "a"})).await.unwrap();
    let data = |id: &str| json!({"id": id, "n": 0}).as_object().cloned().unwrap();
    let insert = |id: &str| Step::Write(Intent::Insert { bucket: "items".into(), data: data(id) });
    store.transaction(vec![insert("c"), insert("d")]).await.unwrap();
    assert_eq!(heard(), ["a  1", "a 1 2", "a 2 3", "b  9", "c  0", "d  0"]);
    store.delete("items", json!("a")).await.unwrap();
    assert_eq!(heard()[6..], ["a 3 ", "b 9 "], "what goes with it, too");
    store.execute(Intent::Clear { bucket: "items".into() }).await.unwrap();
    assert_eq!(heard()[8..], ["c 0 ", "d 0 "]);
    store.insert("items", json!({"id": "e", "n": 5})).await.unwrap();
    world.pass(Duration::from_secs(7200));
    // The timer sleeps by another clock; a write looks, too.
    let soon = world.now.load(Ordering::SeqCst) + 1;
    store.insert("items", json!({"id": "f", "n": 6, "_expiresAt": soon})).await.unwrap();
    world.pass(Duration::from_millis(1));
    eventually("both have expired", async || heard().len() == 14).await;
    assert_eq!(heard()[10..], ["e  5", "f  6", "e 5 ", "f 6 "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_append_takes_back_what_rules_did() {
    let world = World::new();
    let server = world.start().await;
    define_notes(&server).await;
    let rules = server.rules();
    let pattern = json!({"type": "count", "event": {"topic": "hit"}, "comparison": "gte", "threshold": 2, "window": "1h", "sliding": true});
    let third = json!({"id": "twice", "name": "twice", "trigger": {"type": "temporal", "pattern": pattern}, "actions": [fact("twice", json!(true))]});
    rules.register(third).await.unwrap();
    rules
        .register(on("n", "hit", json!([count("notes"), fact("last", json!({"ref": "event.id"}))])))
        .await
        .unwrap();
    let mut heard = rules.subscribe("*").unwrap();
    for (round, fault) in [&world.faults.fail_before, &world.faults.panic_before].into_iter().enumerate() {
        fault.store(true, Ordering::SeqCst);
        assert!(emit(&server, "hit", "lost").await.is_err());
        assert_eq!(fact_of(&server, "last"), None, "{round}");
        assert!(notes(&server).is_empty());
    }
    insist(&server, "hit", "1").await;
    assert_eq!(
        (notes(&server), fact_of(&server, "twice")),
        (vec![json!("1")], None),
        "the lost ones do not count"
    );
    // The batch was durable, only the answer was not: it happened.
    world.faults.fail_after.store(true, Ordering::SeqCst);
    emit(&server, "hit", "2").await.unwrap();
    assert_eq!((notes(&server).len(), fact_of(&server, "twice")), (2, Some(json!(true))));
    let first = heard.next().await.unwrap();
    assert!(first.is_err(), "a restart of the writer is a gap: {first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fails_behind_the_append_goes_on_with_what_is_durable() {
    let world = World::new();
    let server = world.start().await;
    define_notes(&server).await;
    server.rules().register(on("n", "hit", json!([count("notes")]))).await.unwrap();
    world.faults.panic_after.store(true, Ordering::SeqCst);
    let answer = emit(&server, "hit", "1").await;
    assert!(matches!(answer, Err(WriteError::Interrupted)), "{answer:?}");
    insist(&server, "hit", "2").await;
    assert_eq!(notes(&server), ["1", "2"], "once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_patterns_and_calls_outlive_the_process() {
    let world = World::new();
    let server = world.start().await;
    define_notes(&server).await;
    let rules = server.rules();
    let timer = |name: &str, repeat: Value| {
        let expired = json!({"topic": "due", "data": {"id": name}});
        let mut timer = json!({"name": name, "duration": "1h", "onExpire": expired});
        if !repeat.is_null() {
            timer["repeat"] = repeat;
        }
        json!({"type": "set_timer", "timer": timer})
    };
    rules
        .register(on(
            "set",
            "begin",
            json!([timer("once", Value::Null), timer("often", json!({"interval": "1h"}))]),
        ))
        .await
        .unwrap();
    rules.register(on("due", "due", json!([count("notes")]))).await.unwrap();
    let absence = json!({"type": "absence", "after": {"topic": "begin"}, "expected": {"topic": "end"}, "within": "90m"});
    let absent = json!({"id": "absent", "name": "absent", "trigger": {"type": "temporal", "pattern": absence},
        "actions": [json!({"type": "store_insert", "bucket": "notes", "data": {"of": "absent"}})]});
    rules.register(absent).await.unwrap();
    let call =
        json!({"type": "call_service", "service": "s", "method": "note", "args": [{"ref": "event.id"}]});
    world.failing.store(usize::MAX, Ordering::SeqCst);
    rules.register(on("call", "begin", json!([call]))).await.unwrap();
    emit(&server, "begin", "b").await.unwrap();
    eventually("it was tried", async || !world.calls().is_empty()).await;
    eventually("the failure is durable", async || {
        let snapshot = server.store().snapshot();
        let outbox: Vec<Value> =
            snapshot.entries("x/").map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
        outbox[0]["failures"] == 1
    })
    .await;
    world.kill(server).await;
    world.pass(Duration::from_secs(4 * 3600));
    world.failing.store(0, Ordering::SeqCst);
    let tried = world.calls().len();
    let server = world.start().await;
    eventually("what was due has happened", async || notes(&server).len() == 3).await;
    let mut happened: Vec<String> =
        notes(&server).iter().map(|note| note.as_str().unwrap().to_owned()).collect();
    happened.sort();
    assert_eq!(happened, ["absent", "often", "once"], "each once, however often it was due meanwhile");
    eventually("the call was made", async || world.calls().len() > tried).await;
    eventually("the outbox is empty", async || server.store().snapshot().entries("x/").count() == 0).await;
    assert_eq!(world.calls().len(), tried + 1);
    server.stop(Duration::ZERO).await.unwrap();
    // Nothing is left to be done.
    let server = world.start().await;
    emit(&server, "other", "x").await.unwrap();
    assert_eq!((notes(&server).len(), world.calls().len()), (3, tried + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer_and_sets_nothing_off() {
    let world = World::new();
    let server = world.start().await;
    define_notes(&server).await;
    server.rules().register(on("n", "pay", json!([count("notes")]))).await.unwrap();
    let once = async |server: &Server, id: &str| {
        server.rules().emit_once("job", "k1", "pay", json!({"id": id})).await
    };
    let first = once(&server, "1").await.unwrap();
    assert_eq!(once(&server, "1").await.unwrap(), first);
    assert!(once(&server, "2").await.is_err(), "another request with the same key");
    world.kill(server).await;
    let server = world.start().await;
    assert_eq!(once(&server, "1").await.unwrap(), first);
    assert_eq!(notes(&server), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_run_costs_only_that_input() {
    let world = World::new();
    let panics = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&panics);
    // Asked in the middle of a run: what a rule may write.
    let permissions = move |_: &Access<'_>| {
        assert!(!told.load(Ordering::SeqCst), "told to panic");
        true
    };
    let nobody = |_: Login| async { Authentication::Ok(None) };
    let server = world.builder().authenticator(nobody).permissions(permissions).bind().await.unwrap();
    define_notes(&server).await;
    let rules = server.rules();
    rules
        .register(on(
            "n",
            "hit",
            json!([
                fact("a", json!({"ref": "event.id"})),
                count("notes"),
                fact("b", json!({"ref": "event.id"}))
            ]),
        ))
        .await
        .unwrap();
    emit(&server, "hit", "1").await.unwrap();
    let position = server.store().snapshot().position();
    panics.store(true, Ordering::SeqCst);
    let failed = emit(&server, "hit", "panic").await;
    panics.store(false, Ordering::SeqCst);
    assert!(matches!(failed, Err(WriteError::RulesFailed)), "{failed:?}");
    assert_eq!(server.store().snapshot().position(), position, "nothing of it has happened");
    assert_eq!(fact_of(&server, "a"), Some(json!("1")));
    emit(&server, "hit", "2").await.unwrap();
    assert_eq!((notes(&server), fact_of(&server, "b")), (vec![json!("1"), json!("2")], Some(json!("2"))));
    assert_eq!(metric(address(&server), "dunlin_rules_failures_total").await, 1);
    // The write of somebody else stands, though rules could not follow it.
    rules.register(on("s", "bucket.other.*", json!([count("notes")]))).await.unwrap();
    let schema = json!({"id": {"type": "string"}});
    server.store().define_bucket("other", json!({"key": "id", "schema": schema})).await.unwrap();
    panics.store(true, Ordering::SeqCst);
    server.store().insert("other", json!({"id": "x"})).await.unwrap();
    panics.store(false, Ordering::SeqCst);
    assert_eq!((server.store().snapshot().bucket("other").unwrap().len(), notes(&server).len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_engine_writes_what_is_its_own() {
    let world = World::new();
    let server = world.start().await;
    server.rules().set_fact("k", json!(1)).await.unwrap();
    let store = server.store();
    let refused = store.insert("_facts", json!({"key": "x", "value": 1})).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to the server"), "{refused}");
    let noted = Intent::System(SystemWrite { entries: vec![("m".into(), None)], ..SystemWrite::default() });
    assert!(store.execute(noted.clone()).await.is_err());
    assert!(store.execute_once("s", "k", noted).await.is_err());
    let mut client = Client::connect(address(&server)).await;
    for request in [
        json!({"type": "store.insert", "bucket": "_facts", "data": {"key": "x"}}),
        json!({"type": "store.delete", "bucket": "_facts", "key": "k"}),
        json!({"type": "store.dropBucket", "name": "_facts"}),
        json!({"type": "store.defineBucket", "name": "_facts", "config": {"key": "k", "schema": {"k": {"type": "string"}}}}),
    ] {
        assert_eq!(client.code(request).await, "FORBIDDEN");
    }
    let read = client.data(json!({"type": "store.get", "bucket": "_facts", "key": "k"})).await;
    assert_eq!((&read["value"], &read["version"]), (&json!(1), &json!(1)));
    assert_eq!(client.data(json!({"type": "store.buckets"})).await["count"], 0);
    let outcome = store.execute(Intent::Delete { bucket: "nowhere".into(), key: json!(1) }).await;
    assert!(!matches!(outcome, Ok(Outcome::Deleted { existed: true })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_the_engine_cannot_read_keeps_the_server_from_starting() {
    let world = World::new();
    {
        use dunlin_journal::{Batch, Durability, FileJournal, Journal, Options};
        struct Ids(u128);
        impl dunlin_store::IdSource for Ids {
            fn next(&mut self) -> u128 {
                self.0 += 1;
                self.0
            }
        }
        let journal = FileJournal::open(world.data(), &Options::new(Durability::Group, "first")).unwrap();
        let mut state = journal.recover().unwrap();
        let entries = vec![("r/broken".into(), Some("{".into()))];
        let noted = Intent::System(SystemWrite { entries, ..SystemWrite::default() });
        let done = state.execute(noted, &mut dunlin_store::Context::new(1, &mut Ids(0))).unwrap();
        let commits: Vec<_> = done.commit.into_iter().collect();
        journal.append(Batch { commits: &commits, next: &state }).unwrap();
    }
    let Err(error) = world.builder().bind().await else { panic!("it started") };
    assert!(matches!(error, StartError::Rules(_)) && error.to_string().contains("r/broken"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_answer_rules_that_ask_and_rules_that_wait() {
    let world = World::new();
    let server = world.start().await;
    let rules = server.rules();
    let level = json!([{"name": "who", "service": "s", "method": "level", "args": [{"ref": "event.id"}], "cache": {"ttl": "1h"}}]);
    let mut asked =
        on("ask", "visit", json!([fact("level:${event.id}", json!({"ref": "lookup.who.level"}))]));
    asked["lookups"] = level;
    rules.register(asked).await.unwrap();
    let call = |method: &str| json!({"type": "call_service", "service": "s", "method": method, "args": [1], "timeout": 50, "attempts": 1});
    let guarded = |method: &str| {
        json!({"type": "try_catch", "try": [call(method), fact("fine", json!(method))],
        "catch": {"as": "e", "actions": [fact("caught:${event.id}", json!({"ref": "var.e.message"}))]}})
    };
    for method in ["hangs", "panics", "unknown"] {
        rules.register(on(method, &format!("try.{method}"), json!([guarded(method)]))).await.unwrap();
    }
    rules.register(on("note", "try.note", json!([guarded("note")]))).await.unwrap();
    emit(&server, "visit", "ada").await.unwrap();
    eventually("it was looked up", async || fact_of(&server, "level:ada") == Some(json!("gold"))).await;
    // What is known is there at once.
    emit(&server, "visit", "ada").await.unwrap();
    emit(&server, "visit", "bob").await.unwrap();
    eventually("another one", async || fact_of(&server, "level:bob") == Some(json!("none"))).await;
    for method in ["hangs", "panics", "unknown"] {
        emit(&server, &format!("try.{method}"), method).await.unwrap();
        let key = format!("caught:{method}");
        eventually("it was caught", async || fact_of(&server, &key).is_some()).await;
    }
    emit(&server, "try.note", "n").await.unwrap();
    eventually("it went on", async || fact_of(&server, "fine") == Some(json!("note"))).await;
    assert_eq!(world.calls(), [json!([1])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_waits_for_its_calls_but_not_for_ever() {
    let world = World::new();
    let server = world.start().await;
    let call = |method: &str| json!({"type": "call_service", "service": "s", "method": method, "args": [], "timeout": "5m"});
    server.rules().register(on("a", "a", json!([call("hangs")]))).await.unwrap();
    emit(&server, "a", "1").await.unwrap();
    tokio::time::timeout(PATIENCE, server.stop(Duration::ZERO)).await.unwrap().unwrap();
    let server = world.start().await;
    assert_eq!(server.store().snapshot().entries("x/").count(), 1, "it is still to be made");
}
