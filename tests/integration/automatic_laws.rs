//! The law of delivery: events that come twice, late or in another order change nothing about who
//! ends muted.

use livekit_double::{Join, Publish};
use livekit_protocol::participant_info::Kind;
use livekit_protocol::{TrackSource, WebhookEvent};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::support::TestApp;

const POLICIES: &str = "
policies:
  - { name: mics, match: { type: [AUDIO], source: [MICROPHONE, UNKNOWN] }, unless: { attributes: { role: host } }, effect: mute }
  - { name: phones, owner: acme, match: { kind: [SIP] }, effect: mute }
  - { name: screens, owner: globex, match: { source: [SCREEN_SHARE_AUDIO] }, effect: mute, mode: dry_run }
  - { name: agents, match: { kind: [AGENT] }, effect: exempt, reason: voice agents must be heard }
";
const TENANTS: [&str; 2] = ["acme", "globex"];

/// What happens in a room of three people; one who joins comes back as somebody else.
#[derive(Debug, Clone)]
enum Happening {
    Joins { who: u8, kind: Kind, is_host: bool },
    Publishes { who: u8, source: TrackSource },
    Leaves { who: u8 },
    Unpublishes { who: u8 },
}

/// One room's story, and what becomes of its events on the way.
#[derive(Debug, Clone)]
struct Story {
    tenant: usize,
    happenings: Vec<Happening>,
    /// For each delivery: which event it takes, and to which replica it goes. Events that none of
    /// them takes are delivered after, in order.
    deliveries: Vec<(prop::sample::Index, bool)>,
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..3u8;
    let kind = prop::sample::select(vec![Kind::Standard, Kind::Sip, Kind::Agent]);
    let source = prop::sample::select(vec![
        TrackSource::Microphone,
        TrackSource::Unknown,
        TrackSource::Camera,
        TrackSource::ScreenShareAudio,
    ]);
    prop_oneof![
        3 => (who.clone(), kind, any::<bool>())
            .prop_map(|(who, kind, is_host)| Happening::Joins { who, kind, is_host }),
        6 => (who.clone(), source).prop_map(|(who, source)| Happening::Publishes { who, source }),
        1 => who.clone().prop_map(|who| Happening::Leaves { who }),
        1 => who.prop_map(|who| Happening::Unpublishes { who }),
    ]
}

fn story() -> impl Strategy<Value = Story> {
    (
        0..TENANTS.len(),
        prop::collection::vec(happening(), 1..14),
        prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..24),
    )
        .prop_map(|(tenant, happenings, deliveries)| Story {
            tenant,
            happenings,
            deliveries,
        })
}

/// Plays a story in a room of that name, and returns the events that it caused.
fn play(app: &TestApp, room: &str, story: &Story) -> Vec<WebhookEvent> {
    app.room(room, TENANTS[story.tenant]);
    for who in 0..3u8 {
        app.simulator.join(room, Join::new(who.to_string()));
    }
    for happening in &story.happenings {
        // Who has left does nothing.
        match happening {
            Happening::Joins { who, kind, is_host } => {
                let join = Join::new(who.to_string()).kind(*kind);
                let role = if *is_host { "host" } else { "guest" };
                app.simulator.join(room, join.attribute("role", role));
            }
            Happening::Publishes { who, source } => {
                let publish = Publish::new(*source);
                drop(app.simulator.publish(room, &who.to_string(), publish));
            }
            Happening::Leaves { who } => drop(app.simulator.leave(room, &who.to_string())),
            Happening::Unpublishes { who } => {
                let there = app.simulator.participant(room, &who.to_string());
                if let Some(track) = there.and_then(|there| there.tracks.into_iter().next()) {
                    let taken = app.simulator.unpublish(room, &who.to_string(), &track.sid);
                    taken.unwrap();
                }
            }
        }
    }
    let mut events = app.simulator.events();
    events.retain(|event| event.room.as_ref().is_some_and(|r| r.name == room));
    events
}

/// Every track in the room, and whether it is muted; the same for two rooms of one story.
fn outcome(app: &TestApp, room: &str) -> Vec<(String, TrackSource, bool)> {
    (0..3u8)
        .filter_map(|who| app.simulator.participant(room, &who.to_string()))
        .flat_map(|there| {
            let identity = there.identity;
            let tracks = there.tracks.into_iter();
            tracks.map(move |track| (identity.clone(), track.source(), track.muted))
        })
        .collect()
}

/// Plays each story twice: with its events in order, once each; and as the story says. Rooms are
/// worked on side by side, so that the looks for tracks that are gone cost one wait.
async fn plays_the_same(
    app: &TestApp,
    other: &str,
    stories: &[Story],
    prefix: &str,
) -> Result<(), TestCaseError> {
    let rooms = stories
        .iter()
        .enumerate()
        .map(|(number, story)| async move {
            let (plain, mixed) = (
                format!("{prefix}-{number}-plain"),
                format!("{prefix}-{number}-mixed"),
            );
            for event in play(app, &plain, story) {
                app.post(&app.url, &event).await;
            }
            let events = play(app, &mixed, story);
            let first = story.deliveries.iter().map(|(index, to_other)| {
                let url = if *to_other { other } else { &app.url };
                app.post(url, index.get(&events))
            });
            futures_util::future::join_all(first).await;
            for event in &events {
                app.post(other, event).await;
            }
            (plain, mixed)
        });
    let rooms = futures_util::future::join_all(rooms).await;
    app.settle().await;
    for ((plain, mixed), story) in rooms.iter().zip(stories) {
        prop_assert_eq!(outcome(app, plain), outcome(app, mixed), "{:?}", story);
        let events = |room: &str| {
            let of_room = format!("select count(*) from webhook_event where room_name = '{room}'");
            async move { app.sql(&of_room).await }
        };
        prop_assert_eq!(events(plain).await, events(mixed).await, "each event once");
    }
    Ok(())
}

#[test]
fn duplicate_and_reordered_events_never_change_who_ends_muted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, other) = runtime.block_on(async {
        let mut app = TestApp::new().await;
        app.apply(POLICIES).await;
        app.hold_webhooks();
        let other = app.replica().await;
        (app, other)
    });
    // A case is many stories at once: 36 of them.
    let config = Config {
        cases: 3,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let case = std::cell::Cell::new(0);
    let ran = runner.run(&prop::collection::vec(story(), 12), |stories| {
        case.set(case.get() + 1);
        let prefix = format!("case{}", case.get());
        runtime.block_on(plays_the_same(&app, &other, &stories, &prefix))
    });
    ran.unwrap();
    let muted =
        "select count(*) from moderation_history where action = 'mute' and outcome = 'done'";
    let muted = runtime.block_on(app.sql(muted)).unwrap();
    assert!(
        muted.parse::<u32>().unwrap() > 15,
        "stories in which nobody is muted prove little: {muted}"
    );
    runtime.block_on(app.finish());
}
