//! From the wish to watch a query to a place among those who do.

use std::sync::Arc;

use dunlin_protocol::{Code, Error};
use dunlin_store::{LiveQuery, Prepared, Renewed, Replay, Resume, ViewId};
use tokio::sync::oneshot;

use super::LiveMessage;
use super::actor::{LiveState, ask_again, end, undefined};
use super::delivery::body;
use super::watch::{Joined, Judged, Start, Told, Waiting, Watch};
use super::workshop::{Made, Missed};
use crate::connection::{Body, Payload, SubscriptionId};
use crate::limits;

/// From one position of a view's history to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gap {
    pub(super) view: ViewId,
    pub(super) since: u64,
    pub(super) until: u64,
}

/// The beginning of a subscription.
pub(super) enum Begun {
    With(Start),
    /// This gap, how it is filled, and the result behind it.
    Missing(Gap, Box<Replay>, Option<Body>),
}

/// What was missed: being worked out for these, or known.
pub(super) enum Replayed {
    Awaited(Vec<Waiting>),
    Known(Start),
}

impl LiveState {
    pub(super) fn watch(&mut self, watch: Watch, reply: Option<oneshot::Sender<Joined>>) {
        let asked_at = self.views.snapshot().position();
        let waiting = Waiting { watch, reply, asked_at };
        if let Some(view) = self.views.find(&waiting.watch.source) {
            self.admit(view, waiting);
            return;
        }
        let query = waiting.watch.source.clone();
        let others = self.opening.entry(query.clone()).or_default();
        others.push(waiting);
        if others.len() == 1 {
            self.open(query);
        }
    }

    fn open(&mut self, query: LiveQuery) {
        let patient = self.is_patient(&query);
        let preparation = self.views.prepare(query);
        let then = |made| LiveMessage::Opened(Box::new(made));
        if let Some(made) = self.workshop.make(preparation, patient, then) {
            self.opened(made);
        }
    }

    /// Whether a view may be worked out beside this actor. One that has been too late several times is worked out here, where
    /// nothing happens meanwhile: else those who wait would wait for as long as others write.
    fn is_patient(&self, query: &LiveQuery) -> bool {
        self.outdated.get(query).is_none_or(|times| *times < limits::VIEW_TRIES)
    }

    /// A view was worked out: everybody who waits for it joins.
    pub(super) fn opened(&mut self, made: Made) {
        self.shared.metrics.views_evaluated.increment(1);
        let (query, buckets, view) = match made {
            Err(query) => (query, Vec::new(), Err(failed())),
            Ok(prepared) => {
                let (query, buckets) = (prepared.query().clone(), prepared.buckets());
                match self.views.open(prepared) {
                    Ok(dunlin_store::Joined::Outdated) => {
                        *self.outdated.entry(query.clone()).or_default() += 1;
                        if self.opening.contains_key(&query) {
                            self.open(query);
                        }
                        return;
                    }
                    Ok(dunlin_store::Joined::View(view)) => (query, buckets, Ok(view)),
                    Err(error) => (query, buckets, Err(Error::from(error))),
                }
            }
        };
        self.outdated.remove(&query);
        let everybody = self.opening.remove(&query).unwrap_or_default();
        match view {
            Ok(view) => {
                if self.views.is_stale(view) {
                    self.renew(view);
                }
                for waiting in everybody {
                    self.admit(view, waiting);
                }
                self.drop_if_unwatched(view);
            }
            Err(error) => {
                for waiting in everybody {
                    refuse(waiting, error.clone(), buckets.clone());
                }
            }
        }
    }

    pub(super) fn renew(&mut self, view: ViewId) {
        let Some(preparation) = self.views.prepare_again(view) else { return };
        let patient = self.is_patient(preparation.query());
        self.renewing.entry(view).or_default();
        let then = move |made| LiveMessage::Renewed(view, Box::new(made));
        let made = self.workshop.make(preparation, patient, then);
        if let Some(made) = made {
            self.renewed(view, made);
        }
    }

