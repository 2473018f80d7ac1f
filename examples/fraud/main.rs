//! Fraud patterns over live orders: rules count declined orders and look for suspicious sequences; somebody watches.
//!
//! `cargo run --example fraud` starts a server, registers the rules of `rules.json`, lets a client watch alerts, sends orders,
//! prints what was seen, and ends.

use std::time::Duration;

use dunlin::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Failure = Box<dyn std::error::Error>;

const RULES: &str = include_str!("rules.json");

/// Card, kind, amount, status: an honest customer, a card that is tried out, and a trial followed by an expensive order.
const ORDERS: [(&str, &str, u32, &str); 8] = [
    ("honest", "standard", 40, "accepted"),
    ("stolen", "standard", 1, "declined"),
    ("stolen", "standard", 2, "declined"),
    ("honest", "express", 900, "accepted"),
    ("stolen", "standard", 3, "declined"),
    ("tester", "trial", 1, "accepted"),
    ("stolen", "standard", 80, "accepted"),
    ("tester", "express", 650, "accepted"),
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = Server::builder().memory().port(0).rules(dunlin::RulesOptions::on()).bind().await?;
    let address = server.local_addr().ok_or("the server does not listen")?;
    let url = format!("ws://{address}/");
    let mut shop = Client::connect(&url).await?;
    define(&mut shop).await?;

    // The fraud desk watches the alerts as they are stored, and hears of them as events.
    let mut desk = Client::connect(&url).await?;
    desk.call(json!({"type": "store.subscribe", "query": {"bucket": "alerts"}})).await?;
    desk.call(json!({"type": "rules.subscribe", "pattern": "alert.*"})).await?;

    for (number, (card, kind, amount, status)) in ORDERS.into_iter().enumerate() {
        let order = json!({"id": format!("o{}", number + 1), "card": card, "kind": kind, "amount": amount, "status": status});
        shop.call(json!({"type": "store.insert", "bucket": "orders", "data": order})).await?;
    }

    let (mut events, mut alerts) = (Vec::new(), Value::Null);
    while events.len() < 2 || alerts.as_array().map(Vec::len) != Some(2) {
        let push = desk.push().await?;
        if push["channel"] == "event" {
            events.push(push["data"]["event"].clone());
        } else {
            alerts = push["data"].clone();
        }
    }
    for event in events {
        println!("event {} {}", event["topic"], event["data"]);
    }
    for alert in alerts.as_array().into_iter().flatten() {
        println!("alert {} {}: {}", alert["rule"], alert["card"], alert["detail"]);
    }
    let held =
        shop.call(json!({"type": "store.where", "bucket": "orders", "filter": {"status": "held"}})).await?;
    for order in held.as_array().into_iter().flatten() {
        println!("held  {} of card {}", order["id"], order["card"]);
    }
    server.stop(Duration::ZERO).await?;
    Ok(())
}

/// Buckets and rules, as an administrator would register them.
async fn define(shop: &mut Client) -> Result<(), Failure> {
    let text = json!({"type": "string", "required": true});
    let orders = json!({
        "id": {"type": "string"}, "card": text, "kind": text, "status": text, "amount": {"type": "number", "required": true},
    });
    let alerts = json!({
        "id": {"type": "number", "generated": "autoincrement"}, "rule": text, "card": text, "detail": text,
    });
    for (name, schema) in [("orders", orders), ("alerts", alerts)] {
        let config = json!({"key": "id", "schema": schema});
        shop.call(json!({"type": "store.defineBucket", "name": name, "config": config})).await?;
    }
    let rules: Vec<Value> = serde_json::from_str(RULES)?;
    for rule in rules {
        shop.call(json!({"type": "rules.registerRule", "rule": rule})).await?;
    }
    Ok(())
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Pushes that came before an answer.
    pushes: std::collections::VecDeque<Value>,
}

impl Client {
    async fn connect(url: &str) -> Result<Self, Failure> {
        let (socket, _) = connect_async(url).await?;
        Ok(Self { socket, pushes: std::collections::VecDeque::new() })
    }

    /// Sends a request; the data of its answer.
    async fn call(&mut self, mut request: Value) -> Result<Value, Failure> {
        request["id"] = json!(1);
        self.socket.send(Message::text(request.to_string())).await?;
        loop {
            let message = self.receive().await?;
            match message["type"].as_str() {
                Some("result") => return Ok(message["data"].clone()),
                Some("error") => return Err(format!("{request}: {}", message["message"]).into()),
                Some("push") => self.pushes.push_back(message),
                _ => {}
            }
        }
    }

    /// The next push.
    async fn push(&mut self) -> Result<Value, Failure> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        loop {
            let message = self.receive().await?;
            if message["type"] == "push" {
                return Ok(message);
            }
        }
    }

    async fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            let message = self.socket.next().await.ok_or("the server closed the connection")??;
            if let Message::Text(text) = message {
                return Ok(serde_json::from_str(text.as_str())?);
            }
        }
    }
}
