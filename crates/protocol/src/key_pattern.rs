//! Patterns over keys of facts and names of timers.

use std::fmt;

use crate::segment::{PatternFault, Segment, check, covers};

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
    /// Takes any text as a pattern; one that [`parse`](Self::parse) refuses may match nothing.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a pattern that somebody has written.
    ///
    /// ```
    /// use dunlin_protocol::KeyPattern;
    ///
    /// assert!(KeyPattern::parse("cart:*:total").is_ok());
    /// assert!(KeyPattern::parse("cart:**").is_err() && KeyPattern::parse("").is_err());
    /// ```
    ///
    /// # Errors
    /// Why it is no pattern.
    pub fn parse(pattern: &str) -> Result<Self, PatternFault> {
        check(pattern, ':').map(|()| Self::new(pattern))
    }

    /// What it is made of.
    pub fn segments(&self) -> Vec<Segment<'_>> {
        self.0.split(':').map(Segment::new).collect()
    }

    /// Whether a key matches.
    pub fn matches(&self, key: &str) -> bool {
        let (mut pattern, mut key) = (self.0.split(':'), key.split(':'));
        loop {
            match (pattern.next(), key.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) => match Segment::new(wanted) {
                    Segment::One if given.is_empty() => return false,
                    segment if segment.matches(given) => {}
                    _ => return false,
                },
                _ => return false,
            }
        }
    }

    /// Whether everything that another pattern can match is matched by this one. It may say no where that is so, but never yes
    /// where it is not.
    ///
    /// ```
    /// use dunlin_protocol::KeyPattern;
    ///
    /// let carts = KeyPattern::new("cart:*");
    /// assert!(carts.covers(&KeyPattern::new("cart:7")) && carts.covers(&KeyPattern::new("cart:7*")));
    /// assert!(!carts.covers(&KeyPattern::new("cart:7:total")) && !carts.covers(&KeyPattern::new("*:7")));
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.segments(), &other.segments())
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
