//! Is this HTTP request a WebSocket upgrade we accept? Every header is hostile input.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::auth::Denied;

/// Why an upgrade was refused, before anything of WebSocket was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not a `GET`.
    Method,
    /// No upgrade was asked for, or not to WebSocket, or in a version we do not speak.
    UpgradeRequired,
    /// The handshake is broken.
    BadRequest,
    /// `Origin` is not among the allowed ones.
    Origin,
    /// A login is required with the handshake, and there is none.
    NoToken,
    /// The login in the handshake was refused.
    Denied(Denied),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                [(header::ALLOW, "GET")],
                "This is a WebSocket endpoint: connect with GET and an upgrade.\n",
            )
                .into_response(),
            Self::UpgradeRequired => (
                StatusCode::UPGRADE_REQUIRED,
                [
                    (header::UPGRADE, HeaderValue::from_static("websocket")),
                    (header::CONNECTION, HeaderValue::from_static("Upgrade")),
                    (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
                ],
                "This is a WebSocket endpoint: connect with a WebSocket client (version 13).\n",
            )
                .into_response(),
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "The WebSocket handshake is broken (RFC 6455, section 4.2.1).\n")
                    .into_response()
            }
            Self::Origin => StatusCode::FORBIDDEN.into_response(),
            Self::NoToken => unauthorised(
                "Bearer realm=\"dunlin\"".to_owned(),
                "A token is required with the handshake.\n".to_owned(),
            ),
            // Whether the token is right is not known.
            Self::Denied(denied @ (Denied::Fault | Denied::Late)) => {
                let text = format!("{}.\n", denied.error().message);
                (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close")], text).into_response()
            }
            Self::Denied(Denied::Busy) => {
                (StatusCode::TOO_MANY_REQUESTS, format!("{}.\n", Denied::Busy.error().message))
                    .into_response()
            }
            Self::Denied(denied) => {
                let message = denied.error().message;
                let challenge = format!(
                    "Bearer realm=\"dunlin\", error=\"invalid_token\", error_description=\"{message}\""
                );
                unauthorised(challenge, format!("{message}.\n"))
            }
        }
    }
}

/// Whoever tries tokens needs a new connection for each.
fn unauthorised(challenge: String, text: String) -> Response {
    let headers = [(header::WWW_AUTHENTICATE, challenge), (header::CONNECTION, "close".to_owned())];
    (StatusCode::UNAUTHORIZED, headers, text).into_response()
}

/// Checks a handshake (RFC 6455, section 4.2.1) and builds the answer to it.
pub(crate) fn accept<B>(
    request: &Request<B>,
    allowed_origins: Option<&[String]>,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    if let (Some(allowed), Some(origin)) = (allowed_origins, headers.get(header::ORIGIN))
        && !allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    {
        return Err(Refusal::Origin);
    }
    if request.method() != Method::GET {
        return Err(Refusal::Method);
    }
    if !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket") {
        return Err(Refusal::UpgradeRequired);
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::BadRequest);
    }
    // Version 8 is the last draft; its frames are the same.
    match headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) {
        Some(b"13" | b"8") => {}
        _ => return Err(Refusal::UpgradeRequired),
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| is_nonce(key));
    let key = key.ok_or(Refusal::BadRequest)?;
    let accepted = HeaderValue::try_from(derive_accept_key(key)).map_err(|_| Refusal::BadRequest)?;
    let mut response = (
        StatusCode::SWITCHING_PROTOCOLS,
        [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::SEC_WEBSOCKET_ACCEPT, accepted),
        ],
    )
        .into_response();
    if let Some(protocol) = first_protocol(headers) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Whether a comma-separated header contains `token`, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes in base64.
fn is_nonce(key: &[u8]) -> bool {
    let (digits, padding) = key.split_at(key.len().min(22));
    digits.len() == 22
        && padding == b"=="
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// dunlin defines no subprotocol; a client that offers some gets its first one, as the protocol says.
fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?;
    HeaderValue::from_str(first).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = Request::builder()
            .uri("/")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", KEY)
            .body(())
            .unwrap();
        change(&mut request);
        request
    }

    fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut Request<()>) {
        move |request| {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }

    #[test]
    fn the_sample_handshake_of_the_rfc_is_accepted() {
        let response = accept(&request(|_| {}), None).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_wrong_decides_the_status() {
        let table: [(Request<()>, Refusal); 9] = [
            (request(|r| *r.method_mut() = Method::POST), Refusal::Method),
            (
                request(|r| {
                    r.headers_mut().remove("upgrade");
                }),
                Refusal::UpgradeRequired,
            ),
            (request(set("connection", "close")), Refusal::UpgradeRequired),
            (request(set("upgrade", "h2c")), Refusal::UpgradeRequired),
            (request(set("sec-websocket-version", "7")), Refusal::UpgradeRequired),
            (request(|r| *r.version_mut() = Version::HTTP_10), Refusal::BadRequest),
            (request(set("sec-websocket-key", "short")), Refusal::BadRequest),
            (request(set("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=!")), Refusal::BadRequest),
            (
                request(|r| {
                    r.headers_mut().remove("sec-websocket-key");
                }),
                Refusal::BadRequest,
            ),
        ];
        for (request, refusal) in table {
            assert_eq!(accept(&request, None).unwrap_err(), refusal, "{request:?}");
        }
    }

    #[test]
    fn an_origin_must_be_listed_where_there_is_a_list() {
        let allowed = ["https://app.example.com".to_owned()];
        let with = |origin| request(set("origin", origin));
        assert!(accept(&with("https://app.example.com"), Some(&allowed)).is_ok());
        assert!(accept(&request(|_| {}), Some(&allowed)).is_ok(), "no Origin header is no browser");
        assert!(accept(&with("https://evil.example.com"), None).is_ok(), "no list is no check");
        for origin in ["https://evil.example.com", "https://APP.example.com", "https://app.example.com/"] {
            assert_eq!(accept(&with(origin), Some(&allowed)).unwrap_err(), Refusal::Origin);
        }
        assert_eq!(accept(&with("https://app.example.com"), Some(&[])).unwrap_err(), Refusal::Origin);
    }

    #[test]
    fn the_first_offered_subprotocol_is_echoed() {
        let response = accept(&request(set("sec-websocket-protocol", "a, b")), None).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "a");
    }
}
