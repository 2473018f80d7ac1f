//! Row and field rules: what of the records of a bucket there is for one session.
//!
//! A policy holds [`RuleTemplate`]s. With the values of a session filled in they are [`RowRule`]s; all of these that one
//! session has for a bucket are joined to one, and those of all buckets are its [`Guard`]. Reads go through the rule of a
//! bucket by [`Bucket::through`](crate::Bucket::through), writes by [`Intent::guarded`](crate::Intent::guarded), live
//! queries by [`BoundQuery::guarded`](crate::BoundQuery::guarded). A record that cannot be seen does not exist for them, and
//! a hidden member is not there and cannot be asked for.

mod hidden;
mod rule;
mod seen;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use hidden::Hidden;
pub use rule::RowRule;
pub use seen::Seen;
pub use template::RuleTemplate;

/// The row rules of one session by bucket. Cheap to clone; the empty one, [`Guard::default`], restricts nothing and costs
/// nothing. Two are equal if their [keys](Self::key) are.
///
/// ```
/// use dunlin_store::{Guard, RowRule};
///
/// let guard = Guard::new([("orders", RowRule::nothing())]);
/// assert!(guard.rule("orders").is_some() && guard.rule("products").is_none());
/// assert!(Guard::default().is_empty() && Guard::default() != guard);
/// ```
#[derive(Clone, Default)]
pub struct Guard(Option<Arc<Rules>>);

struct Rules {
    by_bucket: BTreeMap<Arc<str>, RowRule>,
    key: Box<str>,
    view_key: Box<str>,
}

impl Guard {
    /// The rules of some buckets, one for each; see [`RowRule::any`]. Those that restrict nothing are left out.
    pub fn new<N: Into<Arc<str>>>(rules: impl IntoIterator<Item = (N, RowRule)>) -> Self {
        let rules = rules.into_iter().filter(|(_, rule)| !rule.is_open());
        let by_bucket: BTreeMap<Arc<str>, RowRule> =
            rules.map(|(bucket, rule)| (bucket.into(), rule)).collect();
        if by_bucket.is_empty() {
            return Self(None);
        }
        // JSON text has no line of its own that begins so.
        let line = |bucket: &str, key: &str| format!("bucket {}\n{key}\n", quoted(bucket));
        let key = by_bucket.iter().map(|(bucket, rule)| line(bucket, rule.key())).collect::<String>();
        let noticed = by_bucket.iter().filter(|(_, rule)| !rule.shows_all());
        let view_key = noticed.map(|(bucket, rule)| line(bucket, rule.view_key())).collect::<String>();
        let (key, view_key) = (key.into(), view_key.into());
        Self(Some(Arc::new(Rules { by_bucket, key, view_key })))
    }

    /// The rule for a bucket; `None` if it is open.
    pub fn rule(&self, bucket: &str) -> Option<&RowRule> {
        self.0.as_ref()?.by_bucket.get(bucket)
    }

    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What identifies it: equal for equal rules. Opaque; empty for the guard that restricts nothing.
    pub fn key(&self) -> &str {
        self.0.as_ref().map_or("", |rules| &rules.key)
    }

    /// What identifies the part of it that readers notice: guards that differ only in what may be written have the same, and
    /// one that restricts nothing else has that of the empty one.
    ///
    /// ```
    /// use dunlin_store::{Guard, RuleTemplate};
    /// use serde_json::json;
    ///
    /// let rule = json!({"bucket": "orders", "write": {"state": "open"}});
    /// let rule = RuleTemplate::parse(rule.as_object().unwrap())?.bind(&json!({"userId": "ada"}));
    /// let guard = Guard::new([("orders", rule)]);
    /// assert!(guard.view_key() == Guard::default().view_key() && guard != Guard::default());
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    pub fn view_key(&self) -> &str {
        self.0.as_ref().map_or("", |rules| &rules.view_key)
    }
}

/// A name as JSON text.
pub(crate) fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.key()).finish()
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Guard {}
