//! The real program, as people start it: `quell demo`, `quell doctor`, `quell serve`.

use livekit_double::{Simulator, SimulatorConfig};
use nix::sys::signal::{Signal, kill};
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use crate::support::{
    ACME, Program, TestApp, TestDatabase, admin, open_tempdir, read_until, settings,
};

/// The settings of a demo in a temporary folder.
fn demo_settings() -> (TempDir, [(&'static str, String); 2]) {
    let folder = open_tempdir();
    let data = folder.path().join("pg").to_str().unwrap().to_owned();
    (folder, [("QUELL_PG_DATA", data), ("PORT", "0".to_owned())])
}

/// The first word after `before` in `text`.
fn word_after<'t>(text: &'t str, before: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before:?} in:\n{text}"));
    rest.split(char::is_whitespace)
        .find(|word| !word.is_empty())
        .unwrap()
        .trim_end_matches('\'')
}

fn assert_lines(text: &str, expect: &[&[&str]]) {
    for parts in expect {
        let is_there = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(
            text.lines().any(is_there),
            "no line with {parts:?}:\n{text}"
        );
    }
}

fn http() -> Client {
    quell::install_crypto();
    Client::new()
}

async fn livekit() -> Simulator {
    quell::install_crypto();
    let config = SimulatorConfig::default();
    Simulator::start(config).await.unwrap()
}

