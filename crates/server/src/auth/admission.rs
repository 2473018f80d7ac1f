//! From a token to a session that may begin, whoever asks: `auth.login`, or a handshake.

use dunlin_protocol::{Code, Error};

use super::{Auth, Login, Session};
use crate::limits;
use crate::metrics::Login as Outcome;
use crate::shared::Shared;
use crate::time::unix_ms;

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Nobody knows the token.
    Unknown,
    /// Its session has ended.
    Expired,
    /// Its user's sessions were revoked a short while ago.
    Revoked,
    /// The authenticator failed.
    Fault,
    /// It did not answer in time.
    Late,
    /// Too many logins are under way.
    Busy,
}

impl Denied {
    /// As a client sees it.
    pub(crate) fn error(self) -> Error {
        let (code, message) = match self {
            Self::Unknown => (Code::Unauthorized, "Invalid token"),
            Self::Expired => (Code::Unauthorized, "Token has expired"),
            Self::Revoked => (Code::SessionRevoked, "Session has been revoked"),
            Self::Fault => (Code::InternalError, "Authentication failed by a fault of the server; try again"),
            Self::Busy => (Code::RateLimited, "Too many logins are under way; try again later"),
            Self::Late => (Code::InternalError, "Authentication took too long; try again"),
        };
        Error::new(code, message)
    }
}

/// Asks the authenticator, when there is room for one more login. A late answer denies.
pub(crate) async fn admit(shared: &Shared, auth: &Auth, login: Login) -> Result<Session, Denied> {
    let admitted = judge(shared, auth, login).await;
    shared.metrics.logins.of(outcome(&admitted)).increment(1);
    admitted
}

async fn judge(shared: &Shared, auth: &Auth, login: Login) -> Result<Session, Denied> {
    let place = shared.logins.enter(login.remote_address);
    let Ok(_place) = tokio::time::timeout(limits::LOGIN_WAIT, place).await else { return Err(Denied::Busy) };
    let answer =
        tokio::time::timeout(limits::AUTHENTICATE_WAIT, auth.authenticator.authenticate(login)).await;
    let session = match answer {
        Ok(Ok(Some(session))) => session,
        Ok(Ok(None)) => return Err(Denied::Unknown),
        Ok(Err(fault)) => {
            tracing::error!(%fault, "the authenticator failed");
            return Err(Denied::Fault);
        }
        Err(_) => {
            tracing::error!(wait = ?limits::AUTHENTICATE_WAIT, "the authenticator did not answer in time");
            return Err(Denied::Late);
        }
    };
    if session.expires_at.is_some_and(|end| end < unix_ms()) {
        return Err(Denied::Expired);
    }
    if auth.revoked.holds(&session.user_id) {
        return Err(Denied::Revoked);
    }
    Ok(session)
}

/// As metrics count it.
fn outcome(admitted: &Result<Session, Denied>) -> Outcome {
    match admitted {
        Ok(_) => Outcome::Ok,
        Err(Denied::Unknown | Denied::Expired | Denied::Busy) => Outcome::Refused,
        Err(Denied::Revoked) => Outcome::Revoked,
        Err(Denied::Fault) => Outcome::Fault,
        Err(Denied::Late) => Outcome::Late,
    }
}
