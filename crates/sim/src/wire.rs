//! A client's end of a pipe, and WebSocket frames on it. Polled by hand: who reads how much, and when, is for chance to say.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What a server sends.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Close(u16),
}

pub(crate) struct Pipe {
    stream: DuplexStream,
    read: Vec<u8>,
    unsent: VecDeque<u8>,
    /// The other end is gone.
    pub(crate) ended: bool,
}

impl Pipe {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { stream, read: Vec::new(), unsent: VecDeque::new(), ended: false }
    }

    /// Queues a message.
    pub(crate) fn send(&mut self, text: &str) {
        self.unsent.extend(frame(text));
    }

    /// Queues the beginning of a message that never ends.
    pub(crate) fn send_part(&mut self, text: &str, part: usize) {
        let frame = frame(text);
        self.unsent.extend(&frame[..part.min(frame.len())]);
    }

    /// Writes what the pipe takes.
    pub(crate) fn write(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while !self.unsent.is_empty() {
            let (bytes, _) = self.unsent.as_slices();
            match Pin::new(&mut self.stream).poll_write(&mut cx, bytes) {
                Poll::Ready(Ok(written)) => drop(self.unsent.drain(..written)),
                // The end is seen by reading: what is there comes first.
                Poll::Ready(Err(_)) => self.unsent.clear(),
                Poll::Pending => return,
            }
        }
    }

    /// Reads what is there, at most so many bytes; how many.
    pub(crate) fn read(&mut self, most: usize) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let mut scrap = [0; 4096];
        let mut taken = 0;
        while taken < most {
            let room = scrap.len().min(most - taken);
            let mut buffer = ReadBuf::new(&mut scrap[..room]);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    taken += buffer.filled().len();
                    self.read.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => {
                    self.ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        taken
    }

    /// The next frame of what was read.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let [first, second, ..] = self.read[..] else { return None };
        assert!(first & 0x70 == 0 && first & 0x80 != 0 && second & 0x80 == 0, "a frame of a server");
        let (head, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        let end = head + usize::try_from(length).unwrap();
        let payload = self.read.get(head..end)?.to_vec();
        self.read.drain(..end);
        Some(match first & 0x0F {
            1 => Frame::Text(String::from_utf8(payload).unwrap()),
            8 => Frame::Close(u16::from_be_bytes(payload[..2].try_into().unwrap())),
            other => panic!("nobody promised opcode {other}"),
        })
    }
}

/// A text frame of a client, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.push(0x80 | 0x7E);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
