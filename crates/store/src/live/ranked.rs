//! A sorted list that knows the place of everything in it.

use std::cmp::Ordering;
use std::ops::Range;

/// Elements of one chunk. To insert moves at most so many of them, and to find a place walks over the chunks: for a million
/// elements both take about as long.
const CHUNK: usize = 512;

/// A list whose order the caller keeps. Short ones, of which there may be very many, are one array with hardly any room to
/// spare; long ones are cut into chunks, so that a change moves only the elements of one chunk.
#[derive(Debug)]
pub(crate) struct Ranked<T>(Repr<T>);

#[derive(Debug)]
enum Repr<T> {
    Short(Vec<T>),
    Long(Box<Long<T>>),
}

/// No chunk is empty.
#[derive(Debug)]
struct Long<T> {
    len: usize,
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self(Repr::Short(Vec::new()))
    }
}

impl<T> Ranked<T> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A list of elements that are in order already.
    pub(crate) fn from_sorted(mut list: Vec<T>) -> Self {
        if list.len() <= CHUNK {
            list.shrink_to_fit();
            return Self(Repr::Short(list));
        }
        let (len, mut rest) = (list.len(), list.into_iter());
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK / 2));
        // Chunks begin half full, as after splits.
        loop {
            let chunk: Vec<T> = rest.by_ref().take(CHUNK / 2).collect();
            if chunk.is_empty() {
                return Self(Repr::Long(Box::new(Long { len, chunks })));
            }
            chunks.push(chunk);
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Short(list) => list.len(),
            Repr::Long(long) => long.len,
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let chunks = self.chunks();
        let (chunk, offset) = locate(chunks, at);
        chunks.get(chunk)?.get(offset)
    }

    /// Whatever is done to the element must leave it in order.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match &mut self.0 {
            Repr::Short(list) => list.get_mut(at),
            Repr::Long(long) => {
                let (chunk, offset) = locate(&long.chunks, at);
                long.chunks.get_mut(chunk)?.get_mut(offset)
            }
        }
    }

    /// As [`slice::binary_search_by`].
    pub(crate) fn search_by(&self, mut f: impl FnMut(&T) -> Ordering) -> Result<usize, usize> {
        let chunks = self.chunks();
        // The last chunk whose first element is not greater is the only one that can have it.
        let behind = chunks.partition_point(|chunk| chunk.first().is_some_and(|first| f(first).is_le()));
        let Some(chunk) = behind.checked_sub(1) else { return Err(0) };
        let before: usize = chunks.iter().take(chunk).map(Vec::len).sum();
        let found = chunks.get(chunk).map_or(Err(0), |chunk| chunk.binary_search_by(f));
        found.map(|at| before + at).map_err(|at| before + at)
    }

    /// Puts a value at a place, or at the end if the place is behind it.
    pub(crate) fn insert(&mut self, at: usize, value: T) {
        match &mut self.0 {
            Repr::Short(list) if list.len() < CHUNK => {
                if list.len() == list.capacity() {
                    list.reserve_exact(list.len() / 8 + 1);
                }
                list.insert(at.min(list.len()), value);
            }
            Repr::Short(list) => {
                let (len, chunks) = (list.len(), vec![std::mem::take(list)]);
                let mut long = Box::new(Long { len, chunks });
                long.insert(at, value);
                self.0 = Repr::Long(long);
            }
            Repr::Long(long) => long.insert(at, value),
        }
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let removed = match &mut self.0 {
            Repr::Short(list) => (at < list.len()).then(|| list.remove(at)),
            Repr::Long(long) => long.remove(at),
        };
        self.shorten();
        removed
    }

    /// Takes the last.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.remove(self.len().checked_sub(1)?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.range(0..self.len())
    }

    /// The elements at these places, as far as there are any.
    pub(crate) fn range(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = &T> {
        let chunks = self.chunks();
        let end = places.end.min(self.len());
        let (first, from) = locate(chunks, places.start.min(end));
        let (last, to) = locate(chunks, end);
        let chunks = chunks.get(first..).unwrap_or_default();
        chunks.iter().take(last + 1 - first).enumerate().flat_map(move |(i, chunk)| {
            let from = if i == 0 { from } else { 0 };
            let to = if first + i == last { to } else { chunk.len() };
            chunk.get(from..to).unwrap_or_default()
        })
    }

    fn chunks(&self) -> &[Vec<T>] {
        match &self.0 {
            Repr::Short(list) => std::slice::from_ref(list),
            Repr::Long(long) => &long.chunks,
        }
    }

    /// Makes one array of a long list that has become short: only at half a chunk, so that it does not go to and fro. An array
    /// that has become much too large is given back.
    fn shorten(&mut self) {
        match &mut self.0 {
            Repr::Short(list) if list.capacity() > 2 * list.len() + 4 => list.shrink_to_fit(),
            Repr::Long(long) if long.len <= CHUNK / 2 => {
                let mut list = Vec::with_capacity(long.len);
                list.extend(long.chunks.drain(..).flatten());
                self.0 = Repr::Short(list);
            }
            _ => {}
        }
    }
}

