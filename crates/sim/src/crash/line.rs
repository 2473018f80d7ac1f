//! What must be there: the states that a recovery may give, and whether it gives one of them.

use std::collections::BTreeMap;

use dunlin_store::{Bucket, Snapshot};

/// The states that may come back, by position. All are states after a whole batch.
#[derive(Debug)]
pub(super) struct Line {
    /// Up to the one that was acknowledged last. From `floor` on, each may come back if the power is cut.
    states: BTreeMap<u64, Snapshot>,
    /// What is surely on the disk.
    floor: u64,
    /// Written, and not acknowledged: there whole, or not at all.
    open: Option<Snapshot>,
}

/// Which of the states it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The one acknowledged last, and nothing had been open.
    Back,
    /// The same, without the batch that was open.
    Without,
    /// The batch that was open is there.
    With,
    /// An earlier one.
    Earlier,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { states: BTreeMap::new(), floor: 0, open: None }
    }

    /// The state acknowledged last; `None` before the first opening.
    pub(super) fn newest(&self) -> Option<&Snapshot> {
        self.states.last_key_value().map(|(_, state)| state)
    }

    pub(super) fn open(&mut self, state: Snapshot) {
        assert!(self.open.is_none(), "one batch is open at a time");
        self.open = Some(state);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn acknowledge(&mut self) {
        let state = self.open.take().unwrap();
        self.states.insert(state.position(), state);
    }

    /// All that is acknowledged is on the disk.
    pub(super) fn settle(&mut self) {
        let newest = self.newest().map_or(0, Snapshot::position);
        self.floor = newest;
        self.states = self.states.split_off(&newest);
    }

    /// A recovery gave this. `lossy`: it may be an earlier state. `open`: the batch that is open may be there.
    pub(super) fn recovered(&mut self, state: &Snapshot, lossy: bool, open: bool) -> Result<Came, String> {
        let position = state.position();
        let Some(newest) = self.newest().cloned() else {
            if position != 0 {
                return Err(format!("a new directory is at {position}"));
            }
            self.states.insert(0, state.clone());
            return Ok(Came::Back);
        };
        let was_open = self.open.is_some();
        if position == 0 && newest.position() == 0 {
            // Nothing was written yet: it may be another history, begun anew.
            self.states.insert(0, state.clone());
            self.open = None;
            return Ok(if was_open { Came::Without } else { Came::Back });
        }
        let came = if position == newest.position() {
            differs(&newest, state)?;
            if was_open { Came::Without } else { Came::Back }
        } else if let Some(batch) = self.open.as_ref().filter(|batch| batch.position() == position) {
            if !open {
                return Err(format!("the failed batch up to {position} is there"));
            }
            differs(batch, state)?;
            Came::With
        } else if let Some(earlier) = self.states.get(&position).filter(|_| position >= self.floor && lossy) {
            differs(earlier, state)?;
            Came::Earlier
        } else {
            let least = if lossy { self.floor } else { newest.position() };
            let open = self.open.as_ref().map(Snapshot::position);
            return Err(format!(
                "it is at {position}; acknowledged is {}, sure is {least}, open is {open:?}",
                newest.position()
            ));
        };
        self.open = None;
        self.states.split_off(&position);
        self.states.insert(position, state.clone());
        self.floor = self.floor.min(position);
        Ok(came)
    }
}

/// Compares everything that a state holds. Of buckets that are not kept the records may be missing, all of them.
pub(super) fn differs(expected: &Snapshot, found: &Snapshot) -> Result<(), String> {
    // Where nothing is written, another history may have begun.
    let epoch =
        |state: &Snapshot| if state.position() == 0 { String::new() } else { state.epoch().to_owned() };
    let heads = |state: &Snapshot| (epoch(state), state.position(), state.next_bucket());
    if heads(expected) != heads(found) {
        return Err(format!("{:?} is expected, {:?} is there", heads(expected), heads(found)));
    }
    let queries = |state: &Snapshot| -> Vec<(String, String)> {
        state.queries().map(|query| (query.name().to_string(), query.config().to_string())).collect()
    };
    if queries(expected) != queries(found) {
        return Err(format!("queries {:?} are expected, {:?} are there", queries(expected), queries(found)));
    }
    let answers = |state: &Snapshot| -> Vec<String> {
        let answers = state.answers().map(|answer| {
            let (scope, key, body) = (&answer.scope, &answer.key, answer.body.json());
            format!("{scope} {key} {} {} {} {body}", answer.fingerprint, answer.position, answer.expires_at)
        });
        answers.collect()
    };
    if answers(expected) != answers(found) {
        return Err(format!("answers {:?} are expected, {:?} are there", answers(expected), answers(found)));
    }
    let entries = |state: &Snapshot| -> Vec<(String, String)> {
        state.entries("").map(|(key, value)| (key.to_string(), value.to_string())).collect()
    };
    if entries(expected) != entries(found) {
        return Err(format!("entries {:?} are expected, {:?} are there", entries(expected), entries(found)));
    }
    let (expected, found): (Vec<_>, Vec<_>) = (expected.buckets().collect(), found.buckets().collect());
    if expected.len() != found.len() {
        return Err(format!("{} buckets are expected, {} are there", expected.len(), found.len()));
    }
    expected.iter().zip(found).try_for_each(|(expected, found)| bucket_differs(expected, found))
}

fn bucket_differs(expected: &Bucket, found: &Bucket) -> Result<(), String> {
    let name = expected.name();
    if (expected.id(), name, expected.config()) != (found.id(), found.name(), found.config()) {
        return Err(format!("bucket {name} {} is {} {}", expected.config(), found.name(), found.config()));
    }
    if !expected.definition().is_persistent() && found.is_empty() {
        return Ok(());
    }
    if expected.counters() != found.counters() {
        return Err(format!(
            "{name}: {:?} are expected, {:?} are there",
            expected.counters(),
            found.counters()
        ));
    }
    let rows = |bucket: &Bucket| -> Vec<(u64, String)> {
        bucket.rows().map(|(row, record)| (row.0, record.json().to_owned())).collect()
    };
    let same = expected
        .rows()
        .map(|(row, record)| (row, record.json()))
        .eq(found.rows().map(|(row, record)| (row, record.json())));
    if same {
        Ok(())
    } else {
        Err(format!("{name}: {:?} are expected, {:?} are there", rows(expected), rows(found)))
    }
}
