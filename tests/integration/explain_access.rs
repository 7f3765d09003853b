//! Who is told why of what.

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use crate::explain::{WEBINAR, event_id, told, why};
use crate::policies::{JWT_SECRET, jwt};
use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};

fn bytes(answer: &Answer) -> (u16, &str) {
    (answer.status, &answer.body)
}

#[tokio::test]
async fn a_tenant_is_told_of_its_own_events_and_policies_alone() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let question = json!({"event_id": event_id(&app, &ann.sid)});
    let nothing = why(&app, GLOBEX, &json!({"event_id": "EV_none"})).await;
    assert_eq!(nothing.outcome(), "404 EVENT_NOT_FOUND");
    let theirs = why(&app, GLOBEX, &question).await;
    assert_eq!(bytes(&theirs), bytes(&nothing));
    // A NUL is in no id.
    let nul = why(&app, OPERATOR, &json!({"event_id": "EV_\u{0}"})).await;
    assert_eq!(bytes(&nul), bytes(&nothing));

    let names = |answer: &Value| -> Vec<String> {
        let candidates = answer["candidates"].as_array().unwrap().iter();
        let name = |one: &Value| one["policy"]["name"].as_str().unwrap().to_owned();
        candidates.map(name).collect()
    };
    let own = told(&app, ACME, &question).await;
    assert_eq!(names(&own), ["webinar-mics", "quiet-rooms"]);
    let failed = &own["candidates"][1]["failed"];
    assert_eq!(failed["expected"], "\"quiet-*\"");
    let all = told(&app, OPERATOR, &question).await;
    assert_eq!(
        names(&all),
        [
            "webinar-mics",
            "agents-may-speak",
            "phones",
            "cameras-trial",
            "quiet-rooms"
        ]
    );
    for what in ["summary", "winner", "losers", "facts", "at", "provenance"] {
        assert_eq!(own[what], all[what], "{what}");
    }
    assert_eq!(own["decision"]["enforced"], all["decision"]["enforced"]);
    assert_eq!(own["recorded"]["same_as_recorded"], true);
    app.finish().await;
}

