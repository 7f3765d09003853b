use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use chrono::TimeDelta;
use futures_util::future::join_all;
use quell_jwt::Algorithm;
use tokio::sync::Notify;

use super::super::jwt::{JwtVerdict, Jwts};
use super::super::testing::{Answer, Server, clock, good_claims, jwk, jwks, nowhere, token, with};
use super::*;
use quell_clock::ManualClock;

fn served(kids: &[&str]) -> Answer {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| jwk(Algorithm::ES256, Some(kid)))
        .collect();
    Answer::ok(&jwks(&keys))
}

fn jwts(url: &Url, clock: &ManualClock) -> Jwts {
    patient(url, clock, Duration::from_secs(20))
}

fn patient(url: &Url, clock: &ManualClock, timeout: Duration) -> Jwts {
    Jwts {
        keys: Vec::new(),
        remote: Some(RemoteKeys::new(url.clone(), timeout, clock.clock()).unwrap()),
        issuer: None,
        audience: None,
        id_claim: "sub".to_owned(),
        actor_claim: None,
        clock: clock.clock(),
    }
}

async fn check(jwts: &Jwts, kid: &str) -> &'static str {
    let claims = with(good_claims(), &serde_json::json!({"exp": i64::MAX}));
    let token = token(Algorithm::ES256, Some(kid), &claims);
    outcome(&jwts.check(&token).await)
}

fn outcome(verdict: &JwtVerdict) -> &'static str {
    match verdict {
        JwtVerdict::Caller(_) => "caller",
        JwtVerdict::Refused(_) => "refused",
        JwtVerdict::NotOurs => "not ours",
        JwtVerdict::NoKeys => "no keys",
        JwtVerdict::Unknown => "unknown",
    }
}

fn seconds(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(seconds.try_into().unwrap())
}

#[tokio::test]
async fn keys_are_fetched_when_first_needed_and_kept() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = jwts(&server.url, &clock);
    assert_eq!(server.received().len(), 0);
    for _ in 0..3 {
        assert_eq!(check(&jwts, "a").await, "caller");
    }
    assert_eq!(server.received().len(), 1);
    // Old keys are fetched again: one that was taken out is no longer good.
    server.answer(served(&["b"]));
    clock.advance(seconds(KEYS_AGE_SECS_MAX - 1));
    assert_eq!(check(&jwts, "a").await, "caller");
    clock.advance(seconds(1));
    assert_eq!(check(&jwts, "a").await, "not ours");
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn an_unknown_kid_fetches_the_keys_again_but_not_too_often() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = jwts(&server.url, &clock);
    assert_eq!(check(&jwts, "a").await, "caller");
    server.answer(served(&["a", "b"]));
    for _ in 0..3 {
        assert_eq!(check(&jwts, "b").await, "not ours");
    }
    assert_eq!(server.received().len(), 1);
    clock.advance(seconds(FETCH_INTERVAL_SECS_MIN));
    assert_eq!(check(&jwts, "b").await, "caller");
    assert_eq!(server.received().len(), 2);
    // A clock that was set back does not stop fetching.
    server.answer(served(&["c"]));
    clock.advance(-TimeDelta::days(1));
    assert_eq!(check(&jwts, "c").await, "caller");
}

#[tokio::test]
async fn a_token_without_kid_is_tried_with_the_keys_there_are() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = jwts(&server.url, &clock);
    let token = token(Algorithm::ES256, None, &good_claims());
    assert_eq!(outcome(&jwts.check(&token).await), "caller");
}

#[tokio::test]
async fn another_issuers_tokens_cause_no_fetch() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = Jwts {
        issuer: Some("us".to_owned()),
        ..jwts(&server.url, &clock)
    };
    assert_eq!(check(&jwts, "a").await, "not ours");
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn many_at_once_share_one_fetch() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = jwts(&server.url, &clock);
    let checks = join_all((0..20).map(|_| check(&jwts, "a"))).await;
    assert_eq!(checks, ["caller"; 20]);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_fetch_outlives_the_request_that_began_it() {
    let go = Arc::new(Notify::new());
    let keys = jwks(&[jwk(Algorithm::ES256, Some("a"))]);
    let server = Server::start(Answer::Held(Arc::clone(&go), keys)).await;
    let clock = clock();
    let jwts = jwts(&server.url, &clock);
    tokio::select! {
        verdict = check(&jwts, "a") => panic!("{verdict} before the keys came"),
        () = server.arrival() => {}
    }
    server.answer(Answer::Status(StatusCode::NOT_FOUND));
    go.notify_one();
    assert_eq!(check(&jwts, "a").await, "caller");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_failed_fetch_leaves_the_old_keys_in_use() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    let jwts = jwts(&server.url, &clock);
    assert_eq!(check(&jwts, "a").await, "caller");
    let long = " ".repeat(JWKS_BYTES_MAX) + &jwks(&[jwk(Algorithm::ES256, Some("b"))]);
    let elsewhere = Server::start(served(&["b"])).await;
    for bad in [
        Answer::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::Status(StatusCode::NO_CONTENT),
        Answer::Json(StatusCode::NOT_FOUND, jwks(&[])),
        Answer::ok(&"<html>"),
        Answer::ok(&"{}"),
        Answer::ok(&long),
        Answer::Redirect(elsewhere.url.to_string()),
    ] {
        let before = server.received().len();
        server.answer(bad);
        clock.advance(seconds(KEYS_AGE_SECS_MAX));
        assert_eq!(check(&jwts, "a").await, "caller");
        // Whether this is one of ours cannot be told without the new keys.
        assert_eq!(check(&jwts, "b").await, "unknown");
        assert_eq!(server.received().len(), before + 1);
    }
    assert_eq!(elsewhere.received().len(), 0);
    server.answer(served(&["b"]));
    clock.advance(seconds(FETCH_INTERVAL_SECS_MIN));
    assert_eq!(check(&jwts, "b").await, "caller");
    assert_eq!(check(&jwts, "a").await, "not ours");
}

#[tokio::test]
async fn without_any_keys_a_token_cannot_be_judged() {
    let clock = clock();
    let jwts = jwts(&nowhere(), &clock);
    let plain = token(Algorithm::ES256, None, &good_claims());
    assert_eq!(outcome(&jwts.check(&plain).await), "unknown");
    assert_eq!(check(&jwts, "a").await, "unknown");
    let jwts = Jwts {
        issuer: Some("us".to_owned()),
        ..jwts
    };
    let ours = with(good_claims(), &serde_json::json!({"iss": "us"}));
    let ours = token(Algorithm::ES256, Some("a"), &ours);
    assert_eq!(outcome(&jwts.check(&ours).await), "no keys");
    assert_eq!(outcome(&jwts.check(&plain).await), "not ours");
}

#[tokio::test]
async fn a_host_that_hangs_is_given_up_on_and_old_keys_do_meanwhile() {
    let (server, clock) = (Server::start(served(&["a"])).await, clock());
    // Long enough for the first fetch, and all that the second costs.
    let jwts = patient(&server.url, &clock, Duration::from_millis(500));
    assert_eq!(check(&jwts, "a").await, "caller");
    server.answer(Answer::Hang);
    clock.advance(seconds(KEYS_AGE_SECS_MAX));
    let mut waiting = pin!(check(&jwts, "a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    // This one does not wait for the other's fetch.
    let mut at_once = pin!(check(&jwts, "a"));
    assert!(at_once.as_mut().poll(&mut context).is_ready());
    assert_eq!(waiting.await, "caller");
}
