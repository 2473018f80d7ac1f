//! Carries out what rules want done outside, when it is durable, and tells listeners what has happened.
//!
//! Everything that it does can be done again: calls and lookups are entries of the state until their answers are, and when this actor or
//! the `StoreActor` begins anew it asks which ones are outstanding.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dunlin_rules::effect::{LogLevel, LookupCall};
use dunlin_rules::fault::CallFault;
use dunlin_rules::{Answer, Effect, Input, OutgoingCall, Target};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::calls::{Calls, Ready};
use super::feed::RuleFeed;
use super::lookups::{Lookups, serve};
use super::options::RuleOptions;
use super::services::ServiceError;
use super::webhooks::Webhooks;
use super::work::{Look, RuleWork, Work};
use crate::limits;
use crate::metrics::{Called, Metrics, count};
use crate::store_actor::WriteError;
use crate::store_handle::StoreHandle;
use crate::workbench::TimeSource;

pub(crate) struct RulesActor;

/// What the actor needs and does not own.
#[derive(Clone)]
pub(crate) struct RulesArguments {
    pub(crate) options: Arc<RuleOptions>,
    pub(crate) feed: Arc<RuleFeed>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) store: StoreHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: TimeSource,
    /// After a failure: events may be lost.
    pub(crate) restarted: bool,
}

pub(crate) enum RulesMessage {
    /// Something waits in the feed.
    News,
    /// These have been asked for and not answered.
    Outstanding(Vec<Effect>),
    /// A call may be due.
    Due,
    /// A call has ended, and the engine knows of it.
    Called(Arc<OutgoingCall>),
    /// A call was not made: its target is left alone.
    NotMade(Arc<OutgoingCall>),
    /// A lookup was answered.
    LookedUp(Arc<str>),
    /// Start nothing any more, and say when nothing is under way.
    Finish(oneshot::Sender<()>),
}

pub(crate) struct RulesState {
    shared: RulesArguments,
    calls: Calls,
    /// Firings whose lookups are under way.
    lookups: HashSet<Arc<str>>,
    /// Those that have been answered since it was asked which are outstanding.
    answered: HashSet<Arc<str>>,
    /// It is asked what is outstanding: until that is known nothing is taken from the feed.
    asking: bool,
    tasks: JoinSet<()>,
    timer: Option<JoinHandle<()>>,
    finish: Vec<oneshot::Sender<()>>,
    stopping: bool,
}

