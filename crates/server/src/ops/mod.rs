//! What each operation does, by family, and what must hold before any of them.

pub(crate) mod backup;
pub(crate) mod control;
mod explain;
pub(crate) mod gate;
mod hello;
mod login;
pub(crate) mod read;
pub(crate) mod rules;
pub(crate) mod stats;
mod subscribe;
mod watching;
pub(crate) mod write;

use dunlin_protocol::{Code, Error, Kind, Operation, Request};

use crate::connection::ConnectionState;
use crate::shared::Shared;
use crate::time::unix_ms;

pub(crate) use watching::{judge_again, judge_view};

/// Parses a request of somebody who may make requests at all: authentication, then shape. `kind` is what its name stands for.
pub(crate) fn understand<'a>(
    state: &mut ConnectionState,
    kind: Option<Kind>,
    request: &Request<'a>,
) -> Result<(Kind, Operation<'a>), Error> {
    if !needs_no_session(kind, &request.kind) {
        require_session(state)?;
    }
    let understood = match kind {
        Some(Kind::Login | Kind::Logout | Kind::WhoAmI) if state.shared.auth.is_none() => {
            Err(Error::new(Code::UnknownOperation, "Authentication is not configured"))
        }
        Some(kind) if kind.is_of_rules() && state.shared.rules.is_none() => Err(no_rules()),
        Some(kind) => return Ok((kind, Operation::of(kind, request)?)),
        None => Operation::parse(request).and(Err(unknown())),
    };
    understood.map_err(|error| unavailable(&state.shared, &request.kind).unwrap_or(error))
}

/// There is no rule engine.
pub(crate) fn no_rules() -> Error {
    Error::new(Code::RulesNotAvailable, "Rule engine is not configured")
}

fn unknown() -> Error {
    Error::new(Code::UnknownOperation, "Unknown operation")
}

fn needs_no_session(kind: Option<Kind>, name: &str) -> bool {
    match kind {
        Some(kind) => kind.tier().is_none(),
        None => name.starts_with("auth.") || name == "ping",
    }
}

/// Somebody is logged in whose session has not ended, or nobody and nobody needs to be.
pub(crate) fn require_session(state: &mut ConnectionState) -> Result<(), Error> {
    let Some(auth) = &state.shared.auth else { return Ok(()) };
    let anonymous = auth.anonymous.is_some();
    let expires_at = match &*state.entry().session.load() {
        None if anonymous => return Ok(()),
        None => return Err(gate::login_required()),
        Some(session) => session.expires_at,
    };
    if expires_at.is_some_and(|end| end < unix_ms()) {
        state.seat().end_session();
        let expired = Error::new(Code::Unauthorized, "Session expired");
        state.end_all(&expired);
        return Err(expired);
    }
    Ok(())
}

/// The answer to a request that no operation fits, if its whole family is not there by configuration.
fn unavailable(shared: &Shared, kind: &str) -> Option<Error> {
    let unknown = |message: &str| Some(Error::new(Code::UnknownOperation, message));
    match kind.split_once('.')?.0 {
        "rules" if shared.rules.is_none() => Some(no_rules()),
        "identity" => unknown("Identity management is not configured"),
        "audit" => unknown("Audit log is not configured"),
        "auth" if shared.auth.is_none() => unknown("Authentication is not configured"),
        _ => None,
    }
}
