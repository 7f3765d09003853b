//! Plans: what a draft would do to who is live, and that it is what apply and the next sweep do.

use std::collections::BTreeSet;

use livekit_double::{Fault, FaultKind, Join, Publish, Simulator};
use livekit_protocol::TrackSource;
use quell::audit::{Actor, Origin};
use quell::policy_store::{self, Author, ChangeError};
use quell_policy::Document;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{ACME, Answer, BOUND, GLOBEX, OPERATOR, Setup, TestApp};

impl TestApp {
    async fn try_plan(&self, token: &str, query: &str, body: &Value) -> Answer {
        let path = format!("/v1/plan{query}");
        Answer::to(self.api(Method::POST, token, &path).json(body)).await
    }

    async fn plan(&self, token: &str, query: &str, body: &Value) -> Value {
        let answer = self.try_plan(token, query, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// The tracks of one kind that a plan names.
fn named(plan: &Value, kind: &str) -> BTreeSet<String> {
    let rooms = plan["rooms"].as_array().unwrap().iter();
    let tracks = rooms.flat_map(|room| room[kind].as_array().cloned().unwrap_or_default());
    tracks
        .map(|track| track["track_sid"].as_str().unwrap().to_owned())
        .collect()
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let sides = u64::try_from(of.len()).unwrap();
        &of[usize::try_from((self.0 >> 33) % sides).unwrap()]
    }
}

const ROOMS: usize = 10;
const IDENTITIES: [&str; 3] = ["ann", "ben", "host-1"];
const SOURCES: [TrackSource; 2] = [TrackSource::Microphone, TrackSource::Camera];

/// Policies about some of the rooms.
fn draft(dice: &mut Dice) -> Vec<Value> {
    let rooms = [
        json!([]),
        json!(["r-1*"]),
        json!(["r-2", "r-3"]),
        json!(["*-5"]),
    ];
    let whos = [json!([]), json!(["ann"]), json!(["host-*"])];
    let sources = [json!([]), json!(["MICROPHONE"]), json!(["CAMERA"])];
    let conditions = [
        None,
        None,
        Some("room.num_participants == 3"),
        Some("participant.identity != 'ben'"),
    ];
    let times = [
        None,
        None,
        Some("2020-01-01T00:00:00Z"),
        Some("2120-01-01T00:00:00Z"),
    ];
    (0..4)
        .map(|n| {
            let effect = *dice.roll(&["mute", "mute", "exempt"]);
            let mut policy = json!({
                "name": format!("p{n}"), "effect": effect, "priority": dice.roll(&[0, 50, 100]),
                "mode": dice.roll(&["enforce", "enforce", "dry_run", "off"]),
                "match": {"room": dice.roll(&rooms), "identity": dice.roll(&whos), "source": dice.roll(&sources),
                          "type": ["AUDIO", "VIDEO"]},
            });
            let matches = policy["match"].as_object_mut().unwrap();
            matches.retain(|_, values| values != &json!([]));
            for (key, value) in [("when", *dice.roll(&conditions)), ("not_before", *dice.roll(&times))] {
                if let Some(value) = value {
                    policy[key] = json!(value);
                }
            }
            if effect == "exempt" {
                policy["reason"] = json!("hosts speak");
            }
            policy
        })
        .collect()
}

/// Whose room it is.
fn tenant_of(room: &str) -> &'static str {
    let is_odd = room.ends_with(['1', '3', '5', '7', '9']);
    if is_odd { "globex" } else { "acme" }
}

fn author() -> Author<'static> {
    Author {
        origin: Origin::Cli,
        actor: Actor::CommandLine("cli:test".to_owned()),
        request: None,
    }
}

