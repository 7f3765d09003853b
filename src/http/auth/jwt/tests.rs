use quell_jwt::{EncodingKey, Header};
use serde_json::json;

use super::super::testing::{
    NOW, clock, crafted, good_claims, jwk, jwks, keys, private, private_key, token, with,
};
use super::*;
use crate::http::auth::key::JwksSource;

/// Our keys: a secret and three PEM files, and no issuer or audience.
fn jwts() -> Jwts {
    Jwts {
        keys: vec![
            VerifyingKey::from_secret(&keys::SECRET.into()),
            VerifyingKey::from_pem(keys::RSA_PUB).unwrap(),
            VerifyingKey::from_pem(keys::EC_PUB).unwrap(),
            VerifyingKey::from_pem(keys::ED25519_PUB).unwrap(),
        ],
        remote: None,
        issuer: None,
        audience: None,
        id_claim: "sub".to_owned(),
        actor_claim: None,
        clock: clock().clock(),
    }
}

fn with_issuer() -> Jwts {
    Jwts {
        issuer: Some("us".to_owned()),
        ..jwts()
    }
}

/// One RSA key, whose `kid` is `k1`.
fn with_kid() -> Jwts {
    let set = jwks(&[jwk(Algorithm::RS256, Some("k1"))]);
    Jwts {
        keys: VerifyingKey::from_jwks(set.as_bytes(), JwksSource::File).unwrap(),
        ..jwts()
    }
}

fn hs256(claims: &Value) -> String {
    token(Algorithm::HS256, None, claims)
}

/// The verdict in a word, with the id of a caller.
async fn verdict(jwts: &Jwts, token: &str) -> String {
    match jwts.check(token).await {
        JwtVerdict::Caller(identity) => format!("{:?}", identity.id),
        JwtVerdict::Refused(why) => why.to_string(),
        JwtVerdict::NotOurs => "not ours".to_owned(),
        JwtVerdict::NoKeys => "no keys".to_owned(),
        JwtVerdict::Unknown => "unknown".to_owned(),
    }
}

const ACME: &str = r#"Id("acme")"#;

