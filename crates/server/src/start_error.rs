//! Why a server did not start.

use dunlin_journal::JournalError;

use crate::auth::{JwtError, PolicyError, WebhookError};
use crate::config::ConfigError;
use crate::store_actor::WriteError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data could not be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it, or choose another host or port")]
    Listen {
        /// `host:port`.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A definition in `seed` was refused.
    #[error("seed[{index}] was refused: {source}")]
    Seed {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        source: Box<WriteError>,
    },
    /// A query of the program cannot be.
    #[error("query \"{query}\" of the program: {reason}")]
    Query {
        /// Its name.
        query: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// A rule of the program was refused.
    #[error("rule {index} of the program was refused: {source}")]
    Rule {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        source: Box<WriteError>,
    },
    /// Logins are configured in two places.
    #[error(
        "both the configuration (auth.tokens, auth.jwt or auth.webhook) and the program (an authenticator) say who may log in; \
         keep one of them"
    )]
    TwoAuthenticators,
    /// The configuration says who must log in, and nobody can.
    #[error(
        "auth.required, auth.anonymous, auth.upgrade, auth.roles and auth.permissions mean nothing where nobody can log in; add \
         auth.tokens, auth.jwt or auth.webhook, give an authenticator, or remove them"
    )]
    NoAuthenticator,
    /// What roles mean is said in two places.
    #[error(
        "both the configuration (auth.roles, auth.permissions) and the program (a policy) say what roles mean; keep one of them"
    )]
    TwoPolicies,
    /// What roles mean cannot be read.
    #[error("auth.permissions: {0}")]
    Policy(#[from] PolicyError),
    /// Signed tokens could not be checked.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// The webhook of logins could not be asked.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// What the rules hold cannot be read.
    #[error("{0}; restore a backup, or use the version that has written it")]
    Rules(String),
    /// Webhooks cannot be sent.
    #[error("rules.webhooks: {0}")]
    RuleWebhooks(String),
    /// An actor or a thread could not be started.
    #[error("the server's actors could not be started: {0}")]
    Actors(String),
}

impl StartError {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "CONFIG",
            Self::Journal(error) => error.code(),
            Self::Listen { .. } => "LISTEN",
            Self::Seed { .. } => "SEED",
            Self::Query { .. } => "QUERY",
            Self::TwoAuthenticators | Self::NoAuthenticator => "AUTHENTICATOR",
            Self::TwoPolicies | Self::Policy(_) => "POLICY",
            Self::Jwt(error) => error.code(),
            Self::Webhook(error) => error.code(),
            Self::Rule { .. } | Self::Rules(_) => "RULES",
            Self::RuleWebhooks(_) => "RULE_WEBHOOKS",
            Self::Actors(_) => "ACTORS",
        }
    }
}
