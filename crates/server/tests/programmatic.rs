//! Queries that are part of the program, and live queries that read several buckets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Client, address, define_items, eventually, memory, memory_with, subscribe};
use dunlin_server::config::SeedRequest;
use dunlin_server::{Access, Authentication, Login, Server, ServerBuilder, Session, StartError, WriteError};
use dunlin_store::{Filter, Intent, StoreError};
use serde_json::{Value, json};

/// A server with the query `profile` (`{id}` → the user of this key, and how many tasks there are) and the number of its
/// runs. Without `id` it is an error, with the id `bug` it panics.
fn with_profile(builder: ServerBuilder) -> (ServerBuilder, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let builder = builder.query("profile", move |ctx, params| {
        counter.fetch_add(1, Ordering::SeqCst);
        let user = ctx.bucket("users")?.get(&params["id"]).map(|user| user.to_value());
        let Some(user) = user else {
            return Err(StoreError::RecordNotFound { bucket: "users".into(), key: params["id"].clone() });
        };
        assert!(user["name"] != "bug", "a buggy query");
        let tasks = if user["counts"] == true { ctx.bucket("tasks")?.count(&Filter::default()) } else { 0 };
        Ok(json!({"name": user["name"], "tasks": tasks}))
    });
    (builder, runs)
}

