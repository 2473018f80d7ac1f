//! What a client makes of what it is told, and whether that may be.

use serde_json::{Value, json};

use crate::client::{Asked, Link, Request};
use crate::hearing::Hearing;
use crate::subscription::{Last, Subscription};
use crate::truth::Touch;
use crate::{Tally, note, patch};

/// What an answer to a well-formed request may refuse it for.
const REFUSALS: [&str; 6] = [
    "VALIDATION_ERROR",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "CONFLICT",
    "BUCKET_NOT_DEFINED",
    "QUERY_NOT_DEFINED",
];

/// Ticks within which somebody who reads has an answer, whatever others do.
const PROMPT: u64 = 4;

impl Link {
    /// Takes a message.
    pub(crate) fn take(&mut self, text: &str, tick: u64, tally: &mut Tally) {
        let message: Value = serde_json::from_str(text).unwrap();
        note(|| format!("{tick:>6} {} < {text:.300}", self.name));
        match message["type"].as_str().unwrap() {
            "welcome" => {}
            "ping" => self.pipe.send(&json!({"type": "pong", "timestamp": message["timestamp"]}).to_string()),
            "result" | "error" => self.answered(&message, tick, tally),
            "push" if message["channel"] == "event" => {
                let hearing = self.hearings.get_mut(message["subscriptionId"].as_str().unwrap());
                let hearing = hearing.unwrap_or_else(|| panic!("an event for nobody: {message}"));
                hearing.push(&message, self.positions, &self.truth, tally);
            }
            "push" => {
                let id = message["subscriptionId"].as_str().unwrap();
                let subscription = self.subscriptions.get_mut(id);
                let subscription = subscription.unwrap_or_else(|| panic!("a push for nobody: {message}"));
                let shown = subscription.push(&message, self.positions, &self.truth, tally);
                if message["position"].is_u64() {
                    self.newest_push = self.newest_push.max(shown);
                }
            }
            "system" if message["event"] == "shutdown" => assert!(self.doomed, "{message}"),
            "system" => {
                assert_eq!(message["event"], "subscription_ended", "{message}");
                let (id, code) =
                    (message["subscriptionId"].as_str().unwrap(), message["code"].as_str().unwrap());
                if let Some(hearing) = self.hearings.remove(id) {
                    hearing.ended(code, &self.truth, tally);
                    return;
                }
                let ended = self.subscriptions.remove(id);
                let ended = ended.unwrap_or_else(|| panic!("one ends that is none: {message}"));
                ended.ended(code, &self.truth, tally);
            }
            other => panic!("nobody promised a {other}: {message}"),
        }
    }

    fn answered(&mut self, answer: &Value, tick: u64, tally: &mut Tally) {
        let request = self.requests.pop_front().unwrap_or_else(|| panic!("not asked: {answer}"));
        let Request { id, asked, tick: at, faults } = request;
        let failed = self.doomed || self.truth.faults() > faults;
        assert_eq!(answer["id"], id, "answers come in the order of requests");
        assert!(
            !self.prompt || failed || tick - at <= PROMPT,
            "it had to wait {} ticks: {answer}",
            tick - at
        );
        let data = &answer["data"];
        if answer["type"] == "error" {
            let code = answer["code"].as_str().unwrap();
            // When the journal fails; and while the server stops, the store may be gone before the connection is.
            let interrupted = failed && code == "INTERNAL_ERROR";
            assert!(interrupted || REFUSALS.contains(&code), "{asked:?}: {answer}");
            if let Asked::Subscribe { last, at } = &asked {
                let missing =
                    (*at..=self.truth.position()).any(|at| self.truth.result(&last.wish, at).is_none());
                assert!(interrupted || missing, "refused without a reason: {last:?} {answer}");
            }
            return;
        }
        match asked {
            Asked::Hello => assert_eq!(data["epoch"], self.truth.epoch()),
            Asked::Other => {}
            Asked::Write { certain } => {
                assert_eq!(answer["position"].is_u64(), self.positions, "{answer}");
                if let (Some(position), true) = (answer["position"].as_u64(), certain) {
                    let newest = self.newest_push;
                    assert!(
                        newest < position,
                        "a push of {newest} before the result it follows from: {answer}"
                    );
                }
            }
            Asked::Hear { pattern, at } => {
                let id = data["subscriptionId"].as_str().unwrap().to_owned();
                let hearing = Hearing::new(pattern, at, faults, &self.truth);
                assert!(self.hearings.insert(id, hearing).is_none(), "{answer}");
            }
            Asked::HearNoMore(id) => {
                assert!(self.hearings.remove(&id).is_some(), "{id} was no subscription: {answer}");
            }
            Asked::Facts { at } => {
                let facts = data.as_array().unwrap();
                let found = (at..=self.truth.position()).any(|at| self.truth.facts(at) == *facts);
                assert!(found, "these are the facts nowhere from {at} on: {data}");
            }
            Asked::Unsubscribe(id) => {
                assert!(self.subscriptions.remove(&id).is_some(), "{id} was no subscription: {answer}");
            }
            Asked::Subscribe { last, at } => {
                let id = data["subscriptionId"].as_str().unwrap().to_owned();
                let subscription = self.subscribed(*last, at, data, tally);
                assert!(self.subscriptions.insert(id, subscription).is_none(), "{answer}");
            }
        }
    }

