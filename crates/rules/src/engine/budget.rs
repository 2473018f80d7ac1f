//! What one input may take, and how a rule that takes all of it leaves something to its neighbours.

use crate::Limits;

/// How much is left, and what there will be when that is used up.
///
/// Before each rule that the input itself has reached, what is used up is filled again, each time with half as much as before: a rule
/// that loops ends its own chain and none of those beside it, and all rules together take at most twice the bound.
#[derive(Debug)]
pub(super) struct Share {
    left: u64,
    next: u64,
}

impl Share {
    pub(super) const fn new(limit: u64) -> Self {
        Self { left: limit, next: limit / 2 }
    }

    /// Takes one; whether there was one.
    pub(super) fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Fills it again, if nothing is left; whether there was something to fill it with.
    pub(super) fn refill(&mut self) -> bool {
        self.left == 0 && self.more().map(|more| self.left = more).is_some()
    }

    /// What it would be filled with next.
    fn more(&mut self) -> Option<u64> {
        let more = self.next;
        self.next /= 2;
        (more > 0).then_some(more)
    }
}

/// The budgets of an input that are counted one by one, and what its steps are filled with.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) firings: Share,
    /// Events that rules and timers emit.
    pub(super) events: Share,
    steps: Share,
    /// All steps that there were.
    pub(super) steps_given: u64,
}

impl Budgets {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            firings: Share::new(limits.firings as u64),
            events: Share::new(limits.events as u64),
            steps: Share::new(limits.steps),
            steps_given: limits.steps,
        }
    }

    /// Steps for what comes next, when none are left.
    pub(super) fn more_steps(&mut self) -> Option<u64> {
        let more = self.steps.more()?;
        self.steps_given += more;
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_are_less_than_twice_the_first() {
        let (mut share, mut taken) = (Share::new(100), 0);
        assert!(!share.refill(), "there is something left");
        loop {
            while share.take() {
                taken += 1;
            }
            if !share.refill() {
                break;
            }
        }
        assert_eq!((taken, share.take()), (100 + 50 + 25 + 12 + 6 + 3 + 1, false));
    }
}
