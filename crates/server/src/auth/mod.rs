//! Who may do what: see `docs/access.md`.

mod authenticator;
mod permissions;
mod session;
mod token_table;

pub use authenticator::{Authentication, Authenticator, AuthenticatorFault, Login};
pub use permissions::{Access, Permissions, RoleTiers};
pub use session::Session;
pub(crate) use token_table::TokenTable;