#[tokio::test]
async fn what_a_plan_names_is_what_apply_and_the_next_sweep_mute() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    let mut tracks = Vec::new();
    for n in 0..ROOMS {
        let room = format!("r-{n}");
        app.room(&room, tenant_of(&room));
        for identity in IDENTITIES {
            app.simulator.join(&room, Join::new(identity));
            for source in SOURCES {
                let track = app.simulator.publish(&room, identity, Publish::new(source));
                tracks.push((room.clone(), identity, track.unwrap().sid));
            }
        }
    }
    // A person lets her speak, whatever policies say.
    let (room, identity, spoken) = tracks[0].clone();
    let unmute = app.mute(ACME, &room, identity, &spoken, false);
    assert_eq!(unmute.send().await.unwrap().status(), StatusCode::OK);
    let muted = || -> BTreeSet<String> {
        let is_muted =
            |(room, identity, sid): &&(String, &str, String)| app.is_muted(room, identity, sid);
        tracks
            .iter()
            .filter(is_muted)
            .map(|(.., sid)| sid.clone())
            .collect()
    };
    let mut dice = Dice(7);
    let (mut silenced, mut released, mut stayed) = (0, 0, 0);
    for round in 0..20 {
        // Some unmute themselves, so that there is something to silence.
        for (room, identity, sid) in &tracks {
            if *dice.roll(&[true, false]) {
                app.simulator
                    .set_self_muted(room, identity, sid, false)
                    .unwrap();
            }
        }
        let policies = draft(&mut dice);
        // An operator's, or a tenant's own: that is about its rooms.
        let (token, owner) = *dice.roll(&[
            (OPERATOR, None),
            (ACME, Some("acme")),
            (GLOBEX, Some("globex")),
        ]);
        if let Some(owner) = owner {
            app.sweep().await;
            let own = tracks.iter().filter(|(room, ..)| tenant_of(room) == owner);
            for (room, identity, sid) in own {
                app.simulator
                    .set_self_muted(room, identity, sid, *dice.roll(&[true, false]))
                    .unwrap();
            }
        }
        let body = json!({ "policies": policies, "alone": false });
        let plan = app.plan(token, "", &body).await;
        let before = muted();
        let mut policies = policies;
        for policy in &mut policies {
            if let Some(owner) = owner {
                policy["owner"] = json!(owner);
            }
        }
        let text = json!({ "policies": policies }).to_string();
        let document = Document::load([("draft.yaml", text.as_str())]).map_err(|e| e.to_string());
        let policies = document.unwrap().value.policies;
        let snapshot = plan["snapshot"].as_i64();
        assert_eq!(snapshot.is_some(), owner.is_none());
        policy_store::apply(&app.state().pool, &author(), &policies, None, snapshot)
            .await
            .unwrap();
        app.state()
            .policies
            .refresh(&app.state().pool)
            .await
            .unwrap();
        app.sweep().await;
        let now_muted: BTreeSet<_> = muted().difference(&before).cloned().collect();
        assert_eq!(named(&plan, "would_silence"), now_muted, "{round} {plan:#}");
        for (kind, count) in [
            ("would_silence", &mut silenced),
            ("no_longer_forbidden", &mut released),
            ("stays_silent", &mut stayed),
        ] {
            let names = named(&plan, kind);
            assert_eq!(plan["counts"][kind], json!(names.len()));
            *count += names.len();
        }
        assert!(named(&plan, "stays_silent").is_subset(&before));
        assert!(!now_muted.contains(&spoken));
    }
    assert!(
        silenced > 50 && released > 50 && stayed > 10,
        "{silenced} {released} {stayed}"
    );
    app.finish().await;
}

const MICS: &str = "{ name: mics, match: { source: [MICROPHONE] }, effect: mute }";

#[tokio::test]
async fn a_tenant_sees_its_own_rooms_and_nobody_asks_for_others_participants() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    for (room, tenant) in [("a", "acme"), ("b", "globex"), ("c", "acme")] {
        app.room(room, tenant);
        app.publish(room, Join::new("ann"), Publish::microphone());
    }
    app.apply(&format!("policies: [{MICS}]")).await;
    let body = json!({ "policies": [{"name": "mics", "match": {"source": ["MICROPHONE"]}, "effect": "exempt", "reason": "x"}] });
    let plan = app.plan(ACME, "", &body).await;
    let rooms: Vec<_> = plan["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| &room["room"])
        .collect();
    assert_eq!(rooms, ["a", "c"]);
    assert_eq!(plan["counts"]["rooms"], 2);
    assert_eq!(plan["policies"][0]["change"], "created");
    // The operator's mute cannot be overridden.
    assert_eq!(plan["counts"]["would_silence"], 2);
    assert_eq!(
        plan["rooms"][0]["would_silence"][0]["policy"],
        json!({"owner": null, "name": "mics"})
    );
    assert!(plan.get("snapshot").is_none() && plan["rooms"][0].get("tenant").is_none());
    let asked = app.simulator.calls();
    let asked = asked
        .iter()
        .filter(|call| call.method == "ListParticipants");
    let asked: BTreeSet<_> = asked.map(|call| call.room.clone()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // An operator sees all, or a tenant's.
    let all = app.plan(OPERATOR, "", &json!({"policies": [{"name": "x", "match": {"source": ["CAMERA"]}, "effect": "mute"}]})).await;
    assert_eq!(all["counts"]["would_silence"], 3);
    let theirs = app.plan(OPERATOR, "?owner=globex", &json!({"policies": [{"name": "x", "match": {"source": ["CAMERA"]}, "effect": "mute"}]})).await;
    assert_eq!(theirs["rooms"][0]["room"], "b");
    assert_eq!(theirs["rooms"][0]["tenant"], "globex");
    // Nothing was written, and nobody muted.
    assert_eq!(app.lines("origin = 'sweep'").await, [""; 0]);
    assert_eq!(app.count("select count(*) from swept_track").await, 0);
    for refused in [
        json!({}),
        json!({"policies": [], "without": ["nobody"]}),
        json!({"alone": true, "without": ["mics"]}),
        json!({"polices": []}),
    ] {
        let answer = app.try_plan(ACME, "", &refused).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{refused}");
    }
    let invalid = json!({"policies": [{"name": "x"}]});
    let invalid = app.try_plan(ACME, "", &invalid).await;
    assert_eq!(invalid.outcome(), "400 INVALID_POLICY");
    let other = app.try_plan(GLOBEX, "?owner=acme", &body).await;
    assert_eq!(other.outcome(), "403 FORBIDDEN");
    assert_eq!(app.try_plan("nobody", "", &body).await.status, 401);
    app.finish().await;
}

#[tokio::test]
async fn a_thousand_tracks_are_named_and_all_are_counted() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    for n in 0..13 {
        let room = format!("room-{n:02}");
        app.room(&room, "acme");
        for who in 0..100 {
            app.publish(&room, Join::new(format!("p{who}")), Publish::microphone());
        }
    }
    let body = json!({ "policies": [{"name": "mics", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}] });
    let first = app.plan(OPERATOR, "", &body).await;
    assert_eq!(named(&first, "would_silence").len(), 1_000);
    assert_eq!(first["counts"]["would_silence"], 1_300);
    assert_eq!(first["next"], "room-09");
    assert_eq!(first["is_whole"], true);
    let mut body = body;
    body["after"] = first["next"].clone();
    let second = app.plan(OPERATOR, "", &body).await;
    assert_eq!(named(&second, "would_silence").len(), 300);
    assert_eq!(second["counts"]["rooms"], 3);
    assert!(second.get("next").is_none());
    app.finish().await;
}