impl<T> Long<T> {
    fn insert(&mut self, at: usize, value: T) {
        let last = self.chunks.len().saturating_sub(1);
        let (i, offset) = if at < self.len { locate(&self.chunks, at) } else { (last, usize::MAX) };
        let Some(chunk) = self.chunks.get_mut(i) else { return };
        let offset = offset.min(chunk.len());
        if chunk.len() < CHUNK {
            chunk.insert(offset, value);
        } else if i == last && offset == chunk.len() {
            // What only ever grows at its end has full chunks.
            self.chunks.push(vec![value]);
        } else {
            let mut behind = chunk.split_off(CHUNK / 2);
            match offset.checked_sub(CHUNK / 2) {
                Some(offset) => behind.insert(offset, value),
                None => chunk.insert(offset, value),
            }
            self.chunks.insert(i + 1, behind);
        }
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let (i, offset) = locate(&self.chunks, at);
        let chunk = self.chunks.get_mut(i).filter(|chunk| offset < chunk.len())?;
        let removed = chunk.remove(offset);
        self.len -= 1;
        let len = chunk.len();
        // Chunks that have become small are joined, so that there are never many of them.
        let small = |other: Option<&Vec<T>>| other.is_some_and(|other| other.len() + len <= CHUNK / 2);
        if len == 0 {
            self.chunks.remove(i);
        } else if small(self.chunks.get(i + 1)) {
            self.join(i);
        } else if i > 0 && small(self.chunks.get(i - 1)) {
            self.join(i - 1);
        }
        Some(removed)
    }

    /// Joins a chunk with the one behind it.
    fn join(&mut self, i: usize) {
        let mut behind = self.chunks.remove(i + 1);
        if let Some(chunk) = self.chunks.get_mut(i) {
            chunk.append(&mut behind);
        }
    }
}

