//! The only writer: prepares groups of work, makes them durable with one append, publishes, answers.

mod rules;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use dunlin_journal::{Batch, Journal, JournalError};
use dunlin_rules::fault::RuleFault;
use dunlin_store::{AnswerLimits, Commit, Intent, Outcome, Snapshot, StoreError, Validators};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::events::EventBus;
use crate::expiry::Expiry;
use crate::limits;
use crate::live::ChangeFeed;
use crate::metrics::{Metrics, count};
use crate::programmatic::Programmatic;
use crate::published::Published;
use crate::rules::{Aftermath, Desk, Wake, Work};
use crate::storage_health::StorageHealth;
use crate::workbench::{Clock, RandomIds, TimeSource, Workbench};

pub(crate) use rules::StoreRules;

/// What became of one intent.
pub(crate) type Written = Result<Done, WriteError>;

/// A write that is done.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// The commit it was, or the one before it if it changed nothing.
    pub(crate) position: u64,
}

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The store refused it; nothing has changed.
    #[error(transparent)]
    Refused(#[from] StoreError),
    /// The journal could not make it durable; it was not done.
    #[error("The write could not be made durable and was not done: {0}")]
    NotDurable(Arc<JournalError>),
    /// The journal failed in the middle and cannot be read either; the write may or may not be there when it can.
    #[error(
        "The journal is out of order: {0}; the write may or may not have happened, read before you repeat it"
    )]
    InDoubt(Arc<JournalError>),
    /// A record, changes or a definition given by code was not a JSON object.
    #[error("The {what} must be a JSON object")]
    NotAnObject {
        /// Which argument.
        what: &'static str,
    },
    /// A query that is part of the program was to be undefined.
    #[error(
        "Query \"{query}\" is part of the server's program and cannot be undefined; take it out of the program instead"
    )]
    PartOfProgram {
        /// Its name.
        query: String,
    },
    /// The rule engine refused it; nothing has changed.
    #[error(transparent)]
    Rules(#[from] RuleFault),
    /// There is no rule engine.
    #[error("Rules are off; switch them on with \"rules\": true in the configuration")]
    NoRules,
    /// The rule engine failed, and what it was doing was taken back.
    #[error("The rule engine failed over this, which was not done; it is a bug, and the log says more")]
    RulesFailed,
    /// The server stopped or restarted its store while the write was under way.
    #[error(
        "The store was interrupted while this write was under way: it may or may not have happened; read before you repeat it"
    )]
    Interrupted,
}

/// Work that belongs together in order, and where its results go.
pub(crate) struct WriteGroup {
    pub(crate) works: Vec<Work>,
    pub(crate) reply: oneshot::Sender<Vec<Written>>,
}

pub(crate) enum StoreMessage {
    /// Queue a group.
    Write(WriteGroup),
    /// Work off what is queued: sent by the actor to itself, so that it lands behind all groups that came in meanwhile.
    Commit,
    /// A record may be due to be removed.
    Expire,
    /// The rule engine may have something to do by itself.
    Tick,
    /// The journal could not write; it may be able to by now.
    Retry,
    /// The journal went out of service while nothing was written.
    Failed,
    /// Let calls of rules come to their end, work off everything and answer: nothing is queued any more.
    Finish(oneshot::Sender<()>),
    /// The second half of that.
    Drain(oneshot::Sender<()>),
}

pub(crate) struct StoreActor;

/// What the actor needs and does not own.
#[derive(Clone)]
pub(crate) struct StoreArguments {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) published: Arc<Published>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) events: Arc<EventBus>,
    /// Rules of the embedder that every record is held to.
    pub(crate) validators: Arc<Validators>,
    /// Names that are taken by queries of the program.
    pub(crate) programmatic: Arc<Programmatic>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: TimeSource,
    /// How many answers are remembered for repeats, and how long.
    pub(crate) answers: AnswerLimits,
    /// Where it is told whether writes can be made durable.
    pub(crate) health: Arc<StorageHealth>,
    pub(crate) rules: Option<StoreRules>,
    /// After a failure: the published state may lack what was appended and not published yet.
    pub(crate) recover: bool,
}

