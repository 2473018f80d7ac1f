//! What a file holds: what a process reads, what a power cut leaves, and what lies between the two.

use super::Survival;
use crate::chance::Chance;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Un-synced changes of a file that wait at most; older ones the system has written by itself.
const PENDING: usize = 200;

/// A change of a file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { at: usize, data: Vec<u8> },
    Cut(usize),
    Reserve(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(data);
            }
            Self::Cut(size) => bytes.resize(*size, 0),
            Self::Reserve(size) => bytes.resize(bytes.len().max(*size), 0),
        }
    }

    /// A part of it: torn at some byte, or some of its sectors. Of the others the file may have the length already, and
    /// then they read as zeros where nothing was before.
    pub(super) fn apply_part(&self, bytes: &mut Vec<u8>, chance: &mut Chance) {
        match self {
            Self::Write { at, data } if !data.is_empty() => {
                let way = chance.below(3);
                if way == 0 {
                    let length = chance.below(data.len());
                    Self::Write { at: *at, data: data[..length].to_vec() }.apply(bytes);
                    return;
                }
                if way == 1 {
                    bytes.resize(bytes.len().max(at + data.len()), 0);
                }
                let (mut from, end) = (*at, at + data.len());
                while from < end {
                    let to = end.min((from / SECTOR + 1) * SECTOR);
                    if chance.once_in(2) {
                        Self::Write { at: from, data: data[from - at..to - at].to_vec() }.apply(bytes);
                    }
                    from = to;
                }
            }
            Self::Reserve(size) if *size > bytes.len() => {
                Self::Reserve(bytes.len() + chance.below(size - bytes.len())).apply(bytes);
            }
            // The length of a file changes at once or not at all.
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What a process reads.
    pub(super) seen: Vec<u8>,
    /// What is on the disk for sure.
    pub(super) durable: Vec<u8>,
    /// What was done since, each with the number of its operation.
    pending: Vec<(u64, Change)>,
    /// A sync has failed: some of what is seen will never be durable, and nobody will say so again.
    pub(super) betrayed: bool,
}

impl Content {
    pub(super) fn at_rest(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, pending: Vec::new(), betrayed: false }
    }

    pub(super) fn change(&mut self, number: u64, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push((number, change));
        if self.pending.len() > PENDING {
            self.pending.remove(0).1.apply(&mut self.durable);
        }
    }

    /// A part of a change.
    pub(super) fn change_part(&mut self, number: u64, part_of: &Change, chance: &mut Chance) {
        let mut whole = self.seen.clone();
        part_of.apply_part(&mut whole, chance);
        // What is done of it is a change as well, which may survive or not.
        match part_of {
            Change::Write { at, data } if whole.len() > *at => {
                let data = whole[*at..whole.len().min(at + data.len())].to_vec();
                self.change(number, Change::Write { at: *at, data });
            }
            Change::Reserve(_) => self.change(number, Change::Reserve(whole.len())),
            _ => {}
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && !self.betrayed
    }

    pub(super) fn sync(&mut self) {
        for (_, change) in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync has failed. What it did not write is forgotten: later syncs succeed without it. What is read may be what was
    /// to be written, or (`evict`) what is on the disk.
    pub(super) fn betray(&mut self, survival: Survival, evict: bool, chance: &mut Chance) {
        self.fall(survival, true, chance);
        self.betrayed |= self.durable != self.seen;
        if evict {
            self.seen.clone_from(&self.durable);
        }
    }

    /// The power is cut.
    pub(super) fn cut_power(&mut self, survival: Survival, chance: &mut Chance) {
        self.fall(survival, false, chance);
        self.seen.clone_from(&self.durable);
        self.betrayed = false;
    }

    /// `cuts`: they take place in any case. Systems keep lengths in a log of their own; if that fails, nothing works any more.
    fn fall(&mut self, survival: Survival, cuts: bool, chance: &mut Chance) {
        for (number, change) in self.pending.drain(..) {
            match survival.of(number, chance) {
                _ if cuts && matches!(change, Change::Cut(_)) => change.apply(&mut self.durable),
                Some(true) => change.apply(&mut self.durable),
                Some(false) => change.apply_part(&mut self.durable, chance),
                None => {}
            }
        }
    }
}