    /// A view was worked out anew: everybody who watches it is told of the difference.
    pub(super) fn renewed(&mut self, view: ViewId, made: Made) {
        self.shared.metrics.views_evaluated.increment(1);
        let renewed = match made {
            Ok(prepared) => self.put_in_place(view, prepared),
            Err(query) => {
                self.outdated.remove(&query);
                Err(failed())
            }
        };
        self.ask_again(view);
        match renewed {
            Ok(Renewed::Changed) => self.deliver(view),
            Ok(_) => {}
            Err(error) => {
                let waiting = self.renewing.remove(&view).unwrap_or_default();
                for waiting in waiting {
                    refuse(waiting, error.clone(), Vec::new());
                }
                self.views.close(view);
                self.end_all(view, &error);
                return;
            }
        }
        let waiting = self.renewing.remove(&view).unwrap_or_default();
        if self.views.is_stale(view) {
            self.renew(view);
        }
        for waiting in waiting {
            self.admit(view, waiting);
        }
        self.drop_if_unwatched(view);
    }

    /// A view that reads other buckets than before goes on only for those who may read these, too.
    fn ask_again(&mut self, view: ViewId) {
        let buckets = self.views.buckets(view);
        for (id, watcher) in self.watchers.not_judged_for(view, &buckets) {
            self.unwatch(id);
            ask_again(id, &watcher, buckets.clone());
        }
    }

    fn put_in_place(&mut self, view: ViewId, prepared: Prepared) -> Result<Renewed, Error> {
        let query = prepared.query().clone();
        let renewed = self.views.renew(view, prepared);
        if renewed == Renewed::Outdated {
            *self.outdated.entry(query).or_default() += 1;
        } else {
            self.outdated.remove(&query);
        }
        match renewed {
            Renewed::Ended(error) => Err(error.into()),
            Renewed::Closed => Err(Error::new(
                Code::InternalError,
                "The live query ended while it was worked out; subscribe again",
            )),
            renewed => Ok(renewed),
        }
    }

    /// Lets somebody join a view, or wait for its newer result.
    fn admit(&mut self, view: ViewId, mut waiting: Waiting) {
        if self.views.shows(view).is_none_or(|position| position < waiting.asked_at) {
            self.renewing.entry(view).or_default().push(waiting);
            return;
        }
        // Who was unwatched while it waited was not known here yet. One with a reply is asked when it gets that.
        if waiting.reply.is_none() && !waiting.watch.is_wanted() {
            return;
        }
        if let Err(error) = self.still_defined(&waiting.watch) {
            refuse(waiting, error, Vec::new());
            return;
        }
        let buckets = self.views.buckets(view);
        if !waiting.watch.judged.covers(&buckets) {
            if waiting.reply.is_none() {
                ask_again(waiting.watch.id, &waiting.watch.watcher, buckets);
                return;
            }
            // The connection of a new subscription judges when it has the answer, and leaves if it may not.
            waiting.watch.judged = Judged::Only(buckets.into());
        }
        let position = self.views.shows(view).unwrap_or_default();
        let begun = match self.begin(view, &waiting.watch) {
            Ok(begun) => begun,
            Err(error) => {
                refuse(waiting, error, Vec::new());
                return;
            }
        };
        self.watchers.join(view, &waiting.watch, position);
        match begun {
            Begun::With(start) => self.answer(waiting, Told { position, start }),
            Begun::Missing(gap, replay, result) => self.fill(gap, *replay, result, waiting),
        }
    }

    /// What a new subscriber begins with, or what it has missed and how to work that out.
    fn begin(&mut self, view: ViewId, watch: &Watch) -> Result<Begun, Error> {
        if let Some(resume) = &watch.resume {
            let name = watch.definition.is_some().then_some(&*watch.query);
            match self.views.resume(view, name, &resume.epoch, resume.position)? {
                Resume::Unchanged => return Ok(Begun::With(Start::Resumed(String::new()))),
                Resume::Replay(replay) => {
                    let gap = Gap { view, since: resume.position, until: self.views.snapshot().position() };
                    return Ok(Begun::Missing(gap, replay, self.views.result(view)?.map(body)));
                }
                Resume::Lost => {}
            }
        }
        Ok(Begun::With(Start::Data(self.views.result(view)?.map(body))))
    }

