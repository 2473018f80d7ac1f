//! From a token to a session that may begin, whoever asks: `auth.login`, or a handshake.

use dunlin_protocol::{Code, Error};

use super::{Login, Session};
use crate::limits;
use crate::shared::{Auth, Shared};
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
}

impl Denied {
    /// As a client sees it.
    pub(crate) fn error(self) -> Error {
        let (code, message) = match self {
            Self::Unknown => (Code::Unauthorized, "Invalid token"),
            Self::Expired => (Code::Unauthorized, "Token has expired"),
            Self::Revoked => (Code::SessionRevoked, "Session has been revoked"),
            Self::Fault => (Code::InternalError, "Authentication failed by a fault of the server; try again"),
            Self::Late => (Code::InternalError, "Authentication took too long; try again"),
        };
        Error::new(code, message)
    }
}

/// Asks the authenticator. A late answer denies.
pub(crate) async fn admit(shared: &Shared, auth: &Auth, login: Login) -> Result<Session, Denied> {
    let answer =
        tokio::time::timeout(limits::AUTHENTICATE_WAIT, auth.authenticator.authenticate(login)).await;
    let session = match answer {
        Ok(Ok(Some(session))) => session,
        Ok(Ok(None)) => return Err(Denied::Unknown),
        Ok(Err(fault)) => {
            tracing::error!(%fault, "the authenticator failed");
            shared.metrics.login_faults.increment(1);
            return Err(Denied::Fault);
        }
        Err(_) => {
            tracing::error!(wait = ?limits::AUTHENTICATE_WAIT, "the authenticator did not answer in time");
            shared.metrics.login_faults.increment(1);
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
