//! The floor: the least a tokio server can do per WebSocket request, as the yardstick for `bench`.
//!
//! It answers every text frame with a canned text of the length the real server's answer has, all
//! frames of one read with one write. For fan-out it writes a canned push to every connection that
//! sent a `store.subscribe` whenever one sends a `store.update`. It keeps no state, parses no JSON.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::failure::{Doing, Failure, Outcome};
use crate::wire;

/// It ends by itself after this, should whoever started it be gone without a word.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A client that does not finish its handshake is dropped.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A client that takes no bytes for this long is dropped.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Room for the first read, all that an idle connection holds.
const FIRST_READ_BYTES: usize = 1024;

/// Room for a read once reads have filled what they had; holds 64 pipelined inserts.
const LARGEST_READ_BYTES: usize = 16 * 1024;

const WELCOME: &[u8] =
    br#"{"type":"welcome","version":"1.0.0","serverTime":1767225600000,"requiresAuth":false}"#;

/// Bytes of an answer unless told otherwise: `store.get` of a 180-byte record.
const DEFAULT_ANSWER_BYTES: usize = 220;

/// Bytes of a push unless told otherwise: 100 records of about 170 bytes.
const DEFAULT_PUSH_BYTES: usize = 17 * 1024;

struct Floor {
    answer: Vec<u8>,
    push: Vec<u8>,
    /// Requests are looked at only when there is somebody to push to: looking costs.
    fan_out: bool,
    subscribers: Mutex<Vec<Arc<OwnedWriteHalf>>>,
}

/// `floor [--port N] [--answer-bytes N] [--push-bytes N] [--fan-out]`, and the flags of `dunlin serve`
/// that the load generator passes to either.
pub(crate) async fn run(arguments: &[String]) -> Outcome {
    let (mut port, mut answer, mut push) = (0_u16, DEFAULT_ANSWER_BYTES, DEFAULT_PUSH_BYTES);
    let mut fan_out = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--port" => port = number(word, words.next())?,
            "--answer-bytes" => answer = number(word, words.next())?,
            "--push-bytes" => push = number(word, words.next())?,
            "--fan-out" => fan_out = true,
            "--memory" => {}
            "--host" | "--data-dir" | "--durability" => drop(words.next()),
            other => return Err(Failure::new(format!("floor: unknown option {other:?}"))),
        }
    }
    let floor = Floor {
        answer: frame(br#"{"id":1,"type":"result","data":""#, answer),
        push: frame(br#"{"type":"push","channel":"subscription","subscriptionId":"sub-1","data":""#, push),
        fan_out,
        subscribers: Mutex::default(),
    };
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.doing(|| format!("floor: cannot listen on {port}"))?;
    let address = listener.local_addr().doing(|| "floor: no local address".into())?;
    println!("floor ws://{address}/");
    tokio::select! {
        () = accept(listener, Arc::new(floor)) => Ok(()),
        () = sleep(LIFETIME) => Err(Failure::new("floor: its lifetime is over")),
    }
}

fn number<T: std::str::FromStr>(option: &str, value: Option<&String>) -> Outcome<T> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Failure::new(format!("floor: {option} needs a number")))
}

/// A text frame whose payload is `bytes` long: a JSON object ending in a padded string.
fn frame(start: &[u8], bytes: usize) -> Vec<u8> {
    let end = br#""}"#;
    let mut text = start.to_vec();
    text.resize(bytes.saturating_sub(end.len()).max(start.len()), b'x');
    text.extend_from_slice(end);
    let mut frame = Vec::new();
    wire::put_server_text(&mut frame, &text);
    frame
}

async fn accept(listener: TcpListener, floor: Arc<Floor>) {
    loop {
        match listener.accept().await {
            // A connection that fails is simply gone; the client that caused it sees that.
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&floor)))),
            // Out of file descriptors: some will come back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, floor: Arc<Floor>) -> Outcome {
    stream.set_nodelay(true).doing(|| "floor: no-delay".into())?;
    let (stream, writer) = stream.into_split();
    let mut reader = Reader { stream, buffer: BytesMut::new(), room: FIRST_READ_BYTES };
    let writer = Arc::new(writer);
    let outcome = answer(&mut reader, &writer, &floor).await;
    if floor.fan_out {
        lock(&floor).retain(|other| !Arc::ptr_eq(other, &writer));
    }
    outcome
}

/// The reading half and what was read but not used.
struct Reader {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    room: usize,
}

impl Reader {
    /// Appends what can be read, waiting for at least one byte.
    async fn fill(&mut self) -> Outcome {
        self.buffer.reserve(self.room);
        match self.stream.read_buf(&mut self.buffer).await.doing(|| "floor: read".into())? {
            0 => Err(Failure::new("floor: the client is gone")),
            read => {
                if read >= self.room {
                    self.room = (self.room * 2).min(LARGEST_READ_BYTES);
                }
                Ok(())
            }
        }
    }
}

/// Reads the HTTP head and answers it together with the welcome message.
async fn upgrade(reader: &mut Reader, out: &mut Vec<u8>) -> Outcome {
    let end = loop {
        if let Some(at) = reader.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if reader.buffer.len() > wire::MAX_HEAD {
            return Err(Failure::new("floor: HTTP head too long"));
        }
        reader.fill().await?;
    };
    let head = reader.buffer.split_to(end);
    let head = String::from_utf8_lossy(&head);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, key)| derive_accept_key(key.trim().as_bytes()))
        .ok_or_else(|| Failure::new("floor: not a WebSocket handshake"))?;
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
    out.extend_from_slice(format!("Connection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n").as_bytes());
    wire::put_server_text(out, WELCOME);
    Ok(())
}

async fn answer(reader: &mut Reader, writer: &Arc<OwnedWriteHalf>, floor: &Floor) -> Outcome {
    let mut out = Vec::new();
    timeout(HANDSHAKE_LIMIT, upgrade(reader, &mut out))
        .await
        .map_err(|_| Failure::new("floor: handshake too slow"))??;
    loop {
        while let Some(request) = wire::take_client_frame(&mut reader.buffer)? {
            if floor.fan_out {
                fan_out(writer, &request, floor).await?;
            }
            out.extend_from_slice(&floor.answer);
        }
        write(writer, &out).await?;
        out.clear();
        reader.fill().await?;
    }
}

async fn fan_out(writer: &Arc<OwnedWriteHalf>, request: &[u8], floor: &Floor) -> Outcome {
    let holds = |word: &[u8]| request.windows(word.len()).any(|window| window == word);
    if holds(b"store.subscribe") {
        lock(floor).push(Arc::clone(writer));
    } else if holds(b"store.update") {
        // The list is copied so that no lock is held while a socket is slow.
        let subscribers = lock(floor).clone();
        for subscriber in &subscribers {
            write(subscriber, &floor.push).await?;
        }
    }
    Ok(())
}

fn lock(floor: &Floor) -> std::sync::MutexGuard<'_, Vec<Arc<OwnedWriteHalf>>> {
    floor.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes everything; most often one system call and no waiting.
async fn write(stream: &OwnedWriteHalf, mut bytes: &[u8]) -> Outcome {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {
                timeout(WRITE_LIMIT, stream.writable())
                    .await
                    .map_err(|_| Failure::new("floor: the client takes nothing"))?
                    .doing(|| "floor: write".into())?;
            }
            Err(why) => return Err(why).doing(|| "floor: write".into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_frames_have_the_length_asked_for_and_are_json() {
        let frame = frame(br#"{"id":1,"type":"result","data":""#, 220);
        let payload = &frame[4..];
        assert_eq!(payload.len(), 220);
        let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(value["type"], "result");
    }
}
