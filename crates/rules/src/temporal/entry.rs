//! The state of patterns as entries of the log.
//!
//! One entry holds one event of a window, or one sequence or absence that has begun: what an event changes is small however much its
//! group remembers. Entries say for themselves what they are, so they can be loaded before the rule they belong to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Event;
use crate::change::prefix;

/// When something came, and the how manieth of that millisecond in its group it was. Nothing else makes the names of entries, so an
/// engine that was loaded gives the same ones as the engine that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) at: u64,
    pub(super) nth: u32,
}

impl Stamp {
    /// The one at this time that follows the given one.
    pub(super) fn after(last: Option<Self>, at: u64) -> Self {
        match last {
            Some(last) if last.at >= at => Self { at: last.at, nth: last.nth.saturating_add(1) },
            _ => Self { at, nth: 0 },
        }
    }
}

/// Which entry of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// One event of a window, one sequence or absence.
    Item(Stamp),
    /// What else is known of a window.
    Header,
}

const HEADER: &str = "w";

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(Stamp { at, nth }) => write!(f, "{at}-{nth}"),
            Self::Header => f.write_str(HEADER),
        }
    }
}

impl FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == HEADER {
            return Ok(Self::Header);
        }
        let (at, nth) = text.split_once('-').ok_or(())?;
        Ok(Self::Item(Stamp { at: at.parse().map_err(drop)?, nth: nth.parse().map_err(drop)? }))
    }
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Entry {
    /// A sequence that has begun.
    Sequence { until: u64, events: Vec<Arc<Event>> },
    /// A wait for what must not come.
    Absence { until: u64, event: Arc<Event> },
    /// An event of a window.
    Event {
        until: u64,
        sliding: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<f64>,
        event: Arc<Event>,
    },
    /// A window that slides has fired and is to do so once only.
    Fired,
    /// A window that does not slide is without an event so far, the how manieth in a row.
    Empty { until: u64, nth: u32 },
}

/// What the keys of a rule's entries begin with.
pub(super) fn rule_prefix(rule: &str) -> String {
    format!("{}{}/", prefix::PATTERN, escaped(rule))
}

pub(super) fn key(rule_prefix: &str, group: &str, part: Part) -> Arc<str> {
    format!("{rule_prefix}{}/{part}", escaped(group)).into()
}

/// The rule, the group and the part that a key is about.
pub(super) fn parse_key(key: &str) -> Option<(String, String, Part)> {
    let mut parts = key.strip_prefix(prefix::PATTERN)?.split('/');
    let (rule, group, part) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(())?;
    Some((plain(rule), plain(group), part.parse().ok()?))
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['/', '%']) { text.replace('%', "%25").replace('/', "%2F").into() } else { text.into() }
}

fn plain(text: &str) -> String {
    text.replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_rule_and_group_can_be_part_of_a_key() {
        let parts = [Part::Header, Part::Item(Stamp { at: 8_640_000_000_000_000, nth: 7 })];
        for (rule, group) in [("r", ""), ("a/b", "c/d"), ("%2F", "%25/"), ("ä:.*", "w"), ("", "1-2")] {
            for part in parts {
                let key = key(&rule_prefix(rule), group, part);
                assert_eq!(parse_key(&key), Some((rule.into(), group.into(), part)), "{key}");
            }
        }
        for key in ["p/a/b", "p/a/b/c", "p/a/b/w/w", "t/a/b/w", "p/a/b/1-", "p/a/b/-1"] {
            assert_eq!(parse_key(key), None, "{key}");
        }
    }
}
