//! A new configuration for a server that runs: what can change while it does, changes.
//!
//! Each key that can is a row of [`CHANGES`]; all others stay as they were at the start, and are told.

use std::sync::{Arc, PoisonError};

use crate::config::{Config, ConfigError};
use crate::server::Server;
use crate::shared::Shared;

/// What a new configuration has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconfigured {
    /// Keys that have changed, and hold now.
    pub applied: Vec<&'static str>,
    /// Keys that have changed, and hold from the next start on.
    pub needs_restart: Vec<&'static str>,
}

/// A key that can change, and what makes it hold. That says `false` if it cannot change in this way, and then changes nothing.
type Change = (&'static str, fn(&Shared, now: &mut Config, new: &Config) -> bool);

/// Every key that can change while the server runs.
const CHANGES: &[Change] =
    &[("auth.tokens", tokens), ("auth.roles", roles), ("auth.permissions", permissions)];

/// Whether there are logins at all is decided at the start.
fn tokens(shared: &Shared, now: &mut Config, new: &Config) -> bool {
    let table = shared.auth.as_ref().and_then(|auth| auth.tokens.as_ref());
    let (Some(table), Some(tokens)) = (table, &new.auth.tokens) else { return false };
    table.replace(tokens.clone());
    now.auth.tokens.clone_from(&new.auth.tokens);
    true
}

fn roles(shared: &Shared, now: &mut Config, new: &Config) -> bool {
    now.auth.roles.clone_from(&new.auth.roles);
    policy(shared, new)
}

fn permissions(shared: &Shared, now: &mut Config, new: &Config) -> bool {
    now.auth.permissions.clone_from(&new.auth.permissions);
    policy(shared, new)
}

/// Both say together what roles mean.
fn policy(shared: &Shared, new: &Config) -> bool {
    let (Some(auth), Ok(policy)) = (&shared.auth, new.auth.policy()) else { return false };
    // Where nothing is said any more it is as at a start at which nothing was said.
    let unsaid = auth.unsaid.as_ref().filter(|_| !new.auth.has_policy());
    auth.policy.store(unsaid.map_or_else(|| Arc::new(policy), Arc::clone));
    shared.registry.rights_changed();
    true
}

impl Server {
    /// Takes over what of a new configuration can change while the server runs: `auth.tokens`, `auth.roles` and
    /// `auth.permissions`. What sessions may do changes as by [`set_policy`](Self::set_policy). Tokens that are no longer in the
    /// table cannot be used for a login any more; sessions that began with them go on to their end, unless they are
    /// [revoked](Self::revoke_session).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::config::{Config, TokenSession};
    /// use dunlin_server::Server;
    ///
    /// let mut config = Config::default();
    /// config.auth.tokens = Some([("t-1".to_owned(), TokenSession::new("ada"))].into());
    /// let server = Server::builder().config(config.clone()).memory().build().await?;
    /// config.storage.kind = dunlin_server::config::StorageKind::Memory;
    /// config.auth.tokens = Some([("t-2".to_owned(), TokenSession::new("ada"))].into());
    /// config.port = 9000;
    /// let done = server.reconfigure(&config)?;
    /// assert_eq!((done.applied, done.needs_restart), (vec!["auth.tokens"], vec!["port"]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with it; then nothing has changed.
    pub fn reconfigure(&self, new: &Config) -> Result<Reconfigured, ConfigError> {
        new.check()?;
        let shared = &self.inner.shared;
        let mut now = shared.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Reconfigured::default();
        for key in now.differences(new) {
            let change = CHANGES.iter().find(|(name, _)| *name == key);
            if change.is_some_and(|(_, apply)| apply(shared, &mut now, new)) {
                done.applied.push(key);
            } else {
                done.needs_restart.push(key);
            }
        }
        Ok(done)
    }
}
