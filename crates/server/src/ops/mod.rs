//! What each operation does, by family, and the gate they all pass.

pub(crate) mod control;
mod login;
pub(crate) mod read;
pub(crate) mod write;

use std::borrow::Cow;

use dunlin_protocol::{Code, Error, Operation, Request, Resource};

use crate::auth::Access;
use crate::connection::ConnectionState;
use crate::shared::Shared;
use crate::time::unix_ms;

/// Parses a request and decides whether this connection may make it: authentication, shape, rights.
pub(crate) fn admit<'a>(state: &mut ConnectionState, request: &Request<'a>) -> Result<Operation<'a>, Error> {
    let kind = &*request.kind;
    let open = kind.starts_with("auth.") || kind == "ping";
    if state.shared.auth.is_some() && !open {
        require_session(state)?;
    }
    if let Some(error) = unavailable(&state.shared, kind) {
        return Err(error);
    }
    let operation = Operation::parse(request)?;
    if !open {
        authorise(state, kind, &operation)?;
    }
    Ok(operation)
}

/// Somebody is logged in whose session has not ended.
fn require_session(state: &mut ConnectionState) -> Result<(), Error> {
    let expires_at = match &*state.entry().session.load() {
        None => return Err(Error::new(Code::Unauthorized, "Authentication required")),
        Some(session) => session.expires_at,
    };
    if expires_at.is_some_and(|end| end < unix_ms()) {
        state.entry().session.store(None);
        let expired = Error::new(Code::Unauthorized, "Session expired");
        state.end_all(&expired);
        return Err(expired);
    }
    Ok(())
}

/// The answer to families of operations that are not there, by configuration.
fn unavailable(shared: &Shared, kind: &str) -> Option<Error> {
    let unknown = |message: &str| Some(Error::new(Code::UnknownOperation, message));
    match kind.split_once('.')?.0 {
        "rules" => Some(Error::new(Code::RulesNotAvailable, "Rule engine is not configured")),
        "identity" => unknown("Identity management is not configured"),
        "audit" => unknown("Audit log is not configured"),
        "auth" if shared.auth.is_none() => unknown("Authentication is not configured"),
        _ => None,
    }
}

/// Asks the permission callback about everything the operation touches.
fn authorise(state: &ConnectionState, kind: &str, operation: &Operation<'_>) -> Result<(), Error> {
    let Some(auth) = &state.shared.auth else { return Ok(()) };
    let session = state.entry().session.load();
    // Past `require_session`, so there is one; without one nothing is allowed.
    let Some(session) = session.as_deref() else {
        return Err(Error::new(Code::Unauthorized, "Authentication required"));
    };
    let mut resources = operation.resources();
    if let Operation::Subscribe { query, .. } = operation {
        // Rights on a query are rights on what it reads.
        if let Ok(definition) = state.shared.published.load().query(query) {
            resources.push(Resource::Bucket(Cow::Owned(definition.bucket().to_string())));
        }
    }
    let access = Access { session, operation: kind, resources: &resources };
    if auth.permissions.allows(&access) { Ok(()) } else { Err(auth.permissions.refusal(&access)) }
}
