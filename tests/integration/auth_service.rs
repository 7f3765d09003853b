//! The delegated auth service, asked by a running server: what it is told, and what it may say.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quell_jwt::{Algorithm, Validation};
use serde_json::{Value, json};

use crate::auth::{MUTE, Scene, key_file};
use crate::support::{ACME, Answer, Setup, Stub};

/// An auth service that answers by the token: `as:<id>`, a status, or a body.
async fn auth_service() -> Stub {
    Stub::start(|request| {
        let claims = auth_claims(&request.body);
        let token = claims["auth_data"]["token"].as_str().unwrap();
        match token.split_once(':') {
            Some(("as", id)) => json!({ "id": id }).to_string().into_response(),
            Some(("status", status)) => {
                let status: u16 = status.parse().unwrap();
                status_only(StatusCode::from_u16(status).unwrap())
            }
            Some(("body", body)) => body.to_owned().into_response(),
            _ => status_only(StatusCode::UNAUTHORIZED),
        }
    })
    .await
}

fn status_only(status: StatusCode) -> Response {
    (status, r#"{"id":"acme"}"#).into_response()
}

/// The claims of our own JWT to the service, whose signature must hold.
fn auth_claims(jwt: &[u8]) -> Value {
    let public = std::fs::read(key_file("ec.pub.pem")).unwrap();
    let public = pem::parse(public).unwrap();
    let (_, public) = quell_jwt::public_key(public.contents()).unwrap();
    let validation = Validation::new(Algorithm::ES256);
    quell_jwt::decode::<Value>(jwt, &public, &validation)
        .unwrap()
        .claims
}

fn with_service(url: &str) -> Setup {
    Setup::default()
        .env("AUTH_SERVICE_URL", url)
        .env("AUTH_SIGNING_KEY_PATH", &key_file("ec.pem"))
        .env("AUTH_TIMEOUT_SECONDS", "1")
}

#[tokio::test]
async fn the_auth_service_says_who_calls_and_no_id_is_a_caller_only_where_allowed() {
    let service = auth_service().await;
    for allow in ["false", "true"] {
        let setup = with_service(&service.url).env("QUELL_ALLOW_NO_ID", allow);
        let scene = Scene::of(setup).await;
        let refused = "401 UNAUTHORIZED";
        let failed = "502 AUTH_SERVICE_FAILED";
        // What no id may do on the mute endpoint; `/v1/*` never opens to it.
        let no_id = if allow == "true" { "200" } else { refused };
        for (token, mutes, reads) in [
            ("as:acme", "200", "200"),
            ("as:globex", "404 PARTICIPANT_NOT_FOUND", "200"),
            ("as:", refused, refused),
            ("as: ", refused, refused),
            ("body:{}", no_id, refused),
            (r#"body:{"id":null}"#, no_id, refused),
            (r#"body:{"name":"acme"}"#, no_id, refused),
            (r#"body:{"id":7}"#, failed, failed),
            (r#"body:["acme"]"#, failed, failed),
            ("body:null", failed, failed),
            ("body:", failed, failed),
            ("body:<html>", failed, failed),
            ("status:401", refused, refused),
            ("status:403", refused, refused),
            ("status:404", refused, refused),
            ("status:201", failed, failed),
            ("status:204", failed, failed),
            ("status:302", failed, failed),
            ("status:500", failed, failed),
            ("status:503", failed, failed),
            ("unknown", refused, refused),
        ] {
            let calls = scene.app.simulator.calls().len();
            assert_eq!(scene.mutes(token).await, mutes, "{token} {allow}");
            assert_eq!(scene.policies(token).await.0, reads, "{token} {allow}");
            let reached = scene.app.simulator.calls().len() > calls;
            assert_eq!(
                reached,
                mutes == "200" || mutes.starts_with("404"),
                "{token}"
            );
        }
        // It is not asked about a token that is known here.
        let asked = service.received().len();
        assert_eq!(scene.mutes(ACME).await, "200");
        assert_eq!(service.received().len(), asked);
        scene.app.finish().await;
    }
}

#[tokio::test]
async fn the_auth_service_is_told_of_the_request_but_not_of_its_secrets() {
    let service = auth_service().await;
    let scene = Scene::of(with_service(&service.url)).await;
    let request = scene
        .mute("?api_key=as:acme&x=1")
        .header("X-Request-Id", "id-1")
        .header("Cookie", "session=1")
        .header("X-Forwarded-Authorization", "as:acme");
    assert_eq!(Answer::to(request).await.status, 200);
    let received = service.received().pop().unwrap();
    assert_eq!(received.headers["content-type"], "application/jwt");
    let claims = auth_claims(&received.body);
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 300);
    assert!(claims["sub"].is_string());
    let told = &claims["auth_data"];
    assert_eq!(told["token"], "as:acme");
    assert_eq!(told["request_path"], MUTE);
    assert_eq!(told["request_method"], "POST");
    assert_eq!(told["request_body"]["track_sid"], scene.sid.as_str());
    assert_eq!(told["request_headers"]["x-request-id"], "id-1");
    let headers = told["request_headers"].to_string();
    for secret in ["as:acme", "session", "authorization", "cookie", "api_key"] {
        assert!(!headers.contains(secret), "{headers}");
    }
    scene.app.finish().await;
}

#[tokio::test]
async fn an_auth_service_that_is_away_is_503_and_lets_nobody_in() {
    for required in ["true", "false"] {
        let setup = with_service("http://127.0.0.1:1/").env("AUTH_REQUIRED", required);
        let scene = Scene::of(setup.env("QUELL_ALLOW_NO_ID", "true")).await;
        let unavailable = "503 AUTH_SERVICE_UNAVAILABLE";
        assert_eq!(scene.mutes("whoever").await, unavailable);
        assert_eq!(scene.policies("whoever").await.0, unavailable);
        assert!(scene.app.simulator.calls().is_empty());
        scene.app.finish().await;
    }
}
