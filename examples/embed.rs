//! dunlin inside another service: the service writes through the store, clients get every change pushed.
//!
//! `cargo run --example embed` starts a server on a free port, plays its own client once, and ends.

use std::time::Duration;

use dunlin::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A server in memory on a free port. `.data_dir("./data")` instead of `.memory()` makes it durable.
    let server = Server::builder().memory().port(0).bind().await?;
    let address = server.local_addr().ok_or("the server does not listen")?;
    println!("clients connect to ws://{address}/");

    // The service defines what it stores, and writes without a socket in between.
    let store = server.store();
    let schema = json!({
        "id": {"type": "string"},
        "celsius": {"type": "number", "required": true, "min": -90, "max": 60},
    });
    store.define_bucket("weather", json!({"key": "id", "schema": schema})).await?;
    store.define_query("warm", json!({"bucket": "weather", "filter": {"celsius": {"$gte": 20}}})).await?;
    store.insert("weather", json!({"id": "Lisbon", "celsius": 24})).await?;

    // A client asks for a live query …
    let (mut client, _) = connect_async(format!("ws://{address}/")).await?;
    let request = json!({"id": 1, "type": "store.subscribe", "query": "warm"});
    client.send(Message::text(request.to_string())).await?;
    let mut received = async || -> Result<Value, Failure> {
        let frame = client.next().await.ok_or("the server closed")??;
        Ok(serde_json::from_str(frame.to_text()?)?)
    };
    println!("welcome:  {}", received().await?["version"]);
    println!("at first: {}", received().await?["data"]["data"][0]["id"]);

    // … and hears of what the service does.
    store.insert("weather", json!({"id": "Tromsø", "celsius": 3})).await?;
    store.update("weather", json!("Tromsø"), json!({"celsius": 21})).await?;
    let warm = received().await?["data"].clone();
    let names: Vec<&str> =
        warm.as_array().into_iter().flatten().filter_map(|record| record["id"].as_str()).collect();
    println!("then:     {}", names.join(", "));

    // Reads take a snapshot that does not change any more.
    println!("records:  {}", store.snapshot().bucket("weather")?.len());
    server.stop(Duration::ZERO).await?;
    Ok(())
}
