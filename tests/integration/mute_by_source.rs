//! `POST /v1/rooms/{room}/participants/{identity}/mute`: a moderator mutes by source.

use livekit_double::{Fault, FaultKind, Join, Method as Call, Publish};
use livekit_protocol::TrackSource;
use reqwest::Method;
use serde_json::{Value, json};

use crate::policies::{JWT_SECRET, jwt};
use crate::support::{ACME, Answer, GLOBEX, Setup, TestApp};

pub(crate) async fn by_source(
    app: &TestApp,
    token: &str,
    room: &str,
    identity: &str,
    body: &Value,
) -> Answer {
    let path = format!("/v1/rooms/{room}/participants/{identity}/mute");
    let request = app.api(Method::POST, token, &path).json(body);
    Answer::to(request.header("X-Request-Id", "by-source")).await
}

/// `phase action outcome source track reason` of all rows, in the order in which they were written.
async fn told(app: &TestApp) -> Vec<String> {
    let rows = "select concat_ws(' ', phase, action, coalesce(outcome, '-'), coalesce(source, '-'),
                       coalesce(track_sid, '-'), coalesce(reason, '-'))
                from audit_log where request_id = 'by-source' order by seq";
    sqlx::query_scalar(rows).fetch_all(&app.pool).await.unwrap()
}

#[tokio::test]
async fn all_tracks_of_a_source_are_muted_each_with_its_rows_and_no_other() {
    let app = Setup::default().start_without_webhooks().await;
    app.room("b/ü", "acme");
    let one = app.publish("b/ü", Join::new("ann/1"), Publish::microphone());
    let publish = |publish| app.simulator.publish("b/ü", "ann/1", publish).unwrap();
    let (two, camera) = (
        publish(Publish::microphone()),
        publish(Publish::new(TrackSource::Camera)),
    );
    let muted = |sid: &str| app.is_muted("b/ü", "ann/1", sid);
    let mute = json!({"source": "MICROPHONE", "muted": true, "reason": "shouts"});
    let answer = by_source(&app, ACME, "b%2F%C3%BC", "ann%2F1", &mute).await;
    let expect = json!({
        "room_name": "b/ü", "participant_identity": "ann/1", "source": "MICROPHONE",
        "tracks": [{"track_sid": one.sid, "muted": true}, {"track_sid": two.sid, "muted": true}],
        "left_off": 0,
    });
    assert_eq!((answer.status, answer.json()), (200, expect));
    assert_eq!(
        [&one, &two, &camera].map(|track| muted(&track.sid)),
        [true, true, false]
    );
    let unmute = json!({"source": "MICROPHONE", "muted": false});
    let answer = by_source(&app, ACME, "b%2F%C3%BC", "ann%2F1", &unmute).await;
    assert_eq!(answer.status, 200);
    assert!(!muted(&one.sid) && !muted(&two.sid));
    let rows = |action: &str, sid: &str, reason: &str| {
        [
            format!("intent {action} - MICROPHONE {sid} {reason}"),
            format!("outcome {action} done MICROPHONE {sid} {reason}"),
        ]
    };
    let expect = [
        rows("mute", &one.sid, "shouts"),
        rows("mute", &two.sid, "shouts"),
        rows("unmute", &one.sid, "-"),
        rows("unmute", &two.sid, "-"),
    ];
    assert_eq!(told(&app).await, expect.concat());
    app.finish().await;
}

