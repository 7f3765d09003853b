use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quell_jwt::Validation;
use serde_json::json;

use super::super::testing::{good_claims, jwk, jwks, keys, token, with};
use super::*;

fn verifies(key: &VerifyingKey, token: &str) -> bool {
    let mut validation = Validation::new(key.algorithm);
    validation.validate_exp = false;
    quell_jwt::decode::<Value>(token, &key.decoding, &validation).is_ok()
}

#[test]
fn a_pem_file_pins_its_algorithm() {
    for (pem, algorithm) in [
        (keys::RSA_PUB, Algorithm::RS256),
        (keys::RSA_PKCS1_PUB, Algorithm::RS256),
        (keys::EC_PUB, Algorithm::ES256),
        (keys::ED25519_PUB, Algorithm::EdDSA),
    ] {
        let key = VerifyingKey::from_pem(pem).unwrap();
        assert_eq!(key.algorithm, algorithm);
        assert!(
            verifies(&key, &token(algorithm, None, &good_claims())),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_pem_file_that_cannot_be_used_says_what_to_do() {
    let two = format!("{}{}", keys::RSA_PUB, keys::EC_PUB);
    for (pem, expect) in [
        ("", "must hold one public key"),
        ("ssh-rsa AAAA", "must hold one public key"),
        (two.as_str(), "must hold one public key"),
        (keys::RSA, "-pubout"),
        (keys::EC, "-pubout"),
        (keys::ENCRYPTED, "-pubout"),
        (keys::CERTIFICATE, "openssl x509"),
        (keys::P384_PUB, "must be on P-256"),
        (keys::RSA_1024_PUB, "2048 bits"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "must be RSA",
        ),
    ] {
        let error = VerifyingKey::from_pem(pem).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn every_kind_of_jwk_pins_its_algorithm() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
        Algorithm::HS256,
    ] {
        let token = token(algorithm, None, &good_claims());
        for changes in [
            json!({}),
            json!({"alg": null}),
            json!({"use": "sig"}),
            json!({"key_ops": ["verify"]}),
            json!({"x-future": {"deep": 1}}),
        ] {
            let set = jwks(&[with(jwk(algorithm, Some("k")), &changes)]);
            let read = VerifyingKey::from_jwks(set.as_bytes(), JwksSource::File).unwrap();
            let [key] = read.as_slice() else {
                panic!("{algorithm:?} {changes}");
            };
            assert_eq!(key.kid.as_deref(), Some("k"));
            assert_eq!(key.algorithm, algorithm, "{changes}");
            assert!(verifies(key, &token), "{algorithm:?} {changes}");
        }
    }
}

#[test]
fn keys_that_are_not_for_us_are_left_out_and_the_rest_is_used() {
    let rsa = |changes| with(jwk(Algorithm::RS256, Some("other")), &changes);
    let short = URL_SAFE_NO_PAD.encode("too short");
    let unusable = [
        rsa(json!({"use": "enc"})),
        rsa(json!({"use": "wrap"})),
        rsa(json!({"key_ops": ["encrypt"]})),
        rsa(json!({"alg": "RS512"})),
        rsa(json!({"alg": "PS256"})),
        rsa(json!({"alg": "HS256"})),
        rsa(json!({"alg": "none"})),
        rsa(json!({"n": "!"})),
        rsa(json!({"n": URL_SAFE_NO_PAD.encode([0xff; 128])})),
        // 2047 bits.
        rsa(json!({"n": URL_SAFE_NO_PAD.encode([0x7f; 256])})),
        rsa(json!({"n": null})),
        jwk(Algorithm::ES384, Some("other")),
        with(jwk(Algorithm::ES256, Some("other")), &json!({"x": short})),
        with(
            jwk(Algorithm::ES256, Some("other")),
            &json!({"crv": "P-384"}),
        ),
        with(jwk(Algorithm::EdDSA, Some("other")), &json!({"x": short})),
        with(jwk(Algorithm::HS256, Some("other")), &json!({"k": ""})),
        with(jwk(Algorithm::HS256, Some("other")), &json!({"k": short})),
        json!({"kty": "AKP", "kid": "other"}),
        json!("no key"),
    ];
    for bad in unusable {
        let set = jwks(&[bad.clone(), jwk(Algorithm::ES256, Some("good"))]);
        let keys = VerifyingKey::from_jwks(set.as_bytes(), JwksSource::File).unwrap();
        let kids: Vec<_> = keys.iter().map(|key| key.kid.as_deref()).collect();
        assert_eq!(kids, [Some("good")], "{bad}");
    }
}

#[test]
fn a_secret_in_a_jwks_that_is_served_is_not_used() {
    let set = jwks(&[jwk(Algorithm::HS256, None)]);
    assert!(
        VerifyingKey::from_jwks(set.as_bytes(), JwksSource::Url)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_jwks_has_keys_and_not_too_many() {
    for bad in ["", "{}", "[]", r#"{"keys": {}}"#, "<html>"] {
        assert!(
            VerifyingKey::from_jwks(bad.as_bytes(), JwksSource::File).is_err(),
            "{bad}"
        );
    }
    let many = vec![jwk(Algorithm::ES256, None); JWKS_KEYS_MAX + 1];
    let keys = VerifyingKey::from_jwks(jwks(&many).as_bytes(), JwksSource::File).unwrap();
    assert_eq!(keys.len(), JWKS_KEYS_MAX);
}

#[test]
fn debug_output_does_not_show_a_secret() {
    let shown = format!("{:?}", VerifyingKey::from_secret(&keys::SECRET.into()));
    assert!(shown.contains("redacted"), "{shown}");
}
