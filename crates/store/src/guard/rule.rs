//! A row rule for one session.

use std::fmt;
use std::sync::Arc;

use super::hidden::Hidden;
use crate::limits::MAX_ROW_RULES;
use crate::{Bucket, Filter, Record, StoreError};

/// What one session may see and write of the records of one bucket. Cheap to clone.
///
/// Two are equal if their [keys](Self::key) are: those of the same rules with the same values of the session.
#[derive(Clone)]
pub struct RowRule(Arc<Joined>);

struct Joined {
    /// What was joined, each once, by key.
    parts: Vec<Part>,
    hidden: Hidden,
    read: Filter,
    /// What can be seen and be written.
    write: Filter,
    key: Box<str>,
    view_key: Box<str>,
}

/// What one rule lets through.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) read: Side,
    pub(super) write: Side,
}

/// A filter, and what identifies it.
#[derive(Debug, Clone)]
pub(super) struct Side {
    key: Arc<str>,
    filter: Arc<Filter>,
}

/// Keys of the filters that are none; JSON objects look otherwise.
const ALL: &str = "true";
const NONE: &str = "false";

impl Side {
    pub(super) fn all() -> Self {
        Self::of(ALL.to_owned(), Filter::default())
    }

    pub(super) fn none() -> Self {
        Self::of(NONE.to_owned(), Filter::any([]))
    }

    pub(super) fn of(key: String, filter: Filter) -> Self {
        Self { key: key.into(), filter: Arc::new(filter) }
    }
}

impl RowRule {
    /// The rule by which nothing is seen.
    ///
    /// ```
    /// use dunlin_store::RowRule;
    /// assert_eq!(RowRule::nothing(), RowRule::any([]));
    /// ```
    pub fn nothing() -> Self {
        Self::joined(Vec::new(), Hidden::default())
    }

    /// Several rules of one session: it sees and writes what one of them lets it, and is shown no member that any of them
    /// hides. Beyond [`MAX_ROW_RULES`] different ones nothing more is seen.
    ///
    /// ```
    /// use dunlin_store::{RowRule, RuleTemplate};
    /// use serde_json::json;
    ///
    /// let rule = |rule: serde_json::Value| {
    ///     RuleTemplate::parse(rule.as_object().unwrap()).map(|rule| rule.bind(&json!({"userId": "ada"})))
    /// };
    /// let own = rule(json!({"bucket": "orders", "read": {"ownerId": "{{ session.userId }}"}, "hide": ["cost"]}))?;
    /// let all = rule(json!({"bucket": "orders"}))?;
    /// let both = RowRule::any([&own, &all]);
    /// assert_eq!(both, RowRule::any([&all, &own, &all]));
    /// assert!(all.is_open() && !both.is_open(), "the cost stays hidden");
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    pub fn any<'r>(rules: impl IntoIterator<Item = &'r Self>) -> Self {
        let rules: Vec<&Joined> = rules.into_iter().map(|rule| &*rule.0).collect();
        let parts = rules.iter().flat_map(|rule| rule.parts.iter().cloned()).collect();
        Self::joined(parts, Hidden::new(rules.iter().flat_map(|rule| rule.hidden.names())))
    }

    pub(super) fn joined(mut parts: Vec<Part>, hidden: Hidden) -> Self {
        let identity = |part: &Part| (Arc::clone(&part.read.key), Arc::clone(&part.write.key));
        parts.retain(|part| *part.read.key != *NONE);
        parts.sort_by_key(identity);
        parts.dedup_by_key(|part| identity(part));
        parts.truncate(MAX_ROW_RULES);
        let mut seen: Vec<&Side> = parts.iter().map(|part| &part.read).collect();
        // They are sorted by what can be seen first.
        seen.dedup_by_key(|side| &side.key);
        if let Some(all) = seen.iter().find(|side| side.filter.is_empty()).copied() {
            seen = vec![all];
        }
        let read = Filter::any(seen.iter().map(|side| &*side.filter));
        let written: Vec<Filter> = parts
            .iter()
            .filter(|part| *part.write.key != *NONE)
            .map(|part| part.read.filter.and(&part.write.filter))
            .collect();
        let write = Filter::any(&written);
        let names: Vec<&str> = hidden.names().collect();
        // JSON text has no line of its own that begins so.
        let mut view_key = format!("hide {}", serde_json::Value::from(names));
        for side in seen {
            view_key.extend(["\nread ", &side.key]);
        }
        let mut key = view_key.clone();
        for Part { read, write } in &parts {
            key.extend(["\nof ", &read.key, "\nwrite ", &write.key]);
        }
        let (key, view_key) = (key.into(), view_key.into());
        Self(Arc::new(Joined { parts, hidden, read, write, key, view_key }))
    }

    /// What identifies the rule: the same text for the same rules with the same values, and for no others. Opaque.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// What identifies the part of it that readers notice: what can be seen, and what is hidden. Opaque.
    pub fn view_key(&self) -> &str {
        &self.0.view_key
    }

    /// Whether it lets everything through and hides nothing: as if there were none.
    pub fn is_open(&self) -> bool {
        self.0.read.is_empty() && self.0.write.is_empty() && self.0.hidden.is_empty()
    }

    /// Whether every record can be seen, whole. What may be written is another matter.
    ///
    /// ```
    /// use dunlin_store::RuleTemplate;
    /// use serde_json::json;
    ///
    /// let rule = json!({"bucket": "orders", "write": {"state": "open"}});
    /// let rule = RuleTemplate::parse(rule.as_object().unwrap())?.bind(&json!({"userId": "ada"}));
    /// assert!(rule.shows_all() && !rule.is_open());
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    pub fn shows_all(&self) -> bool {
        self.0.read.is_empty() && self.0.hidden.is_empty()
    }

    /// Which records can be seen.
    pub fn read(&self) -> &Filter {
        &self.0.read
    }

    pub(crate) fn hidden(&self) -> &Hidden {
        &self.0.hidden
    }

    /// Whether a record of the bucket can be seen.
    pub(crate) fn sees(&self, bucket: &Bucket, record: &Record) -> bool {
        self.0.read.matcher(bucket.definition()).matches(record)
    }

    /// Whether a record of the bucket can be seen and may be written.
    pub(crate) fn writes(&self, bucket: &Bucket, record: &Record) -> bool {
        self.0.write.matcher(bucket.definition()).matches(record)
    }

    /// Which records can be written.
    pub(crate) fn writable(&self) -> &Filter {
        &self.0.write
    }

    /// Refuses names that look at something hidden.
    pub(crate) fn open_to<'n>(
        &self,
        bucket: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), StoreError> {
        match self.hidden().touched_by(names) {
            None => Ok(()),
            Some(member) => Err(StoreError::HiddenMember { bucket: bucket.into(), member: member.into() }),
        }
    }

    /// What a reader's filter matches among the records that can be seen.
    pub(crate) fn narrowed(&self, bucket: &str, filter: &Filter) -> Result<Filter, StoreError> {
        self.open_to(bucket, self.hidden().touched_by_filter(filter))?;
        Ok(filter.and(&self.0.read))
    }
}

impl fmt::Debug for RowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowRule").field(&self.key()).finish()
    }
}

impl PartialEq for RowRule {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for RowRule {}
