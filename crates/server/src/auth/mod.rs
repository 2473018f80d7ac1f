//! Who may do what: see `docs/access.md`.

mod admission;
mod authenticator;
mod chain;
mod jwt;
mod jwt_keys;
mod permissions;
pub(crate) mod policy;
mod revocation;
mod rights;
mod rule_rights;
mod session;
mod token_table;
mod upgrade;
mod webhook;
mod webhook_cache;

pub(crate) use admission::{Denied, admit};
pub use authenticator::{Authentication, Authenticator, AuthenticatorFault, HandshakeInfo, Login};
pub(crate) use chain::Chain;
pub use jwt::JwtAuthenticator;
pub use jwt_keys::JwtError;
pub(crate) use permissions::AsyncPermissions;
pub use permissions::{Access, Decision, OwnedAccess, PermissionFault, Permissions, Verdict};
pub use policy::{DefaultRule, Exception, OneOrMany, PermissionRules, Policy, PolicyError, RowRule, Rule};
pub use revocation::Revocation;
pub(crate) use revocation::{Blacklist, close_revoked, revoke};
pub(crate) use rights::{Auth, DATA_ROLE, Rights};
pub(crate) use rule_rights::PolicyRights;
pub use session::Session;
pub(crate) use token_table::TokenTable;
pub(crate) use upgrade::UpgradeWish;
pub use webhook::{WebhookAuthenticator, WebhookError};
