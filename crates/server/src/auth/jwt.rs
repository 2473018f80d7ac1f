//! Signed tokens: the authenticator of `auth.jwt`.
//!
//! A key is for one algorithm, and a token is only held to a key that is for its algorithm: a public key is never taken for
//! the secret of an HMAC. What a token says of itself beyond that (`jku`, `jwk`, `x5c`) is not looked at.

use std::pin::Pin;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::jwt_keys::{JwtError, KeyFile, Keys, library};
use super::{Authentication, Authenticator, Login, Session};
use crate::config::{JwtAlgorithm, JwtOptions};
use crate::time::unix_ms;

/// Knows every token that was signed with one of its keys. The session has the user and the roles of the token, ends with
/// it, and has all its claims as metadata.
///
/// Keys in files are read again when these change, at most once a second; one that cannot be read keeps the keys that were
/// there before, and is told in the log.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::config::Secret;
/// use dunlin_server::{Authenticator, JwtAuthenticator, JwtOptions, Login};
///
/// let mut options = JwtOptions::default();
/// options.secret = Some(Secret::new("a secret of at least 32 bytes, at random"));
/// let tokens = JwtAuthenticator::new(&options)?;
/// let login = Login::new("not.signed.byUs", [127, 0, 0, 1]);
/// assert!(matches!(tokens.authenticate(login).await, Ok(None)));
/// # Ok(())
/// # }
/// ```
pub struct JwtAuthenticator {
    keys: KeyFile,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_seconds: u64,
    user_claim: String,
    roles_claim: String,
}

impl std::fmt::Debug for JwtAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtAuthenticator").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl JwtAuthenticator {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key that is missing, given twice, unreadable, too short, or for none of the algorithms.
    pub fn new(options: &JwtOptions) -> Result<Self, JwtError> {
        // Where another part of the program has brought a second library, neither would be chosen by itself. If one is chosen
        // already, that one does.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Ok(Self {
            keys: KeyFile::open(options)?,
            issuer: options.issuer.clone(),
            audience: options.audience.clone(),
            leeway_seconds: options.leeway_seconds,
            user_claim: options.user_claim.clone(),
            roles_claim: options.roles_claim.clone(),
        })
    }

    fn session(&self, keys: &Keys, token: &str, now_ms: u64) -> Result<Session, String> {
        let told = |error: jsonwebtoken::errors::Error| error.to_string();
        let header = decode_header(token).map_err(told)?;
        if header.crit.is_some() {
            return Err("it wants something understood that is not (crit)".to_owned());
        }
        let algorithm = JwtAlgorithm::of(header.alg).ok_or("its algorithm is none of ours")?;
        let key = keys.key(algorithm, header.kid.as_deref())?;
        let claims =
            decode::<Map<String, Value>>(token, key, &self.validation(algorithm)).map_err(told)?.claims;
        let metadata = Value::Object(claims);
        let user = match at(&metadata, &self.user_claim) {
            Some(Value::String(user)) if !user.is_empty() => user.clone(),
            Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
            _ => return Err(format!("its claim {} is no user", self.user_claim)),
        };
        let roles = match at(&metadata, &self.roles_claim) {
            None | Some(Value::Null) => Vec::new(),
            // As OAuth writes a scope.
            Some(Value::String(roles)) => roles.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(roles)) => roles
                .iter()
                .map(|role| role.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| format!("its claim {} is no list of roles", self.roles_claim))?,
            Some(_) => return Err(format!("its claim {} is no list of roles", self.roles_claim)),
        };
        let end = end_ms(&metadata["exp"]).ok_or("its claim exp is no time")?;
        // Whoever comes in the leeway behind the end has a session to the end of it.
        let leeway = self.leeway_seconds.saturating_mul(1000);
        let in_leeway = end <= now_ms && now_ms < end.saturating_add(leeway);
        let end = if in_leeway { end.saturating_add(leeway) } else { end };
        Ok(Session { user_id: user, roles, expires_at: Some(end), metadata })
    }

    fn validation(&self, algorithm: JwtAlgorithm) -> Validation {
        let mut validation = Validation::new(library(algorithm));
        validation.leeway = self.leeway_seconds;
        // Looked at behind everything else: one that has expired is refused by that name.
        validation.validate_exp = false;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl Authenticator for JwtAuthenticator {
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>> {
        Box::pin(async move {
            let keys = self.keys.newest().await;
            match self.session(&keys, &login.token, unix_ms()) {
                Ok(session) => Ok(Some(session)),
                Err(reason) => {
                    tracing::debug!(reason, "a signed token was refused");
                    Ok(None)
                }
            }
        })
    }
}

/// The value of a claim: of that name, or at that path.
fn at<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |value, part| value.get(part)))
}

/// `exp` in Unix milliseconds; it may have a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates: such times are never"
)]
fn end_ms(exp: &Value) -> Option<u64> {
    match exp.as_u64() {
        Some(seconds) => Some(seconds.saturating_mul(1000)),
        None => exp.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| (seconds * 1000.0) as u64),
    }
}
