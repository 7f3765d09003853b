//! LiveKit fails: what is tried again, what is decided in spite of it, and what is given up.

use chrono::DateTime;
use livekit_double::FaultKind::{Cut, Html502, Unavailable};
use livekit_double::{Fault, Join, Method, Publish};
use livekit_protocol::TrackSource;
use quell::access::{Authority, Denied, Verb};
use quell::action::{ActionError, ActionRequest, Cause, Correlation};
use quell::audit::Origin;
use tokio::time::Instant;

use crate::support::{BOUND, Setup, TestApp, owner};

const GUESTS: &str = r#"
policies:
  - { name: guests, match: { room: ["webinar-*"], source: [MICROPHONE] }, unless: { attributes: { role: host } }, effect: mute }
"#;

#[tokio::test]
async fn a_livekit_that_fails_for_a_while_is_asked_until_the_track_is_muted() {
    let app = TestApp::new().await;
    app.apply(GUESTS).await;
    let faults = [
        Fault::all(Unavailable).times(5),
        Fault::of(Method::ListRooms, Html502).times(2),
        Fault::of(Method::GetParticipant, Cut).times(2),
        Fault::of(Method::MutePublishedTrack, Unavailable).times(2),
        // Carried out, but nobody said so.
        Fault::of(Method::MutePublishedTrack, Cut).times(1),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let room = format!("webinar-{number}");
        app.room(&room, "acme");
        app.simulator.set_faults([fault]);
        let sid = app
            .publish(&room, Join::new("ann"), Publish::microphone())
            .sid;
        app.settle().await;
        assert!(app.is_muted(&room, "ann", &sid), "{fault:?}");
        assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
        let lines = app.lines(&format!("room_name = '{room}'")).await;
        let line =
            |outcome| format!("webhook mute {outcome} - acme {room} ann MICROPHONE guests@1");
        let (done, before) = lines.split_last().unwrap();
        assert_eq!(*done, line("done"), "{fault:?}");
        assert!(before.iter().all(|l| *l == line("unknown")), "{lines:?}");
        let is_about_mute = fault.method == Some(Method::MutePublishedTrack);
        let expected = if is_about_mute { fault.times } else { Some(0) };
        assert_eq!(u32::try_from(before.len()).ok(), expected, "{fault:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_decision_that_missing_facts_cannot_change_is_settled_without_them() {
    let app = TestApp::new().await;
    app.apply(
        r#"
policies:
  - { name: acme-mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute }
  - { name: phones, match: { kind: [SIP] }, effect: mute }
  - { name: dry, match: { identity: [bob] }, effect: mute, mode: dry_run }
  - { name: crew, match: { identity: ["crew-*"] }, effect: exempt, reason: they run the show }
"#,
    )
    .await;
    app.room("standup", "acme");
    let cases = [
        // Neither who it is nor whose room it is matters: the operator's exemption beats all.
        (Fault::all(Unavailable), "crew-1", Publish::microphone()),
        (
            Fault::of(Method::ListRooms, Unavailable),
            "ann",
            Publish::new(TrackSource::Camera),
        ),
        (
            Fault::of(Method::ListRooms, Unavailable),
            "bob",
            Publish::new(TrackSource::Camera),
        ),
    ];
    for (fault, identity, publish) in cases {
        let before = app.calls_to(Method::ListRooms).len();
        app.simulator.set_faults([fault]);
        let sid = app.publish("standup", Join::new(identity), publish).sid;
        app.settle().await;
        assert_eq!(app.settlement(&sid).await.as_deref(), Some("nothing"));
        assert_eq!(
            app.calls_to(Method::ListRooms).len(),
            before + 1,
            "one look"
        );
        let facts = app.stored("facts", &sid).await;
        assert_eq!(
            facts["room"].get("tenant"),
            None,
            "what is unknown is absent"
        );
    }
    // Whose room it is was not known, so the row is the operator's.
    let dry = "webhook mute dry_run - - standup bob CAMERA dry@1";
    assert_eq!(app.history().await.last().unwrap(), dry);
    app.finish().await;
}

/// A quell that gives up after a second.
async fn impatient() -> TestApp {
    let setup = Setup::default().env("QUELL_JOB_DEADLINE_SECONDS", "1");
    let app = setup.start().await;
    app.apply(GUESTS).await;
    app.room("webinar-1", "acme");
    app
}

#[tokio::test]
async fn facts_that_cannot_be_had_until_the_deadline_leave_the_job_undecided() {
    let app = impatient().await;
    app.simulator
        .set_faults([Fault::of(Method::GetParticipant, Unavailable)]);
    let sid = app
        .publish("webinar-1", Join::new("ann"), Publish::microphone())
        .sid;
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("undecided"));
    let decision = app.stored("decision", &sid).await;
    assert_eq!(decision["enforced"]["verdict"], "indeterminate");
    assert_eq!(app.stored("facts", &sid).await["room"]["tenant"], "acme");
    let job = app.sql("select state || ':' || last_error from job").await;
    let job = job.unwrap();
    assert!(
        job.contains("dead:LiveKit answered GetParticipant with 503"),
        "{job}"
    );
    assert_eq!(
        app.history().await.last().unwrap(),
        "webhook decide undecided - acme webinar-1 ann MICROPHONE -"
    );
    let error = app.sql("select error from failed_actions").await.unwrap();
    assert!(error.contains("given up after "), "{error}");
    assert_eq!(app.calls_to(Method::MutePublishedTrack), []);
    assert!(
        app.calls_to(Method::GetParticipant).len() > 1,
        "tried again"
    );
    assert_eq!(
        app.metric(&app.url, "quell_settled_total{result=\"undecided\"}")
            .await,
        1
    );
    app.finish().await;
}

#[tokio::test]
async fn a_mute_that_does_not_succeed_until_the_deadline_is_a_dead_letter() {
    // Whether it is the mute itself that fails, or the look that it needs first.
    for method in [Method::MutePublishedTrack, Method::ListRooms] {
        let app = impatient().await;
        app.simulator.set_faults([Fault::of(method, Unavailable)]);
        let sid = app
            .publish("webinar-1", Join::new("ann"), Publish::microphone())
            .sid;
        app.settle().await;
        assert_eq!(
            app.settlement(&sid).await.as_deref(),
            Some("dead_letter"),
            "{method:?}"
        );
        assert_eq!(
            app.sql("select state from job").await.as_deref(),
            Some("dead")
        );
        let tenant = if method == Method::ListRooms {
            "-"
        } else {
            "acme"
        };
        let line = |outcome| {
            format!("webhook mute {outcome} - {tenant} webinar-1 ann MICROPHONE guests@1")
        };
        let history = app.lines("action = 'mute'").await;
        let outcome = if method == Method::ListRooms {
            "failed"
        } else {
            "unknown"
        };
        assert!(
            !history.is_empty() && history.iter().all(|it| *it == line(outcome)),
            "{history:?}"
        );
        let given_up = "select count(*) from failed_actions where error like 'given up after %'";
        assert_eq!(app.sql(given_up).await.as_deref(), Some("1"));
        let calls = app.calls_to(Method::MutePublishedTrack).len();
        // One row for each call that failed, and one for giving up.
        assert_eq!(history.len(), calls + 1);
        app.finish().await;
    }
}

#[tokio::test]
async fn a_policy_acts_only_where_its_owner_may_at_that_moment() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, owner: acme, match: {}, effect: mute }]")
        .await;
    app.room("standup", "acme");
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, Unavailable)]);
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    // While it is tried again, the room becomes another tenant's.
    app.room("standup", "globex");
    app.simulator.set_faults([]);
    app.settle().await;
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("nothing"));
    assert!(!app.is_muted("standup", "ann", &track.sid));
    assert_eq!(
        app.lines("outcome = 'done' and action = 'mute'").await,
        Vec::<String>::new()
    );
    app.finish().await;
}

