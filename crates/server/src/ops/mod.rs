//! What each operation does, by family, and the gate they all pass.

pub(crate) mod backup;
pub(crate) mod control;
mod explain;
mod hello;
mod login;
pub(crate) mod read;
mod subscribe;
pub(crate) mod write;

use std::borrow::Cow;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Explained, Operation, Queried, Request, Resource, Subscribe, Write};
use dunlin_store::{Query, Snapshot};

use crate::auth::Access;
use crate::connection::ConnectionState;
use crate::registry::Entry;
use crate::shared::{Auth, Shared};
use crate::time::unix_ms;

/// Parses a request of somebody who may make requests at all: authentication, then shape.
pub(crate) fn understand<'a>(
    state: &mut ConnectionState,
    request: &Request<'a>,
) -> Result<Operation<'a>, Error> {
    let kind = &*request.kind;
    if let Some(auth) = &state.shared.auth
        && !needs_no_session(kind)
    {
        let anonymous = auth.anonymous.is_some();
        require_session(state, anonymous)?;
    }
    match Operation::parse(request) {
        Ok(Operation::Login { .. } | Operation::Logout | Operation::WhoAmI)
            if state.shared.auth.is_none() =>
        {
            Err(Error::new(Code::UnknownOperation, "Authentication is not configured"))
        }
        Err(error) => Err(unavailable(&state.shared, kind).unwrap_or(error)),
        understood => understood,
    }
}

fn needs_no_session(kind: &str) -> bool {
    kind.starts_with("auth.") || matches!(kind, "hello" | "ping")
}

/// Somebody is logged in whose session has not ended, or nobody and nobody needs to be.
fn require_session(state: &mut ConnectionState, anonymous: bool) -> Result<(), Error> {
    let expires_at = match &*state.entry().session.load() {
        None if anonymous => return Ok(()),
        None => return Err(Error::new(Code::Unauthorized, "Authentication required")),
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
        "rules" => Some(Error::new(Code::RulesNotAvailable, "Rule engine is not configured")),
        "identity" => unknown("Identity management is not configured"),
        "audit" => unknown("Audit log is not configured"),
        "auth" if shared.auth.is_none() => unknown("Authentication is not configured"),
        _ => None,
    }
}

/// Decides whether this connection may write this.
pub(crate) fn authorise_write(state: &ConnectionState, kind: &str, write: &Write<'_>) -> Result<(), Error> {
    match &state.shared.auth {
        None => Ok(()),
        Some(auth) => decide(state.entry(), auth, kind, &write.resources()),
    }
}

/// Decides whether this connection may do this. For everything but writes; all writes before it have taken effect.
pub(crate) fn authorise(state: &ConnectionState, kind: &str, operation: &Operation<'_>) -> Result<(), Error> {
    let Some(auth) = &state.shared.auth else { return Ok(()) };
    if needs_no_session(kind) {
        return Ok(());
    }
    if let Operation::Subscribe(Subscribe { query: Queried::Named(query), .. }) = operation
        && state.shared.programmatic.contains(query)
    {
        // What it reads is known when it has run: `authorise_programmatic`.
        return Ok(());
    }
    let mut resources = operation.resources();
    // Rights on a query are rights on what it reads.
    let snapshot = state.shared.published.load();
    let read = match operation {
        Operation::Subscribe(Subscribe { query: Queried::Named(query), .. })
        | Operation::Explain(Explained::Query { query, .. }) => {
            snapshot.query(query).map(|query| read_by(query, &snapshot)).unwrap_or_default()
        }
        // One that is wrong is refused for that when it is clear that this user may ask at all.
        Operation::Subscribe(Subscribe { query: Queried::Inline(config), .. }) => {
            subscribe::inline(config).map(|query| read_by(&query, &snapshot)).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    for resource in read {
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    decide(state.entry(), auth, kind, &resources)
}

fn read_by(query: &Query, snapshot: &Snapshot) -> Vec<Resource<'static>> {
    let buckets = query.buckets(snapshot).into_iter();
    buckets.map(|bucket| Resource::Bucket(Cow::Owned(bucket.to_string()))).collect()
}

/// Decides whether this connection may see what a query of the program has read. For all others that is decided before.
fn authorise_programmatic(state: &ConnectionState, query: &str, buckets: &[Arc<str>]) -> Result<(), Error> {
    match &state.shared.auth {
        Some(auth) if state.shared.programmatic.contains(query) => {
            decide(state.entry(), auth, "store.subscribe", &watched(query, buckets))
        }
        _ => Ok(()),
    }
}

fn watched<'a>(query: &'a str, buckets: &'a [Arc<str>]) -> Vec<Resource<'a>> {
    let named = (query != subscribe::INLINE).then_some(Resource::Query(Cow::Borrowed(query)));
    let buckets = buckets.iter().map(|name| Resource::Bucket(Cow::Borrowed(name)));
    named.into_iter().chain(buckets).collect()
}

/// Decides whether a connection may go on watching a query that reads these buckets now. Called beside the connection, so a
/// panic of the permissions is a refusal.
pub(crate) fn authorise_watcher(
    entry: &Entry,
    auth: &Auth,
    query: &str,
    buckets: &[Arc<str>],
) -> Result<(), Error> {
    let decide = || decide(entry, auth, "store.subscribe", &watched(query, buckets));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decide))
        .unwrap_or_else(|_| Err(Error::new(Code::InternalError, "The permissions failed")))
}

/// Asks the permission callback about everything the operation touches.
fn decide(entry: &Entry, auth: &Auth, kind: &str, resources: &[Resource<'_>]) -> Result<(), Error> {
    let session = entry.session.load();
    // `understand` has seen one; without one nothing is allowed.
    let Some(session) = session.as_deref().or(auth.anonymous.as_ref()) else {
        return Err(Error::new(Code::Unauthorized, "Authentication required"));
    };
    let access = Access { session, operation: kind, resources };
    if auth.permissions.allows(&access) { Ok(()) } else { Err(auth.permissions.refusal(&access)) }
}
