//! Signed tokens: what each algorithm accepts, what is refused, and keys that change while the server runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Client, address, memory_with};
use dunlin_server::config::{JwtAlgorithm, Secret, TokenSession};
use dunlin_server::{Authenticator, JwtAuthenticator, JwtError, JwtOptions, Login, Session, StartError};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The private key of a file of `tests/keys`, for its algorithm.
fn key(name: &str) -> EncodingKey {
    let pem = std::fs::read(file(&format!("{name}.pem"))).unwrap();
    match name {
        "ec" => EncodingKey::from_ec_pem(&pem),
        "ed" => EncodingKey::from_ed_pem(&pem),
        _ => EncodingKey::from_rsa_pem(&pem),
    }
    .unwrap()
}

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/keys", name].iter().collect()
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a token that is good for an hour.
fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims =
        json!({"sub": "ada", "roles": ["writer", "team"], "exp": now() + 3600, "team": {"id": 7}});
    change(&mut claims);
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn with_kid(algorithm: Algorithm, key: &EncodingKey, kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    encode(&header, &claims(|_| {}), key).unwrap()
}

fn options(change: impl FnOnce(&mut JwtOptions)) -> JwtOptions {
    let mut options = JwtOptions::default();
    change(&mut options);
    options
}

fn by_secret(change: impl FnOnce(&mut JwtOptions)) -> JwtAuthenticator {
    JwtAuthenticator::new(&options(|options| {
        options.secret = Some(Secret::new(SECRET));
        change(options);
    }))
    .unwrap()
}

async fn asked(tokens: &JwtAuthenticator, token: &str) -> Option<Session> {
    tokens.authenticate(Login::new(token, [127, 0, 0, 1])).await.expect("never a fault")
}

#[tokio::test]
async fn each_algorithm_accepts_what_its_key_has_signed_and_nothing_else() {
    let public = |name: &str| options(|options| options.public_key_file = Some(file(name)));
    let hmac = options(|options| options.secret = Some(Secret::new(SECRET)));
    let ways = [
        (hmac, Algorithm::HS256, secret()),
        (public("rsa.pub.pem"), Algorithm::RS256, key("rsa")),
        (public("ec.pub.pem"), Algorithm::ES256, key("ec")),
        (public("ed.pub.pem"), Algorithm::EdDSA, key("ed")),
    ];
    let claims = claims(|_| {});
    let end = claims["exp"].as_u64().unwrap() * 1000;
    for (options, own, _) in &ways {
        let tokens = JwtAuthenticator::new(options).unwrap();
        for (_, algorithm, key) in &ways {
            let session = asked(&tokens, &signed(*algorithm, key, &claims)).await;
            assert_eq!(session.is_some(), algorithm == own, "{own:?} was asked about {algorithm:?}");
            let Some(session) = session else { continue };
            assert_eq!(
                (session.user_id.as_str(), &*session.roles),
                ("ada", &["writer".to_owned(), "team".into()][..])
            );
            assert_eq!((session.expires_at, &session.metadata), (Some(end), &claims));
        }
    }
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let pem = std::fs::read(file("rsa.pub.pem")).unwrap();
    let der = EncodingKey::from_secret(&pem);
    let tokens =
        JwtAuthenticator::new(&options(|options| options.public_key_file = Some(file("rsa.pub.pem"))))
            .unwrap();
    assert!(asked(&tokens, &signed(Algorithm::HS256, &der, &claims(|_| {}))).await.is_none());
    let wrong = JwtAuthenticator::new(&options(|options| options.secret_file = Some(file("rsa.pub.pem"))))
        .unwrap_err();
    assert!(wrong.to_string().contains("use publicKeyFile"), "{wrong}");
}

