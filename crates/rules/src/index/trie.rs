//! A trie of the segments of patterns.

use std::collections::{BTreeMap, HashMap};

use dunlin_protocol::Segment;
use serde_json::Value;

use super::values::Values;
use crate::condition::Condition;

/// What is behind one segment.
#[derive(Debug, Clone)]
pub(super) struct Trie<T> {
    /// Patterns that go on with a literal segment.
    literal: HashMap<Box<str>, Self>,
    /// Those that go on with a `*` in a segment: by what stands before the first `*`, then by the whole segment.
    part: BTreeMap<Box<str>, BTreeMap<Box<str>, Self>>,
    /// Those that go on with any one segment.
    one: Option<Box<Self>>,
    /// Those that end with any number of segments.
    rest: Values<T>,
    /// Those that end here.
    end: Values<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            literal: HashMap::new(),
            part: BTreeMap::new(),
            one: None,
            rest: Values::default(),
            end: Values::default(),
        }
    }
}

/// What stands before the first `*`.
fn head(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or_default()
}

impl<T: Copy + Ord> Trie<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.part.is_empty()
            && self.one.is_none()
            && self.rest.is_empty()
            && self.end.is_empty()
    }

    pub(super) fn insert(&mut self, pattern: &[Segment<'_>], conditions: &[Condition], rule: T) {
        match pattern.split_first() {
            None => self.end.insert(conditions, rule),
            Some((Segment::Rest, _)) => self.rest.insert(conditions, rule),
            Some((Segment::One, behind)) => {
                self.one.get_or_insert_default().insert(behind, conditions, rule);
            }
            Some((Segment::Literal(text), behind)) => {
                self.literal.entry((*text).into()).or_default().insert(behind, conditions, rule);
            }
            Some((Segment::Part(text), behind)) => {
                let patterns = self.part.entry(head(text).into()).or_default();
                patterns.entry((*text).into()).or_default().insert(behind, conditions, rule);
            }
        }
    }

    /// Nothing that has become empty stays.
    pub(super) fn remove(&mut self, pattern: &[Segment<'_>], conditions: &[Condition], rule: T) {
        match pattern.split_first() {
            None => self.end.remove(conditions, rule),
            Some((Segment::Rest, _)) => self.rest.remove(conditions, rule),
            Some((Segment::One, behind)) => {
                if let Some(next) = &mut self.one {
                    next.remove(behind, conditions, rule);
                    if next.is_empty() {
                        self.one = None;
                    }
                }
            }
            Some((Segment::Literal(text), behind)) => {
                if let Some(next) = self.literal.get_mut(*text) {
                    next.remove(behind, conditions, rule);
                    if next.is_empty() {
                        self.literal.remove(*text);
                    }
                }
            }
            Some((Segment::Part(text), behind)) => {
                let Some(patterns) = self.part.get_mut(head(text)) else { return };
                if let Some(next) = patterns.get_mut(*text) {
                    next.remove(behind, conditions, rule);
                    if next.is_empty() {
                        patterns.remove(*text);
                    }
                }
                if patterns.is_empty() {
                    self.part.remove(head(text));
                }
            }
        }
    }

    /// The rules of all patterns that match; a `*` may be an empty segment.
    pub(super) fn matching<'s>(
        &self,
        segments: impl Iterator<Item = &'s str> + Clone,
        data: &Value,
        found: &mut Vec<T>,
    ) {
        self.walk(segments, false, data, found);
    }

    /// The rules of all patterns that match; a `*` is no empty segment.
    pub(super) fn matching_filled<'s>(
        &self,
        segments: impl Iterator<Item = &'s str> + Clone,
        data: &Value,
        found: &mut Vec<T>,
    ) {
        self.walk(segments, true, data, found);
    }

    fn walk<'s>(
        &self,
        mut segments: impl Iterator<Item = &'s str> + Clone,
        filled: bool,
        data: &Value,
        found: &mut Vec<T>,
    ) {
        let Some(segment) = segments.next() else { return self.end.matching(data, found) };
        self.rest.matching(data, found);
        if let Some(next) = self.literal.get(segment) {
            next.walk(segments.clone(), filled, data, found);
        }
        if let Some(next) = &self.one
            && !(filled && segment.is_empty())
        {
            next.walk(segments.clone(), filled, data, found);
        }
        if self.part.is_empty() {
            return;
        }
        // A pattern whose beginning is none of the segment's beginnings is not looked at.
        let ends = segment.char_indices().map(|(at, _)| at).chain([segment.len()]);
        for beginning in ends.filter_map(|end| segment.get(..end)) {
            for (pattern, next) in self.part.get(beginning).into_iter().flatten() {
                if Segment::Part(pattern).matches(segment) {
                    next.walk(segments.clone(), filled, data, found);
                }
            }
        }
    }
}
