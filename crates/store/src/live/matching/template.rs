//! The views whose filters are alike but for the values: they ask for the same members.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::parts::name;
use crate::live::ViewId;
use crate::live::intervals::{IntervalId, Intervals};
use crate::live::postings::Postings;
use crate::order_key::{KeyRange, OrderKey};
use crate::{FieldValue, Member, Record};

/// The members that views are found by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Those that have to equal something, by name.
    pub(super) equal: Box<[Member]>,
    /// The one that has to lie in a stretch.
    pub(super) range: Option<Member>,
}

impl Shape {
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.equal.iter().chain(&self.range)
    }

    /// For people.
    pub(super) fn explain(&self) -> serde_json::Value {
        let mut told = serde_json::Map::new();
        if !self.equal.is_empty() {
            told.insert("equal".into(), self.equal.iter().map(name).collect());
        }
        if let Some(member) = &self.range {
            told.insert("range".into(), name(member).into());
        }
        told.into()
    }
}

/// A member's value, ready to be looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    key: OrderKey,
    hash: u64,
}

impl Looked {
    /// `None` for what nothing equals: absent members, objects and arrays.
    pub(super) fn at(value: &FieldValue<'_>, hasher: &RandomState) -> Option<Self> {
        let key = OrderKey::of(value)?;
        let mut hasher = hasher.build_hasher();
        key.hash(&mut hasher);
        if !key.is_whole() {
            value.as_str().hash(&mut hasher);
        }
        Some(Self { key, hash: hasher.finish() })
    }
}

/// Stands for the values of some members in a row. Different values can have the same, but so seldom that it only counts
/// that nothing is missed then: their views stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead(u64);

impl Lead {
    pub(super) const NONE: Self = Self(0);

    /// This and one value more. The hashes of values are seeded, so nobody can choose values that meet here.
    pub(super) fn and(self, value: Looked) -> Self {
        Self((self.0.rotate_left(5) ^ value.hash).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Hash for Lead {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Leads are hashes already.
#[derive(Debug, Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByLead<T> = HashMap<Lead, T, BuildHasherDefault<Unhashed>>;

/// Views of one shape.
pub(super) struct Template {
    pub(super) shape: Arc<Shape>,
    views: Views,
    /// Where the values of the shape's members stand, in their order.
    columns: Box<[usize]>,
}

enum Views {
    Equal(ByLead<Postings>),
    Within(ByLead<Intervals>),
}

/// Where a view stands. Its shape names the template.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) shape: Arc<Shape>,
    lead: Lead,
    interval: Option<IntervalId>,
}

impl Template {
    pub(super) fn new(shape: Shape) -> Self {
        let views = match shape.range {
            None => Views::Equal(ByLead::default()),
            Some(_) => Views::Within(ByLead::default()),
        };
        Self { shape: Arc::new(shape), views, columns: Box::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.views {
            Views::Equal(views) => views.is_empty(),
            Views::Within(views) => views.is_empty(),
        }
    }

    /// Looks for the values of its members where `columns` has these members, and adds those that it has not.
    pub(super) fn settle(&mut self, columns: &mut Vec<Member>) {
        let place = |member: &Member| {
            columns.iter().position(|known| known == member).unwrap_or_else(|| {
                columns.push(member.clone());
                columns.len() - 1
            })
        };
        self.columns = self.shape.members().map(place).collect();
    }

    /// Adds a view; `None` if it stands there already. `range` is one exactly if the shape has a member for it.
    pub(super) fn insert(&mut self, lead: Lead, range: Option<KeyRange>, view: ViewId) -> Option<Anchor> {
        let anchor = |interval| Anchor { shape: self.shape.clone(), lead, interval };
        match (&mut self.views, range) {
            (Views::Equal(views), _) => {
                let mut new = false;
                let known = views.entry(lead).or_insert_with(|| {
                    new = true;
                    Postings::One(view)
                });
                (new || known.insert(view)).then(|| anchor(None))
            }
            (Views::Within(views), Some(range)) => {
                let id = views.entry(lead).or_default().insert(range, view)?;
                Some(anchor(Some(id)))
            }
            (Views::Within(_), None) => None,
        }
    }

    pub(super) fn remove(&mut self, anchor: &Anchor, view: ViewId) {
        match (&mut self.views, anchor.interval) {
            (Views::Equal(views), _) => {
                if views.get_mut(&anchor.lead).is_some_and(|known| known.remove(view)) {
                    views.remove(&anchor.lead);
                }
            }
            (Views::Within(views), Some(interval)) => {
                let Some(known) = views.get_mut(&anchor.lead) else { return };
                known.remove(interval, view);
                if known.is_empty() {
                    views.remove(&anchor.lead);
                }
            }
            (Views::Within(_), None) => {}
        }
    }

    /// Adds the views that a record with these values concerns.
    pub(super) fn candidates(&self, values: &[Option<Looked>], found: &mut Vec<ViewId>) {
        let value = |column: &usize| values.get(*column).copied().flatten();
        let (equal, range) = self.columns.split_at(self.shape.equal.len());
        let Some(lead) = equal.iter().try_fold(Lead::NONE, |lead, column| Some(lead.and(value(column)?)))
        else {
            return;
        };
        match &self.views {
            Views::Equal(views) => {
                if let Some(known) = views.get(&lead) {
                    known.copy_to(found);
                }
            }
            Views::Within(views) => {
                let Some(value) = range.first().and_then(value) else { return };
                if let Some(known) = views.get(&lead) {
                    known.stab(value.key, found);
                }
            }
        }
    }
}

/// The values of these members of a record.
pub(super) fn look(record: &Record, members: &[Member], hasher: &RandomState) -> Vec<Option<Looked>> {
    members.iter().map(|member| Looked::at(&record.get(member), hasher)).collect()
}