pub(crate) struct StoreState {
    shared: StoreArguments,
    ids: RandomIds,
    queue: VecDeque<WriteGroup>,
    commit_due: bool,
    expiry: Expiry,
    rules: Option<Box<Desk>>,
    wake: Wake,
    clock: Clock,
    /// Why an append failed, if the journal could not be put in order since: it must be before anything is written.
    trouble: Option<Arc<JournalError>>,
}

impl Actor for StoreActor {
    type Msg = StoreMessage;
    type State = StoreState;
    type Arguments = StoreArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<StoreMessage>,
        shared: StoreArguments,
    ) -> Result<StoreState, ActorProcessingErr> {
        let actor = myself.clone();
        shared.journal.when_failed(Box::new(move || {
            // An actor that is gone has a successor, which recovers the journal first of all.
            let _ = actor.cast(StoreMessage::Failed);
        }));
        let mut trouble = None;
        if shared.recover
            && let Err(error) = catch_up(&shared).await?
        {
            // The disk is still broken: reads go on with what is published, and the journal is tried again.
            let error = Arc::new(error);
            shared.health.failed(Arc::clone(&error));
            StoreState::try_again_later(&myself);
            trouble = Some(error);
        } else {
            shared.health.well();
        }
        let clock = Clock::new(Arc::clone(&shared.clock));
        let rules = match &shared.rules {
            Some(rules) => Some(rules.desk(shared.published.snapshot()).await?),
            None => None,
        };
        let mut state = StoreState {
            shared,
            ids: RandomIds::new()?,
            queue: VecDeque::new(),
            commit_due: false,
            expiry: Expiry::default(),
            rules,
            wake: Wake::default(),
            clock,
            trouble,
        };
        state.arm(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<StoreMessage>,
        message: StoreMessage,
        state: &mut StoreState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            StoreMessage::Write(group) => state.queue.push_back(group),
            StoreMessage::Commit => {
                state.commit_due = false;
                let was_well = state.trouble.is_none();
                state.commit().await?;
                if was_well && state.trouble.is_some() {
                    StoreState::try_again_later(&myself);
                }
                state.arm(&myself);
            }
            StoreMessage::Expire => state.expiry.wake(),
            StoreMessage::Tick => state.wake.wake(),
            StoreMessage::Retry if state.trouble.is_some() => state.put_in_order(&myself).await?,
            StoreMessage::Failed if state.trouble.is_none() => state.put_in_order(&myself).await?,
            // It was put in order meanwhile, or will be at the time that is set.
            StoreMessage::Retry | StoreMessage::Failed => {}
            StoreMessage::Finish(done) => state.finish_calls(done, &myself),
            StoreMessage::Drain(done) => {
                while !state.queue.is_empty() {
                    state.commit().await?;
                }
                let _ = done.send(());
            }
        }
        let due = !state.queue.is_empty() || state.expiry.is_due() || state.wake.is_due();
        if due && !state.commit_due {
            state.commit_due = true;
            myself.cast(StoreMessage::Commit)?;
        }
        Ok(())
    }
}

/// Takes the newest durable state from the journal: a panic between append and publish leaves more there than is published.
async fn catch_up(shared: &StoreArguments) -> Result<Result<(), JournalError>, ActorProcessingErr> {
    let journal = Arc::clone(&shared.journal);
    let recovered = match tokio::task::spawn_blocking(move || journal.recover()).await? {
        Ok(recovered) => recovered,
        Err(error) => return Ok(Err(error)),
    };
    let (from, to) = (shared.published.load().position(), recovered.position());
    shared.published.store(recovered.clone());
    shared.feed.everything_changed(recovered);
    shared.events.skipped(from, to);
    Ok(Ok(()))
}

impl StoreState {
    /// Sets the timers for the next record that is due, and for rules.
    fn arm(&mut self, myself: &ActorRef<StoreMessage>) {
        let now = self.clock.now();
        self.expiry.arm(&self.shared.published.load(), now, myself);
        if let Some(desk) = &self.rules {
            self.wake.arm(desk.next_wake(), now, myself);
        }
    }

