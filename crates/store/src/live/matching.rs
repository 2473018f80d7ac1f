//! Which views a record can concern: indexes over the filters of all views of one bucket.
//!
//! Most views have filters that are alike but for the values: `{"owner": "ann", "done": false}` and the same for everybody
//! else. A *template* is such a kind: some members that have to equal something, and at most one whose value has to lie in
//! a stretch. For each template a record is looked up once, by the values that it has itself, so what it costs does not
//! depend on how many views there are but on how many it concerns, and a little on how many kinds of them there are.
//!
//! Whatever else a filter asks for is left to the filter: who is found can match, who is not found cannot.

mod parts;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::Arc;

use serde_json::Value;

use super::ViewId;
use crate::limits::{
    MAX_INDEX_FIELDS, MAX_VIEW_ANCHORS, MAX_VIEW_COMBINATIONS, MAX_VIEW_FOREIGN_MEMBERS, MAX_VIEW_TEMPLATES,
};
use crate::value::Constant;
use crate::{Definition, Filter, Member, Record};
use parts::{Equal, Offer, Part, Range, is_foreign, name, offer};
use template::{Anchor, Lead, Looked, Shape, Template, look};

/// The views of one bucket by their filters, resolved against one definition: when the fields of the bucket become others,
/// its views have to be filed anew.
#[derive(Default)]
pub(crate) struct Matching {
    templates: Vec<Template>,
    /// The members of all templates, each once: so each value of a record is looked at once.
    columns: Vec<Member>,
    /// Every record concerns them.
    everything: BTreeSet<ViewId>,
    /// Every record may concern them.
    unindexed: BTreeSet<ViewId>,
    /// Seeded anew in every process, so that nobody can prepare values that collide. It never shows: no order depends on it,
    /// and who is found is tried with the whole filter.
    hasher: RandomState,
}

impl std::fmt::Debug for Matching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (templates, unindexed) = (self.templates.len(), self.unindexed.len());
        f.debug_struct("Matching")
            .field("templates", &templates)
            .field("unindexed", &unindexed)
            .finish_non_exhaustive()
    }
}

/// How a view is found: kept to take it out again and to tell whoever asks.
#[derive(Debug)]
pub(crate) struct Filed(Place);

#[derive(Debug)]
enum Place {
    /// No record can match.
    Nowhere,
    Everything,
    Unindexed,
    Under(Box<[Anchor]>),
}

/// How a part of a filter is filed: some of what it offers.
struct Choice<'p, 'f, 'm> {
    /// By name.
    equal: Vec<&'p Equal<'f, 'm>>,
    range: Option<&'p Range<'m>>,
}

impl Matching {
    /// Files a view under its filter. Never fails: what no index can tell goes on the list that every record is tried
    /// against.
    pub(crate) fn insert(&mut self, definition: &Definition, view: ViewId, filter: &Filter) -> Filed {
        let matcher = filter.matcher(definition);
        Filed(match offer(matcher.root(), matcher.members()) {
            Offer::Nothing => Place::Nowhere,
            Offer::Everything => {
                self.everything.insert(view);
                Place::Everything
            }
            Offer::Choices(choices) => {
                if let Some(anchors) = choices.iter().find_map(|parts| self.file(parts, view)) {
                    Place::Under(anchors)
                } else {
                    self.unindexed.insert(view);
                    Place::Unindexed
                }
            }
        })
    }

    /// Takes a view out again.
    pub(crate) fn remove(&mut self, view: ViewId, Filed(place): &Filed) {
        match place {
            Place::Nowhere => {}
            Place::Everything => drop(self.everything.remove(&view)),
            Place::Unindexed => drop(self.unindexed.remove(&view)),
            Place::Under(anchors) => self.withdraw(anchors, view),
        }
    }

    /// Adds every view that the record can match to `found`: at least all that it does match, some of them maybe more than
    /// once.
    pub(crate) fn candidates(&self, record: &Record, found: &mut Vec<ViewId>) {
        found.extend(&self.everything);
        found.extend(&self.unindexed);
        let values = look(record, &self.columns, &self.hasher);
        for template in &self.templates {
            template.candidates(&values, found);
        }
    }

    /// How many views stand on the list that every record is tried against, those without a filter not counted.
    #[cfg(test)]
    pub(crate) fn unindexed(&self) -> usize {
        self.unindexed.len()
    }

