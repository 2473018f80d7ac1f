//! Patterns over topics: one language for everything that is heard by topic.

use std::fmt;

use crate::segment::{PatternFault, Segment, check, covers};

/// A pattern over topics such as `order.created`. Segments lie between dots and are compared letter by letter:
///
/// - `*` alone matches every topic;
/// - a segment that is `*` matches exactly one segment;
/// - as the last of several segments, `*` matches the rest of the topic, one segment or more;
/// - a `*` inside a longer segment stands for any run of its letters, also none;
/// - everything else is literal.
///
/// ```
/// use dunlin_protocol::TopicPattern;
///
/// let orders = TopicPattern::new("order.*");
/// assert!(orders.matches("order.created") && orders.matches("order.line.added"));
/// assert!(!orders.matches("order") && !orders.matches("orders.created"));
/// assert!(TopicPattern::new("*.created").matches("order.created"));
/// assert!(TopicPattern::new("ord*.created").matches("order.created"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Box<str>);

const ANY: &str = "*";
/// What the topics of changed records begin with.
const BUCKET: &str = "bucket.";

impl TopicPattern {
    /// Takes any text as a pattern; one that [`parse`](Self::parse) refuses may match nothing.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// Reads a pattern that somebody has written.
    ///
    /// ```
    /// use dunlin_protocol::TopicPattern;
    ///
    /// assert!(TopicPattern::parse("order.*.paid").is_ok());
    /// assert!(TopicPattern::parse("order..paid").is_err() && TopicPattern::parse("").is_err());
    /// ```
    ///
    /// # Errors
    /// Why it is no pattern.
    pub fn parse(pattern: &str) -> Result<Self, PatternFault> {
        check(pattern, '.')?;
        if pattern.split('.').any(str::is_empty) {
            return Err(PatternFault::EmptySegment);
        }
        Ok(Self::new(pattern))
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is made of.
    pub fn segments(&self) -> Vec<Segment<'_>> {
        segments(&self.0)
    }

    /// Whether a topic matches.
    pub fn matches(&self, topic: &str) -> bool {
        if &*self.0 == ANY {
            return true;
        }
        let mut topic = topic.split('.');
        let mut pattern = self.0.split('.').peekable();
        while let Some(segment) = pattern.next() {
            let Some(given) = topic.next() else { return false };
            if segment == ANY && pattern.peek().is_none() {
                return true;
            }
            if !Segment::new(segment).matches(given) {
                return false;
            }
        }
        topic.next().is_none()
    }

    /// Whether everything that another pattern can match is matched by this one: topics, and changes of records. It may say no
    /// where that is so, but never yes where it is not.
    ///
    /// ```
    /// use dunlin_protocol::TopicPattern;
    ///
    /// let orders = TopicPattern::new("order.*");
    /// assert!(orders.covers(&"order.created".into()) && orders.covers(&"order.*.paid".into()));
    /// assert!(!orders.covers(&"*".into()) && !orders.covers(&"*.created".into()));
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        if &*self.0 == ANY {
            return true;
        }
        match (self.change_segments(), other.change_segments()) {
            (Some(all), Some(other)) => covers(&all, &other),
            // Names with dots are matched by text here, and segment by segment there.
            (None, Some(_)) => false,
            (_, None) => covers(&self.segments(), &other.segments()),
        }
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
        let Some(rest) = self.0.strip_prefix(BUCKET) else {
            return self.matches(&format!("{BUCKET}{bucket}.{kind}"));
        };
        let Some((name, last)) = rest.rsplit_once('.') else { return rest == ANY };
        Segment::new(last).matches(kind) && name_matches(name, bucket)
    }

    /// What it is made of where it is held against changes of records: the kind first, then the segments of the bucket's name.
    /// `None` if it does not begin with `bucket.`.
    pub fn change_segments(&self) -> Option<Vec<Segment<'_>>> {
        let rest = self.0.strip_prefix(BUCKET)?;
        let (name, kind) = match rest.rsplit_once('.') {
            Some(both) => both,
            None if rest == ANY => (ANY, ANY),
            // The last segment would be the kind; without it no change matches.
            None => return Some(vec![Segment::Literal(""), Segment::Literal(rest)]),
        };
        let mut segments = vec![Segment::new(kind)];
        if name == ANY {
            segments.push(Segment::Rest);
        } else {
            segments.extend(name.split('.').map(Segment::new));
        }
        Some(segments)
    }
}

fn segments(pattern: &str) -> Vec<Segment<'_>> {
    let mut segments: Vec<_> = pattern.split('.').map(Segment::new).collect();
    if let Some(last) = segments.last_mut()
        && *last == Segment::One
    {
        *last = Segment::Rest;
    }
    segments
}

/// A name's pattern against a name: `*` alone matches all of it, dots and all.
fn name_matches(pattern: &str, name: &str) -> bool {
    pattern == ANY
        || (pattern.split('.').count() == name.split('.').count()
            && pattern
                .split('.')
                .zip(name.split('.'))
                .all(|(wanted, given)| Segment::new(wanted).matches(given)))
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
            ("order.*", &["order.created", "order.a.b"], &["order", "orders", "a.order", ""]),
            ("*.created", &["order.created", "a.created"], &["created", "a.b.created", "a.created.x"]),
            ("*.*", &["order.created", "a.b.c"], &["order", ""]),
            ("a.*.c", &["a.b.c", "a.x.c"], &["a.c", "a.b.c.d", "a.b.b.c"]),
            ("a.*.c.*", &["a.b.c.d", "a.b.c.d.e"], &["a.b.c", "a.b.d", "a.b"]),
            ("ord*", &["ord*", "order", "ord"], &["order.created", "or", "word"]),
            (
                "*.cr*d.*ed",
                &["a.created.ed", "b.crd.paided"],
                &["a.created", "a.create.ed", "a.b.created.ed"],
            ),
            ("a*b*a.x", &["aba.x", "aXbYa.x"], &["aa.x", "ab.x", "aba.y"]),
            ("a+(.[", &["a+(.["], &["aa(.["]),
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
            ("bucket.users.inserted.*", [false, false, false]),
            ("bucket.us*.ins*", [true, false, false]),
            ("bucket.shop.u*.*ed", [false, true, false]),
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
