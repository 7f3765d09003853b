//! docs/AUDIT.md answers what it says: each of its queries, asked by an auditor of what quell wrote.

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::Kind;
use reqwest::{Method as Http, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use url::Url;

use crate::support::{ACME, BOUND, GLOBEX, Setup, TestApp};

const MANUAL: &str = include_str!("../../docs/AUDIT.md");

fn webinar(mode_of_trial: &str, description: &str) -> String {
    format!(
        r#"
policies:
  - name: webinar-mics
    description: {description}
    match: {{ room: ["webinar-*"], type: [AUDIO], source: [MICROPHONE, UNKNOWN] }}
    unless: {{ attributes: {{ role: host }} }}
    effect: mute
  - name: screen-share-audio-dry-run
    match: {{ room: ["webinar-*"], source: [SCREEN_SHARE_AUDIO] }}
    effect: mute
    mode: {mode_of_trial}
  - name: agents
    match: {{ kind: [AGENT] }}
    effect: exempt
    priority: 1000
    reason: voice agents must be heard
"#
    )
}

/// Every query of the manual, with the heading above it.
fn questions() -> Vec<(&'static str, &'static str)> {
    let mut heading = "";
    let mut questions = Vec::new();
    for section in MANUAL.split("\n#") {
        if let Some((head, _)) = section.split_once('\n') {
            heading = head.trim_start_matches(['#', ' ']);
        }
        for block in section.split("```sql\n").skip(1) {
            questions.push((heading, block.split_once("```").unwrap().0));
        }
    }
    questions
}

/// A value as it is in every run: ids, times and durations are replaced by what they are.
fn redacted(column: &str, value: &str) -> String {
    let is_id = ["EV_", "RM_", "TR_"]
        .iter()
        .find(|start| value.starts_with(*start));
    let redacted = match column {
        _ if value == "-" => "-",
        "seq" | "txid" => "<number>",
        "silent_for" | "allowed" => "<interval>",
        _ if column.ends_with("_at") => "<time>",
        _ if column.ends_with("_ms") || column.starts_with("latency_ms") => "<ms>",
        _ => is_id.map_or(value, |start| *start),
    };
    redacted.to_owned()
}

/// How often a job was tried until it was given up is a matter of chance.
fn without_attempts(value: &str) -> String {
    match value.split_once("given up after ") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}given up after <n>{after}")
        }
        None => value.to_owned(),
    }
}

/// The answer, one line a row, each value with its column.
async fn ask(auditor: &mut PgConnection, query: &str) -> Vec<String> {
    let query = query.trim().trim_end_matches(';');
    let rows: Vec<Vec<String>> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select array(select key || '=' || coalesce(value, '-') from json_each_text(to_json(answer)))
         from ({query}) answer"
    )))
    .fetch_all(auditor)
    .await
    .unwrap_or_else(|error| panic!("{error}\n{query}"));
    rows.iter()
        .map(|row| {
            let values = row.iter().map(|value| {
                let (column, value) = value.split_once('=').unwrap();
                format!("{column}={}", without_attempts(&redacted(column, value)))
            });
            values.collect::<Vec<_>>().join(" | ")
        })
        .collect()
}

async fn answer(request: reqwest::RequestBuilder, status: u16) {
    let answer = request.send().await.unwrap();
    let got = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(got, StatusCode::from_u16(status).unwrap(), "{text}");
}

/// A publishes; returns the track's SID once its job is settled.
async fn published(app: &TestApp, room: &str, who: &str, source: TrackSource) -> String {
    let track = app.publish(room, Join::new(who), Publish::new(source));
    app.settle().await;
    track.sid
}

/// Policies mute, exempt, fail, try again, are in dry run, give way and give up.
async fn policies_act(app: &TestApp) {
    let microphone = TrackSource::Microphone;
    let ann = published(app, "webinar-1", "ann", microphone).await;
    let unmute = app
        .mute(ACME, "webinar-1", "ann", &ann, false)
        .header("x-request-id", "req-unmute-ann");
    answer(unmute, 200).await;

    app.apply(&webinar("dry_run", "Only hosts may speak")).await;
    let down = Fault::of(Method::MutePublishedTrack, FaultKind::Unavailable);
    app.simulator.set_faults([down.times(1)]);
    published(app, "webinar-1", "bob", microphone).await;
    published(app, "webinar-1", "bob", TrackSource::ScreenShareAudio).await;
    published(app, "webinar-2", "carl", TrackSource::ScreenShareAudio).await;
    let agent = Join::new("agent").kind(Kind::Agent);
    app.publish("webinar-1", agent, Publish::microphone());
    app.settle().await;

    // The webhook comes late, after a moderator's decision.
    app.simulator.set_webhook_url(None);
    let eve = app.publish("webinar-1", Join::new("eve"), Publish::microphone());
    let unmute = app.mute(ACME, "webinar-1", "eve", &eve.sid, false);
    answer(unmute, 200).await;
    let webhooks = Url::parse(&format!("{}/livekit/webhook", app.url)).unwrap();
    let event = app.simulator.events().pop().unwrap();
    let webhook = app.simulator.signed_webhook(&event).unwrap();
    app.simulator.post_webhook(&webhooks, &webhook, 1).await;
    app.simulator.set_webhook_url(Some(webhooks));
    app.settle().await;

    // What the policies need to know cannot be had until the job's deadline.
    let blind = Fault::of(Method::GetParticipant, FaultKind::Unavailable);
    app.simulator.set_faults([blind]);
    app.publish("webinar-1", Join::new("frank"), Publish::microphone());
    app.simulator.wait_delivered(BOUND).await.unwrap();
    app.settle().await;
    app.simulator.set_faults([]);
}