    /// A subscription begins; its client had asked for it when the newest position was `asked_at`.
    fn subscribed(&self, last: Last, asked_at: u64, data: &Value, tally: &mut Tally) -> Subscription {
        let (truth, newest) = (&self.truth, self.truth.position());
        let known = !last.epoch.is_empty();
        let wish = last.wish.clone();
        if !last.patches && !known {
            let belief = data["data"].clone();
            let shown = truth.earliest(&wish, asked_at..=newest, &belief);
            let shown = shown.unwrap_or_else(|| panic!("nowhere true from {asked_at} on: {wish:?} {belief}"));
            let last = Last { belief, epoch: truth.epoch(), position: shown, ..last };
            return Subscription::new(last, (shown, newest));
        }
        assert_eq!(data["epoch"], truth.epoch());
        let position = data["position"].as_u64().unwrap();
        assert!(position >= asked_at && position <= newest, "{position} of {asked_at}..={newest}");
        let resumed = data["resumed"].as_bool().unwrap();
        let mut belief = last.belief.clone();
        if resumed {
            assert!(known && data.get("data").is_none(), "{data}");
            assert_eq!(last.epoch, truth.epoch(), "resumed in another history");
            patch::apply(&mut belief, &data["patch"]);
        } else {
            assert!(data.get("patch").is_none(), "{data}");
            belief = data["data"].clone();
        }
        if known {
            *(if resumed { &mut tally.resumed } else { &mut tally.not_resumed }) += 1;
            let must = self.must_resume(&last, position);
            assert!(resumed || !must, "not resumed from {} to {position}: {last:?}", last.position);
        }
        let result = truth.result(&wish, position);
        assert_eq!(result.as_ref(), Some(&belief), "{wish:?} at {position} of {last:?} by {data}");
        let last = Last { belief, epoch: truth.epoch(), position, ..last };
        Subscription::new(last, (position, position))
    }

    /// Whether everything is held that is needed to tell what somebody has missed.
    fn must_resume(&self, last: &Last, now: u64) -> bool {
        let truth = &self.truth;
        let Last { wish, epoch, position, .. } = last;
        let from = self.held_from.max(truth.failed_until());
        let held = *epoch == truth.epoch() && *position >= from && now <= position + self.held_commits;
        let same = wish.query.as_str().is_none_or(|name| truth.query(name, *position, now).is_empty());
        let buckets = truth.buckets(wish, now);
        let untouched = |name: &String| -> bool {
            let touches: Vec<Touch> = truth.bucket(name, *position, now);
            touches.is_empty()
        };
        held && same && buckets.iter().all(untouched)
    }
}
