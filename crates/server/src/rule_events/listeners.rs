//! Which connections hear of which topics.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_protocol::TopicPattern;
use dunlin_rules::index::TopicIndex;
use serde_json::Value;

use crate::connection::SubscriptionId;
use crate::registry::Entry;

/// Subscriptions of all connections. An event finds those whose pattern matches through a trie; the others cost it nothing.
#[derive(Default)]
pub(super) struct Listeners {
    all: HashMap<SubscriptionId, Listener>,
    by_topic: TopicIndex<SubscriptionId>,
}

struct Listener {
    pattern: TopicPattern,
    entry: Arc<Entry>,
    /// It hears what has a higher number.
    since: u64,
}

impl Listeners {
    pub(super) fn join(&mut self, id: SubscriptionId, pattern: TopicPattern, entry: Arc<Entry>, since: u64) {
        self.by_topic.insert(&pattern, &[], id);
        self.all.insert(id, Listener { pattern, entry, since });
    }

    pub(super) fn leave(&mut self, id: SubscriptionId) {
        if let Some(listener) = self.all.remove(&id) {
            self.by_topic.remove(&listener.pattern, &[], id);
        }
    }

    /// Who hears the event of this number with this topic, each once, in the order of the subscriptions.
    pub(super) fn of(&self, topic: &str, number: u64) -> Vec<(SubscriptionId, Arc<Entry>)> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.by_topic.matching(topic, &Value::Null, &mut found);
        let listeners = found.into_iter().filter_map(|id| Some((id, self.all.get(&id)?)));
        let listeners = listeners.filter(|(_, listener)| listener.since < number);
        listeners.map(|(id, listener)| (id, Arc::clone(&listener.entry))).collect()
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (SubscriptionId, Arc<Entry>)> {
        self.all.into_iter().map(|(id, listener)| (id, listener.entry))
    }
}
