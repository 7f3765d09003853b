use chrono::{DateTime, TimeDelta};
use quell_jwt::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::test_data::{CAPTURED_KEY, CAPTURED_SECRET, captured_webhooks};
use quell_clock::ManualClock;

const NOW: i64 = 1_800_000_000;

fn key(key: &str, secret: &str) -> ApiKey {
    ApiKey {
        key: key.to_owned(),
        secret: secret.to_owned().into(),
    }
}

fn hands() -> ManualClock {
    ManualClock::new(DateTime::from_timestamp(NOW, 0).unwrap())
}

fn sign(header: &Header, claims: &Value, secret: &str) -> String {
    quell_jwt::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(body: &[u8]) -> Value {
    json!({"iss": "key-a", "nbf": NOW, "iat": NOW, "exp": NOW + 300,
           "sha256": STANDARD.encode(Sha256::digest(body))})
}

fn verifier(hands: &ManualClock) -> Verifier {
    let keys = [
        key("key-a", "secret-a-1"),
        key("key-a", "secret-a-2"),
        key("key-b", "secret-b"),
    ];
    Verifier::new(&keys, hands.clock())
}

fn check(verifier: &Verifier, authorization: &str, body: &[u8]) -> Result<(), SignatureError> {
    verifier.verify(Some(authorization))?.check(body)
}

#[test]
fn every_captured_webhook_verifies_at_its_time_and_not_with_one_byte_changed() {
    let captured = captured_webhooks();
    assert!(captured.len() > 15);
    for request in captured {
        let hands = ManualClock::new(request.received_at);
        let verifier = Verifier::new(&[key(CAPTURED_KEY, CAPTURED_SECRET)], hands.clock());
        let verify = |body: &[u8]| check(&verifier, &request.authorization, body);
        let mut body = request.body.clone().into_bytes();
        verify(&body).unwrap();
        body[10] ^= 1;
        assert_eq!(verify(&body), Err(SignatureError::BodyChanged));
        hands.advance(TimeDelta::minutes(7));
        assert_eq!(
            verify(request.body.as_bytes()),
            Err(SignatureError::Expired)
        );
    }
}

#[test]
fn any_configured_key_verifies_with_or_without_bearer() {
    let hands = hands();
    let verifier = verifier(&hands);
    for (issuer, secret) in [
        ("key-a", "secret-a-1"),
        ("key-a", "secret-a-2"),
        ("key-b", "secret-b"),
    ] {
        let mut claims = claims(b"x");
        claims["iss"] = issuer.into();
        let token = sign(&Header::default(), &claims, secret);
        for value in [
            token.clone(),
            format!("Bearer {token}"),
            format!("bearer  {token} "),
        ] {
            check(&verifier, &value, b"x").unwrap();
        }
    }
}

#[test]
fn what_is_not_signed_by_us_now_for_this_body_is_refused() {
    use SignatureError::{BodyChanged, Expired, Missing, NotOurs, NotYet};
    let hands = hands();
    let verifier = verifier(&hands);
    let header = Header::default();
    let with = |name: &str, value: Value| {
        let mut claims = claims(b"x");
        claims[name] = value;
        sign(&header, &claims, "secret-a-1")
    };
    let without = |name: &str| {
        let mut claims = claims(b"x");
        claims.as_object_mut().unwrap().remove(name);
        sign(&header, &claims, "secret-a-1")
    };
    let unpadded = STANDARD
        .encode(Sha256::digest(b"x"))
        .trim_end_matches('=')
        .to_owned();
    let none = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    for (name, token, error) in [
        ("none", String::new(), Missing),
        ("bearer alone", "Bearer ".to_owned(), NotOurs),
        ("no JWT", "abc".to_owned(), NotOurs),
        ("alg none", none, NotOurs),
        (
            "alg HS384",
            sign(&Header::new(Algorithm::HS384), &claims(b"x"), "secret-a-1"),
            NotOurs,
        ),
        (
            "wrong secret",
            sign(&header, &claims(b"x"), "secret-b"),
            NotOurs,
        ),
        ("unknown issuer", with("iss", "key-z".into()), NotOurs),
        ("another's issuer", with("iss", "key-b".into()), NotOurs),
        ("no issuer", without("iss"), NotOurs),
        ("no expiry", without("exp"), NotOurs),
        ("no digest", without("sha256"), NotOurs),
        (
            "unpadded digest",
            with("sha256", unpadded.into()),
            BodyChanged,
        ),
        ("empty digest", with("sha256", "".into()), BodyChanged),
        (
            "expired past the leeway",
            with("exp", (NOW - 61).into()),
            Expired,
        ),
        (
            "not yet, past the leeway",
            with("nbf", (NOW + 61).into()),
            NotYet,
        ),
    ] {
        assert_eq!(check(&verifier, &token, b"x"), Err(error), "{name}");
    }
    assert_eq!(verifier.verify(None), Err(Missing));
    check(&verifier, &with("exp", (NOW - 60).into()), b"x").unwrap();
    check(&verifier, &with("nbf", (NOW + 60).into()), b"x").unwrap();
    let no_keys = Verifier::new(&[], hands.clock());
    let token = with("exp", (NOW + 300).into());
    assert_eq!(check(&no_keys, &token, b"x"), Err(SignatureError::NoKeys));
}

#[test]
fn the_time_of_issue_is_told() {
    let hands = hands();
    let token = sign(&Header::default(), &claims(b"x"), "secret-a-1");
    hands.advance(TimeDelta::seconds(120));
    let verified = verifier(&hands).verify(Some(&token)).unwrap();
    assert_eq!(verified.issued_at.timestamp(), NOW);
}
