//! `auth.login`, `auth.logout`, `auth.whoami`.

use dunlin_protocol::{Code, Error, frame};
use serde_json::json;

use crate::auth::{self, Denied, Login, Session};
use crate::connection::ConnectionState;
use crate::time::unix_ms;

/// Exchanges a token for a session. A failed login leaves the old session in place, unless the user's sessions were revoked.
pub(crate) async fn login(state: &mut ConnectionState, token: String) -> Result<String, Error> {
    let Some(auth) = state.shared.auth.clone() else {
        return Err(Error::new(Code::UnknownOperation, "Authentication is not configured"));
    };
    let entry = state.entry();
    let login = Login { connection_id: Some(entry.id), ..Login::new(token, entry.address) };
    let session = match auth::admit(&state.shared, &auth, login).await {
        Ok(session) => session,
        Err(Denied::Revoked) => {
            state.seat().end_session();
            return Err(revoked(state));
        }
        Err(denied) => return Err(denied.error()),
    };
    // What was asked for without a login belongs to somebody else, too.
    let another = state.entry().session.load().as_ref().is_none_or(|old| old.user_id != session.user_id);
    if another {
        state.end_all(&Error::new(Code::Unauthorized, "Somebody else has logged in on this connection"));
    }
    let data = frame::json(&shown(&session));
    if state.begin_session(session) { Ok(data) } else { Err(revoked(state)) }
}

/// Nobody is logged in any more.
fn revoked(state: &mut ConnectionState) -> Error {
    let error = Denied::Revoked.error();
    state.end_all(&error);
    error
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
