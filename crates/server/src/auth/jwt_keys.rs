//! The keys of signed tokens: what each is for, and the file that they are read from again.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::config::limits::{JWT_SECRET_BYTES, MAX_SECRET_BYTES};
use crate::config::{JwtAlgorithm, JwtOptions};
use crate::limits;

/// Why signed tokens cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Something is said of tokens, and no key is given.
    #[error("auth.jwt has no key; give one of secret, secretFile, publicKeyFile and jwksFile")]
    NoKey,
    /// More than one place of a key is given.
    #[error(
        "auth.jwt has several keys; keep one of secret, secretFile, publicKeyFile and jwksFile (a JWK set holds several)"
    )]
    SeveralKeys,
    /// The file cannot be read.
    #[error("auth.jwt: cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file, or the secret, is no key.
    #[error("auth.jwt: {place}: {reason}")]
    Key {
        /// Which file or which key of the configuration.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl JwtError {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "JWT_NO_KEY",
            Self::SeveralKeys => "JWT_SEVERAL_KEYS",
            Self::Unreadable { .. } => "JWT_UNREADABLE",
            Self::Key { .. } => "JWT_KEY",
        }
    }
}

impl JwtAlgorithm {
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HS256 => Self::Hs256,
            Algorithm::RS256 => Self::Rs256,
            Algorithm::ES256 => Self::Es256,
            Algorithm::EdDSA => Self::EdDsa,
            _ => return None,
        })
    }
}

pub(super) fn library(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// Keys that tokens are held to.
pub(super) struct Keys(Vec<Known>);

/// A key that is for one algorithm.
struct Known {
    kid: Option<String>,
    algorithm: JwtAlgorithm,
    key: DecodingKey,
}

impl Keys {
    /// The key for a token: the one that it names, or the only one for its algorithm. A key that stands alone has no name,
    /// and is for every token.
    pub(super) fn key(&self, algorithm: JwtAlgorithm, kid: Option<&str>) -> Result<&DecodingKey, String> {
        let mut fitting = self.0.iter().filter(|known| {
            known.algorithm == algorithm
                && (kid.is_none() || known.kid.is_none() || known.kid.as_deref() == kid)
        });
        match (fitting.next(), fitting.next()) {
            (Some(known), None) => Ok(&known.key),
            (None, _) => Err(format!("no key is for it ({}, kid {kid:?})", algorithm.as_str())),
            (Some(_), Some(_)) => Err("several keys are for it, and it names none of them".to_owned()),
        }
    }

    fn single(algorithm: JwtAlgorithm, key: DecodingKey) -> Self {
        Self(vec![Known { kid: None, algorithm, key }])
    }
}

/// What a place of keys holds.
#[derive(Debug, Clone, Copy)]
enum Form {
    Secret,
    PublicKey,
    Set,
}

impl Form {
    /// Reads keys, of which those for other algorithms than the allowed ones are left out.
    fn read(self, content: &[u8], allowed: Option<&[JwtAlgorithm]>) -> Result<Keys, String> {
        let keys = match self {
            Self::Secret => secret(content)?,
            Self::PublicKey => public_key(content)?,
            Self::Set => set(content, allowed.is_some_and(|allowed| allowed.contains(&JwtAlgorithm::Hs256)))?,
        };
        let of = keys.0.iter().map(|known| known.algorithm.as_str()).collect::<Vec<_>>().join(", ");
        let keys: Vec<_> = keys
            .0
            .into_iter()
            .filter(|known| allowed.is_none_or(|all| all.contains(&known.algorithm)))
            .collect();
        if keys.is_empty() {
            let of = if of.is_empty() {
                "it has none for RS256, ES256 or EdDSA".to_owned()
            } else {
                format!("it is for {of}")
            };
            return Err(format!("no key is for an allowed algorithm: {of}; see auth.jwt.algorithms"));
        }
        Ok(Keys(keys))
    }
}

fn secret(content: &[u8]) -> Result<Keys, String> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    if content.starts_with(b"-----BEGIN") {
        return Err("this is a PEM file, not a secret; use publicKeyFile for a public key".to_owned());
    }
    if !(JWT_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&content.len()) {
        let length = content.len();
        return Err(format!(
            "a secret has {JWT_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, this one {length}"
        ));
    }
    Ok(Keys::single(JwtAlgorithm::Hs256, DecodingKey::from_secret(content)))
}

