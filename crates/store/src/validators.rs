//! Rules in code: what an embedder demands of records beyond their schema.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use crate::{Issue, Record};

/// Looks at a whole record that is about to be written and says what is wrong with it.
type Rule = Arc<dyn Fn(&Record) -> Vec<Issue> + Send + Sync>;

/// Rules of an embedder, by bucket. They run on every write, whoever it comes from, after the schema was found to be kept;
/// they cannot be defined over the wire. A rule must depend on nothing but the record, or the same commits would not be
/// prepared from the same writes.
///
/// ```
/// use dunlin_store::{Issue, Member, Validators};
///
/// let validators = Validators::default().bucket("orders", |record| {
///     let value = record.to_value();
///     if value["from"] == value["to"] {
///         return vec![Issue::custom("to", "Must differ from \"from\"")];
///     }
///     Vec::new()
/// });
/// # let _ = validators;
/// ```
#[derive(Clone, Default)]
pub struct Validators(HashMap<Arc<str>, Vec<Rule>>);

static NONE: LazyLock<Validators> = LazyLock::new(Validators::default);

impl Validators {
    /// No rules.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Adds a rule for the records of a bucket.
    #[must_use]
    pub fn bucket(
        mut self,
        bucket: &str,
        rule: impl Fn(&Record) -> Vec<Issue> + Send + Sync + 'static,
    ) -> Self {
        self.0.entry(bucket.into()).or_default().push(Arc::new(rule));
        self
    }

    /// What the rules of a bucket say about a record. A rule that panics refuses the record.
    pub(crate) fn check(&self, bucket: &str, record: &Record) -> Vec<Issue> {
        let rules = self.0.get(bucket).into_iter().flatten();
        rules
            .flat_map(|rule| {
                catch_unwind(AssertUnwindSafe(|| rule(record))).unwrap_or_else(|_| vec![failed()])
            })
            .collect()
    }
}

fn failed() -> Issue {
    Issue::custom("_record", "A rule of the server failed on this record; the server's log has the details")
}

impl fmt::Debug for Validators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(bucket, rules)| (bucket, rules.len()))).finish()
    }
}
