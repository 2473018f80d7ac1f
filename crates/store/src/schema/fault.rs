//! The faults of a definition.

use crate::limits::MAX_FAULTS;
use crate::{Issue, StoreError};

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(Vec<Issue>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Issue::new(path, code, message));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn refuse(self, bucket: &str) -> StoreError {
        StoreError::InvalidDefinition { bucket: bucket.into(), issues: self.0 }
    }
}