/// People mute, unmute, are refused, and change policies.
async fn people_act(app: &TestApp) {
    let dora = published(app, "standup", "dora", TrackSource::Microphone).await;
    answer(app.mute(ACME, "standup", "dora", &dora, true), 200).await;
    answer(app.mute(GLOBEX, "standup", "dora", &dora, false), 404).await;
    answer(app.mute(GLOBEX, "guess-1", "dora", &dora, true), 404).await;
    answer(app.mute(GLOBEX, "guess-2", "dora", &dora, true), 404).await;
    answer(app.mute(ACME, "standup", "nobody", &dora, true), 404).await;
    app.simulator.set_enable_remote_unmute(false);
    answer(app.mute(ACME, "standup", "dora", &dora, false), 500).await;
    let carl = published(app, "webinar-2", "carl", TrackSource::Unknown).await;
    let nobody = app
        .http
        .post(format!("{}/livekit/participant/mute", app.url))
        .header("x-request-id", "req-no-id")
        .json(&json!({"room_name": "webinar-2", "participant_identity": "carl", "track_sid": carl, "muted": true}));
    answer(nobody, 200).await;

    let path = "/v1/policies/quiet-nights";
    let policy = |mode| json!({"match": {"room": ["night-*"]}, "effect": "mute", "mode": mode});
    let put = |mode| app.api(Http::PUT, ACME, path).json(&policy(mode));
    answer(put("off"), 201).await;
    answer(put("dry_run").header("if-match", "\"1\""), 200).await;
    let delete = app
        .api(Http::DELETE, ACME, path)
        .header("if-match", "\"2\"");
    answer(delete, 204).await;
}

#[tokio::test]
async fn every_question_of_the_manual_is_answered() {
    let questions = questions();
    assert!(questions.len() >= 12, "{}", questions.len());
    let app = Setup::default()
        .env("AUTH_REQUIRED", "false")
        .env("QUELL_JOB_DEADLINE_SECONDS", "2")
        // The hanging call below hangs until the double is stopped.
        .env("QUELL_LIVEKIT_TIMEOUT_MS", "60000")
        .start()
        .await;
    for (room, tenant) in [
        ("webinar-1", "acme"),
        ("webinar-2", "globex"),
        ("standup", "acme"),
    ] {
        app.room(room, tenant);
    }
    // Nobody is there yet.
    app.sweep().await;
    app.apply(&webinar("dry_run", "Only hosts speak")).await;
    policies_act(&app).await;
    people_act(&app).await;

    let gina = published(&app, "standup", "gina", TrackSource::Microphone).await;
    let hang = Fault::of(Method::MutePublishedTrack, FaultKind::Hang);
    app.simulator.set_faults([hang]);
    let hanging = app.mute(ACME, "standup", "gina", &gina, true).send();
    let (hanging, answers) = tokio::join!(hanging, async {
        let answers = ask_all(&app, &questions).await;
        // Cuts the call that hangs.
        app.simulator.shutdown().await;
        answers
    });
    assert_eq!(hanging.unwrap().status(), 500);
    insta::assert_snapshot!(answers);
    app.finish().await;
}

/// All answers, each below its question; one action is under way.
async fn ask_all(app: &TestApp, questions: &[(&str, &str)]) -> String {
    app.wait_for("an action is under way", async || {
        let open = app.sql("select count(*) from unsettled_actions").await;
        open.as_deref() == Some("1")
    })
    .await;
    let event = app
        .sql("select event_id from webhook_event where identity = 'ann' and event = 'track_published'")
        .await
        .unwrap();
    // Transactions of others in this Postgres hold the tail up.
    app.wait_for("everything is in the tail", async || {
        let held = "select count(*) from moderation_history where txid >= pg_snapshot_xmin(pg_current_snapshot())";
        app.sql(held).await.as_deref() == Some("0")
    })
    .await;
    let mut auditor = app.auditor().await;
    let mut answers = String::new();
    for (heading, query) in questions {
        let query = query.replace("EV_4sQWBKxkXCUN", &event);
        let mut rows = ask(&mut auditor, &query).await;
        if heading.contains("slowest") {
            rows.sort();
        }
        assert!(!rows.is_empty(), "nothing is there to answer: {heading}");
        answers.extend(["# ", heading, "\n", &rows.join("\n"), "\n\n"]);
    }
    answers
}
