//! Another service that knows the tokens: the authenticator of `auth.webhook`.
//!
//! It is asked with `POST {"token", "remoteAddress"}`. 200 with a session, `{userId, roles?, metadata?, expiresAt?}`, is yes; 200
//! with `null`, 401, 403 and 404 are no; everything else, and no answer in time, is a fault: nobody is logged in then. Answers
//! are remembered for a while, under a hash of what was asked. What is asked by several at once is asked once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::webhook_cache::{Cache, Question};
use super::{Authentication, Authenticator, Login, Session};
use crate::breaker::Breaker;
use crate::config::WebhookOptions;
use crate::http_client::{Bounds, HttpClient, HttpError, TlsError};
use crate::limits;
use crate::time::unix_ms;

/// Asks a service over HTTP who a token is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::{Authenticator, Login, WebhookAuthenticator, WebhookOptions};
///
/// let mut options = WebhookOptions::default();
/// options.url = Some("http://127.0.0.1:1/login".into());
/// let accounts = WebhookAuthenticator::new(&options)?;
/// let nobody_listens = accounts.authenticate(Login::new("t-1", [127, 0, 0, 1])).await;
/// assert!(nobody_listens.is_err());
/// # Ok(())
/// # }
/// ```
pub struct WebhookAuthenticator(Arc<Webhook>);

impl std::fmt::Debug for WebhookAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookAuthenticator").field("url", &self.0.shown).finish_non_exhaustive()
    }
}

/// Why a webhook cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// There is no address, or it is none.
    #[error("auth.webhook.url: expected an http:// or https:// address without user name and password")]
    Url,
    /// The secret cannot stand in a header.
    #[error("auth.webhook.secret: a secret that is sent as a header has no control characters")]
    Secret,
    /// Certificates are missing or cannot be read.
    #[error("auth.webhook: {0}")]
    Tls(String),
}

impl WebhookError {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url => "WEBHOOK_URL",
            Self::Secret => "WEBHOOK_SECRET",
            Self::Tls(_) => "WEBHOOK_TLS",
        }
    }
}

impl From<TlsError> for WebhookError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

struct Webhook {
    client: HttpClient,
    url: Uri,
    /// The same without its query, where some services want a key.
    shown: String,
    authorization: Option<HeaderValue>,
    cache_time: Duration,
    breaker: Breaker,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    /// What is being asked, and where its answer will be.
    asked: HashMap<Question, watch::Receiver<Option<Answer>>>,
}

/// A session, nobody, or why that is not known.
type Answer = Result<Option<Arc<Session>>, Arc<str>>;

impl WebhookAuthenticator {
    /// Prepares to ask; the first request is made with the first login.
    ///
    /// # Errors
    /// A wrong address or secret, certificates that cannot be read.
    pub fn new(options: &WebhookOptions) -> Result<Self, WebhookError> {
        let url = options.url.as_deref().filter(|url| crate::config::is_url(url)).ok_or(WebhookError::Url)?;
        let url: Uri = url.parse().map_err(|_| WebhookError::Url)?;
        let bearer = |secret: &crate::config::Secret| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let authorization = options.secret.as_ref().map(bearer).transpose();
        let authorization = authorization.map_err(|_: axum::http::Error| WebhookError::Secret)?;
        let bounds = Bounds {
            timeout: Duration::from_millis(options.timeout_ms),
            answer_bytes: limits::WEBHOOK_ANSWER_BYTES,
            at_once: limits::WEBHOOK_REQUESTS,
        };
        let https = url.scheme_str() == Some("https");
        let shown = url.to_string().split('?').next().unwrap_or_default().to_owned();
        Ok(Self(Arc::new(Webhook {
            client: HttpClient::new(https, options.ca_file.as_deref(), bounds)?,
            url,
            shown,
            authorization,
            cache_time: Duration::from_millis(options.cache_ms),
            breaker: Breaker::new(limits::WEBHOOK_FAULTS, limits::WEBHOOK_PAUSE),
            state: Mutex::new(State { cache: Cache::new(options.max_cached), asked: HashMap::new() }),
        })))
    }
}

impl Authenticator for WebhookAuthenticator {
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>> {
        let webhook = Arc::clone(&self.0);
        Box::pin(async move {
            match webhook.answer(login).await {
                Ok(session) => Ok(session.map(Arc::unwrap_or_clone)),
                Err(fault) => Err(format!("auth.webhook: {fault}").into()),
            }
        })
    }
}

