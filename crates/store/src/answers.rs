//! Answers that are remembered, so that a repeated request gets the first one and changes nothing.
//!
//! Remembered is part of the state: it comes by a commit, together with the change that it is the answer to, and goes by a
//! commit when its time is over. All clones share what is equal, and neither a look-up nor forgetting what is due walks
//! along the others.

mod hints;

use std::fmt;
use std::sync::Arc;

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
///
/// They are forgotten in the order in which they came, whose times ascend: [`Answers::latest`] sees to that. So the table of them is
/// the queue as well.
#[derive(Clone)]
pub(crate) struct Answers {
    /// By number, in the order in which they came.
    by_number: RowTable<Kept>,
    /// The next number.
    next: u64,
    /// Numbers by scope and key.
    hints: Arc<Hints>,
    scopes: Scopes,
    /// Bytes of all bodies.
    bytes: usize,
}

/// An answer and where else it is entered.
#[derive(Clone)]
struct Kept {
    answer: Arc<Answer>,
    hash: u64,
    scope: u64,
}

/// Where the answer to a scope and key is or would be: looked up once for a write. Good until the answers change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    hash: u64,
    number: Option<u64>,
    scope: Option<u64>,
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
            scopes: Scopes { used: RowTable::new(), names: KeyIndex::new(), next: 0 },
            bytes: 0,
        }
    }

    pub(crate) fn get(&self, scope: &str, key: &str) -> Option<&Arc<Answer>> {
        self.at(self.place(scope, key))
    }

    pub(crate) fn place(&self, scope: &str, key: &str) -> Place {
        let hash = self.hints.hash(scope, key);
        let is_it = |kept: &Kept| *kept.answer.key == *key && *kept.answer.scope == *scope;
        let number = self.hints.find(hash, |number| self.by_number.get(number).is_some_and(is_it));
        let number = number.or_else(|| {
            let unhinted = ..self.hints.gone();
            let first = self.first().filter(|(number, _)| unhinted.contains(number))?.0;
            self.by_number
                .range(first..=unhinted.end - 1)
                .find(|(_, kept)| is_it(kept))
                .map(|(number, _)| number)
        });
        Place { hash, number, scope: self.scopes.find(scope) }
    }

    /// The answer at a place.
    pub(crate) fn at(&self, place: Place) -> Option<&Arc<Answer>> {
        self.by_number.get(place.number?).map(|kept| &kept.answer)
    }

    /// Remembers an answer, instead of the one that is at its place if there is one.
    pub(crate) fn remember(&mut self, answer: Arc<Answer>, place: Place) {
        if let Some(number) = place.number {
            // Its hint stays: other clones may have the answer still.
            self.remove(number);
        }
        let bytes = answer.body.json().len();
        let scope = self.scopes.add(place.scope, &answer.scope, bytes);
        let number = self.next;
        self.next += 1;
        self.hints.insert(place.hash, number);
        self.bytes += bytes;
        self.by_number.insert(number, Kept { answer, hash: place.hash, scope });
    }

    /// Forgets all that are due at `until`, up to the first that is not.
    pub(crate) fn forget(&mut self, until: u64) {
        while let Some((number, kept)) = self.first()
            && kept.answer.expires_at <= until
        {
            let hash = kept.hash;
            self.remove(number);
            self.hints.forget(hash, number);
        }
        if self.by_number.is_empty() {
            // Those who still have what is forgotten keep theirs.
            self.hints = Arc::new(Hints::new());
        }
    }

    /// All of them, those that are forgotten first standing first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Answer>> {
        self.by_number.iter().map(|(_, kept)| &kept.answer)
    }

    /// When the next one is forgotten.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.first().map(|(_, kept)| kept.answer.expires_at)
    }

    /// When the last one is forgotten: none that comes may be forgotten earlier.
    pub(crate) fn latest(&self) -> Option<u64> {
        // The newest one is there while any is.
        self.by_number.get(self.next.checked_sub(1)?).map(|kept| kept.answer.expires_at)
    }

    /// How much is remembered altogether.
    pub(crate) fn usage(&self) -> Usage {
        Usage { answers: self.by_number.len(), bytes: self.bytes }
    }

    /// How much is remembered for the scope of a place.
    pub(crate) fn usage_at(&self, place: Place) -> Usage {
        place.scope.and_then(|scope| self.scopes.used.get(scope)).map(|used| used.usage).unwrap_or_default()
    }

    fn first(&self) -> Option<(u64, &Kept)> {
        self.by_number.iter().next()
    }

    fn remove(&mut self, number: u64) {
        let Some(Kept { answer, scope, .. }) = self.by_number.remove(number) else { return };
        let bytes = answer.body.json().len();
        self.scopes.subtract(scope, bytes);
        self.bytes -= bytes;
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// How much is remembered for each scope, by a number that it has while anything is.
#[derive(Clone)]
struct Scopes {
    used: RowTable<Used>,
    names: KeyIndex,
    next: u64,
}

#[derive(Clone)]
struct Used {
    scope: Arc<str>,
    usage: Usage,
}

impl Scopes {
    fn find(&self, scope: &str) -> Option<u64> {
        let is_it = |number: &RowId| self.used.get(number.0).is_some_and(|used| *used.scope == *scope);
        self.names.candidates(scope).find(is_it).map(|number| number.0)
    }

    /// Adds an answer of the scope with this number, or of one that is new; its number.
    fn add(&mut self, known: Option<u64>, scope: &Arc<str>, bytes: usize) -> u64 {
        // It may have gone with the answer whose place is taken.
        if let Some(number) = known
            && let Some(used) = self.used.get_mut(number)
        {
            used.usage.answers += 1;
            used.usage.bytes += bytes;
            return number;
        }
        let number = self.next;
        self.next += 1;
        self.names.insert(&**scope, RowId(number));
        self.used.insert(number, Used { scope: Arc::clone(scope), usage: Usage { answers: 1, bytes } });
        number
    }

    fn subtract(&mut self, number: u64, bytes: usize) {
        let Some(used) = self.used.get_mut(number) else { return };
        used.usage.answers -= 1;
        used.usage.bytes -= bytes;
        if used.usage.answers == 0
            && let Some(used) = self.used.remove(number)
        {
            self.names.remove(&*used.scope, RowId(number));
        }
    }
}

impl Snapshot {
    /// The answers that are remembered, in the order in which they came and are forgotten.
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

    fn remember(answers: &mut Answers, answer: Answer) {
        let place = answers.place(&answer.scope, &answer.key);
        answers.remember(Arc::new(answer), place);
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
            remember(&mut answers, Answer { scope: scope.into(), key: key.into(), ..of_nobody });
        }
        let position = |scope, key| answers.get(scope, key).map(|answer| answer.position);
        assert_eq!((position("a", "bc"), position("ab", "c")), (Some(1), Some(2)));
        assert_eq!((position("a", "c"), position("abc", "")), (None, None));
    }

    #[test]
    fn clones_that_go_different_ways_find_their_own_answers() {
        let mut base = Answers::new();
        remember(&mut base, answer(0, 0, 1, 10));
        let (mut a, mut b) = (base.clone(), base.clone());
        // The same number in both, of different keys; and the same key in both, with different answers.
        remember(&mut a, answer(0, 1, 2, 20));
        remember(&mut b, answer(0, 2, 3, 20));
        remember(&mut a, answer(0, 3, 4, 20));
        remember(&mut b, answer(0, 3, 5, 20));
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
        remember(&mut b, answer(0, 3, 6, 20));
        assert_eq!([seen(&base), seen(&a), seen(&b)][0], all[0]);
        assert_eq!(
            (seen(&a), seen(&b)),
            (vec![None, Some(2), None, Some(4)], vec![None, None, None, Some(6)])
        );
    }

    #[test]
    fn hints_go_with_their_answers_and_those_of_others_when_room_is_short() {
        let numbered = |scope, number: u64| {
            let of_nobody = answer(scope, 0, number, number);
            Answer { key: format!("k{number}").into(), ..of_nobody }
        };
        let mut answers = Answers::new();
        for number in 0..20_000_u64 {
            answers.forget(number.saturating_sub(2_000));
            // What is prepared and thrown away leaves hints: the same key again and again one, other keys one each.
            let mut dropped = answers.clone();
            remember(&mut dropped, answer(1, 0, number, u64::MAX));
            remember(&mut dropped, numbered(1, number));
            remember(&mut answers, numbered(0, number));
        }
        let (hints, room) = answers.hints.size();
        assert!((2_000..20_000).contains(&hints) && room < 30_000, "{hints} in {room}");
        answers.forget(u64::MAX);
        assert_eq!(answers.hints.size(), (0, 0));
        for number in 20_000..80_000 {
            remember(&mut answers, numbered(0, number));
        }
        assert_eq!(answers.hints.size().0, 60_000);
        answers.forget(79_000);
        let (hints, room) = answers.hints.size();
        assert!(hints == 999 && room <= 256 * 64, "{hints} in {room}");
    }

    #[test]
    fn one_that_came_earlier_and_stays_longer_keeps_the_others() {
        let mut answers = Answers::new();
        for (position, expires_at) in (1..).zip([10, 30, 20]) {
            remember(&mut answers, answer(0, usize::try_from(position).unwrap(), position, expires_at));
        }
        answers.forget(25);
        assert_eq!((positions(&answers), answers.first_due()), (vec![2, 3], Some(30)));
        answers.forget(30);
        assert_eq!((positions(&answers), answers.latest()), (vec![], None));
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
                    let time = answers.latest().unwrap_or(0).max(*time);
                    remember(&mut answers, answer(*scope, *key, position, time));
                    model.retain(|(other, key_of_other, ..)| (other, key_of_other) != (scope, key));
                    model.push((*scope, *key, time, position));
                }
                if position == 100 {
                    kept = (answers.clone(), model.clone());
                }
            }
            for (answers, model) in [kept, (answers, model)] {
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
                    prop_assert_eq!(answers.usage_at(answers.place(&format!("s{scope}"), "")), used);
                }
                let sum = |part: fn(&Usage) -> usize| of_scopes.values().map(part).sum::<usize>();
                prop_assert_eq!((answers.usage().answers, answers.usage().bytes), (sum(|u| u.answers), sum(|u| u.bytes)));
                let mut empty = answers;
                empty.forget(u64::MAX);
                prop_assert_eq!(empty.usage(), Usage::default());
                prop_assert_eq!(empty.scopes.used.len(), 0);
            }
        }
    }
}
