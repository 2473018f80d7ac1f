//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds; 0 for a clock set before 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
