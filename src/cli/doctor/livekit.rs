//! Asks `LiveKit` for a room that is not there: does it answer, take our key, and keep time?

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use livekit_api::access_token::{AccessToken, VideoGrants};
use reqwest::header::DATE;
use secrecy::ExposeSecret;

use super::{Finding, SkewLimits, skew};
use crate::config::LiveKitConfig;
use quell_clock::Clock;
use quell_policy::terminal::cut;

/// A forbidden microphone that is muted within about 40 ms of its webhook is never heard; a mute
/// asks twice and then acts.
const FAST: Duration = Duration::from_millis(15);
const CALLS: usize = 3;
/// The length at which answers of the other side are cut in a finding.
const TEXT_CHARS_MAX: usize = 200;

/// The Date header counts in whole seconds.
const DATE_RESOLUTION: TimeDelta = TimeDelta::seconds(1);
const LIMITS: SkewLimits = SkewLimits {
    warn_over: TimeDelta::seconds(5),
    fail_over: TimeDelta::seconds(60),
    harm: "over a minute, LiveKit refuses our tokens and we refuse its webhooks",
};

struct Answer {
    status: u16,
    body: String,
    took: Duration,
    ahead: Option<TimeDelta>,
}

pub(super) async fn check(config: &LiveKitConfig, clock: &Clock) -> Vec<Finding> {
    crate::install_crypto();
    let client = reqwest::Client::builder()
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .redirect(reqwest::redirect::Policy::none())
        // As all other calls to LiveKit are made.
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![unreachable(config, &error)],
    };
    let mut fastest: Option<Answer> = None;
    // The first call also connects; what counts is how long the later ones take.
    for _ in 0..CALLS {
        match ask(config, clock, &client).await {
            Ok(answer) => {
                if fastest.as_ref().is_none_or(|best| answer.took < best.took) {
                    fastest = Some(answer);
                }
            }
            Err(finding) => return vec![finding],
        }
    }
    let Some(answer) = fastest else {
        return Vec::new();
    };
    let mut findings = vec![judge(&answer)];
    if let Some(ahead) = answer.ahead {
        let took = TimeDelta::from_std(answer.took).unwrap_or_default();
        findings.push(skew("LiveKit's", ahead, DATE_RESOLUTION + took, LIMITS));
    }
    findings
}

async fn ask(
    config: &LiveKitConfig,
    clock: &Clock,
    client: &reqwest::Client,
) -> Result<Answer, Finding> {
    let token =
        AccessToken::with_api_key(&config.api_key.key, config.api_key.secret.expose_secret())
            .with_ttl(Duration::from_mins(1))
            .with_grants(VideoGrants {
                room_list: true,
                ..VideoGrants::default()
            })
            .to_jwt()
            .map_err(|error| {
                Finding::fail(
                    format!("a token for LiveKit cannot be made: {error}"),
                    "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
                )
            })?;
    let base = config.url.as_str().trim_end_matches('/');
    let asked = Instant::now();
    let response = client
        .post(format!("{base}/twirp/livekit.RoomService/ListRooms"))
        .bearer_auth(&token)
        .json(&serde_json::json!({"names": ["quell-doctor"]}))
        .send()
        .await
        .map_err(|error| unreachable(config, &error))?;
    let status = response.status().as_u16();
    let ahead = response
        .headers()
        .get(DATE)
        .and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok())
        .map(|date| date.with_timezone(&Utc) - clock.now());
    let body = response
        .text()
        .await
        .map_err(|error| unreachable(config, &error))?;
    Ok(Answer {
        status,
        // LiveKit repeats a token that it refuses.
        body: body.replace(&token, "(our token)"),
        took: asked.elapsed(),
        ahead,
    })
}

fn unreachable(config: &LiveKitConfig, error: &reqwest::Error) -> Finding {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    Finding::fail(
        format!("LiveKit does not answer at {}: {reason}", config.url),
        "check LIVEKIT_URL, that LiveKit runs, and that this machine may reach it",
    )
}

fn judge(answer: &Answer) -> Finding {
    let Answer {
        status, body, took, ..
    } = answer;
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    let text = |key: &str| {
        let value = json.as_ref()?.get(key)?.as_str()?;
        Some(cut(value, TEXT_CHARS_MAX))
    };
    let took_ms = took.as_micros().div_ceil(1000);
    match (status, text("code")) {
        (200, _) if json.as_ref().is_some_and(serde_json::Value::is_object) => {
            let what = format!("LiveKit takes our key and answers in {took_ms} ms");
            if *took <= FAST {
                Finding::ok(what)
            } else {
                Finding::warn(
                    what,
                    "a microphone that is forbidden is heard unless it is muted within 40 ms: \
                     run quell nearer to LiveKit",
                )
            }
        }
        // LiveKit's own refusal is one line of text, not Twirp's JSON.
        (401 | 403, _) => Finding::fail(
            format!(
                "LiveKit refuses our key (HTTP {status}): {}",
                text("msg").unwrap_or_else(|| first_line(body))
            ),
            "LIVEKIT_API_KEY and LIVEKIT_API_SECRET must be a pair below `keys` in LiveKit's \
             own configuration, and no proxy before it may ask for a login of its own",
        ),
        (_, Some(code)) => Finding::fail(
            format!(
                "LiveKit answers {status} {code}: {}",
                text("msg").unwrap_or_default()
            ),
            "see LiveKit's own log",
        ),
        (_, None) => Finding::fail(
            format!("what answers at LIVEKIT_URL is not LiveKit's API: HTTP {status}"),
            "check host, port and path prefix of LIVEKIT_URL, and the proxy before LiveKit",
        ),
    }
}

