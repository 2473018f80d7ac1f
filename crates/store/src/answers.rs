//! Answers that are remembered, so that a repeated request gets the first one and changes nothing.
//!
//! Remembered is part of the state: it comes by a commit, together with the change that it is the answer to, and goes by a
//! commit when its time is over. All clones share what is equal, and neither a look-up nor forgetting what is due walks
//! along the others.

mod hints;

use std::fmt;
use std::sync::Arc;

use imbl::OrdSet;

use crate::keys::KeyIndex;
use crate::rows::RowTable;
use crate::{Record, RowId, Snapshot};
use hints::Hints;

/// An answer that is remembered for a repeat of its request.
///
/// ```
/// use dunlin_store::{Answer, Body, Restore};
///
/// let answer = Answer {
///     scope: "user:ada".into(),
///     key: "order-17".into(),
///     fingerprint: 7,
///     position: 4,
///     expires_at: 90_000,
///     body: Body::Text(r#"{"deleted":true}"#.into()),
/// };
/// let mut restore = Restore::new("epoch-1");
/// restore.answer(answer)?;
/// let state = restore.finish(9)?;
/// let found = state.answer("user:ada", "order-17").map(|answer| answer.body.json());
/// assert_eq!(found, Some(r#"{"deleted":true}"#));
/// assert!(state.answer("user:bob", "order-17").is_none());
/// # Ok::<(), dunlin_store::RestoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whose key it is; the same key in another scope is another key.
    pub scope: Arc<str>,
    /// The key that the request came with, unique in its scope.
    pub key: Arc<str>,
    /// What the request asked for, as a number: a repeat has the same one.
    pub fingerprint: u64,
    /// The commit that it was given with, and that holds it.
    pub position: u64,
    /// When it is forgotten, Unix milliseconds.
    pub expires_at: u64,
    /// What was answered.
    pub body: Body,
}

/// The `data` of an answer, JSON text.
#[derive(Debug, Clone)]
pub enum Body {
    /// One record. While the record stays as it is, its text is shared with its row.
    Record(Record),
    /// Anything else.
    Text(Arc<str>),
}

impl Body {
    /// The JSON text.
    pub fn json(&self) -> &str {
        match self {
            Self::Record(record) => record.json(),
            Self::Text(text) => text,
        }
    }
}

/// All answers that are remembered. A clone costs a few reference counts.
#[derive(Clone)]
pub(crate) struct Answers {
    /// By number, in the order in which they came.
    by_number: RowTable<Arc<Answer>>,
    /// The next number.
    next: u64,
    /// Numbers by scope and key.
    hints: Arc<Hints>,
    /// When each is forgotten, and its number.
    due: OrdSet<(u64, u64)>,
    scopes: Scopes,
    /// Bytes of all bodies.
    bytes: usize,
}

