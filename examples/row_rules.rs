//! Rules about records: two customers watch the same query, and each sees its own orders.
//!
//! `cargo run --example row_rules` starts a server, lets two customers watch, changes the rules while they do, and ends.

use std::time::Duration;

use dunlin::config::TokenSession;
use dunlin::{Policy, Server};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Failure = Box<dyn std::error::Error>;

/// Customers read and subscribe to orders: of these they see their own, without the cost.
fn policy() -> Value {
    json!({
        "default": "deny",
        "rules": [{"role": "customer", "allow": ["store.subscribe", "store.where"], "buckets": ["orders"]}],
        "rows": [{"role": "customer", "bucket": "orders", "read": {"owner": "{{ session.userId }}"}, "hide": ["cost"]}],
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let customer = |user: &str| {
        let mut session = TokenSession::new(user);
        session.roles = vec!["customer".to_owned()];
        (format!("{user}-secret"), session)
    };
    let server = Server::builder()
        .memory()
        .port(0)
        .tokens([customer("ada"), customer("bob")])
        .policy(Policy::parse(&policy())?)
        .bind()
        .await?;
    let address = server.local_addr().ok_or("the server does not listen")?;
    let store = server.store();
    let fields = json!({
        "id": {"type": "string"}, "owner": {"type": "string"}, "cost": {"type": "number"},
    });
    store.define_bucket("orders", json!({"key": "id", "schema": fields})).await?;

    let mut ada = Client::connect(&format!("ws://{address}/"), "ada-secret").await?;
    let mut bob = Client::connect(&format!("ws://{address}/"), "bob-secret").await?;
    store.insert("orders", json!({"id": "o1", "owner": "ada", "cost": 7})).await?;
    store.insert("orders", json!({"id": "o2", "owner": "bob", "cost": 9})).await?;
    println!("ada sees  {}", ada.orders().await?);
    println!("bob sees  {}", bob.orders().await?);

    // The rules change while they watch.
    let mut open = policy();
    open["rows"] = json!([]);
    server.set_policy(Policy::parse(&open)?);
    println!("ada sees  {}", ada.orders().await?);

    server.stop(Duration::ZERO).await?;
    Ok(())
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// Connects, logs in and watches all orders.
    async fn connect(url: &str, token: &str) -> Result<Self, Failure> {
        let (socket, _) = connect_async(url).await?;
        let mut client = Self(socket);
        let query = json!({"bucket": "orders"});
        for request in [
            json!({"id": 1, "type": "auth.login", "token": token}),
            json!({"id": 2, "type": "store.subscribe", "query": query}),
        ] {
            client.0.send(Message::text(request.to_string())).await?;
            while client.receive().await?["id"] != request["id"] {}
        }
        Ok(client)
    }

    /// The orders of the next push.
    async fn orders(&mut self) -> Result<String, Failure> {
        loop {
            let message = self.receive().await?;
            if message["type"] == "push" {
                let orders = message["data"].as_array().into_iter().flatten();
                let shown = |order: &Value| format!("{} with cost {}", order["id"], order["cost"]);
                return Ok(orders.map(shown).collect::<Vec<_>>().join(", "));
            }
        }
    }

    async fn receive(&mut self) -> Result<Value, Failure> {
        let frame = self.0.next().await.ok_or("the server closed")??;
        Ok(serde_json::from_str(frame.to_text()?)?)
    }
}