fn public_key(content: &[u8]) -> Result<Keys, String> {
    if content.windows(11).any(|part| part == b"PRIVATE KEY") {
        return Err(
            "this is a private key; give the public one, and keep the private one with the issuer".to_owned()
        );
    }
    let read = [
        (JwtAlgorithm::Rs256, DecodingKey::from_rsa_pem(content)),
        (JwtAlgorithm::Es256, DecodingKey::from_ec_pem(content)),
        (JwtAlgorithm::EdDsa, DecodingKey::from_ed_pem(content)),
    ];
    for (algorithm, key) in read {
        if let Ok(key) = key {
            // 65 bytes are an uncompressed point of P-256; other curves are for other algorithms.
            if algorithm == JwtAlgorithm::Es256 && key.try_get_as_bytes().is_ok_and(|point| point.len() != 65)
            {
                return Err("its curve is not P-256, which ES256 needs".to_owned());
            }
            return Ok(Keys::single(algorithm, key));
        }
    }
    Err("this is no public key of RSA, P-256 or Ed25519 in PEM (-----BEGIN PUBLIC KEY-----)".to_owned())
}

/// Keys of a set that are for something else than signatures of our algorithms are passed over: sets are shared.
fn set(content: &[u8], with_secrets: bool) -> Result<Keys, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(content).map_err(|error| {
        // What stands there may be a secret.
        format!("this is no JWK set {{\"keys\": […]}} (line {}, column {})", error.line(), error.column())
    })?;
    if set.keys.len() > limits::JWKS_KEYS {
        return Err(format!("it has more than {} keys", limits::JWKS_KEYS));
    }
    let mut keys: Vec<Known> = Vec::new();
    for jwk in set.keys.iter().filter_map(|key| Jwk::deserialize(key).ok()) {
        let Some(algorithm) = is_for(&jwk).filter(|found| with_secrets || *found != JwtAlgorithm::Hs256)
        else {
            continue;
        };
        let kid = jwk.common.key_id.clone();
        if kid.is_some() && keys.iter().any(|known| known.kid == kid && known.algorithm == algorithm) {
            return Err(format!("two keys are called {kid:?}"));
        }
        let key = DecodingKey::from_jwk(&jwk)
            .map_err(|error| format!("the key {kid:?} cannot be read: {error}"))?;
        if algorithm == JwtAlgorithm::Hs256
            && key.try_get_as_bytes().is_ok_and(|key| key.len() < JWT_SECRET_BYTES)
        {
            return Err(format!("the secret {kid:?} is shorter than {JWT_SECRET_BYTES} bytes"));
        }
        keys.push(Known { kid, algorithm, key });
    }
    // One without a name would be taken for every token.
    if keys.len() > 1 && keys.iter().any(|known| known.kid.is_none()) {
        return Err("of several keys each needs a kid".to_owned());
    }
    Ok(Keys(keys))
}

/// The one algorithm that a key of a set is for.
fn is_for(jwk: &Jwk) -> Option<JwtAlgorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|found| *found != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => JwtAlgorithm::Rs256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => JwtAlgorithm::Es256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => JwtAlgorithm::EdDsa,
        AlgorithmParameters::OctetKey(_) => JwtAlgorithm::Hs256,
        _ => return None,
    };
    match &jwk.common.key_algorithm {
        Some(said) if said.to_string() != algorithm.as_str() => None,
        _ => Some(algorithm),
    }
}

/// Keys, and where they come from.
pub(super) struct KeyFile {
    keys: ArcSwap<Keys>,
    /// `None`: they stand in the configuration.
    file: Option<File>,
}