#[tokio::test]
async fn a_mute_by_source_that_reaches_nothing_or_is_refused_is_a_row() {
    let app = Setup::default()
        .env("QUELL_JWT_SECRET", JWT_SECRET)
        .start_without_webhooks()
        .await;
    let sid = app.speaker("standup", "acme");
    let mute = |source: &str| json!({"source": source, "muted": true});
    for (token, identity, source, outcome) in [
        (ACME, "speaker", "CAMERA", "404 PARTICIPANT_NOT_FOUND"),
        (ACME, "nobody", "MICROPHONE", "404 PARTICIPANT_NOT_FOUND"),
        (GLOBEX, "speaker", "MICROPHONE", "404 PARTICIPANT_NOT_FOUND"),
        (
            &jwt(Some("audit:read")),
            "speaker",
            "MICROPHONE",
            "403 FORBIDDEN",
        ),
    ] {
        let answer = by_source(&app, token, "standup", identity, &mute(source)).await;
        assert_eq!(answer.outcome(), outcome, "{identity} {source}");
    }
    assert_eq!(
        told(&app).await,
        [
            "outcome mute refused CAMERA - -",
            "outcome mute refused MICROPHONE - -",
            "outcome mute refused MICROPHONE - -",
            "outcome mute refused MICROPHONE - -",
        ]
    );
    let whose = "select string_agg(tenant, ' ') from audit_log";
    assert_eq!(
        app.sql(whose).await.as_deref(),
        Some("\"acme acme acme acme\""),
        "each is a row of the room's tenant"
    );
    for (body, error) in [
        (
            json!({"source": "microphone", "muted": true}),
            "`source` is \"microphone\", but must be one of UNKNOWN",
        ),
        (json!({"muted": true}), "missing field `source`"),
        (json!({"source": "CAMERA"}), "missing field `muted`"),
        (json!({"source": "CAMERA", "muted": "yes"}), "`muted`"),
        (
            json!({"source": "CAMERA", "muted": true, "track_sid": sid}),
            "unknown field `track_sid`",
        ),
        (
            json!({"source": "CAMERA", "muted": true, "reason": 7}),
            "`reason` must be a string",
        ),
    ] {
        let answer = by_source(&app, ACME, "standup", "speaker", &body).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
        assert!(answer.error().contains(error), "{answer:?}");
    }
    let path = "/v1/rooms/standup/participants/speaker/mute";
    let nobody = app.http.post(format!("{}{path}", app.url));
    let answer = Answer::to(nobody.json(&mute("MICROPHONE"))).await;
    assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    let url = format!("{}{path}?api_key={ACME}", app.url);
    let answer = Answer::to(app.http.post(url).json(&mute("MICROPHONE"))).await;
    assert_eq!(
        answer.outcome(),
        "401 UNAUTHORIZED",
        "for the older path only"
    );
    assert!(!app.is_muted("standup", "speaker", &sid));
    app.finish().await;
}

#[tokio::test]
async fn where_one_track_of_a_source_fails_the_others_are_muted_and_the_failure_is_told() {
    let app = Setup::default().start_without_webhooks().await;
    let one = app.speaker("standup", "acme");
    let two = app
        .simulator
        .publish("standup", "speaker", Publish::microphone())
        .unwrap();
    let fault = Fault::of(Call::MutePublishedTrack, FaultKind::Unavailable).times(1);
    app.simulator.set_faults([fault]);
    let mute = json!({"source": "MICROPHONE", "muted": true});
    let answer = by_source(&app, ACME, "standup", "speaker", &mute).await;
    assert_eq!(answer.outcome(), "500 MUTE_FAILED");
    let muted = [&one, &two.sid].map(|sid| app.is_muted("standup", "speaker", sid));
    assert_eq!(muted, [false, true]);
    let outcomes =
        "select string_agg(outcome, ' ' order by seq) from audit_log where phase = 'outcome'";
    let outcomes = app.sql(outcomes).await;
    assert_eq!(outcomes.as_deref(), Some("\"unknown done\""));
    app.finish().await;
}

/// Its publisher decides how many there are.
#[tokio::test]
async fn of_a_great_many_tracks_those_that_are_heard_come_first() {
    let app = Setup::default().start_without_webhooks().await;
    let first = app.speaker("standup", "acme");
    for _ in 1..40 {
        let publish = Publish::microphone();
        app.simulator
            .publish("standup", "speaker", publish)
            .unwrap();
    }
    let mute = json!({"source": "MICROPHONE", "muted": true});
    let heard = || {
        let speaker = app.simulator.participant("standup", "speaker").unwrap();
        speaker.tracks.iter().filter(|track| !track.muted).count()
    };
    for (left_off, left) in [(8, 8), (8, 0)] {
        let answer = by_source(&app, ACME, "standup", "speaker", &mute).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["left_off"], left_off);
        assert_eq!(answer.json()["tracks"].as_array().unwrap().len(), 32);
        assert_eq!(heard(), left);
    }
    assert!(app.is_muted("standup", "speaker", &first));
    app.finish().await;
}

#[tokio::test]
async fn a_mute_of_several_tracks_counts_as_several() {
    let app = Setup::default()
        .env("QUELL_CALLER_MUTES_PER_SECOND", "1")
        .start_without_webhooks()
        .await;
    app.speaker("standup", "acme");
    for _ in 1..10 {
        let publish = Publish::microphone();
        app.simulator
            .publish("standup", "speaker", publish)
            .unwrap();
    }
    let mute = json!({"source": "MICROPHONE", "muted": true});
    let answer = by_source(&app, ACME, "standup", "speaker", &mute).await;
    assert_eq!(answer.status, 200);
    let answer = by_source(&app, ACME, "standup", "speaker", &mute).await;
    assert_eq!(answer.outcome(), "429 TOO_MANY_REQUESTS");
    app.finish().await;
}