    /// Has it worked out what somebody has missed, once for all who have missed the same.
    fn fill(&mut self, gap: Gap, replay: Replay, result: Option<Body>, waiting: Waiting) {
        match self.missed.get_mut(&gap) {
            Some(Replayed::Known(start)) => {
                let told = Told { position: gap.until, start: start.clone() };
                self.answer(waiting, told);
            }
            Some(Replayed::Awaited(others)) => others.push(waiting),
            None => {
                self.missed.insert(gap, Replayed::Awaited(vec![waiting]));
                self.workshop.replay(replay, Missed { gap, operations: None, result });
            }
        }
    }

    pub(super) fn replayed(&mut self, missed: Missed) {
        let Missed { gap, operations, result } = missed;
        let start = operations.map_or(Start::Data(result), Start::Resumed);
        let waiting = self.missed.remove(&gap);
        // Nobody asks for an earlier state than the views show.
        if gap.until == self.views.snapshot().position() && start.own_bytes() <= limits::KNOWN_GAP_BYTES {
            if self.missed.len() >= limits::KNOWN_GAPS {
                self.forget_missed();
            }
            self.missed.insert(gap, Replayed::Known(start.clone()));
        }
        if let Some(Replayed::Awaited(everybody)) = waiting {
            for waiting in everybody {
                self.answer(waiting, Told { position: gap.until, start: start.clone() });
            }
        }
    }

    /// Forgets what was missed by those who have been told.
    pub(super) fn forget_missed(&mut self) {
        self.missed.retain(|_, replayed| matches!(replayed, Replayed::Awaited(_)));
    }

    fn answer(&mut self, waiting: Waiting, told: Told) {
        let Waiting { watch, reply, .. } = waiting;
        let metrics = &self.shared.metrics;
        if watch.resume.is_some() {
            let resumed = matches!(told.start, Start::Resumed(_));
            (if resumed { &metrics.resumed } else { &metrics.not_resumed }).increment(1);
        }
        if let Some(reply) = reply {
            let view = self.watchers.view_of(watch.id);
            let buckets = view.map(|view| self.views.buckets(view)).unwrap_or_default();
            // The connection may have ended while it waited; then nobody would ever unwatch.
            if reply.send(Joined { told: Ok(told), buckets }).is_err() {
                self.unwatch(watch.id);
            }
            return;
        }
        watch.watcher.outbox.begins(watch.id, watch.opening);
        if let Start::Data(data) = told.start {
            let payload = Payload::Full { position: told.position, data };
            self.push(watch.id, &watch.watcher, &payload, 0);
        }
    }

    /// The query may have been undefined since the connection looked it up.
    fn still_defined(&self, watch: &Watch) -> Result<(), Error> {
        let Some(definition) = &watch.definition else { return Ok(()) };
        match self.views.snapshot().query(&watch.query) {
            Ok(query) if query.config() == definition => Ok(()),
            _ => Err(undefined(&watch.query)),
        }
    }

    pub(super) fn unwatch(&mut self, id: SubscriptionId) {
        if let Some(view) = self.watchers.leave(id) {
            self.drop_if_unwatched(view);
        }
    }

    fn drop_if_unwatched(&mut self, view: ViewId) {
        let awaited = self.renewing.get(&view).is_some_and(|waiting| !waiting.is_empty());
        if !self.watchers.is_watched(view) && !awaited {
            self.renewing.remove(&view);
            self.views.close(view);
        }
    }
}

fn failed() -> Error {
    Error::new(Code::InternalError, "The live query failed and was ended; subscribe again")
}

/// Tells somebody that nothing comes of his wish.
pub(super) fn refuse(waiting: Waiting, error: Error, buckets: Vec<Arc<str>>) {
    match waiting.reply {
        Some(reply) => {
            // Nobody has to know if the connection has ended.
            let _ = reply.send(Joined { told: Err(error), buckets });
        }
        None => end(waiting.watch.id, &waiting.watch.watcher, error),
    }
}
