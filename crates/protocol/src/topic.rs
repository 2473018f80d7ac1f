//! Patterns over topics: one language for everything that is heard by topic.

use std::fmt;

/// A pattern over topics such as `order.created`. Segments lie between dots and are compared letter by letter:
///
/// - `*` alone matches every topic;
/// - a segment that is `*` matches any one segment;
/// - as the last segment, `*` matches the rest of the topic, however many segments that are, also none;
/// - any other segment matches itself. A `*` inside a longer segment is an ordinary letter.
///
/// ```
/// use dunlin_protocol::TopicPattern;
///
/// let orders = TopicPattern::new("order.*");
/// assert!(orders.matches("order.created") && orders.matches("order.line.added") && orders.matches("order"));
/// assert!(!orders.matches("orders.created"));
/// assert!(TopicPattern::new("*.created").matches("order.created"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Box<str>);

const ANY: &str = "*";

impl TopicPattern {
    /// Reads a pattern. Every text is one.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic matches.
    pub fn matches(&self, topic: &str) -> bool {
        let mut topic = topic.split('.');
        let mut pattern = self.0.split('.').peekable();
        while let Some(segment) = pattern.next() {
            if segment == ANY && pattern.peek().is_none() {
                return true;
            }
            if !topic.next().is_some_and(|given| segment == ANY || segment == given) {
                return false;
            }
        }
        topic.next().is_none()
    }

    /// Whether the change of a record matches: `kind` is `inserted`, `updated` or `deleted`. Its topic is
    /// `bucket.<name>.<kind>`, but a bucket's name may have dots of its own. A pattern that begins with `bucket.` is
    /// therefore held against the name and the kind, each for itself: `bucket.a.*` is about the bucket `a` and not about
    /// `a.b`, and `bucket.*.inserted` is about both.
    ///
    /// ```
    /// use dunlin_protocol::TopicPattern;
    ///
    /// let pattern = TopicPattern::new("bucket.*.inserted");
    /// assert!(pattern.matches_change("users", "inserted") && pattern.matches_change("shop.users", "inserted"));
    /// ```
    pub fn matches_change(&self, bucket: &str, kind: &str) -> bool {
        let Some(rest) = self.0.strip_prefix("bucket.") else {
            return self.matches(&format!("bucket.{bucket}.{kind}"));
        };
        let Some((name, last)) = rest.rsplit_once('.') else { return rest == ANY };
        if (last == ANY || last == kind) && name_matches(name, bucket) {
            return true;
        }
        // The last `*` may stand for nothing.
        last == ANY
            && name.rsplit_once('.').is_some_and(|(name, last)| last == kind && name_matches(name, bucket))
    }
}

/// A name's pattern against a name: `*` alone matches all of it, dots and all.
fn name_matches(pattern: &str, name: &str) -> bool {
    pattern == ANY
        || (pattern.split('.').count() == name.split('.').count()
            && pattern
                .split('.')
                .zip(name.split('.'))
                .all(|(wanted, given)| wanted == ANY || wanted == given))
}

impl From<&str> for TopicPattern {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        let table = [
            ("*", &["order", "order.created", "", "a.b.c"][..], &[][..]),
            ("order", &["order"], &["order.created", "Order", ""]),
            ("order.created", &["order.created"], &["order", "order.created.x", "order.create"]),
            ("order.*", &["order", "order.created", "order.a.b"], &["orders", "a.order", ""]),
            ("*.created", &["order.created", "a.created"], &["created", "a.b.created", "a.created.x"]),
            ("*.*", &["order", "order.created", "a.b.c"], &[]),
            ("a.*.c", &["a.b.c", "a.x.c"], &["a.c", "a.b.c.d", "a.b.b.c"]),
            ("a.*.c.*", &["a.b.c", "a.b.c.d", "a.b.c.d.e"], &["a.b.d", "a.b"]),
            ("ord*", &["ord*"], &["order", "ord"]),
            ("", &[""], &["a"]),
        ];
        for (pattern, matched, others) in table {
            let pattern = TopicPattern::new(pattern);
            for topic in matched {
                assert!(pattern.matches(topic), "{pattern} {topic}");
            }
            for topic in others {
                assert!(!pattern.matches(topic), "{pattern} {topic}");
            }
        }
    }

    #[test]
    fn changes_are_matched_by_bucket_and_kind_not_by_text() {
        let (users, dotted, deep) = (("users", "inserted"), ("shop.users", "inserted"), ("a.b.c", "deleted"));
        let table = [
            ("*", [true, true, true]),
            ("bucket.*", [true, true, true]),
            ("bucket.*.*", [true, true, true]),
            ("bucket.*.inserted", [true, true, false]),
            ("bucket.*.deleted", [false, false, true]),
            ("bucket.users.*", [true, false, false]),
            ("bucket.users.inserted", [true, false, false]),
            ("bucket.users.inserted.*", [true, false, false]),
            ("bucket.users", [false, false, false]),
            ("bucket.shop.*", [false, false, false]),
            ("bucket.shop.users.*", [false, true, false]),
            ("bucket.shop.users.inserted", [false, true, false]),
            ("bucket.*.users.inserted", [false, true, false]),
            ("bucket.a.*.c.*", [false, false, true]),
            ("bucket", [false, false, false]),
            ("bucket.", [false, false, false]),
            ("*.users.inserted", [true, false, false]),
            ("*.shop.*", [false, true, false]),
        ];
        for (pattern, expected) in table {
            let found = [users, dotted, deep]
                .map(|(bucket, kind)| TopicPattern::new(pattern).matches_change(bucket, kind));
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
