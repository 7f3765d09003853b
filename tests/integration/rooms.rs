//! `/v1/rooms`: which rooms are live, who is in one with which tracks, and what policies say of each.

use std::time::{Duration, Instant};

use livekit_double::{Fault, FaultKind, Join, Method as Call, Publish, Simulator};
use livekit_protocol::TrackSource;
use reqwest::Method;
use serde_json::{Value, json};

use crate::explain::WEBINAR;
use crate::mute_by_source::by_source;
use crate::policies::{JWT_SECRET, jwt};
use crate::support::{ACME, Answer, BOUND, GLOBEX, OPERATOR, Setup, TestApp};

async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    Answer::to(app.api(Method::GET, token, &format!("/v1/rooms{path}"))).await
}

/// The names of a page, and where the next one begins.
fn names(page: &Value, list: &str, name: &str) -> (Vec<String>, Option<String>) {
    let all = page[list].as_array().unwrap().iter();
    let all = all.map(|it| it[name].as_str().unwrap().to_owned());
    (
        all.collect(),
        page["next_cursor"].as_str().map(str::to_owned),
    )
}

#[tokio::test]
async fn a_tenant_lists_its_own_rooms_and_an_operator_all_page_by_page() {
    let app = Setup::default().start_without_webhooks().await;
    for (room, tenant) in [
        ("c", "acme"),
        ("a", "acme"),
        ("x", "globex"),
        ("b/ü", "acme"),
    ] {
        app.room(room, tenant);
    }
    app.simulator.create_room("nobodys", None);
    for (token, query, expect) in [
        (ACME, "", vec!["a", "b/ü", "c"]),
        (ACME, "?tenant=acme", vec!["a", "b/ü", "c"]),
        (GLOBEX, "", vec!["x"]),
        (OPERATOR, "", vec!["a", "b/ü", "c", "nobodys", "x"]),
        (OPERATOR, "?tenant=globex", vec!["x"]),
        (OPERATOR, "?tenant=initech", vec![]),
    ] {
        let page = get(&app, token, query).await.json();
        let listed = names(&page, "rooms", "room_name");
        assert_eq!(
            (listed.0, listed.1),
            (expect.into_iter().map(str::to_owned).collect(), None),
            "{query}"
        );
    }
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&app, OPERATOR, &format!("?limit=2{cursor}"))
            .await
            .json();
        let (listed, next) = names(&page, "rooms", "room_name");
        pages.push(listed.join(" "));
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, ["a b/ü", "c nobodys", "x"]);
    let rooms = get(&app, ACME, "?limit=1").await.json();
    let room = app.simulator.room("a").unwrap();
    assert_eq!(rooms["rooms"][0]["room_sid"], room.sid);
    assert_eq!(rooms["rooms"][0]["tenant"], "acme");
    assert_eq!(rooms["skipped"], 0);
    for (query, outcome, error) in [
        ("?limit=0", "400 INVALID_REQUEST", "`limit` is 0"),
        ("?cursor=x", "400 INVALID_REQUEST", "`cursor` is none"),
        ("?owner=acme", "400 INVALID_REQUEST", "unknown field"),
        ("?tenant=%20", "400 INVALID_REQUEST", "`tenant` "),
        ("?tenant=globex", "403 FORBIDDEN", "only an operator"),
        ("/a?tenant=acme", "400 INVALID_REQUEST", "unknown field"),
        ("/a?cursor=x", "400 INVALID_REQUEST", "`cursor` is none"),
    ] {
        let answer = get(&app, ACME, query).await;
        assert_eq!(answer.outcome(), outcome, "{query}");
        assert!(answer.error().contains(error), "{query}: {answer:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_room_shows_who_is_in_it_and_what_policies_say_of_each_track() {
    let app = Setup::default()
        .env("QUELL_JWT_SECRET", JWT_SECRET)
        .start_without_webhooks()
        .await;
    app.apply(&format!(
        "{WEBINAR}
  - name: coaches-speak
    match: {{ attributes: {{ role: coach }} }}
    effect: exempt
    priority: 900
    reason: the house's business
"
    ))
    .await;
    app.room("webinar-1", "acme");
    let mic = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    let camera = Publish::new(TrackSource::Camera);
    let camera = app.simulator.publish("webinar-1", "ann", camera).unwrap();
    let host = Join::new("zoe").attribute("role", "coach");
    let hosts = app.publish("webinar-1", host, Publish::microphone());
    app.simulator.join("webinar-1", Join::new("listener"));
    let mut bot = Join::new("bot");
    bot.hidden = true;
    app.publish("webinar-1", bot, Publish::microphone());

    let room = get(&app, ACME, "/webinar-1").await.json();
    assert_eq!(room["room_name"], "webinar-1");
    assert_eq!(
        (&room["num_participants"], &room["num_publishers"]),
        (&json!(3), &json!(2)),
        "hidden ones are not counted"
    );
    let who = names(&room, "participants", "identity");
    assert_eq!(who.0, ["ann", "listener", "zoe"]);
    let tracks = room["participants"][0]["tracks"].as_array().unwrap();
    let track = |sid: &str| {
        let found = tracks.iter().find(|track| track["track_sid"] == sid);
        found.unwrap()
    };
    let of_mic = track(&mic.sid);
    assert_eq!(
        (&of_mic["source"], &of_mic["type"], &of_mic["muted"]),
        (&json!("MICROPHONE"), &json!("AUDIO"), &json!(false))
    );
    assert_eq!(of_mic["decision"]["enforced"]["verdict"], "mute");
    assert_eq!(
        of_mic["decision"]["enforced"]["policy"]["name"],
        "webinar-mics"
    );
    assert_eq!(of_mic["decision"]["as_of"], Value::Null, "for operators");
    assert_eq!(of_mic["let_speak"], false);
    let of_camera = track(&camera.sid);
    assert_eq!(of_camera["decision"]["enforced"]["verdict"], "nothing");
    assert_eq!(
        of_camera["decision"]["dry_run"]["policy"]["name"],
        "cameras-trial"
    );
    let of_host = &room["participants"][2]["tracks"][0]["decision"]["enforced"];
    let exempted = &of_host["exempted"];
    assert_eq!(exempted["by"]["name"], "coaches-speak");
    assert_eq!(exempted["reason"], Value::Null, "the operator's own");
    let of_operator = get(&app, OPERATOR, "/webinar-1").await.json();
    let exempted = &of_operator["participants"][2]["tracks"][0]["decision"]["enforced"]["exempted"];
    assert_eq!(exempted["reason"], "the house's business");

    // A person lets one of them speak, and a policy gives way.
    for muted in [true, false] {
        let answer = Answer::to(app.mute(ACME, "webinar-1", "ann", &mic.sid, muted)).await;
        assert_eq!(answer.status, 200);
    }
    let room = get(&app, ACME, "/webinar-1").await.json();
    let let_speak: Vec<_> = (room["participants"].as_array().unwrap().iter())
        .flat_map(|who| who["tracks"].as_array().unwrap())
        .filter(|track| track["let_speak"] == true)
        .map(|track| track["track_sid"].as_str().unwrap())
        .collect();
    assert_eq!(let_speak, [mic.sid]);

    // Who may mute sees whom, and not what policies say.
    let room = get(&app, &jwt(Some("mute")), "/webinar-1").await.json();
    let tracks = &room["participants"][2]["tracks"][0];
    assert_eq!(
        (&tracks["track_sid"], &tracks["decision"]),
        (&json!(hosts.sid), &Value::Null)
    );
    for path in ["", "/webinar-1"] {
        let answer = get(&app, &jwt(Some("policies:read audit:read")), path).await;
        assert_eq!(answer.outcome(), "403 FORBIDDEN");
    }
    app.finish().await;
}

#[tokio::test]
async fn participants_come_page_by_page_and_are_decided_by_the_whole_room() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply("policies: [{ name: big, match: { source: [MICROPHONE] }, effect: mute, when: 'room.num_participants == 7' }]")
        .await;
    app.room("standup", "acme");
    for n in (0..7).rev() {
        let join = Join::new(format!("p{n}"));
        app.publish("standup", join, Publish::microphone());
    }
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/standup?limit=3{cursor}");
        let page = get(&app, ACME, &path).await.json();
        for who in page["participants"].as_array().unwrap() {
            let verdict = &who["tracks"][0]["decision"]["enforced"]["verdict"];
            assert_eq!(verdict, "mute");
        }
        let (listed, next) = names(&page, "participants", "identity");
        pages.push(listed.join(" "));
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, ["p0 p1 p2", "p3 p4 p5", "p6"]);
    app.finish().await;
}

