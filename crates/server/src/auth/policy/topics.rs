//! `topics` of a permission rule: which events, facts and rules it is about.

use dunlin_protocol::{KeyPattern, Resource, TopicPattern};

/// What matches everything.
pub(super) const ANY: &str = "*";

/// Some of these patterns together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Topics(pub(super) Vec<Topic>);

/// One pattern. It speaks the language of what it is held against: dots between the segments of topics and ids of rules, colons
/// between those of keys; and `*` alone is everything in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    topic: TopicPattern,
    key: KeyPattern,
}

impl Topic {
    pub(super) fn new(pattern: &str) -> Self {
        Self { topic: TopicPattern::new(pattern), key: KeyPattern::new(pattern) }
    }

    fn covers(&self, resource: &Resource<'_>) -> bool {
        if self.topic.as_str() == ANY {
            return true;
        }
        match resource {
            Resource::Topic(name) | Resource::Rule(name) => self.topic.matches(name),
            Resource::TopicPattern(pattern) => self.topic.covers(&TopicPattern::new(pattern)),
            Resource::Key(key) => self.key.matches(key),
            Resource::KeyPattern(pattern) => self.key.covers(&KeyPattern::new(pattern)),
            Resource::Own => true,
            _ => false,
        }
    }
}

impl Topics {
    /// Whether one of them allows all that this stands for. Two that do so only together do not.
    pub(super) fn cover(&self, resource: &Resource<'_>) -> bool {
        self.0.iter().any(|topic| topic.covers(resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_keys_and_patterns_are_held_to_the_same_list() {
        let topics = Topics(["order.*", "user:*", "exact"].map(Topic::new).into());
        let all = Topics(vec![Topic::new("*")]);
        let table = [
            (Resource::Topic("order.created".into()), true),
            (Resource::Topic("payment.made".into()), false),
            (Resource::Topic("exact".into()), true),
            (Resource::TopicPattern("order.*".into()), true),
            (Resource::TopicPattern("order.*.paid".into()), true),
            (Resource::TopicPattern("*".into()), false),
            (Resource::TopicPattern("*.created".into()), false),
            (Resource::Key("user:1".into()), true),
            (Resource::Key("user:a.b".into()), true),
            (Resource::Key("user:1:name".into()), false),
            (Resource::Key("users".into()), false),
            (Resource::KeyPattern("user:*".into()), true),
            (Resource::KeyPattern("user:7*".into()), true),
            (Resource::KeyPattern("*:*".into()), false),
            (Resource::Rule("order.vip".into()), true),
            (Resource::Rule("vip".into()), false),
            (Resource::Rules, false),
        ];
        for (resource, allowed) in table {
            assert_eq!(topics.cover(&resource), allowed, "{resource:?}");
            assert!(all.cover(&resource), "{resource:?}");
        }
    }
}
