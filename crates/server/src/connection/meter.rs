//! The stream below tungstenite: first gives what came along with the handshake, counts its bytes (the sign of life the
//! heartbeat looks at), and writes shared frames past tungstenite.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::SharedFrame;

/// Passes bytes through and counts them.
///
/// The early bytes are given here and not to tungstenite's `from_partially_read`: the read buffer that one makes does not
/// remember its capacity, and after its first kilobyte every frame would cost two reads of its own.
///
/// A shared frame is written whole before anything that tungstenite writes after it was given, so that frames are never
/// mixed, also not with a pong or a close frame that tungstenite sends by itself.
pub(crate) struct Meter<S> {
    stream: S,
    /// What is left of the bytes that came along with the handshake.
    early: Vec<u8>,
    /// What is left of a shared frame.
    ahead: Option<SharedFrame>,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl<S> Meter<S> {
    pub(crate) fn new(stream: S, early: Vec<u8>) -> Self {
        Self { stream, early, ahead: None, read: 0, written: 0 }
    }

    /// Takes a frame to be written next. Only when tungstenite has nothing left to write and the one before has left.
    pub(crate) fn give(&mut self, frame: SharedFrame) {
        self.ahead = Some(frame);
    }

    /// Whether a shared frame has not left yet.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }
}

impl<S: AsyncWrite + Unpin> Meter<S> {
    /// Writes what is left of the shared frame, if there is one.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(frame) = &mut self.ahead {
            if !frame.has_remaining() {
                self.ahead = None;
                break;
            }
            let mut slices = [io::IoSlice::new(&[]); SharedFrame::PARTS];
            let count = frame.chunks_vectored(&mut slices);
            // A stream that has no vectored write takes the first part of it.
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            frame.advance(written);
            self.written += written as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let taken = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..taken]);
            self.early.drain(..taken);
            self.read += taken as u64;
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read += (buf.filled().len() - before) as u64;
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = result {
            self.written += written as u64;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::outgoing::Outgoing;
    use super::*;
    use crate::limits;

    #[tokio::test]
    async fn what_tungstenite_writes_waits_until_a_shared_frame_has_left() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let mut meter = Meter::new(ours, Vec::new());
        let body = "b".repeat(limits::SHARED_BODY_BYTES);
        let Outgoing::Shared(frame) = Outgoing::around("<", body.clone().into(), ">") else { panic!() };
        let length = frame.remaining() as u64;
        meter.give(frame);
        let writing = async {
            meter.write_all(b"pong").await.unwrap();
            assert_eq!((meter.is_ahead(), meter.written), (false, length + 4));
            meter.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let reading = theirs.read_to_end(&mut read);
        let ((), read_to_end) = tokio::join!(writing, reading);
        read_to_end.unwrap();
        assert_eq!(read[4..], *format!("<{body}>pong").as_bytes());
    }
}