#[tokio::test]
async fn a_room_of_another_tenant_is_as_one_that_is_not_there() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("secret", "globex");
    app.simulator.create_room("nobodys", None);
    let missing = get(&app, ACME, "/missing").await;
    assert_eq!(missing.outcome(), "404 PARTICIPANT_NOT_FOUND");
    for room in ["secret", "nobodys", "missing", "%FF", "%20"] {
        let begun = Instant::now();
        let answer = get(&app, ACME, &format!("/{room}")).await;
        assert_eq!(answer.body, missing.body, "{room}");
        // What is no text is no room's name.
        let is_late = begun.elapsed() >= Duration::from_millis(300);
        assert!(is_late || room == "%FF", "{room} is told apart by its time");
        let mute = json!({"source": "MICROPHONE", "muted": true});
        let answer = by_source(&app, ACME, room, "speaker", &mute).await;
        assert_eq!(answer.body, missing.body, "{room}");
    }
    assert!(!app.is_muted("secret", "speaker", &sid));
    // An operator sees it; it mutes where the room names it, as everywhere.
    assert_eq!(get(&app, OPERATOR, "/secret").await.status, 200);
    let mute = json!({"source": "MICROPHONE", "muted": true});
    let answer = by_source(&app, OPERATOR, "secret", "speaker", &mute).await;
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    app.finish().await;
}

