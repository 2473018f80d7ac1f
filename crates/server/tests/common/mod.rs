//! A small WebSocket client for the tests, over real sockets, with a limit on every wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod hostile;
#[path = "../../../store/tests/live/patch.rs"]
pub mod patch;
pub mod pipe;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use dunlin_server::{Config, Server, ServerBuilder};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
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

/// The same with another configuration.
pub fn memory_with(change: impl FnOnce(&mut Config)) -> ServerBuilder {
    let mut config = Config::default();
    change(&mut config);
    Server::builder().config(config).memory().port(0)
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
    /// Whether the server's pings are answered and never seen.
    pub answer_pings: bool,
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
        Self { socket, last_id: 0, waiting: VecDeque::new(), closed: None, answer_pings: false }
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
        // A system event may name the request that it is about.
        self.find(|message| message["id"] == json!(id) && message["type"] != "system").await
    }

    /// Waits for the next push of a subscription.
    pub async fn push(&mut self, subscription: &Value) -> Value {
        let push = self
            .find(|message| message["type"] == "push" && message["subscriptionId"] == *subscription)
            .await;
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
            let next =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if !(self.answer_pings && message["type"] == "ping") {
                        return Some(message);
                    }
                    // The server may be closing; what is read next tells.
                    let pong = json!({"type": "pong", "timestamp": message["timestamp"]});
                    let _ = self.socket.send(Message::text(pong.to_string())).await;
                }
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

/// The data of `subscribe`, as far as tests need it.
pub async fn subscribe(client: &mut Client, query: &str) -> Value {
    let data = client.data(json!({"type": "store.subscribe", "query": query})).await;
    data["subscriptionId"].clone()
}

/// An uninvolved client with a live query of its own: whatever happens to others, it is served.
pub struct Innocent {
    client: Client,
    subscription: Value,
    tag: String,
    inserted: u64,
}

impl Innocent {
    /// On a server with [`define_items`].
    pub async fn connect(server: &Server) -> Self {
        let mut client = Client::connect(address(server)).await;
        client.answer_pings = true;
        let tag = format!("innocent at {}", client.socket.get_ref().local_addr().unwrap());
        let subscribed = client
            .data(json!({"type": "store.subscribe", "query": "items-by-tag", "params": {"tag": tag}}))
            .await;
        let subscription = subscribed["subscriptionId"].clone();
        Self { client, subscription, tag, inserted: 0 }
    }

    /// It writes, is answered, and its live query tells it of the write.
    pub async fn is_served(&mut self) {
        let data = json!({"n": self.inserted, "tag": self.tag});
        let record = self.client.data(json!({"type": "store.insert", "bucket": "items", "data": data})).await;
        assert_eq!(record["n"], json!(self.inserted));
        self.inserted += 1;
        let push = self.client.push(&self.subscription).await;
        assert_eq!(push.as_array().unwrap().len() as u64, self.inserted);
    }
}

/// A client that writes whatever bytes it likes, and reads when it likes.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// A sound upgrade request for the path `/`.
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Raw {
    /// Only TCP.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Up to the welcome. `receive_buffer` is what the kernel takes in while the client does not read.
    pub async fn upgraded(address: SocketAddr, receive_buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, read: Vec::new() };
        raw.upgrade(&[]).await;
        raw
    }

    /// Sends the handshake and, in the same segment, what is `behind` it; reads up to the welcome.
    pub async fn upgrade(&mut self, behind: &[u8]) {
        self.write(&[UPGRADE.as_bytes(), behind].concat()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let welcome = self.message().await;
        assert_eq!(welcome["type"], "welcome");
    }

    /// The server may have closed meanwhile; what it did is seen by reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// The head of an HTTP response, with the empty line that ends it; less if the server ends the connection.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            if !self.more().await {
                return String::from_utf8(std::mem::take(&mut self.read)).unwrap();
            }
        }
    }

    /// `n` bytes, such as the body of an HTTP response.
    pub async fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.read.len() < n {
            assert!(self.more().await, "the connection ended early");
        }
        self.read.drain(..n).collect()
    }

    /// Opcode and payload of the next frame; `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = frame_length(&self.read)
                && self.read.len() >= head + length
            {
                let opcode = self.read[0] & 0x0f;
                let payload = self.read.drain(..head + length).skip(head).collect();
                return Some((opcode, payload));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next text message.
    pub async fn message(&mut self) -> Value {
        loop {
            match self.frame().await.expect("the connection goes on") {
                (1, payload) => return serde_json::from_slice(&payload).unwrap(),
                (8, payload) => panic!("closed: {payload:?}"),
                _ => {}
            }
        }
    }

    /// Waits for the close frame, skipping what comes before; its code and reason. 1006 if there is none.
    pub async fn closed(&mut self) -> (u16, String) {
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == 8 {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
            }
        }
        (1006, String::new())
    }

    /// Waits until the server has ended the connection, with or without a close frame.
    pub async fn ended(&mut self) {
        while self.more().await {
            self.read.clear();
        }
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("nothing came in time"), Ok(1..))
    }
}

/// Length of the head and of the payload of an unmasked frame that begins here.
fn frame_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())))),
        127 => {
            Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()))
        }
        length => Some((2, usize::from(length))),
    }
}

/// First byte of a frame that is a whole text message.
pub const TEXT: u8 = 0x81;

/// First byte of a frame that is a whole binary message.
pub const BINARY: u8 = 0x82;

/// A masked frame. `first` holds the FIN bit, the reserved bits and the opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(length @ ..=125) = u8::try_from(payload.len()) {
        frame.push(0x80 | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        frame.push(0xfe);
        frame.extend(length.to_be_bytes());
    } else {
        frame.push(0xff);
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A request as a masked text frame.
pub fn request(request: &Value) -> Vec<u8> {
    masked(TEXT, request.to_string().as_bytes())
}

/// A close frame as a client sends it.
pub fn farewell() -> Vec<u8> {
    masked(0x88, &1000u16.to_be_bytes())
}

/// One figure of `GET /metrics`, by name and labels as they are printed; 0 if it is not there (yet).
pub async fn metric(address: SocketAddr, name: &str) -> u64 {
    let text = http_get(address, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// The sum of all series of one name; 0 if there is none.
pub async fn metrics(address: SocketAddr, name: &str) -> u64 {
    let text = http_get(address, "/metrics").await;
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
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
    http_raw(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .await
}

/// Sends bytes on a new TCP connection and returns everything that comes back until it ends.
pub async fn http_raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends it");
    // A reset after the answer is an end, too.
    let _ = read;
    String::from_utf8_lossy(&answer).into_owned()
}
