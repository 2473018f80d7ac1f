//! Who is logged in on a connection.

use serde_json::Value;

/// Who is logged in on a connection.
///
/// ```
/// let session = dunlin_server::Session::new("u1").with_role("writer").expiring_at(1_767_225_600_000);
/// assert_eq!(session.roles, ["writer"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Session {
    /// The user's id; told to the client.
    pub user_id: String,
    /// The user's roles; told to the client. `reader`, `writer` and `admin` mean something by themselves
    /// ([`Tier::reached`](dunlin_protocol::Tier::reached)), all others mean what the [`Policy`](super::Policy) makes of them.
    pub roles: Vec<String>,
    /// When the session ends, Unix milliseconds; `None` if it does not.
    pub expires_at: Option<u64>,
    /// Whatever else the permission callback wants to know. Never sent to the client.
    pub metadata: Value,
}

impl Session {
    /// A session of `user_id` without roles and without end.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self { user_id: user_id.into(), roles: Vec::new(), expires_at: None, metadata: Value::Null }
    }

    /// The same session with one more role.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// The same session ending at `unix_ms`.
    #[must_use]
    pub fn expiring_at(mut self, unix_ms: u64) -> Self {
        self.expires_at = Some(unix_ms);
        self
    }

    /// The same session with `metadata` for the permission callback.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }
}