/// How much is remembered for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Answers.
    pub(crate) answers: usize,
    /// Bytes of their bodies.
    pub(crate) bytes: usize,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            by_number: RowTable::new(),
            next: 0,
            hints: Arc::new(Hints::new()),
            due: OrdSet::new(),
            scopes: Scopes { usage: RowTable::new(), names: KeyIndex::new(), next: 0 },
            bytes: 0,
        }
    }

    pub(crate) fn get(&self, scope: &str, key: &str) -> Option<&Arc<Answer>> {
        self.by_number.get(self.number(scope, key)?)
    }

    /// Remembers an answer, in the place of the one with its scope and key if there is one.
    pub(crate) fn remember(&mut self, answer: Arc<Answer>) {
        if let Some(number) = self.number(&answer.scope, &answer.key) {
            self.remove(number);
        }
        let number = self.next;
        self.next += 1;
        self.hints.insert(number, &answer);
        self.due.insert((answer.expires_at, number));
        let bytes = answer.body.json().len();
        self.scopes.add(&answer.scope, bytes);
        self.bytes += bytes;
        self.by_number.insert(number, answer);
    }

    /// Forgets all that are due at `until`.
    pub(crate) fn forget(&mut self, until: u64) {
        while let Some((time, number)) = self.due.get_min().copied()
            && time <= until
        {
            self.remove(number);
        }
        if self.by_number.is_empty() {
            // Those who still have what is forgotten keep theirs.
            self.hints = Arc::new(Hints::new());
        } else {
            self.hints.tidy();
        }
    }

    /// All of them, those that are forgotten first standing first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Answer>> {
        self.due.iter().filter_map(|(_, number)| self.by_number.get(*number))
    }

    /// When the next one is forgotten.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.due.get_min().map(|(time, _)| *time)
    }

    /// How much is remembered altogether.
    pub(crate) fn usage(&self) -> Usage {
        Usage { answers: self.by_number.len(), bytes: self.bytes }
    }

    /// How much is remembered for one scope.
    pub(crate) fn usage_of(&self, scope: &str) -> Usage {
        self.scopes.find(scope).map(|(_, used)| used.usage).unwrap_or_default()
    }

    fn number(&self, scope: &str, key: &str) -> Option<u64> {
        self.hints.find(scope, key, |number| {
            self.by_number.get(number).is_some_and(|answer| *answer.key == *key && *answer.scope == *scope)
        })
    }

    fn remove(&mut self, number: u64) {
        let Some(answer) = self.by_number.remove(number) else { return };
        self.due.remove(&(answer.expires_at, number));
        let bytes = answer.body.json().len();
        self.scopes.subtract(&answer.scope, bytes);
        self.bytes -= bytes;
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// How much is remembered for each scope; scopes of which nothing is remembered are not there.
#[derive(Clone)]
struct Scopes {
    usage: RowTable<Used>,
    names: KeyIndex,
    next: u64,
}

#[derive(Clone)]
struct Used {
    scope: Arc<str>,
    usage: Usage,
}

impl Scopes {
    fn find(&self, scope: &str) -> Option<(u64, &Used)> {
        let named = |number: RowId| Some((number.0, self.usage.get(number.0)?));
        self.names.candidates(scope).filter_map(named).find(|(_, used)| *used.scope == *scope)
    }

    fn add(&mut self, scope: &Arc<str>, bytes: usize) {
        let found = self.find(scope).map(|(number, used)| (number, used.clone()));
        let (number, mut used) = found.unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            self.names.insert(&**scope, RowId(number));
            (number, Used { scope: Arc::clone(scope), usage: Usage::default() })
        });
        used.usage.answers += 1;
        used.usage.bytes += bytes;
        self.usage.insert(number, used);
    }

    fn subtract(&mut self, scope: &str, bytes: usize) {
        let Some((number, mut used)) = self.find(scope).map(|(number, used)| (number, used.clone())) else {
            return;
        };
        used.usage.answers -= 1;
        used.usage.bytes -= bytes;
        if used.usage.answers == 0 {
            self.usage.remove(number);
            self.names.remove(scope, RowId(number));
        } else {
            self.usage.insert(number, used);
        }
    }
}

impl Snapshot {
    /// The answers that are remembered, by the time at which they are forgotten; those of one time in the order in which
    /// they came.
    pub fn answers(&self) -> impl Iterator<Item = &Arc<Answer>> {
        self.answers.iter()
    }