#[tokio::test]
async fn a_token_without_a_signature_or_with_another_is_refused() {
    let tokens = by_secret(|_| {});
    let good = signed(Algorithm::HS256, &secret(), &claims(|_| {}));
    assert!(asked(&tokens, &good).await.is_some());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let payload = message.split_once('.').unwrap().1;
    // {"alg":"none"}, {"alg":"NONE"}, {"typ":"JWT"}
    let none = ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0", "eyJ0eXAiOiJKV1QifQ"];
    let mut wrong: Vec<String> = none
        .iter()
        .flat_map(|head| [format!("{head}.{payload}."), format!("{head}.{payload}.{signature}")])
        .collect();
    wrong.extend([
        format!("{message}."),
        message.to_owned(),
        format!("{good}x"),
        format!("{good}.{signature}"),
        signed(
            Algorithm::HS256,
            &EncodingKey::from_secret(b"another secret, which is not known"),
            &claims(|_| {}),
        ),
        signed(Algorithm::HS384, &secret(), &claims(|_| {})),
        String::new(),
        "..".into(),
        "é.é.é".into(),
        "a".repeat(100_000),
    ]);
    for token in wrong {
        assert!(asked(&tokens, &token).await.is_none(), "{token}");
    }
}

#[tokio::test]
async fn claims_decide_within_the_leeway() {
    let tokens = by_secret(|options| {
        options.issuer = Some("https://issuer.example/".into());
        options.audience = Some("orders".into());
    });
    let base = |claims: &mut Value| {
        claims["iss"] = json!("https://issuer.example/");
        claims["aud"] = json!(["mail", "orders"]);
    };
    let ask = async |change: fn(&mut Value)| {
        let claims = claims(|claims| {
            base(claims);
            change(claims);
        });
        asked(&tokens, &signed(Algorithm::HS256, &secret(), &claims)).await
    };
    assert!(ask(|_| {}).await.is_some());
    assert!(ask(|c| c["aud"] = json!("orders")).await.is_some());
    assert!(ask(|c| c["nbf"] = json!(now() + 50)).await.is_some(), "their clock may be ahead");
    assert!(ask(|c| c["exp"] = json!(4_102_444_800.5)).await.is_some());
    let refused: [fn(&mut Value); 12] = [
        |c| c["iss"] = json!("https://other.example/"),
        |c| c["iss"] = json!(1),
        |c| drop(c.as_object_mut().unwrap().shift_remove("iss")),
        |c| c["aud"] = json!("mail"),
        |c| c["aud"] = json!([]),
        |c| drop(c.as_object_mut().unwrap().shift_remove("aud")),
        |c| c["nbf"] = json!(now() + 3000),
        |c| c["nbf"] = json!("soon"),
        |c| drop(c.as_object_mut().unwrap().shift_remove("exp")),
        |c| c["exp"] = json!("never"),
        |c| c["exp"] = json!(-1),
        |c| c["exp"] = json!(null),
    ];
    for (i, change) in refused.into_iter().enumerate() {
        assert_eq!(ask(change).await, None, "{i}");
    }
    // Somebody else's token: no audience is configured, and it has one.
    let any = by_secret(|_| {});
    let for_others = claims(|claims| claims["aud"] = json!("mail"));
    assert!(asked(&any, &signed(Algorithm::HS256, &secret(), &for_others)).await.is_none());
}

#[tokio::test]
async fn the_end_of_a_token_is_the_end_of_its_session() {
    let tokens = by_secret(|_| {});
    let end_of = async |exp: u64| {
        let claims = claims(|claims| claims["exp"] = json!(exp));
        asked(&tokens, &signed(Algorithm::HS256, &secret(), &claims)).await.unwrap().expires_at.unwrap()
    };
    let now = now();
    assert_eq!(end_of(now + 500).await, (now + 500) * 1000);
    assert_eq!(end_of(now - 10).await, (now - 10 + 60) * 1000, "in the leeway: to its end");
    // Over: the session is too, so that the client is told just that.
    assert_eq!(end_of(now - 100).await, (now - 100) * 1000);
    assert_eq!(end_of(u64::MAX).await, u64::MAX);
}