#[tokio::test]
async fn every_algorithm_is_accepted_from_its_own_key() {
    for algorithm in [
        Algorithm::HS256,
        Algorithm::RS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ] {
        for kid in [None, Some("whatever")] {
            let token = token(algorithm, kid, &good_claims());
            assert_eq!(verdict(&jwts(), &token).await, ACME, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn the_key_pins_the_algorithm_and_the_token_does_not() {
    // Made with our own private keys, but by algorithms that the keys are not for.
    for algorithm in [
        Algorithm::HS384,
        Algorithm::HS512,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::ES384,
    ] {
        let token = token(algorithm, None, &good_claims());
        assert_eq!(verdict(&jwts(), &token).await, "not ours", "{algorithm:?}");
        let token = self::token(algorithm, None, &with(good_claims(), &json!({"iss": "us"})));
        assert_eq!(
            verdict(&with_issuer(), &token).await,
            "the token's signature is not valid",
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn a_public_key_is_not_taken_for_a_shared_secret() {
    // The attacker knows the public key, and signs with it as if it were an HMAC secret.
    let jwts = Jwts {
        keys: vec![VerifyingKey::from_pem(keys::RSA_PUB).unwrap()],
        ..with_issuer()
    };
    let der = pem::parse(keys::RSA_PUB).unwrap();
    let claims = with(good_claims(), &json!({"iss": "us"}));
    for secret in [
        keys::RSA_PUB.as_bytes(),
        keys::RSA_PUB.trim().as_bytes(),
        der.contents(),
    ] {
        let key = EncodingKey::from_secret(secret);
        let token = quell_jwt::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let verdict = verdict(&jwts, &token).await;
        assert_eq!(verdict, "the token's signature is not valid");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_not_accepted() {
    let claims = with(good_claims(), &json!({"iss": "us"}));
    for alg in ["none", "None", "NONE", "", "HS256", "RS256"] {
        for signature in ["", "AAAA"] {
            let token = crafted(&json!({"alg": alg, "typ": "JWT"}), &claims, signature);
            assert_eq!(verdict(&jwts(), &token).await, "not ours", "{alg}");
            let verdict = verdict(&with_issuer(), &token).await;
            assert_eq!(verdict, "the token's signature is not valid", "{alg}");
        }
    }
}

#[tokio::test]
async fn a_changed_token_is_not_accepted() {
    let token = token(Algorithm::RS256, Some("k1"), &good_claims());
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let claims = with(good_claims(), &json!({"sub": "other"}));
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    assert_eq!(
        verdict(&with_kid(), &format!("{header}.{claims}.{signature}")).await,
        "the token's signature is not valid"
    );
}

#[tokio::test]
async fn what_is_no_jwt_is_not_ours() {
    let good = hs256(&good_claims());
    for token in [
        "abc".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}.{good}"),
        format!("{good}."),
        good.replacen('.', "", 1),
        crafted(&json!([]), &good_claims(), "AAAA"),
        crafted(&json!({"alg": "HS256"}), &json!("text"), "AAAA"),
    ] {
        assert_eq!(verdict(&jwts(), &token).await, "not ours", "{token}");
    }
}

#[tokio::test]
async fn times_are_checked_against_our_clock_with_60_s_of_leeway() {
    let expired = "the token has expired";
    let early = "the token is not valid yet";
    for (changes, expect) in [
        (json!({"exp": NOW + 1}), ACME),
        (json!({"exp": NOW - 59}), ACME),
        (json!({"exp": NOW - 60}), expired),
        (json!({"exp": 0}), expired),
        (json!({"exp": u64::MAX}), ACME),
        (json!({"exp": 1_700_003_600.5}), ACME),
        (json!({"exp": 1_699_999_000.5}), expired),
        (json!({"exp": null}), "the token has no exp"),
        (json!({"exp": "1700003600"}), "the token has no exp"),
        (json!({"exp": -1}), "the token has no exp"),
        (json!({"nbf": NOW}), ACME),
        (json!({"nbf": NOW + 60}), ACME),
        (json!({"nbf": NOW + 61}), early),
        (json!({"nbf": "soon"}), "the token's nbf is no time"),
        // When it was issued does not matter.
        (json!({"iat": NOW + 9999}), ACME),
    ] {
        let token = hs256(&with(good_claims(), &changes));
        assert_eq!(verdict(&jwts(), &token).await, expect, "{changes}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_where_they_are_configured() {
    let jwts = Jwts {
        audience: Some("quell".to_owned()),
        ..with_issuer()
    };
    let good = with(good_claims(), &json!({"iss": "us", "aud": "quell"}));
    for (changes, expect) in [
        (json!({}), ACME),
        (json!({"aud": ["else", "quell"]}), ACME),
        (json!({"aud": "else"}), "the token is for another audience"),
        (
            json!({"aud": ["else"]}),
            "the token is for another audience",
        ),
        (json!({"aud": null}), "the token has no aud"),
        (json!({"iss": "them"}), "not ours"),
        (json!({"iss": ["us"]}), "not ours"),
        (json!({"iss": null}), "not ours"),
    ] {
        let token = hs256(&with(good.clone(), &changes));
        assert_eq!(verdict(&jwts, &token).await, expect, "{changes}");
    }
    // Where none is configured, another's audience does not matter.
    let token = hs256(&with(good_claims(), &json!({"iss": "x", "aud": "y"})));
    assert_eq!(verdict(&self::jwts(), &token).await, ACME);
}

#[tokio::test]
async fn our_verdict_is_final_by_iss_by_kid_or_by_signature() {
    let stale = with(good_claims(), &json!({"exp": NOW - 3600}));
    let ours = with(stale.clone(), &json!({"iss": "us"}));
    let theirs = with(stale.clone(), &json!({"iss": "them"}));
    let expired = "the token has expired";
    let unsigned = "the token's signature is not valid";
    let foreign = |kid: Option<&str>, claims: &Value| {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = kid.map(str::to_owned);
        let key = private_key(keys::RSA_OTHER);
        quell_jwt::encode(&header, claims, &key).unwrap()
    };
    let own = |kid, claims: &Value| token(Algorithm::RS256, kid, claims);
    let both = || Jwts {
        issuer: Some("us".to_owned()),
        ..with_kid()
    };
    for (what, jwts, token, expect) in [
        ("our iss", with_issuer(), own(None, &ours), expired),
        (
            "our iss, foreign key",
            with_issuer(),
            foreign(None, &ours),
            unsigned,
        ),
        (
            "foreign iss, our key",
            with_issuer(),
            own(None, &theirs),
            "not ours",
        ),
        (
            "no iss, our key",
            with_issuer(),
            own(None, &stale),
            "not ours",
        ),
        ("our kid", with_kid(), own(Some("k1"), &stale), expired),
        (
            "our kid, foreign key",
            with_kid(),
            foreign(Some("k1"), &stale),
            unsigned,
        ),
        (
            "foreign kid, our key",
            with_kid(),
            own(Some("k2"), &stale),
            "not ours",
        ),
        (
            "foreign kid and key",
            with_kid(),
            foreign(Some("k2"), &stale),
            "not ours",
        ),
        (
            "our kid, foreign iss",
            both(),
            own(Some("k1"), &theirs),
            "the token is from another issuer",
        ),
        (
            "our iss, foreign kid",
            both(),
            own(Some("k2"), &ours),
            unsigned,
        ),
        ("our key", jwts(), own(None, &stale), expired),
        ("foreign key", jwts(), foreign(None, &stale), "not ours"),
    ] {
        assert_eq!(verdict(&jwts, &token).await, expect, "{what}");
    }
}

#[tokio::test]
async fn a_list_of_issuers_is_not_our_issuer() {
    // By its kid the token is ours, and the signature is good.
    let jwts = Jwts {
        issuer: Some("us".to_owned()),
        ..with_kid()
    };
    let claims = with(good_claims(), &json!({"iss": ["us", "them"]}));
    assert_eq!(
        verdict(&jwts, &token(Algorithm::RS256, Some("k1"), &claims)).await,
        "the token is from another issuer"
    );
}

#[tokio::test]
async fn a_token_without_kid_is_tried_with_every_key() {
    let token = token(Algorithm::RS256, None, &good_claims());
    assert_eq!(verdict(&with_kid(), &token).await, ACME);
}

#[tokio::test]
async fn the_id_is_a_string_that_can_be_an_id() {
    let bad = "the token's id claim is missing or no text";
    let blank = "the token's id is blank";
    let reserved = "the token's id begins with cli:, which is kept for the command line";
    for (changes, expect) in [
        (json!({"sub": "acme"}), ACME),
        (json!({"sub": ""}), blank),
        (json!({"sub": "  "}), blank),
        (json!({"sub": "cli:root"}), reserved),
        (json!({"sub": "\u{200b}CLI:root"}), reserved),
        (json!({"sub": null}), bad),
        (json!({"sub": 7}), bad),
        (
            json!({"sub": ["acme"]}),
            "the token's claims cannot be read",
        ),
    ] {
        let token = hs256(&with(good_claims(), &changes));
        assert_eq!(verdict(&jwts(), &token).await, expect, "{changes}");
    }
    let jwts = Jwts {
        id_claim: "tenant".to_owned(),
        actor_claim: None,
        ..jwts()
    };
    let token = hs256(&with(good_claims(), &json!({"sub": "x", "tenant": "acme"})));
    assert_eq!(verdict(&jwts, &token).await, ACME);
    assert_eq!(verdict(&jwts, &hs256(&good_claims())).await, bad);
}

#[tokio::test]
async fn scopes_limit_what_a_token_is_good_for() {
    let all = Scope::ALL.to_vec();
    for (changes, expect) in [
        (json!({}), all),
        (json!({"scope": "mute"}), vec![Scope::Mute]),
        (
            json!({"scope": " policies:read  audit:read "}),
            vec![Scope::PoliciesRead, Scope::AuditRead],
        ),
        (
            json!({"scp": ["mute", "policies:write"]}),
            vec![Scope::Mute, Scope::PoliciesWrite],
        ),
        (json!({"scopes": ["audit:read"]}), vec![Scope::AuditRead]),
        (json!({"scp": "mute"}), vec![Scope::Mute]),
        (json!({"scope": "openid Mute policies"}), vec![]),
        (json!({"scope": ""}), vec![]),
        (json!({"scp": []}), vec![]),
        (json!({"scope": 1}), vec![]),
        (json!({"scope": ["mute", 1]}), vec![Scope::Mute]),
        (json!({"scope": "", "scopes": ["mute"]}), vec![]),
    ] {
        let token = hs256(&with(good_claims(), &changes));
        let JwtVerdict::Caller(identity) = jwts().check(&token).await else {
            panic!("{changes}");
        };
        assert_eq!(Vec::from_iter(identity.scopes), expect, "{changes}");
    }
    // A claim of null is there, and grants nothing.
    let mut claims = good_claims();
    claims["scope"] = Value::Null;
    let JwtVerdict::Caller(identity) = jwts().check(&hs256(&claims)).await else {
        panic!("null");
    };
    assert!(identity.scopes.is_empty());
}

#[tokio::test]
async fn a_token_that_demands_an_extension_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".to_owned()]);
    let key = private(Algorithm::HS256);
    let token = quell_jwt::encode(&header, &good_claims(), &key).unwrap();
    assert_eq!(
        verdict(&jwts(), &token).await,
        "the token demands an extension that is not supported"
    );
}
