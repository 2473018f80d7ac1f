//! dunlin inside an axum application: one listener, one port, the WebSocket endpoint is one route among others.
//!
//! `cargo run --example axum_mount` serves both on a free port, asks both once, and ends.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use dunlin::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `build` instead of `bind`: no listener of its own.
    let server = Server::builder().memory().path("/live").build().await?;
    server.store().define_bucket("notes", json!({"key": "id", "schema": {"id": {"type": "string"}}})).await?;

    let app = Router::new()
        .route("/", get(async || "an application of its own\n"))
        .merge(server.router())
        .nest("/status", server.monitoring_router());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("the application is at http://{address}/, its clients connect to ws://{address}/live");
    // With connect info dunlin knows where its clients come from.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(axum::serve(listener, service).into_future());

    // An ordinary request …
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /status/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("HTTP:      {}", answer.lines().next().unwrap_or_default());

    // … and a WebSocket, on the same port.
    let (mut client, _) = connect_async(format!("ws://{address}/live")).await?;
    let request = json!({"id": 1, "type": "store.buckets"});
    client.send(Message::text(request.to_string())).await?;
    let _welcome = client.next().await.ok_or("the server closed")??;
    let buckets = client.next().await.ok_or("the server closed")??;
    println!("WebSocket: {}", buckets.to_text()?);
    println!(
        "from:      {}",
        server.connections().first().map_or("nowhere", |client| &client.remote_address)
    );

    server.stop(Duration::ZERO).await?;
    serving.abort();
    Ok(())
}
