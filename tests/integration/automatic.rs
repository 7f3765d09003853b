//! Policies mute by themselves what they forbid, and nothing else.

use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::Kind;
use quell::simulator::{Join, Publish};

use crate::support::TestApp;

const WEBINAR: &str = r#"
policies:
  - name: webinar-mics
    match: { room: ["webinar-*"], type: [AUDIO], source: [MICROPHONE, UNKNOWN] }
    unless: { attributes: { role: host } }
    effect: mute
  - name: agents-may-speak
    match: { kind: [AGENT] }
    effect: exempt
    priority: 1000
    reason: voice agents must be heard
"#;

#[tokio::test]
async fn what_a_policy_forbids_is_muted_and_who_is_spared_is_heard() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    app.room("standup", "acme");
    let host = Join::new("host").attribute("role", "host");
    let cases = [
        ("webinar-1", host, Publish::microphone(), false),
        (
            "webinar-1",
            Join::new("attendee"),
            Publish::microphone(),
            true,
        ),
        (
            "webinar-1",
            Join::new("sourceless"),
            Publish::new(TrackSource::Unknown),
            true,
        ),
        (
            "webinar-1",
            Join::new("filmed"),
            Publish::new(TrackSource::Camera),
            false,
        ),
        (
            "webinar-1",
            Join::new("agent").kind(Kind::Agent),
            Publish::microphone(),
            false,
        ),
        (
            "standup",
            Join::new("colleague"),
            Publish::microphone(),
            false,
        ),
    ];
    let published: Vec<_> = cases
        .into_iter()
        .map(|(room, join, publish, muted)| {
            let identity = join.identity.clone();
            (room, identity, app.publish(room, join, publish).sid, muted)
        })
        .collect();
    app.settle().await;
    for (room, identity, sid, muted) in &published {
        assert_eq!(app.is_muted(room, identity, sid), *muted, "{identity}");
        let settlement = app.settlement(sid).await;
        let expect = if *muted { "muted" } else { "nothing" };
        assert_eq!(settlement.as_deref(), Some(expect), "{identity}");
    }
    let mut history = app.lines("action = 'mute'").await;
    history.sort();
    assert_eq!(
        history,
        [
            "webhook mute done - acme webinar-1 attendee MICROPHONE webinar-mics@1",
            "webhook mute done - acme webinar-1 sourceless UNKNOWN webinar-mics@1",
        ]
    );
    app.finish().await;
}
