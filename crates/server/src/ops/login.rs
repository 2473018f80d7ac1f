//! `auth.login`, `auth.logout`, `auth.whoami`.

use dunlin_protocol::{Code, Error, frame};
use serde_json::json;

use crate::auth::{Login, Session};
use crate::connection::ConnectionState;
use crate::limits;
use crate::metrics::Login as Outcome;
use crate::time::unix_ms;

/// Exchanges a token for a session. A failed login leaves the old session in place.
pub(crate) async fn login(state: &mut ConnectionState, token: String) -> Result<String, Error> {
    let Some(auth) = state.shared.auth.clone() else {
        return Err(Error::new(Code::UnknownOperation, "Authentication is not configured"));
    };
    let place = state.shared.logins.enter(state.entry().address);
    let Ok(_place) = tokio::time::timeout(limits::LOGIN_WAIT, place).await else {
        return Err(Error::new(Code::RateLimited, "Too many logins are under way; try again later"));
    };
    let login = Login { token, remote_address: state.entry().address };
    let answer =
        tokio::time::timeout(limits::AUTHENTICATE_WAIT, auth.authenticator.authenticate(login)).await;
    let session = match answer {
        Ok(Ok(Some(session))) => session,
        Ok(Ok(None)) => {
            counted(state, Outcome::Refused);
            return Err(Error::new(Code::Unauthorized, "Invalid token"));
        }
        Ok(Err(fault)) => {
            counted(state, Outcome::Fault);
            tracing::error!(%fault, "the authenticator failed");
            return Err(Error::new(
                Code::InternalError,
                "Authentication failed by a fault of the server; try again",
            ));
        }
        Err(_) => {
            counted(state, Outcome::Late);
            tracing::error!(wait = ?limits::AUTHENTICATE_WAIT, "the authenticator did not answer in time");
            return Err(Error::new(Code::InternalError, "Authentication took too long; try again"));
        }
    };
    if session.expires_at.is_some_and(|end| end < unix_ms()) {
        counted(state, Outcome::Refused);
        return Err(Error::new(Code::Unauthorized, "Token has expired"));
    }
    counted(state, Outcome::Ok);
    // What was asked for without a login belongs to somebody else, too.
    let another = state.entry().session.load().as_ref().is_none_or(|old| old.user_id != session.user_id);
    if another {
        state.end_all(&Error::new(Code::Unauthorized, "Somebody else has logged in on this connection"));
    }
    let data = frame::json(&shown(&session));
    state.begin_session(session);
    Ok(data)
}

fn counted(state: &ConnectionState, outcome: Outcome) {
    state.shared.metrics.logins.of(outcome).increment(1);
}

/// Ends the session, if there is one, and with it the live queries it had asked for.
pub(crate) fn logout(state: &mut ConnectionState) -> String {
    if state.seat().end_session().is_some() {
        state.end_all(&Error::new(Code::Unauthorized, "Logged out"));
    }
    "{\"loggedOut\":true}".to_owned()
}

pub(crate) fn who_am_i(state: &mut ConnectionState) -> String {
    let session =
        state.entry().session.load_full().filter(|s| s.expires_at.is_none_or(|end| end >= unix_ms()));
    let Some(session) = session else {
        // An expired one is dropped, with what it had asked for.
        if state.seat().end_session().is_some() {
            state.end_all(&Error::new(Code::Unauthorized, "Session expired"));
        }
        return "{\"authenticated\":false}".to_owned();
    };
    let mut data = shown(&session);
    data["authenticated"] = json!(true);
    frame::json(&data)
}

fn shown(session: &Session) -> serde_json::Value {
    json!({"userId": session.user_id, "roles": session.roles, "expiresAt": session.expires_at})
}
