//! What has happened, to see that everything does.

use std::collections::BTreeMap;
use std::fmt;

use crate::disk::{How, Kind, Moment};

/// How often each thing has happened, by its name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u64>);

/// What happens beside strikes and damage.
const EVENTS: [&str; 27] = [
    "append acknowledged",
    "append failed",
    "append failed, then nothing of it there",
    "append struck by a crash, then nothing of it there",
    "append struck by a crash, then all of it there",
    "append refused until recovered",
    "recovered in service",
    "recovered in service after ENOSPC",
    "recovery in service failed",
    "background step",
    "background step failed",
    "background step struck by a crash",
    "background work done",
    "image completed",
    "killed",
    "power cut",
    "closed",
    "opened",
    "opened again after closing",
    "opening failed",
    "opening struck by a crash",
    "lost what was not synced",
    "space bounded",
    "long record",
    "synced",
    "sync failed",
    "everything repeated",
];

/// What happens in worlds with rules.
const WITH_RULES: [&str; 18] = [
    "firing",
    "event told",
    "report",
    "batch with rules taken back",
    "timer pending at a crash",
    "pattern pending at a crash",
    "firing that waits at a crash",
    "call pending at a crash",
    "dead letter at a crash",
    "call to be made",
    "call to be made again",
    "call made",
    "call made again after a crash",
    "answer fed again",
    "lookup answered",
    "keyed write or input repeated",
    "carried out once more in one life",
    "append struck by a crash, then all of it there",
];

impl Tally {
    pub(super) fn count_all(&mut self, what: &str, times: u64) {
        if times > 0 {
            *self.0.entry(what.to_owned()).or_default() += times;
        }
    }

    pub(super) fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Adds another one to this one.
    pub fn add(&mut self, other: &Self) {
        self.add_all(&other.0);
    }

    pub(super) fn add_all(&mut self, other: &BTreeMap<String, u64>) {
        for (what, times) in other {
            *self.0.entry(what.clone()).or_default() += times;
        }
    }

    /// What should have happened in many worlds, and has not.
    pub fn missing(&self) -> Vec<String> {
        let mut expected: Vec<String> = EVENTS.map(str::to_owned).to_vec();
        for kind in Kind::CHANGES {
            expected.extend(Moment::ALL.map(|moment| format!("crash {moment} {kind}")));
            expected.extend(Moment::ALL.map(|moment| format!("EIO {moment} {kind}")));
        }
        for kind in [Kind::Create, Kind::Write, Kind::Reserve, Kind::Sync] {
            expected.extend(Moment::ALL.map(|moment| format!("ENOSPC {moment} {kind}")));
        }
        for how in How::ALL {
            let small = matches!(how, How::Bit | How::Byte);
            let ends: &[&str] = if small { &["mended"] } else { &["harmless", "refused"] };
            expected.extend(ends.iter().map(|end| format!("damage {how:?}, {end}")));
        }
        expected.retain(|what| !self.0.contains_key(what));
        expected
    }
}

impl Tally {
    /// The same for worlds with rules.
    pub fn missing_of_rules(&self) -> Vec<&'static str> {
        WITH_RULES.into_iter().filter(|what| !self.0.contains_key(*what)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.0 {
            writeln!(f, "{times:>10}  {what}")?;
        }
        Ok(())
    }
}
