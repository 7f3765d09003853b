//! The session whose webhooks were captured, played again: the same webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::DateTime;
use proto::{TrackSource, participant_info};
use quell_jwt::{Algorithm, DecodingKey, Validation};
use sha2::{Digest, Sha256};

use super::*;
use quell_clock::ManualClock;

const CAPTURED: &str = include_str!("../../../../tests/fixtures/livekit/webhooks-1.13.5.jsonl");
const NOW: i64 = 1_795_357_717;

/// A double at the time of the recording, and who has its webhooks.
async fn started() -> (Receiver, Simulator) {
    let receiver = Receiver::start([]).await;
    let simulator = start(SimulatorConfig {
        webhook_url: Some(receiver.url.clone()),
        clock: ManualClock::new(DateTime::from_timestamp(NOW, 0).unwrap()).clock(),
        ..SimulatorConfig::default()
    })
    .await;
    (receiver, simulator)
}

#[tokio::test]
async fn a_captured_session_sends_the_captured_webhooks() {
    let (receiver, simulator) = started().await;
    play(&simulator);
    simulator.wait_delivered(LONG).await.unwrap();

    let captured = CAPTURED.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        serde_json::from_str(line["body"].as_str().unwrap()).unwrap()
    });
    let sent = receiver.received();
    let sent = sent.iter().map(Received::json);
    let (mut captured, mut sent): (Vec<_>, Vec<_>) = (
        captured.map(comparable).collect(),
        sent.map(comparable).collect(),
    );
    assert_eq!(captured.len(), 26);
    // The real server unpublishes a leaver's tracks in no order.
    for events in [&mut captured, &mut sent] {
        events.sort_by_key(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let identity = text(&event["participant"]["identity"]);
            (
                text(&event["event"]),
                identity,
                text(&event["track"]["name"]),
            )
        });
    }
    for (sent, captured) in sent.iter().zip(&captured) {
        assert_eq!(sent, captured);
    }
    assert_eq!(sent.len(), captured.len());
}

fn play(simulator: &Simulator) {
    const ROOM: &str = "webinar-1";
    let publish = |identity: &str, source, name: &str| {
        let name = name.to_owned();
        let publish = Publish {
            name,
            ..Publish::new(source)
        };
        simulator.publish(ROOM, identity, publish).unwrap();
    };
    simulator.create_room(ROOM, Some(r#"{"auth_id": "acme", "title": "All hands"}"#));
    simulator.join(
        ROOM,
        Join {
            name: "Hanna".to_owned(),
            ..Join::new("host-1").attribute("role", "host")
        },
    );
    simulator.join(
        ROOM,
        Join {
            metadata: r#"{"plan":"free"}"#.to_owned(),
            ..Join::new("attendee-1").attribute("role", "attendee")
        },
    );
    simulator.join(
        ROOM,
        Join::new("sip-4917012345")
            .kind(participant_info::Kind::Sip)
            .attribute("sip.phoneNumber", "+4917012345"),
    );
    simulator.join(
        ROOM,
        Join::new("agent-7").kind(participant_info::Kind::Agent),
    );
    publish("host-1", TrackSource::Microphone, "mic");
    publish("attendee-1", TrackSource::Microphone, "mic");
    publish("attendee-1", TrackSource::Camera, "cam");
    publish("attendee-1", TrackSource::ScreenShare, "screen");
    publish("attendee-1", TrackSource::ScreenShareAudio, "screen-audio");
    publish("sip-4917012345", TrackSource::Microphone, "");
    publish("agent-7", TrackSource::Microphone, "voice");
    publish("attendee-1", TrackSource::Unknown, "plain");
    for identity in ["agent-7", "sip-4917012345", "attendee-1", "host-1"] {
        simulator.leave(ROOM, identity).unwrap();
    }
    simulator.end_room(ROOM).unwrap();
}

fn comparable(mut event: Value) -> Value {
    normalize(&mut event);
    // Room settings that the captured session changed.
    for name in ["emptyTimeout", "departureTimeout"] {
        if let Some(setting) = event["room"].get_mut(name) {
            *setting = "*".into();
        }
    }
    event
}

#[tokio::test]
async fn webhooks_are_signed_as_captured_ones_are() {
    let (receiver, simulator) = started().await;
    simulator.create_room("r", None);
    simulator.wait_delivered(LONG).await.unwrap();
    let sent = receiver.received().remove(0);
    let captured: Value = serde_json::from_str(CAPTURED.lines().next().unwrap()).unwrap();

    for name in ["content-type", "user-agent"] {
        assert_eq!(
            sent.headers[name],
            captured["headers"][name].as_str().unwrap()
        );
    }
    let captured = (
        captured["headers"]["authorization"].as_str().unwrap(),
        captured["body"].as_str().unwrap().as_bytes(),
    );
    let sent = (sent.headers["authorization"].to_str().unwrap(), &*sent.body);
    for (token, body) in [captured, sent] {
        let claims = verified(token);
        let digest = STANDARD.encode(Sha256::digest(body));
        let expected = serde_json::json!({
            "iss": "devkey", "iat": NOW, "nbf": NOW, "exp": NOW + 300, "sha256": digest,
        });
        assert_eq!(claims, expected);
        let header = token.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!(header, serde_json::json!({ "alg": "HS256", "typ": "JWT" }));
    }
}

/// The claims, if the default key signed them.
fn verified(token: &str) -> Value {
    use secrecy::ExposeSecret;
    let key = SimulatorConfig::default().api_keys.remove(0);
    let key = DecodingKey::from_secret(key.secret.expose_secret().as_bytes());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    quell_jwt::decode::<Value>(token, &key, &validation)
        .unwrap()
        .claims
}

#[tokio::test]
async fn a_webhook_made_by_hand_can_be_posted_many_times() {
    let receiver = Receiver::start([status(200), status(500)]).await;
    let simulator = start(SimulatorConfig::default()).await;
    simulator.join("r", Join::new("ann"));
    assert!(simulator.deliveries().is_empty(), "there is no webhook_url");
    let event = simulator.events().pop().unwrap();
    assert_eq!(event.event, "participant_joined");

    let webhook = simulator.signed_webhook(&event).unwrap();
    let claims = verified(&webhook.token);
    let digest = STANDARD.encode(Sha256::digest(&webhook.body));
    assert_eq!(claims["sha256"], digest);
    let mut outcomes = simulator.post_webhook(&receiver.url, &webhook, 3).await;
    outcomes.sort_by_key(|outcome| *outcome == Outcome::Status(500));
    assert_eq!(outcomes, [200, 200, 500].map(Outcome::Status));
    let arrived = receiver.received();
    assert_eq!(arrived.len(), 3);
    for request in arrived {
        assert_eq!(request.body, webhook.body);
        assert_eq!(request.headers["authorization"], webhook.token.as_str());
    }
}
