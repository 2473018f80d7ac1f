//! What of the rules can be chosen.

use std::sync::Arc;
use std::time::Duration;

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
    /// URLs that webhooks may be sent to, each what such an URL begins with; none: nowhere.
    pub(crate) webhooks: Arc<[String]>,
    /// How long one lookup may take.
    pub(crate) lookup_timeout: Duration,
}
