use axum::body::to_bytes;
use axum::http::StatusCode;
use quell_jwt::Algorithm;
use serde_json::{Value, json};

use super::testing::{
    Answer, Server, api, authenticator, bearer, config, good_claims, headers, hs256, jwt, mute,
    nowhere, outcome, request, secret, service, token, with,
};
use super::*;
use crate::config::{JwtConfig, JwtKeySource};

fn with_secrets(required: bool) -> AuthConfig {
    AuthConfig {
        required,
        api_secrets: vec![
            secret("acme", "of acme"),
            secret("root", "of root"),
            secret("", "of nobody"),
        ],
        ..config()
    }
}

#[tokio::test]
async fn a_token_is_needed_where_auth_is_required() {
    let auth = authenticator(&with_secrets(true)).await;
    for (sent, api_key, expect) in [
        (None, None, "UNAUTHORIZED"),
        (Some("Bearer of acme"), None, "acme"),
        (Some("bEARER of acme"), None, "acme"),
        (Some("Bearer wrong"), None, "UNAUTHORIZED"),
        (Some("Bearer "), None, "UNAUTHORIZED"),
        (Some("Basic of acme"), None, "UNAUTHORIZED"),
        (Some("Bearer of nobody"), None, "UNAUTHORIZED"),
        (None, Some("of acme"), "acme"),
        (None, Some("wrong"), "UNAUTHORIZED"),
        (None, Some(""), "UNAUTHORIZED"),
        (Some("Bearer of acme"), Some("of root"), "acme"),
        (Some("Bearer wrong"), Some("of acme"), "UNAUTHORIZED"),
    ] {
        let got = mute(&auth, sent, api_key).await;
        assert_eq!(got, expect, "{sent:?} {api_key:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_sent_is_checked_where_auth_is_not_required() {
    let auth = authenticator(&with_secrets(false)).await;
    for (sent, api_key, expect) in [
        (None, None, "(no id)"),
        (Some("Bearer of acme"), None, "acme"),
        (Some("Bearer wrong"), None, "UNAUTHORIZED"),
        (Some("Bearer "), None, "UNAUTHORIZED"),
        (Some("Basic of acme"), None, "UNAUTHORIZED"),
        (Some("Bearer of nobody"), None, "UNAUTHORIZED"),
        (None, Some("wrong"), "UNAUTHORIZED"),
    ] {
        let got = mute(&auth, sent, api_key).await;
        assert_eq!(got, expect, "{sent:?} {api_key:?}");
    }
}

#[tokio::test]
async fn each_way_to_check_is_one() {
    let refuses = Server::start(Answer::Status(StatusCode::UNAUTHORIZED)).await;
    for config in [
        with_secrets(false),
        AuthConfig {
            required: false,
            jwt: Some(hs256()),
            ..config()
        },
        AuthConfig {
            required: false,
            service: Some(service(refuses.url.clone())),
            ..config()
        },
    ] {
        let auth = authenticator(&config).await;
        assert_eq!(mute(&auth, Some("Bearer x"), None).await, "UNAUTHORIZED");
        assert_eq!(mute(&auth, None, None).await, "(no id)");
    }
}

#[tokio::test]
async fn without_any_way_to_check_a_token_is_as_good_as_none() {
    for (required, expect) in [(false, "(no id)"), (true, "UNAUTHORIZED")] {
        let auth = authenticator(&AuthConfig {
            required,
            ..config()
        })
        .await;
        for sent in [None, Some("Bearer x"), Some("Bearer "), Some("Basic x")] {
            assert_eq!(mute(&auth, sent, None).await, expect, "{sent:?}");
            let api = api(&auth, sent, Scope::PoliciesRead).await;
            assert_eq!(api, "UNAUTHORIZED", "{sent:?}");
        }
    }
}

#[tokio::test]
async fn the_api_always_needs_a_token_in_the_header() {
    for required in [true, false] {
        let auth = authenticator(&with_secrets(required)).await;
        for scope in Scope::ALL {
            assert_eq!(api(&auth, None, scope).await, "UNAUTHORIZED");
            assert_eq!(api(&auth, Some("Bearer x"), scope).await, "UNAUTHORIZED");
            assert_eq!(api(&auth, Some("Bearer of acme"), scope).await, "acme");
        }
        let none = HeaderMap::new();
        let by_query = request(&none, Some("of acme"));
        let got = auth.caller_of_api(&by_query, Scope::Mute).await;
        assert_eq!(outcome(got), "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_caller_without_an_id_may_mute_where_allowed_and_nothing_else() {
    let server = Server::start(Answer::ok(&"{}")).await;
    for (allow_no_id, expect) in [(false, "UNAUTHORIZED"), (true, "(no id)")] {
        let config = AuthConfig {
            allow_no_id,
            service: Some(service(server.url.clone())),
            ..config()
        };
        let auth = authenticator(&config).await;
        assert_eq!(mute(&auth, Some("Bearer x"), None).await, expect);
        for scope in Scope::ALL {
            assert_eq!(api(&auth, Some("Bearer x"), scope).await, "UNAUTHORIZED");
        }
        // Allowing no id does not do away with the token.
        assert_eq!(mute(&auth, None, None).await, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn operators_are_the_listed_ids_and_nobody_else() {
    let config = AuthConfig {
        jwt: Some(hs256()),
        ..with_secrets(false)
    };
    let auth = authenticator(&config).await;
    let of_jwt = |sub| bearer(&token(Algorithm::HS256, None, &with(good_claims(), &sub)));
    for (sent, expect) in [
        (Some("Bearer of root".to_owned()), true),
        (Some("Bearer of acme".to_owned()), false),
        (Some(of_jwt(json!({"sub": "root"}))), true),
        (Some(of_jwt(json!({"sub": "root", "scope": "mute"}))), true),
        (
            Some(of_jwt(json!({"sub": "acme", "operator": true}))),
            false,
        ),
        (None, false),
    ] {
        let headers = headers(sent.as_deref());
        let caller = auth.caller_of_mute(&request(&headers, None)).await.unwrap();
        assert_eq!(caller.is_operator(), expect, "{sent:?}");
    }
}

#[tokio::test]
async fn a_token_is_held_to_its_scopes() {
    let auth = authenticator(&AuthConfig {
        jwt: Some(hs256()),
        ..config()
    })
    .await;
    let claims = with(good_claims(), &json!({"scope": "policies:read"}));
    let sent = bearer(&token(Algorithm::HS256, None, &claims));
    assert_eq!(api(&auth, Some(&sent), Scope::PoliciesRead).await, "acme");
    assert_eq!(
        api(&auth, Some(&sent), Scope::PoliciesWrite).await,
        "FORBIDDEN"
    );
    assert_eq!(mute(&auth, Some(&sent), None).await, "FORBIDDEN");
    let problem = Problem::from(AuthError::Forbidden(Scope::PoliciesWrite));
    assert!(problem.error.contains("policies:write"), "{problem:?}");
}

#[tokio::test]
async fn secrets_come_first_then_our_jwts_then_the_service() {
    let server = Server::start(Answer::ok(&json!({"id": "by service"}))).await;
    let good = token(Algorithm::HS256, None, &good_claims());
    let expired = with(good_claims(), &json!({"exp": 1}));
    let config = AuthConfig {
        api_secrets: vec![secret("by secret", &good), secret("", "of nobody")],
        jwt: Some(hs256()),
        service: Some(service(server.url.clone())),
        ..config()
    };
    let auth = authenticator(&config).await;
    let other = with(good_claims(), &json!({"sub": "by jwt"}));
    for (token, expect, asked) in [
        (good, "by secret", 0),
        ("of nobody".to_owned(), "UNAUTHORIZED", 0),
        (token(Algorithm::HS256, None, &other), "by jwt", 0),
        // Ours, and bad: the service is not asked.
        (token(Algorithm::HS256, None, &expired), "UNAUTHORIZED", 0),
        (token(Algorithm::RS256, None, &expired), "by service", 1),
        ("anything".to_owned(), "by service", 2),
    ] {
        let got = mute(&auth, Some(&bearer(&token)), None).await;
        assert_eq!(got, expect, "{token}");
        assert_eq!(server.received().len(), asked, "{token}");
    }
    // Callers of the service may do everything.
    assert_eq!(
        api(&auth, Some("Bearer x"), Scope::AuditRead).await,
        "by service"
    );
}

#[tokio::test]
async fn a_token_over_16_kib_is_not_passed_on() {
    let server = Server::start(Answer::ok(&json!({"id": "acme"}))).await;
    let auth = authenticator(&AuthConfig {
        service: Some(service(server.url.clone())),
        ..config()
    })
    .await;
    let long = bearer(&"x".repeat(16 * 1024 + 1));
    assert_eq!(mute(&auth, Some(&long), None).await, "UNAUTHORIZED");
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn the_service_being_away_is_not_the_callers_fault() {
    let fails = Server::start(Answer::Status(StatusCode::INTERNAL_SERVER_ERROR)).await;
    for (url, expect) in [
        (fails.url.clone(), "AUTH_SERVICE_FAILED"),
        (nowhere(), "AUTH_SERVICE_UNAVAILABLE"),
    ] {
        let config = AuthConfig {
            required: false,
            service: Some(service(url)),
            ..config()
        };
        let auth = authenticator(&config).await;
        assert_eq!(mute(&auth, Some("Bearer x"), None).await, expect);
    }
}

#[tokio::test]
async fn a_jwks_host_that_is_down_stops_neither_the_start_nor_the_service() {
    let sent = bearer(&token(Algorithm::ES256, Some("k"), &good_claims()));
    let auth = authenticator(&AuthConfig {
        jwt: Some(jwt(JwtKeySource::JwksUrl(nowhere()))),
        ..config()
    })
    .await;
    let got = mute(&auth, Some(&sent), None).await;
    assert_eq!(got, "AUTH_SERVICE_UNAVAILABLE");
    assert_eq!(mute(&auth, Some("Bearer x"), None).await, "UNAUTHORIZED");

    let server = Server::start(Answer::ok(&json!({"id": "by service"}))).await;
    let auth = authenticator(&AuthConfig {
        jwt: Some(jwt(JwtKeySource::JwksUrl(nowhere()))),
        service: Some(service(server.url.clone())),
        ..config()
    })
    .await;
    assert_eq!(mute(&auth, Some(&sent), None).await, "by service");
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    for (error, status, code) in [
        (refused(AuthFailure::Expired, "why"), 401, "UNAUTHORIZED"),
        (AuthError::Forbidden(Scope::Mute), 403, "FORBIDDEN"),
        (
            AuthError::ServiceFailed {
                cause: "s3cret host".to_owned(),
            },
            502,
            "AUTH_SERVICE_FAILED",
        ),
        (
            AuthError::ServiceUnavailable {
                cause: "s3cret host".to_owned(),
            },
            503,
            "AUTH_SERVICE_UNAVAILABLE",
        ),
        (AuthError::KeysUnavailable, 503, "AUTH_SERVICE_UNAVAILABLE"),
    ] {
        let text = error.to_string();
        let response = error.into_response();
        assert_eq!(response.status(), status);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], code);
        assert_eq!(body["error"], text);
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn debug_output_shows_no_secret() {
    let auth = authenticator(&with_secrets(true)).await;
    let headers = headers(Some("Bearer of acme"));
    let shown = format!("{auth:?} {:?}", request(&headers, Some("of acme")));
    assert!(shown.contains("/livekit/participant/mute"), "{shown}");
    assert!(!shown.contains("of acme"), "{shown}");
}

#[tokio::test]
async fn every_refusal_has_its_reason() {
    let server = Server::start(Answer::Status(StatusCode::FORBIDDEN)).await;
    let us = |changes: Value| {
        let claims = with(
            with(good_claims(), &json!({"iss": "us", "aud": "quell"})),
            &changes,
        );
        bearer(&token(Algorithm::HS256, None, &claims))
    };
    let jwt = JwtConfig {
        issuer: Some("us".to_owned()),
        audience: Some("quell".to_owned()),
        ..hs256()
    };
    let config = AuthConfig {
        jwt: Some(jwt),
        ..with_secrets(true)
    };
    let asks = AuthConfig {
        service: Some(service(server.url.clone())),
        ..config.clone()
    };
    let (alone, asks) = (authenticator(&config).await, authenticator(&asks).await);
    let forged = bearer(&token(
        Algorithm::ES256,
        None,
        &with(good_claims(), &json!({"iss": "us"})),
    ));
    for (auth, sent, reason) in [
        (&alone, None, "no_token"),
        (&alone, Some("Basic x"), "no_bearer_token"),
        (&alone, Some("Bearer x"), "unknown_token"),
        (&asks, Some("Bearer x"), "auth_service"),
        (&alone, Some("Bearer of nobody"), "bad_id"),
        (&alone, Some(&us(json!({"sub": "cli:x"}))), "bad_id"),
        (&alone, Some(&us(json!({"exp": 1}))), "expired"),
        (
            &alone,
            Some(&us(json!({"nbf": 99_999_999_999_i64}))),
            "not_yet_valid",
        ),
        (&alone, Some(&us(json!({"aud": "else"}))), "not_for_us"),
        (&alone, Some(&us(json!({"exp": null}))), "bad_claims"),
        (&alone, Some(&forged), "bad_signature"),
    ] {
        let headers = headers(sent);
        let refused = auth.caller_of_mute(&request(&headers, None)).await;
        let problem = Problem::from(refused.unwrap_err());
        assert_eq!(problem.code.status, StatusCode::UNAUTHORIZED, "{sent:?}");
        assert_eq!(
            problem.reason.map(AuthFailure::as_str),
            Some(reason),
            "{sent:?}"
        );
    }
}
