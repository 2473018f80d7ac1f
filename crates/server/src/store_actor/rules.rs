//! What the writer does with the rule engine beside carrying its inputs out: wakes it, takes it back with the state, hands on what it
//! has led to.

use std::sync::{Arc, Mutex, PoisonError};

use dunlin_store::Snapshot;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::{StoreMessage, StoreState, WriteError};
use crate::limits;
use crate::metrics::Reported;
use crate::rules::{Aftermath, Desk, EventAt, Lookups, RuleFeed, RuleOptions, RulesMessage};
use crate::workbench::Workbench;

/// What of the rules is the writer's.
#[derive(Clone)]
pub(crate) struct StoreRules {
    pub(crate) options: Arc<RuleOptions>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) feed: Arc<RuleFeed>,
    /// The engine of a server that begins, made already.
    pub(crate) ready: Arc<Mutex<Option<Box<Desk>>>>,
}

impl StoreRules {
    /// The engine that this state holds.
    pub(super) async fn desk(&self, state: Snapshot) -> Result<Box<Desk>, ActorProcessingErr> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(desk) = ready {
            return Ok(desk);
        }
        let (options, lookups) = (Arc::clone(&self.options), Arc::clone(&self.lookups));
        let desk = tokio::task::spawn_blocking(move || Desk::new(options, lookups, &state)).await??;
        self.feed.interrupted();
        Ok(Box::new(desk))
    }
}

/// The same engine made anew.
async fn rebuilt(mut desk: Box<Desk>, state: Snapshot) -> Result<Box<Desk>, ActorProcessingErr> {
    let work = move || desk.rebuild(&state).map(|()| desk);
    Ok(tokio::task::spawn_blocking(work).await??)
}

impl StoreState {
    /// Lets rules do what is due, behind the writes of the group.
    pub(super) async fn tick(&mut self, mut bench: Workbench) -> Result<Workbench, ActorProcessingErr> {
        let now = bench.clock.now();
        let Some(desk) = &bench.rules else { return Ok(bench) };
        if desk.next_wake().is_none_or(|at| at > now) || !self.wake.may_run(now) {
            return Ok(bench);
        }
        let is_long = desk.is_long(1);
        let ticked;
        (bench, ticked) = self.on_bench(bench, is_long, Workbench::ticks).await?;
        if let Err(error) = ticked {
            tracing::error!(%error, "what is due for rules could not be done and is tried again");
            self.wake.hold_off(now);
        }
        Ok(bench)
    }

    /// The engine goes back to what is published: what it has done since did not become durable.
    pub(super) async fn take_back(
        &mut self,
        aftermath: &Aftermath,
        failure: &WriteError,
    ) -> Result<(), ActorProcessingErr> {
        let Some(mut desk) = self.rules.take() else { return Ok(()) };
        let state = self.shared.published.snapshot();
        if matches!(failure, WriteError::Interrupted) {
            // Nobody knows what that is.
            desk = rebuilt(desk, state).await?;
            self.interrupted();
        } else {
            desk.undo(aftermath, &state)?;
        }
        self.rules = Some(desk);
        Ok(())
    }

    /// The published state is another one than the engine knows.
    pub(super) async fn rebuild(&mut self) -> Result<(), ActorProcessingErr> {
        if let Some(desk) = self.rules.take() {
            self.rules = Some(rebuilt(desk, self.shared.published.snapshot()).await?);
            self.interrupted();
        }
        Ok(())
    }

    fn interrupted(&self) {
        if let Some(rules) = &self.shared.rules {
            rules.feed.interrupted();
        }
    }

    /// Waits for the calls of rules that are under way, for a while, before the rest is worked off: what they come to should not have
    /// to be asked for again.
    pub(super) fn finish_calls(&self, done: oneshot::Sender<()>, myself: &ActorRef<StoreMessage>) {
        let (over, calls) = oneshot::channel();
        match &self.shared.rules {
            Some(rules) => rules.feed.tell(RulesMessage::Finish(over)),
            None => drop(over),
        }
        let myself = myself.clone();
        tokio::spawn(async move {
            // Over, or not in time, or nobody is there to say: all the same.
            let _ = tokio::time::timeout(limits::CLOSE_WAIT, calls).await;
            let _ = myself.cast(StoreMessage::Drain(done));
        });
    }

    /// Hands on what rules have led to, which is durable now.
    pub(super) fn tell(&self, aftermath: Aftermath) {
        let Some(rules) = &self.shared.rules else { return };
        let Aftermath { events, effects, reports, firings, inputs, failures, .. } = aftermath;
        let metrics = &self.shared.metrics;
        metrics.rule_failures.increment(failures);
        if inputs > 0 {
            metrics.rule_inputs.increment(inputs);
            metrics.rule_firings.increment(firings);
            metrics.rule_events.increment(events.len() as u64);
        }
        for report in reports {
            metrics.rule_reports.of(Reported(Some(report.kind))).increment(1);
            let rule = report.rule.as_deref().unwrap_or_default();
            tracing::warn!(rule, kind = ?report.kind, chain = ?report.chain, "{}", report.message);
        }
        let first = if events.is_empty() { 0 } else { rules.options.listener.number(events.len()) };
        let numbered = events.into_iter().zip(first..);
        let events = numbered.map(|((event, position), number)| EventAt { event, position, number });
        rules.feed.happened(events.collect(), effects);
    }
}