fn first_line(body: &str) -> String {
    body.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(TEXT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::ApiKey;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    #[test]
    fn answers_are_told_apart() {
        let check = |status: u16, body: &str, took_ms: u64, level: Level, says: &str| {
            let finding = judge(&Answer {
                status,
                body: body.to_owned(),
                took: Duration::from_millis(took_ms),
                ahead: None,
            });
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(says), "{finding:?}");
        };
        check(200, r#"{"rooms":[]}"#, 4, Level::Ok, "in 4 ms");
        check(200, "{}", 80, Level::Warn, "in 80 ms");
        check(
            401,
            r#"{"code":"unauthenticated","msg":"invalid API key: x"}"#,
            4,
            Level::Fail,
            "refuses our key (HTTP 401): invalid API key: x",
        );
        check(
            401,
            "invalid API key: nokey\nmore",
            4,
            Level::Fail,
            "refuses our key (HTTP 401): invalid API key: nokey",
        );
        check(
            503,
            r#"{"code":"unavailable","msg":"no response from servers"}"#,
            4,
            Level::Fail,
            "503 unavailable: no response",
        );
        check(502, "<html>Bad Gateway", 4, Level::Fail, "not LiveKit's");
        check(404, "404 page not found", 4, Level::Fail, "HTTP 404");
        check(200, "<html>Welcome", 4, Level::Fail, "not LiveKit's");
        check(200, "\"hello\"", 4, Level::Fail, "not LiveKit's");
    }

    fn config(url: &str) -> LiveKitConfig {
        LiveKitConfig {
            url: url.parse().unwrap(),
            api_key: ApiKey {
                key: "devkey".to_owned(),
                secret: "hunter2hunter2hunter2hunter2hunter2".into(),
            },
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn a_room_that_is_not_there_is_asked_for() {
        let list = async |headers: HeaderMap, body: String| {
            let token = headers["authorization"].to_str().unwrap();
            assert!(token.starts_with("Bearer ey"));
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(body, r#"{"names":["quell-doctor"]}"#);
            (
                StatusCode::OK,
                [("date", "Sat, 01 Jan 2000 00:00:00 GMT")],
                r#"{"rooms":[]}"#,
            )
        };
        let app =
            axum::Router::new().route("/prefix/twirp/livekit.RoomService/ListRooms", post(list));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(&format!("http://{}/prefix", listener.local_addr().unwrap()));
        let clock = Clock::system();
        let findings = tokio::select! {
            findings = check(&config, &clock) => findings,
            served = axum::serve(listener, app) => panic!("{served:?}"),
        };
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].what.contains("takes our key"), "{findings:?}");
        assert_eq!(findings[1].level, Level::Fail);
        assert!(findings[1].what.contains("behind ours"), "{findings:?}");
    }

    #[tokio::test]
    async fn a_token_that_is_refused_is_not_shown() {
        let refuse = async |headers: HeaderMap| {
            let token = headers["authorization"].to_str().unwrap();
            let token = token.trim_start_matches("Bearer ");
            let text = format!(
                "invalid token: {token}, error: go-jose/go-jose: error in cryptographic primitive"
            );
            (StatusCode::UNAUTHORIZED, text)
        };
        let app = axum::Router::new().route("/twirp/livekit.RoomService/ListRooms", post(refuse));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(&format!("http://{}", listener.local_addr().unwrap()));
        let clock = Clock::system();
        let findings = tokio::select! {
            findings = check(&config, &clock) => findings,
            served = axum::serve(listener, app) => panic!("{served:?}"),
        };
        assert_eq!(
            findings[0].what,
            "LiveKit refuses our key (HTTP 401): invalid token: (our token), error: go-jose/go-jose: error in cryptographic primitive"
        );
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure_without_secrets() {
        let findings = check(&config("http://127.0.0.1:1"), &Clock::system()).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Fail);
        assert!(findings[0].what.contains("127.0.0.1:1"), "{findings:?}");
        assert!(!format!("{findings:?}").contains("hunter2"));
    }
}
