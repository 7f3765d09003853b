//! What is asked of LiveKit before a decision, and what becomes of rooms and tracks that are not
//! what the event told.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::{TrackInfo, TrackSource};

use crate::support::{Setup, TestApp};

const OPERATORS: &str = r#"
policies:
  - { name: webinar, match: { room: ["webinar-*"], type: [AUDIO] }, effect: mute }
  - { name: guests, match: { identity: ["guest-*"] }, effect: mute }
  - { name: agents, match: { kind: [AGENT] }, effect: exempt, reason: voice agents must be heard }
"#;

#[tokio::test]
async fn operators_policies_that_are_about_other_tracks_ask_livekit_nothing() {
    let app = TestApp::new().await;
    app.apply(OPERATORS).await;
    app.room("webinar-1", "acme");
    app.room("standup", "acme");
    let filmed = Publish::new(TrackSource::Camera);
    let camera = app.publish("webinar-1", Join::new("filmed"), filmed).sid;
    let elsewhere = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    for sid in [&camera, &elsewhere.sid] {
        assert_eq!(app.settlement(sid).await.as_deref(), Some("nothing"));
    }
    assert_eq!(app.simulator.calls(), []);
    // One that matches is asked about: who it is, and whose room.
    app.publish("webinar-1", Join::new("bob"), Publish::microphone());
    app.settle().await;
    let asked: Vec<_> = app.simulator.calls().iter().map(|c| c.method).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked.last(), Some(&"MutePublishedTrack"));
    app.finish().await;
}

#[tokio::test]
async fn where_any_tenant_has_a_live_policy_the_room_is_asked_for_its_tenant() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: off, owner: acme, match: {}, effect: mute, mode: off }]")
        .await;
    app.room("standup", "acme");
    app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    assert_eq!(app.simulator.calls(), [], "no policy is live");
    app.apply("policies: [{ name: on, owner: globex, match: {}, effect: mute }]")
        .await;
    let bob = app.publish("standup", Join::new("bob"), Publish::microphone());
    app.settle().await;
    assert_eq!(app.calls_to(Method::ListRooms).len(), 1);
    assert_eq!(app.calls_to(Method::GetParticipant).len(), 1);
    assert_eq!(app.settlement(&bob.sid).await.as_deref(), Some("nothing"));
    assert_eq!(
        app.stored("facts", &bob.sid).await["room"]["tenant"],
        "acme"
    );
    app.finish().await;
}

#[tokio::test]
async fn an_event_of_a_room_whose_name_is_another_rooms_now_is_stale() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("webinar-1", "acme");
    let known = Publish {
        sid: Some("TR_AMtwice".to_owned()),
        ..Publish::microphone()
    };
    app.publish("webinar-1", Join::new("ann"), known.clone());
    let event = app.event_of("TR_AMtwice");
    // Even the same participant and the same track are not what the event told of.
    app.simulator.end_room("webinar-1").unwrap();
    app.room("webinar-1", "globex");
    app.publish("webinar-1", Join::new("ann"), known);
    app.post(&app.url, &event).await;
    app.settle().await;
    assert_eq!(app.settlement("TR_AMtwice").await.as_deref(), Some("stale"));
    assert!(!app.is_muted("webinar-1", "ann", "TR_AMtwice"));
    assert_eq!(app.calls_to(Method::MutePublishedTrack), []);
    assert_eq!(app.lines("action = 'mute'").await, Vec::<String>::new());
    // The other room's tenant is no fact of this event.
    let tenant =
        app.sql("select coalesce(tenant, '-') from webhook_event where track_sid is not null");
    assert_eq!(tenant.await.as_deref(), Some("-"));
    app.finish().await;
}

#[tokio::test]
async fn a_track_that_livekit_does_not_show_yet_is_looked_for_again() {
    for joins_late in [false, true] {
        let app = TestApp::new().await;
        app.apply("policies: [{ name: all, match: { kind: [STANDARD] }, effect: mute }]")
            .await;
        app.hold_webhooks();
        app.room("webinar-1", "acme");
        if !joins_late {
            app.simulator.join("webinar-1", Join::new("ann"));
        }
        app.post(
            &app.url,
            &app.event_ahead("webinar-1", "ann", microphone("TR_AMlate")),
        )
        .await;
        app.wait_for_calls(Method::GetParticipant, 1).await;
        if joins_late {
            app.simulator.join("webinar-1", Join::new("ann"));
        }
        let late = Publish {
            sid: Some("TR_AMlate".to_owned()),
            ..Publish::microphone()
        };
        app.simulator.publish("webinar-1", "ann", late).unwrap();
        app.settle().await;
        assert_eq!(app.settlement("TR_AMlate").await.as_deref(), Some("muted"));
        assert!(app.is_muted("webinar-1", "ann", "TR_AMlate"));
        app.finish().await;
    }
}

