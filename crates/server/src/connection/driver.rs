//! The task that owns a socket: takes what is ready, hands it over as one batch, sends what the outbox holds, keeps time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use dunlin_protocol::{Close, Mode, frame};
use futures_util::{Sink, Stream};
use ractor::ActorRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};

use super::heartbeat::{Beat, Heartbeat};
use super::meter::Meter;
use super::outgoing::Outgoing;
use super::stall::Stall;
use super::{ConnectionMessage, Outbox};
use crate::limits;
use crate::metrics::Metrics;
use crate::time::unix_ms;

/// Drives one socket from the welcome to the close.
///
/// It is in one of two states: *reading* (nothing of this connection is under way) or *waiting* (a batch is out, or its
/// answers have not left yet). Only while reading does it look at what the client sends: that is the credit that bounds
/// all work of a connection. In both it sends what the outbox holds, and listens to the clock.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(crate) struct Driver<S> {
    socket: WebSocketStream<Meter<S>>,
    outbox: Arc<Outbox>,
    actor: ActorRef<ConnectionMessage>,
    metrics: Arc<Metrics>,
    heartbeat: Heartbeat,
    stall: Stall,
    /// For both of them.
    timer: Pin<Box<Sleep>>,
    /// Frames taken from the outbox that the socket has not accepted yet.
    sending: VecDeque<Outgoing>,
    /// There are answers among them, or on their way through the socket.
    answers: bool,
    /// tungstenite holds bytes that have not been flushed.
    unflushed: bool,
    /// Reading, as said above.
    reading: bool,
    /// The last parcel ended a batch: reading goes on when it has left.
    answered: bool,
    /// What the client has sent and nobody has been given yet.
    batch: Vec<Utf8Bytes>,
    closing: Option<Close>,
    /// The client has said goodbye, and tungstenite answers that: nothing else is sent any more.
    farewell: bool,
    /// The client has ended the conversation; what it asked before that is still being done.
    ending: Option<End>,
    /// Heartbeats that came due while we did not listen.
    excused: u64,
    /// The connection shall close, but the socket does not take what comes before the close frame.
    stuck: Option<Close>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By us, with this reason.
    Server(Close),
    /// By the client, with or without a close frame.
    Client,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(
        socket: WebSocketStream<Meter<S>>,
        outbox: Arc<Outbox>,
        actor: ActorRef<ConnectionMessage>,
        metrics: Arc<Metrics>,
        heartbeat: Heartbeat,
        stall: Stall,
        welcome: Utf8Bytes,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(heartbeat.deadline()));
        Self {
            socket,
            outbox,
            actor,
            metrics,
            heartbeat,
            stall,
            timer,
            sending: VecDeque::from([Outgoing::Text(welcome)]),
            answers: false,
            unflushed: false,
            reading: true,
            answered: false,
            batch: Vec::new(),
            closing: None,
            farewell: false,
            ending: None,
            excused: 0,
            stuck: None,
        }
    }

    /// Runs until the connection ends; then closes the socket properly, within [`limits::CLOSE_WAIT`].
    pub(crate) async fn run(mut self) -> End {
        let end = std::future::poll_fn(|cx| {
            let end = self.poll(cx);
            self.outbox.has_moved(self.socket.get_ref().read, self.socket.get_ref().written);
            end
        })
        .await;
        // From here on nothing the client sends has an effect, also what it has already sent.
        self.outbox.close(match end {
            End::Server(reason) => reason,
            End::Client => Close::ServerShutdown,
        });
        self.actor.stop(None);
        self.outbox.has_moved(0, 0);
        self.metrics.traffic(self.socket.get_ref().read, self.socket.get_ref().written);
        // A client that has not taken the frames before it does not take a close frame either.
        if let (End::Server(reason), None) = (end, self.stuck) {
            // Boxed: its scratch space shall not count for every connection that is not closing.
            Box::pin(close(self.socket, reason)).await;
        }
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(end) = self.poll_send(cx) {
                return Poll::Ready(end);
            }
            if !self.blocked() {
                self.stall.over();
            } else if self.stuck.is_none() {
                self.stuck = self.outbox.poll_closing(cx);
                if self.stuck.is_some() {
                    self.timer.as_mut().reset(Instant::now() + limits::CLOSE_WAIT);
                } else if self.stall.waits(self.socket.get_ref().written, Instant::now) {
                    self.set_timer();
                }
            }
            if self.reading {
                match self.poll_read(cx) {
                    Poll::Ready(Some(end)) => return Poll::Ready(end),
                    Poll::Ready(None) => continue,
                    Poll::Pending => {}
                }
            }
            match self.timer.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {
                    if let Some(end) = self.beat() {
                        return Poll::Ready(end);
                    }
                }
            }
        }
    }

    /// Moves frames from the outbox to the socket for as long as both are willing.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.is_over() {
                // Nobody takes it any more; whoever waits for it to leave shall go on.
                self.sending.clear();
                self.unflushed = false;
            } else if ready!(self.poll_put(cx)).is_err() {
                return Poll::Ready(End::Client);
            }
            if std::mem::take(&mut self.answers) {
                self.outbox.sent();
            }
            if std::mem::take(&mut self.answered) {
                if let Some(end) = self.ending {
                    return Poll::Ready(end);
                }
                self.reading = true;
            }
            if let Some(reason) = self.closing {
                return Poll::Ready(End::Server(reason));
            }
            let parcel = ready!(self.outbox.poll_take(cx, &mut self.sending));
            for (mode, pushes) in [(Mode::Full, parcel.full), (Mode::Patch, parcel.patches)] {
                if pushes.count > 0 {
                    self.metrics.pushes_sent.of(mode).increment(pushes.count);
                    self.metrics.push_bytes.of(mode).increment(pushes.bytes);
                }
            }
            if parcel.events.count > 0 {
                self.metrics.rule_pushes_sent.increment(parcel.events.count);
                self.metrics.rule_push_bytes.increment(parcel.events.bytes);
            }
            self.answers |= parcel.answers;
            self.answered |= parcel.answered;
            self.closing = parcel.close;
        }
    }

    /// Gives the socket all that was taken. Frames leave in this order whichever way they go: a shared one begins when
    /// tungstenite has nothing left, and while it is not finished nothing of tungstenite's gets past it.
    fn poll_put(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        loop {
            ready!(self.socket.get_mut().poll_ahead(cx))?;
            match self.sending.front() {
                Some(Outgoing::Text(_)) => ready!(Pin::new(&mut self.socket).poll_ready(cx))?,
                _ if self.unflushed => {
                    ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                    self.unflushed = false;
                }
                Some(Outgoing::Shared(_)) => {}
                None => return Poll::Ready(Ok(())),
            }
            match self.sending.pop_front() {
                Some(Outgoing::Text(frame)) => {
                    Pin::new(&mut self.socket).start_send(Message::Text(frame))?;
                    self.unflushed = true;
                }
                Some(Outgoing::Shared(frame)) => self.socket.get_mut().give(frame),
                None => {}
            }
        }
    }

    /// Takes the frames that are ready and hands them over as one batch. `None`: there is a pong to send first.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let mut bytes = 0;
        let mut pinged = false;
        let end = loop {
            if self.batch.len() >= limits::BATCH_FRAMES || bytes >= limits::BATCH_BYTES {
                break None;
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => break None,
                Poll::Ready(Some(Ok(Message::Text(frame)))) => {
                    bytes += frame.len();
                    self.batch.push(frame);
                }
                // tungstenite has the pong ready. Pongs shall not pile up for a client that does not take them.
                Poll::Ready(Some(Ok(Message::Ping(_)))) => {
                    pinged = true;
                    self.unflushed = true;
                    break None;
                }
                Poll::Ready(Some(Ok(Message::Binary(_)))) => {
                    break Some(End::Server(Close::BinaryNotSupported));
                }
                // To a close tungstenite has queued the answer; reading on flushes it and ends the stream.
                Poll::Ready(Some(Ok(Message::Close(_)))) => self.farewell = true,
                Poll::Ready(Some(Ok(Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(None) => break Some(End::Client),
                Poll::Ready(Some(Err(error))) => break Some(broken(&error)),
            }
        };
        if self.batch.is_empty() {
            if pinged {
                // A pong is a batch of its own, already answered.
                self.reading = false;
                self.answered = true;
                return Poll::Ready(None);
            }
            return end.map_or(Poll::Pending, |end| Poll::Ready(Some(end)));
        }
        // Requests that came before the end are still carried out, as their order says; the answers have no reader.
        self.ending = end;
        self.reading = false;
        // As a client pipelines now it will pipeline next: room for as many, so that the list does not grow step by step.
        let next = Vec::with_capacity(if self.batch.len() > 1 { self.batch.len() } else { 0 });
        let batch = std::mem::replace(&mut self.batch, next);
        let batch = ConnectionMessage::Batch { frames: batch, read: Instant::now() };
        if self.actor.cast(batch).is_err() {
            return Poll::Ready(Some(End::Server(Close::InternalError)));
        }
        if pinged { Poll::Ready(None) } else { Poll::Pending }
    }

    /// The client listens no more.
    fn is_over(&self) -> bool {
        self.ending.is_some() || self.farewell
    }

    /// The socket does not take what is to be sent.
    fn blocked(&self) -> bool {
        let waits = self.unflushed || !self.sending.is_empty() || self.socket.get_ref().is_ahead();
        waits && !self.is_over()
    }

    fn set_timer(&mut self) {
        let beat = self.heartbeat.deadline();
        let deadline = self.stall.deadline().map_or(beat, |stalled| stalled.min(beat));
        // It wakes early rather than being set anew for each byte that is taken.
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// The timer is over: what is due?
    fn beat(&mut self) -> Option<End> {
        if let Some(reason) = self.stuck {
            return Some(End::Server(reason));
        }
        if self.ending.is_some() {
            self.timer.as_mut().reset(Instant::now() + limits::CLOSE_WAIT);
            return None;
        }
        let now = Instant::now();
        if self.stall.deadline().is_some_and(|deadline| deadline <= now) {
            self.metrics.slow_consumers.increment(1);
            return Some(End::Server(Close::SlowConsumer));
        }
        if self.heartbeat.deadline() <= now {
            if self.blocked() {
                // A ping would wait behind what waits: whether anybody is there is for the stall to say.
                self.heartbeat.put_off(now);
            } else {
                // Silence is no sign of death while it is us who does not listen.
                self.excused += u64::from(!self.reading);
                match self.heartbeat.beat(now, self.socket.get_ref().read + self.excused) {
                    Beat::Dead => return Some(End::Server(Close::HeartbeatTimeout)),
                    Beat::Ping => self.sending.push_back(Outgoing::Text(frame::ping(unix_ms()).into())),
                    Beat::Rest => {}
                }
            }
        }
        self.set_timer();
        None
    }
}

/// Which close code a broken stream of frames gets; a broken connection gets none.
fn broken(error: &SocketError) -> End {
    match error {
        SocketError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )
        | SocketError::ConnectionClosed
        | SocketError::AlreadyClosed
        | SocketError::Io(_) => End::Client,
        SocketError::Capacity(CapacityError::MessageTooLong { .. }) => End::Server(Close::TooLarge),
        SocketError::Utf8(_) => End::Server(Close::InvalidUtf8),
        _ => End::Server(Close::ProtocolError),
    }
}

/// Sends the close frame and waits for the client to leave, reading and dropping whatever it still sends.
pub(crate) async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<Meter<S>>,
    reason: Close,
) {
    let farewell = async {
        let frame =
            CloseFrame { code: reason.code().into(), reason: Utf8Bytes::from_static(reason.reason()) };
        socket.close(Some(frame)).await?;
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut scrap = [0; 1024];
        let mut dropped = 0;
        while dropped < limits::CLOSE_DRAIN_BYTES {
            match stream.read(&mut scrap).await? {
                0 => break,
                n => dropped += n,
            }
        }
        Ok::<_, SocketError>(())
    };
    // A client that is gone, or does not let go in time, loses nothing by a dropped socket.
    let _ = tokio::time::timeout(limits::CLOSE_WAIT, farewell).await;
}