    /// Works off queued groups, up to the bound of one commit, records that are due, and what rules want to do by then.
    async fn commit(&mut self) -> Result<(), ActorProcessingErr> {
        if let Some(error) = &self.trouble {
            let error = WriteError::NotDurable(Arc::clone(error));
            self.refuse_all(&error);
            return Ok(());
        }
        let mut bench = self.workbench();
        let mut answers = Vec::new();
        while bench.changes < limits::GROUP_CHANGES {
            let Some(WriteGroup { works, reply }) = self.queue.pop_front() else { break };
            let written;
            (bench, written) = self.carry_out(bench, works).await?;
            answers.push((reply, written));
        }
        let expired;
        (bench, expired) = self.expire(bench).await?;
        bench = self.tick(bench).await?;
        let Workbench { next, watched, commits: prepared, clock, rules, aftermath, broken, .. } = bench;
        (self.clock, self.rules) = (clock, rules);
        if let Some(reason) = broken {
            return Err(reason.into());
        }
        let commits = Arc::new(prepared);
        if !commits.is_empty()
            && let Err(failure) = self.make_durable(&commits, next).await?
        {
            self.take_back(&aftermath, &failure).await?;
            // Refusals in the batch may rest on writes that did not happen, so nobody's answer stands.
            for (reply, written) in answers {
                let _ = reply.send(vec![Err(failure.clone()); written.len()]);
            }
            let now = self.clock.now();
            self.expiry.hold_off(now);
            self.wake.hold_off(now);
            return Ok(());
        }
        // Before anybody is answered, too: whoever listens from then on does not hear of it.
        self.tell(aftermath);
        for (reply, written) in answers {
            let _ = reply.send(written);
        }
        self.shared.metrics.expired.increment(expired);
        self.shared.events.tell(&commits, &watched);
        Ok(())
    }

    /// Nothing can be written.
    fn refuse_all(&mut self, error: &WriteError) {
        for group in self.queue.drain(..) {
            // A writer that is gone does not need its answer; here and below.
            let _ = group.reply.send(vec![Err(error.clone()); group.works.len()]);
        }
        let now = self.clock.now();
        self.expiry.hold_off(now);
        self.wake.hold_off(now);
    }

    fn workbench(&mut self) -> Workbench {
        let next = self.shared.published.snapshot();
        Workbench {
            watched: self.shared.events.watch(&next),
            base: next.clone(),
            next,
            commits: Vec::new(),
            clock: self.clock.clone(),
            changes: 0,
            validators: Arc::clone(&self.shared.validators),
            programmatic: Arc::clone(&self.shared.programmatic),
            answers: self.shared.answers,
            rules: self.rules.take(),
            aftermath: Aftermath::default(),
            broken: None,
        }
    }

    /// Carries a group out; a long one on a blocking thread. Nothing overtakes it: the actor waits. A panic over there is the
    /// actor's.
    async fn carry_out(
        &mut self,
        bench: Workbench,
        works: Vec<Work>,
    ) -> Result<(Workbench, Vec<Written>), ActorProcessingErr> {
        let is_long = bench.is_long(&works);
        self.on_bench(bench, is_long, move |bench, ids| bench.carry_out(works, ids)).await
    }

