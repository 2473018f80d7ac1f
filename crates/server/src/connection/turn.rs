//! The work on one batch of frames: parse, admit, run, answer, in the order the requests came.

use std::borrow::Cow;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Id, Message, Operation, Write, frame};
use dunlin_store::Intent;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::actor::ConnectionState;
use crate::auth;
use crate::ops;
use crate::published::View;
use crate::store_actor::{WriteError, Written};

/// A turn of the connection: one batch from its first frame to its last answer.
///
/// Most requests are answered on the spot. A write is staged; what follows it and does not depend on it (another write, a
/// refusal) queues up behind it, and the whole group goes to the `StoreActor` when something must see its effect, or at the
/// end.
pub(super) struct Turn<'a> {
    state: &'a mut ConnectionState,
    answers: Vec<Utf8Bytes>,
    answer_bytes: usize,
    requests: u64,
    /// Answers that follow a staged write, in order.
    queued: Vec<Queued>,
    intents: Vec<Intent>,
    /// The state this turn's reads look at; taken anew after each group of writes.
    view: Option<View>,
}

/// An answer that waits for the writes before it.
enum Queued {
    /// A write whose outcome is outstanding.
    Write { id: Id, shape: ops::write::Shape },
    /// One that is known already.
    Known(String),
}

impl<'a> Turn<'a> {
    pub(super) fn new(state: &'a mut ConnectionState) -> Self {
        Self {
            state,
            answers: Vec::new(),
            answer_bytes: 0,
            requests: 0,
            queued: Vec::new(),
            intents: Vec::new(),
            view: None,
        }
    }

    pub(super) async fn run(mut self, frames: Vec<Utf8Bytes>) {
        self.answers.reserve(frames.len());
        // One loop and not a function per request: an `async fn` called for each would move its whole state each time.
        for frame in &frames {
            if self.state.entry().outbox.is_closing() {
                break;
            }
            // Looked at where it is: it is large, and this is the hottest loop there is.
            let message = Message::parse(frame);
            let request = match &message {
                Ok(Message::Request(request)) => request,
                Ok(Message::Pong) => continue,
                Err(error) => {
                    self.refuse(Id::ZERO, error);
                    continue;
                }
            };
            let id = request.id;
            let operation = match ops::understand(self.state, request) {
                Ok(Operation::Write { write, idempotency_key }) => {
                    match ops::authorise_write(self.state, &request.kind, &write) {
                        Ok(()) => self.stage(id, write, idempotency_key.as_deref()),
                        Err(error) => self.refuse(id, &error),
                    }
                    continue;
                }
                Ok(operation) => operation,
                Err(error) => {
                    self.refuse(id, &error);
                    continue;
                }
            };
            // Whatever is not a write sees what the writes before it did, and is judged by the definitions they left.
            if !self.queued.is_empty() {
                self.settle().await;
            }
            if let Err(error) = ops::authorise(self.state, &request.kind, &operation) {
                self.refuse(id, &error);
                continue;
            }
            let answer = match operation {
                Operation::Read(read) => {
                    let view = self.view.get_or_insert_with(|| self.state.shared.published.view());
                    if ops::read::is_small(view, &read) {
                        ops::read::run(view, id, &read)
                    } else {
                        ops::read::run_apart(self.state.shared.published.snapshot(), frame.clone()).await
                    }
                }
                Operation::Backup { name } => {
                    // It takes its time: what was answered before it goes first.
                    self.hand_over().await;
                    let written = ops::backup::run(self.state, id, name.map(Cow::into_owned)).await;
                    written.map(|data| frame::result(id, &data))
                }
                Operation::RevokeSessions { user_id, role } => {
                    let which = auth::Revocation {
                        user_id: user_id.map(Cow::into_owned),
                        role: role.map(Cow::into_owned),
                    };
                    let entry = Arc::clone(self.state.entry());
                    let revoked = auth::revoke(&self.state.shared, &which, Some(entry.id));
                    self.answer(frame::result(id, &format!("{{\"revoked\":{}}}", revoked.connections)));
                    if revoked.own {
                        // Whoever asked for it is told first.
                        entry.outbox.answer(std::mem::take(&mut self.answers), false);
                        auth::close_revoked(&entry);
                    }
                    continue;
                }
                operation => {
                    let data = ops::control::run(self.state, operation).await;
                    // A live query may have shown a newer state; what is read after it is not older.
                    self.view = None;
                    data.map(|data| frame::result(id, &data))
                }
            };
            match answer {
                Ok(answer) => self.answer(answer),
                Err(error) => self.refuse(id, &error),
            }
            if self.answer_bytes >= self.state.shared.answer_mark {
                self.hand_over().await;
            }
        }
        self.settle().await;
        self.state.shared.metrics.requests.increment(self.requests);
        self.state.entry().outbox.answer(self.answers, true);
    }

    /// Gives the socket what is answered so far and waits until it has taken it.
    async fn hand_over(&mut self) {
        self.answer_bytes = 0;
        let outbox = Arc::clone(&self.state.entry().outbox);
        outbox.answer(std::mem::take(&mut self.answers), false);
        outbox.below(self.state.shared.answer_mark).await;
    }

    fn stage(&mut self, id: Id, write: Write<'_>, idempotency_key: Option<&str>) {
        let (mut intent, shape) = ops::write::intent(write);
        if let Some(key) = idempotency_key {
            intent = intent.idempotent(self.state.scope(), key);
        }
        self.queued.push(Queued::Write { id, shape });
        self.intents.push(intent);
    }

    /// Sends the staged writes as one group and answers them, and all that queued up behind them.
    async fn settle(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let outbox = Arc::clone(&self.state.entry().outbox);
        // The pushes these writes cause must not overtake their answers.
        outbox.hold();
        if !self.answers.is_empty() {
            outbox.answer(std::mem::take(&mut self.answers), false);
        }
        let queued = std::mem::take(&mut self.queued);
        let written = self.state.shared.store.write(std::mem::take(&mut self.intents)).await;
        let mut written = written.into_iter();
        self.view = None;
        for queued in queued {
            match queued {
                Queued::Known(answer) => self.answer(answer),
                Queued::Write { id, shape } => {
                    // A group that was interrupted has no results.
                    let result: Written = written.next().unwrap_or(Err(WriteError::Interrupted));
                    match result {
                        Ok(done) => {
                            let position = self.state.positions.then_some(done.position);
                            self.answer(ops::write::answer(id, &shape, &done.outcome, position));
                        }
                        Err(error) => self.refuse(id, &ops::write::refusal(&shape, error)),
                    }
                }
            }
            // Outcomes share their records with the store; the answers are copies, and those are bounded.
            if self.answer_bytes >= self.state.shared.answer_mark {
                self.hand_over().await;
            }
        }
    }

    fn answer(&mut self, answer: String) {
        if self.queued.is_empty() {
            self.requests += 1;
            self.answer_bytes += answer.len();
            self.answers.push(answer.into());
        } else {
            self.queued.push(Queued::Known(answer));
        }
    }

    fn refuse(&mut self, id: Id, error: &Error) {
        if error.code == Code::InternalError {
            tracing::error!(%error, "request failed by a fault of the server");
        }
        self.state.shared.metrics.errors.increment(1);
        self.answer(frame::error(id, error, self.state.shared.config.expose_error_details));
    }
}
