//! `store.transaction` over real sockets: all or nothing, for everybody who looks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Client, address, define_items, memory, subscribe};
use dunlin_server::{Access, Authentication, Login, Server, Session};
use serde_json::{Value, json};

async fn with_accounts() -> Server {
    let server = memory().bind().await.unwrap();
    define_items(&server).await;
    let schema = json!({
        "id": {"type": "string"},
        "n": {"type": "number", "required": true},
        "mail": {"type": "string", "unique": true},
        "no": {"type": "number", "generated": "autoincrement"},
    });
    let store = server.store();
    store.define_bucket("accounts", json!({"key": "id", "schema": schema})).await.unwrap();
    store.define_query("accounts", json!({"bucket": "accounts"})).await.unwrap();
    server
}

fn transaction(operations: Value) -> Value {
    let mut request = json!({"type": "store.transaction"});
    request["operations"] = operations;
    request
}

/// The `data` of each operation, checking that their places are told.
async fn results(client: &mut Client, operations: Value) -> Vec<Value> {
    let data = client.data(transaction(operations)).await;
    let results = data["results"].as_array().unwrap().clone();
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], json!(index));
    }
    results.into_iter().map(|mut result| result["data"].take()).collect()
}

/// The error of a refused transaction.
async fn refused(client: &mut Client, operations: Value) -> Value {
    let answer = client.call(transaction(operations)).await;
    assert_eq!(answer["type"], "error", "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_its_result_and_sees_those_before_it() {
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    let results = results(
        &mut client,
        json!([
            {"op": "insert", "bucket": "accounts", "data": {"id": "a", "n": 1}},
            {"op": "get", "bucket": "accounts", "key": "a"},
            {"op": "update", "bucket": "accounts", "key": "a", "data": {"n": 2}},
            {"op": "insertMany", "bucket": "items", "data": [{"id": "i", "n": 5, "tag": "x"}, {"id": "j", "n": 7, "tag": "x"}]},
            {"op": "updateMany", "bucket": "items", "filter": {"tag": "x"}, "data": {"tag": "y"}},
            {"op": "where", "bucket": "items", "filter": {"tag": "y"}},
            {"op": "findOne", "bucket": "items", "filter": {"n": {"$gt": 5}}},
            {"op": "findOne", "bucket": "items", "filter": {"n": 0}},
            {"op": "groupBy", "bucket": "items", "field": "tag", "aggregate": {"function": "sum", "field": "n"}},
            {"op": "deleteMany", "bucket": "items", "filter": {"n": 5}},
            {"op": "count", "bucket": "items"},
            {"op": "count", "bucket": "items", "filter": {"n": 5}},
            {"op": "upsert", "bucket": "accounts", "data": {"id": "a", "n": 3}},
            {"op": "delete", "bucket": "items", "key": "nobody"},
            {"op": "get", "bucket": "items", "key": "nobody"},
        ]),
    )
    .await;
    let member = |result: &Value, name: &str| result[name].clone();
    assert_eq!(results[0]["_version"], 1);
    assert_eq!(results[1], results[0]);
    assert_eq!((member(&results[2], "n"), member(&results[2], "_version")), (json!(2), json!(2)));
    assert_eq!(results[3].as_array().unwrap().len(), 2);
    assert_eq!(results[4], 2);
    assert_eq!((&results[5][0]["tag"], &results[5][1]["id"]), (&json!("y"), &json!("j")));
    assert_eq!((&results[6]["id"], &results[7]), (&json!("j"), &Value::Null));
    assert_eq!(results[8], json!([{"key": {"tag": "y"}, "value": 12}]));
    assert_eq!((&results[9], &results[10], &results[11]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&results[12]["n"], &results[12]["no"]), (&json!(3), &json!(1)));
    assert_eq!((&results[13], &results[14]), (&json!({"deleted": true}), &Value::Null));
    assert_eq!(
        client.data(json!({"type": "store.get", "bucket": "accounts", "key": "a"})).await,
        results[12]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w16_others_see_all_of_it_or_nothing_and_subscribers_get_one_push() {
    let server = with_accounts().await;
    let mut writer = Client::connect(address(&server)).await;
    let mut reader = Client::connect(address(&server)).await;
    let everything = subscribe(&mut reader, "accounts").await;
    let own = subscribe(&mut writer, "accounts").await;
    for n in 0..50i64 {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        let operations = json!([
            {"op": "insert", "bucket": "accounts", "data": {"id": a, "n": n}},
            {"op": "insert", "bucket": "accounts", "data": {"id": b, "n": -n}},
            {"op": "update", "bucket": "accounts", "key": a, "data": {"n": n + 1}},
            {"op": "update", "bucket": "accounts", "key": b, "data": {"n": -n - 1}},
        ]);
        let id = writer.send(transaction(operations)).await;
        // Asked while it is under way: both halves are there, or neither.
        let sum = json!({"type": "store.sum", "bucket": "accounts", "field": "n"});
        assert_eq!(reader.data(sum).await, 0);
        assert_eq!(writer.message().await["id"], json!(id), "the result comes before the push");
        let push = writer.push(&own).await;
        assert_eq!(json!(push.as_array().unwrap().len()), json!(2 * (n + 1)));
    }
    let mut seen = 0;
    while seen < 100 {
        let push = reader.push(&everything).await;
        let records = push.as_array().unwrap();
        let sum: i64 = records.iter().map(|record| record["n"].as_i64().unwrap()).sum();
        assert_eq!((sum, records.len() % 2), (0, 0), "a push shows a whole transaction");
        assert!(records.len() > seen, "and each is pushed once");
        seen = records.len();
    }
    reader.silent().await;
    writer.silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_undoes_everything_and_says_where_it_was() {
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    client
        .data(json!({"type": "store.insert", "bucket": "accounts", "data": {"id": "a", "n": 1, "mail": "m"}}))
        .await;
    let subscription = subscribe(&mut client, "all-items").await;
    let position = server.store().snapshot().position();
    let good = json!({"op": "insert", "bucket": "items", "data": {"n": 1}});
    let table = [
        (
            json!({"op": "insert", "bucket": "accounts", "data": {"id": "a", "n": 2}}),
            "CONFLICT",
            json!({"bucket": "accounts", "key": "a", "index": 1}),
        ),
        (json!({"op": "insert", "bucket": "nowhere", "data": {}}), "BUCKET_NOT_DEFINED", json!({"index": 1})),
        (json!({"op": "count", "bucket": "nowhere"}), "BUCKET_NOT_DEFINED", json!({"index": 1})),
        (
            json!({"op": "update", "bucket": "accounts", "key": "z", "data": {"n": 2}}),
            "NOT_FOUND",
            json!({"index": 1}),
        ),
        (
            json!({"op": "upsert", "bucket": "accounts", "data": {"id": "b", "n": 2, "mail": "m"}}),
            "ALREADY_EXISTS",
            json!({"bucket": "accounts", "field": "mail", "value": "m", "index": 1}),
        ),
        (
            json!({"op": "insert", "bucket": "accounts", "data": {"id": "b"}}),
            "VALIDATION_ERROR",
            json!([{"field": "n", "message": "Field is required", "code": "required"}]),
        ),
        (
            json!({"op": "where", "bucket": "items", "filter": {"n": {"$near": 1}}}),
            "VALIDATION_ERROR",
            Value::Null,
        ),
    ];
    for (bad, code, details) in table {
        let error = refused(&mut client, json!([good, bad, good])).await;
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().starts_with("operations[1]: "), "{error}");
        if !details.is_null() {
            assert_eq!(error["details"], details);
        }
    }
    assert_eq!(server.store().snapshot().position(), position, "nothing was committed");
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, 0);
    // Nothing to see for subscribers; the first push is that of the next real change.
    client.data(json!({"type": "store.insert", "bucket": "items", "data": {"n": 9}})).await;
    assert_eq!(client.push(&subscription).await[0]["n"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_keeps_its_place_among_the_requests_of_its_connection() {
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    let insert = |id: &str| json!({"op": "insert", "bucket": "accounts", "data": {"id": id, "n": 1}});
    let count = json!({"type": "store.count", "bucket": "accounts"});
    let ids = client
        .send_all([
            json!({"type": "store.insert", "bucket": "accounts", "data": {"id": "a", "n": 1}}),
            transaction(json!([{"op": "count", "bucket": "accounts"}, insert("b")])),
            count.clone(),
            transaction(json!([insert("c"), insert("a")])),
            transaction(json!([])),
            json!({"type": "store.delete", "bucket": "accounts", "key": "b"}),
            transaction(json!([{"op": "get", "bucket": "accounts", "key": "b"}])),
            count,
        ])
        .await;
    let mut answers = Vec::new();
    for id in ids {
        let answer = client.message().await;
        assert_eq!(answer["id"], json!(id));
        answers.push(answer);
    }
    assert_eq!(answers[1]["data"]["results"][0]["data"], 1);
    assert_eq!(answers[2]["data"], 2);
    assert_eq!(answers[3]["code"], "CONFLICT");
    assert_eq!(answers[4]["message"], "\"operations\" must contain at least one operation");
    assert_eq!(answers[6]["data"]["results"][0]["data"], Value::Null);
    assert_eq!(answers[7]["data"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for_every_bucket_that_a_transaction_touches() {
    let server = memory()
        .authenticator(|login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) })
        .permissions(|access: &Access<'_>| !access.touches_bucket("accounts"))
        .bind()
        .await
        .unwrap();
    define_items(&server).await;
    let mut client = Client::connect(address(&server)).await;
    client.data(json!({"type": "auth.login", "token": "u"})).await;
    let mut request = transaction(json!([
        {"op": "insert", "bucket": "items", "data": {"n": 1}},
        {"op": "get", "bucket": "accounts", "key": "a"},
    ]));
    request["bucket"] = json!("items");
    let answer = client.call(request).await;
    assert_eq!(answer["message"], "No permission for store.transaction on items, accounts", "{answer}");
    assert_eq!(client.data(json!({"type": "store.count", "bucket": "items"})).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn w15_what_ends_well_is_accepted_whatever_lies_between() {
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    let insert = |id: &str, mail: &str| json!({"op": "insert", "bucket": "accounts", "data": {"id": id, "n": 1, "mail": mail}});
    let mail = |id: &str, mail: &str| json!({"op": "update", "bucket": "accounts", "key": id, "data": {"mail": mail}});
    let delete = |id: &str| json!({"op": "delete", "bucket": "accounts", "key": id});
    results(&mut client, json!([insert("a", "x"), insert("b", "y")])).await;
    // A swap of unique values, a handover, an update that is deleted, a key that is used again.
    results(&mut client, json!([mail("a", "y"), mail("b", "x")])).await;
    results(&mut client, json!([insert("c", "x"), delete("b")])).await;
    results(&mut client, json!([mail("a", "z"), delete("a")])).await;
    results(&mut client, json!([delete("c"), insert("c", "x"), mail("c", "w")])).await;
    let all = client.data(json!({"type": "store.all", "bucket": "accounts"})).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!((&all[0]["id"], &all[0]["mail"], &all[0]["_version"]), (&json!("c"), &json!("w"), &json!(2)));
    let error = refused(&mut client, json!([insert("d", "v"), insert("e", "v")])).await;
    assert_eq!((&error["code"], &error["details"]["index"]), (&json!("ALREADY_EXISTS"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn w18_concurrent_transactions_draw_no_number_twice() {
    const CLIENTS: u64 = 4;
    const ROUNDS: u64 = 25;
    let server = with_accounts().await;
    let store = server.store();
    let work = (0..CLIENTS).map(|client| {
        let address = address(&server);
        tokio::spawn(async move {
            let mut connection = Client::connect(address).await;
            for round in 0..ROUNDS {
                let id = format!("{client}-{round}");
                results(
                    &mut connection,
                    json!([{"op": "insert", "bucket": "accounts", "data": {"id": id, "n": 1}}]),
                )
                .await;
            }
        })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let all = store
        .snapshot()
        .bucket("accounts")
        .unwrap()
        .iter()
        .map(|record| record.to_value()["no"].as_u64().unwrap())
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(all.len() as u64, CLIENTS * ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn w20_an_unknown_bucket_is_told_as_everywhere_else() {
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    let error = refused(&mut client, json!([{"op": "get", "bucket": "nope", "key": 1}])).await;
    assert_eq!(error["code"], "BUCKET_NOT_DEFINED");
    assert_eq!(error["message"], "operations[0]: Bucket \"nope\" is not defined");
    // Dropped in the same batch, right before it.
    let ids = client
        .send_all([
            json!({"type": "store.dropBucket", "name": "accounts"}),
            transaction(json!([{"op": "insert", "bucket": "accounts", "data": {"id": "a", "n": 1}}])),
        ])
        .await;
    client.answer(ids[0]).await;
    assert_eq!(client.answer(ids[1]).await["code"], "BUCKET_NOT_DEFINED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_the_wire_are_those_of_the_store() {
    use dunlin_protocol::limits as wire;
    use dunlin_store::limits as store;
    assert_eq!(wire::MAX_OPERATIONS, store::MAX_OPERATIONS);
    assert_eq!(wire::MAX_INSERTED, store::MAX_RECORDS_WRITTEN);
    assert_eq!(wire::MAX_GROUP_FIELDS, store::MAX_QUERY_FIELDS);
    let server = with_accounts().await;
    let mut client = Client::connect(address(&server)).await;
    let operations = vec![json!({"op": "count", "bucket": "items"}); wire::MAX_OPERATIONS];
    assert_eq!(results(&mut client, json!(operations)).await.len(), wire::MAX_OPERATIONS);
}
