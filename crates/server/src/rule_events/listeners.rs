//! Which connections hear of which topics.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use dunlin_protocol::TopicPattern;

use crate::connection::SubscriptionId;
use crate::registry::Entry;

/// See the module.
#[derive(Default)]
pub(super) struct Listeners {
    by_id: HashMap<SubscriptionId, TopicPattern>,
    by_pattern: BTreeMap<TopicPattern, BTreeMap<SubscriptionId, Listener>>,
}

#[derive(Clone)]
struct Listener {
    entry: Arc<Entry>,
    /// It hears what has a higher number.
    since: u64,
}

impl Listeners {
    pub(super) fn join(&mut self, id: SubscriptionId, pattern: TopicPattern, entry: Arc<Entry>, since: u64) {
        self.by_pattern.entry(pattern.clone()).or_default().insert(id, Listener { entry, since });
        self.by_id.insert(id, pattern);
    }

    pub(super) fn leave(&mut self, id: SubscriptionId) {
        let Some(pattern) = self.by_id.remove(&id) else { return };
        if let Some(all) = self.by_pattern.get_mut(&pattern) {
            all.remove(&id);
            if all.is_empty() {
                self.by_pattern.remove(&pattern);
            }
        }
    }

    /// Who hears the event of this number with this topic, each once.
    pub(super) fn of(&self, topic: &str, number: u64) -> Vec<(SubscriptionId, Arc<Entry>)> {
        let matching = self.by_pattern.iter().filter(|(pattern, _)| pattern.matches(topic));
        let mut found: Vec<_> = matching
            .flat_map(|(_, listeners)| listeners)
            .filter(|(_, listener)| listener.since < number)
            .map(|(id, listener)| (*id, Arc::clone(&listener.entry)))
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    pub(super) fn into_all(self) -> Vec<(SubscriptionId, Arc<Entry>)> {
        let all = self.by_pattern.into_values().flatten();
        all.map(|(id, listener)| (id, listener.entry)).collect()
    }
}
