//! One WebSocket connection of the load generator.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Doing, Failure, Outcome};
use crate::wire::{self, Frames};

/// A handshake on loopback takes well under a millisecond; a server that needs this long is stuck.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// One setup request, answered.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Bytes taken per read; holds the answers to 64 pipelined requests.
const READ_BYTES: usize = 32 * 1024;

/// Bytes taken per read where there are thousands of connections and each says little.
const LEAN_READ_BYTES: usize = 2 * 1024;

/// Payload bytes looked at under load: the message's type stands at its beginning.
pub(crate) const TYPE_BYTES: usize = 96;

/// Payload bytes kept where the answer itself is wanted.
pub(crate) const WHOLE: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Answer,
    Failure,
    Push,
    /// Welcome, ping, system: not what is being measured.
    Other,
}

/// What kind of message begins like this.
pub(crate) fn kind(payload: &[u8]) -> Kind {
    const NAME: &[u8] = br#""type":""#;
    let at = payload.windows(NAME.len()).position(|window| window == NAME);
    match at.map(|at| &payload[at + NAME.len()..]) {
        Some([b'r', b'e', b's', ..]) => Kind::Answer,
        Some([b'e', ..]) => Kind::Failure,
        Some([b'p', b'u', ..]) => Kind::Push,
        _ => Kind::Other,
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    frames: Frames,
    buffer: Vec<u8>,
    read_bytes: usize,
}

impl Connection {
    /// Connects and waits for the welcome message. Of each payload `keep` bytes will be shown.
    pub(crate) async fn open(address: SocketAddr, keep: usize) -> Outcome<Self> {
        Self::reading(address, keep, READ_BYTES, "").await
    }

    /// Like `open`, as somebody whom the server has to know first.
    pub(crate) async fn logged_in(address: SocketAddr, keep: usize, login: Option<&Value>) -> Outcome<Self> {
        let mut connection = Self::open(address, keep).await?;
        if let Some(login) = login {
            connection.settle(login).await?;
        }
        Ok(connection)
    }

    /// Like `lean`, as a proxy on behalf of a client.
    pub(crate) async fn forwarded(address: SocketAddr, keep: usize, client: Ipv4Addr) -> Outcome<Self> {
        Self::reading(address, keep, LEAN_READ_BYTES, &format!("X-Forwarded-For: {client}\r\n")).await
    }

    /// Like `open`, with a buffer that ten thousand connections can afford.
    pub(crate) async fn lean(address: SocketAddr, keep: usize) -> Outcome<Self> {
        Self::reading(address, keep, LEAN_READ_BYTES, "").await
    }

    async fn reading(address: SocketAddr, keep: usize, read_bytes: usize, headers: &str) -> Outcome<Self> {
        let opening = async {
            let stream =
                TcpStream::connect(address).await.doing(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true).doing(|| "no-delay".into())?;
            let frames = Frames::keeping(keep);
            let mut connection = Self { stream, frames, buffer: Vec::new(), read_bytes };
            connection.upgrade(address, headers).await?;
            Ok(connection)
        };
        timeout(CONNECT_LIMIT, opening)
            .await
            .map_err(|_| Failure::new(format!("no welcome from {address} within {CONNECT_LIMIT:?}")))?
    }

    async fn upgrade(&mut self, address: SocketAddr, headers: &str) -> Outcome {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        self.send(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > wire::MAX_HEAD {
                return Err(Failure::new("the answer to the upgrade is too long"));
            }
            if self.stream.read_buf(&mut head).await.doing(|| "upgrade".into())? == 0 {
                return Err(Failure::new("the server closed the connection during the upgrade"));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = String::from_utf8_lossy(&head);
            return Err(Failure::new(format!("upgrade refused: {}", line.lines().next().unwrap_or(""))));
        }
        let mut welcomed = false;
        let mut count = |_: &[u8], _| {
            welcomed = true;
            Ok(())
        };
        self.frames.feed(&head[end..], &mut count)?;
        while !welcomed {
            self.receive(|_, _| {
                welcomed = true;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.stream.write_all(bytes).await.doing(|| "cannot send".into())
    }

    /// Waits for bytes and hands out the messages they complete: beginning and length of each.
    pub(crate) async fn receive(&mut self, each: impl FnMut(&[u8], usize) -> Outcome) -> Outcome {
        self.buffer.resize(self.read_bytes, 0);
        match self.stream.read(&mut self.buffer).await.doing(|| "cannot receive".into())? {
            0 => Err(Failure::new("the server closed the connection without a close frame")),
            read => self.frames.feed(&self.buffer[..read], each),
        }
    }

    /// Sends one request.
    pub(crate) async fn post(&mut self, request: &Value) -> Outcome {
        let mut frame = Vec::new();
        wire::put_client_text(&mut frame, request.to_string().as_bytes());
        self.send(&frame).await
    }

    /// Sends one request and returns the answer, also one that is an error, and its length.
    /// Only for connections that keep `WHOLE` payloads.
    pub(crate) async fn ask(&mut self, request: &Value) -> Outcome<(Value, usize)> {
        let mut reply = None;
        let receiving = async {
            self.post(request).await?;
            while reply.is_none() {
                self.receive(|payload, bytes| {
                    if matches!(kind(payload), Kind::Answer | Kind::Failure) {
                        let message: Value =
                            serde_json::from_slice(payload).doing(|| "the answer is not JSON".into())?;
                        reply = Some((message, bytes));
                    }
                    Ok(())
                })
                .await?;
            }
            Ok(())
        };
        timeout(CALL_LIMIT, receiving)
            .await
            .map_err(|_| Failure::new(format!("no answer within {CALL_LIMIT:?} to {request}")))??;
        reply.ok_or_else(|| Failure::new(format!("no answer to {request}")))
    }

    /// Sends one request and returns the length of the answer; an error answer is a failure.
    /// Only for connections that keep `WHOLE` payloads.
    pub(crate) async fn call(&mut self, request: &Value) -> Outcome<usize> {
        match self.ask(request).await? {
            (message, bytes) if message["type"] == "result" => Ok(bytes),
            (message, _) => Err(Failure::new(format!("{request} was answered with {message}"))),
        }
    }

    /// Sends one request and waits for its answer without looking into it; an error answer is a failure.
    pub(crate) async fn settle(&mut self, request: &Value) -> Outcome {
        let mut frame = Vec::new();
        wire::put_client_text(&mut frame, request.to_string().as_bytes());
        self.exchange(&frame, 1).await
    }

    /// Sends prepared requests and waits for as many answers; an error answer is a failure.
    pub(crate) async fn exchange(&mut self, frames: &[u8], mut missing: usize) -> Outcome {
        let waiting = async {
            self.send(frames).await?;
            while missing > 0 {
                self.receive(|payload, _| match kind(payload) {
                    Kind::Answer => {
                        missing -= 1;
                        Ok(())
                    }
                    Kind::Failure => Err(refused(payload)),
                    Kind::Push | Kind::Other => Ok(()),
                })
                .await?;
            }
            Ok(())
        };
        timeout(CALL_LIMIT, waiting)
            .await
            .map_err(|_| Failure::new(format!("no answer within {CALL_LIMIT:?}")))?
    }
}

/// The failure for an error answer seen under load.
pub(crate) fn refused(payload: &[u8]) -> Failure {
    Failure::new(format!("a request was answered with an error: {}…", String::from_utf8_lossy(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_beginning() {
        assert_eq!(kind(br#"{"id":17,"type":"result","data":{"type":"error"}}"#), Kind::Answer);
        assert_eq!(kind(br#"{"id":17,"type":"error","code":"NOT_FOUND"}"#), Kind::Failure);
        assert_eq!(kind(br#"{"type":"push","channel":"subscription"}"#), Kind::Push);
        assert_eq!(kind(br#"{"type":"ping","timestamp":1}"#), Kind::Other);
        assert_eq!(kind(br#"{"type":"welcome"}"#), Kind::Other);
        assert_eq!(kind(b""), Kind::Other);
    }
}