    /// The answer that is remembered for a key. One whose time is over stays until it is swept, but is given to nobody.
    pub fn answer(&self, scope: &str, key: &str) -> Option<&Arc<Answer>> {
        self.answers.get(scope, key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn answer(scope: usize, key: usize, position: u64, expires_at: u64) -> Answer {
        let body = Body::Text("x".repeat(1 + key).into());
        let (scope, key) = (format!("s{scope}").into(), format!("k{key}").into());
        Answer { scope, key, fingerprint: 0, position, expires_at, body }
    }

    fn positions(answers: &Answers) -> Vec<u64> {
        answers.iter().map(|answer| answer.position).collect()
    }

    #[test]
    fn the_same_key_of_another_scope_is_another_key() {
        let mut answers = Answers::new();
        // Scope and key joined are the same text.
        for (position, (scope, key)) in (1..).zip([("a", "bc"), ("ab", "c")]) {
            let of_nobody = answer(0, 0, position, 9);
            answers.remember(Arc::new(Answer { scope: scope.into(), key: key.into(), ..of_nobody }));
        }
        let position = |scope, key| answers.get(scope, key).map(|answer| answer.position);
        assert_eq!((position("a", "bc"), position("ab", "c")), (Some(1), Some(2)));
        assert_eq!((position("a", "c"), position("abc", "")), (None, None));
    }

    #[test]
    fn clones_that_go_different_ways_find_their_own_answers() {
        let mut base = Answers::new();
        base.remember(Arc::new(answer(0, 0, 1, 10)));
        let (mut a, mut b) = (base.clone(), base.clone());
        // The same number in both, of different keys; and the same key in both, with different answers.
        a.remember(Arc::new(answer(0, 1, 2, 20)));
        b.remember(Arc::new(answer(0, 2, 3, 20)));
        a.remember(Arc::new(answer(0, 3, 4, 20)));
        b.remember(Arc::new(answer(0, 3, 5, 20)));
        let seen = |answers: &Answers| {
            let keys = (0..4).map(|key| answers.get("s0", &format!("k{key}")).map(|answer| answer.position));
            keys.collect::<Vec<_>>()
        };
        let all = [
            vec![Some(1), None, None, None],
            vec![Some(1), Some(2), None, Some(4)],
            vec![Some(1), None, Some(3), Some(5)],
        ];
        assert_eq!([seen(&base), seen(&a), seen(&b)], all);
        a.forget(15);
        assert_eq!((seen(&a)[0], seen(&base)[0]), (None, Some(1)), "forgotten by one, and by nobody else");
        b.forget(99);
        b.remember(Arc::new(answer(0, 3, 6, 20)));
        assert_eq!([seen(&base), seen(&a), seen(&b)][0], all[0]);
        assert_eq!(
            (seen(&a), seen(&b)),
            (vec![None, Some(2), None, Some(4)], vec![None, None, None, Some(6)])
        );
    }

    #[test]
    fn hints_to_answers_that_nobody_has_go() {
        let mut answers = Answers::new();
        for position in 0..10_000 {
            let key = usize::try_from(position).unwrap() % 5_000;
            answers.remember(Arc::new(answer(0, key, position, position)));
        }
        assert!(answers.hints.len() < 8_000, "those of replaced answers are let go of on the way");
        for until in 0..200 {
            answers.forget(until.min(99) + 9_000);
        }
        assert_eq!(answers.hints.len(), answers.usage().answers);
        answers.forget(u64::MAX);
        assert_eq!(answers.hints.len(), 0);
    }

    proptest! {
        /// Few scopes, keys and times, so that they meet.
        #[test]
        fn equals_a_list_and_old_clones_never_change(
            steps in prop::collection::vec((0_usize..3, 0_usize..12, 0_u64..20, 0_u8..8), 0..200),
        ) {
            let mut answers = Answers::new();
            let mut model: Vec<(usize, usize, u64, u64)> = Vec::new();
            let mut kept = (answers.clone(), model.clone());
            for (position, (scope, key, time, kind)) in (1..).zip(&steps) {
                if *kind == 0 {
                    answers.forget(*time);
                    model.retain(|(_, _, expires_at, _)| expires_at > time);
                } else {
                    answers.remember(Arc::new(answer(*scope, *key, position, *time)));
                    model.retain(|(other, key_of_other, ..)| (other, key_of_other) != (scope, key));
                    model.push((*scope, *key, *time, position));
                }
                if position == 100 {
                    kept = (answers.clone(), model.clone());
                }
            }
            for (answers, mut model) in [kept, (answers, model)] {
                model.sort_by_key(|(_, _, time, position)| (*time, *position));
                prop_assert_eq!(positions(&answers), model.iter().map(|row| row.3).collect::<Vec<_>>());
                prop_assert_eq!(answers.first_due(), model.first().map(|row| row.2));
                let mut of_scopes: BTreeMap<usize, Usage> = BTreeMap::new();
                for (scope, key, _, position) in &model {
                    let found = answers.get(&format!("s{scope}"), &format!("k{key}"));
                    prop_assert_eq!(found.map(|answer| answer.position), Some(*position));
                    let used = of_scopes.entry(*scope).or_default();
                    used.answers += 1;
                    used.bytes += 1 + key;
                }
                for scope in 0..3 {
                    let used = of_scopes.get(&scope).copied().unwrap_or_default();
                    prop_assert_eq!(answers.usage_of(&format!("s{scope}")), used);
                }
                let sum = |part: fn(&Usage) -> usize| of_scopes.values().map(part).sum::<usize>();
                prop_assert_eq!((answers.usage().answers, answers.usage().bytes), (sum(|u| u.answers), sum(|u| u.bytes)));
                let mut empty = answers;
                empty.forget(u64::MAX);
                prop_assert_eq!(empty.usage(), Usage::default());
                prop_assert_eq!(empty.scopes.usage.len(), 0);
            }
        }
    }
}