#[tokio::test]
async fn user_and_roles_are_the_configured_claims() {
    let tokens = by_secret(|options| {
        options.user_claim = "https://example.com/uid".into();
        options.roles_claim = "realm.access.roles".into();
    });
    let ask = async |user: Value, access: Value| {
        let claims = json!({"https://example.com/uid": user, "realm": {"access": access}, "exp": now() + 60});
        asked(&tokens, &signed(Algorithm::HS256, &secret(), &claims)).await
    };
    let session = ask(json!(17), json!({"roles": "reader  writer"})).await.unwrap();
    assert_eq!((session.user_id.as_str(), session.roles), ("17", vec!["reader".to_owned(), "writer".into()]));
    assert_eq!(ask(json!("u"), json!({})).await.unwrap().roles, Vec::<String>::new());
    for (user, access) in [
        (json!(""), json!({})),
        (json!(null), json!({})),
        (json!(["u"]), json!({})),
        (json!(1.5), json!({})),
        (json!("u"), json!({"roles": ["a", 1]})),
        (json!("u"), json!({"roles": {"a": true}})),
    ] {
        assert_eq!(ask(user.clone(), access.clone()).await, None, "{user} {access}");
    }
}

/// A key as a JWK, under a name.
fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn written(content: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content.to_string()).unwrap();
    file
}

fn by_set(
    file: &tempfile::NamedTempFile,
    algorithms: Option<Vec<JwtAlgorithm>>,
) -> Result<JwtAuthenticator, JwtError> {
    JwtAuthenticator::new(&options(|options| {
        options.jwks_file = Some(file.path().to_owned());
        options.algorithms = algorithms;
    }))
}

#[tokio::test]
async fn kid_chooses_the_key_of_a_set() {
    // Whoever makes keys into JWKs needs the library's provider, which an authenticator has chosen.
    let _ = by_secret(|_| {});
    let mut encryption = jwk(&key("other-rsa"), Algorithm::RS256, "enc");
    encryption["use"] = json!("enc");
    let mut longer = jwk(&key("other-rsa"), Algorithm::RS256, "rs512");
    longer["alg"] = json!("RS512");
    let set = written(&json!({"keys": [
        jwk(&key("rsa"), Algorithm::RS256, "one"),
        jwk(&key("other-rsa"), Algorithm::RS256, "two"),
        jwk(&key("ec"), Algorithm::ES256, "three"),
        jwk(&key("ed"), Algorithm::EdDSA, "four"),
        jwk(&secret(), Algorithm::HS256, "five"),
        encryption, longer, {"kty": "new", "kid": "six"}, {},
    ]}));
    let tokens = by_set(&set, None).unwrap();
    for (algorithm, name, kid, right) in [
        (Algorithm::RS256, "rsa", "one", true),
        (Algorithm::RS256, "other-rsa", "two", true),
        (Algorithm::RS256, "rsa", "two", false),
        (Algorithm::RS256, "rsa", "three", false),
        (Algorithm::RS256, "rsa", "nine", false),
        (Algorithm::RS256, "other-rsa", "enc", false),
        (Algorithm::RS256, "other-rsa", "rs512", false),
        (Algorithm::RS512, "other-rsa", "rs512", false),
        (Algorithm::ES256, "ec", "three", true),
        (Algorithm::EdDSA, "ed", "four", true),
    ] {
        let token = with_kid(algorithm, &key(name), kid);
        assert_eq!(asked(&tokens, &token).await.is_some(), right, "{algorithm:?} {name} {kid}");
    }
    let plain = claims(|_| {});
    assert!(
        asked(&tokens, &signed(Algorithm::ES256, &key("ec"), &plain)).await.is_some(),
        "the only one for it"
    );
    assert!(asked(&tokens, &signed(Algorithm::RS256, &key("rsa"), &plain)).await.is_none(), "one of two");
    let by_hmac = with_kid(Algorithm::HS256, &secret(), "five");
    assert!(asked(&tokens, &by_hmac).await.is_none(), "secrets of a set are only used where that is said");
    let only = by_set(&set, Some(vec![JwtAlgorithm::Hs256])).unwrap();
    assert!(asked(&only, &by_hmac).await.is_some());
    assert!(asked(&only, &with_kid(Algorithm::RS256, &key("rsa"), "one")).await.is_none(), "not allowed");
}

