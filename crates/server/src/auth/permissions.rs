//! What a session may do: the callback an embedder gives, and what holds without one.

use std::fmt;

use dunlin_protocol::{Code, Error, Kind, Resource, Tier};

use super::Session;

/// What a permission callback is asked: may this session run this operation on these resources?
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Access<'a> {
    /// Who asks.
    pub session: &'a Session,
    /// The operation's name, for example `store.insert`.
    pub operation: &'a str,
    /// Everything it touches, derived from what it really does: for a query its own name and every bucket it reads.
    pub resources: &'a [Resource<'a>],
}

impl Access<'_> {
    /// Whether a bucket of that name is among the resources.
    pub fn touches_bucket(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| matches!(resource, Resource::Bucket(bucket) if *bucket == name))
    }
}

/// Decides what a logged-in user may do. Any closure from [`Access`] to `bool` is one. It replaces the built-in tiers
/// ([`RoleTiers`]).
///
/// ```
/// use dunlin_server::{Access, Permissions, Session};
///
/// let own_notes = |access: &Access<'_>| access.operation.starts_with("store.") && access.touches_bucket("notes");
/// fn takes(_: impl Permissions) {}
/// takes(own_notes);
/// ```
pub trait Permissions: Send + Sync + 'static {
    /// Whether the access is allowed. Called before each operation but `auth.*`, inside the connection it belongs to.
    fn allows(&self, access: &Access<'_>) -> bool;

    /// The refusal the client sees.
    fn refusal(&self, access: &Access<'_>) -> Error {
        Error::new(
            Code::Forbidden,
            format!("No permission for {} on {}", access.operation, Named(access.resources)),
        )
    }
}

impl<F: Fn(&Access<'_>) -> bool + Send + Sync + 'static> Permissions for F {
    fn allows(&self, access: &Access<'_>) -> bool {
        self(access)
    }
}

/// What holds where an [`Authenticator`] is given and no [`Permissions`]: `reader` may read, `writer` also write, `admin`
/// also administer; every other role grants nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoleTiers;

impl Permissions for RoleTiers {
    fn allows(&self, access: &Access<'_>) -> bool {
        let reached = Tier::reached(access.session.roles.iter().map(String::as_str));
        match Kind::named(access.operation).and_then(Kind::tier) {
            Some(needed) => reached >= Some(needed),
            // Unknown names end as UNKNOWN_OPERATION; there is nothing to protect.
            None => true,
        }
    }

    fn refusal(&self, access: &Access<'_>) -> Error {
        let tier = Kind::named(access.operation).and_then(Kind::tier).map_or("admin", Tier::as_str);
        Error::new(
            Code::Forbidden,
            format!("Role level insufficient for {} (requires {tier})", access.operation),
        )
    }
}

struct Named<'a>(&'a [Resource<'a>]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, resource) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match resource {
                Resource::Bucket(name) | Resource::Query(name) => f.write_str(name)?,
                _ => f.write_str("*")?,
            }
        }
        Ok(())
    }
}
