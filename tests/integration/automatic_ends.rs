//! Tracks are gone when LiveKit says so: what ends them ends their jobs.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::WebhookEvent;

use crate::automatic_lookups::microphone;
use crate::support::{Setup, TestApp};

#[tokio::test]
async fn an_event_that_ends_a_track_ends_the_jobs_that_wait_for_it_and_no_others() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    for (ends, gone) in [
        ("track_unpublished", 1),
        ("participant_left", 2),
        ("participant_connection_aborted", 2),
        ("room_finished", 3),
    ] {
        app.room(ends, "acme");
        let mut published = Vec::new();
        for (identity, count) in [("ann", 2), ("ben", 1)] {
            app.simulator.join(ends, Join::new(identity));
            for _ in 0..count {
                let track = app.simulator.publish(ends, identity, Publish::microphone());
                published.push(app.event_of(&track.unwrap().sid));
            }
        }
        for event in &published {
            let track = event.track.as_ref().unwrap();
            let identity = &event.participant.as_ref().unwrap().identity;
            app.simulator.unpublish(ends, identity, &track.sid).unwrap();
            app.post(&app.url, event).await;
        }
        let first = &published[0];
        let end = WebhookEvent {
            event: ends.to_owned(),
            id: format!("EV_{ends}"),
            ..first.clone()
        };
        // Somebody of another session, or in another room, ends nothing.
        let mut other = end.clone();
        other.id = format!("EV_other_{ends}");
        if ends == "room_finished" {
            other.room.as_mut().unwrap().sid = "RM_other".to_owned();
        } else {
            other.participant.as_mut().unwrap().sid = "PA_other".to_owned();
        }
        let settled = format!(
            "select count(*) from webhook_event where settlement = 'gone' and room_name = '{ends}'"
        );
        app.post(&app.url, &other).await;
        assert_eq!(app.sql(&settled).await.as_deref(), Some("0"), "{ends}");
        app.post(&app.url, &end).await;
        assert_eq!(app.sql(&settled).await, Some(gone.to_string()), "{ends}");
        for event in &published {
            app.post(&app.url, &unpublished(event)).await;
        }
        assert_eq!(app.sql(&settled).await.as_deref(), Some("3"), "{ends}");
    }
    app.settle().await;
    assert_eq!(
        app.metric(&app.url, "quell_settled_total{result=\"gone\"}")
            .await,
        12
    );
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_ends_a_track_ends_a_job_whose_mute_failed_too() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let published = app.event_of(&track.sid);
    app.simulator.set_faults([Fault::of(
        Method::MutePublishedTrack,
        FaultKind::Unavailable,
    )]);
    app.post(&app.url, &published).await;
    app.wait_for("mutes came to nothing", async || {
        app.lines("outcome = 'unknown'").await.len() >= 2
    })
    .await;
    app.simulator
        .unpublish("standup", "ann", &track.sid)
        .unwrap();
    app.post(&app.url, &unpublished(&published)).await;
    app.settle().await;
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("gone"));
    app.finish().await;
}

/// People publish and unpublish faster than LiveKit answers.
#[tokio::test]
async fn a_track_that_ends_while_it_is_looked_for_is_not_looked_for_again() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let published = app.event_of(&track.sid);
    let unpublish = app.simulator.unpublish("standup", "ann", &track.sid);
    unpublish.unwrap();
    let late = FaultKind::Latency(Duration::from_millis(300));
    app.simulator
        .set_faults([Fault::of(Method::GetParticipant, late).times(1)]);
    app.post(&app.url, &published).await;
    app.wait_for_calls(Method::GetParticipant, 1).await;
    app.post(&app.url, &unpublished(&published)).await;
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("gone"));
    app.wait_for("the slow call is answered", async || {
        let calls = app.calls_to(Method::GetParticipant);
        calls.iter().all(|call| call.status.is_some())
    })
    .await;
    // Another's record is late, and the room is asked for again: by then the first has had its time too.
    let ahead = app.event_ahead("standup", "ben", microphone("TR_AMlate"));
    app.simulator.join("standup", Join::new("ben"));
    app.post(&app.url, &ahead).await;
    app.wait_for_calls(Method::ListParticipants, 2).await;
    app.post(&app.url, &unpublished(&ahead)).await;
    app.wait_for("nothing waits", async || {
        app.metric(&app.url, "quell_queue_jobs").await == 0
    })
    .await;
    app.finish().await;
}

