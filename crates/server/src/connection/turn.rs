//! The work on one batch of frames: parse, admit, run, answer, in the order the requests came.

use std::borrow::Cow;
use std::sync::Arc;

use dunlin_protocol::{
    Code, Error, Id, Kind, Message, Operation, Read, RuleWrite, Write, frame, nested_deeper,
};
use dunlin_store::Guard;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::actor::ConnectionState;
use crate::auth;
use crate::limiter::Moment;
use crate::metrics::Tally;
use crate::ops;
use crate::ops::gate::Judged;
use crate::published::View;
use crate::rules::Work;
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
    /// When the batch was read.
    read: Instant,
    /// What was answered and not handed over yet.
    tally: Tally,
    /// Answers that follow a staged write, in order.
    queued: Vec<Queued>,
    work: Vec<Work>,
    /// The state this turn's reads look at; taken anew after each group of writes.
    view: Option<View>,
    /// When the requests came, for the limiter; taken anew after each wait.
    moment: Moment,
}

/// An answer that waits for the writes before it.
enum Queued {
    /// A write whose outcome is outstanding.
    Write { id: Id, kind: Option<Kind>, shape: ops::write::Shape },
    /// One that is known already.
    Known { kind: Option<Kind>, error: Option<Code>, answer: String },
}

impl<'a> Turn<'a> {
    pub(super) fn new(state: &'a mut ConnectionState, read: Instant) -> Self {
        Self {
            state,
            answers: Vec::new(),
            answer_bytes: 0,
            read,
            tally: Tally::new(),
            queued: Vec::new(),
            work: Vec::new(),
            view: None,
            moment: Moment::default(),
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
            let Some((id, kind, operation)) = self.understand(frame, &message) else { continue };
            let named = Some(kind);
            // Whatever is not a write sees what the writes before it did. Whoever defines a query is judged by what it would read.
            let looks = match &operation {
                Operation::Write {
                    write: Write::DefineQuery { .. } | Write::UndefineQuery { .. }, ..
                } => self.state.shared.auth.is_some(),
                Operation::RuleWrite { write, .. } if ops::rules::asks_for_rights(write) => {
                    self.state.shared.auth.is_some()
                }
                Operation::Write { .. } | Operation::RuleWrite { .. } => false,
                _ => true,
            };
            if looks && !self.queued.is_empty() {
                self.settle().await;
            }
            let judged = loop {
                let judged = match ops::gate::judge(self.state, kind, &operation) {
                    Judged::Now(judged) => break Some(judged),
                    Judged::Later(judged) => judged,
                };
                let rights = self.state.judged_by();
                match self.wait_for(judged).await {
                    // What holds now decides, not what held when the question was put.
                    Some(Ok(())) if !rights.is_some_and(|rights| self.state.has(&rights)) => {}
                    judged => break judged,
                }
            };
            let Some(judged) = judged else { break };
            if let Err(error) = judged {
                self.refuse(named, id, &error);
                continue;
            }
            // Taken now and not with the judgement, which may have taken its time.
            let guard = match kind.tier().map(|_| self.state.guard()) {
                None => Guard::default(),
                Some(Ok(guard)) => guard,
                Some(Err(error)) => {
                    self.refuse(named, id, &error);
                    continue;
                }
            };
            let answer = match operation {
                Operation::Write { write, idempotency_key } => {
                    self.stage(id, named, write, &guard, idempotency_key.as_deref());
                    continue;
                }
                Operation::RuleWrite { write, idempotency_key } => {
                    self.stage_rules(id, named, write, idempotency_key.as_deref());
                    continue;
                }
                Operation::Read(read) if read != Read::Buckets => {
                    let view = self.view.get_or_insert_with(|| self.state.shared.published.view());
                    if ops::read::is_small(view, &guard, &read) {
                        ops::read::run(view, &guard, id, &read)
                    } else {
                        self.moment.over();
                        let snapshot = self.state.shared.published.snapshot();
                        ops::read::run_apart(snapshot, guard, frame.clone()).await
                    }
                }
                Operation::Backup { name } => {
                    // It takes its time: what was answered before it goes first.
                    self.hand_over().await;
                    self.moment.over();
                    let written = ops::backup::run(self.state, id, name.map(Cow::into_owned)).await;
                    written.map(|data| frame::result(id, &data))
                }
                Operation::RevokeSessions { user_id, role } => {
                    let (user_id, role) = (user_id.map(Cow::into_owned), role.map(Cow::into_owned));
                    self.revoke(id, &auth::Revocation { user_id, role });
                    continue;
                }
                operation => {
                    self.moment.over();
                    if matches!(kind, Kind::Login | Kind::Logout | Kind::WhoAmI) {
                        // They may end live queries that began in this batch, and what ends follows what began.
                        self.answer_so_far();
                    }
                    let data = ops::control::run(self.state, operation).await;
                    // A live query may have shown a newer state; what is read after it is not older.
                    self.view = None;
                    data.map(|data| frame::result(id, &data))
                }
            };
            match answer {
                Ok(answer) => self.answer(named, None, answer),
                Err(error) => self.refuse(named, id, &error),
            }
            if self.answer_bytes >= self.state.shared.answer_mark {
                self.hand_over().await;
            }
        }
        self.settle().await;
        self.count();
        self.state.entry().outbox.answer(self.answers, true);
    }

