//! Who is let in and to what: the parts that all connections share, and what they give one session.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dunlin_store::Guard;

use super::policy::{Grants, Policy};
use super::{Authenticator, Blacklist, Permissions, Session, TokenTable};

/// What somebody may do where nothing is said: read and write data, administer nothing.
pub(crate) const DATA_ROLE: &str = "writer";

/// Who is let in, and to what.
pub(crate) struct Auth {
    pub(crate) authenticator: Box<dyn Authenticator>,
    /// The embedder's callback, asked before the policy.
    pub(crate) permissions: Option<Box<dyn Permissions>>,
    pub(crate) policy: ArcSwap<Policy>,
    /// The table of `auth.tokens`, which can be replaced; the authenticator asks the same one.
    pub(crate) tokens: Option<TokenTable>,
    /// Whose sessions were revoked a short while ago.
    pub(crate) revoked: Blacklist,
    /// The role of a session that has none of the built-in ones, if somebody has named it.
    pub(crate) logged_in: Option<String>,
    /// The policy of a server to which nobody has said what roles mean. While it holds, such a session has [`DATA_ROLE`].
    pub(crate) unsaid: Option<Arc<Policy>>,
    /// What somebody who has not logged in is treated as; `None` if a login is required.
    pub(crate) anonymous: Option<Arc<Session>>,
}

/// What one session may do, by one policy.
#[derive(Clone)]
pub(crate) struct Rights {
    pub(crate) session: Arc<Session>,
    logged_in: bool,
    pub(crate) grants: Arc<Grants>,
    pub(crate) guard: Guard,
    policy: Arc<Policy>,
}

impl Auth {
    /// What a session may do, or whoever is not logged in.
    pub(crate) fn rights_of(&self, session: Arc<Session>, policy: Arc<Policy>) -> Rights {
        let mut roles = Cow::Borrowed(&session.roles[..]);
        let logged_in = !self.anonymous.as_ref().is_some_and(|nobody| Arc::ptr_eq(nobody, &session));
        let unsaid = self.unsaid.as_ref().is_some_and(|unsaid| Arc::ptr_eq(unsaid, &policy));
        let role = self.logged_in.as_deref().or(unsaid.then_some(DATA_ROLE));
        if let Some(role) = role.filter(|_| logged_in && policy.reached(&roles).is_none()) {
            roles.to_mut().push(role.to_owned());
        }
        let (grants, guard) = (policy.grants(&roles), policy.guard(&session, &roles, logged_in));
        Rights { session, logged_in, grants, guard, policy }
    }
}

impl Rights {
    /// The user, as exceptions name him. Whoever is not logged in has no name, and no exception is for a user without one.
    pub(crate) fn user(&self) -> &str {
        if self.logged_in { &self.session.user_id } else { "" }
    }

    /// Whether these are still the rights of that session by that policy.
    pub(crate) fn are_of(&self, session: &Arc<Session>, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.session, session) && Arc::ptr_eq(&self.policy, policy)
    }
}
