//! The requests in `docs/store.md` are answered as the page says: every one is sent to a server, in order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use dunlin::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// The fenced blocks of JSON.
fn requests(page: &str) -> Vec<Value> {
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| serde_json::from_str(block).unwrap()).collect()
}

#[tokio::test]
async fn every_request_of_the_guide_works() {
    let server = Server::builder().memory().port(0).bind().await.unwrap();
    let store = server.store();
    // What the page takes for granted.
    for (name, record) in [
        ("customers", json!({"id": "c1"})),
        ("accounts", json!({"id": "a"})),
        ("transfers", json!({"id": "t"})),
    ] {
        store
            .define_bucket(
                name,
                json!({"key": "id", "schema": {"id": {"type": "string", "generated": "uuid"}}}),
            )
            .await
            .unwrap();
        store.insert(name, record).await.unwrap();
    }
    store.insert("accounts", json!({"id": "b"})).await.unwrap();

    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut answer = async |request: Option<&Value>| -> Value {
        if let Some(request) = request {
            socket.send(Message::text(request.to_string())).await.unwrap();
        }
        let frame = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
        serde_json::from_str(frame.unwrap().unwrap().to_text().unwrap()).unwrap()
    };
    assert_eq!(answer(None).await["type"], "welcome");
    let requests = requests(include_str!("../docs/store.md"));
    assert!(requests.len() >= 4, "the page has requests");
    for request in requests {
        let answer = answer(Some(&request)).await;
        assert_eq!(answer["type"], "result", "{request} was answered {answer}");
    }
    let order = json!({"email": "ada@example.com", "customer": "c1", "address": {"city": "Brno"}, "lines": [{"sku": "x", "n": 2}]});
    let order = store.insert("orders", order).await.unwrap().to_value();
    assert_eq!(
        (&order["state"], &order["channel"], &order["number"]),
        (&json!("open"), &json!("web"), &json!(1))
    );
    server.stop(Duration::ZERO).await.unwrap();
}
