//! Ending sessions from outside, and keeping their users out for a while.
//!
//! Whoever revokes puts the user on the blacklist first and looks for connections then; whoever logs in stores the session
//! first and looks at the blacklist then. So a login that happens at the same time is found by one of the two.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dunlin_protocol::{Close, frame};
use tokio::time::Instant;

use super::Auth;
use super::Session;
use crate::limits;
use crate::registry::Entry;
use crate::server::Server;
use crate::shared::Shared;

/// Whose sessions to revoke: of everybody to whom all that is given applies; of everybody who is logged in, if nothing is.
///
/// ```
/// use dunlin_server::Revocation;
///
/// let editors = Revocation { role: Some("editor".into()), ..Revocation::default() };
/// assert_eq!(editors.user_id, None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only of sessions that have this role.
    pub role: Option<String>,
}

impl Revocation {
    fn concerns(&self, session: &Session) -> bool {
        self.user_id.as_ref().is_none_or(|user| *user == session.user_id)
            && self.role.as_ref().is_none_or(|role| session.roles.contains(role))
    }
}

/// What a revocation has done.
pub(crate) struct Revoked {
    /// Connections that had such a session.
    pub(crate) connections: usize,
    /// The asking connection is one of them; it is still open.
    pub(crate) own: bool,
}

/// Revokes sessions. The connection `own` is left open, so that it can be answered first.
pub(crate) fn revoke(shared: &Shared, which: &Revocation, own: Option<u64>) -> Revoked {
    let mut revoked = Revoked { connections: 0, own: false };
    let Some(auth) = &shared.auth else { return revoked };
    if let Revocation { user_id: Some(user), role: None } = which {
        // Also if nobody of that name is here now.
        auth.revoked.add(user);
    }
    for entry in shared.registry.entries() {
        if end_session(auth, which, &entry) {
            revoked.connections += 1;
            if own == Some(entry.id) {
                revoked.own = true;
            } else {
                close_revoked(&entry);
            }
        }
    }
    shared.metrics.sessions_revoked.increment(revoked.connections as u64);
    tracing::info!(
        user = which.user_id,
        role = which.role,
        connections = revoked.connections,
        "sessions were revoked"
    );
    revoked
}

/// Takes the session of a connection away, if it is concerned. Its user goes onto the blacklist before.
fn end_session(auth: &Auth, which: &Revocation, entry: &Entry) -> bool {
    loop {
        let session = entry.session.load();
        let Some(concerned) = session.as_ref().filter(|session| which.concerns(session)) else {
            return false;
        };
        auth.revoked.add(&concerned.user_id);
        let found = entry.session.compare_and_swap(&*session, None);
        if found.as_ref().is_some_and(|found| Arc::ptr_eq(found, concerned)) {
            return true;
        }
        // Somebody has logged in or out at this moment: look again.
    }
}

/// Tells a connection that its session was revoked, and closes it. Nothing that comes in from now on has an effect.
pub(crate) fn close_revoked(entry: &Entry) {
    entry.outbox.notice(frame::session_revoked().into());
    entry.outbox.close(Close::SessionRevoked);
}

/// Users who may not log in for a while. In memory: a restart forgets it.
pub(crate) struct Blacklist {
    ttl: Duration,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    until: HashMap<Arc<str>, Instant>,
    /// The same by the end of their time.
    order: BTreeSet<(Instant, Arc<str>)>,
}

impl Blacklist {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, users: Mutex::default() }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // Nothing in it panics between two changes that belong together.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps this user out from now on; if that was so already, for longer.
    fn add(&self, user: &str) {
        let now = Instant::now();
        let mut users = self.users();
        users.remove(user);
        users.forget_until(now);
        if users.until.len() >= limits::REVOKED_USERS
            && let Some((_, first)) = users.order.pop_first()
        {
            users.until.remove(&first);
            tracing::warn!(
                "so many sessions were revoked that a user may log in again before the time is over"
            );
        }
        let (user, until): (Arc<str>, _) = (user.into(), now + self.ttl);
        users.until.insert(Arc::clone(&user), until);
        users.order.insert((until, user));
    }

    /// Whether this user is kept out.
    pub(crate) fn holds(&self, user: &str) -> bool {
        self.users().until.get(user).is_some_and(|until| *until > Instant::now())
    }

    /// Lets this user in again; `false` if it was not kept out.
    fn remove(&self, user: &str) -> bool {
        let mut users = self.users();
        users.forget_until(Instant::now());
        users.remove(user)
    }
}

impl Users {
    fn remove(&mut self, user: &str) -> bool {
        let Some((user, until)) = self.until.remove_entry(user) else { return false };
        self.order.remove(&(until, user))
    }

    fn forget_until(&mut self, now: Instant) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, user)) = self.order.pop_first() {
                self.until.remove(&user);
            }
        }
    }
}

impl Server {
    /// Ends all sessions of a user: closes the connections with 4002 `session_revoked`, and refuses logins of that user with
    /// `SESSION_REVOKED` for `revocation.blacklistTtlMs`, also if nobody is connected. What the connections had sent and was not
    /// begun is dropped. Returns how many were closed.
    ///
    /// Without logins there are no sessions: then it does nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::{Authentication, Login, Server, Session};
    ///
    /// let by_name = |login: Login| async move { Authentication::Ok(Some(Session::new(login.token))) };
    /// let server = Server::builder().memory().authenticator(by_name).build().await?;
    /// assert_eq!(server.revoke_session("mallory"), 0, "not connected, and kept out from now on");
    /// assert!(server.forgive("mallory"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke_session(&self, user_id: &str) -> usize {
        self.revoke_sessions(&Revocation { user_id: Some(user_id.to_owned()), role: None })
    }

    /// The same for every connection to which all that is given applies; for everybody who is logged in, if nothing is.
    pub fn revoke_sessions(&self, which: &Revocation) -> usize {
        revoke(&self.inner.shared, which, None).connections
    }

    /// Lets a user log in again whose sessions were revoked, before the time is over; `false` if it could anyway.
    pub fn forgive(&self, user_id: &str) -> bool {
        self.inner.shared.auth.as_ref().is_some_and(|auth| auth.revoked.remove(user_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_user_is_kept_out_for_its_time_which_begins_anew_with_each_revocation() {
        let blacklist = Blacklist::new(TTL);
        blacklist.add("u");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(blacklist.holds("u") && !blacklist.holds("U"));
        blacklist.add("u");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(blacklist.holds("u"));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!blacklist.holds("u"));
        assert!(!blacklist.remove("u"), "its time was over already");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten_and_who_is_forgiven_too() {
        let blacklist = Blacklist::new(TTL);
        for user in ["a", "b", "a"] {
            blacklist.add(user);
        }
        assert!(blacklist.remove("b") && !blacklist.remove("b") && !blacklist.holds("b"));
        tokio::time::advance(TTL).await;
        blacklist.add("c");
        let users = blacklist.users();
        assert_eq!((users.until.len(), users.order.len()), (1, 1));
    }
}
