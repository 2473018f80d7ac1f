//! The authenticator of `auth.tokens`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Authentication, Authenticator, Login, Session};
use crate::config::TokenSession;
use crate::time::unix_ms;

/// Knows every token and the session it stands for. Clones are one table.
#[derive(Clone)]
pub(crate) struct TokenTable(Arc<ArcSwap<BTreeMap<String, TokenSession>>>);

impl TokenTable {
    pub(crate) fn new(tokens: BTreeMap<String, TokenSession>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(tokens)))
    }

    /// Knows these tokens from now on. Sessions that began with others go on to their end.
    pub(crate) fn replace(&self, tokens: BTreeMap<String, TokenSession>) {
        self.0.store(Arc::new(tokens));
    }
}

impl Authenticator for TokenTable {
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>> {
        let session = self.0.load().get(&login.token).map(|known| Session {
            user_id: known.user_id.clone(),
            roles: known.roles.clone(),
            expires_at: known
                .expires_at
                .or_else(|| known.expires_in_ms.map(|time| unix_ms().saturating_add_signed(time))),
            metadata: known.metadata.clone(),
        });
        Box::pin(std::future::ready(Ok(session)))
    }
}
