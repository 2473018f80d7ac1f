//! Which files there are: the names that a process sees, those that a power cut leaves, and what lies between the two.

use std::collections::BTreeMap;

use super::Survival;
use crate::chance::Chance;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Made { name: String, file: u64 },
    Renamed { from: String, to: String, file: u64 },
    Removed { name: String, file: u64 },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Made { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Renamed { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Removed { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
        }
    }

    fn file(&self) -> u64 {
        match self {
            Self::Made { file, .. } | Self::Renamed { file, .. } | Self::Removed { file, .. } => *file,
        }
    }

    fn is_of(&self, prefix: &str) -> bool {
        match self {
            Self::Made { name, .. } | Self::Removed { name, .. } => name.starts_with(prefix),
            Self::Renamed { from, to, .. } => from.starts_with(prefix) || to.starts_with(prefix),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) seen: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<(u64, Change)>,
}

impl Names {
    pub(super) fn change(&mut self, number: u64, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push((number, change));
    }

    pub(super) fn is_settled(&self, prefix: &str) -> bool {
        !self.pending.iter().any(|(_, change)| change.is_of(prefix))
    }

    pub(super) fn sync(&mut self) {
        for (_, change) in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync has come to some of them, and no further. The others wait; of one file they are done in order.
    pub(super) fn sync_part(&mut self, chance: &mut Chance) {
        for (number, change) in std::mem::take(&mut self.pending) {
            let waits = self.pending.iter().any(|(_, waiting)| waiting.file() == change.file());
            if !waits && chance.once_in(2) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push((number, change));
            }
        }
    }

    pub(super) fn cut_power(&mut self, survival: Survival, chance: &mut Chance) {
        for (number, change) in self.pending.drain(..) {
            // A name changes at once or not at all.
            if survival.of(number, chance) == Some(true) {
                change.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
    }
}
