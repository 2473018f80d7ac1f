//! A frame on its way to the socket, whole or in parts that are shared with other sockets.

use bytes::{Buf, Bytes};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::limits;

/// What the driver gives the socket next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A text frame for tungstenite, which gathers small ones into one write.
    Text(Utf8Bytes),
    /// A frame for the stream below it.
    Shared(SharedFrame),
}

/// A text frame with a large body that is not copied: it goes from where all its readers share it straight to the socket.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    /// The frame's header and what stands before the body.
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    pub(super) tail: Bytes,
}

impl SharedFrame {
    /// How many parts it has.
    pub(super) const PARTS: usize = 3;
}

/// First byte of a text frame that is a whole message.
const TEXT: u8 = 0x81;

/// Longest header of a frame that is not masked.
const HEADER_BYTES: usize = 10;

impl Outgoing {
    /// The message `head` + `body` + `tail`.
    pub(super) fn around(head: &str, body: Utf8Bytes, tail: &'static str) -> Self {
        if body.len() < limits::SHARED_BODY_BYTES {
            return Self::Text([head, &body, tail].concat().into());
        }
        let mut start = Vec::with_capacity(HEADER_BYTES + head.len());
        put_header(&mut start, head.len() + body.len() + tail.len());
        start.extend_from_slice(head.as_bytes());
        Self::Shared(SharedFrame {
            head: start.into(),
            body: body.into(),
            tail: Bytes::from_static(tail.as_bytes()),
        })
    }

    /// Bytes that it takes on the wire, but for the header of a text frame.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Shared(frame) => frame.remaining(),
        }
    }
}

/// The header of an unmasked text frame (RFC 6455, section 5.2): servers do not mask.
fn put_header(frame: &mut Vec<u8>, length: usize) {
    frame.push(TEXT);
    if let Ok(length @ 0..=125) = u8::try_from(length) {
        frame.push(length);
    } else if let Ok(length) = u16::try_from(length) {
        frame.push(126);
        frame.extend(length.to_be_bytes());
    } else {
        frame.push(127);
        frame.extend((length as u64).to_be_bytes());
    }
}

/// What is left of it to write.
impl Buf for SharedFrame {
    fn remaining(&self) -> usize {
        self.head.len() + self.body.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        [&self.head, &self.body, &self.tail]
            .into_iter()
            .find(|part| !part.is_empty())
            .map_or(&[], |part| &**part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let parts = [&self.head, &self.body, &self.tail].into_iter().filter(|part| !part.is_empty());
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = std::io::IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        for part in [&mut self.head, &mut self.body, &mut self.tail] {
            let done = count.min(part.len());
            part.advance(done);
            count -= done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_the_length_in_as_few_bytes_as_it_takes() {
        let header = |length| {
            let mut frame = Vec::new();
            put_header(&mut frame, length);
            frame
        };
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_large_body_is_shared_and_a_small_one_copied() {
        let small = Outgoing::around("<", "x".repeat(limits::SHARED_BODY_BYTES - 1).into(), ">");
        assert!(matches!(small, Outgoing::Text(text) if text.len() == limits::SHARED_BODY_BYTES + 1));
        let body = Utf8Bytes::from("x".repeat(limits::SHARED_BODY_BYTES));
        let Outgoing::Shared(frame) = Outgoing::around("<", body.clone(), ">") else { panic!() };
        assert_eq!(frame.body.as_ptr(), body.as_ptr());
    }

    #[test]
    fn it_is_written_in_any_portions() {
        let body = "0123456789".repeat(limits::SHARED_BODY_BYTES / 10 + 1);
        for portion in [1, 7, 1000, 1_000_000] {
            let Outgoing::Shared(mut frame) = Outgoing::around("<", body.clone().into(), ">") else {
                panic!()
            };
            let mut written = Vec::new();
            while frame.has_remaining() {
                let mut slices = [std::io::IoSlice::new(&[]); SharedFrame::PARTS];
                let count = frame.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                assert!(all.starts_with(frame.chunk()));
                let took = portion.min(all.len());
                written.extend_from_slice(&all[..took]);
                frame.advance(took);
            }
            assert_eq!(written[4..], *format!("<{body}>").as_bytes());
        }
    }
}