impl Actor for RulesActor {
    type Msg = RulesMessage;
    type State = RulesState;
    type Arguments = RulesArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<RulesMessage>,
        shared: RulesArguments,
    ) -> Result<RulesState, ActorProcessingErr> {
        if shared.restarted {
            shared.options.listener.gap();
        }
        let mut state = RulesState {
            shared,
            calls: Calls::default(),
            lookups: HashSet::new(),
            answered: HashSet::new(),
            asking: false,
            tasks: JoinSet::new(),
            timer: None,
            finish: Vec::new(),
            stopping: false,
        };
        state.ask(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RulesMessage>,
        message: RulesMessage,
        state: &mut RulesState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RulesMessage::News | RulesMessage::Due => {}
            RulesMessage::Outstanding(effects) => {
                state.asking = false;
                for effect in effects {
                    state.begin(effect, &myself);
                }
                state.calls.asked();
                state.answered.clear();
            }
            RulesMessage::Called(call) => state.calls.done(&call),
            RulesMessage::NotMade(call) => state.calls.not_made(call),
            RulesMessage::LookedUp(firing) => {
                state.lookups.remove(&firing);
                if state.asking {
                    state.answered.insert(firing);
                }
            }
            RulesMessage::Finish(done) => {
                state.stopping = true;
                state.finish.push(done);
            }
        }
        if !state.asking {
            state.take_news(&myself);
        }
        state.make_calls(&myself);
        // Only so that those that have ended are not kept.
        while state.tasks.try_join_next().is_some() {}
        if state.stopping && state.calls.running() == 0 {
            for done in state.finish.drain(..) {
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
        Ok(())
    }
}

impl RulesState {
    fn take_news(&mut self, myself: &ActorRef<RulesMessage>) {
        let news = self.shared.feed.take();
        if !news.events.is_empty() {
            self.shared.options.listener.tell(&news.events);
        }
        if news.gap {
            tracing::warn!("events of rules were lost on the way to those who listen");
            self.shared.options.listener.gap();
        }
        for effect in news.effects {
            self.begin(effect, myself);
        }
        if news.incomplete {
            self.ask(myself);
        }
    }

    /// Asks the engine what is outstanding.
    fn ask(&mut self, myself: &ActorRef<RulesMessage>) {
        self.asking = true;
        self.calls.asking();
        let (store, myself) = (self.shared.store.clone(), myself.clone());
        self.tasks.spawn(async move {
            loop {
                let (found, outstanding) = oneshot::channel();
                let look = Look(Box::new(move |engine, _| {
                    // Whoever asked may be gone.
                    let _ = found.send(engine.outstanding());
                    Ok(String::new())
                }));
                // Answered when everything that was done before is durable.
                let looked = store.carry_out(vec![Work::Look(look)]).await.pop();
                if let (Some(Ok(_)), Ok(effects)) = (looked, outstanding.await) {
                    let _ = myself.cast(RulesMessage::Outstanding(effects));
                    return;
                }
                tokio::time::sleep(limits::STORAGE_RETRY).await;
            }
        });
    }

    fn begin(&mut self, effect: Effect, myself: &ActorRef<RulesMessage>) {
        match effect {
            Effect::Call(call) => self.calls.add(call),
            Effect::Lookup { firing, calls, .. } => {
                if !self.answered.contains(&firing) && self.lookups.insert(Arc::clone(&firing)) {
                    self.look_up(firing, calls, myself);
                }
            }
            Effect::Log { rule, level, message } => log(&rule, level, &message),
            other => tracing::error!(?other, "a rule wants something that this version cannot do"),
        }
    }

    fn look_up(&mut self, firing: Arc<str>, calls: Vec<LookupCall>, myself: &ActorRef<RulesMessage>) {
        let (shared, myself) = (self.shared.clone(), myself.clone());
        self.tasks.spawn(async move {
            let answers = shared.lookups.ask(&calls).await;
            shared.feed_in(&Input::LookedUp { firing: Arc::clone(&firing), answers }).await;
            // An actor that is gone has a successor, which knows nothing of it.
            let _ = myself.cast(RulesMessage::LookedUp(firing));
        });
    }

    /// Makes the calls whose time has come, and sets the timer for the next.
    fn make_calls(&mut self, myself: &ActorRef<RulesMessage>) {
        if self.stopping {
            return;
        }
        let now = (self.shared.clock)();
        for Ready { call, breaker } in self.calls.ready(now) {
            let (shared, myself) = (self.shared.clone(), myself.clone());
            self.tasks.spawn(async move {
                let Some(attempt) = breaker.attempt() else {
                    let _ = myself.cast(RulesMessage::NotMade(call));
                    return;
                };
                let result = shared.call(&call).await;
                shared.metrics.rule_calls.of(Called::of(&result)).increment(1);
                // Who answers that it does not want this works.
                if result.as_ref().is_err_and(|error| error.again) {
                    if attempt.failed() {
                        tracing::warn!(
                            rule = &*call.rule,
                            "what this rule calls fails again and again; it is left alone for a while"
                        );
                    }
                } else {
                    attempt.succeeded();
                }
                let id = Arc::clone(&call.id);
                let input = match result {
                    Ok(result) => Input::CallDone { id, result },
                    Err(ServiceError { message, again }) => {
                        Input::CallFailed { id, fault: CallFault { message, again } }
                    }
                };
                shared.feed_in(&input).await;
                let _ = myself.cast(RulesMessage::Called(call));
            });
        }
        self.shared.metrics.rule_calls_running.set(count(self.calls.running()));
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        if let Some(wait) = self.calls.next(now) {
            let myself = myself.clone();
            self.timer = Some(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let _ = myself.cast(RulesMessage::Due);
            }));
        }
    }
}

impl Drop for RulesState {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

impl RulesArguments {
    /// Makes one attempt of a call.
    async fn call(&self, call: &OutgoingCall) -> Result<serde_json::Value, ServiceError> {
        let timeout = Duration::from_millis(call.timeout_ms);
        match &call.target {
            Target::Service { service, method, args } => {
                serve(&self.options.services, service, method, args.clone(), timeout).await
            }
            Target::Webhook { url, headers, body } => {
                let target = self.webhooks.target(url)?;
                self.webhooks.send(&call.id, &target, headers, body, timeout).await
            }
        }
    }

    /// Feeds an answer from outside to the engine, and again until it is durable: it was hard to get.
    async fn feed_in(&self, input: &Input) {
        loop {
            let work = RuleWork { input: input.clone(), once: None, tell: nothing };
            match self.store.carry_out(vec![Work::Rules(Box::new(work))]).await.pop() {
                Some(Ok(_)) => return,
                Some(Err(WriteError::NotDurable(_) | WriteError::InDoubt(_) | WriteError::Interrupted))
                | None => {
                    tokio::time::sleep(limits::STORAGE_RETRY).await;
                }
                Some(Err(error)) => {
                    // It stays outstanding, and is asked for again after the next start.
                    tracing::error!(%error, "rules could not take an answer from outside");
                    return;
                }
            }
        }
    }
}

fn nothing(_: &Answer) -> String {
    String::new()
}

fn log(rule: &str, level: LogLevel, message: &str) {
    match level {
        LogLevel::Debug => tracing::debug!(rule, "{message}"),
        LogLevel::Info => tracing::info!(rule, "{message}"),
        LogLevel::Warn => tracing::warn!(rule, "{message}"),
        LogLevel::Error => tracing::error!(rule, "{message}"),
    }
}
