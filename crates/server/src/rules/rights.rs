//! What the writes of a rule may do.

use dunlin_rules::StoreRequest;
use dunlin_rules::fault::ActionFault;
use dunlin_store::Guard;

/// Judges the writes of rules, each time anew: rights may have changed since the rule was registered.
pub(crate) trait RuleRights: Send + Sync {
    /// Through which rules its records are seen and written.
    ///
    /// # Errors
    /// It is not allowed, with the code `FORBIDDEN`; the action fails.
    fn judge(&self, request: &StoreRequest) -> Result<Guard, ActionFault>;
}
