//! Logins with the handshake: the token stands in a header or in the address, and a wrong one never becomes a connection.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Request, header};
use dunlin_protocol::Kind;

use super::{Denied, HandshakeInfo, Login, Session, admit};
use crate::config::UpgradeLogin;
use crate::handshake::Refusal;
use crate::shared::Shared;

/// What a handshake says of who comes. It is taken out of the request, which cannot be kept while the token is looked at.
pub(crate) struct UpgradeWish {
    login: Option<Login>,
    required: bool,
}

impl UpgradeWish {
    /// `None` where nobody logs in with a handshake.
    pub(crate) fn of<B>(shared: &Shared, request: &Request<B>, address: IpAddr) -> Option<Self> {
        let options = &shared.config.auth.upgrade;
        if shared.auth.is_none() || *options == UpgradeLogin::default() {
            return None;
        }
        let headers = request.headers();
        let login = token(options, headers, request.uri().query()).map(|token| {
            let handshake = HandshakeInfo {
                origin: text(headers, &header::ORIGIN),
                user_agent: text(headers, &header::USER_AGENT),
            };
            Login { handshake: Some(handshake), ..Login::new(token, address) }
        });
        Some(Self { login, required: options.required })
    }

    /// The session to begin with, if the client has sent a token.
    pub(crate) async fn session(self, shared: &Shared) -> Result<Option<Box<Session>>, Refusal> {
        match (self.login, &shared.auth) {
            (Some(login), Some(auth)) => {
                // As `auth.login` is.
                let charged = shared
                    .limiter
                    .as_ref()
                    .map(|limiter| limiter.charge_address(login.remote_address, Kind::Login));
                if let Some(Err(_)) = charged {
                    shared.metrics.rate_limited.increment(1);
                    return Err(Refusal::Denied(Denied::Busy));
                }
                let admitted = admit(shared, auth, login).await;
                admitted.map(|session| Some(Box::new(session))).map_err(Refusal::Denied)
            }
            _ if self.required => Err(Refusal::NoToken),
            _ => Ok(None),
        }
    }
}

/// The token of a handshake; the header goes before the address. A header that is no `Bearer` is somebody else's.
fn token(options: &UpgradeLogin, headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let in_header = || {
        let value = headers.get(header::AUTHORIZATION).filter(|_| options.header)?.to_str().ok()?;
        // An empty one is a wrong one; blanks at the end do not arrive here.
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    let in_query = || {
        let name = options.query_parameter.as_deref()?;
        let mut parameters = url::form_urlencoded::parse(query?.as_bytes());
        parameters.find(|(parameter, _)| parameter == name).map(|(_, token)| token.into_owned())
    };
    in_header().or_else(in_query)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(header: Option<&str>, query: Option<&str>) -> Option<String> {
        let mut options = UpgradeLogin { header: true, ..UpgradeLogin::default() };
        options.query_parameter = Some("access_token".into());
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        token(&options, &headers, query)
    }

    #[test]
    fn a_token_is_found_in_the_header_or_in_the_address() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(Some("Bearer t-1"), None), some("t-1"));
        assert_eq!(found(Some("bearer  t-1 "), Some("access_token=t-2")), some("t-1"));
        assert_eq!(found(Some("Basic dTpw"), Some("x=1&access_token=a%2Bb+c&y")), some("a+b c"));
        assert_eq!(found(Some("Bearer"), Some("access_token=t")), some(""), "one that is there and wrong");
        assert_eq!(found(Some("BearerX t"), None), None);
        assert_eq!(found(None, Some("Access_token=t&xaccess_token=t")), None);
        assert_eq!(found(None, None), None);
    }

    #[test]
    fn what_is_not_configured_is_not_looked_at() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer t".parse().unwrap());
        assert_eq!(token(&UpgradeLogin::default(), &headers, Some("access_token=t")), None);
    }
}
