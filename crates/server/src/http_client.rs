//! Requests to other servers: each bounded in time, in bytes, and in how many there are at once.
//!
//! Only what was configured is asked: no redirect is followed, no proxy is used, no cookie is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits;

/// What bounds the requests of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Time for a request, from the moment at which it is sent to the last byte of its answer; and before that as long for its place.
    pub(crate) timeout: Duration,
    /// Bytes of an answer.
    pub(crate) answer_bytes: usize,
    /// Requests at once; others wait for a place.
    pub(crate) at_once: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no place among the requests to it within {0:?}")]
    Busy(Duration),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("the answer broke off, or is longer than {0} bytes")]
    Answer(usize),
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Certificates { path: PathBuf, reason: String },
    #[error("https:// cannot be spoken: {0}")]
    Unavailable(String),
}

/// A place among the requests; dropping it makes room for the next.
pub(crate) struct Place<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

/// Asks one other server.
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    places: Arc<Semaphore>,
    bounds: Bounds,
}

impl HttpClient {
    /// For `https` the other server is held to the certificates of the system and those in `ca_file`.
    pub(crate) fn new(https: bool, ca_file: Option<&Path>, bounds: Bounds) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(https, ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::HTTP_IDLE)
            .pool_max_idle_per_host(bounds.at_once)
            .build(connector);
        Ok(Self { client, places: Arc::new(Semaphore::new(bounds.at_once)), bounds })
    }

    /// Waits for a place among the requests. Apart from the rest: that many want to ask says nothing of whom they ask.
    pub(crate) async fn place(&self) -> Result<Place<'_>, HttpError> {
        match tokio::time::timeout(self.bounds.timeout, self.places.acquire()).await {
            // It is never closed.
            Ok(place) => Ok(Place { _permit: place.ok() }),
            Err(_) => Err(HttpError::Busy(self.bounds.timeout)),
        }
    }

    /// Sends JSON; the status and the body of the answer. `authorization` should be marked as sensitive.
    pub(crate) async fn post_json(
        &self,
        place: Place<'_>,
        url: &Uri,
        authorization: Option<&HeaderValue>,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = async {
            let response =
                self.client.request(request).await.map_err(|error| HttpError::Unreachable(told(&error)))?;
            let status = response.status();
            let most = self.bounds.answer_bytes;
            let body =
                to_bytes(Body::new(response.into_body()), most).await.map_err(|_| HttpError::Answer(most))?;
            drop(place);
            Ok((status, body))
        };
        let late = HttpError::Late(self.bounds.timeout);
        tokio::time::timeout(self.bounds.timeout, answer).await.unwrap_or(Err(late))
    }
}

impl HttpClient {
    /// Sends any request; the status and the body of the answer, without the body if that broke off or is too long. Time is
    /// counted from the moment at which there is a place for it.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        timeout: Duration,
    ) -> Result<(StatusCode, Option<Bytes>), HttpError> {
        let _place = self.place().await?;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = async {
            let response =
                self.client.request(request).await.map_err(|error| HttpError::Unreachable(told(&error)))?;
            let status = response.status();
            Ok((status, to_bytes(Body::new(response.into_body()), self.bounds.answer_bytes).await.ok()))
        };
        tokio::time::timeout(timeout, answer).await.unwrap_or(Err(HttpError::Late(timeout)))
    }
}

const AGENT: &str = concat!("dunlin/", env!("CARGO_PKG_VERSION"));

/// An error with its causes: the outermost one only says that something was not possible.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn tls(https: bool, ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let wrong = |reason: String| TlsError::Certificates { path: path.to_owned(), reason };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is none in it (-----BEGIN CERTIFICATE-----)".to_owned()));
        }
    }
    if https {
        // Those that cannot be read are missing; whether the others do shows when the other server is asked.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::Unavailable(
                "this system has no certificates; install them (ca-certificates), or name a file".to_owned(),
            ));
        }
    }
    // Said here, because the choice of the process may be another's, or not made.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| TlsError::Unavailable(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_has_not_asked() {
        let bounds = Bounds { timeout: Duration::from_secs(1), answer_bytes: 1, at_once: 0 };
        let client = HttpClient::new(false, None, bounds).unwrap();
        assert!(matches!(client.place().await, Err(HttpError::Busy(_))));
    }
}
