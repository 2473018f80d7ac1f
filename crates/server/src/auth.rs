//! Who may do what: the two callbacks an embedder gives, and what holds without them.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use dunlin_protocol::{Code, Error, Resource, Tier};
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
    /// ([`Tier::reached`]), all others mean what [`Permissions`] makes of them.
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

/// What an [`Authenticator`] is asked. Its `Debug` leaves the token out: it is a secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The token from `auth.login`.
    pub token: String,
    /// Where the connection comes from.
    pub remote_address: IpAddr,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("remote_address", &self.remote_address).finish_non_exhaustive()
    }
}

/// Why an [`Authenticator`] could not decide. The client sees `INTERNAL_ERROR`, the log sees the reason, nobody is logged in.
#[derive(Debug)]
pub struct AuthenticatorFault(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for AuthenticatorFault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for AuthenticatorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an [`Authenticator`] answers: a session, `None` for a token it does not accept, or why it could not decide.
pub type Authentication = Result<Option<Session>, AuthenticatorFault>;

/// Turns a token into a session. Any `async` closure from [`Login`] to [`Authentication`] is one.
///
/// ```
/// use dunlin_server::{Authentication, Authenticator, Login, Session};
///
/// fn table() -> impl Authenticator {
///     |login: Login| async move {
///         Authentication::Ok((login.token == "t-1").then(|| Session::new("u1").with_role("writer")))
///     }
/// }
/// # let _ = table();
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Called for each `auth.login`, inside the connection it belongs to. An answer that takes longer than
    /// [`limits::AUTHENTICATE_WAIT`](crate::limits::AUTHENTICATE_WAIT) is refused.
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>>;
}

impl<F, A> Authenticator for F
where
    F: Fn(Login) -> A + Send + Sync + 'static,
    A: Future<Output = Authentication> + Send + 'static,
{
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>> {
        Box::pin(self(login))
    }
}

/// What a permission callback is asked: may this session run this operation on these resources?
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Access<'a> {
    /// Who asks.
    pub session: &'a Session,
    /// The operation's name, for example `store.insert`.
    pub operation: &'a str,
    /// Everything it touches, derived from what it really does: for a query its own name and every bucket it reads.
    pub resources: &'a [Resource<'a>],
}

impl Access<'_> {
    /// Whether a bucket of that name is among the resources.
    pub fn touches_bucket(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| matches!(resource, Resource::Bucket(bucket) if *bucket == name))
    }
}

/// Decides what a logged-in user may do. Any closure from [`Access`] to `bool` is one. It replaces the built-in tiers
/// ([`RoleTiers`]).
///
/// ```
/// use dunlin_server::{Access, Permissions, Session};
///
/// let own_notes = |access: &Access<'_>| access.operation.starts_with("store.") && access.touches_bucket("notes");
/// fn takes(_: impl Permissions) {}
/// takes(own_notes);
/// ```
pub trait Permissions: Send + Sync + 'static {
    /// Whether the access is allowed. Called before each operation but `auth.*`, inside the connection it belongs to.
    fn allows(&self, access: &Access<'_>) -> bool;

    /// The refusal the client sees.
    fn refusal(&self, access: &Access<'_>) -> Error {
        Error::new(
            Code::Forbidden,
            format!("No permission for {} on {}", access.operation, Named(access.resources)),
        )
    }
}

impl<F: Fn(&Access<'_>) -> bool + Send + Sync + 'static> Permissions for F {
    fn allows(&self, access: &Access<'_>) -> bool {
        self(access)
    }
}

/// What holds where an [`Authenticator`] is given and no [`Permissions`]: `reader` may read, `writer` also write, `admin`
/// also administer; every other role grants nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoleTiers;

impl Permissions for RoleTiers {
    fn allows(&self, access: &Access<'_>) -> bool {
        let reached = Tier::reached(access.session.roles.iter().map(String::as_str));
        match Tier::of(access.operation) {
            Some(needed) => reached >= Some(needed),
            // Unknown names end as UNKNOWN_OPERATION; there is nothing to protect.
            None => true,
        }
    }

    fn refusal(&self, access: &Access<'_>) -> Error {
        let tier = Tier::of(access.operation).map_or("admin", Tier::as_str);
        Error::new(
            Code::Forbidden,
            format!("Role level insufficient for {} (requires {tier})", access.operation),
        )
    }
}

struct Named<'a>(&'a [Resource<'a>]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, resource) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match resource {
                Resource::Bucket(name) | Resource::Query(name) => f.write_str(name)?,
                _ => f.write_str("*")?,
            }
        }
        Ok(())
    }
}