#[tokio::test]
async fn what_is_no_key_is_told_at_the_start() {
    let _ = by_secret(|_| {});
    let public =
        |name: &str| JwtAuthenticator::new(&options(|options| options.public_key_file = Some(file(name))));
    let two = options(|options| {
        options.secret = Some(Secret::new(SECRET));
        options.public_key_file = Some(file("rsa.pub.pem"));
    });
    let wrong_algorithm = options(|options| {
        options.public_key_file = Some(file("rsa.pub.pem"));
        options.algorithms = Some(vec![JwtAlgorithm::Es256]);
    });
    let one = jwk(&key("rsa"), Algorithm::RS256, "a");
    let mut nameless = one.clone();
    nameless.as_object_mut().unwrap().shift_remove("kid");
    for (result, code, part) in [
        (JwtAuthenticator::new(&JwtOptions::default()), "JWT_NO_KEY", "secretFile"),
        (JwtAuthenticator::new(&two), "JWT_SEVERAL_KEYS", "keep one"),
        (public("nowhere.pem"), "JWT_UNREADABLE", "nowhere.pem"),
        (public("rsa.pem"), "JWT_KEY", "this is a private key"),
        (public("p384.pub.pem"), "JWT_KEY", "P-256"),
        (public("README.md"), "JWT_KEY", "no public key"),
        (JwtAuthenticator::new(&wrong_algorithm), "JWT_KEY", "it is for RS256"),
        (
            JwtAuthenticator::new(&options(|options| options.secret = Some(Secret::new("short")))),
            "JWT_KEY",
            "32 to",
        ),
        (by_set(&written(&json!({"keys": []})), None), "JWT_KEY", "none for"),
        (by_set(&written(&json!([])), None), "JWT_KEY", "no JWK set"),
        (by_set(&written(&json!({"keys": [one, one]})), None), "JWT_KEY", "are called"),
        (by_set(&written(&json!({"keys": [one, nameless]})), None), "JWT_KEY", "needs a kid"),
    ] {
        let error = result.expect_err(part);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error =
        memory_with(|config| config.auth.jwt.issuer = Some("x".into())).build().await.err().expect("refused");
    assert!(matches!(error, StartError::Jwt(JwtError::NoKey)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_when_it_changes_and_a_broken_one_keeps_the_keys() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let other = "another secret of at least 32 bytes";
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    let tokens =
        JwtAuthenticator::new(&options(|options| options.secret_file = Some(file.path().to_owned())))
            .unwrap();
    let old = signed(Algorithm::HS256, &secret(), &claims(|_| {}));
    let new = signed(Algorithm::HS256, &EncodingKey::from_secret(other.as_bytes()), &claims(|_| {}));
    let knows = async || (asked(&tokens, &old).await.is_some(), asked(&tokens, &new).await.is_some());
    assert_eq!(knows().await, (true, false));
    std::fs::write(file.path(), "short").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(knows().await, (true, false), "what is no secret changes nothing");
    std::fs::write(file.path(), other).unwrap();
    assert_eq!(knows().await, (true, false), "it is not looked at more than once a second");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(knows().await, (false, true));
    std::fs::remove_file(file.path()).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(knows().await, (false, true), "nor does its absence");
    std::fs::write(file.path(), SECRET).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(knows().await, (true, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_with_signed_tokens_beside_the_table() {
    let jwt = options(|options| options.public_key_file = Some(file("ed.pub.pem")));
    let table = [("t-1".to_owned(), TokenSession::new("bob"))];
    let server = memory_with(|_| {}).tokens(table).jwt(jwt).bind().await.unwrap();
    let mut client = Client::connect(address(&server)).await;
    let token = |change: fn(&mut Value)| signed(Algorithm::EdDSA, &key("ed"), &claims(change));
    let mut login = async |token: String| client.call(json!({"type": "auth.login", "token": token})).await;
    assert_eq!(login("t-1".into()).await["data"]["userId"], "bob");
    let accepted = login(token(|_| {})).await;
    assert_eq!(
        (&accepted["data"]["userId"], &accepted["data"]["roles"]),
        (&json!("ada"), &json!(["writer", "team"]))
    );
    assert!(accepted["data"].get("metadata").is_none());
    assert_eq!(login(token(|c| c["exp"] = json!(1000))).await["message"], "Token has expired");
    assert_eq!(login("a.b.c".into()).await["message"], "Invalid token");
    server.revoke_session("bob");
    assert_eq!(login("t-1".into()).await["code"], "SESSION_REVOKED");
}
