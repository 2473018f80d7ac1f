//! What goes wrong, and at which operation.

use std::fmt;
use std::io;

/// An operation of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Names,
    Open,
    Size,
    Read,
    Create,
    Rename,
    Remove,
    SyncNames,
    Write,
    Reserve,
    Cut,
    Sync,
}

impl Kind {
    /// Those that change something.
    pub(crate) const CHANGES: [Self; 8] = [
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncNames,
        Self::Write,
        Self::Reserve,
        Self::Cut,
        Self::Sync,
    ];

    pub(super) fn changes(self) -> bool {
        Self::CHANGES.contains(&self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Names => "names",
            Self::Open => "open",
            Self::Size => "size",
            Self::Read => "read",
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncNames => "sync_names",
            Self::Write => "write",
            Self::Reserve => "reserve",
            Self::Cut => "cut",
            Self::Sync => "sync",
        })
    }
}

/// How much of the operation is done when it is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing.
    Before,
    /// A part.
    Within,
    /// All.
    After,
}

impl Moment {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Within, Self::After];
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Within => "within",
            Self::After => "after",
        })
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The process ends.
    Crash,
    /// The disk fails (`EIO`), and goes on failing for so many operations.
    Broken { lasts: u64 },
    /// It is full (`ENOSPC`), for so many operations.
    Full { lasts: u64 },
}

impl Strike {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Crash => dead(),
            Self::Broken { .. } => io::Error::other("the simulated disk fails"),
            Self::Full { .. } => io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::Broken { .. } => "EIO",
            Self::Full { .. } => "ENOSPC",
        })
    }
}

/// What a process gets that has ended: it must not come to believe that anything was done.
pub(super) fn dead() -> io::Error {
    io::Error::other("the simulated process has ended")
}

/// A strike at the first operation that fits, from this one on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) at: u64,
    pub(crate) moment: Moment,
    pub(crate) strike: Strike,
    /// Operations that only read do not count.
    pub(crate) changes: bool,
}

/// Everything that is going to go wrong.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) planned: Vec<Planned>,
    /// What goes wrong now, and until when.
    lasting: Option<(Strike, u64)>,
}

impl Plan {
    /// What happens to this operation. `grows`: it takes space.
    pub(super) fn strike(
        &mut self,
        number: u64,
        kind: Kind,
        grows: bool,
    ) -> Option<(Strike, Option<Moment>)> {
        self.lasting = self.lasting.filter(|(_, until)| number < *until);
        let struck = |strike| match strike {
            Strike::Full { .. } => grows || kind == Kind::Sync,
            Strike::Crash | Strike::Broken { .. } => true,
        };
        let fits = |planned: &Planned| {
            planned.at <= number && (!planned.changes || kind.changes()) && struck(planned.strike)
        };
        if let Some(index) = self.planned.iter().position(fits) {
            let Planned { moment, strike, .. } = self.planned.swap_remove(index);
            if let Strike::Broken { lasts } | Strike::Full { lasts } = strike
                && lasts > 0
            {
                self.lasting = Some((strike, number + lasts));
            }
            return Some((strike, Some(moment)));
        }
        let (strike, _) = self.lasting?;
        let again = match strike {
            // What has its space already can be written and synced.
            Strike::Full { .. } => grows,
            Strike::Crash | Strike::Broken { .. } => kind.changes(),
        };
        again.then_some((strike, None))
    }

    pub(super) fn calm(&mut self) {
        *self = Self::default();
    }
}
