//! From a token to a session: the callback an embedder gives.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::Session;

/// What an [`Authenticator`] is asked. Its `Debug` leaves the token out: it is a secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The token from `auth.login`, or from the handshake.
    pub token: String,
    /// Where the connection comes from.
    pub remote_address: IpAddr,
    /// The number of the connection (`conn-<n>` in `server.connections`); `None` at the handshake, when there is none yet.
    pub connection_id: Option<u64>,
    /// What the client says of itself, if it logs in with its handshake.
    pub handshake: Option<HandshakeInfo>,
}

/// What a client that logs in with its handshake says of itself. It can say anything: only browsers are bound to the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// The `Origin` header: the site whose page connects.
    pub origin: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

impl Login {
    /// A token from an address, and nothing else: to ask an [`Authenticator`] outside of a connection.
    ///
    /// ```
    /// use dunlin_server::Login;
    ///
    /// let login = Login::new("t-1", [127, 0, 0, 1]);
    /// assert_eq!((login.token.as_str(), login.connection_id), ("t-1", None));
    /// ```
    pub fn new(token: impl Into<String>, remote_address: impl Into<IpAddr>) -> Self {
        let (token, remote_address) = (token.into(), remote_address.into());
        Self { token, remote_address, connection_id: None, handshake: None }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("remote_address", &self.remote_address)
            .field("connection_id", &self.connection_id)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
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
    /// Called for each `auth.login`, inside the connection it belongs to, and for each handshake with a token. An answer that takes longer than
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