    /// What a frame asks for, if it may be asked at all; else it is refused, or was no request.
    fn understand<'f>(
        &mut self,
        frame: &str,
        message: &Result<Message<'f>, Error>,
    ) -> Option<(Id, Kind, Operation<'f>)> {
        let (id, named) = match message {
            Ok(Message::Request(request)) => (request.id, Kind::named(&request.kind)),
            Ok(Message::Pong) => return None,
            Err(_) => (Id::ZERO, None),
        };
        // Before anything else is looked at: whatever comes costs, also what will be refused.
        let understood = match (self.state.charge(named, &mut self.moment), message) {
            (Err(error), _) => {
                self.state.shared.metrics.rate_limited.increment(1);
                Err(error)
            }
            (Ok(()), Ok(Message::Request(_))) if nested_deeper(frame, self.state.shared.config.max_depth) => {
                Err(too_deep(self.state.shared.config.max_depth))
            }
            (Ok(()), Ok(Message::Request(request))) => ops::understand(self.state, named, request),
            (Ok(()), Ok(Message::Pong)) => return None,
            (Ok(()), Err(error)) => Err(error.clone()),
        };
        match understood {
            Ok((kind, operation)) => Some((id, kind, operation)),
            Err(error) => {
                self.refuse(named, id, &error);
                None
            }
        }
    }

    /// Waits for a judgement. Nothing that was allowed before is carried out after that time; `None`: the connection is closing.
    async fn wait_for(
        &mut self,
        judged: impl Future<Output = Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        self.settle().await;
        self.moment.over();
        let judged = judged.await.and_then(|()| ops::require_session(self.state));
        (!self.state.entry().outbox.is_closing()).then_some(judged)
    }

    /// Revokes sessions. Whoever asks for it and is among them is answered first.
    fn revoke(&mut self, id: Id, which: &auth::Revocation) {
        let entry = Arc::clone(self.state.entry());
        let revoked = auth::revoke(&self.state.shared, which, Some(entry.id));
        let answer = frame::result(id, &format!("{{\"revoked\":{}}}", revoked.connections));
        self.answer(Some(Kind::RevokeSessions), None, answer);
        if revoked.own {
            self.answer_so_far();
            auth::close_revoked(&entry);
        }
    }

    /// Puts what is answered so far before everything that is told from here on.
    fn answer_so_far(&mut self) {
        if !self.answers.is_empty() {
            self.count();
            self.state.entry().outbox.answer(std::mem::take(&mut self.answers), false);
        }
    }

    /// Gives the socket what is answered so far and waits until it has taken it.
    async fn hand_over(&mut self) {
        self.answer_bytes = 0;
        let outbox = Arc::clone(&self.state.entry().outbox);
        self.answer_so_far();
        outbox.below(self.state.shared.answer_mark).await;
        self.moment.over();
    }

    /// Counts what is about to be handed over: whoever has an answer finds it counted.
    fn count(&mut self) {
        self.state.shared.metrics.answered(&mut self.tally, self.read.elapsed());
    }

    fn stage(
        &mut self,
        id: Id,
        kind: Option<Kind>,
        write: Write<'_>,
        guard: &Guard,
        idempotency_key: Option<&str>,
    ) {
        let (mut intent, shape) = ops::write::intent(write, guard);
        if let Some(key) = idempotency_key {
            intent = intent.idempotent(self.state.scope(), key);
        }
        self.queued.push(Queued::Write { id, kind, shape });
        self.work.push(intent.into());
    }

    /// The same of an input of the rule engine, unless it is refused at once.
    fn stage_rules(
        &mut self,
        id: Id,
        kind: Option<Kind>,
        mut write: RuleWrite<'_>,
        idempotency_key: Option<&str>,
    ) {
        let once = idempotency_key.map(|key| (self.state.scope(), key));
        let judged = ops::rules::judge_run_as(self.state, &mut write);
        match judged.and_then(|()| ops::rules::write::work(write, once)) {
            Ok((work, shape)) => {
                self.queued.push(Queued::Write { id, kind, shape });
                self.work.push(work);
            }
            Err(error) => self.refuse(kind, id, &error),
        }
    }

    /// Sends the staged writes as one group and answers them, and all that queued up behind them.
    async fn settle(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let outbox = Arc::clone(&self.state.entry().outbox);
        // The pushes these writes cause must not overtake their answers.
        outbox.hold();
        self.answer_so_far();
        let queued = std::mem::take(&mut self.queued);
        let written = self.state.shared.store.carry_out(std::mem::take(&mut self.work)).await;
        let mut written = written.into_iter();
        self.view = None;
        self.moment.over();
        for queued in queued {
            match queued {
                Queued::Known { kind, error, answer } => self.answer(kind, error, answer),
                Queued::Write { id, kind, shape } => {
                    // A group that was interrupted has no results.
                    let result: Written = written.next().unwrap_or(Err(WriteError::Interrupted));
                    match result {
                        Ok(done) => {
                            let position = self.state.positions.then_some(done.position);
                            self.answer(kind, None, ops::write::answer(id, &shape, &done.outcome, position));
                        }
                        Err(error) => self.refuse(kind, id, &ops::write::refusal(&shape, error)),
                    }
                }
            }
            // Outcomes share their records with the store; the answers are copies, and those are bounded.
            if self.answer_bytes >= self.state.shared.answer_mark {
                self.hand_over().await;
            }
        }
    }

    fn answer(&mut self, kind: Option<Kind>, error: Option<Code>, answer: String) {
        if self.queued.is_empty() {
            self.tally.answered(kind, error);
            self.answer_bytes += answer.len();
            self.answers.push(answer.into());
        } else {
            self.queued.push(Queued::Known { kind, error, answer });
        }
    }

    fn refuse(&mut self, kind: Option<Kind>, id: Id, error: &Error) {
        if error.code == Code::InternalError {
            tracing::error!(%error, "request failed by a fault of the server");
        }
        let answer = frame::error(id, error, self.state.shared.config.expose_error_details);
        self.answer(kind, Some(error.code), answer);
    }
}

fn too_deep(levels: usize) -> Error {
    let text = format!("The message is nested deeper than {levels} levels (maxDepth); make it flatter");
    Error::new(Code::ValidationError, text)
}
