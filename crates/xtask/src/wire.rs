//! Just enough WebSocket, framed by hand: the load generator and its floor must cost next to nothing.

use bytes::BytesMut;

use crate::failure::{Failure, Outcome};

/// First byte of an unfragmented text frame.
const TEXT: u8 = 0x81;

const OPCODE: u8 = 0x0f;
const OPCODE_CLOSE: u8 = 0x8;

const MASKED: u8 = 0x80;

/// Lengths that mean: the real one follows in two, in eight bytes.
const MEDIUM: u8 = 0x7e;
const LONG: u8 = 0x7f;

/// Longest HTTP head of an upgrade, request or answer.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// Longest frame accepted from the other side: four times the protocol's 1 MiB message limit.
const MAX_FRAME: u64 = 4 * 1024 * 1024;

/// Appends a text frame as a client sends it. The masking key is zero: the receiver has the same work,
/// and the generator can send prepared bytes as they are.
pub(crate) fn put_client_text(out: &mut Vec<u8>, text: &[u8]) {
    put_head(out, text.len(), MASKED);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text);
}

/// Appends a text frame as a server sends it.
pub(crate) fn put_server_text(out: &mut Vec<u8>, text: &[u8]) {
    put_head(out, text.len(), 0);
    out.extend_from_slice(text);
}

/// Bytes of the frame around and with a payload as a server sends it.
pub(crate) fn server_frame_bytes(payload: usize) -> usize {
    let mut head = Vec::new();
    put_head(&mut head, payload, 0);
    head.len() + payload
}

fn put_head(out: &mut Vec<u8>, length: usize, mask: u8) {
    out.push(TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(mask | short),
        (_, Ok(medium)) => {
            out.push(mask | MEDIUM);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The head of a frame: opcode, masking key, where the payload starts and how long it is.
struct Head {
    opcode: u8,
    mask: Option<[u8; 4]>,
    start: usize,
    length: usize,
}

/// Reads a frame's head; `None` while it has not arrived completely.
fn head(bytes: &[u8]) -> Outcome<Option<Head>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (length, extended) = match second & !MASKED {
        MEDIUM => match rest.first_chunk() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), size_of::<u16>()),
            None => return Ok(None),
        },
        LONG => match rest.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), size_of::<u64>()),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    let length = match usize::try_from(length) {
        Ok(known) if length <= MAX_FRAME => known,
        _ => return Err(Failure::new(format!("a frame of {length} bytes; the limit here is {MAX_FRAME}"))),
    };
    let opcode = first & OPCODE;
    if second & MASKED == 0 {
        return Ok(Some(Head { opcode, mask: None, start: 2 + extended, length }));
    }
    match rest.get(extended..extended + 4) {
        Some(&[a, b, c, d]) => {
            Ok(Some(Head { opcode, mask: Some([a, b, c, d]), start: 6 + extended, length }))
        }
        _ => Ok(None),
    }
}

/// Takes the next complete client frame off `buffer` and returns its payload, unmasked.
/// `None`: not complete yet.
pub(crate) fn take_client_frame(buffer: &mut BytesMut) -> Outcome<Option<BytesMut>> {
    let Some(head) = head(buffer)? else { return Ok(None) };
    let Some(mask) = head.mask else { return Err(Failure::new("the client sent an unmasked frame")) };
    if head.opcode == OPCODE_CLOSE {
        return Err(Failure::new("the client closed the connection"));
    }
    if buffer.len() < head.start + head.length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(head.start + head.length);
    let _ = frame.split_to(head.start);
    let (words, tail) = frame.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask) {
        *byte ^= key;
    }
    Ok(Some(frame))
}

/// Cuts what a server sends into frames without keeping more than the first bytes of each payload.
pub(crate) struct Frames {
    /// Bytes of a head that has not arrived completely.
    partial: Vec<u8>,
    /// The beginning of the current payload, at most `keep` bytes.
    kept: Vec<u8>,
    keep: usize,
    /// The current frame: its opcode, its length, the payload bytes still to come.
    current: Option<(u8, usize, usize)>,
}

impl Frames {
    pub(crate) fn keeping(keep: usize) -> Self {
        Self { partial: Vec::new(), kept: Vec::new(), keep, current: None }
    }