async fn define(server: &Server) {
    let store = server.store();
    let schema = json!({"id": {"type": "string"}, "name": {"type": "string"}, "counts": {"type": "boolean"}});
    store.define_bucket("users", json!({"key": "id", "schema": schema})).await.unwrap();
    store.define_bucket("tasks", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await.unwrap();
    store.insert("users", json!({"id": "ada", "name": "Ada", "counts": false})).await.unwrap();
}

async fn profile(client: &mut Client) -> (Value, Value) {
    let request = json!({"type": "store.subscribe", "query": "profile", "params": {"id": "ada"}});
    let answer = client.data(request).await;
    (answer["subscriptionId"].clone(), answer["data"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_again_when_what_it_has_read_changes_and_pushes_what_differs() {
    let (builder, runs) = with_profile(memory());
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let store = server.store();
    let mut client = Client::connect(address(&server)).await;
    let (id, data) = profile(&mut client).await;
    assert_eq!((data, runs.load(Ordering::SeqCst)), (json!({"name": "Ada", "tasks": 0}), 1));

    // Another user, and a bucket that it has not looked into: nothing runs.
    store.insert("users", json!({"id": "bob", "name": "Bob"})).await.unwrap();
    store.update("users", json!("bob"), json!({"name": "Rob"})).await.unwrap();
    store.insert("tasks", json!({"id": "t1"})).await.unwrap();
    // What it has read: it runs, and what is the same is not pushed.
    store.update("users", json!("ada"), json!({"name": "Ada"})).await.unwrap();
    store.update("users", json!("ada"), json!({"name": "Ada L."})).await.unwrap();
    assert_eq!(client.push(&id).await, json!({"name": "Ada L.", "tasks": 0}));
    let seen = runs.load(Ordering::SeqCst);
    assert!((2..=3).contains(&seen), "two commits, perhaps merged: {seen}");

    // Now it looks into the other bucket, too.
    store.update("users", json!("ada"), json!({"counts": true})).await.unwrap();
    assert_eq!(client.push(&id).await, json!({"name": "Ada L.", "tasks": 1}));
    store.insert("tasks", json!({"id": "t2"})).await.unwrap();
    assert_eq!(client.push(&id).await["tasks"], 2);
    store.delete("users", json!("bob")).await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), seen + 2);

    // And no longer.
    store.update("users", json!("ada"), json!({"counts": false})).await.unwrap();
    assert_eq!(client.push(&id).await["tasks"], 0);
    store.execute(Intent::Clear { bucket: "tasks".into() }).await.unwrap();
    store.update("users", json!("ada"), json!({"name": "A."})).await.unwrap();
    assert_eq!(client.push(&id).await["name"], "A.");
    assert_eq!(runs.load(Ordering::SeqCst), seen + 4);
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_others_change_it_does_not_run() {
    let (builder, runs) = with_profile(memory());
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let (id, _) = profile(&mut client).await;
    let users: Vec<Value> = (0..3_000).map(|n| json!({"id": format!("u{n}")})).collect();
    let seen = runs.load(Ordering::SeqCst);
    server.store().insert_many("users", users).await.unwrap();
    server.store().update("users", json!("ada"), json!({"name": "B"})).await.unwrap();
    assert_eq!(client.push(&id).await["name"], "B");
    assert_eq!(runs.load(Ordering::SeqCst), seen + 1);
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_same_shares_a_view_and_a_panic_ends_it() {
    let (builder, _) = with_profile(memory());
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let (mut one, mut other) =
        (Client::connect(address(&server)).await, Client::connect(address(&server)).await);
    let ((first, _), (second, _)) = (profile(&mut one).await, profile(&mut other).await);
    let listed = one.data(json!({"type": "store.listQueries"})).await;
    let expected =
        json!({"queries": [{"name": "profile", "type": "programmatic", "activeSubscriptions": 2}]});
    assert_eq!(listed, expected);
    let stats = one.data(json!({"type": "store.stats"})).await;
    assert_eq!(stats["queries"], json!({"defined": 1, "activeSubscriptions": 2}));

    server.store().update("users", json!("ada"), json!({"name": "bug"})).await.unwrap();
    for (client, id) in [(&mut one, &first), (&mut other, &second)] {
        let ended = client.system().await;
        assert_eq!(
            (&ended["event"], &ended["code"]),
            (&json!("subscription_ended"), &json!("INTERNAL_ERROR"))
        );
        assert_eq!(ended["subscriptionId"], *id);
    }
    let request = json!({"type": "store.subscribe", "query": "profile", "params": {"id": "ada"}});
    assert_eq!(one.code(request).await, "INTERNAL_ERROR");
    server.store().update("users", json!("ada"), json!({"name": "Ada"})).await.unwrap();
    let (again, _) = profile(&mut one).await;
    // Its own refusal ends it, too, with what it says.
    server.store().delete("users", json!("ada")).await.unwrap();
    let ended = one.system().await;
    assert_eq!((&ended["subscriptionId"], &ended["code"]), (&again, &json!("NOT_FOUND")));
    assert_eq!(server.stats().await.unwrap()["store"]["queries"]["activeSubscriptions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_belongs_to_the_program() {
    let (builder, _) = with_profile(memory());
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let mut client = Client::connect(address(&server)).await;
    let define = json!({"type": "store.defineQuery", "name": "profile", "config": {"bucket": "users"}});
    assert_eq!(client.code(define).await, "ALREADY_EXISTS");
    let undefine = client.call(json!({"type": "store.undefineQuery", "name": "profile"})).await;
    assert_eq!(undefine["code"], "VALIDATION_ERROR", "{undefine}");
    assert!(undefine["message"].as_str().unwrap().contains("part of the server's program"));
    let explained = client.call(json!({"type": "store.explain", "query": "profile"})).await;
    assert_eq!(explained["code"], "VALIDATION_ERROR", "{explained}");
    let by_code = server.store().execute(Intent::UndefineQuery { name: "profile".into() }).await;
    assert!(matches!(by_code, Err(WriteError::PartOfProgram { query }) if query == "profile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_name_must_be_free_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let stored = Server::builder().data_dir(dir.path()).port(0).bind().await.unwrap();
    define(&stored).await;
    stored.store().define_query("profile", json!({"bucket": "users"})).await.unwrap();
    stored.stop(std::time::Duration::ZERO).await.unwrap();
    drop(stored);
    let refused = async |builder: ServerBuilder, told: &str| {
        let Err(error) = builder.build().await else { panic!("{told}: started") };
        assert_eq!(error.code(), "QUERY");
        assert!(matches!(&error, StartError::Query { .. }) && error.to_string().contains(told), "{error}");
    };
    let (builder, _) = with_profile(Server::builder().data_dir(dir.path()));
    refused(builder, "the data holds a declarative query of this name").await;
    let (builder, _) = with_profile(with_profile(memory()).0);
    refused(builder, "given twice").await;
    let seeded = memory_with(|config| {
        config.seed =
            vec![SeedRequest::DefineQuery { name: "profile".into(), config: json!({"bucket": "users"}) }];
    });
    refused(with_profile(seeded).0, "\"seed\" defines a query of this name").await;
    refused(memory().query("a\nb", |_, _| Ok(Value::Null)), "its name must have").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_on_it_are_rights_on_what_it_has_read() {
    let builder = memory()
        .authenticator(|login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) })
        .permissions(|access: &Access<'_>| {
            access.session.user_id == "admin"
                || access.touches_bucket("users") != access.touches_bucket("tasks")
        });
    let (builder, _) = with_profile(builder);
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada"})).await;
    profile(&mut client).await;
    server.store().update("users", json!("ada"), json!({"counts": true})).await.unwrap();
    let mut other = Client::connect(address(&server)).await;
    other.data(json!({"type": "auth.login", "token": "bob"})).await;
    let request = json!({"type": "store.subscribe", "query": "profile", "params": {"id": "ada"}});
    let refused = other.call(request).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    assert_eq!(refused["message"], "No permission for store.subscribe on profile, users, tasks");
    // An error is not told either to whoever may not read what it came from.
    let request = json!({"type": "store.subscribe", "query": "profile"});
    assert_eq!(other.code(request).await, "NOT_FOUND", "the user is all that it has read");
    server.store().update("users", json!("ada"), json!({"name": "Ada L."})).await.unwrap();
    other.silent().await;
    // Nor does the first one go on, who may not read both of them either.
    assert_eq!(client.system().await["code"], "FORBIDDEN");
    assert_eq!(server.stats().await.unwrap()["store"]["queries"]["activeSubscriptions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_included_record_pushes() {
    let server = memory().bind().await.unwrap();
    define(&server).await;
    define_items(&server).await;
    let store = server.store();
    let schema = json!({"id": {"type": "string"}, "by": {"type": "string", "ref": "users"}});
    store.define_bucket("posts", json!({"key": "id", "schema": schema})).await.unwrap();
    let query = json!({"bucket": "posts", "fields": ["id"], "include": {"author": {"ref": "by"}}});
    store.define_query("posts", query).await.unwrap();
    store.insert("posts", json!({"id": "p1", "by": "ada"})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let id = subscribe(&mut client, "posts").await;
    store.update("users", json!("ada"), json!({"name": "Ada L."})).await.unwrap();
    let push = client.push(&id).await;
    assert_eq!((&push[0]["id"], &push[0]["author"]["name"]), (&json!("p1"), &json!("Ada L.")));
    store.insert("items", json!({"n": 1})).await.unwrap();
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_defined_later_is_seen() {
    let asked = memory().query("late", |ctx, _| {
        Ok(ctx.bucket("later").map_or(Value::Null, |bucket| bucket.count(&Filter::default()).into()))
    });
    let server = asked.bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let answer = client.data(json!({"type": "store.subscribe", "query": "late"})).await;
    assert_eq!(answer["data"], Value::Null);
    let id = &answer["subscriptionId"];
    let config = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    server.store().define_bucket("later", config).await.unwrap();
    assert_eq!(client.push(id).await, 0);
    server.store().insert("later", json!({"id": "a"})).await.unwrap();
    assert_eq!(client.push(id).await, 1);
    client.data(json!({"type": "store.dropBucket", "name": "later"})).await;
    assert_eq!(client.push(id).await, Value::Null);
}

/// Permissions are code of the program, too: a bug in them costs the connection, and nothing stays behind of it.
#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_panic_when_it_has_been_worked_out_leave_nothing_behind() {
    let builder = memory()
        .authenticator(|login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) })
        .permissions(|access: &Access<'_>| {
            assert!(!access.touches_bucket("users"), "a bug");
            true
        });
    let (builder, _) = with_profile(builder);
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada"})).await;
    client.send(json!({"type": "store.subscribe", "query": "profile", "params": {"id": "ada"}})).await;
    client.closed().await;
    eventually("nobody watches it", async || {
        let stats = server.stats().await.unwrap();
        stats["store"]["queries"]["activeSubscriptions"] == 0
    })
    .await;
}

fn without_tasks(builder: ServerBuilder) -> ServerBuilder {
    builder
        .authenticator(|login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) })
        .permissions(|access: &Access<'_>| {
            access.session.user_id == "admin" || !access.touches_bucket("tasks")
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for_again_when_it_reads_another_bucket() {
    let (builder, _) = with_profile(without_tasks(memory()));
    let server = builder.bind().await.unwrap();
    define(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada"})).await;
    let (id, _) = profile(&mut client).await;
    let mut admin = Client::connect(address(&server)).await;
    admin.data(json!({"type": "auth.login", "token": "admin"})).await;
    let (theirs, _) = profile(&mut admin).await;
    server.store().update("users", json!("ada"), json!({"counts": true})).await.unwrap();
    let told = client.message().await;
    assert_eq!(
        (&told["event"], &told["code"]),
        (&json!("subscription_ended"), &json!("FORBIDDEN")),
        "{told}"
    );
    assert_eq!(told["subscriptionId"], id);
    // Who may read it, too, goes on.
    server.store().insert("tasks", json!({"id": "t"})).await.unwrap();
    while admin.push(&theirs).await["tasks"] != 1 {}
    client.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for_again_when_what_is_included_comes_from_another_bucket() {
    let server = without_tasks(memory()).bind().await.unwrap();
    define(&server).await;
    let store = server.store();
    let schema = json!({"id": {"type": "string"}, "by": {"type": "string", "ref": "users"}});
    store.define_bucket("posts", json!({"key": "id", "schema": schema})).await.unwrap();
    store.insert("posts", json!({"id": "p1", "by": "ada"})).await.unwrap();
    store.insert("tasks", json!({"id": "ada", "secret": 1})).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada"})).await;
    let query = json!({"bucket": "posts", "include": {"author": {"ref": "by"}}});
    client.data(json!({"type": "store.subscribe", "query": query})).await;
    let Value::Object(updates) = json!({"changeFields": {"by": {"type": "string", "ref": "tasks"}}}) else {
        panic!()
    };
    store.execute(Intent::UpdateBucket { name: "posts".into(), updates }).await.unwrap();
    let told = client.message().await;
    assert_eq!(
        (&told["event"], &told["code"]),
        (&json!("subscription_ended"), &json!("FORBIDDEN")),
        "{told}"
    );
    client.silent().await;
}