    /// Whether there is no view that a record could concern.
    pub(crate) fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.everything.is_empty() && self.unindexed.is_empty()
    }

    /// Files a view under all of these parts, or under none of them.
    fn file(&mut self, parts: &[Part<'_, '_>], view: ViewId) -> Option<Box<[Anchor]>> {
        let mut anchors = Vec::new();
        for part in parts {
            let left = MAX_VIEW_ANCHORS - anchors.len();
            let Some((template, choice)) = self.fit(part).filter(|(_, choice)| choice.places() <= left)
            else {
                self.withdraw(&anchors, view);
                return None;
            };
            let Some(template) = self.templates.get_mut(template) else { continue };
            let range = choice.range.map(|range| range.stretch);
            for lead in choice.leads(&self.hasher) {
                anchors.extend(template.insert(lead, range, view));
            }
        }
        Some(anchors.into())
    }

    fn withdraw(&mut self, anchors: &[Anchor], view: ViewId) {
        for anchor in anchors {
            let mut templates = self.templates.iter_mut();
            if let Some(template) = templates.find(|template| Arc::ptr_eq(&template.shape, &anchor.shape)) {
                template.remove(anchor, view);
            }
        }
        let before = self.templates.len();
        self.templates.retain(|template| !template.is_empty());
        if self.templates.len() < before {
            self.settle();
        }
    }

    /// The template for a part, and what of the part it asks for: as much as can be. Once there are as many templates as
    /// there may be, only those that are there serve.
    fn fit<'p, 'f, 'm>(&mut self, part: &'p Part<'f, 'm>) -> Option<(usize, Choice<'p, 'f, 'm>)> {
        for choice in Choice::of(part) {
            let known = self.templates.iter().position(|template| {
                template.shape.range.is_some() == choice.range.is_some()
                    && template.shape.members().eq(choice.members())
            });
            if let Some(template) = known {
                return Some((template, choice));
            }
            if self.templates.len() < MAX_VIEW_TEMPLATES && self.has_room_for(choice.members()) {
                self.templates.push(Template::new(choice.shape()));
                self.settle();
                return Some((self.templates.len() - 1, choice));
            }
        }
        None
    }

    fn has_room_for<'m>(&self, members: impl Iterator<Item = &'m Member>) -> bool {
        let known = self.columns.iter().filter(|member| is_foreign(member)).count();
        let new = members.filter(|member| is_foreign(member) && !self.columns.contains(member)).count();
        new == 0 || known + new <= MAX_VIEW_FOREIGN_MEMBERS
    }

    /// The templates are others than before.
    fn settle(&mut self) {
        self.columns.clear();
        for template in &mut self.templates {
            template.settle(&mut self.columns);
        }
    }
}

impl<'p, 'f, 'm> Choice<'p, 'f, 'm> {
    /// What of a part can be asked for together, the most telling first: the members that tell most, ever fewer of them,
    /// then each of the others alone.
    fn of(part: &'p Part<'f, 'm>) -> Vec<Self> {
        let mut best: Vec<&Equal<'_, '_>> = Vec::new();
        let mut places = 1;
        for equal in &part.equal {
            let more = places * equal.values.len();
            if best.len() < MAX_INDEX_FIELDS && (places == 1 || more <= MAX_VIEW_COMBINATIONS) {
                best.push(equal);
                places = more;
            }
        }
        let mut choices = Vec::new();
        for subset in 0_u32..1 << best.len() {
            let chosen = best.iter().enumerate().filter(|(i, _)| subset & 1 << i != 0);
            let mut equal: Vec<&Equal<'_, '_>> = chosen.map(|(_, equal)| *equal).collect();
            equal.sort_by_key(|equal| name(equal.member));
            choices
                .extend(part.ranges.first().map(|range| Self { equal: equal.clone(), range: Some(range) }));
            if !equal.is_empty() {
                choices.push(Self { equal, range: None });
            }
        }
        choices.sort_by_key(|choice| std::cmp::Reverse((choice.members().count(), choice.equal.len())));
        choices.extend(part.equal.iter().skip(1).map(|equal| Self { equal: vec![equal], range: None }));
        choices
            .extend(part.ranges.iter().skip(1).map(|range| Self { equal: Vec::new(), range: Some(range) }));
        choices
    }

    fn members(&self) -> impl Iterator<Item = &'m Member> {
        self.equal.iter().map(|equal| equal.member).chain(self.range.map(|range| range.member))
    }

    fn shape(&self) -> Shape {
        Shape {
            equal: self.equal.iter().map(|equal| equal.member.clone()).collect(),
            range: self.range.map(|range| range.member.clone()),
        }
    }

    /// Places under which a view stands that is filed so.
    fn places(&self) -> usize {
        self.equal.iter().map(|equal| equal.values.len()).product()
    }

    /// Each value of each member with each of the others.
    fn leads(&self, hasher: &RandomState) -> Vec<Lead> {
        let mut leads = vec![Lead::NONE];
        for equal in &self.equal {
            let look = |value: &&Constant| Looked::at(&value.as_field(), hasher);
            let values: Vec<Looked> = equal.values.iter().filter_map(look).collect();
            leads = leads.iter().flat_map(|lead| values.iter().map(|value| lead.and(*value))).collect();
        }
        leads
    }
}

impl Filed {
    /// Whether the view stands on the list that every record is tried against though its filter is not empty.
    pub(crate) fn is_unindexed(&self) -> bool {
        matches!(self.0, Place::Unindexed)
    }

    /// For people, the kinds of places where the view is found, each once: `[{"equal":["done","owner"],"range":"due"}]`.
    /// `[]` if no record can match, `[{}]` if every record does, `null` if every record has to be tried.
    pub(crate) fn explain(&self) -> Value {
        match &self.0 {
            Place::Nowhere => Value::Array(Vec::new()),
            Place::Everything => Value::Array(vec![Value::Object(serde_json::Map::new())]),
            Place::Unindexed => Value::Null,
            Place::Under(anchors) => {
                let mut shapes: Vec<&Arc<Shape>> = Vec::new();
                for anchor in anchors {
                    if !shapes.iter().any(|shape| Arc::ptr_eq(shape, &anchor.shape)) {
                        shapes.push(&anchor.shape);
                    }
                }
                shapes.into_iter().map(|shape| shape.explain()).collect()
            }
        }
    }
}