/// LiveKit may take longer to answer than a change of policies takes to be in force.
#[tokio::test]
async fn a_policy_that_changes_while_livekit_is_asked_decides_as_it_is_then() {
    for (before, after, settlement) in [("enforce", "off", "nothing"), ("off", "enforce", "muted")]
    {
        let app = TestApp::new().await;
        let policies = |mode| {
            format!(
                "policies: [{{ name: all, match: {{ kind: STANDARD }}, effect: mute, mode: {mode} }}, \
                 {{ name: other, owner: acme, match: {{ room: none }}, effect: mute }}]"
            )
        };
        app.apply(&policies(before)).await;
        app.hold_webhooks();
        app.room("webinar-1", "acme");
        let sid = app
            .publish("webinar-1", Join::new("ann"), Publish::microphone())
            .sid;
        let slow = FaultKind::Latency(Duration::from_secs(3));
        app.simulator
            .set_faults([Fault::of(Method::GetParticipant, slow).times(1)]);
        app.post(&app.url, &app.event_of(&sid)).await;
        app.wait_for_calls(Method::GetParticipant, 1).await;
        app.apply(&policies(after)).await;
        app.settle().await;
        assert_eq!(app.settlement(&sid).await.as_deref(), Some(settlement));
        assert_eq!(
            app.is_muted("webinar-1", "ann", &sid),
            settlement == "muted"
        );
        app.finish().await;
    }
}

/// A record of LiveKit's may be seconds late: what is not shown is not gone.
#[tokio::test]
async fn what_livekit_never_shows_is_undecided_at_the_deadline_with_a_row() {
    let setup = Setup::default().env("QUELL_JOB_DEADLINE_SECONDS", "1");
    let app = setup.start().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    for room in ["no-track", "no-participant", "no-room"] {
        app.room(room, "acme");
        let sid = app
            .publish(room, Join::new("ann"), Publish::microphone())
            .sid;
        match room {
            "no-track" => app.simulator.unpublish(room, "ann", &sid).unwrap(),
            "no-participant" => app.simulator.leave(room, "ann").unwrap(),
            _ => app.simulator.end_room(room).unwrap(),
        }
        app.post(&app.url, &app.event_of(&sid)).await;
    }
    app.settle().await;
    let undecided = "select count(*) from webhook_event where settlement = 'undecided'";
    assert_eq!(app.sql(undecided).await.as_deref(), Some("3"));
    for room in ["no-track", "no-participant"] {
        let of_room = |method| {
            let calls = app.calls_to(method).into_iter();
            calls.filter(|call| call.room == room).count()
        };
        // At once, and then after 50 and 250 ms and at the deadline, with all that its room waits for.
        assert_eq!(of_room(Method::GetParticipant), 1, "{room}");
        assert_eq!(of_room(Method::ListParticipants), 3, "{room}");
    }
    assert_eq!(app.calls_to(Method::MutePublishedTrack), []);
    let mut rows = app.lines("action <> 'policy.create'").await;
    rows.sort();
    let row = |room, tenant| format!("webhook decide undecided - {tenant} {room} ann MICROPHONE -");
    assert_eq!(
        rows,
        [
            row("no-room", "-"),
            row("no-participant", "acme"),
            row("no-track", "acme")
        ]
    );
    let why = app.sql("select distinct error from failed_actions").await;
    assert!(why.unwrap().contains("LiveKit does not show the track"));
    assert_eq!(
        app.metric(&app.url, "quell_settled_total{result=\"undecided\"}")
            .await,
        3
    );
    app.finish().await;
}

#[tokio::test]
async fn a_record_that_livekit_writes_seconds_late_leaves_no_microphone_open() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("webinar-1", "acme");
    app.simulator.join("webinar-1", Join::new("ann"));
    app.post(
        &app.url,
        &app.event_ahead("webinar-1", "ann", microphone("TR_AMlate")),
    )
    .await;
    // Later than 1.25 s after the webhook.
    app.wait_for_calls(Method::ListParticipants, 3).await;
    let late = Publish {
        sid: Some("TR_AMlate".to_owned()),
        ..Publish::microphone()
    };
    app.simulator.publish("webinar-1", "ann", late).unwrap();
    app.settle().await;
    assert!(app.is_muted("webinar-1", "ann", "TR_AMlate"));
    assert_eq!(app.settlement("TR_AMlate").await.as_deref(), Some("muted"));
    app.finish().await;
}

pub(crate) fn microphone(sid: &str) -> TrackInfo {
    TrackInfo {
        sid: sid.to_owned(),
        source: TrackSource::Microphone.into(),
        ..TrackInfo::default()
    }
}