#[tokio::test]
async fn apply_refuses_a_plan_that_is_stale() {
    let app = TestApp::new().await;
    let document = Document::load([("a.yaml", &*format!("policies: [{MICS}]"))]);
    let policies = document.map_err(|e| e.to_string()).unwrap().value.policies;
    let pool = &app.state().pool;
    policy_store::apply(pool, &author(), &policies, None, Some(0))
        .await
        .unwrap();
    let stale = policy_store::apply(pool, &author(), &policies, None, Some(0)).await;
    assert!(matches!(stale, Err(ChangeError::PlanStale)), "{stale:?}");
    app.finish().await;
}

#[tokio::test]
async fn without_livekit_there_is_no_plan() {
    let app = Setup::default().without("LIVEKIT_URL").start().await;
    let body = json!({ "policies": [{"name": "mics", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}] });
    let answer = app.try_plan(ACME, "", &body).await;
    assert_eq!(answer.outcome(), "503 LIVEKIT_NOT_CONFIGURED");
    app.finish().await;
}

#[tokio::test]
async fn one_plan_is_made_at_a_time() {
    let app = TestApp::new().await;
    let body = json!({ "policies": [{"name": "mics", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}] });
    app.simulator.set_faults([Fault {
        method: Some(livekit_double::Method::ListRooms),
        kind: FaultKind::Hang,
        times: None,
    }]);
    let first = JoinSet::from_iter([Answer::to(
        app.api(Method::POST, ACME, "/v1/plan").json(&body),
    )]);
    let is_asked = |simulator: &Simulator| !simulator.calls().is_empty();
    app.simulator.wait_until(BOUND, is_asked).await.unwrap();
    let busy = app.try_plan(ACME, "", &body).await;
    assert_eq!(busy.outcome(), "429 PLAN_BUSY");
    assert_eq!(busy.header("retry-after"), Some("10"));
    drop(first);
    app.simulator.set_faults([]);
    app.wait_for("the slot is free", async || {
        app.try_plan(ACME, "", &body).await.status == 200
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_room_with_more_tracks_than_a_plan_names_is_cut() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("large", "acme");
    for who in 0..1_010 {
        app.publish("large", Join::new(format!("p{who}")), Publish::microphone());
    }
    app.room("small", "acme");
    app.publish("small", Join::new("ann"), Publish::microphone());
    let body = json!({ "policies": [{"name": "mics", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}] });
    let plan = app.plan(ACME, "", &body).await;
    assert_eq!(named(&plan, "would_silence").len(), 1_000);
    assert_eq!(plan["rooms"][0]["left_off"], 10);
    assert_eq!(
        (&plan["counts"]["would_silence"], &plan["next"]),
        (&json!(1_011), &json!("large"))
    );
    app.finish().await;
}
