//! Pages by cursor, and explanations of filters, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory};
use dunlin_server::{Access, Authentication, Login, Server, Session};
use serde_json::{Value, json};

/// Records `i0`… with `n` from 0 and every third one tagged.
async fn filled(count: usize) -> (Server, Client) {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let record =
        |n: usize| json!({"id": format!("i{n}"), "n": n, "tag": if n.is_multiple_of(3) { "t" } else { "u" }});
    server.store().insert_many("items", (0..count).map(record)).await.unwrap();
    let client = Client::connect(address(&server)).await;
    (server, client)
}

fn page(fields: Value) -> Value {
    let mut request = fields;
    request["type"] = json!("store.paginate");
    request["bucket"] = json!("items");
    request
}

fn numbers(page: &Value) -> Vec<u64> {
    page["records"].as_array().unwrap().iter().map(|record| record["n"].as_u64().unwrap()).collect()
}

/// Every page of a walk by cursor.
async fn walk(client: &mut Client, fields: Value) -> Vec<Vec<u64>> {
    let (mut pages, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut request = page(fields.clone());
        request["cursor"] = cursor;
        let answer = client.data(request).await;
        pages.push(numbers(&answer));
        if answer["hasMore"] == false {
            return pages;
        }
        cursor = answer["cursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_cursor_follow_filter_and_sort() {
    let (_server, mut client) = filled(10).await;
    let all = walk(&mut client, json!({"limit": 4})).await;
    assert_eq!(all, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    let tagged = json!({"limit": 3, "filter": {"tag": "t"}, "sort": {"n": "desc"}});
    assert_eq!(walk(&mut client, tagged).await, [vec![9, 6, 3], vec![0]]);
    let two = json!({"limit": 6, "sort": {"tag": "desc", "n": "asc"}});
    assert_eq!(walk(&mut client, two).await, [vec![1, 2, 4, 5, 7, 8], vec![0, 3, 6, 9]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_go_on_behind_the_last_page() {
    let (_server, mut client) = filled(2).await;
    let last = client.data(page(json!({"limit": 5, "cursor": null}))).await;
    assert_eq!((numbers(&last), &last["hasMore"]), (vec![0, 1], &json!(false)));
    let empty = client.data(page(json!({"limit": 5, "cursor": last["cursor"]}))).await;
    assert_eq!(empty, json!({"records": [], "hasMore": false}));
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 2}})).await;
    let more = client.data(page(json!({"limit": 5, "cursor": last["cursor"]}))).await;
    assert_eq!(numbers(&more), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_three_fields_pages_are_what_they_were() {
    let (_server, mut client) = filled(3).await;
    let first = client.data(page(json!({"limit": 2}))).await;
    assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), ["records", "hasMore", "nextCursor"]);
    assert_eq!(first["nextCursor"], "i1");
    let second = client.data(page(json!({"limit": 2, "after": "i1"}))).await;
    assert_eq!((numbers(&second), &second["hasMore"]), (vec![2], &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_page_is_refused_with_what_to_do() {
    let (_server, mut client) = filled(3).await;
    let cursor = client.data(page(json!({"limit": 1, "sort": {"n": "asc"}}))).await["cursor"].clone();
    for (fields, told) in [
        (json!({"cursor": null, "after": "i1"}), "leave it out"),
        (json!({"filter": {}, "after": "i1"}), "leave it out"),
        (json!({"cursor": 7}), "expected string or null"),
        (json!({"cursor": "mine"}), "restart from the beginning"),
        (json!({"cursor": cursor}), "another sort"),
        (json!({"sort": {"n": "up"}}), "sort.n"),
        (json!({"filter": {"n": {"$near": 1}}}), "$near"),
    ] {
        let mut request = page(fields.clone());
        request["limit"] = json!(1);
        let answer = client.call(request).await;
        assert_eq!(answer["code"], "VALIDATION_ERROR", "{fields}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(told), "{fields}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_is_read_apart_and_answered_the_same() {
    let count = dunlin_server::limits::INLINE_ROWS + 10;
    let (_server, mut client) = filled(count).await;
    let filter = json!({"n": {"$gte": count - 3}});
    let found = page(json!({"limit": 2, "filter": filter, "sort": {"n": "desc"}}));
    assert_eq!(numbers(&client.data(found).await), [count as u64 - 1, count as u64 - 2]);
    let explained = client.data(json!({"type": "store.explain", "bucket": "items", "filter": filter})).await;
    assert_eq!(
        explained,
        json!({"plan": "scan", "rowsExamined": count, "rowsReturned": 3}),
        "no index has the field"
    );
    let one = client.data(json!({"type": "store.findOne", "bucket": "items", "filter": filter})).await;
    assert_eq!(one["n"], count - 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_queries_are_explained() {
    let (server, mut client) = filled(9).await;
    let explain = |fields: Value| {
        let mut request = fields;
        request["type"] = json!("store.explain");
        request
    };
    assert_eq!(
        client.data(explain(json!({"bucket": "items", "filter": {"id": "i4"}}))).await,
        json!({"plan": "key", "index": ["id"], "access": "equality", "rowsExamined": 1, "rowsReturned": 1})
    );
    assert_eq!(
        client.data(explain(json!({"bucket": "items"}))).await,
        json!({"plan": "scan", "rowsExamined": 9, "rowsReturned": 9})
    );
    let updates = json!({"addIndexes": ["tag"]});
    client.data(json!({"type": "store.updateBucket", "name": "items", "updates": updates})).await;
    let by_tag = explain(json!({"query": "items-by-tag", "params": {"tag": "t"}}));
    assert_eq!(
        client.data(by_tag).await,
        json!({"bucket": "items", "plan": "index", "index": ["tag"], "access": "equality", "rowsExamined": 3, "rowsReturned": 3})
    );
    for (fields, code) in [
        (json!({}), "VALIDATION_ERROR"),
        (json!({"bucket": "items", "query": "all-items"}), "VALIDATION_ERROR"),
        (json!({"bucket": "items", "filter": {"n": {"$near": 1}}}), "VALIDATION_ERROR"),
        (json!({"query": "items-by-tag"}), "VALIDATION_ERROR"),
        (json!({"bucket": "nowhere"}), "BUCKET_NOT_DEFINED"),
        (json!({"query": "nowhere"}), "QUERY_NOT_DEFINED"),
    ] {
        assert_eq!(client.code(explain(fields.clone())).await, code, "{fields}");
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_explain_a_query_takes_rights_on_all_that_it_reads() {
    let server = memory()
        .authenticator(|login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) })
        .permissions(|access: &Access<'_>| !access.touches_bucket("people"))
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let store = server.store();
    store.define_bucket("people", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await.unwrap();
    let schema = json!({"id": {"type": "string"}, "by": {"type": "string", "ref": "people"}});
    store.define_bucket("posts", json!({"key": "id", "schema": schema})).await.unwrap();
    let query = json!({"bucket": "posts", "include": {"author": {"ref": "by"}}});
    store.define_query("posts", query).await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "ada"})).await;
    client.data(json!({"type": "store.explain", "bucket": "posts"})).await;
    client.data(json!({"type": "store.explain", "query": "all-items"})).await;
    for operation in ["store.explain", "store.subscribe"] {
        assert_eq!(client.code(json!({"type": operation, "query": "posts"})).await, "FORBIDDEN");
    }
}
