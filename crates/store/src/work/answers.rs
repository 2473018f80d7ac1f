//! Forgets answers whose time is over.

use crate::draft::Draft;
use crate::limits::FORGOTTEN_AT_ONCE;
use crate::{Change, Outcome, StoreError};

/// Forgets those that are due at `now`, the earliest first: so many that nobody waits for long.
pub(super) fn forget(draft: &mut Draft<'_>, now: u64) -> Result<Outcome, StoreError> {
    let before = draft.state().answers.usage().answers;
    let due = draft.state().answers().take_while(|answer| answer.expires_at <= now).take(FORGOTTEN_AT_ONCE);
    let Some(until) = due.map(|answer| answer.expires_at).max() else { return Ok(Outcome::Forgotten(0)) };
    draft.change(Change::Forget { until })?;
    Ok(Outcome::Forgotten(before - draft.state().answers.usage().answers))
}
