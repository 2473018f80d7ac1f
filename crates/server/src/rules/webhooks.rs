//! Webhooks: where they may go, how they are sent, and what an answer means.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use dunlin_rules::Object;
use serde_json::{Value, json};
use url::Url;

use super::services::ServiceError;
use crate::http_client::{Bounds, HttpClient, TlsError};
use crate::limits;

/// Sends webhooks to the targets that are allowed.
pub(crate) struct Webhooks {
    allow: Vec<Url>,
    client: HttpClient,
}

/// The header by which a receiver can tell a repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that belong to the sending and not to the message.
const RESERVED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    IDEMPOTENCY_KEY,
];

impl Webhooks {
    /// To URLs that begin with one of these.
    ///
    /// # Errors
    /// `https://` is among them and cannot be spoken here.
    pub(crate) fn new(allow: &[String]) -> Result<Self, TlsError> {
        let allow: Vec<Url> = allow.iter().filter_map(|url| Url::parse(url).ok()).collect();
        let https = allow.iter().any(|url| url.scheme() == "https");
        let bounds = Bounds {
            timeout: limits::WEBHOOK_CALL_MOST,
            answer_bytes: limits::CALL_ANSWER_BYTES,
            at_once: limits::CALLS,
        };
        Ok(Self { allow, client: HttpClient::new(https, None, bounds)? })
    }

    /// The target, if it is allowed. Compared as the URL is read, so that no `..` or `@` leads elsewhere.
    ///
    /// # Errors
    /// It is not, or is none.
    pub(crate) fn target(&self, url: &str) -> Result<Url, ServiceError> {
        let read = Url::parse(url).map_err(|error| ServiceError::for_good(format!("No URL: {error}")))?;
        let plain = read.username().is_empty() && read.password().is_none();
        if plain && self.allow.iter().any(|allowed| read.as_str().starts_with(allowed.as_str())) {
            return Ok(read);
        }
        let shown = read.origin().ascii_serialization();
        Err(ServiceError::for_good(format!(
            "Webhooks to {shown} are not allowed; add what its URL begins with to rules.webhooks.allow"
        )))
    }

    /// Sends one, and says what it came to: `{status, body}`.
    pub(crate) async fn send(
        &self,
        id: &str,
        target: &Url,
        headers: &Object,
        body: &Value,
        timeout: Duration,
    ) -> Result<Value, ServiceError> {
        let request = request(id, target, headers, body).map_err(ServiceError::for_good)?;
        let again = |error: crate::http_client::HttpError| ServiceError::again(error.to_string());
        let (status, body) = self.client.send(request, timeout).await.map_err(again)?;
        judge(status, body.as_deref())
    }
}

fn request(id: &str, target: &Url, headers: &Object, body: &Value) -> Result<Request<Body>, String> {
    let uri: Uri = target.as_str().parse().map_err(|error| format!("No URL: {error}"))?;
    let mut request = Request::new(Body::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let sent = request.headers_mut();
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let bad = || format!("Header \"{name}\" cannot be sent; take it out of the rule");
        let known = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        if RESERVED.contains(&known) {
            return Err(bad());
        }
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        sent.insert(known, HeaderValue::try_from(value).map_err(|_| bad())?);
    }
    sent.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(id).map_err(|error| error.to_string())?);
    Ok(request)
}

/// What an answer means. The body is `None` if it broke off or is too long: the status counts nevertheless.
fn judge(status: StatusCode, body: Option<&[u8]>) -> Result<Value, ServiceError> {
    if status.is_success() {
        let body = body.map_or(Value::Null, |body| {
            serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
        });
        return Ok(json!({"status": status.as_u16(), "body": body}));
    }
    let again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let hint = if status.is_redirection() { "; redirects are not followed, call where it leads" } else { "" };
    Err(ServiceError { message: format!("The answer was {status}{hint}"), again })
}

/// Who is called: what fails there has nothing to do with others.
pub(super) fn origin(url: &str) -> Arc<str> {
    match Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization().into(),
        Err(_) => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(allow: &[&str]) -> Webhooks {
        let allow: Vec<String> = allow.iter().map(|url| (*url).to_owned()).collect();
        Webhooks::new(&allow).unwrap()
    }

    #[test]
    fn only_targets_of_the_list_are_called() {
        let webhooks = allowing(&["http://a.example/hooks/", "http://b.example:8080/"]);
        for url in ["http://a.example/hooks/x?y=1", "http://A.example:80/hooks/", "http://b.example:8080/any"]
        {
            assert!(webhooks.target(url).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/hook",
            "http://a.example/hooks/../secret",
            "http://a.example/hooks/%2e%2e/secret",
            "https://a.example/hooks/x",
            "http://a.example@evil.example/hooks/",
            "http://me:pw@a.example/hooks/x",
            "http://a.example.evil.example/hooks/",
            "http://b.example/any",
            "file:///etc/passwd",
            "hooks/x",
            "",
        ] {
            let error = webhooks.target(url).unwrap_err();
            assert!(!error.again, "{url}");
        }
        assert!(allowing(&[]).target("http://a.example/").is_err(), "nowhere without a list");
    }

    #[test]
    fn an_answer_is_success_or_to_be_tried_again_or_final() {
        let of = |status: u16| judge(StatusCode::from_u16(status).unwrap(), Some(b"{\"a\":1}"));
        assert_eq!(of(200).unwrap(), json!({"status": 200, "body": {"a": 1}}));
        assert!(of(204).is_ok());
        assert_eq!(judge(StatusCode::OK, Some(b"text")).unwrap()["body"], "text");
        assert_eq!(judge(StatusCode::OK, None).unwrap()["body"], Value::Null, "too long, but done");
        for again in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(of(again).unwrap_err().again, "{again}");
        }
        for good in [301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 422] {
            assert!(!of(good).unwrap_err().again, "{good}");
        }
    }

    #[test]
    fn headers_of_the_rule_are_sent_but_never_those_of_the_sending() {
        let target = Url::parse("http://a.example/").unwrap();
        let make = |headers: Value| request("id-1", &target, headers.as_object().unwrap(), &json!({"x": 1}));
        let sent = make(json!({"X-One": 1, "Authorization": "Bearer x", "X-Null": null})).unwrap();
        assert_eq!(sent.headers()["x-one"], "1");
        assert_eq!(sent.headers()["idempotency-key"], "id-1");
        assert!(!sent.headers().contains_key("x-null"));
        for bad in
            [json!({"Host": "x"}), json!({"Idempotency-Key": "x"}), json!({"a b": 1}), json!({"x": "a\nb"})]
        {
            assert!(make(bad.clone()).is_err(), "{bad}");
        }
    }
}
