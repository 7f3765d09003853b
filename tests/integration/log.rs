//! What the log and the metrics say of requests that were refused or failed.

use std::time::Duration;

use livekit_double::{
    Fault, FaultKind, Join, Method, Publish, Simulator, SimulatorConfig, sign_webhook,
};
use nix::sys::signal::Signal;
use quell_clock::Clock;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ACME, BOUND, MICS, Program, TestApp, TestDatabase, settings};

/// A serving quell, with its LiveKit and its database.
struct Served {
    program: Program,
    livekit: Simulator,
    database: TestDatabase,
    http: Client,
    url: String,
}

impl Served {
    async fn start(more: &[(&'static str, &str)]) -> Self {
        quell::install_crypto();
        let database = TestDatabase::create().await;
        let livekit = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let mut settings = settings(&database, &livekit);
        settings.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let mut program = Program::start(&["serve"], &settings);
        let url = program.url().await;
        Self {
            program,
            livekit,
            database,
            http: Client::new(),
            url,
        }
    }

    fn mute(&self, query: &str) -> RequestBuilder {
        let body = json!({"room_name": "r\n1", "participant_identity": "ben", "track_sid": "TR_1", "muted": true});
        self.http
            .post(format!("{}/livekit/participant/mute{query}", self.url))
            .json(&body)
    }

    /// Waits until its metrics say so.
    async fn wait_for(&self, sample: &str) {
        let waiting = async {
            loop {
                let metrics = self.http.get(format!("{}/metrics", self.url));
                let metrics = metrics.send().await.unwrap().text().await.unwrap();
                if metrics.lines().any(|line| line == sample) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(BOUND, waiting).await;
        assert!(waited.is_ok(), "waited in vain for {sample}");
    }

    /// Ends it; what it wrote to its log since it began to listen.
    async fn end(mut self) -> Vec<Value> {
        self.program.signal(Signal::SIGTERM);
        let (code, _, err) = self.program.end().await;
        assert_eq!(code, 0, "{err}");
        for secret in [ACME, "not-a-secret-of-ours", "eyJhbGciOi"] {
            assert!(!err.contains(secret), "{err}");
        }
        self.livekit.shutdown().await;
        self.database.drop().await;
        let lines = err.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The lines with this message.
fn with<'l>(lines: &'l [Value], message: &str) -> Vec<&'l Value> {
    let is_it = |line: &&Value| line["fields"]["message"] == message;
    lines.iter().filter(is_it).collect()
}

/// LiveKit takes the 4xx for success, so that nobody else would tell of it.
#[tokio::test]
async fn a_webhook_that_is_lost_is_told_of_whatever_strangers_send() {
    let served = Served::start(&[]).await;
    let key = served.livekit.api_key().unwrap();
    let body = json!({"id": "EV_1", "event": "room_started", "createdAt": "7"}).to_string();
    let token = sign_webhook(key, body.as_bytes(), Clock::system().now()).unwrap();
    let send = |path: &str, token: &str| {
        let request = served.http.post(format!("{}/{path}", served.url));
        let request = request.header("content-type", "application/webhook+json");
        request.header("authorization", token).body(body.clone())
    };
    // More lines than are written in a second.
    for _ in 0..30 {
        let stranger = send("livekit/webhooks", "not-a-secret-of-ours")
            .send()
            .await;
        assert_eq!(stranger.unwrap().status(), 404);
        let stranger = send("v1/policies", "not-a-secret-of-ours").send().await;
        assert_eq!(stranger.unwrap().status(), 401);
    }
    for (path, status) in [
        ("livekit/webhooks", 404),
        ("livekit/webhook/x", 404),
        ("metrics", 405),
        ("v1/policies", 401),
        ("livekit/participant/mute", 401),
        // The event is an old one.
        ("livekit/webhook", 400),
    ] {
        let answer = send(path, &token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let metrics = served.http.get(format!("{}/metrics", served.url));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let sample = r#"quell_webhooks_total{result="wrong_path"} 5"#;
    assert!(metrics.contains(sample), "{metrics}");
    let log = served.end().await;
    let lines = with(&log, "a webhook of LiveKit is lost");
    assert_eq!(lines.len(), 6, "{log:?}");
    for line in &lines[..5] {
        let cause = line["fields"]["cause"].as_str().unwrap();
        assert!(cause.contains("must end in /livekit/webhook"), "{line}");
        assert_eq!(line["level"], "WARN");
    }
    assert!(
        lines[5].to_string().contains("10 minutes off"),
        "{}",
        lines[5]
    );
    assert_eq!(lines[5]["span"]["event_id"], "EV_1");
}

#[tokio::test]
async fn a_failed_login_is_a_line_with_its_reason_and_without_the_token() {
    let served = Served::start(&[("QUELL_JWT_SECRET", "0123456789abcdef0123456789abcdef")]).await;
    let http = &served.http;
    let policies = format!("{}/v1/policies/quiet?x=not-a-secret-of-ours", served.url);
    let webhook = format!("{}/livekit/webhook", served.url);
    let mut lines = Vec::new();
    for (request, route, reason) in [
        (http.get(&policies), "/v1/policies/{name}", "no_token"),
        (
            http.get(&policies)
                .basic_auth("me", Some("not-a-secret-of-ours")),
            "/v1/policies/{name}",
            "no_bearer_token",
        ),
        (
            http.get(&policies).bearer_auth("not-a-secret-of-ours"),
            "/v1/policies/{name}",
            "unknown_token",
        ),
        (
            served.mute("?api_key=not-a-secret-of-ours"),
            "/livekit/participant/mute",
            "unknown_token",
        ),
        (
            http.post(&webhook)
                .header("authorization", "not-a-secret-of-ours"),
            "/livekit/webhook",
            "webhook_signature",
        ),
    ] {
        let request = request.header("x-request-id", "req-1");
        assert_eq!(request.send().await.unwrap().status(), 401);
        lines.push((route, reason));
    }
    let metrics = http.get(format!("{}/metrics", served.url));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for sample in [
        r#"quell_auth_failures_total{reason="unknown_token"} 2"#,
        r#"quell_auth_failures_total{reason="webhook_signature"} 1"#,
        r#"quell_auth_failures_total{reason="expired"} 0"#,
        r#"quell_http_requests_total{route="/v1/policies/{name}",status="401"} 3"#,
        r#"quell_http_requests_total{route="/livekit/participant/mute",status="500"} 0"#,
        r#"quell_http_requests_total{route="none",status="404"} 0"#,
    ] {
        assert!(metrics.contains(sample), "{sample} is not in:\n{metrics}");
    }
    let log = served.end().await;
    let refused = with(&log, "a caller was not let in");
    assert_eq!(refused.len(), lines.len(), "{log:#?}");
    for (line, (route, reason)) in refused.iter().zip(lines) {
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["reason"], reason);
        let peer = line["fields"]["peer"].as_str().unwrap();
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        assert_eq!(line["span"]["route"], route);
        assert_eq!(line["span"]["request_id"], "req-1");
    }
}

#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    let served = Served::start(&[]).await;
    let attempts = (0..200).map(|_| served.mute("").bearer_auth("x").send());
    for answer in futures_util::future::join_all(attempts).await {
        assert_eq!(answer.unwrap().status(), 401);
    }
    let log = served.end().await;
    let lines = with(&log, "a caller was not let in").len();
    let left_out = with(&log, "there were more such requests than are logged");
    let left_out: u64 = left_out
        .iter()
        .map(|line| line["fields"]["left_out"].as_u64().unwrap())
        .sum();
    assert_eq!(u64::try_from(lines).unwrap() + left_out, 200);
    assert!(lines < 200, "{lines}");
}

#[tokio::test]
async fn a_failure_is_one_line_that_says_what_failed_for_whom_and_why() {
    // Failures are told in full also where all else is silent.
    let served = Served::start(&[("QUELL_LOG", "error,quell::cli=info")]).await;
    served.livekit.shutdown().await;
    let answer = served
        .mute("")
        .bearer_auth(ACME)
        .header("x-request-id", "req-7")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    let pool = served.database.pool().await;
    let request_id: String = sqlx::query_scalar("select request_id from moderation_history")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(request_id, "req-7");
    pool.close().await;
    let log = served.end().await;
    let failed: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(failed.len(), 1, "{log:#?}");
    let line = failed[0];
    assert_eq!(line["fields"]["message"], "a request failed");
    assert_eq!(line["fields"]["status"], 500);
    assert_eq!(line["fields"]["code"], "MUTE_FAILED");
    let cause = line["fields"]["cause"].as_str().unwrap();
    assert!(cause.contains("LiveKit cannot be reached"), "{cause}");
    for (field, value) in [
        ("route", "/livekit/participant/mute"),
        ("caller", "acme"),
        ("room", "r\n1"),
        ("participant", "ben"),
        ("track", "TR_1"),
        ("request_id", "req-7"),
    ] {
        assert_eq!(line["span"][field], value, "{line:#?}");
    }
}

/// The same words for the same ids, in the log and in the audit.
#[tokio::test]
async fn a_job_has_its_event_an_action_its_id_and_a_sweep_its_own() {
    let served = Served::start(&[("QUELL_SWEEP_CRON", "0 0 0 1 1 *")]).await;
    let folder = TempDir::new().unwrap();
    let policies = folder.path().join("policies.yaml");
    std::fs::write(&policies, MICS).unwrap();
    let livekit = &served.livekit;
    livekit.set_webhook_url(Some(
        format!("{}/livekit/webhook", served.url).parse().unwrap(),
    ));
    livekit.set_faults([Fault::of(Method::MutePublishedTrack, FaultKind::Unavailable).times(1)]);
    let settings = [("DATABASE_URL", served.database.url().to_owned())];
    let arguments = ["policy", "apply", policies.to_str().unwrap()];
    let (code, _, err) = Program::start(&arguments, &settings).end().await;
    assert_eq!(code, 0, "{err}");
    served.wait_for("quell_policies 1").await;
    livekit.create_room("standup", None);
    livekit.join("standup", Join::new("ann"));
    let track = livekit.publish("standup", "ann", Publish::microphone());
    track.unwrap();
    served
        .wait_for(r#"quell_settled_total{result="muted"} 1"#)
        .await;
    let pool = served.database.pool().await;
    let actions: Vec<(String, String, String)> = sqlx::query_as(
        "select action_id::text, event_id, outcome from moderation_history where action = 'mute' order by started_at",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let sweep: String = sqlx::query_scalar("select id::text from sweeps where cause = 'start'")
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    let log = served.end().await;
    let [(failed, event, _), (done, _, _)] = &actions[..] else {
        panic!("{actions:?}");
    };
    for (line, action) in [
        ("a job is tried again later", failed),
        ("a track was dealt with", done),
    ] {
        let lines = with(&log, line);
        let is_it = |line: &&&Value| {
            line["fields"]["event_id"] == event.as_str()
                && line["fields"]["action_id"] == action.as_str()
        };
        assert_eq!(
            lines.iter().filter(is_it).count(),
            1,
            "{actions:?} {lines:#?}"
        );
    }
    let swept = with(&log, "rooms were swept");
    assert!(
        swept
            .iter()
            .any(|line| line["span"]["sweep_id"] == sweep.as_str()),
        "{sweep} {swept:#?}"
    );
}

#[tokio::test]
async fn every_answer_is_counted_under_its_route_and_not_its_path() {
    let app = TestApp::new().await;
    app.room("r", "acme");
    let track = app.publish("r", Join::new("ben"), Publish::microphone());
    app.settle().await;
    let done = app.mute(ACME, "r", "ben", &track.sid, true).send().await;
    assert_eq!(done.unwrap().status(), 200);
    for path in ["/v1/policies/a", "/v1/policies/b", "/wp-login.php", "/.env"] {
        let answer = app.api(reqwest::Method::GET, ACME, path).send().await;
        assert_eq!(answer.unwrap().status(), 404, "{path}");
    }
    let metrics = app.state().metrics.text();
    for sample in [
        r#"{route="/livekit/participant/mute",status="200"} 1"#,
        r#"{route="/v1/policies/{name}",status="404"} 2"#,
        r#"{route="none",status="404"} 2"#,
    ] {
        assert!(metrics.contains(sample), "{sample} is not in:\n{metrics}");
    }
    assert!(!metrics.contains("wp-login"), "{metrics}");
    app.finish().await;
}
