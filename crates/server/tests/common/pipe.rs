//! A client without a socket, from any address, for tests in virtual time: nothing outside the process is waited for, so the
//! clock moves only when everybody waits for it.

use dunlin_server::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

pub struct Pipe {
    socket: WebSocketStream<DuplexStream>,
    last_id: u64,
}

impl Pipe {
    /// Up to the welcome.
    pub async fn connect(server: &Server, address: &str) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        server.serve_stream(theirs, address.parse().unwrap());
        let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let mut pipe = Self { socket, last_id: 0 };
        assert_eq!(pipe.message().await["type"], "welcome");
        pipe
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// Sends a request under a new id, without waiting for its answer.
    pub async fn request(&mut self, mut request: Value) -> u64 {
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        self.send(request.to_string()).await;
        self.last_id
    }

    /// The answer to a request; pushes before it are skipped.
    pub async fn ask(&mut self, request: Value) -> Value {
        let id = self.request(request).await;
        loop {
            let message = self.message().await;
            if message["id"] == json!(id) {
                return message;
            }
        }
    }

    /// The next message; heartbeats are answered.
    pub async fn message(&mut self) -> Value {
        match self.next().await {
            Ok(message) => message,
            Err(closed) => panic!("closed: {closed:?}"),
        }
    }

    /// Waits until the server closes it; code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }

    async fn next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "ping" {
                        return Ok(message);
                    }
                    let pong = json!({"type": "pong", "timestamp": message["timestamp"]});
                    let _ = self.socket.send(Message::text(pong.to_string())).await;
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err((1006, String::new())),
            }
        }
    }
}
