//! What a webhook has said a short while ago.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Session;
use crate::limits;

/// What was asked, as a hash.
pub(super) type Question = [u8; 32];

/// Answers, yes and no, for the same time each: the oldest is the first to end, and the first to go when there is no room.
pub(super) struct Cache {
    most: usize,
    answers: HashMap<Question, Answer>,
    /// In the order in which they came. An answer that has taken the place of an older one stands in it twice.
    order: VecDeque<(Question, u64)>,
    bytes: usize,
    last: u64,
}

struct Answer {
    session: Option<Arc<Session>>,
    /// Unix milliseconds; an answer is not given at its end any more.
    until: u64,
    bytes: usize,
    number: u64,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self { most, answers: HashMap::new(), order: VecDeque::new(), bytes: 0, last: 0 }
    }

    /// What is known of a question now.
    #[expect(clippy::option_option, reason = "outer: whether it is known, inner: whether it is somebody")]
    pub(super) fn get(&self, question: &Question, now: u64) -> Option<Option<Arc<Session>>> {
        self.answers.get(question).filter(|answer| now < answer.until).map(|answer| answer.session.clone())
    }

    /// Remembers an answer until then, but never longer than its session lasts. `bytes` is how long it was.
    pub(super) fn put(
        &mut self,
        question: Question,
        session: Option<Arc<Session>>,
        bytes: usize,
        until: u64,
    ) {
        if self.most == 0 {
            return;
        }
        let end = session.as_ref().and_then(|session| session.expires_at).unwrap_or(u64::MAX);
        self.last += 1;
        let answer = Answer { session, until: until.min(end), bytes, number: self.last };
        self.bytes += bytes;
        self.order.push_back((question, self.last));
        if let Some(old) = self.answers.insert(question, answer) {
            self.bytes -= old.bytes;
        }
        while self.answers.len() > self.most
            || self.bytes > limits::WEBHOOK_CACHE_BYTES
            || self.order.len() > 2 * self.most
        {
            let Some((question, number)) = self.order.pop_front() else { return };
            if self.answers.get(&question).is_some_and(|answer| answer.number == number)
                && let Some(old) = self.answers.remove(&question)
            {
                self.bytes -= old.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, end: Option<u64>) -> Arc<Session> {
        let mut session = Session::new(name);
        session.expires_at = end;
        Arc::new(session)
    }

    #[test]
    fn an_answer_lasts_its_time_but_not_beyond_its_session() {
        let mut cache = Cache::new(10);
        cache.put([1; 32], Some(user("a", None)), 1, 100);
        cache.put([2; 32], Some(user("b", Some(50))), 1, 100);
        cache.put([3; 32], None, 1, 100);
        assert_eq!(cache.get(&[1; 32], 99).unwrap().unwrap().user_id, "a");
        assert!(cache.get(&[1; 32], 100).is_none());
        assert!(cache.get(&[2; 32], 49).is_some() && cache.get(&[2; 32], 50).is_none());
        assert_eq!(cache.get(&[3; 32], 99), Some(None), "no is an answer, too");
        assert!(cache.get(&[4; 32], 0).is_none());
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut cache = Cache::new(2);
        for n in 1..=3 {
            cache.put([n; 32], Some(user("u", None)), 1, 100);
        }
        assert!(cache.get(&[1; 32], 0).is_none() && cache.get(&[2; 32], 0).is_some());
        for _ in 0..100 {
            cache.put([3; 32], Some(user("u", None)), 1, 100);
        }
        assert!(cache.order.len() <= 4 && cache.answers.len() <= 2);
        cache.put([4; 32], Some(user("u", None)), limits::WEBHOOK_CACHE_BYTES, 100);
        assert_eq!((cache.answers.len(), cache.bytes), (1, limits::WEBHOOK_CACHE_BYTES));
        let mut none = Cache::new(0);
        none.put([1; 32], None, 0, 100);
        assert!(none.get(&[1; 32], 0).is_none());
    }
}
