//! `auth`: who may log in, and what whoever has not may do. Tokens are secrets: nothing here ever prints one.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::fault::FaultKind;
use super::kind::{Found, as_whole, mismatch, shown};
use super::limits::{LOGIN_TIMEOUT_MS, MAX_TOKEN_BYTES, MAX_TOKENS};
use super::logins::{JwtOptions, UpgradeLogin, WebhookOptions};
use super::nearest::nearest;
use crate::auth::policy::{PermissionRules, PolicyFault};
use crate::auth::{Policy, PolicyError};

/// `auth`: logins.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Auth {
    /// The session that each token stands for; `None` if nobody logs in by this table.
    pub tokens: Option<BTreeMap<String, TokenSession>>,
    /// Whether a client must log in before anything else; `None` is `true`.
    pub required: Option<bool>,
    /// The role of whoever has not logged in, where that is not required; `None` is `writer`.
    pub anonymous: Option<String>,
    /// The role of whoever has logged in and has none of the built-in roles; `None` is `writer`, if nothing says what roles
    /// mean, and else no role.
    pub logged_in: Option<String>,
    /// Which roles each role includes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeMap<String, Vec<String>>>,
    /// What roles mean, beyond the built-in ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionRules>,
    /// Signed tokens.
    pub jwt: JwtOptions,
    /// Another service that knows the tokens.
    pub webhook: WebhookOptions,
    /// Logins with the handshake.
    pub upgrade: UpgradeLogin,
    /// Where a login is required: how long a connection may stay without one, in milliseconds; 0 is for ever.
    pub login_timeout_ms: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            tokens: None,
            required: None,
            anonymous: None,
            logged_in: None,
            roles: None,
            permissions: None,
            jwt: JwtOptions::default(),
            webhook: WebhookOptions::default(),
            upgrade: UpgradeLogin::default(),
            login_timeout_ms: LOGIN_TIMEOUT_MS,
        }
    }
}

impl Auth {
    /// Whether it says anything that is for logins only.
    pub(crate) fn is_given(&self) -> bool {
        self.required.is_some()
            || self.anonymous.is_some()
            || self.logged_in.is_some()
            || self.upgrade != UpgradeLogin::default()
            || self.has_policy()
    }

    /// Whether it says what roles mean.
    pub(crate) fn has_policy(&self) -> bool {
        self.roles.is_some() || self.permissions.is_some()
    }

    /// What roles mean.
    pub(crate) fn policy(&self) -> Result<Policy, PolicyError> {
        Policy::new(self.roles.clone().unwrap_or_default(), self.permissions.clone().unwrap_or_default())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("tokens", &self.tokens.as_ref().map(BTreeMap::len))
            .field("required", &self.required)
            .field("anonymous", &self.anonymous)
            .field("logged_in", &self.logged_in)
            .field("roles", &self.roles)
            .field("permissions", &self.permissions)
            .field("login_timeout_ms", &self.login_timeout_ms)
            .field("jwt", &self.jwt)
            .field("webhook", &self.webhook)
            .field("upgrade", &self.upgrade)
            .finish()
    }
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TokenSession {
    /// The user.
    pub user_id: String,
    /// The user's roles.
    pub roles: Vec<String>,
    /// Whatever permission rules want to know; never sent to clients.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    /// When the session ends, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// How long after its login the session ends, milliseconds. A negative one has ended already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<i64>,
}

impl TokenSession {
    /// A session of this user without roles and without end.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self {
            user_id: user_id.into(),
            roles: Vec::new(),
            metadata: Value::Null,
            expires_at: None,
            expires_in_ms: None,
        }
    }
}

const FIELDS: [&str; 5] = ["userId", "roles", "metadata", "expiresAt", "expiresInMs"];

/// What a person should write.
pub(super) const EXPECTED: &str = "an object from token to session";