    /// Feeds received bytes; `each` gets the beginning and the length of every completed payload.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&[u8], usize) -> Outcome,
    ) -> Outcome {
        loop {
            let (opcode, length, missing) = match self.current {
                Some(current) => current,
                None => match self.begin(&mut bytes)? {
                    Some((opcode, length)) => (opcode, length, length),
                    None => return Ok(()),
                },
            };
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if now.len() < missing {
                self.keep(now);
                self.current = Some((opcode, length, missing - now.len()));
                return Ok(());
            }
            self.current = None;
            if opcode == OPCODE_CLOSE {
                return Err(Failure::new(format!(
                    "the server closed the connection ({})",
                    close_reason(now)
                )));
            }
            // The usual case: the whole payload is in this read, nothing needs copying.
            if self.kept.is_empty() {
                each(&now[..now.len().min(self.keep)], length)?;
            } else {
                self.keep(now);
                each(&self.kept, length)?;
                self.kept.clear();
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.keep - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads a frame's head from what was left over and `bytes`; `None`: not complete yet.
    fn begin(&mut self, bytes: &mut &[u8]) -> Outcome<Option<(u8, usize)>> {
        if self.partial.is_empty()
            && let Some(head) = head(bytes)?
        {
            *bytes = &bytes[head.start..];
            return Ok(Some((head.opcode, head.length)));
        }
        while let [byte, rest @ ..] = bytes {
            self.partial.push(*byte);
            *bytes = rest;
            if let Some(head) = head(&self.partial)? {
                self.partial.clear();
                return Ok(Some((head.opcode, head.length)));
            }
        }
        Ok(None)
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => {
            format!("{} {}", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason))
        }
        _ => "no code".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(stream: &[u8], step: usize, keep: usize) -> Vec<(Vec<u8>, usize)> {
        let mut frames = Frames::keeping(keep);
        let mut seen = Vec::new();
        for chunk in stream.chunks(step) {
            frames
                .feed(chunk, |head, length| {
                    seen.push((head.to_vec(), length));
                    Ok(())
                })
                .unwrap();
        }
        seen
    }

    #[test]
    fn server_frames_are_found_however_the_bytes_arrive() {
        let payloads = [vec![b'a'; 5], vec![], vec![b'b'; 125], vec![b'c'; 126], vec![b'd'; 70_000]];
        let mut stream = Vec::new();
        for payload in &payloads {
            put_server_text(&mut stream, payload);
        }
        for step in [1, 2, 3, 7, 64, 4096, stream.len()] {
            for keep in [4, 100, 1_000_000] {
                let wanted: Vec<_> =
                    payloads.iter().map(|p| (p[..p.len().min(keep)].to_vec(), p.len())).collect();
                assert_eq!(fed(&stream, step, keep), wanted, "step {step} keep {keep}");
            }
        }
    }

    #[test]
    fn a_frame_is_as_long_as_it_is_counted() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            put_server_text(&mut frame, &vec![b'a'; length]);
            assert_eq!(server_frame_bytes(length), frame.len());
        }
    }

    #[test]
    fn client_frames_are_taken_whole_and_unmasked() {
        let mut stream = Vec::new();
        put_client_text(&mut stream, b"first");
        put_client_text(&mut stream, &[b'x'; 300]);
        let mask = [1, 2, 3, 4];
        stream.extend([TEXT, MASKED | 6]);
        stream.extend(mask);
        stream.extend(b"masked".iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        for byte in stream {
            buffer.extend_from_slice(&[byte]);
            if let Some(payload) = take_client_frame(&mut buffer).unwrap() {
                taken.push(payload.to_vec());
            }
        }
        assert_eq!(taken, [b"first".to_vec(), vec![b'x'; 300], b"masked".to_vec()]);
    }

    #[test]
    fn a_close_frame_and_an_endless_frame_are_failures() {
        let mut frames = Frames::keeping(10);
        let closed = frames.feed(b"\x88\x06\x0f\xa1slow", |_, _| Ok(())).unwrap_err().to_string();
        assert!(closed.contains("4001 slow"), "{closed}");
        let endless = [TEXT, LONG, 0, 0, 0, 255, 0, 0, 0, 0];
        assert!(Frames::keeping(10).feed(&endless, |_, _| Ok(())).is_err());
    }
}
