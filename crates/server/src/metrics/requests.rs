//! Counting requests where there are a million of them in a second: on the side during a batch, added up once behind it.

use std::time::Duration;

use dunlin_protocol::{Code, Kind};

use super::Metrics;
use super::labels::{Labels, Operation, Outcome, Served};
use crate::limits;

// One bit for each operation.
const _: () = assert!(Operation::COUNT <= u128::BITS as usize);
// One byte for each number, as they are those of one batch at most.
const _: () = assert!(limits::BATCH_FRAMES <= u8::MAX as usize);

/// What was answered since it was last [added up](Metrics::answered): of one batch, at most.
pub(crate) struct Tally {
    /// The operations there were.
    seen: u128,
    ok: [u8; Operation::COUNT],
    failed: [u8; Operation::COUNT],
    codes: [u8; Code::ALL.len()],
}

impl Tally {
    pub(crate) const fn new() -> Self {
        const NONE: [u8; Operation::COUNT] = [0; Operation::COUNT];
        Self { seen: 0, ok: NONE, failed: NONE, codes: [0; Code::ALL.len()] }
    }

    /// One more request is answered, with a result or with an error of this code.
    pub(crate) fn answered(&mut self, kind: Option<Kind>, error: Option<Code>) {
        let place = Operation(kind).place();
        self.seen |= 1 << place;
        match error {
            None => self.ok[place] += 1,
            Some(code) => {
                self.failed[place] += 1;
                self.codes[code.index()] += 1;
            }
        }
    }
}

impl Metrics {
    /// Adds up what was answered, each in this time, and empties the tally.
    pub(crate) fn answered(&self, tally: &mut Tally, took: Duration) {
        let mut left = std::mem::take(&mut tally.seen);
        let mut failures = 0;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            let operation = Operation::at(place);
            let ok = u64::from(std::mem::take(&mut tally.ok[place]));
            let failed = u64::from(std::mem::take(&mut tally.failed[place]));
            for (outcome, times) in [(Outcome::Ok, ok), (Outcome::Error, failed)] {
                if times > 0 {
                    self.requests.of(Served(operation, outcome)).increment(times);
                }
            }
            self.request_seconds.record_many(operation, took, ok + failed);
            failures += failed;
        }
        if failures > 0 {
            for (code, times) in Code::ALL.into_iter().zip(&mut tally.codes) {
                let times = std::mem::take(times);
                if times > 0 {
                    self.request_errors.of(code).increment(times.into());
                }
            }
        }
    }
}