/// Nothing ends a job while it is acted on: what its end was is asked for then.
#[tokio::test]
async fn a_track_that_ends_while_its_mute_is_under_way_is_gone_where_that_fails() {
    let (app, track) = ended_while_muted().await;
    app.settle().await;
    assert_eq!(app.settlement(&track).await.as_deref(), Some("gone"));
    assert_eq!(app.lines("outcome = 'undecided'").await, [""; 0]);
    app.finish().await;
}

#[tokio::test]
async fn the_end_of_a_track_that_cannot_be_read_is_read_again() {
    let (app, track) = ended_while_muted().await;
    let rename = async |from: &str, to: &str| {
        let rename = format!("alter table webhook_event rename {from} to {to}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(rename))
            .execute(&app.pool)
            .await
            .unwrap();
    };
    rename("body", "other").await;
    let looks = || {
        let methods = [Method::GetParticipant, Method::ListParticipants];
        methods
            .map(|method| app.calls_to(method).len())
            .iter()
            .sum::<usize>()
    };
    let before = looks();
    app.wait_for("the track is looked for in vain, twice", async || {
        looks() >= before + 2
    })
    .await;
    rename("other", "body").await;
    app.settle().await;
    assert_eq!(app.settlement(&track).await.as_deref(), Some("gone"));
    app.finish().await;
}

/// The event that tells of the end of a track.
fn unpublished(published: &WebhookEvent) -> WebhookEvent {
    WebhookEvent {
        event: "track_unpublished".to_owned(),
        id: format!("EV_end_{}", published.id),
        ..published.clone()
    }
}

/// The mute of a track hangs, and meanwhile the track is taken back.
async fn ended_while_muted() -> (TestApp, String) {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "500");
    let app = setup.start().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let published = app.event_of(&track.sid);
    let hangs = Fault::of(Method::MutePublishedTrack, FaultKind::Hang);
    app.simulator.set_faults([hangs.times(1)]);
    app.post(&app.url, &published).await;
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    app.simulator
        .unpublish("standup", "ann", &track.sid)
        .unwrap();
    app.post(&app.url, &unpublished(&published)).await;
    assert_eq!(app.settlement(&track.sid).await, None);
    (app, track.sid)
}

#[tokio::test]
async fn a_room_that_is_over_is_gone_although_livekit_does_not_say_who_is_in_it() {
    let setup = Setup::default().simulator(|simulator| {
        simulator.psrpc_for_participants = true;
        simulator.no_response_after = Duration::from_mins(10);
    });
    let app = setup.start().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    let mut published = Vec::new();
    for (room, settlement) in [("over", "gone"), ("another", "stale"), ("live", "muted")] {
        app.room(room, "acme");
        let track = app.publish(room, Join::new("ann"), Publish::microphone());
        published.push((app.event_of(&track.sid), settlement));
    }
    app.simulator.end_room("over").unwrap();
    app.simulator.end_room("another").unwrap();
    app.room("another", "acme");
    for (event, _) in &published {
        app.post(&app.url, event).await;
    }
    app.post(&app.url, &finished(&app, "over")).await;
    app.settle().await;
    for (event, expected) in published {
        let sid = event.track.unwrap().sid;
        assert_eq!(app.settlement(&sid).await.as_deref(), Some(expected));
    }
    app.finish().await;
}

#[tokio::test]
async fn a_room_that_is_over_is_gone_whatever_livekit_says_of_its_participants() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: all, match: {}, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("over", "acme");
    let track = app.publish("over", Join::new("ann"), Publish::microphone());
    let event = app.event_of(&track.sid);
    app.simulator.end_room("over").unwrap();
    // The failure is there before the room is known to be over.
    let late = FaultKind::Latency(Duration::from_millis(50));
    app.simulator.set_faults([
        Fault::of(Method::ListRooms, late),
        Fault::of(Method::GetParticipant, FaultKind::Unavailable),
    ]);
    app.post(&app.url, &event).await;
    app.wait_for_calls(Method::ListRooms, 1).await;
    app.post(&app.url, &finished(&app, "over")).await;
    app.settle().await;
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("gone"));
    app.finish().await;
}

/// The event that tells of a room's end.
fn finished(app: &TestApp, room: &str) -> WebhookEvent {
    let mut events = app.simulator.events().into_iter();
    let is_it = |event: &WebhookEvent| {
        event.event == "room_finished" && event.room.as_ref().is_some_and(|r| r.name == room)
    };
    events.find(is_it).unwrap()
}
