//! Your own users and rights: one closure validates tokens, one decides about each operation.
//!
//! `cargo run --example custom_auth` starts a server, tries some things as two users, and ends.

use std::time::Duration;

use dunlin::{Access, Authentication, Login, Server, Session};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server =
        Server::builder().memory().port(0).authenticator(validate).permissions(allowed).bind().await?;
    let address = server.local_addr().ok_or("the server does not listen")?;
    let store = server.store();
    for bucket in ["notes", "salaries"] {
        let schema = json!({"id": {"type": "string", "generated": "uuid"}, "text": {"type": "string"}});
        store.define_bucket(bucket, json!({"key": "id", "schema": schema})).await?;
    }

    let mut client = Client::connect(&format!("ws://{address}/")).await?;
    client.try_it("before login", json!({"type": "store.all", "bucket": "notes"})).await?;
    client.try_it("wrong token", json!({"type": "auth.login", "token": "guess"})).await?;
    client.try_it("as Ada", json!({"type": "auth.login", "token": "ada-secret"})).await?;
    client
        .try_it("write notes", json!({"type": "store.insert", "bucket": "notes", "data": {"text": "hi"}}))
        .await?;
    client.try_it("read salaries", json!({"type": "store.all", "bucket": "salaries"})).await?;
    client.try_it("drop notes", json!({"type": "store.dropBucket", "name": "notes"})).await?;
    client.try_it("as the boss", json!({"type": "auth.login", "token": "boss-secret"})).await?;
    client.try_it("read salaries", json!({"type": "store.all", "bucket": "salaries"})).await?;

    server.stop(Duration::ZERO).await?;
    Ok(())
}

/// Where a real service would ask its user database. An error (`?` works here) lets nobody in.
async fn validate(login: Login) -> Authentication {
    Ok(match login.token.as_str() {
        "ada-secret" => Some(Session::new("ada").with_metadata(json!({"buckets": ["notes"]}))),
        "boss-secret" => Some(Session::new("boss").with_role("admin")),
        _ => None,
    })
}

/// Called before each operation, with everything it touches. Nothing is allowed that this does not allow.
fn allowed(access: &Access<'_>) -> bool {
    if access.session.roles.iter().any(|role| role == "admin") {
        return true;
    }
    let own = access.session.metadata["buckets"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let data = ["store.insert", "store.update", "store.delete", "store.get", "store.all", "store.where"];
    data.contains(&access.operation) && own.into_iter().any(|bucket| access.touches_bucket(bucket))
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Result<Self, Failure> {
        let (socket, _) = connect_async(url).await?;
        let mut client = Self(socket);
        let welcome = client.receive().await?;
        println!("welcome, login required: {}", welcome["requiresAuth"]);
        Ok(client)
    }

    /// Sends a request and prints what came of it.
    async fn try_it(&mut self, what: &str, mut request: Value) -> Result<(), Failure> {
        request["id"] = json!(1);
        self.0.send(Message::text(request.to_string())).await?;
        let answer = self.receive().await?;
        match answer["code"].as_str() {
            Some(code) => println!("{what:<14} {code}: {}", answer["message"].as_str().unwrap_or_default()),
            None => println!("{what:<14} done"),
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Value, Failure> {
        let frame = self.0.next().await.ok_or("the server closed")??;
        Ok(serde_json::from_str(frame.to_text()?)?)
    }
}
