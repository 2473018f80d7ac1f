//! Calls that are to be made: each at its time, not too many at once, and none to a target that is left alone for a while.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dunlin_rules::{OutgoingCall, Target};
use tokio::time::Instant;

use super::webhooks;
use crate::breaker::Breaker;
use crate::limits;

/// One attempt of a call: a call that has failed comes again with one failure more.
type Attempt = (Arc<str>, u32);

/// Which calls wait, and which are under way.
#[derive(Default)]
pub(super) struct Calls {
    /// Those that are here, in any way.
    known: HashSet<Attempt>,
    /// By their time, Unix milliseconds.
    later: BTreeMap<(u64, u64), Arc<OutgoingCall>>,
    /// Tells apart those of the same time.
    last: u64,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes that have something to do, in turn.
    turns: VecDeque<Arc<str>>,
    running: usize,
    /// Attempts that have ended since it was asked which calls are outstanding: the answer may be older than that.
    ended: Option<HashSet<Attempt>>,
}

/// The calls to one target.
struct Lane {
    waiting: VecDeque<Arc<OutgoingCall>>,
    running: usize,
    breaker: Arc<Breaker>,
    /// Left alone until then.
    closed: Option<Instant>,
}

/// A call that may be made now.
pub(super) struct Ready {
    pub(super) call: Arc<OutgoingCall>,
    pub(super) breaker: Arc<Breaker>,
}

impl Calls {
    /// A call that the engine wants to be made, unless it is known.
    pub(super) fn add(&mut self, call: Arc<OutgoingCall>) {
        let attempt = attempt(&call);
        if self.ended.as_ref().is_some_and(|ended| ended.contains(&attempt)) || !self.known.insert(attempt) {
            return;
        }
        self.put_off(call.due, call);
    }

    /// From here on attempts that end are remembered: it is asked which calls are outstanding.
    pub(super) fn asking(&mut self) {
        self.ended.get_or_insert_default();
    }

    /// That is known now.
    pub(super) fn asked(&mut self) {
        self.ended = None;
    }

    /// The calls that may be made at this time of the wall clock; they are under way from here on.
    pub(super) fn ready(&mut self, now: u64) -> Vec<Ready> {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let call = entry.remove();
            let target = target(&call);
            let lane = self.lanes.entry(Arc::clone(&target)).or_insert_with(Lane::new);
            if lane.waiting.is_empty() {
                self.turns.push_back(target);
            }
            lane.waiting.push_back(call);
        }
        let mut found = Vec::new();
        let instant = Instant::now();
        // Each lane in turn, one call each time; a lane that cannot go on waits for its next turn.
        let mut idle = 0;
        while self.running < limits::CALLS && idle < self.turns.len() {
            let Some(target) = self.turns.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&target) else { continue };
            let full = lane.running >= limits::CALLS_PER_TARGET;
            let call = if full || lane.closed.is_some_and(|until| until > instant) {
                None
            } else {
                lane.waiting.pop_front()
            };
            let Some(call) = call else {
                idle += 1;
                self.turns.push_back(target);
                continue;
            };
            idle = 0;
            lane.running += 1;
            self.running += 1;
            found.push(Ready { call, breaker: Arc::clone(&lane.breaker) });
            if !lane.waiting.is_empty() {
                self.turns.push_back(target);
            }
        }
        found
    }

    /// An attempt has ended, and the engine knows.
    pub(super) fn done(&mut self, call: &OutgoingCall) {
        self.leave(call);
        let attempt = attempt(call);
        self.known.remove(&attempt);
        if let Some(ended) = &mut self.ended {
            ended.insert(attempt);
        }
    }

    /// It was not made: its target is left alone for a while.
    pub(super) fn not_made(&mut self, call: Arc<OutgoingCall>) {
        self.leave(&call);
        let name = target(&call);
        let lane = self.lanes.entry(Arc::clone(&name)).or_insert_with(Lane::new);
        lane.closed = Some(Instant::now() + limits::CALL_PAUSE);
        if lane.waiting.is_empty() {
            self.turns.push_back(name);
        }
        lane.waiting.push_front(call);
    }

    /// How long until there is something to do, by the wall clock and by lanes that open again.
    pub(super) fn next(&self, now: u64) -> Option<Duration> {
        let later = self.later.first_key_value().map(|((due, _), _)| {
            // The wall clock may be set meanwhile.
            Duration::from_millis(due.saturating_sub(now).clamp(1, limits::EXPIRY_LOOK_AGAIN_MS))
        });
        let instant = Instant::now();
        let closed = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        let opens = closed.filter_map(|lane| lane.closed.filter(|until| *until > instant)).min();
        later.into_iter().chain(opens.map(|at| at - instant)).min()
    }

    /// How many are under way.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    fn put_off(&mut self, due: u64, call: Arc<OutgoingCall>) {
        self.last += 1;
        self.later.insert((due, self.last), call);
    }

    fn leave(&mut self, call: &OutgoingCall) {
        self.running -= 1;
        let name = target(call);
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.running -= 1;
            if lane.closed.is_some_and(|until| until <= Instant::now()) {
                lane.closed = None;
            }
        }
        if self.lanes.len() > limits::CALL_TARGETS {
            // Those that nobody waits for: their breakers are forgotten with them.
            self.lanes.retain(|_, lane| lane.running > 0 || !lane.waiting.is_empty());
        }
    }
}

