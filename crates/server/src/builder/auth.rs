//! Who is let in, as a configuration and a program say together.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::auth::{
    Auth, Authenticator, Blacklist, Chain, DATA_ROLE, JwtAuthenticator, Permissions, Policy, Session,
    TokenTable, WebhookAuthenticator,
};
use crate::config::{Config, JwtOptions, WebhookOptions};
use crate::start_error::StartError;

/// Who is let in: by the configured table or by the program's own authenticator.
pub(super) fn of(
    config: &Config,
    authenticator: Option<Box<dyn Authenticator>>,
    permissions: Option<Box<dyn Permissions>>,
    policy: Option<Policy>,
) -> Result<Option<Auth>, StartError> {
    let configured = &config.auth;
    let is_default_policy = policy.is_none() && !configured.has_policy();
    let policy = match policy {
        Some(_) if configured.has_policy() => return Err(StartError::TwoPolicies),
        Some(policy) => policy,
        None => configured.policy()?,
    };
    let tokens = configured.tokens.clone().map(TokenTable::new);
    let mut all: Vec<Box<dyn Authenticator>> = Vec::new();
    if let Some(tokens) = &tokens {
        all.push(Box::new(tokens.clone()));
    }
    if configured.jwt != JwtOptions::default() {
        all.push(Box::new(JwtAuthenticator::new(&configured.jwt)?));
    }
    if configured.webhook != WebhookOptions::default() {
        all.push(Box::new(WebhookAuthenticator::new(&configured.webhook)?));
    }
    let authenticator = match (Chain::of(all), authenticator) {
        (Some(_), Some(_)) => return Err(StartError::TwoAuthenticators),
        (Some(authenticator), None) | (None, Some(authenticator)) => authenticator,
        (None, None) if configured.is_given() => return Err(StartError::NoAuthenticator),
        (None, None) => return Ok(None),
    };
    // Where nobody has said what roles mean, who logs in may do what anybody may where no login is required.
    let policy = Arc::new(policy);
    let unsaid = (permissions.is_none() && is_default_policy).then(|| Arc::clone(&policy));
    let role = configured.anonymous.as_deref().unwrap_or(DATA_ROLE);
    let anonymous = Arc::new(Session::new("anonymous").with_role(role));
    Ok(Some(Auth {
        authenticator,
        permissions,
        policy: ArcSwap::new(policy),
        tokens,
        revoked: Blacklist::new(Duration::from_millis(config.revocation.blacklist_ttl_ms)),
        logged_in: configured.logged_in.clone(),
        unsaid,
        anonymous: (configured.required == Some(false)).then_some(anonymous),
    }))
}
