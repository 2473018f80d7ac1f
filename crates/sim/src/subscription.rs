//! What a client believes of one live query, and what it may be told.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Tally;
use crate::patch;
use crate::truth::{Touch, Truth, Wish};

/// The last state that a client has applied, for coming back.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) wish: Wish,
    pub(crate) patches: bool,
    pub(crate) belief: Value,
    pub(crate) epoch: String,
    pub(crate) position: u64,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) last: Last,
    /// It began to watch somewhere between these positions, both included.
    began: (u64, u64),
}

impl Subscription {
    pub(crate) fn new(last: Last, began: (u64, u64)) -> Self {
        Self { last, began }
    }

    /// Takes a push. The position that it shows; for a client that is not told of it the earliest that it may be.
    pub(crate) fn push(&mut self, push: &Value, positions: bool, truth: &Truth, tally: &mut Tally) -> u64 {
        let Last { wish, patches, belief, position, .. } = &mut self.last;
        let before = belief.clone();
        if *patches {
            tally.patches += 1;
            patch::apply(belief, &push["patch"]);
        } else {
            *belief = push["data"].clone();
        }
        tally.pushes += 1;
        let (from, newest) = (*position + 1, truth.position());
        let other =
            |state: &Value| (from..=newest).find(|at| truth.result(wish, *at).as_ref() != Some(state));
        let told = push["position"].as_u64();
        assert_eq!(told.is_some(), *patches || positions, "a position for who knows positions: {push}");
        let shown = told.unwrap_or_else(|| {
            // One that repeats the state before has left out one that was different.
            let from = if *belief == before { other(&before).expect("a push of nothing new") } else { from };
            let shown = truth.earliest(wish, from..=newest, belief);
            shown
                .unwrap_or_else(|| panic!("true nowhere behind {position} up to {newest}: {wish:?} {belief}"))
        });
        assert!(shown >= from && shown <= newest, "{shown} behind {position}, at {newest}: {push}");
        let result = truth.result(wish, shown);
        assert_eq!(result.as_ref(), Some(&*belief), "{wish:?} at {shown} from {before} by {push}");
        if *belief == before {
            tally.repeated += 1;
            let differs = other(&before);
            assert!(differs.is_some_and(|at| at < shown), "a push of nothing new: {wish:?} {push}");
        } else if shown > from && shown - from < 8 {
            let result = truth.result(wish, from);
            tally.skipped += u64::from(result.is_some_and(|result| result != before && result != *belief));
        }
        *position = shown;
        shown
    }

    /// The server has ended it: there must have been a reason.
    pub(crate) fn ended(&self, code: &str, truth: &Truth, tally: &mut Tally) {
        let (wish, newest) = (&self.last.wish, truth.position());
        let (earliest, latest) = self.began;
        let gone = |touches: Vec<Touch>| touches.contains(&Touch::Gone);
        let reason = match code {
            "QUERY_NOT_DEFINED" => {
                tally.undefined += 1;
                wish.query.as_str().is_some_and(|name| gone(truth.query(name, earliest, newest)))
            }
            "BUCKET_NOT_DEFINED" => {
                tally.dropped += 1;
                // Its query may have been another one before it began.
                let buckets = (earliest..=latest).flat_map(|at| truth.buckets(wish, at));
                let buckets: BTreeSet<String> = buckets.collect();
                buckets.iter().any(|name| gone(truth.bucket(name, earliest, newest)))
            }
            _ => false,
        };
        assert!(reason, "ended by {code} without a reason: {self:?}");
    }

    /// The client has read everything that there was to read.
    pub(crate) fn is_quiet(&self, truth: &Truth) {
        let Last { wish, belief, position, .. } = &self.last;
        let newest = truth.position();
        if let Some(name) = wish.query.as_str() {
            let (_, latest) = self.began;
            let gone = truth.query(name, latest, newest).contains(&Touch::Gone);
            assert!(!gone, "nobody was told that its query is gone: {self:?}");
        }
        let result = truth.result(wish, newest);
        assert_eq!(result.as_ref(), Some(belief), "a gap: {wish:?} at {position}, now {newest}");
    }
}