/// Its name is another tenant's by the time that its participants are read.
#[tokio::test]
async fn a_room_that_is_made_anew_for_another_tenant_meanwhile_is_not_shown() {
    let app = Setup::default().start_without_webhooks().await;
    app.speaker("standup", "acme");
    let slow = FaultKind::Latency(Duration::from_millis(300));
    app.simulator
        .set_faults([Fault::of(Call::ListParticipants, slow)]);
    let anew = async {
        let is_asked = |simulator: &Simulator| {
            let calls = simulator.calls();
            calls.iter().any(|call| call.method == "ListParticipants")
        };
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        app.simulator.end_room("standup").unwrap();
        app.room("standup", "globex");
        app.simulator.join("standup", Join::new("secret-guest"));
    };
    let (answer, ()) = tokio::join!(get(&app, ACME, "/standup"), anew);
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND", "{answer:?}");
    app.finish().await;
}

#[tokio::test]
async fn policies_can_ask_who_may_write_their_attributes() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply(
        "policies: [{ name: mics, match: {}, effect: mute,
                      when: 'participant.attributes.role != \"host\" || participant.can_update_metadata' }]",
    )
    .await;
    app.room("standup", "acme");
    let host = |identity| Join::new(identity).attribute("role", "host");
    let mut own = host("own-words");
    own.permission.can_update_metadata = true;
    for join in [host("tokens-words"), own] {
        app.publish("standup", join, Publish::microphone());
    }
    let room = get(&app, ACME, "/standup").await.json();
    let verdicts: Vec<_> = (room["participants"].as_array().unwrap().iter())
        .map(|who| &who["tracks"][0]["decision"]["enforced"]["verdict"])
        .collect();
    assert_eq!(verdicts, ["mute", "nothing"], "own-words, tokens-words");
    app.finish().await;
}

#[tokio::test]
async fn a_livekit_that_fails_is_told_and_so_is_one_that_is_not_there() {
    let app = Setup::default().start_without_webhooks().await;
    app.speaker("standup", "acme");
    for method in [Call::ListRooms, Call::ListParticipants] {
        app.simulator
            .set_faults([Fault::of(method, FaultKind::Html502)]);
        let answer = get(&app, ACME, "/standup").await;
        assert_eq!(answer.outcome(), "502 LIVEKIT_FAILED", "{method:?}");
    }
    app.simulator
        .set_faults([Fault::of(Call::ListRooms, FaultKind::Html502)]);
    assert_eq!(get(&app, ACME, "").await.outcome(), "502 LIVEKIT_FAILED");
    app.finish().await;
    let app = Setup::default()
        .without("LIVEKIT_URL")
        .without("LIVEKIT_API_KEY")
        .without("LIVEKIT_API_SECRET")
        .start()
        .await;
    for path in ["", "/standup"] {
        let answer = get(&app, ACME, path).await;
        assert_eq!(answer.outcome(), "503 LIVEKIT_NOT_CONFIGURED");
    }
    let mute = json!({"source": "MICROPHONE", "muted": true});
    let answer = by_source(&app, ACME, "standup", "speaker", &mute).await;
    assert_eq!(answer.outcome(), "500 LIVEKIT_NOT_CONFIGURED", "as by SID");
    app.finish().await;
}
