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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{KeyPattern, TopicPattern};

    /// Every way in which stars can be something: slow, and plainly what the language says.
    fn naive_part(pattern: &[u8], given: &[u8]) -> bool {
        match pattern.split_first() {
            None => given.is_empty(),
            Some((b'*', rest)) => (0..=given.len()).any(|skipped| naive_part(rest, &given[skipped..])),
            Some((letter, rest)) => given.first() == Some(letter) && naive_part(rest, &given[1..]),
        }
    }

    fn naive_segments(pattern: &[&str], given: &[&str], topic: bool) -> bool {
        match (pattern, given) {
            ([], []) => true,
            (["*"], [_, ..]) if topic => true,
            ([first, pattern @ ..], [segment, given @ ..]) => {
                let filled = topic || *first != "*" || !segment.is_empty();
                filled
                    && naive_part(first.as_bytes(), segment.as_bytes())
                    && naive_segments(pattern, given, topic)
            }
            _ => false,
        }
    }

    fn split(text: &str, separator: char) -> Vec<&str> {
        text.split(separator).collect()
    }

    fn pattern(separator: &'static str) -> impl Strategy<Value = String> {
        let segment = prop_oneof![Just("*".to_owned()), "[ab]{1,2}", "[ab*]{1,4}", Just("bucket".to_owned())];
        prop::collection::vec(segment, 1..5)
            .prop_map(move |segments| segments.join(separator))
            .prop_filter("** means nothing", |pattern| !pattern.contains("**"))
    }

    fn name(separator: &'static str) -> impl Strategy<Value = String> {
        let segment = prop_oneof!["[ab]{0,4}", Just("bucket".to_owned())];
        prop::collection::vec(segment, 1..5).prop_map(move |segments| segments.join(separator))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn topics_match_as_the_language_says(pattern in pattern("."), topic in name(".")) {
            let expected = naive_segments(&split(&pattern, '.'), &split(&topic, '.'), true);
            prop_assert_eq!(TopicPattern::new(&pattern).matches(&topic), expected);
        }

        #[test]
        fn keys_match_as_the_language_says(pattern in pattern(":"), key in name(":")) {
            let expected = naive_segments(&split(&pattern, ':'), &split(&key, ':'), false);
            prop_assert_eq!(KeyPattern::new(&pattern).matches(&key), expected);
        }

        #[test]
        fn what_is_covered_is_matched(
            all in pattern("."), other in pattern("."), topic in name("."), bucket in name("."),
        ) {
            let (all, other) = (TopicPattern::new(&all), TopicPattern::new(&other));
            prop_assert!(other.covers(&other));
            if all.covers(&other) {
                prop_assert!(all.matches(&topic) || !other.matches(&topic));
                prop_assert!(all.matches_change(&bucket, "ab") || !other.matches_change(&bucket, "ab"));
            }
            // Also where the other is made to match.
            let filled = other.as_str().replace('*', "b");
            if all.covers(&other) && !filled.starts_with("bucket.") {
                prop_assert!(all.matches(&filled), "{} {} {}", all, other, filled);
            }
        }

        #[test]
        fn covered_keys_are_matched(all in pattern(":"), other in pattern(":"), key in name(":")) {
            let (all, other) = (KeyPattern::new(&all), KeyPattern::new(&other));
            prop_assert!(other.covers(&other));
            if all.covers(&other) {
                prop_assert!(all.matches(&key) || !other.matches(&key));
                prop_assert!(all.matches(&other.as_str().replace('*', "b")), "{} {}", all, other);
            }
        }
    }

    #[test]
    fn coverage() {
        let table = [
            ("*", "*", true),
            ("*", "bucket.*", true),
            ("order.*", "order.created", true),
            ("order.*", "order.*.paid", true),
            ("order.*", "order.*", true),
            ("order.*", "order", false),
            ("order.*", "*", false),
            ("*.*", "order.*", true),
            ("*.*", "*", false),
            ("order.*.*", "order.*", false),
            ("order.c*", "order.created", true),
            ("order.c*", "order.cr*d", true),
            ("order.c*d", "order.c*", false),
            ("order.*d.x", "order.created.x", true),
            ("order.created", "order.c*", false),
            ("bucket.*", "bucket.users.inserted", true),
            ("bucket.users.*", "bucket.users.inserted", true),
            ("bucket.*.inserted", "bucket.shop.users.inserted", true),
            // As topics they lie in each other; as buckets they do not.
            ("bucket.shop.*", "bucket.shop.users.inserted", false),
            ("*.*.inserted", "bucket.*.inserted", false),
        ];
        for (all, other, expected) in table {
            assert_eq!(TopicPattern::new(all).covers(&other.into()), expected, "{all} {other}");
        }
    }

    #[test]
    fn faults() {
        let table = [
            ("", PatternFault::Empty),
            ("a..b", PatternFault::EmptySegment),
            (".a", PatternFault::EmptySegment),
            ("a.", PatternFault::EmptySegment),
            ("a.**", PatternFault::DoubleStar),
            ("a**b", PatternFault::DoubleStar),
        ];
        for (pattern, fault) in table {
            assert_eq!(TopicPattern::parse(pattern), Err(fault), "{pattern}");
        }
        assert_eq!(TopicPattern::parse(&"a".repeat(513)), Err(PatternFault::TooLong));
        assert_eq!(TopicPattern::parse(&["a"; 33].join(".")), Err(PatternFault::TooManySegments));
        assert_eq!(KeyPattern::parse(&["a"; 33].join(":")), Err(PatternFault::TooManySegments));
        assert!(KeyPattern::parse("a::b").is_ok() && KeyPattern::parse("a:**").is_err());
    }
}
