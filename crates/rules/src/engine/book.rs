//! All rules, and which of them can fire.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::groups::Groups;
use crate::rule::Rule;

/// All rules: by id, and in the order in which they were registered.
#[derive(Debug, Default)]
pub(super) struct Book {
    orders: HashMap<Arc<str>, u64>,
    rules: BTreeMap<u64, Arc<Rule>>,
    /// The rules of each group.
    members: HashMap<Arc<str>, BTreeSet<u64>>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// A rule and its place.
    pub(super) fn get(&self, id: &str) -> Option<(u64, &Arc<Rule>)> {
        let order = *self.orders.get(id)?;
        Some((order, self.rules.get(&order)?))
    }

    pub(super) fn at(&self, order: u64) -> Option<&Arc<Rule>> {
        self.rules.get(&order)
    }

    /// Puts a rule at its place, or takes it out. Gives what was there.
    pub(super) fn put(&mut self, id: &Arc<str>, rule: Option<(u64, Arc<Rule>)>) -> Option<(u64, Arc<Rule>)> {
        let old = self.orders.remove(id).and_then(|order| Some((order, self.rules.remove(&order)?)));
        if let Some((order, old)) = &old
            && let Some(group) = &old.group
            && let Some(members) = self.members.get_mut(group)
        {
            members.remove(order);
            if members.is_empty() {
                self.members.remove(group);
            }
        }
        if let Some((order, rule)) = rule {
            self.orders.insert(Arc::clone(id), order);
            if let Some(group) = &rule.group {
                self.members.entry(Arc::clone(group)).or_default().insert(order);
            }
            self.rules.insert(order, rule);
        }
        old
    }

    /// The rules of a group, in their order.
    pub(super) fn members(&self, group: &str) -> Vec<(u64, Arc<Rule>)> {
        let members = self.members.get(group).into_iter().flatten();
        members.filter_map(|order| Some((*order, Arc::clone(self.rules.get(order)?)))).collect()
    }
}

/// Whether a rule can fire: it is enabled, and so is its group if there is such a group.
pub(super) fn is_active(rule: &Rule, groups: &Groups) -> bool {
    let group = rule.group.as_ref().and_then(|group| groups.get(group));
    rule.enabled && group.is_none_or(|placed| placed.group.enabled)
}
