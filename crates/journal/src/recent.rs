//! The newest commits of a log that is being read, with the state before them: from these a server knows its recent past
//! after a start.

use dunlin_store::{Commit, Snapshot};

/// The newest commits, and the state that they follow.
#[derive(Debug, Clone)]
pub struct Past {
    /// The state before the first of them.
    pub before: Snapshot,
    /// Commits in order, up to the newest.
    pub commits: Vec<Commit>,
}

/// Keeps the newest commits: all from `from` on, or between `most` and twice as many.
pub(crate) struct Recent {
    most: usize,
    from: u64,
    older: Option<Past>,
    newer: Option<Past>,
}

impl Recent {
    /// `newest`: the newest position as far as that is known. What is long before it is not worth keeping, and while nothing
    /// is kept the state is not shared, so that nothing of it has to be copied.
    pub(crate) fn new(most: usize, newest: u64) -> Self {
        Self { most, from: newest.saturating_sub(most as u64), older: None, newer: None }
    }

    /// A commit is about to be applied to this state.
    pub(crate) fn before(&mut self, state: &Snapshot) {
        if self.newer.is_none() && self.most > 0 && state.position() >= self.from {
            self.newer = Some(Past { before: state.clone(), commits: Vec::new() });
        }
    }

    /// It was applied.
    pub(crate) fn after(&mut self, commit: Commit) {
        if let Some(newer) = &mut self.newer {
            newer.commits.push(commit);
            if newer.commits.len() == self.most {
                self.older = self.newer.take();
            }
        }
    }

    /// What is left; `None` if there were no commits.
    pub(crate) fn finish(self) -> Option<Past> {
        match (self.older, self.newer) {
            (Some(mut past), Some(newer)) => {
                past.commits.extend(newer.commits);
                Some(past)
            }
            (older, newer) => older.or(newer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_commits_are_kept_with_the_state_before_them() {
        let cases = [
            (3, 0, 0, 0),
            (3, 0, 2, 2),
            (3, 0, 3, 3),
            (3, 0, 8, 5),
            (3, 0, 9, 3),
            (1, 0, 5, 1),
            (0, 0, 4, 0),
            (3, 8, 8, 3),
            (3, 9, 8, 2),
            (3, 100, 8, 0),
        ];
        for (most, newest, count, kept) in cases {
            let mut state = Snapshot::new("e");
            let mut recent = Recent::new(most, newest);
            for position in 1..=count {
                let commit = Commit { position, at: 0, changes: Vec::new() };
                recent.before(&state);
                state.apply(&commit).unwrap();
                recent.after(commit);
            }
            let past = recent.finish();
            let positions: Vec<u64> =
                past.iter().flat_map(|past| &past.commits).map(|c| c.position).collect();
            assert_eq!(
                positions,
                (count + 1 - kept..=count).collect::<Vec<_>>(),
                "{count}, {most} of {newest}"
            );
            if let Some(past) = past {
                assert_eq!(past.before.position(), count - kept);
            }
        }
    }
}
