//! What patterns over topics and over keys are made of, and when one matches all that another can match.

use std::fmt;

use crate::limits::{MAX_NAME_BYTES, MAX_SEGMENTS};

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segment<'a> {
    /// This text.
    Literal(&'a str),
    /// A text with `*` in it, each of which stands for any run of letters.
    Part(&'a str),
    /// Any one segment: of a topic also an empty one, of a key not.
    One,
    /// One segment or more, whatever they are, up to the end. Only as the last.
    Rest,
}

const ANY: &str = "*";

impl<'a> Segment<'a> {
    /// Reads one segment; what is nothing but `*` stands for any one segment.
    pub(crate) fn new(text: &'a str) -> Self {
        if text == ANY {
            Self::One
        } else if text.contains(ANY) {
            Self::Part(text)
        } else {
            Self::Literal(text)
        }
    }

    /// Whether one segment of a topic matches.
    pub fn matches(&self, given: &str) -> bool {
        match self {
            Self::Literal(text) => *text == given,
            Self::Part(pattern) => part_matches(pattern, given),
            Self::One | Self::Rest => true,
        }
    }

    /// Whether everything that one segment of another pattern can be is matched.
    fn covers(&self, other: &Segment<'_>) -> bool {
        match (self, other) {
            (Self::One, Segment::Literal(text)) => !text.is_empty(),
            (Self::One, Segment::Part(text)) => text.bytes().any(|byte| byte != b'*'),
            (Self::One, Segment::One) => true,
            // A `*` of the other's is a letter that nothing but a `*` matches.
            (Self::Part(pattern), Segment::Literal(text) | Segment::Part(text)) => {
                part_matches(pattern, text)
            }
            (Self::Literal(text), Segment::Literal(other)) => text == other,
            _ => false,
        }
    }
}

/// Whether everything that one pattern matches is matched by another. May say no where it is so, never yes where it is not.
pub(crate) fn covers(all: &[Segment<'_>], other: &[Segment<'_>]) -> bool {
    match (all, other) {
        ([], []) | ([Segment::Rest], [_, ..]) => true,
        ([first, all @ ..], [segment, other @ ..]) => first.covers(segment) && covers(all, other),
        _ => false,
    }
}

/// A text with stars against one without.
pub(crate) fn part_matches(pattern: &str, given: &str) -> bool {
    let Some((head, rest)) = pattern.split_once(ANY) else { return pattern == given };
    let (middle, tail) = rest.rsplit_once(ANY).unwrap_or(("", rest));
    let Some(inner) = given.strip_prefix(head).and_then(|given| given.strip_suffix(tail)) else {
        return false;
    };
    let mut left = inner;
    middle.split(ANY).filter(|piece| !piece.is_empty()).all(|piece| match left.find(piece) {
        Some(at) => {
            left = left.get(at + piece.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

/// Why a text is no pattern.
///
/// ```
/// use dunlin_protocol::{PatternFault, TopicPattern};
///
/// let fault = TopicPattern::parse("order.**").unwrap_err();
/// assert_eq!(fault, PatternFault::DoubleStar);
/// assert!(fault.to_string().contains("use a single *"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternFault {
    /// There is nothing in it.
    Empty,
    /// A topic has nothing between two dots, or beside one.
    EmptySegment,
    /// `**` means nothing yet.
    DoubleStar,
    /// It is longer than [`MAX_NAME_BYTES`].
    TooLong,
    /// It has more segments than [`MAX_SEGMENTS`].
    TooManySegments,
}

impl fmt::Display for PatternFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty; use * for everything"),
            Self::EmptySegment => f.write_str("it has an empty segment; write something between the dots"),
            Self::DoubleStar => f.write_str("** has no meaning; use a single *"),
            Self::TooLong => write!(f, "it is longer than {MAX_NAME_BYTES} bytes"),
            Self::TooManySegments => write!(f, "it has more than {MAX_SEGMENTS} segments"),
        }
    }
}

impl std::error::Error for PatternFault {}

/// What holds of every pattern, and of the topics and keys that are matched.
pub(crate) fn check(pattern: &str, separator: char) -> Result<(), PatternFault> {
    if pattern.is_empty() {
        Err(PatternFault::Empty)
    } else if pattern.len() > MAX_NAME_BYTES {
        Err(PatternFault::TooLong)
    } else if pattern.split(separator).count() > MAX_SEGMENTS {
        Err(PatternFault::TooManySegments)
    } else if pattern.contains("**") {
        Err(PatternFault::DoubleStar)
    } else {
        Ok(())
    }
}