    async fn on_bench<T: Send + 'static>(
        &mut self,
        mut bench: Workbench,
        is_long: bool,
        work: impl FnOnce(&mut Workbench, &mut RandomIds) -> T + Send + 'static,
    ) -> Result<(Workbench, T), ActorProcessingErr> {
        if !is_long {
            let result = work(&mut bench, &mut self.ids);
            return Ok((bench, result));
        }
        let mut ids = self.ids.fork();
        let work = move || {
            let result = work(&mut bench, &mut ids);
            (bench, result)
        };
        Ok(tokio::task::spawn_blocking(work).await?)
    }

    /// Removes records and forgets answers whose time is over, behind the writes of the group: one of them may have given a record more time.
    /// How many records.
    async fn expire(&mut self, mut bench: Workbench) -> Result<(Workbench, u64), ActorProcessingErr> {
        let now = bench.clock.now();
        let (due, forget) = (self.expiry.take(&bench.next, now), Expiry::forgets(&bench.next, now));
        let records = due.iter().map(|(bucket, row)| Intent::Expire { bucket: *bucket, row: *row });
        let intents = records.chain(forget.then_some(Intent::ForgetAnswers));
        let works: Vec<Work> = intents.map(Work::Store).collect();
        let written;
        (bench, written) = self.carry_out(bench, works).await?;
        let mut expired = 0;
        for (row, written) in due.into_iter().zip(written) {
            match written {
                Ok(Done { outcome: Outcome::Deleted { existed: true }, .. }) => expired += 1,
                Ok(_) => {}
                Err(refusal) => {
                    tracing::debug!(%refusal, "a record whose time is over has to stay for now");
                    self.expiry.postpone(row, now);
                }
            }
        }
        Ok((bench, expired))
    }

    /// Appends and publishes. After a failed append the journal says what it holds, and that is what is published: either
    /// nothing of the batch happened, or all of it did and the failure came too late to matter.
    async fn make_durable(
        &mut self,
        commits: &Arc<Vec<Commit>>,
        next: Snapshot,
    ) -> Result<Result<(), WriteError>, ActorProcessingErr> {
        let (before, after) = (self.shared.published.load().position(), next.position());
        let Err(error) = self.append(commits, &next).await? else {
            self.shared.published.store(next.clone());
            // Before anybody is answered: whoever has an answer may ask what the live queries show.
            if let Some(bytes) = self.shared.feed.changed(commits, next) {
                self.shared.metrics.history_bytes.set(count(bytes));
            }
            self.shared.metrics.commits.increment(commits.len() as u64);
            return Ok(Ok(()));
        };
        self.shared.metrics.append_failures.increment(1);
        tracing::error!(%error, commits = commits.len(), "journal append failed");
        if error.is_refusal() {
            return Ok(Err(WriteError::NotDurable(Arc::new(error))));
        }
        let error = Arc::new(error);
        Ok(match self.recover().await? {
            Ok(position) if position == after => Ok(()),
            Ok(position) if position == before => Err(WriteError::NotDurable(error)),
            Ok(position) => {
                self.shared.events.skipped(before, position);
                Err(WriteError::Interrupted)
            }
            Err(_) => Err(WriteError::InDoubt(error)),
        })
    }

    /// Tries the journal again after a failure, and sets the time of the next attempt if it fails again.
    async fn put_in_order(&mut self, myself: &ActorRef<StoreMessage>) -> Result<(), ActorProcessingErr> {
        let before = self.shared.published.load().position();
        match self.recover().await? {
            Ok(position) if position == before => {}
            Ok(position) => {
                self.shared.events.skipped(before, position);
                self.rebuild().await?;
            }
            Err(_) => Self::try_again_later(myself),
        }
        Ok(())
    }

    fn try_again_later(myself: &ActorRef<StoreMessage>) {
        myself.send_after(limits::STORAGE_RETRY, || StoreMessage::Retry);
    }

    /// Publishes what the journal holds; its position.
    async fn recover(&mut self) -> Result<Result<u64, Arc<JournalError>>, ActorProcessingErr> {
        let journal = Arc::clone(&self.shared.journal);
        match tokio::task::spawn_blocking(move || journal.recover()).await? {
            Ok(recovered) => {
                let position = recovered.position();
                if position != self.shared.published.load().position() {
                    self.shared.published.store(recovered.clone());
                    self.shared.feed.everything_changed(recovered);
                }
                self.trouble = None;
                self.shared.health.well();
                tracing::info!(position, "the journal is in order again");
                Ok(Ok(position))
            }
            Err(error) => {
                tracing::error!(%error, "the journal is still out of order");
                let error = Arc::new(error);
                self.trouble = Some(Arc::clone(&error));
                self.shared.health.failed(Arc::clone(&error));
                Ok(Err(error))
            }
        }
    }

    async fn append(
        &self,
        commits: &Arc<Vec<Commit>>,
        next: &Snapshot,
    ) -> Result<Result<(), JournalError>, ActorProcessingErr> {
        let started = Instant::now();
        let journal = &self.shared.journal;
        let result = if journal.blocks() {
            let (journal, commits, next) = (Arc::clone(journal), Arc::clone(commits), next.clone());
            tokio::task::spawn_blocking(move || journal.append(Batch { commits: &commits, next: &next }))
                .await?
        } else {
            journal.append(Batch { commits, next })
        };
        self.shared.metrics.append_seconds.record(started.elapsed());
        self.shared.metrics.append_commits.record(commits.len());
        Ok(result)
    }
}