async fn status(http: &Client, url: &str) -> u16 {
    http.get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_demo_tells_who_is_heard_who_is_muted_and_why() {
    let (_folder, settings) = demo_settings();
    let mut demo = Program::start(&["demo", "--once"], &settings);
    let (code, out, err) = demo.end().await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_lines(
        &out,
        &[
            &["Hanna", " heard ", "webinar-mics says: unless"],
            &["Ben", " muted ", "webinar-mics @1 mutes it"],
            &["Cleo", " muted ", "webinar-mics @1 mutes it"],
            &["by phone", " muted ", "webinar-phone-callers @1 mutes it"],
            &[
                "agent",
                " heard ",
                "agents-may-speak exempts it from webinar-mics",
            ],
            &[
                "Dan",
                " heard ",
                "screen-share-audio-dry-run would mute it",
                "dry_run",
            ],
            &["acme's moderator unmutes", " 200 ", r#""muted":false"#],
            &["globex's moderator mutes", " 404 ", "PARTICIPANT_NOT_FOUND"],
            &["policy", " mute ", " done ", " ben ", "webinar-mics @1"],
            &[
                "policy",
                " mute ",
                " done ",
                " sip-",
                "webinar-phone-callers @1",
            ],
            &[
                "policy",
                " mute ",
                " dry_run ",
                " dan ",
                "screen-share-audio-dry-run @1",
            ],
            &["acme", " unmute ", " done ", " ben "],
            &["globex", " mute ", " refused ", " ben ", "another auth_id"],
            &["mia speaks in evening-class", "quiet-hours"],
            &["mia is muted ", " ms after it opened"],
        ],
    );
    assert!(demo.postgres().is_none(), "its Postgres is left");
}

#[tokio::test]
async fn what_the_demo_says_to_try_works_until_ctrl_c_ends_it() {
    let (_folder, settings) = demo_settings();
    let mut demo = Program::start(&["demo"], &settings);
    let out = read_until(&mut demo.out, "Ctrl-C").await;
    let quell = word_after(&out, "  quell  ");
    let livekit = word_after(&out, "  LiveKit double  ");
    let http = http();
    for path in ["healthz", "readyz", "metrics"] {
        assert_eq!(
            status(&http, &format!("{quell}/{path}")).await,
            200,
            "{path}"
        );
    }
    let (_, of_operator) = out.split_once("/v1/policies").unwrap();
    let policies = http
        .get(format!("{quell}/v1/policies"))
        .bearer_auth(word_after(of_operator, "Bearer "))
        .send()
        .await
        .unwrap();
    assert_eq!(policies.status(), 200);
    let policies: Value = policies.json().await.unwrap();
    // With the one whose window opened.
    assert_eq!(policies["policies"].as_array().unwrap().len(), 6);

    let (_, unmute) = out.split_once("as a moderator of acme").unwrap();
    let (_, body) = unmute.split_once("-d '").unwrap();
    let (body, _) = body.split_once('\'').unwrap();
    let unmute = http
        .post(word_after(unmute, "curl -sS "))
        .bearer_auth(word_after(unmute, "Bearer "))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(unmute.status(), 200);
    let unmuted: Value = unmute.json().await.unwrap();
    assert_eq!(unmuted["muted"], false);
    let room = format!("{livekit}/_sim/rooms/webinar-allhands/participants");
    let joined = http.post(room).json(&json!({"identity": "you"})).send();
    assert!(joined.await.unwrap().status().is_success());

    let postgres = demo.postgres().expect("a Postgres of its own");
    assert!(kill(postgres, None).is_ok());
    demo.signal(Signal::SIGINT);
    let (code, _, err) = demo.end().await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(demo.postgres().is_none(), "its Postgres is left");
    assert!(kill(postgres, None).is_err(), "its Postgres is left");
    for gone in [quell, livekit] {
        let answer = http.get(format!("{gone}/healthz")).send().await;
        assert!(answer.unwrap_err().is_connect(), "{gone}");
    }
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_the_demo_ends_its_postgres_too() {
    let (_folder, settings) = demo_settings();
    let mut demo = Program::start(&["demo"], &settings);
    read_until(&mut demo.out, "  LiveKit double  ").await;
    demo.signal(Signal::SIGINT);
    let (code, out, err) = demo.end().await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("Ctrl-C"), "it went on to its end:\n{out}");
    assert!(demo.postgres().is_none(), "its Postgres is left");
}

#[tokio::test]
async fn doctor_names_what_is_missing_and_is_content_with_good_settings() {
    let (code, out, _) = Program::start(&["doctor"], &[]).end().await;
    assert_eq!(code, 1, "{out}");
    for name in [
        "LIVEKIT_URL",
        "LIVEKIT_API_KEY",
        "LIVEKIT_API_SECRET",
        "AUTH_API_SECRETS_JSON",
    ] {
        assert!(out.contains(name), "{name}:\n{out}");
    }

    let database = TestDatabase::create().await;
    let livekit = livekit().await;
    let settings = settings(&database, &livekit);
    let (code, out, err) = Program::start(&["doctor"], &settings).end().await;
    assert_eq!(code, 0, "{out}{err}");
    assert_lines(&out, &[&["ok", "LiveKit"], &["checks: 0 failed"]]);

    // What good settings cannot tell: whether anybody is there.
    livekit.shutdown().await;
    let (code, out, _) = Program::start(&["doctor"], &settings).end().await;
    assert_eq!(code, 1, "{out}");
    database.drop().await;
}

#[tokio::test]
async fn a_quell_built_without_traces_says_that_it_sends_none() {
    let settings = [(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://127.0.0.1:9".to_owned(),
    )];
    let (_, out, _) = Program::start(&["doctor"], &settings).end().await;
    let told =
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this quell was built without the feature otlp";
    assert_lines(&out, &[&["warn", told]]);
}

#[tokio::test]
async fn serve_does_not_start_with_a_bad_setting_and_names_it() {
    let database = TestDatabase::create().await;
    let livekit = livekit().await;
    for (name, value) in [
        ("PORT", "eighty"),
        ("LIVEKIT_URL", "livekit.example.com"),
        ("DATABASE_URL", "mysql://somewhere"),
        ("AUTH_API_SECRETS_JSON", "{"),
        ("QUELL_EVENT_RETENTION", "0d"),
        ("QUELL_LOG", "a=b=c"),
        ("QUELL_LOG", "verbose"),
        ("QUELL_OPERATOR_ID", "ops"),
        ("AUTH_API_SECRET", ACME),
        ("QUELL_JWT_PUBLIC_KEY_PATH", "/nowhere/key.pem"),
    ] {
        let mut settings = settings(&database, &livekit);
        settings.retain(|(other, _)| *other != name);
        settings.push((name, value.to_owned()));
        let (code, out, err) = Program::start(&["serve"], &settings).end().await;
        assert_eq!(code, 1, "{name}: {out}{err}");
        assert_lines(&err, &[&[name]]);
    }
    livekit.shutdown().await;
    database.drop().await;
}

#[tokio::test]
async fn serve_answers_until_it_is_terminated() {
    let database = TestDatabase::create().await;
    let livekit = livekit().await;
    let settings = settings(&database, &livekit);
    let mut serve = Program::start(&["serve"], &settings);
    let url = serve.url().await;
    let http = http();
    for path in ["healthz", "readyz"] {
        assert_eq!(status(&http, &format!("{url}/{path}")).await, 200, "{path}");
    }
    serve.signal(Signal::SIGTERM);
    let (code, out, err) = serve.end().await;
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert_lines(&err, &[&["quell is stopping"]]);
    let answer = http.get(format!("{url}/healthz")).send().await;
    assert!(answer.unwrap_err().is_connect());
    livekit.shutdown().await;
    database.drop().await;
}

/// It serves all the same: LiveKit may come up later, and policies can be written without it.
#[tokio::test]
async fn serve_warns_of_what_doctor_calls_a_failure() {
    let database = TestDatabase::create().await;
    let livekit = livekit().await;
    let settings = settings(&database, &livekit);
    livekit.shutdown().await;
    let without = |names: &[&str]| -> Vec<_> {
        let kept = settings.iter().filter(|(name, _)| !names.contains(name));
        kept.cloned().collect()
    };
    for (settings, warning) in [
        (settings.clone(), "LiveKit does not answer at "),
        (
            without(&["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]),
            "LiveKit is not set: nobody can be muted, and every webhook is refused",
        ),
        (
            without(&["AUTH_API_SECRETS_JSON"]),
            "AUTH_REQUIRED is on and nothing can check a token: every call is answered 401",
        ),
    ] {
        let mut serve = Program::start(&["serve"], &settings);
        let url = serve.url().await;
        let log = read_until(&mut serve.err, warning).await;
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "WARN");
        assert!(line["fields"]["remedy"].is_string(), "{line}");
        let alive = status(&http(), &format!("{url}/healthz")).await;
        assert_eq!(alive, 200);
        serve.signal(Signal::SIGTERM);
        assert_eq!(serve.end().await.0, 0);
    }
    database.drop().await;
}

/// Load balancers notice that it is not ready before its port closes.
#[tokio::test]
async fn what_is_told_to_stop_serves_on_for_a_while() {
    let database = TestDatabase::create().await;
    let livekit = livekit().await;
    let mut settings = settings(&database, &livekit);
    settings.push(("QUELL_DRAIN_DELAY_SECONDS", "2".to_owned()));
    let mut serve = Program::start(&["serve"], &settings);
    let url = serve.url().await;
    let http = http();
    let told = std::time::Instant::now();
    serve.signal(Signal::SIGTERM);
    while status(&http, &format!("{url}/readyz")).await == 200 {}
    assert_eq!(status(&http, &format!("{url}/healthz")).await, 200);
    let (code, _, err) = serve.end().await;
    assert_eq!(code, 0, "{err}");
    assert!(told.elapsed().as_secs() >= 2);
    livekit.shutdown().await;
    database.drop().await;
}

#[tokio::test]
async fn without_its_database_quell_is_alive_and_not_ready() {
    let app = TestApp::new().await;
    let (healthz, readyz) = (
        format!("{}/healthz", app.url),
        format!("{}/readyz", app.url),
    );
    assert_eq!(status(&app.http, &readyz).await, 200);
    let says = async |sample: &str| {
        let metrics = app.http.get(format!("{}/metrics", app.url));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        metrics.lines().any(|line| line == sample)
    };
    app.wait_for("the metric says that it is ready", async || {
        says("quell_ready 1").await
    })
    .await;
    let name = app.sql("select current_database()").await.unwrap();
    let mut admin = admin().await;
    let alter = async |admin: &mut sqlx::PgConnection, allowed: bool| {
        let sql = format!("alter database {name} with allow_connections {allowed}");
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    alter(&mut admin, false).await;
    sqlx::query("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1")
        .bind(&name)
        .execute(&mut admin)
        .await
        .unwrap();
    // What was committed a second ago tells no more.
    let is_down = async || status(&app.http, &readyz).await == 503;
    app.wait_for("quell is not ready", is_down).await;
    let answer = app.http.get(&readyz).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "UNAVAILABLE");
    assert_eq!(status(&app.http, &healthz).await, 200);
    assert!(says("quell_ready 0").await);
    alter(&mut admin, true).await;
    admin.close().await.unwrap();
    let ready = async || status(&app.http, &readyz).await == 200;
    app.wait_for("quell is ready again", ready).await;
    app.finish().await;
}
