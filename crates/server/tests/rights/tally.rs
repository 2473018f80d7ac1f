//! What has happened, to see that everything does.

use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, u64>);

/// Each must have happened in a whole run.
const ALL: [&str; 17] = [
    "forbidden",
    "pushes",
    "patches",
    "resumed",
    "not resumed",
    "not resumed under other rules",
    "ended by FORBIDDEN",
    "ended by UNAUTHORIZED",
    "went on under other rules",
    "judged by what came behind the request",
    "policies",
    "logins",
    "changes of mind",
    "logouts",
    "embedded writes",
    "repeats",
    "quiet points",
];

impl Tally {
    pub(crate) fn count(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Every kind of operation was both done and refused, and everything else happened, too.
    pub(crate) fn everything_has_happened(&self) {
        let kinds = crate::rights::READS.iter().chain(&crate::rights::WRITES);
        for kind in kinds.filter(|kind| **kind != "store.unsubscribe") {
            for outcome in ["done", "FORBIDDEN"] {
                let what = format!("{kind} {outcome}");
                assert!(self.of(&what) > 0, "never happened: {what}");
            }
        }
        for what in ALL {
            assert!(self.of(what) > 0, "never happened: {what}");
        }
    }
}