/// The chunk that a place lies in, and the place in that chunk. Behind the last element it is behind the last of a chunk, the
/// last one.
fn locate<T>(chunks: &[Vec<T>], at: usize) -> (usize, usize) {
    let last = chunks.len().saturating_sub(1);
    let mut offset = at;
    for (i, chunk) in chunks.iter().enumerate() {
        if offset < chunk.len() || i == last {
            return (i, offset);
        }
        offset -= chunk.len();
    }
    (0, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What to do, where (in thousandths of the length, and a little behind it), how often.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Insert(usize, usize),
        Remove(usize, usize),
        Pop(usize),
        Change(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || prop_oneof![6 => 0_usize..1_000, 1 => Just(0), 2 => Just(1_000)];
        let times = || prop_oneof![3 => 1_usize..5, 1 => 1_usize..700];
        prop_oneof![
            6 => (place(), times()).prop_map(|(at, times)| Step::Insert(at, times)),
            4 => (place(), times()).prop_map(|(at, times)| Step::Remove(at, times)),
            1 => times().prop_map(Step::Pop),
            1 => place().prop_map(Step::Change),
        ]
    }

    fn take(step: Step, list: &mut Ranked<u32>, model: &mut Vec<u32>, next: &mut u32) {
        match step {
            Step::Insert(at, times) => {
                for _ in 0..times {
                    let at = (model.len() * at).div_ceil(1_000);
                    *next += 1;
                    list.insert(at, *next);
                    model.insert(at, *next);
                }
            }
            Step::Remove(at, times) => {
                for _ in 0..times {
                    let at = model.len() * at / 1_000;
                    let removed = (at < model.len()).then(|| model.remove(at));
                    assert_eq!(list.remove(at), removed);
                }
            }
            Step::Pop(times) => {
                for _ in 0..times {
                    assert_eq!(list.pop(), model.pop());
                }
            }
            Step::Change(at) => {
                let at = model.len() * at / 1_000;
                assert_eq!(list.get(at), model.get(at));
                if let (Some(a), Some(b)) = (list.get_mut(at), model.get_mut(at)) {
                    *a += 1_000_000;
                    *b += 1_000_000;
                }
            }
        }
    }

    fn check(list: &Ranked<u32>, model: &[u32]) {
        assert_eq!(list.len(), model.len());
        assert!(list.iter().eq(model));
        assert!(list.iter().rev().eq(model.iter().rev()));
        match &list.0 {
            Repr::Short(list) => assert!(list.len() <= CHUNK && list.capacity() <= 2 * list.len() + 70),
            Repr::Long(long) => {
                assert!(long.len > CHUNK / 2);
                assert!(long.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
                let few = 4 * long.len / CHUNK + 4;
                assert!(long.chunks.len() <= few, "{} chunks of {}", long.chunks.len(), long.len);
            }
        }
    }

    proptest! {
        #[test]
        fn equals_a_vec(
            begin in prop_oneof![0_u32..20, 0_u32..3_000],
            steps in prop::collection::vec(step(), 0..40),
            places in (0_usize..4_000, 0_usize..4_000),
        ) {
            let mut model: Vec<u32> = (0..begin).collect();
            let mut list = Ranked::from_sorted(model.clone());
            let mut next = begin;
            check(&list, &model);
            for step in steps {
                take(step, &mut list, &mut model, &mut next);
                check(&list, &model);
            }
            let (from, to) = (places.0.min(places.1), places.0.max(places.1));
            let expected = model.get(from.min(model.len())..to.min(model.len())).unwrap();
            prop_assert!(list.range(from..to).eq(expected));
            prop_assert!(list.range(from..to).rev().eq(expected.iter().rev()));
            prop_assert_eq!(list.range(Range { start: to, end: from }).count(), 0);
        }

        #[test]
        fn searches_as_a_slice(numbers in prop::collection::btree_set(0_u32..4_000, 0..2_000), wanted in 0_u32..4_000) {
            let (mut list, mut model) = (Ranked::new(), Vec::new());
            for number in &numbers {
                // Every other one from behind, so that chunks split.
                let number = if number % 2 == 0 { *number } else { 4_000 - number };
                let found = list.search_by(|other: &u32| other.cmp(&number));
                prop_assert_eq!(found, model.binary_search(&number));
                if let Err(at) = found {
                    list.insert(at, number);
                    model.insert(at, number);
                }
            }
            prop_assert!(list.iter().eq(&model));
            prop_assert_eq!(list.search_by(|other| other.cmp(&wanted)), model.binary_search(&wanted));
        }
    }

    #[test]
    fn a_short_list_has_hardly_any_room_to_spare() {
        assert_eq!(size_of::<Ranked<u64>>(), size_of::<Vec<u64>>());
        let mut list = Ranked::new();
        for i in 0..20_u64 {
            list.insert(0, i);
            let Repr::Short(array) = &list.0 else { panic!("20 are few") };
            assert!(array.capacity() - array.len() < 4);
        }
    }
}
