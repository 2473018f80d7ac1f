//! Does the client take what it is sent? The clock for a socket that has something to write.

use std::time::Duration;

use tokio::time::Instant;

/// Notes since when a socket has accepted nothing of what waits for it.
#[derive(Debug)]
pub(crate) struct Stall {
    patience: Duration,
    /// Bytes it had accepted then, and when that was; `None` while nothing waits.
    since: Option<(u64, Instant)>,
}

impl Stall {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, since: None }
    }

    /// Nothing waits any more.
    pub(crate) fn over(&mut self) {
        self.since = None;
    }

    /// Something waits, and the socket has accepted `written` bytes so far. Whether that is news.
    pub(crate) fn waits(&mut self, written: u64, now: impl FnOnce() -> Instant) -> bool {
        let news = self.since.is_none_or(|(before, _)| before != written);
        if news {
            self.since = Some((written, now()));
        }
        news
    }

    /// When patience ends, if something waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|(_, since)| since + self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_from_the_last_byte_that_was_taken() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut stall = Stall::new(Duration::from_millis(100));
        assert_eq!(stall.deadline(), None);
        assert!(stall.waits(5, || at(0)));
        assert!(!stall.waits(5, || at(50)));
        assert_eq!(stall.deadline(), Some(at(100)));
        assert!(stall.waits(6, || at(90)));
        assert_eq!(stall.deadline(), Some(at(190)));
        stall.over();
        assert_eq!(stall.deadline(), None);
    }
}