#[tokio::test]
async fn a_policy_of_another_tenant_than_the_rooms_gets_no_permit() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("standup", "globex");
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let runner = app.state().runner.clone().unwrap();
    let deadline = Instant::now() + BOUND;
    let room = runner
        .livekit
        .room("standup", deadline)
        .await
        .unwrap()
        .unwrap();
    let cause = Cause {
        origin: Origin::Webhook,
        correlation: Correlation::Event("EV_1".to_owned()),
        arrived: Instant::now(),
    };
    let request = ActionRequest {
        verb: Verb::Mute,
        authority: Authority::Policy {
            owner: owner(Some("acme")),
            as_of: DateTime::UNIX_EPOCH,
        },
        cause: &cause,
        room: &room,
        identity: "ann",
        track: &track,
        fetched_at: Instant::now(),
        policy: None,
        deadline,
        repeats: None,
        job: None,
    };
    let refused = runner.run(&request).await.unwrap_err();
    assert!(
        matches!(refused, ActionError::Denied(Denied::OtherTenant)),
        "{refused}"
    );
    assert_eq!(app.calls_to(Method::MutePublishedTrack), []);
    // The row belongs to the room's tenant: the one refused never sees it.
    assert_eq!(
        app.history().await,
        ["webhook mute refused - globex standup ann MICROPHONE -"]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_job_whose_end_postgres_refuses_to_store_is_tried_again_and_given_up_at_its_deadline() {
    let app = impatient().await;
    // Facts can hold what nobody thought of; here the refusal is made by hand.
    sqlx::raw_sql("alter table webhook_event add check (facts is null)")
        .execute(&app.pool)
        .await
        .unwrap();
    let sid = app
        .publish("webinar-1", Join::new("ann"), Publish::microphone())
        .sid;
    app.settle().await;
    assert!(app.is_muted("webinar-1", "ann", &sid));
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("dead_letter"));
    let job = app.sql("select state || ':' || last_error from job").await;
    let job = job.unwrap();
    assert!(job.contains("dead:it could not be settled"), "{job}");
    app.finish().await;
}