/// As a backtest does: `the_operators_reasons_are_no_tenants_to_read`.
#[tokio::test]
async fn the_operators_reasons_are_told_to_operators_alone() {
    let app = TestApp::new().await;
    app.apply(
        "policies: [{ name: vip, match: { identity: ann }, effect: exempt, reason: she pays },
                      { name: calm, owner: acme, match: {}, effect: mute },
                      { name: own, owner: acme, match: { identity: ben }, effect: exempt, reason: he leads }]",
    )
    .await;
    app.room("call-1", "acme");
    let published =
        ["ann", "ben"].map(|name| app.publish("call-1", Join::new(name), Publish::microphone()));
    app.settle().await;
    let [ann, ben] = published.map(|track| json!({"event_id": event_id(&app, &track.sid)}));
    let of_ann = json!({"facts": {
        "room": {"name": "call-1", "tenant": "acme"}, "participant": {"identity": "ann"},
    }});
    for (question, reason, is_acmes) in [
        (&of_ann, "she pays", false),
        (&ann, "she pays", false),
        (&ben, "he leads", true),
    ] {
        for (token, may_read) in [(ACME, is_acmes), (OPERATOR, true)] {
            let answer = told(&app, token, question).await;
            let summary = answer["summary"].as_str().unwrap();
            assert!(summary.starts_with("left alone: "), "{summary}");
            assert_eq!(answer.to_string().contains(reason), may_read, "{summary}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn facts_of_anothers_room_are_refused_and_ones_own_tenant_is_filled_in() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    let ask = async |token: &str, room: Value| {
        let facts = json!({"room": room, "participant": {"identity": "p", "kind": "SIP"}});
        why(&app, token, &json!({"facts": facts})).await
    };
    for room in [
        json!({"name": "quiet-1", "tenant": "globex"}),
        json!({"name": "quiet-1", "tenant": null}),
        json!({"name": "quiet-1", "metadata": {"auth_id": "globex"}}),
        json!({"name": "quiet-1", "metadata": {"topic": "x"}}),
    ] {
        let refused = ask(ACME, room.clone()).await;
        assert_eq!(refused.outcome(), "403 FORBIDDEN", "{room}");
        assert_eq!(ask(OPERATOR, room).await.status, 200);
    }
    let own = ask(ACME, json!({"name": "quiet-1"})).await.json();
    assert_eq!(own["facts"]["room"]["tenant"], "acme");
    assert_eq!(own["provenance"]["sources"]["room.tenant"], "caller");
    assert_eq!(own["winner"]["name"], "phones");
    let unknown = ask(OPERATOR, json!({"name": "quiet-1"})).await.json();
    assert_eq!(unknown["facts"]["room"].get("tenant"), None);
    assert_eq!(unknown["provenance"]["missing"], json!(["room.tenant"]));
    app.finish().await;
}

/// As `what_is_missing_and_what_is_forbidden_are_the_same_bytes` of a mute, by the same check.
#[tokio::test]
async fn a_live_room_is_shown_to_whom_may_mute_there_and_to_nobody_else() {
    let app = Setup::default().start_without_webhooks().await;
    let mine = app.speaker("mine", "acme");
    let theirs = app.speaker("theirs", "globex");
    app.simulator.create_room("nobodys", None);
    let nobodys = app.publish("nobodys", Join::new("speaker"), Publish::microphone());
    let operators = app.speaker("operators", "ops");
    let ask = async |token: &str, room: &str, identity: &str, track: &str| {
        let question = json!({"room": room, "identity": identity, "track": track});
        let told = why(&app, token, &question).await;
        let muted = Answer::to(app.mute(token, room, identity, track, true)).await;
        assert_eq!(told.status, muted.status, "{room} {identity} {track}");
        if told.status != 200 {
            assert_eq!(bytes(&told), bytes(&muted), "{room} {identity} {track}");
            assert_eq!(told.outcome(), "404 PARTICIPANT_NOT_FOUND");
        }
        let all = why(&app, token, &json!({"room": room, "identity": identity})).await;
        (told.status, all.status)
    };
    for (token, room, identity, track, expect) in [
        (ACME, "mine", "speaker", &mine, (200, 200)),
        (GLOBEX, "theirs", "speaker", &theirs, (200, 200)),
        (OPERATOR, "operators", "speaker", &operators, (200, 200)),
        (ACME, "theirs", "speaker", &theirs, (404, 404)),
        (GLOBEX, "mine", "speaker", &mine, (404, 404)),
        (ACME, "nobodys", "speaker", &nobodys.sid, (404, 404)),
        // An operator mutes by hand in its own rooms only, and so it looks.
        (OPERATOR, "mine", "speaker", &mine, (404, 404)),
        (OPERATOR, "nobodys", "speaker", &nobodys.sid, (404, 404)),
        (ACME, "mine", "Speaker", &mine, (404, 404)),
        (ACME, "mine", "speaker", &theirs, (404, 200)),
        (ACME, "theirs", "nobody", &mine, (404, 404)),
        (ACME, "none", "speaker", &mine, (404, 404)),
    ] {
        let outcome = ask(token, room, identity, track).await;
        assert_eq!(outcome, expect, "{token} {room} {identity}");
    }
    // Not even LiveKit's trouble with a participant tells that the room is there.
    let fault = Fault::of(Method::GetParticipant, FaultKind::Unavailable);
    app.simulator.set_faults([fault]);
    for (room, expect) in [
        ("theirs", "404 PARTICIPANT_NOT_FOUND"),
        ("none", "404 PARTICIPANT_NOT_FOUND"),
        ("mine", "502 LIVEKIT_FAILED"),
    ] {
        let question = json!({"room": room, "identity": "speaker"});
        let answer = why(&app, ACME, &question).await;
        assert_eq!(answer.outcome(), expect, "{room}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_with_the_scopes_for_what_it_shows_is_needed() {
    let setup = Setup::default().env("AUTH_REQUIRED", "false");
    let app = setup.env("QUELL_JWT_SECRET", JWT_SECRET).start().await;
    let facts = json!({"facts": {"room": {"name": "r"}, "participant": {"identity": "p"}}});
    let url = format!("{}/v1/explain", app.url);
    let nobody = Answer::to(app.http.post(&url).json(&facts)).await;
    assert_eq!(nobody.outcome(), "401 UNAUTHORIZED");
    let in_query = app.http.post(format!("{url}?api_key={ACME}")).json(&facts);
    assert_eq!(Answer::to(in_query).await.outcome(), "401 UNAUTHORIZED");
    for (scope, expect) in [
        (None, "200"),
        (Some("policies:read"), "200"),
        (Some("policies:write mute audit:read"), "403 FORBIDDEN"),
        (Some(""), "403 FORBIDDEN"),
    ] {
        let request = app.http.post(&url).json(&facts);
        let answer = request.bearer_auth(jwt(scope)).send().await.unwrap();
        let status = answer.status().as_u16().to_string();
        assert!(expect.starts_with(&status), "{scope:?}: {status}");
    }
    // Whoever looks into a room needs what a mute needs as well.
    let live = json!({"room": "r", "identity": "p"});
    for (scope, expect) in [("policies:read", "403"), ("policies:read mute", "404")] {
        let request = app.http.post(&url).json(&live);
        let answer = request.bearer_auth(jwt(Some(scope))).send().await.unwrap();
        assert_eq!(answer.status().as_u16().to_string(), expect, "{scope:?}");
    }
    let policy = json!({"name": "quiet", "match": {"type": "AUDIO"}, "effect": "mute"});
    let draft = json!({"policies": [policy]});
    for (scope, expect) in [
        ("policies:read", "403"),
        ("mute", "403"),
        ("policies:read mute", "200"),
    ] {
        let request = app.http.post(format!("{}/v1/plan", app.url)).json(&draft);
        let answer = request.bearer_auth(jwt(Some(scope))).send().await.unwrap();
        assert_eq!(answer.status().as_u16().to_string(), expect, "{scope:?}");
    }
    let get = app.api(Verb::GET, ACME, "/v1/explain");
    assert_eq!(Answer::to(get).await.outcome(), "405 METHOD_NOT_ALLOWED");
    app.finish().await;
}