/// All that is wrong with the value of `auth.tokens`. A place is told by its number, because its name is the token.
pub(super) fn check(value: &Value) -> Found {
    let Value::Object(table) = value else { return vec![hidden("", EXPECTED, value)] };
    if table.is_empty() || table.len() > MAX_TOKENS {
        let expected = format!("1 to {MAX_TOKENS} tokens");
        return vec![(
            String::new(),
            FaultKind::Value { expected, found: format!("{} of them", table.len()) },
        )];
    }
    let mut found = Found::new();
    for (i, (token, session)) in table.iter().enumerate() {
        if !(1..=MAX_TOKEN_BYTES).contains(&token.len()) {
            let expected = format!("a token of 1 to {MAX_TOKEN_BYTES} bytes");
            let kind = FaultKind::Value { expected, found: format!("one of {}", token.len()) };
            found.push((format!("[{i}]"), kind));
        }
        match session {
            Value::Object(session) => check_session(session, &format!("[{i}]"), &mut found),
            other => found.push(hidden(format!("[{i}]"), "a session {\"userId\": …, \"roles\": […]}", other)),
        }
    }
    found
}

fn check_session(session: &Map<String, Value>, at: &str, found: &mut Found) {
    for name in session.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
        let nearest = nearest(name, FIELDS).map(|near| format!("auth.tokens{at}.{near}"));
        let known = FIELDS.map(str::to_owned).into();
        found.push((format!("{at}.{name}"), FaultKind::Unknown { what: "key", nearest, known }));
    }
    let mut field = |name: &str, expected: &str, fits: fn(&Value) -> bool| {
        let value = session.get(name).unwrap_or(&Value::Null);
        if !fits(value) {
            found.push(mismatch(format!("{at}.{name}"), expected, value));
        }
    };
    field("userId", "the user's id, as text", |v| v.as_str().is_some_and(|user| !user.is_empty()));
    field("roles", "a list of roles, as text", |v| v.is_null() || roles(v).is_some());
    field("expiresAt", "a time in Unix milliseconds", |v| v.is_null() || as_whole(v).is_some());
    field("expiresInMs", "a whole number of milliseconds", |v| v.is_null() || v.as_i64().is_some());
    let given = |name: &str| session.get(name).is_some_and(|value| !value.is_null());
    if given("expiresAt") && given("expiresInMs") {
        let expected = "only one of expiresAt and expiresInMs".to_owned();
        found.push((at.to_owned(), FaultKind::Value { expected, found: "both".to_owned() }));
    }
}

/// A fault that does not repeat the value: it may be a token in the wrong place.
pub(super) fn hidden(at: impl Into<String>, expected: &str, value: &Value) -> (String, FaultKind) {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    (at.into(), FaultKind::Value { expected: expected.to_owned(), found: found.to_owned() })
}

/// The table of a value without faults.
pub(super) fn read(value: &Value) -> Option<BTreeMap<String, TokenSession>> {
    value.as_object()?.iter().map(|(token, session)| Some((token.clone(), read_session(session)?))).collect()
}

fn read_session(session: &Value) -> Option<TokenSession> {
    Some(TokenSession {
        user_id: session.get("userId")?.as_str()?.to_owned(),
        roles: session.get("roles").and_then(roles).unwrap_or_default(),
        metadata: session.get("metadata").cloned().unwrap_or_default(),
        expires_at: session.get("expiresAt").and_then(as_whole),
        expires_in_ms: session.get("expiresInMs").and_then(Value::as_i64),
    })
}

fn roles(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|role| role.as_str().map(str::to_owned)).collect()
}

/// What is wrong with rules, as faults of a configuration.
pub(super) fn faults(faults: Vec<PolicyFault>, value: &Value) -> Found {
    let fault = |PolicyFault { at, expected }: PolicyFault| {
        let pointer = at.replace(['.', '['], "/").replace(']', "");
        let found = value.pointer(&pointer).map_or_else(|| "nothing".to_owned(), shown);
        (at, FaultKind::Value { expected, found })
    };
    faults.into_iter().map(fault).collect()
}
