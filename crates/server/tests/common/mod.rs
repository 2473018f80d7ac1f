//! A small WebSocket client for the tests, over real sockets, with a limit on every wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use dunlin_server::{Server, ServerBuilder};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for anything that must come. Generous: the machines are slow at times; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long silence must last to count as silence.
pub const SILENCE: Duration = Duration::from_millis(150);

/// A server in memory on a free port.
pub fn memory() -> ServerBuilder {
    Server::builder().memory().port(0)
}

pub fn address(server: &Server) -> SocketAddr {
    server.local_addr().expect("bound")
}

/// Buckets and queries that most tests use: `items` (`id`, `n`, `tag`), `all-items`, `items-by-tag`, `item-count`.
pub async fn define_items(server: &Server) {
    let store = server.store();
    let schema = json!({
        "id": {"type": "string", "generated": "uuid"},
        "n": {"type": "number"},
        "tag": {"type": "string"},
    });
    store.define_bucket("items", json!({"key": "id", "schema": schema})).await.unwrap();
    store.define_query("all-items", json!({"bucket": "items"})).await.unwrap();
    let by_tag = json!({"bucket": "items", "filter": {"tag": "{{ params.tag }}"}});
    store.define_query("items-by-tag", by_tag).await.unwrap();
    let count = json!({"bucket": "items", "aggregate": {"function": "count"}});
    store.define_query("item-count", count).await.unwrap();
}

pub struct Client {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// Messages that were not asked for yet.
    waiting: VecDeque<Value>,
    closed: Option<(u16, String)>,
}

impl Client {
    /// Connects and consumes the welcome.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::connect_raw(address).await;
        let welcome = client.message().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        client
    }

    pub async fn connect_raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = client_async(format!("ws://{address}/"), stream).await.unwrap();
        Self { socket, last_id: 0, waiting: VecDeque::new(), closed: None }
    }

    /// Sends a request with the next id and returns that id.
    pub async fn send(&mut self, mut request: Value) -> u64 {
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        self.text(&request.to_string()).await;
        self.last_id
    }

    /// Puts several requests on the wire at once.
    pub async fn send_all(&mut self, requests: impl IntoIterator<Item = Value>) -> Vec<u64> {
        let mut ids = Vec::new();
        for mut request in requests {
            self.last_id += 1;
            request["id"] = json!(self.last_id);
            ids.push(self.last_id);
            self.socket.feed(Message::text(request.to_string())).await.unwrap();
        }
        self.socket.flush().await.unwrap();
        ids
    }

    pub async fn text(&mut self, text: &str) {
        self.socket.send(Message::Text(Utf8Bytes::from(text.to_owned()))).await.unwrap();
    }

    pub async fn frame(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends a request and returns its whole answer; other messages wait.
    pub async fn call(&mut self, request: Value) -> Value {
        let id = self.send(request).await;
        self.answer(id).await
    }

    /// The same, expecting success; returns `data`.
    pub async fn data(&mut self, request: Value) -> Value {
        let answer = self.call(request).await;
        assert_eq!(answer["type"], "result", "{answer}");
        answer["data"].clone()
    }

    /// The same, expecting failure; returns the code.
    pub async fn code(&mut self, request: Value) -> String {
        let answer = self.call(request).await;
        assert_eq!(answer["type"], "error", "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    }

    /// Waits for the answer to `id`.
    pub async fn answer(&mut self, id: u64) -> Value {
        self.find(|message| message["id"] == json!(id)).await
    }

    /// Waits for the next push of a subscription.
    pub async fn push(&mut self, subscription: &Value) -> Value {
        let push = self.find(|message| message["type"] == "push" && message["subscriptionId"] == *subscription).await;
        push["data"].clone()
    }

    /// Waits for the next `system` message.
    pub async fn system(&mut self) -> Value {
        self.find(|message| message["type"] == "system").await
    }

    async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let message = self.receive().await.unwrap_or_else(|| panic!("closed: {:?}", self.closed));
            if wanted(&message) {
                return message;
            }
            self.waiting.push_back(message);
        }
    }

    /// The next message in the order of arrival.
    pub async fn message(&mut self) -> Value {
        match self.waiting.pop_front() {
            Some(message) => message,
            None => self.receive().await.unwrap_or_else(|| panic!("closed: {:?}", self.closed)),
        }
    }

    /// The same, or `None` when the server closes.
    pub async fn next(&mut self) -> Option<Value> {
        match self.waiting.pop_front() {
            Some(message) => Some(message),
            None => self.receive().await,
        }
    }

    /// Nothing comes for a while.
    pub async fn silent(&mut self) {
        assert_eq!(self.waiting, [Value::Null; 0]);
        let next = tokio::time::timeout(SILENCE, self.socket.next()).await;
        assert!(next.is_err(), "expected silence, got {next:?}");
    }

    /// Waits until the server closes; its code and reason. 1006 if there was no close frame.
    pub async fn closed(&mut self) -> (u16, String) {
        while self.receive().await.is_some() {}
        self.closed.clone().unwrap()
    }

    pub async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, self.socket.next()).await {}
    }

    async fn receive(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came in time");
            match next {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    self.closed.get_or_insert(frame.unwrap_or((1005, String::new())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.closed.get_or_insert((1006, String::new()));
                    return None;
                }
            }
        }
    }
}

/// Repeats until `check` holds; for effects that come soon after their cause.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends one HTTP request and returns everything that comes back.
pub async fn http_get(address: SocketAddr, path: &str) -> String {
    http_raw(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await
}

/// Sends bytes on a new TCP connection and returns everything that comes back until it ends.
pub async fn http_raw(address: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends it");
    // A reset after the answer is an end, too.
    let _ = read;
    String::from_utf8_lossy(&answer).into_owned()
}
