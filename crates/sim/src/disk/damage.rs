//! Damage at rest: a file is not what it was when nobody looked.

use std::fmt;

use super::SimDisk;
use crate::chance::Chance;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Bit,
    Byte,
    Sector,
    Cut,
    Removed,
}

impl How {
    pub(crate) const ALL: [Self; 5] = [Self::Bit, Self::Byte, Self::Sector, Self::Cut, Self::Removed];
}

/// What was done to a file, and what it was before.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    pub(crate) how: How,
    pub(crate) name: String,
    at: usize,
    before: Vec<u8>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} at {} of {}", self.how, self.name, self.at, self.before.len())
    }
}

impl Damage {
    /// Whether it is within one byte.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.how, How::Bit | How::Byte)
    }
}

impl SimDisk {
    /// Damages a file that is not to be spared. Everything is at rest: what was written is on the disk. `None`: there is
    /// nothing to damage.
    pub(crate) fn damage(
        &self,
        how: How,
        spared: impl Fn(&str) -> bool,
        chance: &mut Chance,
    ) -> Option<Damage> {
        let mut state = self.state();
        state.settle();
        let names = state.names.seen.iter().filter(|(name, _)| !spared(name));
        let names: Vec<(String, u64)> = names.map(|(name, file)| (name.clone(), *file)).collect();
        if names.is_empty() {
            return None;
        }
        let (name, file) = chance.pick(&names).clone();
        let content = state.files.get_mut(&file).unwrap();
        let before = content.seen.clone();
        // Mostly where there is something: space that was taken ahead is the larger part of a file.
        let used = before.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let length = if chance.once_in(8) { before.len() } else { used };
        if length == 0 && how != How::Removed {
            return None;
        }
        let at = chance.below(length.max(1));
        match how {
            How::Bit => content.seen[at] ^= 1 << chance.below(8),
            How::Byte => content.seen[at] ^= u8::try_from(chance.within(1, 256)).unwrap(),
            How::Sector => {
                let from = at / 512 * 512;
                let to = content.seen.len().min(from + 512);
                content.seen[from..to].fill(0);
            }
            How::Cut => content.seen.truncate(at),
            How::Removed => {}
        }
        content.durable.clone_from(&content.seen);
        if how == How::Removed {
            state.remove_at_rest(&name);
        } else if content.seen == before {
            return None;
        }
        Some(Damage { how, name, at, before })
    }

    /// Whether what was damaged is as it was, by whomever that was done.
    pub(crate) fn is_undone(&self, damage: &Damage) -> bool {
        let state = self.state();
        let content = state.names.seen.get(&damage.name).and_then(|file| state.files.get(file));
        content.is_some_and(|content| content.seen.get(damage.at) == damage.before.get(damage.at))
    }

    /// The same, on the disk for sure. So it is too if there is no such file any more.
    pub(crate) fn is_healed(&self, damage: &Damage) -> bool {
        let state = self.state();
        let content = state.names.seen.get(&damage.name).and_then(|file| state.files.get(file));
        content.is_none_or(|content| content.durable.get(damage.at) == damage.before.get(damage.at))
    }

    /// Somebody puts the file back as it was.
    pub(crate) fn undo(&self, damage: &Damage) {
        let mut state = self.state();
        state.settle();
        state.put_at_rest(&damage.name, damage.before.clone());
    }
}
