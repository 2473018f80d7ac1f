//! Who is let in and to what: the parts that all connections share, and what they give one session.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dunlin_store::Guard;

use super::policy::{Grants, Policy};
use super::{Authenticator, Permissions, Session};

/// Who is let in, and to what.
pub(crate) struct Auth {
    pub(crate) authenticator: Box<dyn Authenticator>,
    /// The embedder's callback, asked before the policy.
    pub(crate) permissions: Option<Box<dyn Permissions>>,
    pub(crate) policy: ArcSwap<Policy>,
    /// What somebody who has not logged in is treated as; `None` if a login is required.
    pub(crate) anonymous: Option<Arc<Session>>,
}

/// What one session may do, by one policy.
#[derive(Clone)]
pub(crate) struct Rights {
    pub(crate) session: Arc<Session>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) guard: Guard,
    policy: Arc<Policy>,
}

impl Rights {
    /// `logged_in`: whether it is the session of somebody, and not what stands in for one.
    pub(crate) fn new(session: Arc<Session>, policy: Arc<Policy>, logged_in: bool) -> Self {
        let (grants, guard) = (policy.grants(&session.roles), policy.guard(&session, logged_in));
        Self { session, grants, guard, policy }
    }

    /// Whether these are still the rights of that session by that policy.
    pub(crate) fn are_of(&self, session: &Arc<Session>, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.session, session) && Arc::ptr_eq(&self.policy, policy)
    }
}
