//! `auth.jwt`, `auth.webhook` and `auth.upgrade`: other ways to log in than the table, and another moment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Secret, limits};

/// `auth.jwt`: signed tokens. It is on if one of the four places of a key is given.
///
/// ```
/// use dunlin_server::{JwtOptions, Server};
///
/// let mut jwt = JwtOptions::default();
/// jwt.public_key_file = Some("issuer.pem".into());
/// jwt.issuer = Some("https://login.example.com/".into());
/// let builder = Server::builder().jwt(jwt);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JwtOptions {
    /// The algorithms that tokens may be signed with; `None`: all that the key or keys are for.
    pub algorithms: Option<Vec<JwtAlgorithm>>,
    /// The secret of HS256, at least 32 bytes.
    pub secret: Option<Secret>,
    /// A file with that secret; a line end behind it is not part of it.
    pub secret_file: Option<PathBuf>,
    /// A file with one public key, PEM: RSA for RS256, P-256 for ES256, Ed25519 for `EdDSA`.
    pub public_key_file: Option<PathBuf>,
    /// A file with several keys, a JWK set; a token names its key by `kid`.
    pub jwks_file: Option<PathBuf>,
    /// The `iss` that a token must have; `None` looks at none.
    pub issuer: Option<String>,
    /// What must be among the `aud` of a token; `None` refuses every token that is made for somebody in particular.
    pub audience: Option<String>,
    /// Seconds by which the clocks of the issuer and of this machine may differ.
    pub leeway_seconds: u64,
    /// The claim that is the user's id.
    pub user_claim: String,
    /// The claim that lists the roles: its name, or a path through objects with dots between the names.
    pub roles_claim: String,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            algorithms: None,
            secret: None,
            secret_file: None,
            public_key_file: None,
            jwks_file: None,
            issuer: None,
            audience: None,
            leeway_seconds: limits::JWT_LEEWAY_SECONDS,
            user_claim: limits::JWT_USER_CLAIM.to_owned(),
            roles_claim: limits::JWT_ROLES_CLAIM.to_owned(),
        }
    }
}

/// `auth.jwt.algorithms`: how a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: whoever can check tokens can make them.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// The word used in files and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// `auth.webhook`: another service that knows the tokens. It is on if `url` is given.
///
/// ```
/// use dunlin_server::{Server, WebhookOptions};
///
/// let mut webhook = WebhookOptions::default();
/// webhook.url = Some("https://accounts.example.com/dunlin".into());
/// let builder = Server::builder().webhook(webhook);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WebhookOptions {
    /// Where it is asked.
    pub url: Option<String>,
    /// What it is shown, as `Authorization: Bearer …`, so that it knows who asks.
    pub secret: Option<Secret>,
    /// A file with certificates, PEM, that it is held to beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Time it has to answer, milliseconds.
    pub timeout_ms: u64,
    /// How long an answer is remembered, milliseconds; 0 asks for each login.
    pub cache_ms: u64,
    /// Answers that are remembered.
    pub max_cached: usize,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            ca_file: None,
            timeout_ms: limits::WEBHOOK_TIMEOUT_MS,
            cache_ms: limits::WEBHOOK_CACHE_MS,
            max_cached: limits::WEBHOOK_CACHED,
        }
    }
}

/// `auth.upgrade`: logins with the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UpgradeLogin {
    /// Whether `Authorization: Bearer …` is looked at.
    pub header: bool,
    /// The query parameter that may hold the token.
    pub query_parameter: Option<String>,
    /// Whether a handshake without a token is refused.
    pub required: bool,
}

/// `revocation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationOptions {
    /// How long a user cannot log in whose sessions were revoked, milliseconds.
    pub blacklist_ttl_ms: u64,
}

impl Default for RevocationOptions {
    fn default() -> Self {
        Self { blacklist_ttl_ms: limits::BLACKLIST_TTL_MS }
    }
}

/// Whether a text is the address of a webhook. One with a user name or password in it would show them in logs.
pub(crate) fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    })
}
