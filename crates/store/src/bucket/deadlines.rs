//! When the records of a bucket are due to be removed.

use imbl::OrdSet;

use crate::rows::RowTable;
use crate::{Record, RowId};

/// The rows that have an `_expiresAt`, earliest first. Finding what is due costs what is due, never a scan.
#[derive(Clone, Default)]
pub(crate) struct Deadlines(OrdSet<(u64, RowId)>);

impl Deadlines {
    pub(crate) fn of(rows: &RowTable<Record>) -> Self {
        Self(rows.iter().filter_map(|(row, record)| Some((record.expires_at()?, RowId(row)))).collect())
    }

    /// A row's record changes from `old` to `new`; `None` is no record.
    pub(crate) fn replace(&mut self, row: RowId, old: Option<&Record>, new: Option<&Record>) {
        let (before, after) = (old.and_then(Record::expires_at), new.and_then(Record::expires_at));
        if before == after {
            return;
        }
        if let Some(time) = before {
            self.0.remove(&(time, row));
        }
        if let Some(time) = after {
            self.0.insert((time, row));
        }
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.get_min().map(|(time, _)| *time)
    }

    /// The rows due at `now`, earliest first.
    pub(crate) fn until(&self, now: u64) -> impl Iterator<Item = RowId> {
        self.0.range(..=(now, RowId(u64::MAX))).map(|(_, row)| *row)
    }
}
