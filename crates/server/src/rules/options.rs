//! What of the rules can be chosen.

use std::sync::Arc;

use dunlin_rules::Limits;

use super::{RuleListener, RuleRights, Services};

/// Everything that a server with rules needs.
#[derive(Clone)]
pub(crate) struct RuleOptions {
    /// Bounds of the engine.
    pub(crate) limits: Limits,
    pub(crate) rights: Arc<dyn RuleRights>,
    pub(crate) listener: Arc<dyn RuleListener>,
    pub(crate) services: Arc<Services>,
}