struct File {
    path: PathBuf,
    form: Form,
    allowed: Option<Vec<JwtAlgorithm>>,
    seen: Mutex<Seen>,
}

/// What was found when the file was last looked at.
struct Seen {
    at: Instant,
    content: Vec<u8>,
    /// What was wrong with it, which is told once.
    fault: Option<String>,
}

impl KeyFile {
    pub(super) fn open(options: &JwtOptions) -> Result<Self, JwtError> {
        let allowed = options.algorithms.as_deref();
        let places = [
            (&options.secret_file, Form::Secret),
            (&options.public_key_file, Form::PublicKey),
            (&options.jwks_file, Form::Set),
        ];
        let mut files = places.into_iter().filter_map(|(path, form)| Some((path.as_ref()?, form)));
        match (&options.secret, files.next(), files.next()) {
            (None, None, _) => Err(JwtError::NoKey),
            (Some(_), Some(_), _) | (_, _, Some(_)) => Err(JwtError::SeveralKeys),
            (Some(secret), None, None) => {
                let wrong = |reason| JwtError::Key { place: "secret".to_owned(), reason };
                let keys = Form::Secret.read(secret.expose().as_bytes(), allowed).map_err(wrong)?;
                Ok(Self { keys: ArcSwap::from_pointee(keys), file: None })
            }
            (None, Some((path, form)), None) => {
                let content =
                    read(path).map_err(|reason| JwtError::Unreadable { path: path.clone(), reason })?;
                let wrong = |reason| JwtError::Key { place: path.display().to_string(), reason };
                let keys = form.read(&content, allowed).map_err(wrong)?;
                let seen = Mutex::new(Seen { at: Instant::now(), content, fault: None });
                let file = File { path: path.clone(), form, allowed: options.algorithms.clone(), seen };
                Ok(Self { keys: ArcSwap::from_pointee(keys), file: Some(file) })
            }
        }
    }

    /// The keys of now. Files are small and asked for at most once a second, so their whole content is compared: a change
    /// that leaves length and time as they were is seen, too.
    pub(super) async fn newest(&self) -> Arc<Keys> {
        if let Some(file) = self.file.as_ref().filter(|file| file.is_due()) {
            let path = file.path.clone();
            let found = tokio::task::spawn_blocking(move || read(&path)).await;
            let found = found.unwrap_or_else(|error| Err(error.to_string()));
            if let Some(keys) = file.changed(found) {
                self.keys.store(Arc::new(keys));
                tracing::info!(path = %file.path.display(), "the keys of signed tokens were read again");
            }
        }
        self.keys.load_full()
    }
}

impl File {
    /// Whether to look at it again; then nobody else does for a while.
    fn is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = now.duration_since(seen.at) >= limits::KEY_FILE_CHECK;
        if due {
            seen.at = now;
        }
        due
    }

    /// The keys in it, if they are others than before.
    fn changed(&self, found: Result<Vec<u8>, String>) -> Option<Keys> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = found.and_then(|content| {
            if content == seen.content {
                return Ok(None);
            }
            let keys = self.form.read(&content, self.allowed.as_deref())?;
            seen.content = content;
            Ok(Some(keys))
        });
        match read {
            Ok(keys) => {
                seen.fault = None;
                keys
            }
            Err(fault) => {
                if seen.fault.as_ref() != Some(&fault) {
                    let path = self.path.display();
                    tracing::error!(%path, fault, "the keys of signed tokens cannot be read again; those before hold on");
                    seen.fault = Some(fault);
                }
                None
            }
        }
    }
}

/// The whole file, if it is not too long.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let most = limits::KEY_FILE_BYTES;
    let mut content = Vec::new();
    let opened = std::fs::File::open(path);
    opened
        .and_then(|file| file.take(most + 1).read_to_end(&mut content))
        .map_err(|error| error.to_string())?;
    if content.len() as u64 > most { Err(format!("it is longer than {most} bytes")) } else { Ok(content) }
}