impl Webhook {
    fn state(&self) -> MutexGuard<'_, State> {
        // Between two changes that belong together nothing panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, what will be known soon, or what the service says now.
    async fn answer(self: Arc<Self>, login: Login) -> Answer {
        let question = question(&login);
        let mut answer = {
            let mut state = self.state();
            if let Some(session) = state.cache.get(&question, unix_ms()) {
                return Ok(session);
            }
            match state.asked.get(&question) {
                Some(asked) => asked.clone(),
                None if state.asked.len() >= limits::WEBHOOK_WAITING => {
                    return Err("too many logins wait for it".into());
                }
                None => {
                    let (tell, asked) = watch::channel(None);
                    state.asked.insert(question, asked.clone());
                    // A task of its own: whoever asked first may leave, and others wait for the same.
                    let asking = Asking { webhook: Arc::clone(&self), question, answered: false };
                    tokio::spawn(asking.run(login, tell));
                    asked
                }
            }
        };
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err("it was not asked".into())),
            Err(_) => Err("asking it failed".into()),
        }
    }

    /// Asks it, unless it has failed too often a moment ago.
    async fn ask(&self, login: &Login) -> Result<Known, String> {
        let Some(attempt) = self.breaker.attempt() else {
            return Err("it has failed several times in a row and is not asked for a while".to_owned());
        };
        let body = json!({"token": login.token, "remoteAddress": login.remote_address.to_string()});
        let sent =
            self.client.post_json(&self.url, self.authorization.as_ref(), body.to_string().into_bytes());
        let (known, works) = match sent.await {
            Ok((status, body)) => (understand(status, &body), !is_overloaded(status)),
            // It was not asked.
            Err(error @ HttpError::Busy(_)) => return Err(error.to_string()),
            Err(error) => (Err(error.to_string()), matches!(error, HttpError::Answer(_))),
        };
        // Whoever logs in chooses what it is asked: an answer that is of no use to him shall keep nobody else out.
        let changed = if works { attempt.succeeded() } else { attempt.failed() };
        if changed && !works {
            let pause = limits::WEBHOOK_PAUSE;
            tracing::error!(
                url = self.shown,
                ?pause,
                "auth.webhook fails: logins by it are denied at once for a while"
            );
        } else if changed {
            tracing::info!(url = self.shown, "auth.webhook answers again");
        }
        known
    }
}

/// A question that is being asked; it is no longer when this is dropped, whatever happened.
struct Asking {
    webhook: Arc<Webhook>,
    question: Question,
    answered: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Behind its answer somebody may be asking the same anew.
        if !self.answered {
            self.webhook.state().asked.remove(&self.question);
        }
    }
}

impl Asking {
    async fn run(mut self, login: Login, tell: watch::Sender<Option<Answer>>) {
        let known = self.webhook.ask(&login).await;
        let (answer, bytes) = match known {
            Ok(Known { session, bytes }) => (Ok(session.map(Arc::new)), bytes),
            Err(fault) => (Err(fault.into()), 0),
        };
        {
            let mut state = self.webhook.state();
            // Before it is told: whoever asks when somebody knows the answer already is not to get this one from here.
            state.asked.remove(&self.question);
            let time = self.webhook.cache_time;
            if let (Ok(session), false) = (&answer, time.is_zero()) {
                let until = unix_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                state.cache.put(self.question, session.clone(), bytes, until);
            }
        }
        self.answered = true;
        tell.send_replace(Some(answer));
    }
}

/// A hash of everything that the service is told: it may answer another address differently. The token itself is not kept.
fn question(login: &Login) -> Question {
    let mut hash = Context::new(&SHA256);
    match login.remote_address {
        IpAddr::V4(address) => hash.update(&address.octets()),
        IpAddr::V6(address) => hash.update(&address.octets()),
    }
    hash.update(&[u8::from(login.remote_address.is_ipv4())]);
    hash.update(login.token.as_bytes());
    let mut question = [0; 32];
    question.copy_from_slice(hash.finish().as_ref());
    question
}

/// What the service knows.
struct Known {
    session: Option<Session>,
    bytes: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionAnswer {
    user_id: String,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    expires_at: Option<u64>,
}

/// Whether a status says that the service itself is in trouble, whatever it was asked.
fn is_overloaded(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn understand(status: StatusCode, body: &[u8]) -> Result<Known, String> {
    let nobody = Known { session: None, bytes: 0 };
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => return Ok(nobody),
        other => return Err(format!("it answered with status {}", other.as_u16())),
    }
    // What serde says of a wrong member may repeat it; where it is, is enough.
    let wrong = |error: serde_json::Error| {
        format!(
            "its answer is no session {{\"userId\": …}} (line {}, column {})",
            error.line(),
            error.column()
        )
    };
    let Some(answer) = serde_json::from_slice::<Option<SessionAnswer>>(body).map_err(wrong)? else {
        return Ok(nobody);
    };
    if answer.user_id.is_empty() {
        return Err("its answer has an empty userId".to_owned());
    }
    let session = Session {
        user_id: answer.user_id,
        roles: answer.roles.unwrap_or_default(),
        expires_at: answer.expires_at,
        metadata: answer.metadata,
    };
    Ok(Known { session: Some(session), bytes: body.len() })
}
