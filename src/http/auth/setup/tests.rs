use std::io::Write as _;

use quell_jwt::Algorithm;
use tempfile::NamedTempFile;

use super::super::Authenticator;
use super::super::testing::{
    Answer, Server, authenticator, bearer, clock, config, fixture, good_claims, jwk, jwks, jwt,
    keys, mute, nowhere, secret, service, token,
};
use super::*;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn keys_come_from_every_source() {
    let file = file(&jwks(&[jwk(Algorithm::RS256, Some("k"))]));
    let server = Server::start(Answer::ok(&jwks(&[jwk(Algorithm::ES256, None)]))).await;
    let path = file.path().to_owned();
    for (source, algorithm) in [
        (JwtKeySource::Secret(keys::SECRET.into()), Algorithm::HS256),
        (
            JwtKeySource::PemFile(fixture("ed25519.pub.pem")),
            Algorithm::EdDSA,
        ),
        (JwtKeySource::JwksFile(path), Algorithm::RS256),
        (JwtKeySource::JwksUrl(server.url.clone()), Algorithm::ES256),
    ] {
        let auth = authenticator(&AuthConfig {
            jwt: Some(jwt(source)),
            ..config()
        })
        .await;
        for candidate in [
            Algorithm::HS256,
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::EdDSA,
        ] {
            let sent = bearer(&token(candidate, None, &good_claims()));
            let got = mute(&auth, Some(&sent), None).await;
            let expect = if candidate == algorithm {
                "acme"
            } else {
                "UNAUTHORIZED"
            };
            assert_eq!(got, expect, "{candidate:?} {algorithm:?}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_said() {
    let empty = file(r#"{"keys": []}"#);
    let signing = |path: &str| {
        let service = AuthServiceConfig {
            signing_key_path: fixture(path),
            ..service(nowhere())
        };
        AuthConfig {
            service: Some(service),
            ..config()
        }
    };
    let key = |source| AuthConfig {
        jwt: Some(jwt(source)),
        ..config()
    };
    for (config, expect) in [
        (
            key(JwtKeySource::PemFile("/nowhere/key.pem".into())),
            "QUELL_JWT_PUBLIC_KEY_PATH: cannot read /nowhere/key.pem",
        ),
        (key(JwtKeySource::PemFile(fixture("rsa.pem"))), "-pubout"),
        (
            key(JwtKeySource::JwksFile(fixture("rsa.pem"))),
            "it is no JWKS",
        ),
        (
            key(JwtKeySource::JwksFile(empty.path().to_owned())),
            "no key that can be used",
        ),
        (signing("missing.pem"), "AUTH_SIGNING_KEY_PATH: cannot read"),
        (signing("ed25519.pem"), "AUTH_SIGNING_KEY_PATH"),
        (
            AuthConfig {
                api_secrets: vec![secret("a", "same"), secret("b", "same")],
                ..config()
            },
            "two ids have the same secret",
        ),
    ] {
        let error = Authenticator::new(&config, clock().clock()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}
