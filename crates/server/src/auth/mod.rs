//! Who may do what: see `docs/access.md`.

mod authenticator;
mod permissions;
pub(crate) mod policy;
mod rights;
mod session;
mod token_table;

pub use authenticator::{Authentication, Authenticator, AuthenticatorFault, Login};
pub(crate) use permissions::AsyncPermissions;
pub use permissions::{Access, Decision, OwnedAccess, PermissionFault, Permissions, Verdict};
pub use policy::{DefaultRule, Exception, OneOrMany, PermissionRules, Policy, PolicyError, RowRule, Rule};
pub(crate) use rights::{Auth, Rights};
pub use session::Session;
pub(crate) use token_table::TokenTable;
