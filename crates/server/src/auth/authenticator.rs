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