impl Lane {
    fn new() -> Self {
        let breaker = Arc::new(Breaker::new(limits::CALL_FAULTS, limits::CALL_PAUSE));
        Self { waiting: VecDeque::new(), running: 0, breaker, closed: None }
    }
}

fn attempt(call: &OutgoingCall) -> Attempt {
    (Arc::clone(&call.id), call.failures)
}

/// Whom a call goes to.
fn target(call: &OutgoingCall) -> Arc<str> {
    match &call.target {
        Target::Service { service, .. } => Arc::clone(service),
        Target::Webhook { url, .. } => webhooks::origin(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64, service: &str, due: u64) -> Arc<OutgoingCall> {
        Arc::new(OutgoingCall {
            id: id.to_string().into(),
            rule: "r".into(),
            target: Target::Service { service: service.into(), method: "m".into(), args: Vec::new() },
            failures: 0,
            attempts: 3,
            due,
            timeout_ms: 1_000,
            firing: None,
            correlation_id: None,
            created_at: 0,
        })
    }

    fn ids(ready: &[Ready]) -> Vec<&str> {
        ready.iter().map(|ready| &*ready.call.id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_made_once_and_not_before_its_time() {
        let mut calls = Calls::default();
        calls.add(call(1, "a", 100));
        calls.add(call(1, "a", 100));
        calls.add(call(2, "a", 50));
        assert!(calls.ready(49).is_empty());
        assert_eq!(calls.next(49), Some(Duration::from_millis(1)));
        assert_eq!(ids(&calls.ready(100)), ["2", "1"]);
        calls.add(call(1, "a", 100));
        assert!(calls.ready(1_000).is_empty(), "it is under way");
        assert_eq!((calls.running(), calls.next(1_000)), (2, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_target_does_not_take_all_places() {
        let mut calls = Calls::default();
        (0..1_000).for_each(|id| calls.add(call(id, "slow", 0)));
        calls.add(call(1_000, "other", 0));
        let ready = calls.ready(0);
        assert_eq!(ready.len(), limits::CALLS_PER_TARGET + 1);
        assert!(ids(&ready).contains(&"1000"));
        calls.done(&ready[0].call);
        assert_eq!(calls.ready(0).len(), 1, "in its place");
        for target in 0..limits::CALLS as u64 {
            calls.add(call(2_000 + target, &format!("t{target}"), 0));
        }
        calls.ready(0);
        assert_eq!(calls.running(), limits::CALLS);
    }

    #[tokio::test(start_paused = true)]
    async fn every_call_is_made_in_the_end() {
        let mut calls = Calls::default();
        (0..300).for_each(|id| calls.add(call(id, &format!("t{}", id % 3), 0)));
        let mut made = HashSet::new();
        let mut under_way = VecDeque::new();
        loop {
            under_way.extend(calls.ready(0));
            let Some(Ready { call, .. }) = under_way.pop_front() else { break };
            assert!(made.insert(Arc::clone(&call.id)), "{} is made twice", call.id);
            calls.done(&call);
        }
        assert_eq!((made.len(), calls.running()), (300, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_is_left_alone_is_tried_again_after_a_pause() {
        let mut calls = Calls::default();
        calls.add(call(1, "a", 0));
        calls.add(call(2, "b", 0));
        let ready = calls.ready(0);
        calls.not_made(Arc::clone(&ready[0].call));
        assert!(calls.ready(0).is_empty());
        assert_eq!(calls.next(0), Some(limits::CALL_PAUSE));
        tokio::time::advance(limits::CALL_PAUSE).await;
        assert_eq!(ids(&calls.ready(0)), ["1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_while_it_is_asked_for_is_not_made_again() {
        let mut calls = Calls::default();
        calls.add(call(1, "a", 0));
        let ready = calls.ready(0);
        calls.asking();
        calls.done(&ready[0].call);
        calls.add(call(1, "a", 0));
        assert!(calls.ready(0).is_empty());
        calls.asked();
        calls.add(call(1, "a", 0));
        assert_eq!(calls.ready(0).len(), 1, "somebody has asked for it anew");
    }
}
