//! Patterns over keys of facts and names of timers.

use std::fmt;

/// A pattern over keys such as `user:7:name`. Segments lie between colons; a `*` in a segment stands for any run of its letters,
/// and a segment that is `*` for any segment that is not empty. Everything else is literal.
///
/// ```
/// use dunlin_protocol::KeyPattern;
///
/// let names = KeyPattern::new("user:*:name");
/// assert!(names.matches("user:7:name") && !names.matches("user:7:8:name") && !names.matches("user::name"));
/// assert!(KeyPattern::new("cu*:1").matches("customer:1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPattern(Box<str>);

impl KeyPattern {
    /// Reads a pattern. Every text is one.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a key matches.
    pub fn matches(&self, key: &str) -> bool {
        let (mut pattern, mut key) = (self.0.split(':'), key.split(':'));
        loop {
            match (pattern.next(), key.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if segment_matches(wanted, given) => {}
                _ => return false,
            }
        }
    }
}

/// A segment with stars against one without.
fn segment_matches(wanted: &str, given: &str) -> bool {
    let Some((head, rest)) = wanted.split_once('*') else { return wanted == given };
    let Some((middle, tail)) = rest.rsplit_once('*').or(Some(("", rest))) else { return false };
    let Some(inner) = given.strip_prefix(head).and_then(|given| given.strip_suffix(tail)) else {
        return false;
    };
    if wanted == "*" {
        return !given.is_empty();
    }
    let mut left = inner;
    middle.split('*').filter(|piece| !piece.is_empty()).all(|piece| match left.find(piece) {
        Some(at) => {
            left = left.get(at + piece.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
