//! The callback by which an embedder decides what a session may do.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dunlin_protocol::{Kind, Resource};

use super::Session;

/// What a permission callback is asked: may this session run this operation on these resources?
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Access<'a> {
    /// Who asks.
    pub session: &'a Arc<Session>,
    /// What the operation is.
    pub kind: Kind,
    /// Its name, for example `store.insert`.
    pub operation: &'static str,
    /// Everything it touches, derived from what it really does: for a query its own name and every bucket it reads. A
    /// transaction is asked about as a whole, then each kind of operation in it with the buckets that it touches.
    pub resources: &'a [Resource<'a>],
}

impl<'a> Access<'a> {
    pub(crate) fn new(session: &'a Arc<Session>, kind: Kind, resources: &'a [Resource<'a>]) -> Self {
        Self { session, kind, operation: kind.as_str(), resources }
    }

    /// Whether a bucket of that name is among the resources.
    pub fn touches_bucket(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| matches!(resource, Resource::Bucket(bucket) if *bucket == name))
    }

    /// The same question with everything it needs, for a callback that takes its time.
    pub fn to_owned(&self) -> OwnedAccess {
        OwnedAccess {
            session: Arc::clone(self.session),
            kind: self.kind,
            operation: self.operation,
            resources: self.resources.iter().cloned().map(Resource::into_owned).collect(),
        }
    }
}

/// An [`Access`] that borrows nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnedAccess {
    /// Who asks.
    pub session: Arc<Session>,
    /// What the operation is.
    pub kind: Kind,
    /// Its name, for example `store.insert`.
    pub operation: &'static str,
    /// Everything it touches.
    pub resources: Vec<Resource<'static>>,
}

impl OwnedAccess {
    /// The question as other callbacks see it.
    ///
    /// ```
    /// # fn see(access: dunlin_server::OwnedAccess) {
    /// assert!(!access.as_access().touches_bucket("salaries"));
    /// # }
    /// ```
    pub fn as_access(&self) -> Access<'_> {
        Access::new(&self.session, self.kind, &self.resources)
    }
}

/// What a permission callback says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may, whatever the policy says.
    Allow,
    /// It may not.
    Deny,
    /// The policy decides.
    Abstain,
}

impl From<bool> for Verdict {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Deny }
    }
}

impl From<Option<bool>> for Verdict {
    fn from(allowed: Option<bool>) -> Self {
        allowed.map_or(Self::Abstain, Self::from)
    }
}

/// Why a permission callback could not decide. The log sees the reason, the client that it is denied.
#[derive(Debug)]
pub struct PermissionFault(Box<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for PermissionFault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for PermissionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A verdict, or one that is still to come.
pub enum Decision {
    /// Decided.
    Now(Verdict),
    /// Being decided. A fault denies, and so does an answer that takes longer than
    /// [`limits::PERMISSION_WAIT`](crate::limits::PERMISSION_WAIT).
    Later(Pin<Box<dyn Future<Output = Result<Verdict, PermissionFault>> + Send>>),
}

/// Decides what a session may do, before the [policy](super::Policy) is asked. Any closure from [`Access`] to `bool`,
/// `Option<bool>` (`None` leaves it to the policy) or [`Verdict`] is one.
///
/// ```
/// use dunlin_server::{Access, Permissions, Verdict};
///
/// fn takes(_: impl Permissions) {}
/// takes(|access: &Access<'_>| access.operation.starts_with("store.") && access.touches_bucket("notes"));
/// takes(|access: &Access<'_>| match access.session.user_id.as_str() {
///     "root" => Verdict::Allow,
///     _ => Verdict::Abstain,
/// });
/// ```
pub trait Permissions: Send + Sync + 'static {
    /// Called before each operation that needs a right, inside the connection it belongs to. A panic costs that connection.
    fn decide(&self, access: &Access<'_>) -> Decision;
}

impl<F, V> Permissions for F
where
    F: Fn(&Access<'_>) -> V + Send + Sync + 'static,
    V: Into<Verdict>,
{
    fn decide(&self, access: &Access<'_>) -> Decision {
        Decision::Now(self(access).into())
    }
}

/// An `async` closure as [`Permissions`].
pub(crate) struct AsyncPermissions<F>(pub(crate) F);

impl<F, A, V> Permissions for AsyncPermissions<F>
where
    F: Fn(OwnedAccess) -> A + Send + Sync + 'static,
    A: Future<Output = Result<V, PermissionFault>> + Send + 'static,
    V: Into<Verdict>,
{
    fn decide(&self, access: &Access<'_>) -> Decision {
        let verdict = self.0(access.to_owned());
        Decision::Later(Box::pin(async move { verdict.await.map(Into::into) }))
    }
}
